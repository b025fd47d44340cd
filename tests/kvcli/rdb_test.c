/* rdb_test.c - kvcli --rdb: a whole data set under the name that was asked for, or nothing.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_server.h"
#include "program.h"
#include "rdb.h"
#include "resp.h"

#define MARK "0123456789abcdef0123456789abcdef01234567"

static char *directory, file[256];

static int begin(void **state)
{
    (void)state;
    program_enter_home();
    directory = new_directory();
    snprintf(file, sizeof file, "%s/out.rdb", directory);
    return 0;
}

static int end(void **state)
{
    (void)state;
    remove_directory(directory);
    program_leave_home();
    return 0;
}

/* ---- servers ---- */

static void says_exactly(conn *c, const char *wanted, const char *command, const char *key)
{
    char *got = ask(c, command, key);

    assert_string_equal(got, wanted);
    free(got);
}

/* What a server that loads the file has, by its DEBUG DIGEST. */
static char *digest_of_file(const char *program, const char *path)
{
    char *elsewhere = new_directory(), name[256], *digest;
    server *s;
    conn *c;

    snprintf(name, sizeof name, "%s/out.rdb", elsewhere);
    assert_int_equal(link(path, name), 0);
    s = server_start(program, (const char *const[]){ "--dir", elsewhere, "--dbfilename", "out.rdb", "--save",
                                                     "", "--enable-debug-command", "yes", NULL });
    assert_non_null(s);
    c = conn_open_unix(server_socket(s));
    says_exactly(c, ":1000", "DBSIZE", NULL);
    says_exactly(c, ":599", "STRLEN", "key:999");
    digest = ask(c, "DEBUG", "DIGEST");
    conn_close(c);
    assert_true(server_stop(s));
    remove_directory(elsewhere);
    return digest;
}

/* kvcli fetches a data set from program, and both servers load it and have what program had. */
static void fetch_from(const char *program, const char *const options[])
{
    const char *const loaders[] = { oracle_program(), program_or_skip("kvserver") };
    char value[600], *wanted, *got;
    server *s;
    conn *c;

    if (!program || !loaders[0])
        skip();
    s = server_start(program, options);
    assert_non_null(s);
    c = conn_open_unix(server_socket(s));
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 1000; i++) {
        char key[16];

        snprintf(key, sizeof key, "key:%d", i);
        free(ask(c, "SET", key, value, "PX", "90000000"));
    }
    says_exactly(c, "+OK", "SELECT", "7");
    free(ask(c, "SET", "elsewhere", "1"));
    wanted = ask(c, "DEBUG", "DIGEST");
    kvcli_ends(0, "", "", "-s", server_socket(s), "--rdb", file);
    conn_close(c);
    assert_true(server_stop(s));
    for (size_t i = 0; i < sizeof loaders / sizeof *loaders; i++) {
        got = digest_of_file(loaders[i], file);
        assert_string_equal(got, wanted);
        free(got);
    }
    assert_int_equal(unlink(file), 0);
    free(wanted);
}

static void a_data_set_of_known_length(void **state)
{
    (void)state;
    fetch_from(oracle_program(), (const char *const[]){ "--save", "", "--repl-diskless-sync", "no",
                                                        "--enable-debug-command", "yes", NULL });
}

static void a_data_set_that_is_sent_while_it_is_made(void **state)
{
    (void)state;
    fetch_from(oracle_program(), (const char *const[]){ "--save", "", "--repl-diskless-sync", "yes",
                                                        "--repl-diskless-sync-delay", "0",
                                                        "--enable-debug-command", "yes", NULL });
}

static void kvserver_sends_one_too(void **state)
{
    (void)state;
    fetch_from(program_or_skip("kvserver"),
               (const char *const[]){ "--save", "", "--enable-debug-command", "yes", NULL });
}

static void redis_cli_takes_it_as_well(void **state)
{
    server *s = server_start(program_or_skip("kvserver"), (const char *const[]){ "--save", "", NULL });
    char *output = NULL, *elsewhere = new_directory();

    (void)state;
    assert_non_null(s);
    assert_int_equal(run_program((const char *const[]){ program_or_skip("redis-cli"), "-s", server_socket(s),
                                                        "--rdb", file, NULL },
                                 elsewhere, &output),
                     0);
    remove_directory(elsewhere);
    assert_non_null(strstr(output, "Transfer finished with success"));
    free(output);
    assert_true(server_stop(s));
    assert_int_equal(unlink(file), 0);
}

/* ---- scripted servers ---- */

typedef struct bytes {
    char data[2048];
    size_t len;
} bytes;

