/* config_value.c - see config_value.h. SPDX-License-Identifier: MIT */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config_internal.h"
#include "notify.h"

/* ---- one word ---- */

bool config_word_is(kv_slice word, const char *text)
{
    return strlen(text) == word.len && strncasecmp(text, word.data, word.len) == 0;
}

bool config_parse_number(kv_slice text, int base, int64_t *ret_value)
{
    char copy[32], *end;

    if (text.len == 0 || text.len >= sizeof copy ||
        !(isdigit((unsigned char)text.data[0]) || text.data[0] == '-'))
        return false;
    if (base == 10 && text.data[0] == '0' && text.len > 1)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *ret_value = strtoll(copy, &end, base);
    return errno == 0 && *end == '\0' && isdigit((unsigned char)end[-1]);
}

bool config_parse_memory(kv_slice text, int64_t *ret_value)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = { { "", 1 },           { "b", 1 },
                  { "k", 1000 },       { "kb", 1024 },
                  { "m", 1000000 },    { "mb", 1024 * 1024 },
                  { "g", 1000000000 }, { "gb", 1024L * 1024 * 1024 } };
    size_t digits = 0;
    kv_slice unit;

    while (digits < text.len && isdigit((unsigned char)text.data[digits]))
        digits++;
    unit = kv_slice_of(text.data + digits, text.len - digits);
    if (!config_parse_number(kv_slice_of(text.data, digits), 10, ret_value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (config_word_is(unit, units[i].name))
            return !__builtin_mul_overflow(*ret_value, units[i].bytes, ret_value);
    return false;
}

int config_fail_choices(const char *const *words, config_error *error)
{
    size_t len =
        (size_t)snprintf(error->text, sizeof error->text, "argument(s) must be one of the following: ");

    for (; *words; words++)
        len += (size_t)snprintf(error->text + len, sizeof error->text - len, "%s%s", *words,
                                words[1] ? ", " : "");
    return -1;
}

int config_parse_choice(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error)
{
    const char *const *words = config_choices(id);

    for (int i = 0; words[i]; i++)
        if (config_word_is(word, words[i])) {
            *ret_value = i;
            return 0;
        }
    return config_fail_choices(words, error);
}

/* Bytes, or "n%": stored as -n. */
static int parse_percent(kv_slice word, int64_t *ret_value, config_error *error)
{
    bool percent = word.len && word.data[word.len - 1] == '%';

    if (percent ? !config_parse_number(kv_slice_of(word.data, word.len - 1), 10, ret_value) || *ret_value < 0
                : !config_parse_memory(word, ret_value))
        return config_fail(error, "argument must be a memory or percent value");
    if (percent && *ret_value > 100)
        return config_fail(error, "percentage argument must be less or equal to 100");
    if (percent)
        *ret_value = -*ret_value;
    return 0;
}

int config_parse_value(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error)
{
    const config_directive *row = &config_directives[id];
    const char *reason = NULL;

    switch (row->type) {
    case CONFIG_BOOLEAN:
        *ret_value = config_word_is(word, "yes");
        return *ret_value || config_word_is(word, "no")
                   ? 0
                   : config_fail(error, "argument must be 'yes' or 'no'");
    case CONFIG_CHOICE:
        return config_parse_choice(id, word, ret_value, error);
    case CONFIG_PERCENT:
        return parse_percent(word, ret_value, error);
    case CONFIG_EVENTS:
        *ret_value = notify_parse_classes(word);
        return *ret_value >= 0 ? 0
                               : config_fail(error, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    case CONFIG_MEMORY:
        reason = config_parse_memory(word, ret_value) ? NULL : "argument must be a memory value";
        break;
    case CONFIG_OCTAL:
        reason =
            config_parse_number(word, 8, ret_value) ? NULL : "argument couldn't be parsed as an octal number";
        break;
    default:
        reason =
            config_parse_number(word, 10, ret_value) ? NULL : "argument couldn't be parsed into an integer";
    }
    if (reason)
        return config_fail(error, "%s", reason);
    if (*ret_value >= row->min && *ret_value <= row->max)
        return 0;
    if (row->type == CONFIG_OCTAL)
        return config_fail(error, "argument must be between %llo and %llo inclusive", (long long)row->min,
                           (long long)row->max);
    return config_fail(error, "argument must be between %lld and %lld inclusive", (long long)row->min,
                       (long long)row->max);
}

bool config_parse_real(kv_slice word, double *ret_value)
{
    char text[64], *end;

    if (word.len == 0 || word.len >= sizeof text)
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    *ret_value = strtod(text, &end);
    return *end == '\0' && !isnan(*ret_value);
}

/* ---- several words ---- */

char *config_join_words(const char *prefix, int argc, const kv_slice argv[], size_t *ret_len)
{
    size_t len = strlen(prefix);
    size_t size = len + 1;
    char *text;

    for (int i = 0; i < argc; i++)
        size += argv[i].len + 1;
    text = malloc(size);
    if (!text)
        return NULL;
    memcpy(text, prefix, len);
    for (int i = 0; i < argc; i++) {
        if (len)
            text[len++] = ' ';
        memcpy(text + len, argv[i].data, argv[i].len);
        len += argv[i].len;
    }
    text[len] = '\0';
    *ret_len = len;
    return text;
}

char *config_split_words(int argc, const kv_slice argv[], kv_slice words[], int max, int *ret_count)
{
    size_t len;
    char *copy = config_join_words("", argc, argv, &len);
    char *p = copy;

    for (*ret_count = 0; p && *(p += strspn(p, " ")); p += strcspn(p, " "))
        if ((*ret_count)++ < max)
            words[*ret_count - 1] = kv_slice_of(p, strcspn(p, " "));
    return copy;
}
