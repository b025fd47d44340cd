/* debug_commands.c - DEBUG: what test suites need to see and to do, and operators do not. It is refused unless
 * enable-debug-command allows it (protect.h).
 *
 * As in Redis, it is one command whose first argument chooses; COMMAND INFO knows no subcommands.
 *
 * DEBUG SLEEP holds the worker of the connection, with all of its connections, as it holds the whole of Redis: that is what
 * it is for. POPULATE runs to its end, too.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "aof.h"
#include "digest.h"
#include "hash_figures.h"
#include "object.h"
#include "persistence.h"
#include "session.h"

#define SLEEP_MAX_S  1e9
#define POPULATE_MAX 100000000
#define VALUE_MAX    64

/* ---- SLEEP, ERROR, LOG ---- */

/* DEBUG SLEEP seconds: decimals are allowed, and what is no number is 0. */
static void sleep_here(kv_call *call)
{
    char text[64];
    struct timespec left;
    double seconds;

    snprintf(text, sizeof text, "%.*s", (int)(call->argv[2].len < 63 ? call->argv[2].len : 63),
             call->argv[2].data);
    seconds = strtod(text, NULL);
    if (seconds > 0 && seconds < SLEEP_MAX_S) {
        left.tv_sec = (time_t)seconds;
        left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
        while (nanosleep(&left, &left) != 0 && errno == EINTR)
            ;
    }
    kv_reply_ok(call->reply);
}

/* DEBUG ERROR text */
static void reply_error(kv_call *call)
{
    call->reply->ops->error(call->reply, call->argv[2]);
}

/* DEBUG LOG text */
static void write_log(kv_call *call)
{
    log_write(&session_server(call)->log, CONFIG_LOG_WARNING, "DEBUG LOG: %.*s",
              kv_echo_len(call->argv[2], 1024), call->argv[2].data);
    kv_reply_ok(call->reply);
}

/* ---- OBJECT ---- */

static int64_t idle_seconds(const kv_call *call, const entry *e)
{
    return store_counts_uses(call->store) ? 0 : store_idle_ms(e, call->now_ms) / 1000;
}

/* What RDB's encoding of the string takes, uncompressed. */
static size_t serialized_length(const entry *e)
{
    kv_slice value = entry_value(e, NULL);
    int64_t number;

    if (value.len <= 11 && kv_parse_int(value, &number) && number >= INT32_MIN && number <= INT32_MAX)
        return number >= INT8_MIN && number <= INT8_MAX     ? 2
               : number >= INT16_MIN && number <= INT16_MAX ? 3
                                                            : 5;
    return value.len + (value.len < 64 ? 1 : value.len < 16384 ? 2 : value.len <= UINT32_MAX ? 5 : 9);
}

/* DEBUG OBJECT key */
static void describe_object(kv_call *call) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = store_find(call->store, store_key_of(call->store, call->argv[2]), call->now_ms);
    kv_slice encoding;
    char text[256];

    if (!e) {
        kv_reply_error(call->reply, KV_ENOKEY);
        return;
    }
    encoding = kv_object_encoding(e);
    snprintf(text, sizeof text,
             "Value at:%p refcount:%lld encoding:%.*s serializedlength:%zu lru:%u lru_seconds_idle:%lld",
             (const void *)e, (long long)kv_object_references(e), (int)encoding.len, encoding.data,
             serialized_length(e), entry_access(e), (long long)idle_seconds(call, e));
    call->reply->ops->simple(call->reply, kv_str(text));
}

/* ---- DIGEST, DIGEST-VALUE ---- */

/* DEBUG DIGEST */
static void reply_digest(kv_call *call) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    char text[DIGEST_TEXT];
    digest d;
    int err = digest_databases(call->databases, call->now_ms, &d);

    if (err) {
        kv_reply_error(call->reply, err);
        return;
    }
    digest_write(&d, text);
    call->reply->ops->simple(call->reply, kv_str(text));
}

