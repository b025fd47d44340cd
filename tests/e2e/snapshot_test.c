/* snapshot_test.c - dump.rdb: saved and loaded, by kvserver and redis-server in turn; damaged, interrupted, refused.
 *
 * Each test has a directory of its own, in which one server after the other is started.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e.h"

enum { keys = 500 };

static char *directory;

static int make_directory(void **state)
{
    (void)state;
    directory = new_directory();
    return 0;
}

static int drop_directory(void **state)
{
    (void)state;
    remove_directory(directory);
    return 0;
}

/* ---- servers in it ---- */

static server *start(const char *program, const char *save)
{
    server *s = server_start(program, (const char *const[]){ "--dir", directory, "--save", save, NULL });

    assert_non_null(s);
    return s;
}

static server *start_ours(void)
{
    return start(kvserver_path(), "");
}

static server *start_redis(void)
{
    const char *program = server_program("redis-server");

    if (!program)
        skip();
    return start(program, "");
}

static void write_keys(conn *c)
{
    char key[32], value[200];

    for (int i = 0; i < keys; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        snprintf(value, sizeof value, i % 3 ? "%d" : "value %d %0*d", i, i % 100 + 1, i);
        says(c, "+OK", "SELECT", i % 5 ? "0" : "3");
        if (i % 7)
            says(c, "+OK", "SET", key, value);
        else
            says(c, "+OK", "SET", key, value, "PXAT", "4102444800123");
    }
    says(c, "+OK", "SELECT", "0");
}

/* Everything that is in both databases, as one text. */
static char *content(conn *c)
{
    char *text = NULL, key[32], *said;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (int db = 0; db < 4; db += 3) {
        free(ask(c, "SELECT", db ? "3" : "0"));
        for (int i = 0; i < keys; i++) {
            snprintf(key, sizeof key, "key:%d", i);
            fputs(said = ask(c, "GET", key), out);
            free(said);
            fputs(said = ask(c, "PEXPIRETIME", key), out);
            free(said);
        }
    }
    free(ask(c, "SELECT", "0"));
    fclose(out);
    return text;
}

/* ---- files ---- */

static char *path_of(const char *name)
{
    char *path = malloc(strlen(directory) + strlen(name) + 2);

    assert_non_null(path);
    sprintf(path, "%s/%s", directory, name);
    return path;
}

static char *read_dump(size_t *ret_len)
{
    char *path = path_of("dump.rdb"), *bytes;
    FILE *in = fopen(path, "rb");

    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    *ret_len = (size_t)ftell(in);
    rewind(in);
    bytes = malloc(*ret_len);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *ret_len, in), *ret_len);
    fclose(in);
    free(path);
    return bytes;
}

static void write_dump(const char *bytes, size_t len)
{
    char *path = path_of("dump.rdb");
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
    free(path);
}

/* ---- tests ---- */

static void saved_by(server *s, char **ret_content)
{
    conn *c = connect_to(s);

    write_keys(c);
    *ret_content = content(c);
    says(c, "+OK", "SAVE");
    conn_close(c);
    assert_true(server_stop(s));
}

static void found_by(server *s, const char *expected)
{
    conn *c = connect_to(s);
    char *got = content(c);

    assert_string_equal(got, expected);
    free(got);
    conn_close(c);
    assert_true(server_stop(s));
}

static void what_is_saved_is_loaded(void **state)
{
    char *saved;

    (void)state;
    saved_by(start_ours(), &saved);
    found_by(start_ours(), saved);
    free(saved);
}

static void redis_loads_ours(void **state)
{
    char *saved;

    (void)state;
    saved_by(start_ours(), &saved);
    found_by(start_redis(), saved);
    free(saved);
}

static void we_load_that_of_redis(void **state)
{
    char *saved;

    (void)state;
    saved_by(start_redis(), &saved);
    found_by(start_ours(), saved);
    free(saved);
}

static void a_server_with_save_points_saves_when_it_stops(void **state)
{
    server *s = start(kvserver_path(), "3600 1");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "v");
    conn_close(c);
    assert_true(server_stop(s)); /* by SIGTERM */
    s = start(kvserver_path(), "3600 1");
    c = connect_to(s);
    says(c, "$v", "GET", "k");
    says(c, "+OK", "SET", "k", "w");
    says(c, "-ERR syntax error", "SHUTDOWN", "SAVE", "NOSAVE");
    conn_send_args(c, 2, (const kv_slice[]){ KV_STR("SHUTDOWN"), KV_STR("NOSAVE") });
    assert_int_equal(server_wait(s), 0);
    conn_close(c);
    server_forget(s);
    s = start_ours();
    c = connect_to(s);
    says(c, "$v", "GET", "k");
    conn_close(c);
    end(s);
}

