/* typed_calls.c - the calls with types: each builds its words, and takes its result out of the reply.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "failure.h"
#include "reply.h"

/* A command of a few words, numbers among them; room for what the longest needs (SET with all its options). */
enum { words_max = 12, number_size = 24 };

typedef struct words {
    size_t n;
    kvc_slice argv[words_max];
    size_t numbers;
    char digits[4][number_size];
} words;

static void add(words *w, kvc_slice word)
{
    w->argv[w->n++] = word;
}

static void add_word(words *w, const char *word)
{
    add(w, kvc_str(word));
}

static void add_int(words *w, int64_t number)
{
    char *digits = w->digits[w->numbers++];

    add(w, kvc_bytes(digits, (size_t)snprintf(digits, number_size, "%" PRId64, number)));
}

/* Versions are signed in RESP. */
static void add_version(words *w, uint64_t version)
{
    add_word(w, "IFVER");
    add_int(w, (int64_t)version);
}

static words command(const char *name)
{
    words w;

    w.n = w.numbers = 0;
    add_word(&w, name);
    return w;
}

static words command_of_key(const char *name, kvc_slice key)
{
    words w = command(name);

    add(&w, key);
    return w;
}

/* ---- results ---- */

static kvc_status call_argv(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                            kvc_error *error)
{
    kvc_status status = client->ops->call(client, argc, argv, ret_reply, error);

    return status == KVC_OK ? kvc_check_reply(ret_reply, error) : status;
}

static kvc_status call(kvc_client *client, const words *w, kvc_reply **ret_reply, kvc_error *error)
{
    return call_argv(client, w->n, w->argv, ret_reply, error);
}

/* The command was executed, and answered what it never answers. */
static kvc_status wrong_type(kvc_slice name, const char *expected, kvc_error *error)
{
    kvc_fail(error, KVC_ETYPE, "the reply to %.*s is not %s", (int)name.len, name.data, expected);
    if (error)
        error->sent = true;
    return KVC_ETYPE;
}

/* An integer; ret_number may be NULL. */
static kvc_status call_int_argv(kvc_client *client, size_t argc, const kvc_slice *argv, int64_t *ret_number,
                                kvc_error *error)
{
    kvc_reply *reply;
    kvc_status status = call_argv(client, argc, argv, &reply, error);

    if (ret_number)
        *ret_number = 0;
    if (status == KVC_OK && kvc_reply_type(reply) != KVC_TYPE_INT)
        status = wrong_type(argv[0], "an integer", error);
    if (status == KVC_OK && ret_number)
        *ret_number = kvc_reply_int(reply);
    kvc_reply_free(reply);
    return status;
}

static kvc_status call_int(kvc_client *client, const words *w, int64_t *ret_number, kvc_error *error)
{
    return call_int_argv(client, w->n, w->argv, ret_number, error);
}

/* An integer that says whether it was done: KVC_NIL for 0. */
static kvc_status call_done(kvc_client *client, const words *w, kvc_error *error)
{
    int64_t done;
    kvc_status status = call_int(client, w, &done, error);

    return status == KVC_OK && done == 0 ? KVC_NIL : status;
}

/* A string, or KVC_NIL for null. */
static kvc_status call_string(kvc_client *client, const words *w, kvc_reply **ret_value, kvc_error *error)
{
    kvc_reply *reply;
    kvc_status status = call(client, w, &reply, error);

    *ret_value = NULL;
    if (status == KVC_OK && kvc_reply_type(reply) == KVC_TYPE_NIL)
        status = KVC_NIL;
    else if (status == KVC_OK && kvc_reply_type(reply) != KVC_TYPE_STRING)
        status = wrong_type(w->argv[0], "a string", error);
    if (status == KVC_OK)
        *ret_value = reply;
    else
        kvc_reply_free(reply);
    return status;
}

/* +OK (or another simple word), or KVC_NIL for null. */
static kvc_status call_ok(kvc_client *client, const words *w, kvc_error *error)
{
    kvc_reply *reply;
    kvc_status status = call(client, w, &reply, error);

    if (status == KVC_OK && kvc_reply_type(reply) == KVC_TYPE_NIL)
        status = KVC_NIL;
    else if (status == KVC_OK && kvc_reply_type(reply) != KVC_TYPE_SIMPLE)
        status = wrong_type(w->argv[0], "OK", error);
    kvc_reply_free(reply);
    return status;
}

/* ---- one key ---- */

kvc_status kvc_ping(kvc_client *client, kvc_error *error)
{
    words w = command("PING");

    return call_ok(client, &w, error);
}