/* DEBUG DIGEST-VALUE key [key ...] */
static void reply_digests(kv_call *call) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    kv_reply_array(call->reply, (size_t)call->argc - 2);
    for (int i = 2; i < call->argc; i++) {
        char text[DIGEST_TEXT];
        digest d;

        digest_value(store_find(call->store, store_key_of(call->store, call->argv[i]), call->now_ms), &d);
        digest_write(&d, text);
        call->reply->ops->simple(call->reply, kv_str(text));
    }
}

/* ---- HTSTATS ---- */

/* DEBUG HTSTATS dbid */
static void reply_table(kv_call *call) KV_REQUIRES(kv_epoch_held)
{
    int64_t db;
    char *text;

    if (!kv_parse_int(call->argv[2], &db)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return;
    }
    if (db < 0 || db >= call->databases->count) {
        kv_reply_errorf(call->reply, "ERR Out of range database");
        return;
    }
    text = hash_figures_text(call->databases->stores[db]);
    if (text)
        call->reply->ops->verbatim(call->reply, kv_str(text), "txt");
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    free(text);
}

/* ---- POPULATE ---- */

struct absent {
    kv_slice value;
};

KV_UNDER_LOCK static int set_if_absent(kv_slot *slot, void *arg)
{
    const struct absent *absent = arg;

    return kv_slot_entry(slot) ? 0 : kv_slot_set(slot, absent->value);
}

/* Fills value with "value:<n>", cut or followed by zero bytes to size when that is not 0; its length. */
static size_t make_value(char *value, size_t size, int64_t n)
{
    char text[VALUE_MAX];
    size_t len = (size_t)snprintf(text, sizeof text, "value:%lld", (long long)n);

    if (size == 0) {
        memcpy(value, text, len);
        return len;
    }
    memset(value, 0, size);
    memcpy(value, text, len < size ? len : size);
    return size;
}

static int populate(kv_call *call, int64_t count, kv_slice prefix, char *value, size_t size)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    char *name = malloc(prefix.len + VALUE_MAX);
    int err = name ? 0 : KV_ENOMEM;

    if (!name)
        return err;
    if (prefix.len)
        memcpy(name, prefix.data, prefix.len);
    for (int64_t n = 0; n < count && !err; n++) {
        size_t len = prefix.len + (size_t)snprintf(name + prefix.len, VALUE_MAX, ":%lld", (long long)n);
        struct absent absent = { kv_slice_of(value, make_value(value, size, n)) };

        err = store_update(call->store, store_key_of(call->store, kv_slice_of(name, len)), set_if_absent,
                           &absent, call->now_ms);
    }
    free(name);
    return err;
}

/* DEBUG POPULATE count [prefix [size]] */
static void populate_command(kv_call *call) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    kv_slice prefix = call->argc > 3 ? call->argv[3] : KV_STR("key");
    int64_t count, size = 0;
    char *value;
    int err;

    if (!kv_parse_int(call->argv[2], &count) || count < 0 || count > POPULATE_MAX ||
        (call->argc > 4 && (!kv_parse_int(call->argv[4], &size) || size < 0))) {
        kv_reply_errorf(call->reply, "ERR value is out of range, must be positive");
        return;
    }
    if ((uint64_t)size > call->value_max) {
        kv_reply_error(call->reply, KV_ETOOBIG);
        return;
    }
    value = malloc(size ? (size_t)size : VALUE_MAX);
    err = value ? populate(call, count, prefix, value, (size_t)size) : KV_ENOMEM;
    free(value);
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_ok(call->reply);
}

/* ---- RELOAD ---- */

static void begin_reload(kv_call *call, unsigned how)
{
    connection *c = session_connection(call);

    if (session_in_exec(call))
        kv_reply_errorf(call->reply, "ERR DEBUG %s inside MULTI is not possible",
                        how & PERSISTENCE_FROM_LOG ? "LOADAOF" : "RELOAD");
    else if (persistence_reload_for(session_server(call)->persistence, c, how) == PERSISTENCE_BUSY)
        kv_reply_errorf(call->reply, "ERR Background save already in progress");
}

