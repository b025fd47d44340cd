/* versions_server_test.c - what redis-server 7.0 has written, later servers read: as a file, as a log, as a payload, as their
 * primary. Where only one server is found there is nothing to see. SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>

static void fill(conn *c)
{
    char key[32], field[32];

    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "small:%d", i);
        expect_reply(c, "+OK", "KV.MSET", key, "name", "Ada", "city", "London", "empty", "");
        expect_reply(c, "+OK", "KV.SET", key, "session", "s", "PX", "100000000");
    }
    for (int i = 0; i < 500; i++) {
        snprintf(field, sizeof field, "field:%d", i);
        expect_reply(c, "+OK", "KV.SET", "large", field, field);
    }
    expect_reply(c, ":1", "PEXPIRE", "small:3", "100000000");
}

/* The reference writes in a directory, with these options, and ends by step; the tested server finds the same there. */
static void read_what_the_reference_wrote(const char *const options[], const char *step)
{
    char *directory = new_directory(), *digest;
    server *s = host_start_reference(directory, options);
    conn *c;

    if (!s) {
        remove_directory(directory);
        skip();
    }
    c = host_connect(s);
    fill(c);
    digest = say(c, "DEBUG", "DIGEST");
    free(say(c, step));
    while (host_info(c, "persistence", "aof_rewrite_in_progress") ||
           host_info(c, "persistence", "aof_rewrite_scheduled"))
        ;
    conn_close(c);
    assert_true(server_stop(s));
    s = host_start_in(directory, options);
    c = host_connect(s);
    wait_for(c, digest, "DEBUG", "DIGEST");
    expect_reply(c, "$field:7", "KV.GET", "large", "field:7");
    free(digest);
    conn_close(c);
    assert_true(server_stop(s));
    remove_directory(directory);
}

static void a_saved_file(void **state)
{
    (void)state;
    read_what_the_reference_wrote((const char *const[]){ NULL }, "SAVE");
}

static void a_log_of_records(void **state)
{
    (void)state;
    read_what_the_reference_wrote((const char *const[]){ "--appendonly", "yes", NULL }, "PING");
}

static void a_rewritten_log_of_records(void **state)
{
    (void)state;
    read_what_the_reference_wrote(
        (const char *const[]){ "--appendonly", "yes", "--aof-use-rdb-preamble", "no", NULL }, "BGREWRITEAOF");
}

static void a_rewritten_log_that_begins_with_a_snapshot(void **state)
{
    (void)state;
    read_what_the_reference_wrote((const char *const[]){ "--appendonly", "yes", NULL }, "BGREWRITEAOF");
}

static void a_primary_and_its_payloads(void **state)
{
    const kv_slice dump[] = { KV_STR("DUMP"), KV_STR("large") };
    char *directory = new_directory(), port[16], *digest, *large;
    server *primary = host_start_reference(directory, (const char *const[]){ NULL }), *s;
    conn *p, *c;
    reply *payload;

    (void)state;
    if (!primary) {
        remove_directory(directory);
        skip();
    }
    p = host_connect(primary);
    fill(p);
    snprintf(port, sizeof port, "%d", server_port(primary));
    s = host_start((const char *const[]){ "--replicaof", "127.0.0.1", port, NULL });
    c = host_connect(s);
    wait_for(p, ":1", "WAIT", "1", "1000"); /* as a snapshot */
    expect_reply(p, ":4", "KV.DEL", "small:7", "name", "city", "empty", "session");
    expect_reply(p, "+OK", "KV.SET", "small:8", "name", "Bob", "PX", "90000000");
    wait_for(p, ":1", "WAIT", "1", "1000");
    digest = say(p, "DEBUG", "DIGEST");
    expect_reply(c, digest, "DEBUG", "DIGEST");
    expect_reply(c, "+OK", "REPLICAOF", "NO", "ONE");
    large = say(c, "DEBUG", "DIGEST-VALUE", "large");
    payload = conn_ask(p, 2, dump);
    assert_true(payload && payload->type == '$');
    const kv_slice restore[] = { KV_STR("RESTORE"), KV_STR("copy"), KV_STR("0"),
                                 kv_slice_of(payload->text, payload->len) };
    reply *restored = conn_ask(c, 4, restore);

    assert_true(restored && restored->type == '+');
    expect_reply(c, large, "DEBUG", "DIGEST-VALUE", "copy");
    reply_free(restored);
    reply_free(payload);
    free(large);
    free(digest);
    conn_close(p);
    conn_close(c);
    assert_true(server_stop(s));
    assert_true(server_stop(primary));
    remove_directory(directory);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_file),
        cmocka_unit_test(a_log_of_records),
        cmocka_unit_test(a_rewritten_log_of_records),
        cmocka_unit_test(a_rewritten_log_that_begins_with_a_snapshot),
        cmocka_unit_test(a_primary_and_its_payloads),
    };

    return run_on_hosts(argc, argv, tests);
}