kvc_status kvc_get(kvc_client *client, kvc_slice key, kvc_reply **ret_value, kvc_error *error)
{
    words w = command_of_key("GET", key);

    return call_string(client, &w, ret_value, error);
}

kvc_status kvc_get_into(kvc_client *client, kvc_slice key, void *buffer, size_t size, size_t *ret_len,
                        kvc_error *error)
{
    kvc_reply *value;
    kvc_slice text;
    kvc_status status = kvc_get(client, key, &value, error);

    *ret_len = 0;
    if (status != KVC_OK)
        return status;
    text = kvc_reply_text(value);
    *ret_len = text.len;
    if (size)
        memcpy(buffer, text.data, text.len < size ? text.len : size);
    kvc_reply_free(value);
    return KVC_OK;
}

kvc_status kvc_get_versioned(kvc_client *client, kvc_slice key, kvc_versioned *ret_value, kvc_error *error)
{
    words w = command_of_key("GETV", key);
    kvc_reply *reply;
    kvc_status status = call(client, &w, &reply, error);

    *ret_value = (kvc_versioned){ .value = NULL };
    if (status == KVC_OK && kvc_reply_type(reply) == KVC_TYPE_NIL)
        status = KVC_NIL;
    else if (status == KVC_OK &&
             (kvc_reply_count(reply) != 3 || kvc_reply_type(kvc_reply_at(reply, 0)) != KVC_TYPE_STRING))
        status = wrong_type(w.argv[0], "value, version and time left", error);
    if (status == KVC_OK) {
        ret_value->version = (uint64_t)kvc_reply_int(kvc_reply_at(reply, 1));
        ret_value->ttl_ms = kvc_reply_int(kvc_reply_at(reply, 2));
        ret_value->value = reply->is.elements.items[0]; /* moves out of the array */
        reply->is.elements.items[0] = NULL;
    }
    kvc_reply_free(reply);
    return status;
}

static kvc_status add_condition(words *w, const kvc_set_options *options, kvc_error *error)
{
    switch (options->condition) {
    case KVC_ALWAYS:
        return KVC_OK;
    case KVC_IF_ABSENT:
        add_word(w, "NX");
        return KVC_OK;
    case KVC_IF_PRESENT:
        add_word(w, "XX");
        return KVC_OK;
    case KVC_IF_EQUAL:
    case KVC_IF_NOT_EQUAL:
        add_word(w, options->condition == KVC_IF_EQUAL ? "IFEQ" : "IFNE");
        add(w, options->compare);
        return KVC_OK;
    case KVC_IF_VERSION:
        add_version(w, options->version);
        return KVC_OK;
    }
    return kvc_fail(error, KVC_EARG, "condition is %d; expected one of kvc_condition",
                    (int)options->condition);
}

static kvc_status add_lifetime(words *w, const kvc_set_options *options, kvc_error *error)
{
    if (options->ttl_ms < 0 || options->deadline_ms < 0)
        return kvc_fail(error, KVC_EARG,
                        "ttl_ms is %" PRId64 " and deadline_ms %" PRId64 "; expected none below 0",
                        options->ttl_ms, options->deadline_ms);
    if ((options->ttl_ms != 0) + (options->deadline_ms != 0) + options->keep_ttl > 1)
        return kvc_fail(error, KVC_EARG, "ttl_ms, deadline_ms and keep_ttl: only one of them can be set");
    if (options->ttl_ms) {
        add_word(w, "PX");
        add_int(w, options->ttl_ms);
    } else if (options->deadline_ms) {
        add_word(w, "PXAT");
        add_int(w, options->deadline_ms);
    } else if (options->keep_ttl) {
        add_word(w, "KEEPTTL");
    }
    return KVC_OK;
}

kvc_status kvc_set(kvc_client *client, kvc_slice key, kvc_slice value, const kvc_set_options *options,
                   kvc_error *error)
{
    words w = command_of_key("SET", key);
    kvc_status status = KVC_OK;

    add(&w, value);
    if (options)
        status = add_condition(&w, options, error);
    if (options && status == KVC_OK)
        status = add_lifetime(&w, options, error);
    return status == KVC_OK ? call_ok(client, &w, error) : status;
}

/* Null is an answer here: there was no value. */
static kvc_status call_old_value(kvc_client *client, const words *w, kvc_reply **ret_old, kvc_error *error)
{
    kvc_status status = call_string(client, w, ret_old, error);

    return status == KVC_NIL ? KVC_OK : status;
}

