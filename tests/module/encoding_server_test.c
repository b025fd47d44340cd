/* encoding_server_test.c - what an earlier module has written is read by this one: fixtures/encoding-<n>.rdb, as saved by
 * redis-server 7.0 with the module whose encoding was n, and records as a log holds them. Do not renew a fixture: add one.
 *
 * SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void write_file(const char *directory, const char *name, const char *bytes, size_t len)
{
    char path[4096];
    FILE *out;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fwrite(bytes, 1, len, out) == len);
    assert_int_equal(fclose(out), 0);
}

static void copy_fixture(const char *name, const char *directory)
{
    char path[4096], bytes[65536];
    size_t len;
    FILE *in;

    assert_non_null(getenv("KV_MODULE_FIXTURES"));
    snprintf(path, sizeof path, "%s/%s", getenv("KV_MODULE_FIXTURES"), name);
    in = fopen(path, "re");
    if (!in)
        fail_msg("no %s", path);
    len = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    assert_true(len > 0 && len < sizeof bytes);
    write_file(directory, "dump.rdb", bytes, len);
}

/* What both forms hold in the fixture. */
static void expect_contents(conn *c)
{
    char name[16], text[64];

    expect_reply(c, ":4", "KV.LEN", "small");
    expect_reply(c, "*3 $Ada :1000 :-1", "KV.GETV", "small", "name");
    expect_reply(c, "*3 $\"\" :1001 :-1", "KV.GETV", "small", "empty");
    expect_reply(c, "$axb", "KV.GET", "small", "session");
    expect_reply(c, ":4102444800000", "KV.PEXPIRETIME", "small", "session");
    expect_reply(c, ":4102444800000", "PEXPIRETIME", "small");
    expect_reply(c, "*1 $\\x00\\x0d\\x0a", "KV.KEYS", "small", "MATCH", "[^a-z]*");
    expect_reply(c, "*1 $\\xff\\xfe", "KV.VALUES", "small", "MATCH", "[^a-z]*");
    expect_reply(c, ":21", "KV.LEN", "store");
    for (int i = 1; i <= 20; i++) {
        snprintf(name, sizeof name, "field:%d", i);
        if (i == 7)
            continue;
        snprintf(text, sizeof text, "*3 $value:%d :%d :-1", i, 70000000 + i);
        expect_reply(c, text, "KV.GETV", "store", name);
    }
    expect_reply(c, ":4102444800000", "KV.PEXPIRETIME", "store", "field:7");
    expect_reply(c, ":400", "KV.STRLEN", "store", "long");
    expect_reply(c, "$not ours", "GET", "text");
    expect_reply(c, "+OK", "SELECT", "3");
    expect_reply(c, "*3 $1 :4611686018427387904 :-1", "KV.GETV", "elsewhere", "f");
    expect_reply(c, "+OK", "SELECT", "0");
}

/* Versions that are given out go on from what was loaded. */
static void expect_versions_to_go_on(conn *c)
{
    const kv_slice getv[] = { KV_STR("KV.GETV"), KV_STR("small"), KV_STR("new") };
    reply *r;

    expect_reply(c, "+OK", "KV.SET", "small", "new", "1");
    r = conn_ask(c, 3, getv);
    assert_non_null(r);
    assert_int_equal(r->count, 3);
    assert_true(r->elements[1].integer > 1003);
    reply_free(r);
    expect_reply(c, "_", "KV.SET", "store", "field:1", "2", "IFVER", "70000002");
    expect_reply(c, "+OK", "KV.SET", "store", "field:1", "2", "IFVER", "70000001");
}

static void encoding_1_is_read(void **state)
{
    char *directory = new_directory();
    server *s;
    conn *c;

    (void)state;
    copy_fixture("encoding-1.rdb", directory);
    s = host_start_in(directory, (const char *const[]){ NULL });
    c = host_connect(s);
    wait_for(c, "+PONG", "PING"); /* it may still be loading */
    expect_contents(c);
    expect_reply(c, "+OK", "DEBUG", "RELOAD"); /* as this module writes it */
    expect_contents(c);
    expect_versions_to_go_on(c);
    conn_close(c);
    assert_true(server_stop(s));
    remove_directory(directory);
}

/* ---- the log ---- */

static const char manifest[] = "file appendonly.aof.1.incr.aof seq 1 type i\n";

/* Commands, a word each, NULL behind each; in RESP. */
static void print_commands(FILE *out, const char *const words[], size_t count)
{
    for (size_t at = 0; at < count;) {
        size_t n = 0;

        while (words[at + n])
            n++;
        fprintf(out, "*%zu\r\n", n);
        for (size_t i = 0; i < n; i++)
            fprintf(out, "$%zu\r\n%s\r\n", strlen(words[at + i]), words[at + i]);
        at += n + 1;
    }
}

static void records_of_a_log_are_read(void **state)
{
    static const char *const words[] = {
        "SELECT", "0",      NULL,     "KV.PUT", "k",
        "a",      "1",      "0",      "5",      NULL,
        "KV.PUT", "k",      "b",      "2",      "4102444800000",
        "6",      "c",      "",       "0",      "7",
        NULL,     "KV.PUT", "k",      "past",   "3",
        "1",      "8",      NULL,     "KV.REM", "k",
        "a",      NULL,     "KV.PUT", "gone",   "f",
        "1",      "0",      "9",      NULL,     "KV.REM",
        "gone",   "f",      "nobody", NULL,
    };
    char *directory = new_directory(), *bytes = NULL, log[4096];
    size_t len = 0;
    FILE *out = open_memstream(&bytes, &len);
    server *s;
    conn *c;

    (void)state;
    assert_non_null(out);
    print_commands(out, words, sizeof words / sizeof *words);
    fclose(out);
    snprintf(log, sizeof log, "%s/appendonlydir", directory);
    assert_int_equal(mkdir(log, 0700), 0);
    write_file(log, "appendonly.aof.manifest", manifest, sizeof manifest - 1);
    write_file(log, "appendonly.aof.1.incr.aof", bytes, len);
    free(bytes);
    s = host_start_in(directory, (const char *const[]){ "--appendonly", "yes", NULL });
    c = host_connect(s);
    wait_for(c, ":1", "DBSIZE");
    expect_reply(c, "_", "KV.GET", "k", "a");
    expect_reply(c, ":4102444800000", "KV.PEXPIRETIME", "k", "b");
    expect_reply(c, "*3 $\"\" :7 :-1", "KV.GETV", "k", "c");
    wait_for(c, ":2", "KV.LEN", "k"); /* what is past its deadline goes once the log is read */
    conn_close(c);
    assert_true(server_stop(s));
    remove_directory(directory);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding_1_is_read),
        cmocka_unit_test(records_of_a_log_are_read),
    };

    return run_on_hosts(argc, argv, tests);
}
