/* server_test.c - the client and a real server: typed calls, pipelines, transactions, sessions.
 *
 * The program's argument is the server: "kvserver", or "redis" (redis-server); or "store", "store-mutex", "store-actor": the
 * same calls on a store in this process.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kvclient.h"
#include "kvstore/kvstore.h"
#include "server.h"
#include "show.h"

static server *running;
static kv_store *store; /* or NULL */
static bool is_redis;
static kvc_client *client;
static kvc_error error;

static kvc_client *open_uri(const char *format, ...) __attribute__((format(printf, 1, 2)));
static kvc_client *open_uri(const char *format, ...)
{
    char uri[512];
    kvc_client *opened;
    va_list args;

    va_start(args, format);
    vsnprintf(uri, sizeof uri, format, args);
    va_end(args);
    if (kvc_open_uri(uri, &opened, &error) != KVC_OK)
        fail_msg("%s: %s", uri, error.message);
    return opened;
}

static int set_up(void **state)
{
    kvc_reply *reply;

    (void)state;
    if (!store)
        client = open_uri("redis://:secret@127.0.0.1:%d/3?client_name=test", server_port(running));
    else if (kvc_open_store(store, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    if (kvc_command_strings(client, (const char *const[]){ "FLUSHALL", NULL }, &reply, &error) != KVC_OK)
        fail_msg("%s", error.message);
    kvc_reply_free(reply);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kvc_close(client);
    return 0;
}

/* An expression answers status; otherwise the test says what the error was. */
#define gives(expected, expression) check_status(expected, expression, __FILE__, __LINE__)
static void check_status(kvc_status expected, kvc_status status, const char *file, int line)
{
    if (status == expected)
        return;
    print_error("%s, not %s: %s\n", kvc_status_name(status), kvc_status_name(expected), error.message);
    _fail(file, line);
}

static void sets(const char *key, const char *value)
{
    gives(KVC_OK, kvc_set(client, kvc_str(key), kvc_str(value), NULL, &error));
}

static void has(const char *key, const char *text)
{
    kvc_reply *value;

    gives(*text == '_' ? KVC_NIL : KVC_OK, kvc_get(client, kvc_str(key), &value, &error));
    assert_shows(value, text);
}

#define says(text, ...) says_words(text, (const char *const[]){ __VA_ARGS__, NULL })
static void says_words(const char *text, const char *const words[])
{
    kvc_reply *reply;

    gives(KVC_OK, kvc_command_strings(client, words, &reply, &error));
    assert_shows(reply, text);
}

/* ---- typed calls ---- */

static void strings_are_set_and_read(void **state)
{
    char buffer[4] = "";
    kvc_reply *old;
    size_t len;
    int64_t number;

    (void)state;
    gives(KVC_OK, kvc_ping(client, &error));
    has("k", "_");
    sets("k", "value");
    has("k", "$value");
    gives(KVC_OK, kvc_set(client, kvc_str("bin"), kvc_bytes("a\0\r\n", 4), NULL, &error));
    gives(KVC_OK, kvc_get_into(client, kvc_str("bin"), buffer, sizeof buffer, &len, &error));
    assert_int_equal(len, 4);
    assert_memory_equal(buffer, "a\0\r\n", 4);
    gives(KVC_OK, kvc_get_into(client, kvc_str("k"), buffer, sizeof buffer, &len, &error));
    assert_int_equal(len, 5);
    assert_memory_equal(buffer, "valu", 4);
    gives(KVC_NIL, kvc_get_into(client, kvc_str("none"), buffer, sizeof buffer, &len, &error));
    assert_int_equal(len, 0);
    gives(KVC_OK, kvc_append(client, kvc_str("k"), kvc_str("!"), &number, &error));
    assert_int_equal(number, 6);
    gives(KVC_OK, kvc_strlen(client, kvc_str("k"), &number, &error));
    assert_int_equal(number, 6);
    gives(KVC_OK, kvc_get_set(client, kvc_str("k"), kvc_str("new"), &old, &error));
    assert_shows(old, "$value!");
    gives(KVC_OK, kvc_get_set(client, kvc_str("fresh"), kvc_str("x"), &old, &error));
    assert_null(old);
    gives(KVC_OK, kvc_get_delete(client, kvc_str("k"), &old, &error));
    assert_shows(old, "$new");
    gives(KVC_NIL, kvc_get_delete(client, kvc_str("k"), &old, &error));
    assert_null(old);
}

static void counters_count(void **state)
{
    int64_t sum;

    (void)state;
    gives(KVC_OK, kvc_increment(client, kvc_str("n"), 5, &sum, &error));
    gives(KVC_OK, kvc_increment(client, kvc_str("n"), -7, &sum, &error));
    assert_int_equal(sum, -2);
    gives(KVC_OK, kvc_increment(client, kvc_str("n"), INT64_MAX, NULL, &error));
    gives(KVC_EREPLY, kvc_increment(client, kvc_str("n"), INT64_MAX, &sum, &error));
    assert_int_equal(sum, 0);
    assert_string_equal(error.code, "ERR");
    assert_string_equal(error.message, "ERR increment or decrement would overflow");
    assert_true(error.sent);
    sets("text", "many");
    gives(KVC_EREPLY, kvc_increment(client, kvc_str("text"), 1, &sum, &error));
}

static void keys_live_as_long_as_they_are_told(void **state)
{
    int64_t ttl_ms;
    bool exists;

    (void)state;
    gives(KVC_NIL, kvc_ttl(client, kvc_str("k"), &ttl_ms, &error));
    gives(KVC_NIL, kvc_expire(client, kvc_str("k"), 1000, &error));
    sets("k", "v");
    gives(KVC_OK, kvc_ttl(client, kvc_str("k"), &ttl_ms, &error));
    assert_int_equal(ttl_ms, -1);
    gives(KVC_OK, kvc_expire(client, kvc_str("k"), 1000000, &error));
    gives(KVC_OK, kvc_ttl(client, kvc_str("k"), &ttl_ms, &error));
    assert_in_range(ttl_ms, 900000, 1000000);
    gives(KVC_OK,
          kvc_set(client, kvc_str("k"), kvc_str("w"), &(kvc_set_options){ .keep_ttl = true }, &error));
    gives(KVC_OK, kvc_persist(client, kvc_str("k"), &error));
    gives(KVC_NIL, kvc_persist(client, kvc_str("k"), &error));
    gives(KVC_OK,
          kvc_set(client, kvc_str("k"), kvc_str("w"), &(kvc_set_options){ .ttl_ms = 500000 }, &error));
    gives(KVC_OK, kvc_ttl(client, kvc_str("k"), &ttl_ms, &error));
    assert_in_range(ttl_ms, 400000, 500000);
    gives(KVC_OK,
          kvc_set(client, kvc_str("k"), kvc_str("w"), &(kvc_set_options){ .deadline_ms = 1000 }, &error));
    gives(KVC_OK, kvc_exists(client, kvc_str("k"), &exists, &error));
    assert_false(exists);
    gives(KVC_EARG, kvc_set(client, kvc_str("k"), kvc_str("w"),
                            &(kvc_set_options){ .deadline_ms = 1000, .ttl_ms = 5 }, &error));
    assert_non_null(strstr(error.message, "only one of them"));
    gives(KVC_EARG, kvc_set(client, kvc_str("k"), kvc_str("w"), &(kvc_set_options){ .ttl_ms = -5 }, &error));
}

static void many_keys_go_in_one_command(void **state)
{
    kvc_slice keys[] = { kvc_str("a"), kvc_str("b"), kvc_str("c") };
    kvc_slice values[] = { kvc_str("1"), kvc_str("2"), kvc_str("3") };
    int64_t removed;
    kvc_reply *list;
    bool exists;

    (void)state;
    gives(KVC_OK, kvc_set_many(client, keys, values, 2, &error));
    gives(KVC_OK, kvc_get_many(client, keys, 3, &list, &error));
    assert_shows(list, "*[$1 $2 _]");
    gives(KVC_OK, kvc_rename(client, kvc_str("a"), kvc_str("z"), &error));
    gives(KVC_EREPLY, kvc_rename(client, kvc_str("a"), kvc_str("z"), &error));
    gives(KVC_OK, kvc_exists(client, kvc_str("z"), &exists, &error));
    assert_true(exists);
    gives(KVC_OK, kvc_delete(client, keys, 3, &removed, &error));
    assert_int_equal(removed, 1);
    gives(KVC_EARG, kvc_delete(client, keys, 0, &removed, &error));
    gives(KVC_EARG, kvc_get_many(client, keys, 0, &list, &error));
    gives(KVC_EARG, kvc_set_many(client, keys, values, 0, &error));
}

static void conditions_decide(void **state)
{
    kvc_slice k = kvc_str("k");

    (void)state;
    gives(KVC_NIL,
          kvc_set(client, k, kvc_str("1"), &(kvc_set_options){ .condition = KVC_IF_PRESENT }, &error));
    gives(KVC_OK, kvc_set(client, k, kvc_str("1"), &(kvc_set_options){ .condition = KVC_IF_ABSENT }, &error));
    gives(KVC_NIL,
          kvc_set(client, k, kvc_str("2"), &(kvc_set_options){ .condition = KVC_IF_ABSENT }, &error));
    has("k", "$1");
    gives(KVC_EARG,
          kvc_set(client, k, kvc_str("1"), &(kvc_set_options){ .condition = (kvc_condition)99 }, &error));
}

static void values_are_compared_and_set(void **state)
{
    kvc_slice k = kvc_str("k");
    kvc_set_options equal = { .condition = KVC_IF_EQUAL, .compare = kvc_str("1") };
    kvc_set_options version = { .condition = KVC_IF_VERSION };
    kvc_versioned seen;

    (void)state;
    sets("k", "1");
    if (is_redis) { /* 7.0 knows none of it, and says so */
        gives(KVC_EREPLY, kvc_set(client, k, kvc_str("2"), &equal, &error));
        gives(KVC_EREPLY, kvc_get_versioned(client, k, &seen, &error));
        assert_null(seen.value);
        return;
    }
    gives(KVC_OK, kvc_set(client, k, kvc_str("2"), &equal, &error));
    gives(KVC_NIL, kvc_set(client, k, kvc_str("3"), &equal, &error));
    equal.condition = KVC_IF_NOT_EQUAL;
    gives(KVC_OK, kvc_set(client, k, kvc_str("3"), &equal, &error));
    gives(KVC_OK, kvc_get_versioned(client, k, &seen, &error));
    assert_shows(seen.value, "$3");
    assert_int_equal(seen.ttl_ms, -1);
    version.version = seen.version;
    gives(KVC_OK, kvc_set(client, k, kvc_str("4"), &version, &error));
    gives(KVC_NIL, kvc_set(client, k, kvc_str("5"), &version, &error));
    gives(KVC_NIL, kvc_delete_if_version(client, k, seen.version, &error));
    gives(KVC_NIL, kvc_delete_if_equal(client, k, kvc_str("3"), &error));
    gives(KVC_OK, kvc_delete_if_equal(client, k, kvc_str("4"), &error));
    gives(KVC_NIL, kvc_get_versioned(client, k, &seen, &error));
    sets("k", "5");
    gives(KVC_OK, kvc_get_versioned(client, k, &seen, &error));
    kvc_reply_free(seen.value);
    gives(KVC_OK, kvc_delete_if_version(client, k, seen.version, &error));
}

static int count_key(void *arg, kvc_slice key)
{
    int *seen = arg;

    assert_true(key.len >= 2);
    return ++*seen == 700 ? 1 : 0;
}

static void a_scan_shows_every_key(void **state)
{
    int seen = 0;
    char key[16];

    (void)state;
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "s%d", i);
        sets(key, "x");
    }
    sets("other", "x");
    gives(KVC_OK, kvc_scan(client, "s*", 50, count_key, &seen, &error));
    assert_in_range(seen, 500, 699); /* a key may come twice */
    seen = 699;
    gives(KVC_OK, kvc_scan(client, NULL, 0, count_key, &seen, &error));
    assert_int_equal(seen, 700);
}