kvc_status kvc_get_set(kvc_client *client, kvc_slice key, kvc_slice value, kvc_reply **ret_old,
                       kvc_error *error)
{
    words w = command_of_key("SET", key);

    add(&w, value);
    add_word(&w, "GET");
    return call_old_value(client, &w, ret_old, error);
}

kvc_status kvc_get_delete(kvc_client *client, kvc_slice key, kvc_reply **ret_old, kvc_error *error)
{
    words w = command_of_key("GETDEL", key);

    return call_string(client, &w, ret_old, error);
}

kvc_status kvc_delete_if_equal(kvc_client *client, kvc_slice key, kvc_slice value, kvc_error *error)
{
    words w = command_of_key("DELIFEQ", key);

    add(&w, value);
    return call_done(client, &w, error);
}

kvc_status kvc_delete_if_version(kvc_client *client, kvc_slice key, uint64_t version, kvc_error *error)
{
    words w = command_of_key("DELEX", key);

    add_version(&w, version);
    return call_done(client, &w, error);
}

kvc_status kvc_exists(kvc_client *client, kvc_slice key, bool *ret_exists, kvc_error *error)
{
    words w = command_of_key("EXISTS", key);
    int64_t count;
    kvc_status status = call_int(client, &w, &count, error);

    *ret_exists = count > 0;
    return status;
}

kvc_status kvc_increment(kvc_client *client, kvc_slice key, int64_t by, int64_t *ret_sum, kvc_error *error)
{
    words w = command_of_key("INCRBY", key);

    add_int(&w, by);
    return call_int(client, &w, ret_sum, error);
}

kvc_status kvc_append(kvc_client *client, kvc_slice key, kvc_slice value, int64_t *ret_len, kvc_error *error)
{
    words w = command_of_key("APPEND", key);

    add(&w, value);
    return call_int(client, &w, ret_len, error);
}

kvc_status kvc_strlen(kvc_client *client, kvc_slice key, int64_t *ret_len, kvc_error *error)
{
    words w = command_of_key("STRLEN", key);

    return call_int(client, &w, ret_len, error);
}

kvc_status kvc_expire(kvc_client *client, kvc_slice key, int64_t ttl_ms, kvc_error *error)
{
    words w = command_of_key("PEXPIRE", key);

    add_int(&w, ttl_ms);
    return call_done(client, &w, error);
}

kvc_status kvc_persist(kvc_client *client, kvc_slice key, kvc_error *error)
{
    words w = command_of_key("PERSIST", key);

    return call_done(client, &w, error);
}

kvc_status kvc_ttl(kvc_client *client, kvc_slice key, int64_t *ret_ttl_ms, kvc_error *error)
{
    words w = command_of_key("PTTL", key);
    kvc_status status = call_int(client, &w, ret_ttl_ms, error);

    if (status != KVC_OK || *ret_ttl_ms != -2)
        return status;
    *ret_ttl_ms = 0;
    return KVC_NIL;
}

kvc_status kvc_rename(kvc_client *client, kvc_slice from, kvc_slice to, kvc_error *error)
{
    words w = command_of_key("RENAME", from);

    add(&w, to);
    return call_ok(client, &w, error);
}

kvc_status kvc_publish(kvc_client *client, kvc_slice channel, kvc_slice message, int64_t *ret_receivers,
                       kvc_error *error)
{
    words w = command_of_key("PUBLISH", channel);

    add(&w, message);
    return call_int(client, &w, ret_receivers, error);
}

/* ---- many keys ---- */

/* name and then, for each i, keys[i] and (unless NULL) values[i]; NULL: out of memory. */
static kvc_slice *list_command(const char *name, const kvc_slice *keys, const kvc_slice *values, size_t n,
                               size_t *ret_argc)
{
    size_t argc = 1, each = values ? 2 : 1;
    kvc_slice *argv = n < SIZE_MAX / each / sizeof *argv - 1 ? malloc((1 + n * each) * sizeof *argv) : NULL;

    if (!argv)
        return NULL;
    argv[0] = kvc_str(name);
    for (size_t i = 0; i < n; i++) {
        argv[argc++] = keys[i];
        if (values)
            argv[argc++] = values[i];
    }
    *ret_argc = argc;
    return argv;
}

static kvc_status no_keys(kvc_error *error)
{
    return kvc_fail(error, KVC_EARG, "n is 0; expected at least one key");
}

