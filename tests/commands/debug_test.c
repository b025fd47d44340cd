/* debug_test.c - tests of DEBUG, at servers that allow it.
 *
 * The digests were asked of redis-server, which the same expectations hold for.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "session.h"

static void the_same_content_has_the_same_digest_as_in_redis(void **state)
{
    session *s = *state;

    expect(s, "+0000000000000000000000000000000000000000", "DEBUG", "DIGEST");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "SET", "b", "hello", "EX", "1000");
    expect(s, "+OK", "SELECT", "3");
    expect(s, "+OK", "SET", "c", "x y");
    expect(s, "+OK", "SELECT", "0");
    expect(s, ":3", "APPEND", "d", "raw");
    expect(s, "+cb4f5dac1ae18ea15d92b3cb92a81d6278547638", "DEBUG", "DIGEST");
    expect(s,
           "*4 +b4fc66738120fba0b5aa500ab5c2bf89cea1c5da +d037c4eb8a8b36b602fbced4000daeab0714c1e3 "
           "+8994567dc15b6e62b5d00f478145a602f82b3de7 +0000000000000000000000000000000000000000",
           "DEBUG", "DIGEST-VALUE", "a", "b", "d", "nokey");
    expect(s, ":3", "DEL", "a", "b", "d", "nokey");
}

static void digests_do_not_depend_on_order(void **state)
{
    session *s = *state;
    const char *first;

    expect(s, "+OK", "DEBUG", "POPULATE", "1000", "k", "100");
    first = said(s, "DEBUG", "DIGEST");
    expect(s, "+OK", "FLUSHALL");
    expect(s, "+OK", "SET", "other", "x");
    expect(s, "+OK", "DEBUG", "POPULATE", "1000", "k", "100");
    assert_string_not_equal(said(s, "DEBUG", "DIGEST"), first);
    expect(s, ":1", "DEL", "other");
    expect(s, first, "DEBUG", "DIGEST");
}

static void values_are_described(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "hello", "n", "300", "m", "70000", "o", "12345678901");
    expect_like(s,
                "+Value at:0x* refcount:2147483647 encoding:int serializedlength:2 lru:* lru_seconds_idle:*",
                "DEBUG", "OBJECT", "a");
    expect_like(s, "+Value at:* refcount:1 encoding:embstr serializedlength:6 lru:*", "DEBUG", "OBJECT", "b");
    expect_like(s, "+Value at:* encoding:int serializedlength:3 lru:*", "DEBUG", "OBJECT", "n");
    expect_like(s, "+Value at:* encoding:int serializedlength:5 lru:*", "DEBUG", "OBJECT", "m");
    expect_like(s, "+Value at:* encoding:int serializedlength:12 lru:*", "DEBUG", "OBJECT", "o");
    expect(s, "-ERR no such key", "DEBUG", "OBJECT", "nokey");
}

static void the_index_is_described(void **state)
{
    session *s = *state;

    expect(s, "+OK", "FLUSHALL");
    expect(
        s,
        "$[Dictionary HT]\\x0aHash table 0 stats (main hash table):\\x0aNo stats available for empty "
        "dictionaries\\x0a[Expires HT]\\x0aHash table 0 stats (main hash table):\\x0aNo stats available for "
        "empty dictionaries\\x0a",
        "DEBUG", "HTSTATS", "0");
    expect(s, "+OK", "DEBUG", "POPULATE", "1000");
    expect_like(
        s,
        "$?Dictionary HT?\\x0aHash table 0 stats (main hash table):\\x0a table size: *\\x0a number of "
        "elements: 1000\\x0a different slots: *\\x0a max chain length: *\\x0a avg chain length (counted): "
        "*Chain length distribution:\\x0a   *: * (*%)\\x0a*?Expires HT?*No stats available*",
        "DEBUG", "HTSTATS", "0");
    expect(s, "+OK", "SET", "timed", "1", "EX", "1000");
    expect_like(s, "$*number of elements: 1001*?Expires HT?*number of elements: 1\\x0a*", "DEBUG", "HTSTATS",
                "0");
    expect_like(s, "$?Dictionary HT?*No stats available*", "DEBUG", "HTSTATS", "1");
    expect(s, "-ERR Out of range database", "DEBUG", "HTSTATS", "99");
    expect(s, "-ERR value is not an integer or out of range", "DEBUG", "HTSTATS", "x");
    expect(s, "+OK", "FLUSHALL");
}

static void keys_are_made_unless_they_exist(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "key:1", "mine");
    expect(s, "+OK", "DEBUG", "POPULATE", "3");
    expect(s, "$mine", "GET", "key:1");
    expect(s, "$value:2", "GET", "key:2");
    expect(s, ":3", "DBSIZE");
    expect(s, "+OK", "DEBUG", "POPULATE", "2", "p", "10");
    expect_bytes(s, "$value:1\\x00\\x00\\x00", KV_STR("GET"), KV_STR("p:1"));
    expect(s, "+OK", "DEBUG", "POPULATE", "1", "q", "3");
    expect(s, "$val", "GET", "q:0");
    expect(s, "-ERR value is out of range, must be positive", "DEBUG", "POPULATE", "many");
    expect(s, "-ERR value is out of range, must be positive", "DEBUG", "POPULATE", "-1");
}

static void every_type_of_reply_can_be_had(void **state)
{
    static const char *const types[][3] = {
        { "string", "$Hello World", "$Hello World" },
        { "integer", ":12345", ":12345" },
        { "double", "$3.141", ",3.141" },
        { "bignum", "$1234567999999999999999999999999999999", "(1234567999999999999999999999999999999" },
        { "null", "_", "_" },
        { "array", "*3 :0 :1 :2", "*3 :0 :1 :2" },
        { "set", "*3 :0 :1 :2", "~3 :0 :1 :2" },
        { "map", "*6 :0 :0 :1 :1 :2 :0", "%3 :0 #f :1 #t :2 #f" },
        { "verbatim", "$This is a verbatim\\x0astring", "=txt:This is a verbatim\\x0astring" },
        { "true", ":1", "#t" },
        { "false", ":0", "#f" },
    };
    session *s = *state;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect(s, types[i][1], "DEBUG", "PROTOCOL", types[i][0]);
    expect(s, "$Some real reply following the attribute", "DEBUG", "PROTOCOL", "attrib");
    expect(s, "-ERR RESP2 is not supported by this command", "DEBUG", "PROTOCOL", "push");
    expect_like(s, "-ERR Wrong protocol type name*", "DEBUG", "PROTOCOL", "nope");
    expect_like(s, "%*", "HELLO", "3");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect(s, types[i][2], "DEBUG", "PROTOCOL", types[i][0]);
}

static void small_things_work(void **state)
{
    session *s = *state;

    expect(s, "+OK", "DEBUG", "SLEEP", "0.001");
    expect(s, "+OK", "DEBUG", "SLEEP", "0");
    expect(s, "-OOPS something", "DEBUG", "ERROR", "OOPS something");
    expect(s, "+OK", "DEBUG", "LOG", "a line");
    expect(s, "+OK", "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    expect(s, "+OK", "DEBUG", "SET-ACTIVE-EXPIRE", "1");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.", "DEBUG",
           "JMAP");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.", "DEBUG",
           "SLEEP");
    expect(s, "-ERR wrong number of arguments for 'debug' command", "DEBUG");
    expect_like(s, "**DEBUG <subcommand>*", "DEBUG", "HELP");
    expect_like(s, "-ERR CONFIG-REWRITE-FORCE-ALL failed: *", "DEBUG", "CONFIG-REWRITE-FORCE-ALL");
}

static void a_reload_keeps_everything(void **state)
{
    session *s = *state;
    const char *digest;
    char kept[64];

    expect(s, "+OK", "FLUSHALL");
    expect(s, "+OK", "DEBUG", "POPULATE", "1000", "k", "50");
    expect(s, "+OK", "SET", "soon", "x", "EXAT", "4102444800");
    expect(s, "+OK", "SELECT", "3");
    expect(s, "+OK", "SET", "c", "x y");
    expect(s, "+OK", "SELECT", "0");
    digest = said(s, "DEBUG", "DIGEST");
    snprintf(kept, sizeof kept, "%s", digest);
    expect(s, "+OK", "DEBUG", "RELOAD");
    expect(s, kept, "DEBUG", "DIGEST");
    expect(s, ":4102444800", "EXPIRETIME", "soon");
    expect(s, "+OK", "SET", "new", "y");
    expect(s, "+OK", "SET", "k:1", "y");
    expect(s, "+OK", "DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE");
    expect(s, "$y", "GET", "new");
    expect(s, ":1", "DEL", "new");
    expect(s, kept, "DEBUG", "DIGEST");
    expect(s, "+OK", "FLUSHALL");
    expect(s, "+OK", "DEBUG", "RELOAD", "NOSAVE");
    expect(s, kept, "DEBUG", "DIGEST");
    expect(s, "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.", "DEBUG", "RELOAD",
           "x");
    expect(s, ":1001", "DBSIZE");
    expect(s, "+OK", "FLUSHALL");
}

static void every_kind_of_error_is_counted_by_its_first_word(void **state)
{
    session *s = *state;
    char text[32];

    not_in_redis(s, "DEBUG ERROR is not counted there");
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect(s, "-ZEBRA ran", "DEBUG", "ERROR", "ZEBRA ran");
    expect(s, "-AARDVARK ran", "DEBUG", "ERROR", "AARDVARK ran");
    expect(s, "-AARDVARK ran", "DEBUG", "ERROR", "AARDVARK ran");
    expect(s, "-alone", "DEBUG", "ERROR", "alone");
    expect(s, "-A-WORD-OF-MORE-BYTES-THAN-A-KIND is none", "DEBUG", "ERROR",
           "A-WORD-OF-MORE-BYTES-THAN-A-KIND is none");
    expect(s, "-A:B c", "DEBUG", "ERROR", "A:B c");
    expect_like(s,
                "$*Errorstats\\x0d\\x0aerrorstat_AARDVARK:count=2\\x0d\\x0aerrorstat_A_B:count=1\\x0d\\x0a"
                "errorstat_ERR:count=2\\x0d\\x0aerrorstat_ZEBRA:count=1\\x0d\\x0a*",
                "INFO", "errorstats");
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    assert_null(strstr(said(s, "INFO", "errorstats"), "AARDVARK"));
    for (int i = 0; i < 140; i++) {
        snprintf(text, sizeof text, "KIND%d of error", i);
        said(s, "DEBUG", "ERROR", text);
    }
    expect_like(s, "$*errorstat_ERRORSTATS_OVERFLOW:count=12\\x0d\\x0a*errorstat_KIND127:count=1*", "INFO",
                "errorstats");
    assert_null(strstr(said(s, "INFO", "errorstats"), "KIND128"));
    expect(s, "+OK", "CONFIG", "RESETSTAT");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(the_same_content_has_the_same_digest_as_in_redis),
        conversation(digests_do_not_depend_on_order),
        conversation(values_are_described),
        conversation(the_index_is_described),
        conversation(keys_are_made_unless_they_exist),
        conversation(every_type_of_reply_can_be_had),
        conversation(small_things_work),
        conversation(a_reload_keeps_everything),
        conversation(every_kind_of_error_is_counted_by_its_first_word),
    };

    return run_conversations(argc, argv, tests);
}
