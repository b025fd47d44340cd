/* pipe_input_test.c - where commands end in a stream, and CSV to commands. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "csv.h"
#include "pipe_scan.h"

/* ---- RESP and lines ---- */

/* Feeds the stream cut at every position, carrying over what was not used. */
static void counts(const char *stream, size_t commands, bool open)
{
    size_t len = strlen(stream);

    for (size_t cut = 0; cut <= len; cut++) {
        pipe_scan scan = { 0 };
        size_t first, second, used = pipe_scan_feed(&scan, kvc_bytes(stream, cut), &first);

        assert_true(used <= cut);
        used += pipe_scan_feed(&scan, kvc_bytes(stream + used, len - used), &second);
        assert_null(scan.wrong);
        assert_int_equal(first + second, commands);
        assert_int_equal(pipe_scan_is_open(&scan), open);
        assert_int_equal(used, len);
    }
}

static void commands_are_counted_however_they_are_cut(void **state)
{
    (void)state;
    counts("", 0, false);
    counts("PING\r\n", 1, false);
    counts("PING\nPING\r\n\r\n  \r\nSET a b\r\n", 3, false);
    counts("*1\r\n$4\r\nPING\r\n", 1, false);
    counts("*2\r\n$4\r\nECHO\r\n$6\r\n*1\r\n$4\r\n", 1, false); /* a value that looks like a command */
    counts("*2\r\n$4\r\nECHO\r\n$0\r\n\r\nPING\r\n*1\r\n$4\r\nPING\r\n", 3, false);
    counts("*0\r\n*-1\r\nPING\r\n", 1, false);
    counts("*2\r\n$4\r\nECHO\r\n", 0, true);
    counts("*2\r\n$4\r\nECHO\r\n$10\r\nabc", 0, true);
}

static void refuses(const char *stream, size_t used)
{
    pipe_scan scan = { 0 };
    size_t commands;

    assert_int_equal(pipe_scan_feed(&scan, kvc_str(stream), &commands), used);
    assert_non_null(scan.wrong);
}

static void what_is_no_command_stops_the_scan(void **state)
{
    char *line = calloc(1, PIPE_LINE_MAX + 3);

    (void)state;
    refuses("PING\r\n*x\r\n", 6);
    refuses("*1\n$4\r\nPING\r\n", 0);
    refuses("*1\r\nPING\r\n", 4);
    refuses("*1\r\n$-1\r\n", 4);
    refuses("*1\r\n$536870913\r\n", 4);
    refuses("*1048577\r\n", 0);
    refuses("*99999999999999999999999\r\n", 0);
    assert_non_null(line);
    memset(line, 'x', PIPE_LINE_MAX + 2);
    refuses(line, 0);
    free(line);
}

static void a_line_that_has_not_ended_waits(void **state)
{
    pipe_scan scan = { 0 };
    size_t commands;

    (void)state;
    assert_int_equal(pipe_scan_feed(&scan, kvc_str("PING\r\nPI"), &commands), 6);
    assert_int_equal(commands, 1);
    assert_null(scan.wrong);
}

/* ---- CSV ---- */

/* The fields of all records, "|" between fields and "/" between records. */
static void records(const char *csv, const char *expected)
{
    csv_record r = { 0 };
    text got = { 0 };
    const char *wrong, *between = "";
    size_t len = strlen(csv), at = 0, n;

    while ((n = csv_read(&r, kvc_bytes(csv + at, len - at), true, &wrong)) > 0) {
        at += n;
        text_add_str(&got, between);
        for (size_t i = 0; i < r.n; i++) {
            text_add_str(&got, i ? "|" : "");
            text_add_slice(&got, csv_field(&r, i));
        }
        between = "/";
    }
    text_add_str(&got, wrong ? wrong : "");
    assert_string_equal(text_str(&got), expected);
    text_done(&got);
    csv_record_done(&r);
}