static void errors_are_words_of_the_server(void **state)
{
    kvc_reply *reply;
    int64_t receivers;

    (void)state;
    gives(KVC_EREPLY,
          kvc_command_strings(client, (const char *const[]){ "NOSUCH", "x", NULL }, &reply, &error));
    assert_null(reply);
    assert_string_equal(error.code, "ERR");
    gives(store ? KVC_ENOTSUP : KVC_OK,
          kvc_publish(client, kvc_str("nobody"), kvc_str("x"), &receivers, &error));
    assert_int_equal(receivers, 0);
    says("+OK", "MSET", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i",
         "9");
}

/* ---- the session ---- */

static void the_session_is_as_asked_for(void **state)
{
    kvc_client *zero = open_uri("unix://:secret@%s", server_socket(running));
    kvc_connection *connection;
    kvc_reply *value;

    (void)state;
    says("$test", "CLIENT", "GETNAME");
    sets("where", "three");
    gives(KVC_NIL, kvc_get(zero, kvc_str("where"), &value, &error));
    gives(KVC_OK, kvc_lease(client, 0, &connection, &error));
    assert_int_equal(kvc_connection_protocol(connection), kvc_build_info()->resp3 ? 3 : 2);
    assert_non_null(kvc_reply_find(kvc_connection_hello(connection), "server"));
    kvc_release(connection);
    kvc_close(zero);
}

