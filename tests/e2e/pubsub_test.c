/* pubsub_test.c - messages across workers: their order, their bounds, and storms of clients that come and go.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static long long figure(conn *c, const char *section, const char *name)
{
    char *text = ask(c, "INFO", section), *at;
    long long value = -1;

    assert_non_null(text);
    at = strstr(text, name);
    if (at)
        value = atoll(at + strlen(name) + 1);
    free(text);
    return value;
}

/* ---- order ---- */

enum { publishers = 3, subscribers = 6, messages = 3000 };

typedef struct publisher {
    pthread_t thread;
    conn *conn;
    int number;
    long long receivers; /* sum of the replies */
    bool failed;
} publisher;

/* Publishes "<publisher> <sequence>" to two channels in turn, by pipelines of 50. */
static void *publish_all(void *arg)
{
    publisher *p = arg;

    for (int i = 0; i < messages && !p->failed; i += 50) {
        for (int j = i; j < i + 50; j++) {
            char payload[32];
            int len = sprintf(payload, "%d %d", p->number, j);
            kv_slice argv[] = { KV_STR("PUBLISH"), j % 2 ? KV_STR("odd") : KV_STR("even"),
                                kv_slice_of(payload, (size_t)len) };

            p->failed |= !conn_send_args(p->conn, 3, argv);
        }
        for (int j = i; j < i + 50 && !p->failed; j++) {
            reply *r = conn_read(p->conn);

            p->failed = !r || r->type != ':';
            p->receivers += r ? r->integer : 0;
            reply_free(r);
        }
    }
    return NULL;
}

/* Every message of every publisher comes, in its order: on one channel of two for plain subscribers, on both for patterns. */
static void expect_in_order(conn *c, bool pattern)
{
    int next[publishers] = { 0 }, total = publishers * messages / (pattern ? 1 : 2), step = pattern ? 1 : 2;

    for (int i = 0; i < total; i++) {
        reply *r = conn_read(c);
        int from = -1, sequence = -1;

        assert_non_null(r);
        assert_int_equal(sscanf(r->elements[r->count - 1].text, "%d %d", &from, &sequence), 2);
        assert_in_range(from, 0, publishers - 1);
        assert_int_equal(sequence, next[from]);
        next[from] += step;
        reply_free(r);
    }
    assert_true(conn_silent(c, 0));
}

static void each_publisher_is_heard_in_order_on_every_worker(void **state)
{
    server *s = begin("--threads", "4", "--client-output-buffer-limit", "pubsub 0 0 0");
    conn *listeners[subscribers];
    publisher all[publishers];
    long long receivers = 0;

    (void)state;
    for (int i = 0; i < subscribers; i++) {
        listeners[i] = connect_to(s);
        if (i % 2)
            says(listeners[i], "*3 $psubscribe", "PSUBSCRIBE", "*");
        else
            says(listeners[i], "*3 $subscribe", "SUBSCRIBE", "even");
    }
    for (int i = 0; i < publishers; i++) {
        all[i] = (publisher){ .conn = connect_to(s), .number = i };
        assert_int_equal(pthread_create(&all[i].thread, NULL, publish_all, &all[i]), 0);
    }
    for (int i = 0; i < publishers; i++) {
        pthread_join(all[i].thread, NULL);
        assert_false(all[i].failed);
        receivers += all[i].receivers;
        conn_close(all[i].conn);
    }
    assert_int_equal(receivers, publishers * messages * subscribers * 3 / 4);
    for (int i = 0; i < subscribers; i++) {
        expect_in_order(listeners[i], i % 2);
        conn_close(listeners[i]);
    }
    end(s);
}

/* ---- bounds ---- */

static char *text_of(size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = 0;
    return text;
}