static void files_are_readable_by_their_owner_only(void **state)
{
    server *s = start_ours();
    conn *c = connect_to(s);
    char *path = path_of("dump.rdb");
    struct stat facts;

    (void)state;
    says(c, "+OK", "SAVE");
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    free(path);
    conn_close(c);
    end(s);
}

/* Must end by itself, with status 1, and a reason that names file and offset. */
static void refuses_to_start(void)
{
    const char *const argv[] = { kvserver_path(), "--port", "0",       "--unixsocket",
                                 "socket",        "--dir",  directory, NULL };
    char *said;

    assert_int_equal(run_program(argv, directory, &said), 1);
    assert_non_null(strstr(said, "Fatal error loading the DB: dump.rdb, at offset "));
    assert_null(strstr(said, "Ready to accept connections"));
    free(said);
}

static void a_damaged_file_is_refused(void **state)
{
    size_t len;
    char *saved, *bytes;

    (void)state;
    saved_by(start_ours(), &saved);
    bytes = read_dump(&len);
    for (size_t i = 1; i <= 6; i++) {
        size_t at = len * i / 7;

        write_dump(bytes, at); /* cut */
        refuses_to_start();
        bytes[at] ^= 4; /* flipped */
        write_dump(bytes, len);
        refuses_to_start();
        bytes[at] ^= 4;
    }
    free(bytes);
    free(saved);
}

static void a_type_that_is_not_supported_is_named(void **state)
{
    server *s = start_redis();
    conn *c = connect_to(s);
    char *said;
    const char *const argv[] = { kvserver_path(), "--port", "0",       "--unixsocket",
                                 "socket",        "--dir",  directory, NULL };

    (void)state;
    says(c, "+OK", "SET", "text", "v");
    says(c, ":2", "RPUSH", "a list", "1", "2");
    says(c, ":1", "HSET", "a hash", "f", "v");
    says(c, ":1", "SADD", "a set", "m");
    says(c, ":1", "ZADD", "a zset", "1", "m");
    free(ask(c, "XADD", "a stream", "*", "f", "v"));
    says(c, "+OK", "SAVE");
    conn_close(c);
    assert_true(server_stop(s));
    assert_int_equal(run_program(argv, directory, &said), 1);
    assert_non_null(strstr(said, " is not supported"));
    free(said);
    s = server_start(kvserver_path(),
                     (const char *const[]){ "--dir", directory, "--rdb-skip-unsupported", "yes", NULL });
    assert_non_null(s);
    c = connect_to(s);
    says(c, ":1", "DBSIZE");
    says(c, "$v", "GET", "text");
    conn_close(c);
    end(s);
}

/* ---- with failures that are planned ---- */

/* A server with the plan of fault.h; skips the test when such plans are not built in. */
static server *start_with_faults(const char *plan, const char *save)
{
#ifdef KV_FAULTS
    server *s;

    setenv("KV_FAULTS", plan, 1);
    s = start(kvserver_path(), save);
    unsetenv("KV_FAULTS");
    return s;
#else
    (void)plan;
    (void)save;
    skip();
    return NULL;
#endif
}

static void old_file_stays(const char *expected, size_t expected_len)
{
    size_t len;
    char *bytes = read_dump(&len);

    assert_int_equal(len, expected_len);
    assert_memory_equal(bytes, expected, len);
    free(bytes);
}

static void a_failure_of_any_step_leaves_the_old_file(void **state)
{
    static const char *const plans[] = { "open:1=EACCES", "write:1=ENOSPC", "sync:1=EIO", "rename:1=EIO" };
    char *saved, *bytes;
    size_t len;

    (void)state;
    saved_by(start_ours(), &saved);
    bytes = read_dump(&len);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        server *s = start_with_faults(plans[i], "");
        conn *c = connect_to(s);

        says(c, "+OK", "SET", "more", "1");
        says(c, "-ERR", "SAVE");
        old_file_stays(bytes, len);
        says(c, "+OK", "SAVE"); /* the failure is over */
        conn_close(c);
        assert_true(server_stop(s));
        write_dump(bytes, len);
    }
    free(bytes);
    free(saved);
}

static void a_crash_at_any_step_leaves_a_whole_file(void **state)
{
    static const char *const plans[] = { "stop:rdb-written", "stop:rdb-synced", "stop:rdb-renamed" };
    char *saved;

    (void)state;
    saved_by(start_ours(), &saved);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        server *s = start_with_faults(plans[i], "");
        conn *c = connect_to(s);

        says(c, "+OK", "SET", "not a key of the others", "1");
        conn_send_args(c, 1, (const kv_slice[]){ KV_STR("SAVE") });
        server_wait(s);
        conn_close(c);
        server_forget(s);
        found_by(start_ours(), saved);
    }
    free(saved);
}

