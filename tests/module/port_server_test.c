/* port_server_test.c - the read port of the module inside real servers: permissions, a busy main thread, forks, limits,
 * everything that makes a handle stale. SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static server *s;
static conn *c;
static int number;
static char token[64];

static int begin(void **state)
{
    char port[16];

    (void)state;
    number = free_port();
    snprintf(port, sizeof port, "%d", number);
    s = host_start((const char *const[]){ "--kv.port", port, NULL });
    c = host_connect(s);
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_close(c);
    return server_stop(s) ? 0 : -1;
}

static void attach_by(conn *by, const char *key, char handle[64])
{
    const kv_slice argv[] = { KV_STR("KV.ATTACH"), kv_str(key) };
    reply *r = conn_ask(by, 2, argv);

    assert_non_null(r);
    assert_int_equal(r->count, 6);
    snprintf(handle, 64, "%s", r->elements[1].text);
    assert_true(r->elements[3].integer == number);
    snprintf(token, sizeof token, "%s", r->elements[5].text);
    reply_free(r);
}

static conn *open_port(void)
{
    conn *p = conn_open_tcp("127.0.0.1", number);

    assert_non_null(p);
    expect_reply(p, "+OK", "AUTH", token);
    return p;
}

/* ---- permissions ---- */

static void who_may_read_a_key_may_attach_it(void **state)
{
    conn *guest = host_connect(s);
    char handle[64];

    (void)state;
    expect_reply(c, "+OK", "ACL", "SETUSER", "guest", "on", "nopass", "%R~own:*", "+kv.attach");
    expect_reply(c, "+OK", "KV.SET", "own:1", "f", "1");
    expect_reply(c, "+OK", "KV.SET", "other", "f", "2");
    expect_reply(c, "+OK", "SET", "text", "2");
    expect_reply(guest, "+OK", "AUTH", "guest", "any");
    expect_reply(guest, "-NOPERM...", "KV.ATTACH", "other");
    attach_by(guest, "own:1", handle);
    conn *p = open_port();

    expect_reply(p, "$1", "KV.GET", handle, "f");
    expect_reply(p, "-ERR unknown command 'KV.SET'...", "KV.SET", handle, "f", "2");
    expect_reply(p, "-ERR unknown command 'GET'...", "GET", handle);
    expect_reply(p, "-ERR unknown command 'KV.ATTACH'...", "KV.ATTACH", "other");
    expect_reply(p, "-ERR wrong number of arguments...", "KV.GET", handle);
    expect_reply(c, "-WRONGTYPE...", "KV.ATTACH", "text");
    expect_reply(c, "-ERR wrong number of arguments...", "KV.ATTACH");
    conn_close(p);
    conn_close(guest);
}

/* ---- beside a busy server ---- */

static void the_port_answers_while_the_server_is_busy(void **state)
{
    conn *busy = host_connect(s), *p;
    const kv_slice forever[] = { KV_STR("EVAL"), KV_STR("while true do end"), KV_STR("0") };
    char handle[64];
    reply *r;

    (void)state;
    expect_reply(c, "+OK", "CONFIG", "SET", "lua-time-limit", "100");
    expect_reply(c, "+OK", "KV.MSET", "key", "a", "1", "b", "2");
    attach_by(c, "key", handle);
    p = open_port();
    assert_true(conn_send_args(busy, 3, forever));
    wait_for(c, "-BUSY...", "GET", "key");
    for (int i = 0; i < 1000; i++)
        expect_reply(p, "*3 $1 $2 _", "KV.MGET", handle, "a", "b", "c");
    wait_for(c, "+OK", "SCRIPT", "KILL");
    r = conn_read(busy);
    assert_true(r && r->type == '-');
    reply_free(r);
    conn_close(busy);
    conn_close(p);
}

/* ---- forks ---- */

static _Atomic bool stop;