static void a_lost_session_is_made_again(void **state)
{
    kvc_reply *id;

    (void)state;
    sets("where", "three");
    for (int i = 0; i < 5; i++) {
        kvc_client *killer = open_uri("redis://:secret@127.0.0.1:%d", server_port(running));
        char text[32];

        gives(KVC_OK,
              kvc_command_strings(client, (const char *const[]){ "CLIENT", "ID", NULL }, &id, &error));
        snprintf(text, sizeof text, "%" PRId64, kvc_reply_int(id));
        kvc_reply_free(id);
        gives(KVC_OK, kvc_command_strings(killer, (const char *const[]){ "CLIENT", "KILL", "ID", text, NULL },
                                          &id, &error));
        kvc_reply_free(id);
        kvc_close(killer);
        /* The loss shows at once, or by a command that was sent into it. */
        while (kvc_get(client, kvc_str("where"), &id, &error) != KVC_OK)
            assert_int_equal(error.status, KVC_ECLOSED);
        assert_shows(id, "$three");
        says("$test", "CLIENT", "GETNAME");
    }
}

static void a_wrong_password_is_told(void **state)
{
    char uri[128];
    kvc_client *refused;

    (void)state;
    snprintf(uri, sizeof uri, "redis://:wrong@127.0.0.1:%d", server_port(running));
    gives(KVC_EAUTH, kvc_open_uri(uri, &refused, &error));
    assert_string_equal(error.code, "WRONGPASS");
    assert_null(strstr(error.message, "wrong@"));
    snprintf(uri, sizeof uri, "redis://127.0.0.1:%d", server_port(running));
    gives(KVC_EAUTH, kvc_open_uri(uri, &refused, &error));
    assert_string_equal(error.code, "NOAUTH");
    snprintf(uri, sizeof uri, "redis://:secret@127.0.0.1:%d/9999", server_port(running));
    gives(KVC_EREPLY, kvc_open_uri(uri, &refused, &error));
    assert_non_null(strstr(error.message, "out of range"));
}

