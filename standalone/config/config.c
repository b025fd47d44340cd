/* config.c - directives and their values.
 *
 * The idea: one row per directive (config.def), and one value per row, kept in one of two arrays:
 *
 *     numbers[id]   an atomic 64-bit number, for everything that counts, switches or chooses: workers
 *                   read it without a lock, whoever sets it meanwhile
 *     texts[id]     a string under the lock, for the rest; readers copy it
 *
 * so that a new directive is a row and nothing else, unless it means something: then whoever uses it reads
 * it, or server_apply acts on the change.
 *
 * A value is always stored in one canonical way, which CONFIG GET shows and CONFIG REWRITE writes: memory in
 * bytes, words with one blank between, save as its pairs. That also makes undoing a CONFIG SET simple: the old
 * canonical text is set again.
 *
 * Which values a row accepts is checked before anything is stored. SPDX-License-Identifier: MIT */
#include "config.h"

#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config_internal.h"
#include "notify.h"
#include "tls.h"

#define ADDRESSES_MAX 16 /* of bind */
#define HZ_MIN        1
#define HZ_MAX        500

const config_directive config_directives[CONFIG_COUNT] = {
#define DIRECTIVE(id, name_, alias_, type_, flags_, ...) \
    DIRECTIVE_ROW(id, name_, alias_, type_, flags_, __VA_ARGS__)
#define DIRECTIVE_ROW(id, name_, alias_, type_, flags_, min_, max_, preset_, only_) \
    [CONFIG_ID_##id] = { .name = (name_),                                           \
                         .alias = (alias_),                                         \
                         .type = CONFIG_##type_,                                    \
                         .flags = (flags_),                                         \
                         .min = (min_),                                             \
                         .max = (max_),                                             \
                         .preset = (preset_),                                       \
                         .only = (only_) },
#include "config.def"
#undef DIRECTIVE_ROW
#undef DIRECTIVE
};

/* The words of CHOICE and FLAGS rows, in the order of their values. */
#define WORDS(...)        \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
static const char *const *const choices[CONFIG_COUNT] = {
    [CONFIG_ID_loglevel] = WORDS("debug", "verbose", "notice", "warning"),
    [CONFIG_ID_sharing] = WORDS("sharded", "mutex", "actor"),
    [CONFIG_ID_log_format] = WORDS("legacy", "logfmt"),
    [CONFIG_ID_log_timestamp_format] = WORDS("legacy", "iso8601", "milliseconds"),
    [CONFIG_ID_supervised] = WORDS("no", "systemd", "auto", "upstart"),
    [CONFIG_ID_syslog_facility] =
        WORDS("user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
    [CONFIG_ID_enable_protected_configs] = WORDS("no", "yes", "local"),
    [CONFIG_ID_enable_debug_command] = WORDS("no", "yes", "local"),
    [CONFIG_ID_enable_module_command] = WORDS("no", "yes", "local"),
    [CONFIG_ID_appendfsync] = WORDS("everysec", "always", "no"),
    [CONFIG_ID_aof_error_action] = WORDS("auto", "exit", "refuse"),
    [CONFIG_ID_maxmemory_policy] = WORDS("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
                                         "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
    [CONFIG_ID_oom_score_adj] = WORDS("no", "yes", "relative", "absolute"),
    [CONFIG_ID_shutdown_on_sigint] = WORDS("default", "save", "nosave", "now", "force"),
    [CONFIG_ID_shutdown_on_sigterm] = WORDS("default", "save", "nosave", "now", "force"),
    [CONFIG_ID_sanitize_dump_payload] = WORDS("no", "yes", "clients"),
    [CONFIG_ID_repl_diskless_load] = WORDS("disabled", "on-empty-db", "swapdb"),
    [CONFIG_ID_acl_pubsub_default] = WORDS("allchannels", "resetchannels"),
    [CONFIG_ID_propagation_error_behavior] = WORDS("ignore", "panic", "panic-on-replicas"),
    [CONFIG_ID_tls_auth_clients] = WORDS("no", "yes", "optional"),
    [CONFIG_ID_cluster_preferred_endpoint_type] = WORDS("ip", "hostname", "unknown-endpoint"),
};

static const char *const class_names[CONFIG_CLASSES] = { "normal", "slave", "pubsub" };

const char *const *config_choices(enum config_id id)
{
    return choices[id];
}

const char *config_type_name(config_type type)
{
    static const char *const names[] = {
        [CONFIG_BOOLEAN] = "yes or no",
        [CONFIG_INTEGER] = "a number",
        [CONFIG_OCTAL] = "a file mode, octal",
        [CONFIG_MEMORY] = "bytes; also with kb, mb, gb",
        [CONFIG_PERCENT] = "bytes, or a percentage",
        [CONFIG_CHOICE] = "a word",
        [CONFIG_FLAGS] = "words",
        [CONFIG_EVENTS] = "letters of classes of events",
        [CONFIG_TEXT] = "text",
        [CONFIG_WORDS] = "words",
        [CONFIG_SAVE] = "pairs of seconds and changes",
        [CONFIG_OUTPUT_LIMITS] = "a class of clients, its hard and its soft limit, and seconds",
    };

    return names[type];
}

int config_fail(config_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

int config_find(kv_slice name)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const char *names[] = { config_directives[id].name, config_directives[id].alias };

        for (int i = 0; i < 2; i++)
            if (names[i] && strlen(names[i]) == name.len && strncasecmp(names[i], name.data, name.len) == 0)
                return id;
    }
    return -1;
}

static bool holds_number(config_type type)
{
    return type <= CONFIG_EVENTS;
}

/* ---- reading ---- */

int64_t config_number(const config *c, enum config_id id)
{
    return atomic_load_explicit(&c->numbers[id], memory_order_relaxed);
}

config_output_limit config_client_limit(const config *c, config_client_class class)
{
    const _Atomic int64_t *limit = c->limits[class];
    config_output_limit result = {
        .hard_bytes = atomic_load_explicit(&limit[0], memory_order_relaxed),
        .soft_bytes = atomic_load_explicit(&limit[1], memory_order_relaxed),
        .soft_seconds = atomic_load_explicit(&limit[2], memory_order_relaxed),
    };

    return result;
}

/* The words whose bits are set, the first word when none is. */
static void write_flags(enum config_id id, int64_t bits, char *text, size_t size)
{
    size_t len = (size_t)snprintf(text, size, "%s", bits ? "" : choices[id][0]);

    for (int i = 1; choices[id][i]; i++)
        if (bits & (int64_t)1 << i)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len ? " " : "", choices[id][i]);
}

