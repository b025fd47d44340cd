/* long_test.c - requests with a great deal to do: they are answered as ever, and others are served meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

#ifdef KV_SANITIZED
enum { many = 17000, all_keys = 101000, names = 4200 };
#else
enum { many = 100000, all_keys = 130000, names = 12000 };
#endif

/* "NAME key:0 key:1 ...", n of them; the name may be two words. */
static void send_about(conn *c, const char *name, int n)
{
    char *text = malloc(64 + (size_t)n * 32), *at = text;
    const char *space = strchr(name, ' ');

    assert_non_null(text);
    if (space)
        at += sprintf(at, "*%d\r\n$%d\r\n%.*s\r\n$%zu\r\n%s\r\n", n + 2, (int)(space - name),
                      (int)(space - name), name, strlen(space + 1), space + 1);
    else
        at += sprintf(at, "*%d\r\n$%zu\r\n%s\r\n", n + 1, strlen(name), name);
    for (int i = 0; i < n; i++) {
        char key[16];
        int len = sprintf(key, "key:%d", i);

        at += sprintf(at, "$%d\r\n%s\r\n", len, key);
    }
    assert_true(conn_send(c, kv_slice_of(text, (size_t)(at - text))));
    free(text);
}

static void fill(conn *c, int n)
{
    char *text = malloc((size_t)n * 48), *at = text;

    assert_non_null(text);
    for (int i = 0; i < n; i++)
        at += sprintf(at, "SET key:%d v\r\n", i);
    for (size_t sent = 0, len = (size_t)(at - text), some; sent < len; sent += some) {
        some = len - sent < 65536 ? len - sent : 65536;
        while (some > 1 && text[sent + some - 1] != '\n')
            some--;
        assert_true(conn_send(c, kv_slice_of(text + sent, some)));
        for (size_t i = 0; i < some; i++)
            if (text[sent + i] == '\n')
                next_is(c, "+OK");
    }
    free(text);
}

/* Keys key:0, key:1, ..., all_keys of them. */
static void populate(conn *c)
{
    char count[32];

    sprintf(count, "%d", all_keys);
    says(c, "+OK", "DEBUG", "POPULATE", count);
}

static void expect_number(conn *c, int n)
{
    char text[32];

    sprintf(text, ":%d", n);
    next_is(c, text);
}

static void expect_number_of_keys(conn *c, int n)
{
    assert_true(conn_send(c, KV_STR("DBSIZE\r\n")));
    expect_number(c, n);
}

static void count_and_delete(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing);
    conn *c = connect_to(s), *other = connect_to(s);

    fill(c, many / 2);
    send_about(c, "EXISTS", many);
    says(other, "+PONG", "PING");
    expect_number(c, many / 2);
    send_about(c, "TOUCH", many);
    send_about(c, "DEL", many);
    assert_true(conn_send(c, KV_STR("EXISTS key:1\r\nDBSIZE\r\n")));
    says(other, "+PONG", "PING");
    expect_number(c, many / 2);
    expect_number(c, many / 2);
    expect_number(c, 0);
    expect_number(c, 0);
    send_about(c, "UNLINK", many);
    expect_number(c, 0);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void many_keys_are_counted_and_deleted_in_order(void **state)
{
    (void)state;
    count_and_delete("sharded");
    count_and_delete("actor");
}

/* Every second name is the value of the one before it. */
static void store_and_look(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing);
    conn *c = connect_to(s), *other = connect_to(s);

    says(c, "+OK", "SET", "key:2", "old");
    send_about(c, "MSETNX", many);
    assert_true(conn_send(c, KV_STR("DBSIZE\r\n")));
    says(other, "+PONG", "PING");
    expect_number(c, 0);
    expect_number(c, 1);
    send_about(c, "MSET", many);
    assert_true(conn_send(c, KV_STR("GET key:2\r\nDBSIZE\r\n")));
    says(other, "+PONG", "PING");
    next_is(c, "+OK");
    next_is(c, "$key:3");
    expect_number(c, many / 2);
    says(c, "+OK", "FLUSHALL");
    says(c, "+OK", "MULTI");
    send_about(c, "MSET", many);
    next_is(c, "+QUEUED");
    says(c, "+QUEUED", "DEL", "key:0");
    send_about(c, "MSETNX", many);
    next_is(c, "+QUEUED");
    says(c, "*3 +OK :1 :0", "EXEC");
    expect_number_of_keys(c, many / 2 - 1);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void many_keys_are_stored_as_one_act(void **state)
{
    (void)state;
    store_and_look("sharded");
    store_and_look("mutex");
    store_and_look("actor");
}

