/* migrate_test.c - MIGRATE: keys go to redis-server and come back; targets that fail lose nothing.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_server.h"
#include "replica.h"

typedef struct pair {
    server *ours, *redis;
    conn *here, *there;
    char port[16], our_port[16];
} pair;

static int begin_pair(void **state)
{
    pair *p = calloc(1, sizeof *p);

    p->ours = begin_tcp("--threads", "2");
    p->redis = begin_redis("--save", "");
    p->here = connect_to(p->ours);
    p->there = connect_to(p->redis);
    snprintf(p->port, sizeof p->port, "%d", server_port(p->redis));
    snprintf(p->our_port, sizeof p->our_port, "%d", server_port(p->ours));
    *state = p;
    return 0;
}

static int end_pair(void **state)
{
    pair *p = *state;

    conn_close(p->here);
    conn_close(p->there);
    end(p->ours);
    assert_true(server_stop(p->redis));
    free(p);
    return 0;
}

static int empty(void **state)
{
    pair *p = *state;

    says(p->here, "+OK", "FLUSHALL");
    says(p->there, "+OK", "FLUSHALL");
    return 0;
}

/* What is left of ten million milliseconds, soon after. */
static void has_most_of_its_time(conn *c, const char *key)
{
    char *text = ask(c, "PTTL", key);
    long long left = text ? atoll(text + 1) : 0;

    assert_in_range(left, 9000000, 10000000);
    free(text);
}

static void a_key_goes_with_its_deadline(void **state)
{
    pair *p = *state;

    says(p->here, "+OK", "SET", "a", "some value", "PX", "10000000");
    says(p->here, "+OK", "SET", "number", "12345");
    says(p->here, "+OK", "SET", "empty", "");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "a", "3", "5000");
    says(p->here, "+OK", "MIGRATE", "localhost", p->port, "number", "0", "5000");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "empty", "0", "5000");
    says(p->here, ":0", "DBSIZE");
    says(p->there, "$12345", "GET", "number");
    says(p->there, ":-1", "PTTL", "number");
    says(p->there, "$", "GET", "empty");
    says(p->there, "+OK", "SELECT", "3");
    says(p->there, "$some value", "GET", "a");
    has_most_of_its_time(p->there, "a");
    says(p->there, "+OK", "SELECT", "0");
}

static void a_key_comes_from_redis_and_from_another_of_ours(void **state)
{
    pair *p = *state;
    server *other = begin("--threads", "1");
    conn *c = connect_to(other);

    says(p->there, "+OK", "SET", "a",
         "some value, that is long enough to be compressed compressed compressed", "PX", "10000000");
    says(p->there, "+OK", "SET", "number", "-7");
    says(p->there, "+OK", "MIGRATE", "127.0.0.1", p->our_port, "", "0", "5000", "KEYS", "a", "number");
    says(p->here, "$-7", "GET", "number");
    says(p->here, "$some value, that", "GET", "a");
    has_most_of_its_time(p->here, "a");
    says(p->there, ":0", "DBSIZE");
    says(p->there, ":1", "RPUSH", "list", "1");
    says(p->there, "-ERR Target instance replied with error: ", "MIGRATE", "127.0.0.1", p->our_port, "list",
         "0", "5000");
    says(p->there, ":1", "EXISTS", "list");
    says(c, "+OK", "SET", "b", "from another");
    says(c, "+OK", "MIGRATE", "127.0.0.1", p->our_port, "b", "2", "5000");
    says(p->here, "+OK", "SELECT", "2");
    says(p->here, "$from another", "GET", "b");
    says(p->here, "+OK", "SELECT", "0");
    conn_close(c);
    end(other);
}

static void options_are_those_of_redis(void **state)
{
    pair *p = *state;

    says(p->here, "+NOKEY", "MIGRATE", "127.0.0.1", p->port, "absent", "0", "5000");
    says(p->here, "+NOKEY", "MIGRATE", "127.0.0.1", p->port, "", "0", "5000", "KEYS", "absent", "gone");
    says(p->here, "+OK", "SET", "a", "1");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "COPY");
    says(p->here, "$1", "GET", "a");
    says(p->there, "$1", "GET", "a");
    says(p->here, "-ERR Target instance replied with error: BUSYKEY Target key name already exists.",
         "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000");
    says(p->here, "+OK", "SET", "a", "2");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "REPLACE");
    says(p->here, "_", "GET", "a");
    says(p->there, "$2", "GET", "a");
    says(p->here, "-ERR value is not an integer or out of range", "MIGRATE", "127.0.0.1", p->port, "a", "x",
         "5000");
    says(p->here, "-ERR value is not an integer or out of range", "MIGRATE", "127.0.0.1", p->port, "a", "0",
         "x");
    says(p->here, "-ERR syntax error", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "AUTH");
    says(p->here, "-ERR syntax error", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "NONSENSE");
    says(p->here, "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
         "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "KEYS", "b");
    says(p->here, "+OK", "SET", "b", "1");
    says(p->here, "-ERR Target instance replied with error: ERR DB index is out of range", "MIGRATE",
         "127.0.0.1", p->port, "b", "99", "5000");
    says(p->here, "$1", "GET", "b");
    says(p->here, "*1 $k", "COMMAND", "GETKEYS", "MIGRATE", "h", "1", "k", "0", "1");
    says(p->here, "*2 $k $l", "COMMAND", "GETKEYS", "MIGRATE", "h", "1", "", "0", "1", "COPY", "KEYS", "k",
         "l");
}

