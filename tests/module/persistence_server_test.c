/* persistence_server_test.c - what was written is there after a save, a load, a rewrite, a crash, a copy; and what is damaged
 * is refused. SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Keys of both forms, with deadlines and without. */
static void fill(conn *c)
{
    char key[32], field[32];

    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "small:%d", i);
        expect_reply(c, "+OK", "KV.MSET", key, "name", "Ada", "city", "London", "empty", "");
        expect_reply(c, "+OK", "KV.SET", key, "session", "s", "PX", "100000000");
        expect_reply(c, ":1", "KV.DEL", key, "city");
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(field, sizeof field, "field:%d", i);
        expect_reply(c, "+OK", "KV.SET", "large", field, field);
    }
    expect_reply(c, ":1", "KV.PEXPIRE", "large", "field:7", "100000000");
    expect_reply(c, ":1", "PEXPIRE", "small:3", "100000000");
}

/* Runs step and sees that all content is as before. */
#define same_after(c, step)                         \
    do {                                            \
        char *before = say(c, "DEBUG", "DIGEST");   \
        step;                                       \
        wait_for(c, "+PONG", "PING");               \
        expect_reply(c, before, "DEBUG", "DIGEST"); \
        free(before);                               \
    } while (0)

static void a_reload_keeps_fields_deadlines_and_versions(void **state)
{
    server *s = host_start((const char *const[]){ NULL });
    conn *c = host_connect(s);
    char *version;

    (void)state;
    fill(c);
    version = say(c, "KV.GETV", "large", "field:1");
    same_after(c, expect_reply(c, "+OK", "DEBUG", "RELOAD"));
    expect_reply(c, version, "KV.GETV", "large", "field:1");
    expect_reply(c, ":2000", "KV.LEN", "large");
    free(version);
    conn_close(c);
    assert_true(server_stop(s));
}

static void rewrite_and_load(conn *c, const char *preamble)
{
    expect_reply(c, "+OK", "CONFIG", "SET", "aof-use-rdb-preamble", preamble);
    same_after(c, {
        expect_reply(c, "+Background append only file rewriting...", "BGREWRITEAOF");
        while (host_info(c, "persistence", "aof_rewrite_in_progress") ||
               host_info(c, "persistence", "aof_rewrite_scheduled"))
            ;
        assert_true(host_info(c, "persistence", "rdb_bgsave_in_progress") == 0);
        expect_reply(c, "+OK", "DEBUG", "LOADAOF");
    });
}

static void a_rewritten_log_holds_the_same_as_records_and_as_a_snapshot(void **state)
{
    server *s = host_start((const char *const[]){ "--appendonly", "yes", NULL });
    conn *c = host_connect(s);

    (void)state;
    fill(c);
    same_after(c, expect_reply(c, "+OK", "DEBUG", "LOADAOF")); /* the log as commands wrote it */
    rewrite_and_load(c, "yes");
    rewrite_and_load(c, "no");
    conn_close(c);
    assert_true(server_stop(s));
}

static void what_was_acknowledged_survives_a_kill(void **state)
{
    static const char *const always[] = { "--appendonly", "yes", "--appendfsync", "always", NULL };
    char *directory = new_directory(), *digest;
    server *s = host_start_in(directory, always);
    conn *c = host_connect(s);

    (void)state;
    fill(c);
    digest = say(c, "DEBUG", "DIGEST");
    conn_close(c);
    kill(server_pid(s), SIGKILL);
    server_wait(s);
    server_stop(s);
    s = host_start_in(directory, always);
    c = host_connect(s);
    wait_for(c, digest, "DEBUG", "DIGEST");
    expect_reply(c, "$field:7", "KV.GET", "large", "field:7");
    free(digest);
    conn_close(c);
    assert_true(server_stop(s));
    remove_directory(directory);
}

