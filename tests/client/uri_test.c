/* uri_test.c - what a URI says, and what is said of one that is wrong.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kvclient.h"
#include "options.h"

static kvc_options options;
static char *memory;

static void parse(const char *uri)
{
    kvc_error error;

    free(memory);
    kvc_options_init(&options);
    if (kvc_options_parse_uri(&options, uri, &memory, &error) != KVC_OK)
        fail_msg("%s: %s", uri, error.message);
}

static void every_part_is_read(void **state)
{
    (void)state;
    parse("redis://ada:pa%3Ass@example.org:7000/"
          "3?timeout_ms=100&connect_timeout_ms=200&client_name=a%2Db&protocol=2&cluster=1");
    assert_string_equal(options.user, "ada");
    assert_string_equal(options.password, "pa:ss");
    assert_string_equal(options.host, "example.org");
    assert_int_equal(options.port, 7000);
    assert_int_equal(options.db, 3);
    assert_int_equal(options.command_timeout_ms, 100);
    assert_int_equal(options.connect_timeout_ms, 200);
    assert_string_equal(options.client_name, "a-b");
    assert_int_equal(options.protocol, 2);
    assert_true(options.cluster);
    assert_false(options.tls);
}

static void what_is_not_said_stays(void **state)
{
    (void)state;
    parse("redis://");
    assert_string_equal(options.host, "127.0.0.1");
    assert_int_equal(options.port, 6379);
    assert_null(options.user);
    assert_null(options.password);
    parse("redis:///5");
    assert_string_equal(options.host, "127.0.0.1");
    assert_int_equal(options.db, 5);
    parse("valkey://:secret@[::1]:7001/?db=9");
    assert_null(options.user);
    assert_string_equal(options.password, "secret");
    assert_string_equal(options.host, "::1");
    assert_int_equal(options.port, 7001);
    assert_int_equal(options.db, 9);
    parse("kv://bob@h");
    assert_string_equal(options.user, "bob");
    assert_null(options.password);
    assert_string_equal(options.host, "h");
}

static void passwords_may_hold_anything(void **state)
{
    (void)state;
    parse("redis://u:a@b@h");
    assert_string_equal(options.password, "a@b");
    parse("redis://u:a%2Fb%3Fc%23%40@h:1");
    assert_string_equal(options.password, "a/b?c#@");
    parse("redis://u:a/b@h:1/2");
    assert_string_equal(options.password, "a/b");
    assert_int_equal(options.db, 2);
    parse("redis://:@h");
    assert_string_equal(options.password, "");
}

static void schemes_say_how(void **state)
{
    (void)state;
    parse("rediss://h");
    assert_true(options.tls);
    parse("valkeys://h");
    assert_true(options.tls);
    parse("unix:///run/kv@1.sock?db=4");
    assert_string_equal(options.unix_path, "/run/kv@1.sock");
    assert_int_equal(options.db, 4);
    parse("unix://u:p@/run/kv.sock");
    assert_string_equal(options.unix_path, "/run/kv.sock");
    assert_string_equal(options.user, "u");
}

/* It is refused, with these words, and without the password. */
static void expect_wrong(const char *uri, const char *words)
{
    kvc_options untouched;
    kvc_error error;

    free(memory);
    memory = NULL;
    memset(&options, 0, sizeof options); /* padding, too */
    kvc_options_init(&options);
    memcpy(&untouched, &options, sizeof options);
    assert_int_equal(kvc_options_parse_uri(&options, uri, &memory, &error), KVC_EARG);
    assert_int_equal(error.status, KVC_EARG);
    assert_null(memory);
    assert_memory_equal(&untouched, &options, sizeof options);
    if (!strstr(error.message, words))
        fail_msg("%s: \"%s\" does not say \"%s\"", uri, error.message, words);
    assert_null(strstr(error.message, "secret"));
}