static void *read_on(void *arg)
{
    const char *handle = arg;
    const kv_slice argv[] = { KV_STR("KV.MGET"), kv_str(handle), KV_STR("field:1"), KV_STR("field:2"),
                              KV_STR("count") };
    conn *p = open_port();
    const char *trouble = NULL;

    while (!atomic_load(&stop) && !trouble) {
        reply *r = conn_ask(p, 5, argv);

        if (!r || r->count != 3 || r->elements[0].type != '$' || strcmp(r->elements[1].text, "value") != 0)
            trouble = "not what was written";
        reply_free(r);
    }
    conn_close(p);
    return (void *)(uintptr_t)trouble;
}

static void save_often(void)
{
    char *text;

    for (int i = 0; i < 20; i++) {
        free(say(c, "KV.INCR", "key", "count"));
        expect_reply(c, "+Background saving started", "BGSAVE");
        while (host_info(c, "persistence", "rdb_bgsave_in_progress"))
            free(say(c, "KV.MSET", "key", "field:1", "value", "field:2", "value"));
    }
    text = say(c, "INFO", "persistence");
    assert_non_null(strstr(text, "rdb_last_bgsave_status:ok"));
    free(text);
}

static void background_saves_end_beside_the_port(void **state)
{
    pthread_t readers[2];
    char handle[64], field[24];
    void *trouble;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(field, sizeof field, "field:%d", i);
        free(say(c, "KV.SET", "key", field, "value"));
    }
    attach_by(c, "key", handle);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, handle), 0);
    save_often();
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(readers[i], &trouble);
        if (trouble)
            fail_msg("%s", (const char *)trouble);
    }
}

/* A child that lives for long: connections and the address are not held by it. */
static void a_child_keeps_no_connection_open(void **state)
{
    char port[16], handle[64];
    conn *p;

    (void)state;
    snprintf(port, sizeof port, "%d", number);
    expect_reply(c, "+OK", "KV.SET", "key", "f", "1");
    attach_by(c, "key", handle);
    p = open_port();
    expect_reply(c, "+OK", "CONFIG", "SET", "rdb-key-save-delay", "60000000");
    expect_reply(c, "+Background saving started", "BGSAVE");
    expect_reply(p, "$1", "KV.GET", handle, "f");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port", "0");
    assert_null(conn_read(p)); /* it has ended */
    conn_close(p);
    expect_reply(c, "-ERR the read port is closed...", "KV.ATTACH", "key");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port", port);
    assert_true(host_info(c, "persistence", "rdb_bgsave_in_progress") == 1);
    attach_by(c, "key", handle);
    p = open_port();
    expect_reply(p, "$1", "KV.GET", handle, "f");
    expect_reply(c, "+OK", "FLUSHALL"); /* kills the child */
    expect_reply(p, "-STALE...", "KV.GET", handle, "f");
    conn_close(p);
}

/* ---- what ends a handle ---- */

typedef void ending(void);

