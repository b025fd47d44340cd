/* replica.c - SPDX-License-Identifier: MIT */
#include "replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { look_ms = 2 };

server *replica_begin_redis(const char *const options[])
{
    const char *program = oracle_program();
    server *s;

    if (!program) {
        fprintf(stderr, "redis-server 7.0 is not installed\n");
        exit(77);
    }
    s = server_start_tcp(program, options);
    assert_non_null(s);
    return s;
}

char *info_value(conn *c, const char *field)
{
    char *text = ask(c, "INFO", "everything"), *value = NULL, name[64];
    size_t len = (size_t)snprintf(name, sizeof name, "\\x0a%s:", field);
    char *at = text ? strstr(text, name) : NULL;

    assert_non_null(text);
    if (at)
        value = strndup(at + len, strcspn(at + len, "\\"));
    free(text);
    return value;
}

long long info_number(conn *c, const char *field)
{
    char *value = info_value(c, field);
    long long number = value ? atoll(value) : -1;

    free(value);
    return number;
}

static void pause_to_look_again(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = look_ms * 1000000L }, NULL);
}

void wait_for_field(conn *c, const char *field, const char *value)
{
    char *got = info_value(c, field);

    for (int waited = 0; waited < conn_patience_ms && !(got && strncmp(got, value, strlen(value)) == 0);
         waited += look_ms) {
        pause_to_look_again();
        free(got);
        got = info_value(c, field);
    }
    if (!got || strncmp(got, value, strlen(value)) != 0)
        fail_msg("%s is %s, and does not become %s", field, got ? got : "missing", value);
    free(got);
}

void follow_port(conn *c, int port)
{
    char text[16];

    snprintf(text, sizeof text, "%d", port);
    says(c, "+OK", "REPLICAOF", "127.0.0.1", text);
}

void wait_for_offset(conn *primary, conn *replica)
{
    char offset[32];

    wait_for_field(replica, "master_link_status", "up");
    snprintf(offset, sizeof offset, "%lld", info_number(primary, "master_repl_offset"));
    for (int waited = 0; info_number(replica, "slave_repl_offset") < atoll(offset); waited += look_ms) {
        if (waited > conn_patience_ms)
            fail_msg("the replica stays at %lld of %s", info_number(replica, "slave_repl_offset"), offset);
        pause_to_look_again();
    }
}

static void assert_same_reply(conn *a, conn *b, const char *const argv[])
{
    char *one = conn_ask_text(a, argv), *other = conn_ask_text(b, argv);

    assert_non_null(one);
    assert_non_null(other);
    if (strcmp(one, other) != 0)
        fail_msg("%s %s: %.200s and %.200s", argv[0], argv[1] ? argv[1] : "", one, other);
    free(one);
    free(other);
}

void assert_same_content(conn *a, conn *b, int databases)
{
    for (int db = 0; db < databases; db++) {
        char number[16];
        kv_slice all[2] = { KV_STR("KEYS"), KV_STR("*") };
        reply *keys;

        snprintf(number, sizeof number, "%d", db);
        says(a, "+OK", "SELECT", number);
        says(b, "+OK", "SELECT", number);
        assert_same_reply(a, b, (const char *const[]){ "DBSIZE", NULL });
        keys = conn_ask(a, 2, all);
        assert_non_null(keys);
        for (size_t i = 0; i < keys->count; i++) {
            assert_same_reply(a, b, (const char *const[]){ "GET", keys->elements[i].text, NULL });
            assert_same_reply(a, b, (const char *const[]){ "PEXPIRETIME", keys->elements[i].text, NULL });
        }
        reply_free(keys);
    }
    says(a, "+OK", "SELECT", "0");
    says(b, "+OK", "SELECT", "0");
}

enum { keys = 500, at_once = 50 };

/* ---- load ---- */

static const char *const shapes[] = {
    "SET key:%d value-%d",    "SET key:%d value-%d PX 90000000",
    "INCRBY number:%d %d",    "APPEND text:%d more-%d,",
    "SETRANGE text:%d 3 %d",  "MSET key:%d %d other:%d x",
    "DEL key:%d other:%d",    "PEXPIRE number:%d 8000%d",
    "PERSIST number:%d",      "GETDEL text:%d",
    "RENAME key:%d other:%d", "COPY key:%d other:%d REPLACE",
    "MOVE key:%d 1",          "INCRBYFLOAT float:%d 0.%d",
    "SETEX key:%d 100000 %d", "GETEX key:%d EX 70000%d",
    "SET absent:%d %d NX",
};

static void send_line(conn *c, const char *line)
{
    assert_true(conn_send(c, kv_str(line)));
    assert_true(conn_send(c, KV_STR("\r\n")));
}

void load_batch(conn *c, unsigned *seed)
{
    char line[256];
    int replies = 0;

    snprintf(line, sizeof line, "SELECT %d", rand_r(seed) % load_databases);
    send_line(c, line);
    replies++;
    for (int i = 0; i < at_once; i++, replies++) {
        const char *shape = shapes[(size_t)rand_r(seed) % (sizeof shapes / sizeof *shapes)];

        if (i == 10)
            send_line(c, "MULTI");
        snprintf(line, sizeof line, shape, rand_r(seed) % keys, rand_r(seed) % keys, rand_r(seed) % keys);
        send_line(c, line);
        if (i == 20)
            send_line(c, "EXEC");
        replies += (i == 10) + (i == 20);
    }
    while (replies--) {
        reply *r = conn_read(c);

        assert_non_null(r);
        reply_free(r);
    }
}

static void *write_much(void *arg)
{
    load *l = arg;
    conn *c = conn_open_unix(server_socket(l->primary));
    unsigned seed = 42;

    assert_non_null(c);
    while (!atomic_load(&l->stop) || atomic_load(&l->batches) < load_rounds) {
        load_batch(c, &seed);
        atomic_fetch_add(&l->batches, 1);
    }
    conn_close(c);
    return NULL;
}

void load_begin(load *l, server *primary)
{
    l->primary = primary;
    atomic_init(&l->batches, 0);
    atomic_init(&l->stop, false);
    assert_int_equal(pthread_create(&l->thread, NULL, write_much, l), 0);
    while (atomic_load(&l->batches) < load_rounds / 3)
        pause_to_look_again();
}

void load_end(load *l)
{
    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
}