/* ---- pipelines and transactions ---- */

static kvc_pipeline *begin(kvc_pipeline_mode mode)
{
    kvc_pipeline *pipeline;

    gives(KVC_OK, kvc_pipeline_new(client, mode, &pipeline, &error));
    return pipeline;
}

#define add(pipeline, ...) add_words(pipeline, (const char *const[]){ __VA_ARGS__, NULL })
static void add_words(kvc_pipeline *pipeline, const char *const words[])
{
    kvc_slice argv[8];
    size_t argc = 0;

    for (; words[argc]; argc++)
        argv[argc] = kvc_str(words[argc]);
    gives(KVC_OK, kvc_pipeline_add(pipeline, argc, argv, &error));
}

static void run_shows(kvc_pipeline *pipeline, const char *text)
{
    kvc_reply *replies;

    gives(KVC_OK, kvc_pipeline_run(pipeline, &replies, &error));
    assert_shows(replies, text);
}

static void a_pipeline_answers_each_command(void **state)
{
    kvc_pipeline *pipeline = begin(KVC_PIPELINE);
    kvc_slice multi = kvc_str("MULTI");

    (void)state;
    run_shows(pipeline, "*[]");
    add(pipeline, "SET", "a", "1");
    add(pipeline, "INCR", "a");
    add(pipeline, "INCR", "a", "b");
    add(pipeline, "GET", "a");
    gives(KVC_ESTATE, kvc_pipeline_add(pipeline, 1, &multi, &error));
    run_shows(pipeline, "*[+OK :2 -ERR wrong number of arguments for 'incr' command $2]");
    add(pipeline, "GET", "a"); /* it is empty again, and can be used again */
    run_shows(pipeline, "*[$2]");
    kvc_pipeline_free(pipeline);
}

