/* scan_test.c - tests of core/commands/scan.c: walking through all keys, a few at a time.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

enum { keys_max = 3000 };

/* What a whole iteration returned: how often each of key:0 .. key:<keys_max - 1>, and anything else. */
typedef struct tally {
    int seen[keys_max];
    int strangers, calls;
    size_t longest; /* most keys in one reply */
} tally;

static void count_key(tally *t, const reply *key)
{
    int number, end = 0;

    if (sscanf(key->text, "key:%d%n", &number, &end) == 1 && end == (int)key->len && number >= 0 &&
        number < keys_max)
        t->seen[number]++;
    else
        t->strangers++;
}

/* One SCAN of a socket's client with up to four more arguments; puts the next cursor in place of cursor. */
static void scan_once(session *s, tally *t, char cursor[32], const char *const more[])
{
    kv_slice argv[8] = { KV_STR("SCAN"), kv_str(cursor) };
    size_t argc = 2;
    reply *r;

    for (; more && more[argc - 2] && argc < 8; argc++)
        argv[argc] = kv_str(more[argc - 2]);
    r = session_reply(s, argc, argv);
    assert_int_equal(r->type, '*');
    assert_int_equal(r->count, 2);
    assert_int_equal(r->elements[0].type, '$');
    assert_int_equal(r->elements[1].type, '*');
    assert_true(r->elements[0].len < 32);
    strcpy(cursor, r->elements[0].text);
    for (size_t i = 0; i < r->elements[1].count; i++)
        count_key(t, &r->elements[1].elements[i]);
    if (r->elements[1].count > t->longest)
        t->longest = r->elements[1].count;
    t->calls++;
    reply_free(r);
}

static tally *scan_all(session *s, const char *const more[])
{
    tally *t = calloc(1, sizeof *t);
    char cursor[32] = "0";

    assert_non_null(t);
    do {
        scan_once(s, t, cursor, more);
        assert_true(t->calls <= 10 * keys_max);
    } while (strcmp(cursor, "0") != 0);
    return t;
}

static const char *key_name(char name[32], int number)
{
    sprintf(name, "key:%d", number);
    return name;
}

static void set_keys(session *s, int from, int to)
{
    char name[32];

    for (int i = from; i < to; i++)
        expect(s, "+OK", "SET", key_name(name, i), "v");
}

static void delete_keys(session *s, int from, int to)
{
    char name[32];

    for (int i = from; i < to; i++)
        expect(s, ":1", "DEL", key_name(name, i));
}

static void assert_all_seen(const tally *t, int from, int to)
{
    for (int i = from; i < to; i++)
        if (!t->seen[i])
            fail_msg("key:%d was there all the time and not seen", i);
}

static void an_empty_database_is_done_at_once(void **state)
{
    session *s = *state;

    expect(s, "*2 $0 *0", "SCAN", "0");
    expect(s, "*2 $0 *0", "SCAN", "0", "COUNT", "1000", "MATCH", "*", "TYPE", "string");
}

static void every_key_is_seen(void **state)
{
    session *s = *state;
    static const char *const counts[] = { "1", "7", "100", "1000000" };

    set_keys(s, 0, 1000);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        tally *t = scan_all(s, (const char *const[]){ "COUNT", counts[i], NULL });

        assert_all_seen(t, 0, 1000);
        assert_int_equal(t->strangers, 0);
        free(t);
    }
}

static void without_changes_no_key_is_seen_twice(void **state)
{
    session *s = *state;
    tally *t;

    set_keys(s, 0, 1000);
    t = scan_all(s, NULL);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(t->seen[i], 1);
    assert_true(t->calls >= 10);
    free(t);
}

static void count_bounds_the_work_of_a_call(void **state)
{
    session *s = *state;
    tally *t;

    set_keys(s, 0, 2000);
    t = scan_all(s, (const char *const[]){ "COUNT", "10", NULL });
    assert_true(t->longest <= 110);
    assert_true(t->calls >= 2000 / 110);
    free(t);
}

static void match_filters_what_is_returned(void **state)
{
    session *s = *state;
    tally *t;

    set_keys(s, 0, 1000);
    t = scan_all(s, (const char *const[]){ "MATCH", "key:1?", NULL });
    for (int i = 0; i < 1000; i++)
        assert_int_equal(t->seen[i], i >= 10 && i < 20);
    free(t);
    t = scan_all(s, (const char *const[]){ "COUNT", "100", "MATCH", "nothing*", NULL });
    assert_int_equal(t->longest, 0);
    free(t);
    t = scan_all(s, (const char *const[]){ "MATCH", "key:999", "COUNT", "5000", NULL });
    assert_int_equal(t->seen[999], 1);
    assert_int_equal(t->longest, 1);
    free(t);
}

static void type_filters_what_is_returned(void **state)
{
    session *s = *state;
    tally *t;

    set_keys(s, 0, 50);
    t = scan_all(s, (const char *const[]){ "TYPE", "string", "COUNT", "20", NULL });
    assert_all_seen(t, 0, 50);
    free(t);
    t = scan_all(s, (const char *const[]){ "TYPE", "hash", NULL });
    assert_int_equal(t->longest, 0);
    free(t);
    t = scan_all(s, (const char *const[]){ "type", "STRING", "match", "key:4", NULL });
    assert_int_equal(t->seen[4], 1);
    assert_int_equal(t->longest, 1);
    free(t);
}