static void write_limits(const config *c, char *text, size_t size)
{
    size_t len = 0;

    for (int i = 0; i < CONFIG_CLASSES; i++) {
        config_output_limit limit = config_client_limit(c, (config_client_class)i);

        len += (size_t)snprintf(text + len, size - len, "%s%s %lld %lld %lld", i ? " " : "", class_names[i],
                                (long long)limit.hard_bytes, (long long)limit.soft_bytes,
                                (long long)limit.soft_seconds);
    }
}

static char *copy_text(const char *text, size_t len, size_t *ret_len)
{
    char *copy = malloc(len + 1);

    if (copy)
        memcpy(copy, text, len + 1);
    *ret_len = len;
    return copy;
}

char *config_text(config *c, enum config_id id)
{
    size_t len;

    return config_copy(c, id, &len);
}

char *config_copy(config *c, enum config_id id, size_t *ret_len)
{
    char text[256];
    long long number = config_number(c, id);
    const char *value = text;
    char *copy;

    switch (config_directives[id].type) {
    case CONFIG_BOOLEAN:
        value = number ? "yes" : "no";
        break;
    case CONFIG_OCTAL:
        snprintf(text, sizeof text, "%llo", number);
        break;
    case CONFIG_INTEGER:
    case CONFIG_MEMORY:
        snprintf(text, sizeof text, "%lld", number);
        break;
    case CONFIG_PERCENT:
        snprintf(text, sizeof text, number < 0 ? "%lld%%" : "%lld", number < 0 ? -number : number);
        break;
    case CONFIG_CHOICE:
        value = choices[id][number];
        break;
    case CONFIG_FLAGS:
        write_flags(id, number, text, sizeof text);
        break;
    case CONFIG_EVENTS:
        notify_write_classes((unsigned)number, text);
        break;
    case CONFIG_OUTPUT_LIMITS:
        write_limits(c, text, sizeof text);
        break;
    default:
        pthread_mutex_lock(&c->lock);
        copy = copy_text(c->texts[id], c->lens[id], ret_len);
        pthread_mutex_unlock(&c->lock);
        return copy;
    }
    return copy_text(value, strlen(value), ret_len);
}