static void want_no_replies(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing);
    conn *c = connect_to(s);

    assert_true(conn_send(c, KV_STR("CLIENT REPLY SKIP\r\n")));
    send_about(c, "DEL", many);
    says(c, "+PONG", "PING");
    assert_true(conn_send(c, KV_STR("CLIENT REPLY OFF\r\n")));
    send_about(c, "EXISTS", many);
    assert_true(conn_send(c, KV_STR("PING\r\nCLIENT REPLY ON\r\n")));
    next_is(c, "+OK");
    conn_close(c);
    end(s);
}

static void replies_that_are_not_wanted_do_not_come(void **state)
{
    (void)state;
    want_no_replies("sharded");
    want_no_replies("actor");
}

static void in_a_transaction_it_is_one_act(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s);

    (void)state;
    fill(c, many / 4);
    says(c, "+OK", "MULTI");
    send_about(c, "DEL", many / 4);
    next_is(c, "+QUEUED");
    says(c, "+QUEUED", "DBSIZE");
    char text[64];

    sprintf(text, "*2 :%d :0", many / 4);
    says(c, text, "EXEC");
    conn_close(c);
    end(s);
}

static void leave_in_the_midst_of_it(const char *sharing)
{
    server *s = begin("--threads", "2", "--sharing", sharing);
    conn *last = connect_to(s);

    for (int i = 0; i < 8; i++) {
        conn *c = connect_to(s);

        send_about(c, i % 4 == 0 ? "MSET" : i % 2 ? "DEL" : "EXISTS", many);
        if (i % 3 == 0)
            free(ask(last, "CLIENT", "KILL", "TYPE", "normal"));
        conn_close(c);
    }
    says(last, "+PONG", "PING");
    conn_close(last);
    end(s);
}

static void who_leaves_in_the_midst_of_it_is_forgotten(void **state)
{
    (void)state;
    leave_in_the_midst_of_it("sharded");
    leave_in_the_midst_of_it("actor");
}

static void walk_through_all(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing, "--enable-debug-command", "yes");
    conn *c = connect_to(s), *other = connect_to(s);
    reply *r;

    populate(c);
    assert_true(conn_send(c, KV_STR("KEYS none*\r\nKEYS key:1?3\r\n")));
    says(other, "+PONG", "PING");
    next_is(c, "*0");
    r = conn_read(c);
    assert_non_null(r);
    assert_int_equal(r->type, '*');
    assert_int_equal(r->count, 10);
    reply_free(r);
    assert_true(conn_send(c, KV_STR("KEYS *\r\n")));
    r = conn_read(c);
    assert_non_null(r);
    assert_int_equal(r->count, all_keys);
    char *seen = calloc(all_keys, 1);

    assert_non_null(seen);
    for (size_t i = 0; i < r->count; i++) {
        int number = atoi(r->elements[i].text + 4);

        assert_in_range(number, 0, all_keys - 1);
        assert_int_equal(seen[number]++, 0);
    }
    free(seen);
    reply_free(r);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void keys_of_a_large_database_come_once_each(void **state)
{
    (void)state;
    walk_through_all("sharded");
    walk_through_all("actor");
}

/* One confirmation for each of n names, which count up or down. */
static void expect_confirmations(conn *c, const char *word, int n, bool up)
{
    for (int i = 0; i < n; i++) {
        char text[96];

        sprintf(text, "*3 $%s $key:%d :%d", word, i, up ? i + 1 : n - 1 - i);
        next_is(c, text);
    }
}

static void expect_elements(conn *c, size_t n)
{
    reply *r = conn_read(c);

    assert_non_null(r);
    assert_int_equal(r->type, '*');
    assert_int_equal(r->count, n);
    reply_free(r);
}

