/* config_set.c - a directive gets a value, or says what is wrong with it.
 *
 * Which values a row accepts is checked before anything is stored: by its type and bounds (config_value.h), then by what
 * little a row asks for beyond that. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_value.h"
#include "tls.h"

#define ADDRESSES_MAX 16 /* of bind */
#define HZ_MIN        1
#define HZ_MAX        500

/* A row that accepts one value only, so far, says so before another is stored. */
static int refuse_other(enum config_id id, config_error *error)
{
    return config_fail(error, "this server supports only '%s' here", config_directives[id].only);
}

static int set_number(config *c, enum config_id id, int argc, const kv_slice argv[], config_error *error)
{
    const char *only = config_directives[id].only;
    int64_t value = 0, only_value;

    if (argc != 1)
        return config_fail(error, "wrong number of arguments");
    if (config_parse_value(id, argv[0], &value, error) != 0)
        return -1;
    if (only && (config_parse_value(id, kv_str(only), &only_value, error) != 0 || value != only_value))
        return refuse_other(id, error);
    if (id == CONFIG_ID_tls_port && value && !tls_available)
        return config_fail(error, "this kvserver was built without TLS, since OpenSSL was not found");
    if (id == CONFIG_ID_hz) /* as in Redis, out of range is not refused */
        value = value < HZ_MIN ? HZ_MIN : value > HZ_MAX ? HZ_MAX : value;
    atomic_store_explicit(&c->numbers[id], value, memory_order_relaxed);
    return 0;
}

/* Takes over text. */
static int store_text(config *c, enum config_id id, char *text, size_t len, config_error *error)
{
    char *old;

    if (!text)
        return config_fail(error, "out of memory");
    pthread_mutex_lock(&c->lock);
    old = c->texts[id];
    c->texts[id] = text;
    c->lens[id] = len;
    pthread_mutex_unlock(&c->lock);
    free(old);
    return 0;
}

static int store_words(config *c, enum config_id id, const char *prefix, int count, const kv_slice words[],
                       config_error *error)
{
    size_t len = 0;
    char *text = config_join_words(prefix, count, words, &len);

    return store_text(c, id, text, len, error);
}