bool config_text_empty(config *c, enum config_id id)
{
    bool empty;

    pthread_mutex_lock(&c->lock);
    empty = c->lens[id] == 0;
    pthread_mutex_unlock(&c->lock);
    return empty;
}

/* ---- parsing values ---- */

static bool word_is(kv_slice word, const char *text)
{
    return strlen(text) == word.len && strncasecmp(text, word.data, word.len) == 0;
}

/* Digits of the base, with an optional minus; nothing else. */
static bool parse_number(kv_slice text, int base, int64_t *ret_value)
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

static bool parse_memory(kv_slice text, int64_t *ret_value)
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
    if (!parse_number(kv_slice_of(text.data, digits), 10, ret_value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (word_is(unit, units[i].name))
            return !__builtin_mul_overflow(*ret_value, units[i].bytes, ret_value);
    return false;
}

static int list_choices(const char *const *words, config_error *error)
{
    size_t len =
        (size_t)snprintf(error->text, sizeof error->text, "argument(s) must be one of the following: ");

    for (; *words; words++)
        len += (size_t)snprintf(error->text + len, sizeof error->text - len, "%s%s", *words,
                                words[1] ? ", " : "");
    return -1;
}

static int parse_choice(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error)
{
    const char *const *words = choices[id];

    for (int i = 0; words[i]; i++)
        if (word_is(word, words[i])) {
            *ret_value = i;
            return 0;
        }
    return list_choices(words, error);
}

/* Bytes, or "n%": stored as -n. */
static int parse_percent(kv_slice word, int64_t *ret_value, config_error *error)
{
    bool percent = word.len && word.data[word.len - 1] == '%';

    if (percent ? !parse_number(kv_slice_of(word.data, word.len - 1), 10, ret_value) || *ret_value < 0
                : !parse_memory(word, ret_value))
        return config_fail(error, "argument must be a memory or percent value");
    if (percent && *ret_value > 100)
        return config_fail(error, "percentage argument must be less or equal to 100");
    if (percent)
        *ret_value = -*ret_value;
    return 0;
}

static int parse_value(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error)
{
    const config_directive *row = &config_directives[id];
    const char *reason = NULL;

    switch (row->type) {
    case CONFIG_BOOLEAN:
        *ret_value = word_is(word, "yes");
        return *ret_value || word_is(word, "no") ? 0 : config_fail(error, "argument must be 'yes' or 'no'");
    case CONFIG_CHOICE:
        return parse_choice(id, word, ret_value, error);
    case CONFIG_PERCENT:
        return parse_percent(word, ret_value, error);
    case CONFIG_EVENTS:
        *ret_value = notify_parse_classes(word);
        return *ret_value >= 0 ? 0
                               : config_fail(error, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    case CONFIG_MEMORY:
        reason = parse_memory(word, ret_value) ? NULL : "argument must be a memory value";
        break;
    case CONFIG_OCTAL:
        reason = parse_number(word, 8, ret_value) ? NULL : "argument couldn't be parsed as an octal number";
        break;
    default:
        reason = parse_number(word, 10, ret_value) ? NULL : "argument couldn't be parsed into an integer";
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

/* ---- setting ---- */

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
    if (parse_value(id, argv[0], &value, error) != 0)
        return -1;
    if (only && (parse_value(id, kv_str(only), &only_value, error) != 0 || value != only_value))
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

/* The words with one blank between, behind prefix; NULL when memory is out. */
static char *join_words(const char *prefix, int argc, const kv_slice argv[], size_t *ret_len)
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

static int store_words(config *c, enum config_id id, const char *prefix, int count, const kv_slice words[],
                       config_error *error)
{
    size_t len = 0;
    char *text = join_words(prefix, count, words, &len);

    return store_text(c, id, text, len, error);
}

/* CONFIG SET gives several words as one argument: "normal 1 2 3". Splits a copy of it; the copy is
 * to be freed, and the words point into it. */
static char *split_words(int argc, const kv_slice argv[], kv_slice words[], int max, int *ret_count)
{
    size_t len;
    char *copy = join_words("", argc, argv, &len);
    char *p = copy;

    for (*ret_count = 0; p && *(p += strspn(p, " ")); p += strcspn(p, " "))
        if ((*ret_count)++ < max)
            words[*ret_count - 1] = kv_slice_of(p, strcspn(p, " "));
    return copy;
}

static bool parse_real(kv_slice word, double *ret_value)
{
    char text[64], *end;

    if (word.len == 0 || word.len >= sizeof text)
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    *ret_value = strtod(text, &end);
    return *end == '\0' && !isnan(*ret_value);
}

/* The rules that a few WORDS rows have. */
static int check_words(enum config_id id, int count, const kv_slice words[], config_error *error)
{
    double real;

    if (id == CONFIG_ID_latency_tracking_info_percentiles) {
        for (int i = 0; i < count; i++) {
            if (!parse_real(words[i], &real))
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
            if (!parse_number(words[i], 10, &value) || value < -2000 || value > 2000)
                return config_fail(error,
                                   "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    } else if (id == CONFIG_ID_replicaof && count) {
        int64_t port;

        if (count != 2)
            return config_fail(error, "wrong number of arguments");
        if (!parse_number(words[1], 10, &port) || port < 0 || port > 65535)
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
            known |= word_is(kv_slice_of(text.data + at, len), names[i]);
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
    if (only && !word_is(argv[0], only))
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
    copy = split_words(argc, argv, words, 128, &count);
    if (!copy)
        return config_fail(error, "out of memory");
    if (count > 128)
        config_fail(error, "wrong number of arguments");
    else if (only && !(count == 0 && !*only) && !(count == 1 && word_is(words[0], only)))
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
    char *copy = split_words(argc, argv, words, 64, &count);

    if (!copy)
        return config_fail(error, "out of memory");
    if (count == 0 || count > 64)
        result = list_choices(choices[id], error);
    for (int i = 0; i < count && result == 0; i++) {
        result = parse_choice(id, words[i], &bit, error);
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
    char *old = NULL, *copy = split_words(argc, argv, words, 64, &count);

    if (!copy)
        return config_fail(error, "out of memory");
    if (count > 64 || count % 2) {
        config_fail(error, "Invalid save parameters");
        goto out;
    }
    for (int i = 0; i < count; i++) {
        int64_t value;

        if (!parse_number(words[i], 10, &value) || value < (i % 2 ? 0 : 1) || value > INT32_MAX) {
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
        if (word_is(word, class_names[i]))
            return i;
    return word_is(word, "replica") ? CONFIG_REPLICA : -1;
}

/* Checks all of them, then stores all of them. */
static int set_limits(config *c, int argc, const kv_slice argv[], config_error *error)
{
    kv_slice words[4 * 16];
    int64_t values[4 * 16];
    int count, result = -1;
    char *copy = split_words(argc, argv, words, 4 * 16, &count);

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
        } else if (!(i % 4 == 3 ? parse_number(words[i], 10, &values[i])
                                : parse_memory(words[i], &values[i])) ||
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

/* ---- life ---- */

config *config_new(void)
{
    config *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (config_restore(c, (enum config_id)id, kv_str(config_directives[id].preset)) != 0) {
            config_free(c);
            return NULL;
        }
    return c;
}

void config_free(config *c)
{
    if (!c)
        return;
    for (int id = 0; id < CONFIG_COUNT; id++)
        free(c->texts[id]);
    for (size_t i = 0; i < c->user_count; i++)
        free((void *)c->users[i].words);
    free(c->users);
    kv_renames_free(c->renames);
    free(c->file);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const char *config_file(const config *c)
{
    return c->file;
}

size_t config_user_count(const config *c)
{
    return c->user_count;
}

const kv_renames *config_renames(const config *c)
{
    return c->renames;
}

const config_words *config_user(const config *c, size_t index)
{
    return &c->users[index];
}

void config_each_warning(const config *c, void (*warn)(void *arg, const char *text), void *arg)
{
    char text[256];

    for (int id = 0; id < CONFIG_COUNT; id++) {
        if (!c->given[id] || !(config_directives[id].flags & CONFIG_PASSIVE))
            continue;
        snprintf(text, sizeof text, "Directive '%s' is accepted, but has no meaning in this server",
                 config_directives[id].name);
        warn(arg, text);
    }
}
