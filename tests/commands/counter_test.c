/* counter_test.c - tests of core/commands/counter.c: numbers stored as strings.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static const char not_an_integer[] = "-ERR value is not an integer or out of range";
static const char not_a_float[] = "-ERR value is not a valid float";
static const char overflow[] = "-ERR increment or decrement would overflow";

static void counting_begins_at_zero(void **state)
{
    session *s = *state;

    expect(s, ":1", "INCR", "up");
    expect(s, ":2", "INCR", "up");
    expect(s, ":-1", "DECR", "down");
    expect(s, ":-2", "DECR", "down");
    expect(s, ":20", "INCRBY", "by", "20");
    expect(s, ":15", "DECRBY", "by", "5");
    expect(s, ":10", "INCRBY", "by", "-5");
    expect(s, ":13", "DECRBY", "by", "-3");
    expect(s, ":13", "INCRBY", "by", "0");
    expect(s, "$13", "GET", "by");
}

static void incr_counts_on_from_what_set_stored(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "100");
    expect(s, ":101", "INCR", "k");
    expect(s, "+OK", "SET", "k", "-1");
    expect(s, ":0", "INCR", "k");
    expect(s, ":1", "STRLEN", "k");
    expect(s, ":2", "APPEND", "k", "7");
    expect(s, "$07", "GET", "k");
    expect(s, not_an_integer, "INCR", "k");
}

static void incrby_leaves_a_text_value_untouched(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "visits", "many");
    expect(s, not_an_integer, "INCRBY", "visits", "1");
    expect(s, "$many", "GET", "visits");
}

static void only_one_spelling_of_an_integer_counts(void **state)
{
    session *s = *state;
    static const char *const wrong[] = {
        "",     " 1",  "1 ",  "01",  "+1",    "-0",  "1.0",
        "0x10", "1e3", "--1", "-",   "1\n",   "00",  "9223372036854775808",
        "one",  "-01", "1-",  "1,0", "1 000", "\t1", "-9223372036854775809"
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect(s, "+OK", "SET", "k", wrong[i]);
        expect(s, not_an_integer, "INCR", "k");
        expect(s, not_an_integer, "INCRBY", "n", wrong[i]);
    }
    expect(s, ":0", "EXISTS", "n");
}

static void an_integer_with_a_nul_is_none(void **state)
{
    session *s = *state;

    expect_bytes(s, "+OK", KV_STR("SET"), KV_STR("k"), KV_STR("1\0"));
    expect(s, not_an_integer, "INCR", "k");
    expect_bytes(s, not_an_integer, KV_STR("INCRBY"), KV_STR("n"), KV_STR("1\0"));
}

static void counters_stop_at_both_ends(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "9223372036854775806");
    expect(s, ":9223372036854775807", "INCR", "k");
    expect(s, overflow, "INCR", "k");
    expect(s, overflow, "INCRBY", "k", "9223372036854775807");
    expect(s, "$9223372036854775807", "GET", "k");
    expect(s, ":-1", "INCRBY", "k", "-9223372036854775808");
    expect(s, "+OK", "SET", "k", "-9223372036854775807");
    expect(s, ":-9223372036854775808", "DECR", "k");
    expect(s, overflow, "DECR", "k");
    expect(s, overflow, "INCRBY", "k", "-1");
    expect(s, "$-9223372036854775808", "GET", "k");
    expect(s, ":-1", "INCRBY", "k", "9223372036854775807");
}

static void decrby_refuses_what_cannot_be_negated(void **state)
{
    session *s = *state;

    expect(s, "-ERR decrement would overflow", "DECRBY", "k", "-9223372036854775808");
    expect(s, ":0", "EXISTS", "k");
    expect(s, ":9223372036854775807", "DECRBY", "k", "-9223372036854775807");
    expect(s, overflow, "DECRBY", "k", "-1");
    expect(s, not_an_integer, "DECRBY", "k", "9223372036854775808");
}

static void counting_keeps_the_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "1", "PXAT", "33177117420123");
    expect(s, ":2", "INCR", "k");
    expect(s, ":0", "DECRBY", "k", "2");
    expect(s, "$1.5", "INCRBYFLOAT", "k", "1.5");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void an_expired_counter_begins_again(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "41", "PXAT", "1");
    expect(s, ":1", "INCR", "k");
    expect(s, ":-1", "TTL", "k");
}

static void small_and_large_counters_pass_through_each_other(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "9");
    expect(s, ":10", "INCR", "k");
    expect(s, ":10010", "INCRBY", "k", "10000");
    expect(s, ":2147483647", "INCRBY", "k", "2147473637");
    expect(s, ":2147483648", "INCR", "k");
    expect(s, ":4294967296", "INCRBY", "k", "2147483648");
    expect(s, ":-4294967297", "DECRBY", "k", "8589934593");
    expect(s, "$-4294967297", "GET", "k");
    expect(s, ":11", "STRLEN", "k");
}

/* ---- INCRBYFLOAT ------------------------------------------------------------------------ */

