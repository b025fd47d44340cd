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
 * Here are the table, reading, and the life of it all; how a value gets in stands in config_set.c. SPDX-License-Identifier: MIT */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config_internal.h"
#include "notify.h"

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

const char *const config_class_names[CONFIG_CLASSES] = { "normal", "slave", "pubsub" };

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

        len += (size_t)snprintf(text + len, size - len, "%s%s %lld %lld %lld", i ? " " : "",
                                config_class_names[i], (long long)limit.hard_bytes,
                                (long long)limit.soft_bytes, (long long)limit.soft_seconds);
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