static void expired_keys_are_not_seen(void **state)
{
    session *s = *state;
    char name[32];
    tally *t;

    for (int i = 0; i < 200; i++)
        expect(s, "+OK", "SET", key_name(name, i), "v", "PXAT", i % 2 ? "33177117420123" : "1");
    t = scan_all(s, NULL);
    for (int i = 0; i < 200; i++)
        assert_int_equal(t->seen[i], i % 2);
    free(t);
}

static void a_key_present_throughout_is_seen_while_others_come(void **state)
{
    session *s = *state;
    tally *t = calloc(1, sizeof *t);
    char cursor[32] = "0";
    int next = 300;

    assert_non_null(t);
    set_keys(s, 0, 300);
    do {
        scan_once(s, t, cursor, NULL);
        if (next < keys_max)
            set_keys(s, next, next + 100);
        next += 100;
        assert_true(t->calls < 10 * keys_max);
    } while (strcmp(cursor, "0") != 0);
    assert_all_seen(t, 0, 300);
    free(t);
}

static void a_key_present_throughout_is_seen_while_others_go(void **state)
{
    session *s = *state;
    tally *t = calloc(1, sizeof *t);
    char cursor[32] = "0";
    int next = keys_max;

    assert_non_null(t);
    set_keys(s, 0, keys_max);
    do {
        scan_once(s, t, cursor, NULL);
        if (next > 100)
            delete_keys(s, next - 100, next);
        next -= 100;
        assert_true(t->calls < 10 * keys_max);
    } while (strcmp(cursor, "0") != 0);
    assert_all_seen(t, 0, 100);
    free(t);
}

static void any_cursor_is_taken(void **state)
{
    session *s = *state;

    set_keys(s, 0, 20);
    expect_like(s, "[*]2 $* [*]*", "SCAN", "123456789");
    expect_like(s, "[*]2 $* [*]*", "SCAN", "18446744073709551615");
    expect_like(s, "[*]2 $* [*]*", "SCAN", "1", "COUNT", "9223372036854775807");
}

static void scan_refuses_what_makes_no_sense(void **state)
{
    session *s = *state;
    static const char not_an_integer[] = "-ERR value is not an integer or out of range";
    const kv_slice as_strtoul_takes[] = {
        KV_STR(""),
        KV_STR("+0"),
        KV_STR("-0"),
        KV_STR("-1"),
        KV_STR("+1"),
        KV_STR("00012"),
        KV_STR("1\0x"),
        KV_STR("\0"),
        KV_STR("-18446744073709551615"),
        KV_STR("0000000000000000000000000000000018446744073709551615"),
    };
    const kv_slice refused[] = {
        KV_STR("-"),      KV_STR("+"),    KV_STR("--1"),
        KV_STR("+-1"),    KV_STR("0x10"), KV_STR("1 "),
        KV_STR("\t1"),    KV_STR("- 1"),  KV_STR("-18446744073709551616"),
        KV_STR("-\0001"), KV_STR("1.0"),  KV_STR("1e3"),
    };

    for (size_t i = 0; i < sizeof as_strtoul_takes / sizeof *as_strtoul_takes; i++)
        expect_bytes(s, "*2 $0 *0", KV_STR("SCAN"), as_strtoul_takes[i]);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        expect_bytes(s, "-ERR invalid cursor", KV_STR("SCAN"), refused[i]);
    expect(s, "-ERR invalid cursor", "SCAN", "x");
    expect(s, "-ERR invalid cursor", "SCAN", "18446744073709551616");
    expect(s, "-ERR invalid cursor", "SCAN", " 1");
    expect(s, "-ERR invalid cursor", "SCAN", "1x", "COUNT", "10");
    expect(s, "-ERR syntax error", "SCAN", "0", "COUNT");
    expect(s, "-ERR syntax error", "SCAN", "0", "MATCH");
    expect(s, "-ERR syntax error", "SCAN", "0", "COUNT", "0");
    expect(s, "-ERR syntax error", "SCAN", "0", "COUNT", "-5");
    expect(s, "-ERR syntax error", "SCAN", "0", "NOPE", "5");
    expect(s, not_an_integer, "SCAN", "0", "COUNT", "x");
    expect(s, not_an_integer, "SCAN", "0", "COUNT", "9223372036854775808");
    expect(s, "-ERR wrong number of arguments for 'scan' command", "SCAN");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(an_empty_database_is_done_at_once),
        conversation(every_key_is_seen),
        conversation(without_changes_no_key_is_seen_twice),
        conversation(count_bounds_the_work_of_a_call),
        conversation(match_filters_what_is_returned),
        conversation(type_filters_what_is_returned),
        conversation(expired_keys_are_not_seen),
        conversation(a_key_present_throughout_is_seen_while_others_come),
        conversation(a_key_present_throughout_is_seen_while_others_go),
        conversation(any_cursor_is_taken),
        conversation(scan_refuses_what_makes_no_sense),
    };

    return run_conversations(argc, argv, tests);
}