static void end_del(void)
{
    expect_reply(c, ":1", "DEL", "key");
}
static void end_unlink(void)
{
    expect_reply(c, ":1", "UNLINK", "key");
}
static void end_rename(void)
{
    expect_reply(c, "+OK", "RENAME", "key", "elsewhere");
}
static void end_move(void)
{
    expect_reply(c, ":1", "MOVE", "key", "5");
}
static void end_overwrite(void)
{
    expect_reply(c, "+OK", "SET", "key", "text");
}
static void end_copy(void)
{
    expect_reply(c, "+OK", "KV.SET", "other", "f", "2");
    expect_reply(c, ":1", "COPY", "other", "key", "REPLACE");
}
static void end_flushdb(void)
{
    expect_reply(c, "+OK", "FLUSHDB", "ASYNC");
}
static void end_flushall(void)
{
    expect_reply(c, "+OK", "FLUSHALL", "SYNC");
}
static void end_swapdb(void)
{
    expect_reply(c, "+OK", "SWAPDB", "0", "3");
}
static void end_last_field(void)
{
    expect_reply(c, ":1", "KV.DEL", "key", "f");
}
static void end_expired(void)
{
    expect_reply(c, ":1", "PEXPIRE", "key", "30");
    wait_for(c, ":-2", "PTTL", "key");
}
static void end_reload(void)
{
    expect_reply(c, "+OK", "DEBUG", "RELOAD");
}
static void end_role(void)
{
    expect_reply(c, "+OK", "REPLICAOF", "127.0.0.1", "1");
    expect_reply(c, "+OK", "REPLICAOF", "NO", "ONE");
}
static void end_detach(void)
{
    expect_reply(c, ":1", "KV.DETACH", "key");
    expect_reply(c, ":0", "KV.DETACH", "key");
}
static void end_with_random_eviction(void)
{
    char limit[32], more[24];

    expect_reply(c, "+OK", "CONFIG", "SET", "maxmemory-policy", "allkeys-random");
    snprintf(limit, sizeof limit, "%lld", host_info(c, "memory", "used_memory") - 10000);
    expect_reply(c, "+OK", "CONFIG", "SET", "maxmemory", limit);
    for (int i = 0;; i++) { /* one of these takes its place */
        char *there = say(c, "EXISTS", "key");
        bool gone = strcmp(there, ":0") == 0;

        free(there);
        if (gone)
            break;
        snprintf(more, sizeof more, "more:%d", i);
        free(say(c, "SET", more, more));
    }
    expect_reply(c, "+OK", "CONFIG", "SET", "maxmemory", "0");
}

static void a_handle_is_stale_once_its_key_is_no_more_what_it_was(void **state)
{
    static ending *const endings[] = {
        end_del,     end_unlink,  end_rename,   end_move,   end_overwrite,
        end_copy,    end_flushdb, end_flushall, end_swapdb, end_last_field,
        end_expired, end_reload,  end_role,     end_detach, end_with_random_eviction,
    };
    conn *p = NULL;
    char handle[64];

    (void)state;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        expect_reply(c, "+OK", "FLUSHALL");
        expect_reply(c, "+OK", "KV.SET", "key", "f", "1");
        attach_by(c, "key", handle);
        if (!p)
            p = open_port();
        expect_reply(p, "$1", "KV.GET", handle, "f");
        endings[i]();
        char *said = say(p, "KV.GET", handle, "f");

        if (strncmp(said, "-STALE", 6) != 0)
            fail_msg("ending %zu: %s", i, said);
        free(said);
    }
    assert_true(host_info(c, "kv", "kv_handles") == 0);
    conn_close(p);
}

/* ---- limits and nonsense ---- */

static void nonsense_ends_the_connection_and_nothing_else(void **state)
{
    static const char *const nonsense[] = {
        "GET x\r\n", "*1\r\n$-1\r\n", "*99999999999\r\n", "*1\n$4\nPING\n", "*1\r\n$4\r\nPINGPING\r\n",
        "*-1\r\n"
    };
    char handle[64];
    conn *p;
    reply *r;

    (void)state;
    expect_reply(c, "+OK", "KV.SET", "key", "f", "1");
    attach_by(c, "key", handle);
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        p = open_port();
        assert_true(conn_send(p, kv_str(nonsense[i])));
        r = conn_read(p);
        assert_true(r && r->type == '-');
        reply_free(r);
        assert_null(conn_read(p));
        conn_close(p);
    }
    p = open_port();
    expect_reply(p, "$1", "KV.GET", handle, "f");
    expect_reply(p, "+PONG", "PING");
    expect_reply(p, "+OK", "QUIT");
    assert_null(conn_read(p));
    conn_close(p);
}