/* DEBUG RELOAD [NOSAVE] [NOFLUSH] [MERGE]: what is loaded replaces keys of the same name in any case. */
static void reload(kv_call *call)
{
    unsigned how = 0;

    for (int i = 2; i < call->argc; i++)
        if (kv_word_is(call->argv[i], "nosave"))
            how |= PERSISTENCE_NO_SAVE;
        else if (kv_word_is(call->argv[i], "noflush"))
            how |= PERSISTENCE_NO_FLUSH;
        else if (!kv_word_is(call->argv[i], "merge")) {
            kv_reply_errorf(call->reply,
                            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    begin_reload(call, how);
}

/* DEBUG LOADAOF */
static void load_log(kv_call *call)
{
    if (aof_listens(session_server(call)))
        begin_reload(call, PERSISTENCE_FROM_LOG);
    else
        kv_reply_errorf(call->reply, "ERR DEBUG LOADAOF needs appendonly yes: there is no log");
}

/* ---- PROTOCOL ---- */

static void reply_numbers(kv_reply *r)
{
    for (int i = 0; i < 3; i++)
        kv_reply_int(r, i);
}

static void reply_map(kv_reply *r)
{
    r->ops->map(r, 3);
    for (int i = 0; i < 3; i++) {
        kv_reply_int(r, i);
        r->ops->boolean(r, i == 1);
    }
}

static void reply_push(kv_reply *r)
{
    if (r->protocol < 3) {
        kv_reply_errorf(r, "ERR RESP2 is not supported by this command");
        return;
    }
    r->ops->push(r, 2);
    kv_reply_bulk(r, KV_STR("server-cpu-usage"));
    kv_reply_int(r, 42);
    kv_reply_bulk(r, KV_STR("Some real reply following the push reply"));
}

/* DEBUG PROTOCOL type: the replies of Redis, for tests of clients. */
static void reply_protocol(kv_call *call)
{
    kv_reply *r = call->reply;
    kv_slice type = call->argv[2];

    if (kv_word_is(type, "string"))
        kv_reply_bulk(r, KV_STR("Hello World"));
    else if (kv_word_is(type, "integer"))
        kv_reply_int(r, 12345);
    else if (kv_word_is(type, "double"))
        r->ops->real(r, 3.141);
    else if (kv_word_is(type, "bignum"))
        resp_reply_bignum(r, KV_STR("1234567999999999999999999999999999999"));
    else if (kv_word_is(type, "null"))
        kv_reply_null(r);
    else if (kv_word_is(type, "array")) {
        kv_reply_array(r, 3);
        reply_numbers(r);
    } else if (kv_word_is(type, "set")) {
        r->ops->set(r, 3);
        reply_numbers(r);
    } else if (kv_word_is(type, "map"))
        reply_map(r);
    else if (kv_word_is(type, "attrib")) {
        if (resp_reply_attribute(r, 1)) {
            kv_reply_bulk(r, KV_STR("key-popularity"));
            kv_reply_array(r, 2);
            kv_reply_bulk(r, KV_STR("key:123"));
            kv_reply_int(r, 90);
        }
        kv_reply_bulk(r, KV_STR("Some real reply following the attribute"));
    } else if (kv_word_is(type, "push"))
        reply_push(r);
    else if (kv_word_is(type, "verbatim"))
        r->ops->verbatim(r, KV_STR("This is a verbatim\nstring"), "txt");
    else if (kv_word_is(type, "true") || kv_word_is(type, "false"))
        r->ops->boolean(r, kv_word_is(type, "true"));
    else
        kv_reply_errorf(r, "ERR Wrong protocol type name. Please use one of the following: "
                           "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

/* ---- SET-ACTIVE-EXPIRE and switches without meaning here ---- */

/* DEBUG SET-ACTIVE-EXPIRE 0 | 1: as Redis reads it, what is no number is 0. */
static void set_active_expire(kv_call *call)
{
    int64_t on = 0;

    kv_parse_int(call->argv[2], &on);
    atomic_store_explicit(&session_server(call)->no_active_expire, on == 0, memory_order_relaxed);
    kv_reply_ok(call->reply);
}

/* Switches of Redis's encodings and buffers, which suites set before they test something else. */
static void accept_switch(kv_call *call)
{
    kv_reply_ok(call->reply);
}

/* DEBUG CONFIG-REWRITE-FORCE-ALL */
static void rewrite_config(kv_call *call)
{
    config_error error;

    if (session_rewrite_config(session_server(call), config_rewrite_all, &error) != 0)
        kv_reply_errorf(call->reply, "ERR CONFIG-REWRITE-FORCE-ALL failed: %s", error.text);
    else
        kv_reply_ok(call->reply);
}

/* DEBUG HELP */
static void reply_help(kv_call *call)
{
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONFIG-REWRITE-FORCE-ALL",
        "    As CONFIG REWRITE, with a line for every directive.",
        "DIGEST",
        "    A hash of all that the databases hold, the same as redis-server's of the same content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    The same of single values.",
        "ERROR <string>",
        "    Reply an error with that text.",
        "HTSTATS <dbid>",
        "    How the keys of a database are spread over its index.",
        "LOADAOF",
        "    Sync the log of changes, empty the databases and load the log.",
        "LOG <message>",
        "    Write into the server's log.",
        "OBJECT <key>",
        "    How a value is stored.",
        "POPULATE <count> [<prefix> [<size>]]",
        "    Create <count> strings named <prefix>:<n> (key), unless they exist.",
        "PROTOCOL <type>",
        "    Reply a value of a type: string, integer, double, bignum, null, array, set, map,",
        "    attrib, push, verbatim, true, false.",
        "QUICKLIST-PACKED-THRESHOLD, REPLYBUFFER, SET-DISABLE-DENY-SCRIPTS <value ...>",
        "    Accepted; there is nothing here that these switch.",
        "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
        "    Save, empty the databases and load what was saved; without one or the other.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Whether keys are removed at their deadlines when nobody looks at them.",
        "SLEEP <seconds>",
        "    Hold the worker of this connection. Decimals are allowed.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}

/* ---- DEBUG ---- */

static const struct {
    const char *name;
    int least, most; /* arguments behind it */
    void (*run)(kv_call *call);
} subcommands[] = {
    { "config-rewrite-force-all", 0, 0, rewrite_config },
    { "digest", 0, 0, reply_digest },
    { "digest-value", 1, INT32_MAX, reply_digests },
    { "error", 1, 1, reply_error },
    { "help", 0, 0, reply_help },
    { "htstats", 1, 1, reply_table },
    { "loadaof", 0, 0, load_log },
    { "log", 1, 1, write_log },
    { "object", 1, 2, describe_object },
    { "populate", 1, 3, populate_command },
    { "protocol", 1, 1, reply_protocol },
    { "quicklist-packed-threshold", 1, 1, accept_switch },
    { "reload", 0, INT32_MAX, reload },
    { "replybuffer", 2, 2, accept_switch },
    { "set-active-expire", 1, 1, set_active_expire },
    { "set-disable-deny-scripts", 1, 1, accept_switch },
    { "sleep", 1, 1, sleep_here },
};

/* DEBUG subcommand [argument ...] */
void session_debug(kv_call *call)
{
    int arguments = call->argc - 2;

    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++)
        if (kv_word_is(call->argv[1], subcommands[i].name) && arguments >= subcommands[i].least &&
            arguments <= subcommands[i].most) {
            subcommands[i].run(call);
            return;
        }
    kv_reply_errorf(call->reply,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
                    kv_echo_len(call->argv[1], KV_ECHO_MAX), call->argv[1].data);
}