static void subscribe_to_many(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing);
    conn *c = connect_to(s), *other = connect_to(s);

    send_about(c, "SUBSCRIBE", names);
    assert_true(conn_send(c, KV_STR("PING\r\n")));
    expect_confirmations(c, "subscribe", names, true);
    next_is(c, "*2 $pong $");
    assert_true(
        conn_send(other, KV_STR("PUBSUB CHANNELS\r\nPUBSUB CHANNELS key:1?3\r\nPUBSUB CHANNELS none*\r\n")));
    send_about(other, "PUBSUB NUMSUB", names);
    assert_true(conn_send(other, KV_STR("PUBLISH key:7 seven\r\n")));
    expect_elements(other, names);
    expect_elements(other, 10);
    expect_elements(other, 0);
    expect_elements(other, 2 * names);
    next_is(other, ":1");
    next_is(c, "*3 $message $key:7 $seven");
    send_about(c, "UNSUBSCRIBE", names);
    assert_true(conn_send(c, KV_STR("PING\r\n")));
    expect_confirmations(c, "unsubscribe", names, false);
    next_is(c, "+PONG");
    send_about(c, "SUBSCRIBE", names);
    assert_true(conn_send(c, KV_STR("UNSUBSCRIBE\r\nPING\r\n")));
    expect_confirmations(c, "subscribe", names, true);
    for (int i = names - 1; i >= 0; i--) { /* in whatever order */
        reply *r = conn_read(c);

        assert_non_null(r);
        assert_int_equal(r->count, 3);
        assert_int_equal(r->elements[2].integer, i);
        reply_free(r);
    }
    next_is(c, "+PONG");
    conn_close(c);
    conn_close(other);
    end(s);
}

static void thousands_of_names_are_confirmed_one_by_one(void **state)
{
    (void)state;
    subscribe_to_many("sharded");
    subscribe_to_many("actor");
}

/* What a client is told unasked, in RESP3, does not come in the middle of a reply. */
static void ask_in_parts(const char *sharing)
{
    server *s = begin("--threads", "1", "--sharing", sharing);
    conn *c = connect_to(s);

    free(ask(c, "HELLO", "3"));
    free(ask(c, "SUBSCRIBE", "key:1"));
    send_about(c, "PUBSUB NUMSUB", names);
    assert_true(conn_send(c, KV_STR("PUBLISH key:1 one\r\nCLIENT REPLY SKIP\r\n")));
    send_about(c, "COMMAND INFO", names);
    send_about(c, "COMMAND INFO", names);
    send_about(c, "COMMAND DOCS", names);
    send_about(c, "CONFIG GET", names);
    assert_true(conn_send(c, KV_STR("CONFIG GET port\r\n")));
    expect_elements(c, 2 * names);
    next_is(c, ">3 $message $key:1 $one");
    next_is(c, ":1");
    expect_elements(c, names);
    next_is(c, "%0");
    next_is(c, "%0");
    next_is(c, "%1 $port");
    conn_close(c);
    end(s);
}

static void questions_about_thousands_of_names_have_one_reply(void **state)
{
    (void)state;
    ask_in_parts("sharded");
    ask_in_parts("actor");
}

static void scan_does_not_take_all_at_once(void **state)
{
    server *s = begin("--threads", "1", "--enable-debug-command", "yes");
    conn *c = connect_to(s);
    char cursor[32] = "0";
    int visits = 0;

    (void)state;
    populate(c);
    do {
        char *text = ask(c, "SCAN", cursor, "MATCH", "none", "COUNT", "1000000000");

        assert_non_null(text);
        assert_int_equal(sscanf(text, "*2 $%30[0-9] *0", cursor), 1);
        free(text);
        visits++;
    } while (strcmp(cursor, "0") != 0);
    assert_in_range(visits, 2, 10);
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys_are_counted_and_deleted_in_order),
        cmocka_unit_test(many_keys_are_stored_as_one_act),
        cmocka_unit_test(replies_that_are_not_wanted_do_not_come),
        cmocka_unit_test(in_a_transaction_it_is_one_act),
        cmocka_unit_test(who_leaves_in_the_midst_of_it_is_forgotten),
        cmocka_unit_test(keys_of_a_large_database_come_once_each),
        cmocka_unit_test(thousands_of_names_are_confirmed_one_by_one),
        cmocka_unit_test(questions_about_thousands_of_names_have_one_reply),
        cmocka_unit_test(scan_does_not_take_all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