static void writes_are_refused_after_a_failure_until_one_succeeds(void **state)
{
    server *s = start_with_faults("write:1=ENOSPC", "3600 1000");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "v");
    says(c, "-ERR", "SAVE");
    says(c, "-MISCONF Redis is configured to save RDB snapshots", "SET", "k", "w");
    says(c, "$v", "GET", "k");
    says(c, "+OK", "SAVE");
    says(c, "+OK", "SET", "k", "w");
    conn_close(c);
    end(s);
}

static void a_server_that_cannot_save_does_not_stop(void **state)
{
    server *s = start_with_faults("write:1=ENOSPC", "3600 1");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "v");
    says(c, "-ERR Errors trying to SHUTDOWN. Check logs.", "SHUTDOWN");
    says(c, "$v", "GET", "k");
    conn_close(c);
    end(s);
}

/* What the file has of k after a server, which was told what to do when a signal comes, was stopped by it. */
static void stopped_by(int signal, const char *directive, const char *how, const char *save, const char *kept)
{
    server *s = start(kvserver_path(), save);
    conn *c = connect_to(s);

    says(c, "+OK", "CONFIG", "SET", directive, how);
    says(c, "+OK", "SET", "k", how);
    kill(server_pid(s), signal);
    assert_int_equal(server_wait(s), 0);
    conn_close(c);
    server_forget(s);
    s = start_ours();
    c = connect_to(s);
    says(c, kept, "GET", "k");
    conn_close(c);
    end(s);
}

static void what_a_signal_saves_is_configured(void **state)
{
    (void)state;
    stopped_by(SIGTERM, "shutdown-on-sigterm", "save", "", "$save");
    stopped_by(SIGTERM, "shutdown-on-sigterm", "default", "", "$save");
    stopped_by(SIGINT, "shutdown-on-sigint", "nosave now", "3600 1", "$save");
    stopped_by(SIGINT, "shutdown-on-sigterm", "nosave", "3600 1", "$nosave"); /* that is the other one */
}

static void a_failing_snapshot_stops_no_signal_that_is_forced(void **state)
{
    server *s = start_with_faults("write:1=ENOSPC", "3600 1");
    conn *c = connect_to(s);

    (void)state;
    says(
        c,
        "-ERR CONFIG SET failed (possibly related to argument 'shutdown-on-sigterm') - shutdown options SAVE "
        "and NOSAVE can't be used simultaneously",
        "CONFIG", "SET", "shutdown-on-sigterm", "save nosave");
    says(c, "+OK", "CONFIG", "SET", "shutdown-on-sigterm", "force");
    says(c, "+OK", "SET", "k", "v");
    conn_close(c);
    assert_true(server_stop(s));
}

/* Whoever is killed after a FLUSHALL does not find the old keys again. */
static void what_was_flushed_does_not_come_back(void **state)
{
    server *s = start(kvserver_path(), "3600 1000000");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "v");
    says(c, "+OK", "SAVE");
    says(c, "+OK", "FLUSHALL");
    says(c, ":0", "DBSIZE"); /* it waits for the snapshot */
    assert_true(server_kill(s));
    conn_close(c);
    s = start(kvserver_path(), "");
    c = connect_to(s);
    says(c, ":0", "DBSIZE");
    says(c, "+OK", "SET", "k", "v");
    says(c, "+OK", "SAVE");
    says(c, "+OK", "FLUSHALL"); /* without save points nothing is written */
    assert_true(server_kill(s));
    conn_close(c);
    s = start_ours();
    c = connect_to(s);
    says(c, "$v", "GET", "k");
    conn_close(c);
    end(s);
}

#define with_directory(test) cmocka_unit_test_setup_teardown(test, make_directory, drop_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_directory(what_is_saved_is_loaded),
        with_directory(redis_loads_ours),
        with_directory(we_load_that_of_redis),
        with_directory(a_server_with_save_points_saves_when_it_stops),
        with_directory(files_are_readable_by_their_owner_only),
        with_directory(a_damaged_file_is_refused),
        with_directory(a_type_that_is_not_supported_is_named),
        with_directory(a_failure_of_any_step_leaves_the_old_file),
        with_directory(a_crash_at_any_step_leaves_a_whole_file),
        with_directory(writes_are_refused_after_a_failure_until_one_succeeds),
        with_directory(a_server_that_cannot_save_does_not_stop),
        with_directory(what_a_signal_saves_is_configured),
        with_directory(a_failing_snapshot_stops_no_signal_that_is_forced),
        with_directory(what_was_flushed_does_not_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