static void who_does_not_read_is_closed_and_counted(void **state)
{
    server *s = begin("--threads", "2", "--client-output-buffer-limit", "pubsub 1mb 0 0");
    char *payload = text_of(10000), *log;
    conn *sleeper = connect_to(s), *reader = connect_to(s), *c = connect_to(s);
    long long before = resident_bytes(server_pid(s));
    bool closed = false;

    (void)state;
    says(sleeper, "*3 $subscribe $c :1", "SUBSCRIBE", "c");
    says(reader, "*3 $subscribe $c :1", "SUBSCRIBE", "c");
    for (int i = 0; i < 100000 && !closed; i++) {
        char *said = ask(c, "PUBLISH", "c", payload);

        assert_non_null(said);
        closed = strcmp(said, ":1") == 0;
        free(said);
        next_is(reader, "*3 $message $c $xxx");
    }
    assert_true(closed);
    assert_grown_less(s, before, 16 << 20);
    assert_int_equal(figure(c, "stats", "client_output_buffer_limit_disconnections"), 1);
    assert_int_equal(figure(c, "clients", "pubsub_clients"), 1);
    log = server_log(s);
    assert_non_null(strstr(log, "closed for overcoming of output buffer limits"));
    free(log);
    free(payload);
    conn_close(sleeper);
    conn_close(reader);
    conn_close(c);
    end(s);
}

typedef struct reader {
    pthread_t thread;
    conn *conn;
    int expected;
    bool ok;
} reader;

static void *read_numbers(void *arg)
{
    reader *r = arg;

    for (int i = 0; i < r->expected; i++) {
        reply *m = conn_read(r->conn);
        bool ok = m && m->count == 3 && atoi(m->elements[2].text) == i;

        reply_free(m);
        if (!ok)
            return NULL;
    }
    r->ok = true;
    return NULL;
}

/* 256 MB of messages, many of them under way: none is lost, and there is room for few between the workers. */
static void a_flood_of_messages_is_not_lost(void **state)
{
    enum { n = 1000, size = 256 * 1024, listeners = 3 };
    server *s = begin("--threads", "2", "--client-output-buffer-limit", "pubsub 0 0 0");
    char *payload = text_of(size);
    conn *c = connect_to(s);
    reader all[listeners];
    bool ok = true;

    (void)state;
    for (int i = 0; i < listeners; i++) {
        all[i] = (reader){ .conn = connect_to(s), .expected = n };
        says(all[i].conn, "*3 $subscribe $c :1", "SUBSCRIBE", "c");
        assert_int_equal(pthread_create(&all[i].thread, NULL, read_numbers, &all[i]), 0);
    }
    for (int i = 0, answered = 0; i < n && ok; i++) {
        int digits = sprintf(payload, "%d", i);

        payload[digits] = ' ';
        ok = conn_send_args(c, 3, (kv_slice[]){ KV_STR("PUBLISH"), KV_STR("c"), kv_slice_of(payload, size) });
        for (; ok && (i + 1 == n || i - answered >= 50) && answered <= i; answered++) {
            reply *r = conn_read(c);

            ok = r && r->integer == listeners;
            reply_free(r);
        }
    }
    for (int i = 0; i < listeners; i++) {
        pthread_join(all[i].thread, NULL);
        ok = ok && all[i].ok;
        conn_close(all[i].conn);
    }
    assert_true(ok);
    free(payload);
    conn_close(c);
    end(s);
}

/* ---- storms ---- */

typedef struct storm {
    pthread_t thread;
    server *server;
    unsigned seed;
    bool ok;
} storm;

static const char *const channels[] = { "a", "b", "c", "d", "e" };

static _Atomic bool storm_over;

/* Subscribes, unsubscribes, listens a while, leaves without a word, again and again. What another client kills is no
 * failure. */
static void *come_and_go(void *arg)
{
    storm *me = arg;

    for (int round = 0; round < 60; round++) {
        conn *c = conn_open_unix(server_socket(me->server));
        bool resp3 = rand_r(&me->seed) % 2;

        if (!c)
            return NULL;
        if (resp3)
            free(ask(c, "HELLO", "3"));
        for (int i = 0; i < 6; i++) {
            const char *name = channels[rand_r(&me->seed) % 5];

            switch (rand_r(&me->seed) % 6) {
            case 0:
                free(ask(c, "PSUBSCRIBE", name));
                break;
            case 1:
                free(ask(c, "SSUBSCRIBE", name));
                break;
            case 2:
                free(ask(c, "UNSUBSCRIBE", name));
                break;
            case 3:
                free(ask(c, resp3 ? "PUBLISH" : "PING", name, resp3 ? "mine" : NULL));
                break;
            default:
                free(ask(c, "SUBSCRIBE", name, channels[rand_r(&me->seed) % 5]));
            }
        }
        if (round % 3 == 0)
            free(ask(c, "RESET"));
        conn_close(c);
    }
    me->ok = true;
    return NULL;
}