static void records_are_read(void **state)
{
    (void)state;
    records("a,b\nc\n", "a|b/c");
    records("a,b\r\nc", "a|b/c");
    records("a,,\n", "a||");
    records(",\n", "|");
    records("\"a,b\",\"c\nd\"\r\n\"\"\n", "a,b|c\nd/");
    records("\"say \"\"hi\"\"\",x\n", "say \"hi\"|x");
    records("a b , c\n", "a b | c");
    records("a,\"", "a closing quote is missing");
    records("\"a\"b\n", "a closing quote is followed by something else than a comma or the end of the line");
}

/* A record is whole only when it is certain that it has ended. */
static void a_record_waits_for_its_end(void **state)
{
    static const char csv[] = "\"a\"\"\n\",b\r\n";
    csv_record r = { 0 };
    const char *wrong;

    (void)state;
    for (size_t cut = 0; cut < sizeof csv - 1; cut++) {
        assert_int_equal(csv_read(&r, kvc_bytes(csv, cut), false, &wrong), 0);
        assert_null(wrong);
    }
    assert_int_equal(csv_read(&r, kvc_bytes(csv, sizeof csv - 1), false, &wrong), sizeof csv - 1);
    assert_int_equal(r.n, 2);
    csv_record_done(&r);
}

static void too_many_fields_are_refused(void **state)
{
    csv_record r = { 0 };
    text line = { 0 };
    const char *wrong;

    (void)state;
    for (int i = 0; i < CSV_FIELDS_MAX; i++)
        text_add_char(&line, ',');
    text_add_char(&line, '\n');
    assert_int_equal(csv_read(&r, text_slice(&line), true, &wrong), 0);
    assert_non_null(wrong);
    text_done(&line);
    csv_record_done(&r);
}

static void expands(const char *source, const char *header, const char *record, const char *expected)
{
    csv_record names = { 0 }, r = { 0 };
    csv_template t;
    const char *wrong;
    size_t missing = 0;
    text out = { 0 };

    if (header)
        csv_read(&names, kvc_str(header), true, &wrong);
    wrong = csv_template_read(&t, source, header ? &names : NULL);
    if (wrong) {
        assert_string_equal(wrong, expected);
    } else {
        const char *bad;

        csv_read(&r, kvc_str(record), true, &bad);
        if (csv_template_expand(&t, &r, &out, &missing))
            assert_string_equal(text_str(&out), expected);
        else
            assert_int_equal(missing, atoi(expected));
    }
    text_done(&out);
    csv_template_done(&t);
    csv_record_done(&names);
    csv_record_done(&r);
}

static void a_template_makes_commands(void **state)
{
    (void)state;
    expands("SET user:$1 $2", NULL, "7,Ada L.", "*3\r\n$3\r\nSET\r\n$6\r\nuser:7\r\n$6\r\nAda L.\r\n");
    expands("SET $2$1 'x $1 y'", NULL, "a,b", "*3\r\n$3\r\nSET\r\n$2\r\nba\r\n$5\r\nx a y\r\n");
    expands("SET $1 $$5", NULL, "a", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n$5\r\n");
    expands("SET ${id} ${name}!", "name,id", "Ada,7", "*3\r\n$3\r\nSET\r\n$1\r\n7\r\n$4\r\nAda!\r\n");
    expands("GET $1", NULL, "\"\"", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    expands("SET $1 $3", NULL, "a,b", "3"); /* the field that is missing */
    expands("SET $0 x", NULL, "", "the first field is $1, the last possible $4096");
    expands("SET $x", NULL, "", "behind $ a number, a {name} or another $ was expected");
    expands("SET ${id}", NULL, "", "{id} needs --header");
    expands("SET ${nope}", "id", "", "there is no column {nope}");
    expands("", NULL, "", "a command was expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_counted_however_they_are_cut),
        cmocka_unit_test(what_is_no_command_stops_the_scan),
        cmocka_unit_test(a_line_that_has_not_ended_waits),
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(a_record_waits_for_its_end),
        cmocka_unit_test(too_many_fields_are_refused),
        cmocka_unit_test(a_template_makes_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