static void a_wrong_word_is_named(void **state)
{
    (void)state;
    expect_wrong("localhost:6379", "no scheme");
    expect_wrong("", "no scheme");
    expect_wrong("http://h", "\"http\"; expected redis, rediss");
    expect_wrong("REDIS://h", "\"REDIS\"");
    expect_wrong("redis://:secret@h:0", "port of the URI is \"0\"; expected a number from 1 to 65535");
    expect_wrong("redis://:secret@h:65536", "\"65536\"");
    expect_wrong("redis://:secret@h:12x", "\"12x\"");
    expect_wrong("redis://:secret@h:", "port");
    expect_wrong("redis://h/db", "database of the URI is \"db\"");
    expect_wrong("redis://h/-1", "\"-1\"");
    expect_wrong("redis://h/99999999999", "\"99999999999\"");
    expect_wrong("redis://::1", "IPv6 address goes into [ ]");
    expect_wrong("redis://[::1", "[address]");
    expect_wrong("redis://[::1]x", "[address]");
    expect_wrong("redis://:secret%2@h", "password");
    expect_wrong("redis://:secret%zz@h", "password");
    expect_wrong("redis://:secret%00@h", "NUL");
    expect_wrong("redis://h%4", "host");
    expect_wrong("redis://h?color=red", "\"color\"; expected db, client_name");
    expect_wrong("redis://h?db", "\"db\"; expected name=value");
    expect_wrong("redis://h?protocol=4", "protocol of the URI is \"4\"; expected a number from 2 to 3");
    expect_wrong("redis://h?cluster=yes", "\"yes\"");
    expect_wrong("redis://h#x", "%23");
    expect_wrong("unix://run/kv.sock", "expected unix:///absolute/path");
}

/* ---- the options themselves ---- */

static void expect_refused(const char *words)
{
    kvc_options *copy;
    kvc_error error;

    assert_int_equal(kvc_options_copy(&options, &copy, &error), KVC_EARG);
    assert_null(copy);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    kvc_options_init(&options);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    kvc_options_init(&options);
    options.port = 70000;
    expect_refused("port is 70000");
    options.db = -1;
    expect_refused("db is -1");
    options.protocol = 4;
    expect_refused("protocol is 4");
    options.client_name = "two words";
    expect_refused("client_name is \"two words\"");
    options.pool_max = 1000000;
    expect_refused("pool_max");
    options.max_reply_depth = 100000;
    expect_refused("max_reply_depth");
    options.tls_cert_file = "x";
    expect_refused("only tls_cert_file is set");
    options.size = 0;
    expect_refused("kvc_options_init");
}

/* A program compiled before the last fields came has a shorter struct. */
static void a_shorter_struct_has_defaults_behind_its_end(void **state)
{
    kvc_options *copy;

    (void)state;
    memset(&options, 0xee, sizeof options);
    memset(&options, 0, offsetof(kvc_options, tls));
    options.size = offsetof(kvc_options, tls);
    assert_int_equal(kvc_options_copy(&options, &copy, NULL), KVC_OK);
    assert_false(copy->tls);
    assert_null(copy->log);
    assert_int_equal(copy->port, 6379);
    assert_int_equal(copy->size, sizeof *copy);
    kvc_options_free(copy);
}

static void a_copy_has_strings_of_its_own(void **state)
{
    char host[] = "h", password[] = "p";
    kvc_options *copy;
    char address[kvc_address_size];

    (void)state;
    kvc_options_init(&options);
    options.host = host;
    options.password = password;
    assert_int_equal(kvc_options_copy(&options, &copy, NULL), KVC_OK);
    host[0] = password[0] = 'x';
    assert_string_equal(copy->host, "h");
    assert_string_equal(copy->password, "p");
    kvc_options_address(copy, address);
    assert_string_equal(address, "h:6379");
    kvc_options_free(copy);
    options.host = "::1";
    kvc_options_address(&options, address);
    assert_string_equal(address, "[::1]:6379");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_read),
        cmocka_unit_test(what_is_not_said_stays),
        cmocka_unit_test(passwords_may_hold_anything),
        cmocka_unit_test(schemes_say_how),
        cmocka_unit_test(a_wrong_word_is_named),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(a_shorter_struct_has_defaults_behind_its_end),
        cmocka_unit_test(a_copy_has_strings_of_its_own),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(memory);
    return failed;
}