/* The rules that a few WORDS rows have. */
static int check_words(enum config_id id, int count, const kv_slice words[], config_error *error)
{
    double real;

    if (id == CONFIG_ID_latency_tracking_info_percentiles) {
        for (int i = 0; i < count; i++) {
            if (!config_parse_real(words[i], &real))
                return config_fail(error, "Invalid %s parameters", config_directives[id].name);
            if (real < 0 || real > 100)
                return config_fail(error, "%s parameters should sit between [0.0,100.0]",
                                   config_directives[id].name);
        }
    } else if (id == CONFIG_ID_oom_score_adj_values) {
        int64_t value;

        if (count != 3)
            return config_fail(error, "wrong number of arguments");
        for (int i = 0; i < count; i++)
            if (!config_parse_number(words[i], 10, &value) || value < -2000 || value > 2000)
                return config_fail(error,
                                   "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    } else if (id == CONFIG_ID_replicaof && count) {
        int64_t port;

        if (count != 2)
            return config_fail(error, "wrong number of arguments");
        if (!config_parse_number(words[1], 10, &port) || port < 0 || port > 65535)
            return config_fail(error, "Invalid master port");
    } else if (id == CONFIG_ID_bind && count > ADDRESSES_MAX)
        return config_fail(error, "Too many bind addresses specified.");
    return 0;
}

/* Whether only known variables stand in braces; an empty one is none. */
static bool is_title_template(kv_slice text)
{
    static const char *const variables[] = { "{title}",    "{listen-addr}", "{server-mode}", "{port}",
                                             "{tls-port}", "{unixsocket}",  "{config-file}" };
    size_t at = 0;

    while (at < text.len) {
        size_t step = text.data[at] != '{';

        for (size_t i = 0; step == 0 && i < sizeof variables / sizeof *variables; i++) {
            size_t len = strlen(variables[i]);

            if (text.len - at >= len && memcmp(text.data + at, variables[i], len) == 0)
                step = len;
        }
        if (step == 0)
            return false;
        at += step;
    }
    return text.len > 0;
}

/* Whether only names of protocols stand in it; an empty one leaves the choice to us. */
static bool names_protocols(kv_slice text)
{
    static const char *const names[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };

    for (size_t at = 0, len; at < text.len; at += len) {
        bool known = false;

        for (len = 0; at + len < text.len && text.data[at + len] != ' ';)
            len++;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            known |= config_word_is(kv_slice_of(text.data + at, len), names[i]);
        if (len && !known)
            return false;
        len += len == 0; /* a blank */
    }
    return true;
}

static bool contains_nul(kv_slice text)
{
    return text.len && memchr(text.data, '\0', text.len);
}

static int set_text(config *c, enum config_id id, int argc, const kv_slice argv[], config_error *error)
{
    const char *only = config_directives[id].only;

    if (argc != 1)
        return config_fail(error, "wrong number of arguments");
    if (contains_nul(argv[0]) && !(config_directives[id].flags & CONFIG_SECRET))
        return config_fail(error, "argument contains a NUL byte");
    if (only && !config_word_is(argv[0], only))
        return refuse_other(id, error);
    if (id == CONFIG_ID_proc_title_template && !is_title_template(argv[0]))
        return config_fail(error, "template format is invalid or contains unknown variables");
    if (id == CONFIG_ID_tls_protocols && !names_protocols(argv[0]))
        return config_fail(error, "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', "
                                  "'TLSv1.2' and 'TLSv1.3'.");
    return store_words(c, id, "", argc, argv, error);
}

static int set_words(config *c, enum config_id id, int argc, const kv_slice argv[], config_error *error)
{
    const char *only = config_directives[id].only;
    kv_slice words[128];
    int count, result = -1;
    char *copy;

    for (int i = 0; i < argc; i++)
        if (contains_nul(argv[i]))
            return config_fail(error, "argument contains a NUL byte");
    copy = config_split_words(argc, argv, words, 128, &count);
    if (!copy)
        return config_fail(error, "out of memory");
    if (count > 128)
        config_fail(error, "wrong number of arguments");
    else if (only && !(count == 0 && !*only) && !(count == 1 && config_word_is(words[0], only)))
        refuse_other(id, error);
    else if (check_words(id, count, words, error) == 0)
        result = store_words(c, id, "", count, words, error);
    free(copy);
    return result;
}

/* Several words of a row's choices: a bit each, but for the first, which stands for none. */
static int set_flags(config *c, enum config_id id, int argc, const kv_slice argv[], config_error *error)
{
    kv_slice words[64];
    int64_t bits = 0, bit = 0;
    int count, result = 0;
    char *copy = config_split_words(argc, argv, words, 64, &count);

    if (!copy)
        return config_fail(error, "out of memory");
    if (count == 0 || count > 64)
        result = config_fail_choices(config_choices(id), error);
    for (int i = 0; i < count && result == 0; i++) {
        result = config_parse_choice(id, words[i], &bit, error);
        bits |= bit ? (int64_t)1 << bit : 0;
    }
    if ((bits & CONFIG_STOP_SAVE) && (bits & CONFIG_STOP_NOSAVE)) /* the rows of this type are of stopping */
        result = config_fail(error, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    if (result == 0)
        atomic_store_explicit(&c->numbers[id], bits, memory_order_relaxed);
    free(copy);
    return result;
}

static int set_save(config *c, enum config_id id, int argc, const kv_slice argv[], bool in_file,
                    config_error *error)
{
    kv_slice words[64];
    int count, result = -1;
    char *old = NULL, *copy = config_split_words(argc, argv, words, 64, &count);

    if (!copy)
        return config_fail(error, "out of memory");
    if (count > 64 || count % 2) {
        config_fail(error, "Invalid save parameters");
        goto out;
    }
    for (int i = 0; i < count; i++) {
        int64_t value;

        if (!config_parse_number(words[i], 10, &value) || value < (i % 2 ? 0 : 1) || value > INT32_MAX) {
            config_fail(error, "Invalid save parameters");
            goto out;
        }
    }
    /* The first line of a file replaces the default; later ones add to it. */
    old = in_file && c->save_given && count ? config_text(c, id) : NULL;
    result = store_words(c, id, old ? old : "", count, words, error);
    if (result == 0 && in_file)
        c->save_given = true;
out:
    free(old);
    free(copy);
    return result;
}

static int find_class(kv_slice word)
{
    for (int i = 0; i < CONFIG_CLASSES; i++)
        if (config_word_is(word, config_class_names[i]))
            return i;
    return config_word_is(word, "replica") ? CONFIG_REPLICA : -1;
}

/* Checks all of them, then stores all of them. */
static int set_limits(config *c, int argc, const kv_slice argv[], config_error *error)
{
    kv_slice words[4 * 16];
    int64_t values[4 * 16];
    int count, result = -1;
    char *copy = config_split_words(argc, argv, words, 4 * 16, &count);

    if (!copy)
        return config_fail(error, "out of memory");
    if (count % 4 || count > 4 * 16) {
        config_fail(error, "Wrong number of arguments in buffer limit configuration.");
        goto out;
    }
    for (int i = 0; i < count; i++) {
        if (i % 4 == 0) {
            values[i] = find_class(words[i]);
            if (values[i] < 0) {
                config_fail(error, "Invalid client class specified in buffer limit configuration.");
                goto out;
            }
        } else if (!(i % 4 == 3 ? config_parse_number(words[i], 10, &values[i])
                                : config_parse_memory(words[i], &values[i])) ||
                   values[i] < 0) {
            config_fail(error, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
            goto out;
        }
    }
    for (int i = 0; i < count; i++)
        if (i % 4)
            atomic_store_explicit(&c->limits[values[i - i % 4]][i % 4 - 1], values[i], memory_order_relaxed);
    result = 0;
out:
    free(copy);
    return result;
}

static bool holds_number(config_type type)
{
    return type <= CONFIG_EVENTS;
}

int config_set(config *c, enum config_id id, int argc, const kv_slice argv[], bool in_file,
               config_error *ret_error)
{
    const config_directive *row = &config_directives[id];

    if (argc == 0 && row->type != CONFIG_SAVE && row->type != CONFIG_FLAGS)
        return config_fail(ret_error, "wrong number of arguments");
    if (row->type == CONFIG_FLAGS)
        return set_flags(c, id, argc, argv, ret_error);
    if (row->type == CONFIG_WORDS)
        return set_words(c, id, argc, argv, ret_error);
    if (holds_number(row->type))
        return set_number(c, id, argc, argv, ret_error);
    if (row->type == CONFIG_SAVE)
        return set_save(c, id, argc, argv, in_file, ret_error);
    if (row->type == CONFIG_OUTPUT_LIMITS)
        return set_limits(c, argc, argv, ret_error);
    return set_text(c, id, argc, argv, ret_error);
}

int config_restore(config *c, enum config_id id, kv_slice text)
{
    config_error ignored;

    return config_set(c, id, 1, &text, false, &ignored);
}