/* Much more than all buffers of sockets between hold, in both directions. */
static void a_long_pipeline_does_not_lock_up(void **state)
{
    enum { size = 64 * 1024, rounds = 300 };
    kvc_pipeline *pipeline = begin(KVC_PIPELINE);
    char *value = malloc(size);
    kvc_slice set[] = { kvc_str("SET"), kvc_str("big"), kvc_bytes(value, size) };
    kvc_reply *replies;

    (void)state;
    assert_non_null(value);
    memset(value, 'x', size);
    for (int i = 0; i < rounds; i++) {
        gives(KVC_OK, kvc_pipeline_add(pipeline, 3, set, &error));
        add(pipeline, "GET", "big");
    }
    gives(KVC_OK, kvc_pipeline_run(pipeline, &replies, &error));
    assert_int_equal(kvc_reply_count(replies), 2 * rounds);
    for (size_t i = 1; i < 2 * rounds; i += 2)
        assert_int_equal(kvc_reply_text(kvc_reply_at(replies, i)).len, size);
    kvc_reply_free(replies);
    kvc_pipeline_free(pipeline);
    free(value);
}

static void a_transaction_is_one_act(void **state)
{
    kvc_pipeline *pipeline = begin(KVC_TRANSACTION);
    kvc_reply *replies;

    (void)state;
    for (int i = 0; i < 2; i++) { /* the first asks whether there are transactions, the second knows */
        add(pipeline, "SET", "a", "1");
        add(pipeline, "INCR", "a");
        add(pipeline, "SET", "a", "text");
        add(pipeline, "INCR", "a");
        run_shows(pipeline, "*[+OK :2 +OK -ERR value is not an integer or out of range]");
    }
    sets("a", "kept");
    add(pipeline, "SET", "a", "1");
    add(pipeline, "NOSUCH");
    gives(KVC_EREPLY, kvc_pipeline_run(pipeline, &replies, &error));
    assert_null(replies);
    assert_non_null(strstr(error.message, "unknown command")); /* the reason, not EXECABORT */
    has("a", "$kept");
    add(pipeline, "INCRBY", "n", "5");
    add(pipeline, "GET", "n");
    run_shows(pipeline, "*[:5 $5]");
    kvc_pipeline_free(pipeline);
}

static void a_watched_key_must_not_change(void **state)
{
    kvc_pipeline *pipeline = begin(KVC_TRANSACTION);
    kvc_slice keys[] = { kvc_str("a"), kvc_str("b") }, get[] = { kvc_str("GET"), kvc_str("a") };
    kvc_reply *reply;

    (void)state;
    sets("a", "1");
    gives(KVC_ESTATE, kvc_pipeline_read(pipeline, 2, get, &reply, &error));
    for (int changed = 0; changed <= 1; changed++) {
        gives(KVC_OK, kvc_pipeline_watch(pipeline, keys, 2, &error));
        gives(KVC_OK, kvc_pipeline_read(pipeline, 2, get, &reply, &error));
        assert_shows(reply, "$1");
        if (changed)
            sets("b", "x");
        add(pipeline, "SET", "c", changed ? "no" : "yes");
        gives(KVC_ESTATE, kvc_pipeline_watch(pipeline, keys, 1, &error));
        if (changed)
            gives(KVC_NIL, kvc_pipeline_run(pipeline, &reply, &error));
        else
            gives(KVC_OK, kvc_pipeline_run(pipeline, &reply, &error));
        kvc_reply_free(reply);
        has("c", "$yes");
    }
    /* Given up: the connection goes back to nobody. */
    gives(KVC_OK, kvc_pipeline_watch(pipeline, keys, 2, &error));
    kvc_pipeline_free(pipeline);
    sets("a", "2");
    pipeline = begin(KVC_PIPELINE);
    gives(KVC_ESTATE, kvc_pipeline_watch(pipeline, keys, 1, &error));
    kvc_pipeline_free(pipeline);
}