static void clients_requests_and_replies_have_limits(void **state)
{
    char handle[64], *large = malloc(5001), port[16];
    conn *p, *all[3];

    (void)state;
    memset(large, 'v', 5000);
    large[5000] = '\0';
    snprintf(port, sizeof port, "%d", number);
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port", "0");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port-max-clients", "3");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port", port);
    expect_reply(c, "+OK", "KV.MSET", "key", "f", large, "g", "1");
    attach_by(c, "key", handle);
    for (int i = 0; i < 3; i++)
        all[i] = open_port();
    p = conn_open_tcp("127.0.0.1", number);
    assert_non_null(p);
    char *said = say(p, "PING");

    assert_string_equal(said, "-ERR max number of clients reached: kv.port-max-clients");
    free(said);
    conn_close(p);
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port-max-reply", "1000");
    expect_reply(all[0], "-ERR the reply has more bytes...", "KV.GET", handle, "f");
    expect_reply(all[0], "-ERR the reply has more bytes...", "KV.MGET", handle, "g", "f", "g");
    expect_reply(all[0], "$1", "KV.GET", handle, "g");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.port-max-request", "1000");
    expect_reply(all[1], "-ERR the request has more bytes...", "KV.GET", handle, large);
    assert_null(conn_read(all[1]));
    for (int i = 0; i < 3; i++)
        conn_close(all[i]);
    free(large);
}

/* Asks for some 100 MB without reading a byte, then reads it all. */
static void who_does_not_read_is_not_answered_further(void **state)
{
    enum { asked = 1000, size = 100000 };
    char handle[64], *large = malloc(size + 1);
    long long before;
    conn *p;

    (void)state;
    memset(large, 'v', size);
    large[size] = '\0';
    expect_reply(c, "+OK", "KV.SET", "key", "f", large);
    free(large);
    attach_by(c, "key", handle);
    before = host_info(c, "memory", "used_memory");
    p = open_port();
    const kv_slice get[] = { KV_STR("KV.GET"), kv_str(handle), KV_STR("f") };

    for (int i = 0; i < asked; i++)
        assert_true(conn_send_args(p, 3, get));
    while (host_info(c, "kv", "kv_port_requests") < 2)
        ;
    assert_true(host_info(c, "memory", "used_memory") - before < 4000000);
    for (int i = 0; i < asked; i++) {
        reply *r = conn_read(p);

        assert_true(r && r->type == '$' && r->len == size);
        reply_free(r);
    }
    expect_reply(p, "+PONG", "PING");
    conn_close(p);
}

static void a_port_that_is_taken_is_refused(void **state)
{
    conn *p;
    char handle[64], port[16], taken[16];

    (void)state;
    snprintf(port, sizeof port, "%d", number);
    snprintf(taken, sizeof taken, "%d", server_port(s));
    expect_reply(c, "+OK", "KV.SET", "key", "f", "1");
    expect_reply(c, "-ERR CONFIG SET failed...", "CONFIG", "SET", "kv.port", taken);
    expect_reply(c, "-ERR...", "CONFIG", "SET", "kv.port", "65536");
    char *now = say(c, "CONFIG", "GET", "kv.port");

    assert_non_null(strstr(now, port));
    free(now);
    attach_by(c, "key", handle);
    p = open_port();
    expect_reply(p, "$1", "KV.GET", handle, "f");
    conn_close(p); /* and the server ends with another one open */
    p = open_port();
    (void)p;
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_server(who_may_read_a_key_may_attach_it),
        with_server(the_port_answers_while_the_server_is_busy),
        with_server(background_saves_end_beside_the_port),
        with_server(a_child_keeps_no_connection_open),
        with_server(a_handle_is_stale_once_its_key_is_no_more_what_it_was),
        with_server(nonsense_ends_the_connection_and_nothing_else),
        with_server(clients_requests_and_replies_have_limits),
        with_server(who_does_not_read_is_not_answered_further),
        with_server(a_port_that_is_taken_is_refused),
    };

    return run_on_hosts(argc, argv, tests);
}