kvc_status kvc_delete(kvc_client *client, const kvc_slice *keys, size_t n, int64_t *ret_removed,
                      kvc_error *error)
{
    kvc_slice *argv;
    size_t argc;
    kvc_status status;

    if (ret_removed)
        *ret_removed = 0;
    if (n == 0)
        return no_keys(error);
    argv = list_command("DEL", keys, NULL, n, &argc);
    if (!argv)
        return kvc_fail_nomem(error);
    status = call_int_argv(client, argc, argv, ret_removed, error);
    free(argv);
    return status;
}

kvc_status kvc_get_many(kvc_client *client, const kvc_slice *keys, size_t n, kvc_reply **ret_values,
                        kvc_error *error)
{
    kvc_reply *reply;
    kvc_slice *argv;
    size_t argc;
    kvc_status status;

    *ret_values = NULL;
    if (n == 0)
        return no_keys(error);
    argv = list_command("MGET", keys, NULL, n, &argc);
    if (!argv)
        return kvc_fail_nomem(error);
    status = call_argv(client, argc, argv, &reply, error);
    if (status == KVC_OK && (kvc_reply_type(reply) != KVC_TYPE_ARRAY || kvc_reply_count(reply) != n))
        status = wrong_type(argv[0], "one value for each key", error);
    if (status == KVC_OK)
        *ret_values = reply;
    else
        kvc_reply_free(reply);
    free(argv);
    return status;
}

kvc_status kvc_set_many(kvc_client *client, const kvc_slice *keys, const kvc_slice *values, size_t n,
                        kvc_error *error)
{
    kvc_reply *reply;
    kvc_slice *argv;
    size_t argc;
    kvc_status status;

    if (n == 0)
        return no_keys(error);
    argv = list_command("MSET", keys, values, n, &argc);
    if (!argv)
        return kvc_fail_nomem(error);
    status = call_argv(client, argc, argv, &reply, error);
    kvc_reply_free(reply);
    free(argv);
    return status;
}

/* ---- scanning ---- */

/* Shows the keys of one reply to visit; true: it had enough. */
static bool show_keys(const kvc_reply *keys, kvc_scan_fn *visit, void *arg)
{
    for (size_t i = 0; i < kvc_reply_count(keys); i++)
        if (visit(arg, kvc_reply_text(kvc_reply_at(keys, i))) != 0)
            return true;
    return false;
}

typedef struct scan {
    const char *match; /* or NULL */
    uint32_t count;
    kvc_scan_fn *visit;
    void *arg;
    bool enough; /* visit said so */
} scan;

/* One round trip to a node (see kvc_client_ops.find_node); cursor moves on. */
static kvc_status scan_step(kvc_client *client, size_t node, scan *s, char cursor[number_size],
                            kvc_error *error)
{
    words w = command("SCAN");
    kvc_reply *reply;
    kvc_slice next;
    kvc_status status;

    add_word(&w, cursor);
    if (s->match) {
        add_word(&w, "MATCH");
        add_word(&w, s->match);
    }
    add_word(&w, "COUNT");
    add_int(&w, s->count);
    status = client->ops->call_node ? client->ops->call_node(client, node, w.n, w.argv, &reply, error)
                                    : client->ops->call(client, w.n, w.argv, &reply, error);
    if (status == KVC_OK)
        status = kvc_check_reply(&reply, error);
    if (status != KVC_OK)
        return status;
    next = kvc_reply_text(kvc_reply_at(reply, 0));
    if (kvc_reply_count(reply) != 2 || next.len == 0 || next.len >= number_size) {
        kvc_reply_free(reply);
        return wrong_type(w.argv[0], "a cursor and keys", error);
    }
    memcpy(cursor, next.data, next.len + 1);
    s->enough = show_keys(kvc_reply_at(reply, 1), s->visit, s->arg);
    kvc_reply_free(reply);
    return KVC_OK;
}

kvc_status kvc_scan(kvc_client *client, const char *match, uint32_t count, kvc_scan_fn *visit, void *arg,
                    kvc_error *error)
{
    scan s = { .match = match, .count = count ? count : 100, .visit = visit, .arg = arg };
    kvc_status status = KVC_OK;

    for (size_t node = 0; client->ops->find_node ? client->ops->find_node(client, &node) : node == 0;
         node++) {
        char cursor[number_size] = "0";

        do
            status = scan_step(client, node, &s, cursor, error);
        while (status == KVC_OK && !s.enough && strcmp(cursor, "0") != 0);
        if (status != KVC_OK || s.enough)
            break;
    }
    return status;
}
