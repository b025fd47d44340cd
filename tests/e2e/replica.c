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