static void a_lease_subscribes(void **state)
{
    kvc_connection *connection;
    kvc_slice subscribe[] = { kvc_str("SUBSCRIBE"), kvc_str("c"), kvc_str("d") };
    char *text;
    kvc_reply *reply;
    int64_t receivers;

    (void)state;
    gives(KVC_OK, kvc_lease(client, 0, &connection, &error));
    gives(KVC_OK, kvc_connection_command(connection, 3, subscribe, &reply, &error));
    text = show(reply);
    assert_string_equal(text + 1, "[$subscribe $c :1]");
    free(text);
    kvc_reply_free(reply);
    gives(KVC_OK, kvc_connection_next(connection, 0, &reply, &error));
    kvc_reply_free(reply);
    gives(KVC_OK, kvc_publish(client, kvc_str("d"), kvc_str("hello"), &receivers, &error));
    assert_int_equal(receivers, 1);
    gives(KVC_OK, kvc_connection_next(connection, 0, &reply, &error));
    text = show(reply);
    assert_string_equal(text + 1, "[$message $d $hello]");
    free(text);
    kvc_reply_free(reply);
    kvc_release(connection);
    has("k", "_");
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- a store in this process ---- */

static void what_needs_a_connection_is_not_supported(void **state)
{
    kvc_connection *connection;
    kvc_subscription *subscription;
    kvc_reply *reply;

    (void)state;
    gives(KVC_ENOTSUP, kvc_lease(client, 0, &connection, &error));
    assert_null(connection);
    gives(KVC_ENOTSUP, kvc_subscription_new(client, &subscription, &error));
    assert_null(subscription);
    gives(KVC_ENOTSUP, kvc_command_strings(client, (const char *const[]){ "INFO", NULL }, &reply, &error));
    assert_non_null(strstr(error.message, "INFO is a command of servers"));
    gives(KVC_ESTATE, kvc_command_strings(client, (const char *const[]){ "MULTI", NULL }, &reply, &error));
    says("+PONG", "PING");
    says("$hello", "ping", "hello");
    says("$hello", "echo", "hello");
}

static void the_store_is_the_one_that_was_given(void **state)
{
    kv_bytes *value;
    kvc_client *second;

    (void)state;
    sets("k", "from the client");
    value = kv_store_get(store, kv_str("k"), 1);
    assert_non_null(value);
    assert_int_equal(kv_bytes_slice(value).len, strlen("from the client"));
    kv_bytes_unref(value);
    gives(KVC_OK, kvc_open_store(store, &second, &error));
    gives(KVC_OK, kvc_set(second, kvc_str("k"), kvc_str("from another"), NULL, &error));
    kvc_close(second);
    has("k", "$from another");
    gives(KVC_EARG, kvc_open_store(NULL, &second, &error));
}

static int run_on_store(kv_sharing sharing)
{
    const struct CMUnitTest tests[] = {
        test(strings_are_set_and_read),
        test(counters_count),
        test(keys_live_as_long_as_they_are_told),
        test(many_keys_go_in_one_command),
        test(conditions_decide),
        test(values_are_compared_and_set),
        test(a_scan_shows_every_key),
        test(errors_are_words_of_the_server),
        test(a_pipeline_answers_each_command),
        test(a_transaction_is_one_act),
        test(a_watched_key_must_not_change),
        test(what_needs_a_connection_is_not_supported),
        test(the_store_is_the_one_that_was_given),
    };
    int failed;

    store = kv_store_new(&(kv_store_options){ .sharing = sharing });
    if (!store)
        return 1;
    failed = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    kv_store_unref(store);
    return failed;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        test(strings_are_set_and_read),
        test(counters_count),
        test(keys_live_as_long_as_they_are_told),
        test(many_keys_go_in_one_command),
        test(conditions_decide),
        test(values_are_compared_and_set),
        test(a_scan_shows_every_key),
        test(errors_are_words_of_the_server),
        test(the_session_is_as_asked_for),
        test(a_lost_session_is_made_again),
        test(a_wrong_password_is_told),
        test(a_pipeline_answers_each_command),
        test(a_long_pipeline_does_not_lock_up),
        test(a_transaction_is_one_act),
        test(a_watched_key_must_not_change),
        test(a_lease_subscribes),
    };
    const char *program;
    int failed;

    if (argc == 2 && strcmp(argv[1], "store") == 0)
        return run_on_store(KV_SHARING_SHARDED);
    if (argc == 2 && strcmp(argv[1], "store-mutex") == 0)
        return run_on_store(KV_SHARING_MUTEX);
    if (argc == 2 && strcmp(argv[1], "store-actor") == 0)
        return run_on_store(KV_SHARING_ACTOR);
    is_redis = argc == 2 && strcmp(argv[1], "redis") == 0;
    program = server_program(is_redis ? "redis-server" : "kvserver");
    if (!program)
        return 77;
    running = server_start_tcp(program, (const char *const[]){ "--requirepass", "secret", NULL });
    if (!running)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    return server_stop(running) ? failed : 1;
}