static int add(void *arg, const void *data, size_t len)
{
    bytes *b = arg;

    assert_true(b->len + len <= sizeof b->data);
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

static void add_text(bytes *b, const char *text)
{
    add(b, text, strlen(text));
}

static void make_data_set(bytes *b, bool checksum)
{
    rdb_writer *w = rdb_writer_new(&(rdb_write_options){ .no_checksum = !checksum }, add, b);

    rdb_write_db(w, 0, 1, 0);
    rdb_write_string(w, &(rdb_record){ .key = KV_STR("key"),
                                       .value = KV_STR("some value"),
                                       .deadline_ms = KV_FOREVER,
                                       .idle_s = RDB_IDLE_NONE,
                                       .freq = RDB_FREQ_NONE });
    assert_int_equal(rdb_write_end(w), 0);
    rdb_writer_free(w);
}

static void answer(fake_request *request, void *arg)
{
    bytes *said = arg;

    if (fake_handshake(request))
        return;
    if (fake_is(request, "SYNC")) {
        fake_say_bytes(request, said->data, said->len);
        fake_hang_up(request);
    } else if (fake_is(request, "REPLCONF")) {
        fake_say(request, "-ERR unknown option\r\n");
    } else {
        fake_say(request, "-ERR unknown command\r\n");
    }
}

/* What follows SYNC's answer and, known or not, the data set. */
static bytes make_answer(bool known, bool checksum)
{
    bytes set = { .len = 0 }, said = { .len = 0 };
    char header[64];

    make_data_set(&set, checksum);
    snprintf(header, sizeof header, known ? "\n\n$%zu\r\n" : "\n$EOF:" MARK "\r\n", set.len);
    add_text(&said, header);
    add(&said, set.data, set.len);
    if (!known)
        add_text(&said, MARK "*1\r\n$4\r\nPING\r\n"); /* the stream goes on: it is none of the file's */
    return said;
}

static void expect_fetched(const bytes *said, size_t piece)
{
    bytes set = { .len = 0 };
    fake_server *fake = fake_start(answer, (void *)(uintptr_t)said);
    outcome o;
    char port[16];

    fake_set_piece(fake, piece);
    snprintf(port, sizeof port, "%d", fake_port(fake));
    make_data_set(&set, true);
    o = run_kvcli("", "-p", port, "--rdb", "-");
    assert_int_equal(o.status, 0);
    assert_int_equal(o.out_len, set.len);
    assert_memory_equal(o.out, set.data, set.len - 8);
    outcome_done(&o);
    fake_stop(fake);
}

static void it_comes_in_pieces(void **state)
{
    static const size_t pieces[] = { 0, 1, 3, 16, 39, 40, 41, 60 };

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (int known = 0; known < 2; known++) {
            bytes said = make_answer(known, true);

            expect_fetched(&said, pieces[i]);
        }
}

static void one_without_a_checksum_is_taken(void **state)
{
    bytes said = make_answer(true, false);

    (void)state;
    expect_fetched(&said, 0);
}

static int count_files(void)
{
    DIR *d = opendir(directory);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* kvcli ends so, and leaves no file. */
static void expect_nothing(const bytes *said, int status, const char *complaint)
{
    fake_server *fake = fake_start(answer, (void *)(uintptr_t)said);
    char port[16];

    snprintf(port, sizeof port, "%d", fake_port(fake));
    kvcli_complains(status, complaint, "", "-p", port, "--rdb", file);
    fake_stop(fake);
    assert_int_equal(count_files(), 0);
}

static void expect_refused(const char *text, int status, const char *complaint)
{
    bytes said = { .len = 0 };

    add_text(&said, text);
    expect_nothing(&said, status, complaint);
}

static void errors_and_nonsense_are_told(void **state)
{
    (void)state;
    expect_refused("-ERR no data set today\r\n", 1, "ERR no data set today");
    expect_refused("$-1\r\n", 6, "as servers do");
    expect_refused("$0\r\n", 6, "as servers do");
    expect_refused("$12x\r\n", 6, "as servers do");
    expect_refused("$99999999999999999999999999\r\n", 6, "as servers do");
    expect_refused("+OK\r\n", 6, "as servers do");
    expect_refused("$EOF:short\r\n", 6, "as servers do");
    expect_refused("$5\r\nhello", 6, "it does not begin as an RDB file does");
    expect_refused("$18\r\nREDIS0010\xff"
                   "badcrc!!",
                   6, "its checksum is wrong");
    expect_refused("$20\r\nREDIS0010 no end ...", 6, "it ends too early");
}

static void half_a_data_set_is_none(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        bytes said = make_answer(known, true);
        size_t end = known ? said.len : said.len - strlen("*1\r\n$4\r\nPING\r\n");

        for (size_t cut = 0; cut < end; cut += 23) {
            bytes part = said;

            part.len = cut;
            expect_nothing(&part, 6, "");
        }
    }
}

static void a_flipped_bit_is_noticed(void **state)
{
    bytes said = make_answer(true, true);
    size_t header = (size_t)((char *)memchr(said.data, 'R', said.len) - said.data);

    (void)state;
    for (size_t at = header; at < said.len; at += 5) {
        bytes damaged = said;

        damaged.data[at] ^= 1;
        expect_nothing(&damaged, 6, "the data set is damaged");
    }
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    kvcli_complains(2, "functions", "", "--functions-rdb", file);
    kvcli_complains(2, "", "", "--rdb", file, "--scan");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_set_of_known_length),
        cmocka_unit_test(a_data_set_that_is_sent_while_it_is_made),
        cmocka_unit_test(kvserver_sends_one_too),
        cmocka_unit_test(redis_cli_takes_it_as_well),
        cmocka_unit_test(it_comes_in_pieces),
        cmocka_unit_test(one_without_a_checksum_is_taken),
        cmocka_unit_test(errors_and_nonsense_are_told),
        cmocka_unit_test(half_a_data_set_is_none),
        cmocka_unit_test(a_flipped_bit_is_noticed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