static void *publish_until_over(void *arg)
{
    storm *me = arg;
    conn *c = conn_open_unix(server_socket(me->server));

    me->ok = c != NULL;
    while (me->ok && !atomic_load(&storm_over)) {
        bool shard = rand_r(&me->seed) % 4 == 0;
        char *said =
            ask(c, shard ? "SPUBLISH" : "PUBLISH", channels[rand_r(&me->seed) % 5], "some message or other");

        me->ok = said && said[0] == ':';
        free(said);
    }
    conn_close(c);
    return NULL;
}

static void *kill_until_over(void *arg)
{
    storm *me = arg;
    conn *c = conn_open_unix(server_socket(me->server));

    me->ok = c != NULL;
    while (me->ok && !atomic_load(&storm_over)) {
        char *said = rand_r(&me->seed) % 8 ? ask(c, "CLIENT", "LIST", "TYPE", "pubsub")
                                           : ask(c, "CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes");

        me->ok = said && said[0] != '-';
        free(said);
        free(ask(c, "PUBSUB", "CHANNELS"));
        free(ask(c, "PUBSUB", "NUMSUB", "a", "b"));
    }
    conn_close(c);
    return NULL;
}

static void storms_of_clients_leave_nothing_behind(void **state)
{
    static void *(*const parts[])(void *) = { come_and_go,        come_and_go,        come_and_go,
                                              publish_until_over, publish_until_over, kill_until_over };
    enum { n = sizeof parts / sizeof *parts, comers = 3 };
    server *s = begin("--threads", "3");
    conn *c = connect_to(s);
    storm all[n];

    (void)state;
    atomic_store(&storm_over, false);
    for (int i = 0; i < n; i++) {
        all[i] = (storm){ .server = s, .seed = (unsigned)i + 1 };
        assert_int_equal(pthread_create(&all[i].thread, NULL, parts[i], &all[i]), 0);
    }
    for (int i = 0; i < n; i++) {
        if (i == comers)
            atomic_store(&storm_over, true);
        pthread_join(all[i].thread, NULL);
    }
    for (int i = 0; i < n; i++)
        assert_true(all[i].ok);
    while (figure(c, "clients", "connected_clients") > 1)
        ; /* until the server has noticed that they left */
    assert_int_equal(figure(c, "clients", "pubsub_clients"), 0);
    says(c, "*0", "PUBSUB", "CHANNELS");
    says(c, "*0", "PUBSUB", "SHARDCHANNELS");
    says(c, ":0", "PUBSUB", "NUMPAT");
    says(c, ":0", "PUBLISH", "a", "x");
    conn_close(c);
    end(s);
}

/* A subscriber whose output is stuck, one that is just served, one that waits: CLIENT KILL ends them all. */
static void a_subscriber_can_be_killed_in_any_state(void **state)
{
    server *s = begin("--threads", "2", "--client-output-buffer-limit", "pubsub 0 0 0");
    char *payload = text_of(100000);
    conn *stuck[4], *idle[4], *c = connect_to(s);

    (void)state;
    for (int i = 0; i < 4; i++) {
        stuck[i] = connect_to(s);
        idle[i] = connect_to(s);
        says(stuck[i], "*3", "SUBSCRIBE", "c");
        says(idle[i], "*3", "SUBSCRIBE", "other");
    }
    for (int i = 0; i < 50; i++)
        says(c, ":4", "PUBLISH", "c", payload);
    says(c, ":8", "CLIENT", "KILL", "TYPE", "pubsub");
    for (int i = 0; i < 4; i++) {
        long long bytes;

        assert_true(conn_drain(stuck[i], &bytes));
        assert_true(conn_ended(idle[i]));
        conn_close(stuck[i]);
        conn_close(idle[i]);
    }
    says(c, ":0", "PUBLISH", "c", payload);
    assert_int_equal(figure(c, "stats", "pubsub_channels"), 0);
    free(payload);
    conn_close(c);
    end(s);
}

/* ---- oneself ---- */

/* Of what a client does in one pipeline, it hears as Redis tells it: each event before the reply to what has caused it, each
 * key that became stale after it. */