enum { many = 1000 };

static void many_keys_go_at_once(void **state)
{
    pair *p = *state;
    kv_slice argv[7 + many] = { KV_STR("MIGRATE"), KV_STR("127.0.0.1"), kv_str(p->port), KV_STR(""),
                                KV_STR("0"),       KV_STR("10000"),     KV_STR("KEYS") };
    char(*names)[24] = calloc(many, sizeof *names), *large = malloc(300001);
    reply *r;

    memset(large, 'x', 300000);
    large[300000] = '\0';
    for (int i = 0; i < many; i++) {
        snprintf(names[i], sizeof names[i], "key:%d", i);
        argv[7 + i] = kv_str(names[i]);
        if (i % 10 != 3) /* some are not there */
            says(p->here, "+OK", "SET", names[i], i % 100 ? names[i] : large);
    }
    says(p->there, "+OK", "SET", "key:500", "in the way");
    r = conn_ask(p->here, 7 + many, argv);
    assert_non_null(r);
    assert_int_equal(r->type, '-');
    assert_non_null(strstr(r->text, "BUSYKEY"));
    reply_free(r);
    says(p->here, ":1", "DBSIZE");
    says(p->here, ":1", "EXISTS", "key:500");
    says(p->there, ":900", "DBSIZE");
    says(p->there, "$key:999", "GET", "key:999");
    says(p->there, ":300000", "STRLEN", "key:900");
    free(names);
    free(large);
}

static void passwords_are_sent(void **state)
{
    pair *p = *state;

    says(p->there, "+OK", "CONFIG", "SET", "requirepass", "secret");
    says(p->there, "+OK", "AUTH", "secret");
    says(p->there, ":", "CLIENT", "KILL", "TYPE", "normal"); /* connections that were kept from before */
    says(p->there, "+OK", "ACL", "SETUSER", "mover", "on", ">word", "+@all", "~*");
    says(p->here, "+OK", "MSET", "a", "1", "b", "2");
    says(p->here, "-ERR Target instance replied with error: NOAUTH Authentication required.", "MIGRATE",
         "127.0.0.1", p->port, "a", "0", "5000");
    says(p->here, "-ERR Target instance replied with error: WRONGPASS", "MIGRATE", "127.0.0.1", p->port, "a",
         "0", "5000", "AUTH", "wrong");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000", "AUTH", "secret");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", p->port, "b", "0", "5000", "AUTH2", "mover", "word");
    says(p->there, "*2 $1 $2", "MGET", "a", "b");
    says(p->there, "+OK", "CONFIG", "SET", "requirepass", "");
    says(p->there, ":1", "ACL", "DELUSER", "mover");
}

static void in_a_transaction_it_has_its_place(void **state)
{
    pair *p = *state;

    says(p->here, "+OK", "MULTI");
    says(p->here, "+QUEUED", "SET", "a", "1");
    says(p->here, "+QUEUED", "MIGRATE", "127.0.0.1", p->port, "a", "0", "5000");
    says(p->here, "+QUEUED", "ECHO", "after");
    says(p->here, "*3 +OK +OK $after", "EXEC");
    says(p->there, "$1", "GET", "a");
}

static void others_are_served_meanwhile_and_requests_keep_their_order(void **state)
{
    pair *p = *state;
    static const char pipeline[] = "SET a 1\r\nMIGRATE 127.0.0.1 %s a 0 5000\r\nGET a\r\nPING\r\n";
    char request[sizeof pipeline + 16];

    snprintf(request, sizeof request, pipeline, p->port);
    for (int i = 0; i < 50; i++) {
        assert_true(conn_send(p->here, kv_str(request)));
        next_is(p->here, "+OK");
        next_is(p->here, "+OK");
        next_is(p->here, "_");
        next_is(p->here, "+PONG");
        says(p->there, ":1", "DEL", "a");
    }
    assert_true(info_number(p->here, "migrate_cached_sockets") >= 1);
}

/* ---- targets that are none ---- */

static void be_silent(fake_request *request, void *arg)
{
    (void)request;
    (void)arg;
}