static void incrbyfloat_prints_no_more_than_is_needed(void **state)
{
    session *s = *state;

    expect(s, "$1", "INCRBYFLOAT", "k", "1");
    expect(s, "$1.25", "INCRBYFLOAT", "k", "0.25");
    expect(s, "$1.25", "GET", "k");
    expect(s, "$1.5", "INCRBYFLOAT", "k", "0.25");
    expect(s, "$-1.5", "INCRBYFLOAT", "k", "-3");
    expect(s, "+OK", "SET", "k", "10.50");
    expect(s, "$10.6", "INCRBYFLOAT", "k", "0.1");
    expect(s, "$5.6", "INCRBYFLOAT", "k", "-5");
    expect(s, "+OK", "SET", "k", "5.0e3");
    expect(s, "$5200", "INCRBYFLOAT", "k", "2.0e2");
    expect(s, "+OK", "SET", "k", "3");
    expect(s, "$3.1", "INCRBYFLOAT", "k", "0.1");
    expect(s, "+OK", "SET", "k", "3");
    expect(s, "$4.1", "INCRBYFLOAT", "k", "1.1");
    expect(s, "$-1234567.875", "INCRBYFLOAT", "w", "-1234567.875");
    expect(s, "$0", "INCRBYFLOAT", "zero", "0");
    expect(s, "$0", "INCRBYFLOAT", "zero", "-0");
    expect(s, "$17", "INCRBYFLOAT", "h", "0x11");
    expect(s, "$0.1", "INCRBYFLOAT", "dot", ".1");
    expect(s, "$1.1", "INCRBYFLOAT", "dot", "1.");
    expect(s, "$2.1", "INCRBYFLOAT", "dot", "+1");
}

static void incrbyfloat_reaches_far(void **state)
{
    session *s = *state;

    expect(s, "$100000000000000000000", "INCRBYFLOAT", "k", "1e20");
    expect(s, "$0.00000000000000001", "INCRBYFLOAT", "small", "1e-17");
    expect(s, "$0", "INCRBYFLOAT", "smaller", "1e-18");
    expect(s, "+OK", "SET", "n", "9223372036854775807");
    expect(s, "$9223372036854775808", "INCRBYFLOAT", "n", "1");
    expect(s, not_an_integer, "INCR", "n");
}

static void incrbyfloat_makes_integers_that_count(void **state)
{
    session *s = *state;

    expect(s, "$1.5", "INCRBYFLOAT", "k", "1.5");
    expect(s, not_an_integer, "INCR", "k");
    expect(s, "$3", "INCRBYFLOAT", "k", "1.5");
    expect(s, ":4", "INCR", "k");
}

static void incrbyfloat_refuses_what_is_no_number(void **state)
{
    session *s = *state;
    static const char *const wrong[] = { "",    "abc", " 1",  "1 ",   "1.2.3", "1e",
                                         "nan", "--1", "1,5", "1.5x", "0x" };
    static const char nan_or_infinity[] = "-ERR increment would produce NaN or Infinity";

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect(s, not_a_float, "INCRBYFLOAT", "n", wrong[i]);
        expect(s, "+OK", "SET", "k", wrong[i]);
        expect(s, not_a_float, "INCRBYFLOAT", "k", "1");
    }
    expect(s, ":0", "EXISTS", "n");
    expect(s, nan_or_infinity, "INCRBYFLOAT", "n", "inf");
    expect(s, nan_or_infinity, "INCRBYFLOAT", "n", "-inf");
    expect(s, nan_or_infinity, "INCRBYFLOAT", "n", "+Infinity");
    expect(s, ":0", "EXISTS", "n");
    expect_bytes(s, not_a_float, KV_STR("INCRBYFLOAT"), KV_STR("n"), KV_STR("1\0"));
    expect_bytes(s, not_a_float, KV_STR("INCRBYFLOAT"), KV_STR("n"),
                 KV_STR("1\0"
                        "5"));
}

static void counters_count_their_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'incr' command", "INCR");
    expect(s, "-ERR wrong number of arguments for 'incr' command", "INCR", "a", "1");
    expect(s, "-ERR wrong number of arguments for 'decr' command", "DECR");
    expect(s, "-ERR wrong number of arguments for 'incrby' command", "INCRBY", "a");
    expect(s, "-ERR wrong number of arguments for 'decrby' command", "DECRBY", "a", "1", "2");
    expect(s, "-ERR wrong number of arguments for 'incrbyfloat' command", "INCRBYFLOAT", "a");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(counting_begins_at_zero),
        conversation(incr_counts_on_from_what_set_stored),
        conversation(incrby_leaves_a_text_value_untouched),
        conversation(only_one_spelling_of_an_integer_counts),
        conversation(an_integer_with_a_nul_is_none),
        conversation(counters_stop_at_both_ends),
        conversation(decrby_refuses_what_cannot_be_negated),
        conversation(counting_keeps_the_deadline),
        conversation(an_expired_counter_begins_again),
        conversation(small_and_large_counters_pass_through_each_other),
        conversation(incrbyfloat_prints_no_more_than_is_needed),
        conversation(incrbyfloat_reaches_far),
        conversation(incrbyfloat_makes_integers_that_count),
        conversation(incrbyfloat_refuses_what_is_no_number),
        conversation(counters_count_their_arguments),
    };

    return run_conversations(argc, argv, tests);
}