static void who_listens_to_itself_hears_it_in_place(void **state)
{
    server *s = begin("--threads", "2", "--notify-keyspace-events", "KA");
    conn *c = connect_to(s);

    (void)state;
    says(c, "%", "HELLO", "3");
    says(c, ">3 $subscribe $__keyspace@0__:k :1", "SUBSCRIBE", "__keyspace@0__:k");
    assert_true(conn_send(c, KV_STR("SET k 1\r\nGET k\r\nINCR k\r\nPUBLISH __keyspace@0__:k x\r\nDEL k\r\n"
                                    "MULTI\r\nSET k 1\r\nEXEC\r\nPING\r\n")));
    next_is(c, ">3 $message $__keyspace@0__:k $set");
    next_is(c, "+OK");
    next_is(c, "$1");
    next_is(c, ">3 $message $__keyspace@0__:k $incrby");
    next_is(c, ":2");
    next_is(c, ">3 $message $__keyspace@0__:k $x");
    next_is(c, ":1");
    next_is(c, ">3 $message $__keyspace@0__:k $del");
    next_is(c, ":1");
    next_is(c, "+OK");
    next_is(c, "+QUEUED");
    next_is(c, "*1 +OK");
    next_is(c, ">3 $message $__keyspace@0__:k $set");
    next_is(c, "+PONG");
    assert_true(conn_send(c, KV_STR("CLIENT REPLY SKIP\r\nINCR k\r\nPING\r\n")));
    next_is(c, ">3 $message $__keyspace@0__:k $incrby");
    next_is(c, "+PONG");
    conn_close(c);

    c = connect_to(s);
    says(c, "%", "HELLO", "3");
    says(c, "+OK", "CLIENT", "TRACKING", "ON");
    assert_true(conn_send(c, KV_STR("SET k 1\r\nGET k\r\nINCR k\r\nGET k\r\nMULTI\r\nGET k\r\nSET k 3\r\n"
                                    "EXEC\r\nPING\r\n")));
    next_is(c, "+OK");
    next_is(c, "$1");
    next_is(c, ":2");
    next_is(c, ">2 $invalidate *1 $k");
    next_is(c, "$2");
    next_is(c, "+OK");
    next_is(c, "+QUEUED");
    next_is(c, "+QUEUED");
    next_is(c, "*2 $2 +OK");
    next_is(c, ">2 $invalidate *1 $k");
    next_is(c, "+PONG");
    conn_close(c);

    c = connect_to(s); /* classes that were set in the same pipeline count already */
    says(c, "%", "HELLO", "3");
    says(c, ">3 $subscribe $__keyevent@0__:keymiss :1", "SUBSCRIBE", "__keyevent@0__:keymiss");
    assert_true(conn_send(c, KV_STR("CONFIG SET notify-keyspace-events Em\r\nGET none\r\n")));
    next_is(c, "+OK");
    next_is(c, ">3 $message $__keyevent@0__:keymiss $none");
    next_is(c, "_");
    conn_close(c);
    end(s);
}

/* ---- clients that cache ---- */

enum { cachers = 4, cacher_rounds = 120 };

typedef struct cacher {
    pthread_t thread;
    server *server;
    int number;
} cacher;

static bool takes(conn *c, const char *text)
{
    return conn_send(c, kv_str(text));
}

/* Connects, caches, writes what others cache, changes its mode, and leaves in the midst of it, or reads on until its last
 * reply has come. */
static void *cache_and_leave(void *arg)
{
    static const char *const modes[] = { "",       " NOLOOP", " BCAST", " BCAST PREFIX k1 NOLOOP",
                                         " OPTIN", " OPTOUT" };
    cacher *me = arg;
    char text[256];

    for (int i = 0; i < cacher_rounds; i++) {
        conn *c = connect_to(me->server);
        int k = (i + me->number) % 7, left = 9;
        bool ok;

        sprintf(text,
                "HELLO 3\r\nCLIENT TRACKING ON%s\r\nGET k%d\r\nINCR k%d\r\nMGET k0 k1 k2 k3\r\nDEL k%d\r\n"
                "CLIENT TRACKING OFF\r\nCLIENT TRACKING ON\r\nGET k%d\r\n",
                modes[i % 6], k, (k + 1) % 7, (k + 2) % 7, k);
        ok = takes(c, text);
        for (reply *r = NULL; ok && left > 0 && i % 3; left -= r && r->type != '>', reply_free(r)) {
            r = conn_read(c);
            ok = r != NULL; /* or another has killed it */
        }
        if (i % 5 == 0)
            takes(c, "CLIENT KILL TYPE normal\r\n");
        conn_close(c);
    }
    return NULL;
}