static void hang_up(fake_request *request, void *arg)
{
    (void)arg;
    fake_hang_up(request);
}

static void a_target_that_fails_leaves_the_key_here(void **state)
{
    pair *p = *state;
    fake_server *silent = fake_start(be_silent, NULL), *rude = fake_start(hang_up, NULL);
    char port[16];

    says(p->here, "+OK", "SET", "a", "1");
    snprintf(port, sizeof port, "%d", fake_port(silent));
    says(p->here, "-IOERR error or timeout reading to target instance", "MIGRATE", "127.0.0.1", port, "a",
         "0", "50");
    snprintf(port, sizeof port, "%d", fake_port(rude));
    says(p->here, "-IOERR error or timeout reading to target instance", "MIGRATE", "127.0.0.1", port, "a",
         "0", "5000");
    snprintf(port, sizeof port, "%d", free_port());
    says(p->here, "-IOERR error or timeout writing to target instance", "MIGRATE", "127.0.0.1", port, "a",
         "0", "5000");
    says(p->here, "-IOERR error or timeout connecting to the client", "MIGRATE", "no-such-host.invalid", port,
         "a", "0", "5000");
    says(p->here, "$1", "GET", "a");
    fake_stop(silent);
    fake_stop(rude);
}

/* A target in front of whose acknowledgement the key is written again, up to so many times. */
typedef struct meddler {
    server *ours;
    conn *c;
    int writes, restores, replacing;
    char last[64];
} meddler;

static void meddle(fake_request *request, void *arg)
{
    meddler *m = arg;
    char value[16];

    if (fake_handshake(request) || !fake_is(request, "RESTORE"))
        return;
    m->restores++;
    m->replacing += strcmp(fake_arg(request, 4), "REPLACE") == 0;
    memcpy(m->last, fake_arg(request, 3), fake_arg_len(request, 3) < 64 ? fake_arg_len(request, 3) : 64);
    if (m->restores <= m->writes) {
        snprintf(value, sizeof value, "value%d", m->restores);
        says(m->c, "+OK", "SET", "a", value);
    }
    fake_say(request, "+OK\r\n");
}

static void a_key_that_is_written_meanwhile_is_moved_again(void **state)
{
    pair *p = *state;
    meddler m = { .ours = p->ours, .c = connect_to(p->ours), .writes = 3 };
    fake_server *fake = fake_start(meddle, &m);
    char port[16];

    snprintf(port, sizeof port, "%d", fake_port(fake));
    says(p->here, "+OK", "SET", "a", "value0");
    says(p->here, "+OK", "MIGRATE", "127.0.0.1", port, "a", "0", "5000");
    says(p->here, "_", "GET", "a");
    assert_int_equal(m.restores, 4);
    assert_int_equal(m.replacing, 3);
    assert_memory_equal(m.last, "\0\006value3", 8);
    /* One that never rests stays. */
    m.restores = 0;
    m.writes = 1000;
    says(p->here, "+OK", "SET", "a", "value0");
    says(p->here, "-ERR a key was written again and again", "MIGRATE", "127.0.0.1", port, "a", "0", "5000");
    says(p->here, "$value16", "GET", "a");
    fake_stop(fake);
    conn_close(m.c);
}

static void a_server_that_stops_does_not_wait_for_targets(void **state)
{
    fake_server *silent = fake_start(be_silent, NULL);
    server *s = begin("--threads", "2");
    conn *c = connect_to(s);
    char request[96];

    (void)state;
    snprintf(request, sizeof request, "SET a 1\r\nMIGRATE 127.0.0.1 %d a 0 600000\r\n", fake_port(silent));
    assert_true(conn_send(c, kv_str(request)));
    next_is(c, "+OK");
    while (fake_arrivals(silent) == 0)
        continue;
    end(s);
    conn_close(c);
    fake_stop(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_key_goes_with_its_deadline, empty),
        cmocka_unit_test_setup(a_key_comes_from_redis_and_from_another_of_ours, empty),
        cmocka_unit_test_setup(options_are_those_of_redis, empty),
        cmocka_unit_test_setup(many_keys_go_at_once, empty),
        cmocka_unit_test_setup(passwords_are_sent, empty),
        cmocka_unit_test_setup(in_a_transaction_it_has_its_place, empty),
        cmocka_unit_test_setup(others_are_served_meanwhile_and_requests_keep_their_order, empty),
        cmocka_unit_test_setup(a_target_that_fails_leaves_the_key_here, empty),
        cmocka_unit_test_setup(a_key_that_is_written_meanwhile_is_moved_again, empty),
        cmocka_unit_test(a_server_that_stops_does_not_wait_for_targets),
    };

    return cmocka_run_group_tests(tests, begin_pair, end_pair);
}