static void keys_are_copied_renamed_and_moved_whole(void **state)
{
    server *s = host_start((const char *const[]){ NULL });
    conn *c = host_connect(s);
    char *small, *large;

    (void)state;
    fill(c);
    small = say(c, "DEBUG", "DIGEST-VALUE", "small:1");
    large = say(c, "DEBUG", "DIGEST-VALUE", "large");
    expect_reply(c, ":1", "COPY", "small:1", "small copy");
    expect_reply(c, ":1", "COPY", "large", "large copy");
    expect_reply(c, small, "DEBUG", "DIGEST-VALUE", "small copy");
    expect_reply(c, large, "DEBUG", "DIGEST-VALUE", "large copy");
    expect_reply(c, "+OK", "KV.SET", "large copy", "field:1", "changed");
    expect_reply(c, large, "DEBUG", "DIGEST-VALUE", "large");
    expect_reply(c, "+OK", "RENAME", "large", "moved");
    expect_reply(c, large, "DEBUG", "DIGEST-VALUE", "moved");
    expect_reply(c, ":1", "MOVE", "moved", "1");
    expect_reply(c, "+OK", "SELECT", "1");
    expect_reply(c, large, "DEBUG", "DIGEST-VALUE", "moved");
    free(small);
    free(large);
    conn_close(c);
    assert_true(server_stop(s));
}

/* ---- damaged payloads ---- */

/* The checksum at the end of a DUMP: CRC-64 of Jones, reflected, without complement. */
static uint64_t crc64(const unsigned char *bytes, size_t n)
{
    uint64_t crc = 0;

    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x95ac9329ac4bc9b5u : crc >> 1;
    }
    return crc;
}

static void sign(unsigned char *payload, size_t len)
{
    uint64_t crc = crc64(payload, len - 8);

    for (int i = 0; i < 8; i++)
        payload[len - 8 + (size_t)i] = (unsigned char)(crc >> 8 * i);
}

/* RESTOREs what may be damaged: the server says OK or an error, and lives. */
static void restore(conn *c, const unsigned char *payload, size_t len)
{
    const kv_slice argv[] = { KV_STR("RESTORE"), KV_STR("target"), KV_STR("0"), kv_slice_of(payload, len),
                              KV_STR("REPLACE") };
    reply *r = conn_ask(c, 5, argv);
    char *text;

    if (!r)
        fail_msg("the server is gone: %s", conn_trouble(c));
    assert_true(r->type == '+' || r->type == '-');
    if (r->type == '+') { /* then it can be used and saved as any other */
        free(say(c, "KV.ALL", "target"));
        free(say(c, "KV.SET", "target", "more", "1"));
        text = say(c, "DUMP", "target");
        assert_int_equal(text[0], '$');
        free(text);
    }
    reply_free(r);
}

static void a_damaged_payload_is_refused_and_never_crashes(void **state)
{
    server *s = host_start((const char *const[]){ NULL });
    conn *c = host_connect(s);
    const kv_slice dump[] = { KV_STR("DUMP"), KV_STR("small:1") };
    reply *whole;
    unsigned char *damaged;

    (void)state;
    fill(c);
    whole = conn_ask(c, 2, dump);
    assert_non_null(whole);
    assert_int_equal(whole->type, '$');
    damaged = malloc(whole->len);
    assert_non_null(damaged);
    for (size_t cut = 10; cut < whole->len;
         cut++) { /* the middle is missing, the version and checksum are right */
        memcpy(damaged, whole->text, cut - 10);
        memcpy(damaged + cut - 10, whole->text + whole->len - 10, 10);
        sign(damaged, cut);
        restore(c, damaged, cut);
    }
    for (size_t i = 0; i < (whole->len - 10) * 8; i++) { /* every bit, but those of version and checksum */
        memcpy(damaged, whole->text, whole->len);
        damaged[i / 8] ^= (unsigned char)(1 << (i & 7));
        sign(damaged, whole->len);
        restore(c, damaged, whole->len);
    }
    memcpy(damaged, whole->text, whole->len);
    sign(damaged, whole->len);
    restore(c, damaged, whole->len);
    expect_reply(c, "$Ada", "KV.GET", "target", "name");
    free(damaged);
    reply_free(whole);
    conn_close(c);
    assert_true(server_stop(s));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_keeps_fields_deadlines_and_versions),
        cmocka_unit_test(a_rewritten_log_holds_the_same_as_records_and_as_a_snapshot),
        cmocka_unit_test(what_was_acknowledged_survives_a_kill),
        cmocka_unit_test(keys_are_copied_renamed_and_moved_whole),
        cmocka_unit_test(a_damaged_payload_is_refused_and_never_crashes),
    };

    return run_on_hosts(argc, argv, tests);
}