/* Whether c lives, and is the only client. */
static bool is_alone(conn *c)
{
    char *text = ask(c, "INFO", "clients");
    bool alone = text && strstr(text, "connected_clients:1\\x") && strstr(text, "tracking_clients:0");

    free(text);
    return alone;
}

static void storms_of_caching_clients_leave_nothing_behind(void **state)
{
    server *s = begin("--threads", "3", "--tracking-table-max-keys", "5");
    cacher all[cachers];
    conn *c;

    (void)state;
    for (int i = 0; i < cachers; i++) {
        all[i] = (cacher){ .server = s, .number = i };
        assert_int_equal(pthread_create(&all[i].thread, NULL, cache_and_leave, &all[i]), 0);
    }
    for (int i = 0; i < cachers; i++)
        pthread_join(all[i].thread, NULL);
    while (!is_alone(c = connect_to(s)) ||
           !is_alone(c)) /* a CLIENT KILL that is on its way may hit this one, too */
        conn_close(c);
    says(c, "+OK", "FLUSHALL");
    assert_int_equal(figure(c, "stats", "tracking_total_prefixes"), 0);
    assert_true(figure(c, "stats", "tracking_total_keys") <= 5);
    conn_close(c);
    end(s);
}

static void what_clients_cache_counts_as_used_memory(void **state)
{
    enum { n = 5000 };
    server *s = begin("--threads", "1");
    conn *c = connect_to(s), *watcher = connect_to(s);
    long long before, with;

    (void)state;
    says(c, "%", "HELLO", "3");
    says(c, "+OK", "CLIENT", "TRACKING", "ON");
    before = figure(watcher, "memory", "used_memory");
    for (int i = 0; i < n; i++) {
        char text[32];

        sprintf(text, "GET key:%d\r\n", i);
        assert_true(takes(c, text));
        next_is(c, "_");
    }
    with = figure(watcher, "memory", "used_memory");
    assert_true(with - before >= n * 48LL);
    says(watcher, "+OK", "FLUSHALL");
    next_is(c, ">2 $invalidate _");
    assert_true(figure(watcher, "memory", "used_memory") < with - n * 40LL);
    conn_close(c);
    conn_close(watcher);
    end(s);
}

/* Not with a state thread, where messages of EXEC come after all of its events. */
static void messages_of_a_transaction_stand_among_its_events(void **state)
{
    server *s = begin("--threads", "4", "--notify-keyspace-events", "KA");
    conn *c = connect_to(s), *listener = connect_to(s);

    (void)state;
    says(listener, "*3 $psubscribe $*", "PSUBSCRIBE", "*");
    says(c, "+OK", "MULTI");
    says(c, "+QUEUED", "SET", "a", "1");
    says(c, "+QUEUED", "PUBLISH", "c", "first");
    says(c, "+QUEUED", "SPUBLISH", "other", "nobody");
    says(c, "+QUEUED", "INCR", "a");
    says(c, "+QUEUED", "PUBLISH", "c", "second");
    says(c, "*5 +OK :1 :0 :2 :1", "EXEC");
    next_is(listener, "*4 $pmessage $* $__keyspace@0__:a $set");
    next_is(listener, "*4 $pmessage $* $c $first");
    next_is(listener, "*4 $pmessage $* $__keyspace@0__:a $incrby");
    next_is(listener, "*4 $pmessage $* $c $second");
    conn_close(c);
    conn_close(listener);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_publisher_is_heard_in_order_on_every_worker),
        cmocka_unit_test(who_does_not_read_is_closed_and_counted),
        cmocka_unit_test(a_flood_of_messages_is_not_lost),
        cmocka_unit_test(storms_of_clients_leave_nothing_behind),
        cmocka_unit_test(a_subscriber_can_be_killed_in_any_state),
        cmocka_unit_test(who_listens_to_itself_hears_it_in_place),
        cmocka_unit_test(storms_of_caching_clients_leave_nothing_behind),
        cmocka_unit_test(what_clients_cache_counts_as_used_memory),
        cmocka_unit_test(messages_of_a_transaction_stand_among_its_events),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
