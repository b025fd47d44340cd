/* log_test.c - kvserver with a log of changes: killed and started again, rewritten, damaged, on a disk that fails, and beside
 * redis-server.
 *
 * SPDX-License-Identifier: MIT */
#include "e2e.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCR "appendonlydir/appendonly.aof.1.incr.aof"

/* A server whose log lies in a directory that outlives it. */
#define with_log(dir, ...) begin("--dir", dir, "--appendonly", "yes", __VA_ARGS__)

/* Waits until INFO persistence has the line. */
static void wait_for(conn *c, const char *line)
{
    bool there = false;

    for (int tries = 0; !there && tries < 12000; tries++) {
        char *info = ask(c, "INFO", "persistence");

        there = strstr(info, line) != NULL;
        free(info);
        if (!there)
            usleep(5000);
    }
    assert_true(there);
}

static void killed(server *s, conn *c)
{
    conn_close(c);
    assert_true(server_kill(s));
}

static void a_killed_server_has_all_that_was_acknowledged(void **state)
{
    static const char *const policies[] = { "always", "everysec", "no" };
    char *dir = new_directory();

    (void)state;
    for (int round = 0; round < 3; round++) {
        server *s = with_log(dir, "--appendfsync", policies[round], "--threads", "2");
        conn *c = connect_to(s);
        char key[16], value[16];

        for (int before = 0; before < round; before++) {
            snprintf(key, sizeof key, "key%d", before);
            snprintf(value, sizeof value, "$%d", before);
            says(c, value, "GET", key);
        }
        snprintf(key, sizeof key, "key%d", round);
        snprintf(value, sizeof value, "%d", round);
        says(c, "+OK", "SET", key, value);
        killed(s, c);
    }
    remove_directory(dir);
}

static void write_some(conn *c)
{
    for (int n = 0; n < 50; n++)
        says(c, ":", "INCR", "n");
    says(c, "+OK", "SET", "with", "deadline", "EX", "999999");
    says(c, "+OK", "SELECT", "3");
    says(c, "+OK", "MSET", "k", "v", "l", "w");
    says(c, "+OK", "SELECT", "0");
}

static void read_some(conn *c)
{
    says(c, "$50", "GET", "n");
    says(c, "$deadline", "GET", "with");
    says(c, ":99999", "TTL", "with");
    says(c, "+OK", "SELECT", "3");
    says(c, "$w", "GET", "l");
    says(c, ":2", "DBSIZE");
    says(c, "+OK", "SELECT", "0");
}

static void a_rewritten_log_tells_the_same(void **state)
{
    static const char *const formats[] = { "yes", "no" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *dir = new_directory();
        server *s = with_log(dir, "--aof-use-rdb-preamble", formats[i]);
        conn *c = connect_to(s);

        write_some(c);
        for (int again = 0; again < 2; again++) {
            says(c, "+Background append only file rewriting started", "BGREWRITEAOF");
            wait_for(c, "aof_rewrite_in_progress:0");
            wait_for(c, "aof_last_bgrewrite_status:ok");
        }
        says(c, "+OK", "SET", "after", "1");
        killed(s, c);
        s = with_log(dir, "--threads", "1");
        c = connect_to(s);
        read_some(c);
        says(c, "$1", "GET", "after");
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}

/* As redis-server: what the databases hold becomes a base, and nothing else is named any more. */
static void without_a_log_a_base_is_written(void **state)
{
    static const char *const formats[] = { "yes", "no" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *dir = new_directory();
        server *s = with_log(dir, "--aof-use-rdb-preamble", formats[i]);
        conn *c = connect_to(s);

        says(c, "+OK", "SET", "before", "1");
        says(c, "+OK", "CONFIG", "SET", "appendonly", "no");
        wait_for(c, "aof_enabled:0");
        says(c, ":1", "DEL", "before");
        write_some(c);
        says(c, "+Background append only file rewriting started", "BGREWRITEAOF");
        wait_for(c, "aof_rewrite_in_progress:0");
        wait_for(c, "aof_last_bgrewrite_status:ok");
        wait_for(c, "aof_enabled:0");
        says(c, "+OK", "SET", "late", "1"); /* nobody logs it */
        killed(s, c);
        s = with_log(dir, "--threads", "1");
        c = connect_to(s);
        read_some(c);
        says(c, ":0", "EXISTS", "before", "late");
        says(c, "+OK", "SET", "after", "1");
        killed(s, c);
        s = with_log(dir, "--threads", "2");
        c = connect_to(s);
        read_some(c);
        says(c, "$1", "GET", "after");
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}

/* The base may still be written when the log is switched on. */
static void a_base_is_written_and_the_log_is_switched_on(void **state)
{
    char *dir = new_directory();
    server *s = begin("--dir", dir, "--enable-debug-command", "yes");
    conn *c = connect_to(s);

    (void)state;
    write_some(c);
    says(c, "+OK", "DEBUG", "POPULATE", "50000");
    says(c, "+Background", "BGREWRITEAOF");
    says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
    says(c, "+OK", "CONFIG", "SET", "appendfsync", "always");
    wait_for(c, "aof_rewrites:2");
    wait_for(c, "aof_rewrite_in_progress:0");
    wait_for(c, "aof_last_bgrewrite_status:ok");
    says(c, "+OK", "SET", "after", "1");
    killed(s, c);
    s = with_log(dir, "--threads", "2");
    c = connect_to(s);
    read_some(c);
    says(c, "$value:49999", "GET", "key:49999");
    says(c, "$1", "GET", "after");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

static void the_log_is_switched_on_and_off(void **state)
{
    char *dir = new_directory();
    server *s = begin("--dir", dir);
    conn *c = connect_to(s);

    (void)state;
    write_some(c);
    says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
    wait_for(c, "aof_rewrite_in_progress:0");
    says(c, "+OK", "CONFIG", "SET", "appendfsync", "always");
    says(c, "+OK", "SET", "after", "1");
    killed(s, c);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    read_some(c);
    says(c, "$1", "GET", "after");
    says(c, "+OK", "CONFIG", "SET", "appendonly", "no");
    says(c, "+OK", "SET", "after", "2");
    wait_for(c, "aof_enabled:0");
    killed(s, c);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    says(c, "$1", "GET", "after");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* What is asked for while it is being switched off is done when it is. */
static void a_base_is_written_whenever_it_is_asked_for(void **state)
{
    char *dir = new_directory();
    server *s = with_log(dir, "--appendfsync", "always");
    conn *c = connect_to(s);

    (void)state;
    for (int i = 0; i < 8; i++) {
        write_some(c);
        says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
        wait_for(c, "aof_rewrite_in_progress:0");
        says(c, "+OK", "SET", "logged", "1");
        assert_true(conn_send(c, KV_STR("CONFIG SET appendonly no\r\nINCR unlogged\r\nBGREWRITEAOF\r\n")));
        next_is(c, "+OK");
        next_is(c, ":");
        next_is(c, "+Background append only file rewriting s"); /* started, or scheduled */
        wait_for(c, "aof_rewrite_scheduled:0");
        wait_for(c, "aof_rewrite_in_progress:0");
        wait_for(c, "aof_last_bgrewrite_status:ok");
        wait_for(c, "aof_enabled:0");
    }
    killed(s, c);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    says(c, "$8", "GET", "unlogged");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* How many files there are in the log's directory. */
static int count_files(const char *dir)
{
    char path[512];
    DIR *open_dir;
    int count = 0;

    snprintf(path, sizeof path, "%s/appendonlydir", dir);
    open_dir = opendir(path);
    assert_non_null(open_dir);
    for (const struct dirent *each; (each = readdir(open_dir));)
        count += each->d_name[0] != '.';
    closedir(open_dir);
    return count;
}

static void wait_for_files(const char *dir, int count)
{
    for (int waited = 0; count_files(dir) != count; waited++) {
        assert_true(waited < conn_patience_ms);
        usleep(1000);
    }
}

/* What a log that was not loaded has left is removed, by a rewrite without a log, and by one that begins a log. */
static void a_new_log_leaves_nothing_of_an_older_one(void **state)
{
    enum { manifest = 1, base = 1, increment = 1 };
    char *dir = new_directory();
    server *s = with_log(dir, "--threads", "1");
    conn *c = connect_to(s);

    (void)state;
    write_some(c);
    conn_close(c);
    end(s);
    s = begin("--dir", dir, "--save", "");
    c = connect_to(s);
    says(c, "+OK", "SET", "k", "new");
    says(c, "+Background", "BGREWRITEAOF");
    wait_for(c, "aof_rewrite_in_progress:0");
    wait_for(c, "aof_last_bgrewrite_status:ok");
    wait_for_files(dir, manifest + base);
    conn_close(c);
    end(s);
    s = begin("--dir", dir, "--save", "");
    c = connect_to(s);
    says(c, "+OK", "SET", "k", "newer");
    says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
    says(c, "*2 :1 :0", "WAITAOF", "1", "0", "0");
    wait_for_files(dir, manifest + base + increment);
    killed(s, c);
    s = with_log(dir, "--threads", "1");
    c = connect_to(s);
    says(c, "$newer", "GET", "k");
    says(c, ":1", "DBSIZE");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* One that writes two keys alike, in one transaction after the other. */
typedef struct pairs {
    conn *c;
    atomic_int written; /* the last one that was acknowledged */
    atomic_bool stop;
} pairs;

static void *write_pairs(void *arg)
{
    pairs *p = arg;

    for (int n = 1; !atomic_load(&p->stop); n++) {
        char number[16];

        snprintf(number, sizeof number, "%d", n);
        says(p->c, "+OK", "MULTI");
        says(p->c, "+QUEUED", "SET", "left", number);
        says(p->c, "+QUEUED", "SET", "right", number);
        says(p->c, "*2", "EXEC");
        atomic_store(&p->written, n);
    }
    return NULL;
}

static void wait_for_pairs(pairs *p, int more)
{
    int enough = atomic_load(&p->written) + more;

    while (atomic_load(&p->written) < enough)
        usleep(100);
}

static void switch_log(conn *c, const char *to)
{
    for (bool done = false; !done;) { /* while it is being switched off it cannot be switched on */
        char *said = ask(c, "CONFIG", "SET", "appendonly", to);

        done = strcmp(said, "+OK") == 0;
        free(said);
    }
}

/* A transaction may have begun before the log was switched off, and end after it was switched on. */
static void among_transactions_it_is_switched_on_and_off(void **state)
{
    enum { switches = 20 };
    char *dir = new_directory(), last[16];
    server *s = with_log(dir, "--appendfsync", "no", "--threads", "2");
    conn *c = connect_to(s);
    pairs p = { .c = connect_to(s) };
    pthread_t writer;

    (void)state;
    assert_int_equal(pthread_create(&writer, NULL, write_pairs, &p), 0);
    for (int i = 0; i < switches; i++) {
        wait_for_pairs(&p, 5);
        switch_log(c, "no");
        switch_log(c, "yes");
    }
    wait_for(c, "aof_rewrite_in_progress:0");
    wait_for(c, "aof_last_bgrewrite_status:ok");
    wait_for_pairs(&p, 100);
    atomic_store(&p.stop, true);
    pthread_join(writer, NULL);
    conn_close(p.c);
    killed(s, c);
    s = with_log(dir, "--threads", "2");
    c = connect_to(s);
    snprintf(last, sizeof last, "$%d", atomic_load(&p.written));
    says(c, last, "GET", "left");
    says(c, last, "GET", "right");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* Runs kvserver with two words in a directory; its exit status. What it prints has text in it. */
static void prints(const char *dir, int status, const char *text, const char *option, const char *path)
{
    const char *const argv[] = { kvserver_path(), option, path, NULL };
    char *output;
    int result = run_program(argv, dir, &output);

    if (result != status || !strstr(output, text))
        fail_msg("%s %s: %d: %s", option, path, result, output);
    free(output);
}

static void waitaof_waits_for_the_disk(void **state)
{
    static const char *const policies[] = { "always", "everysec" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *dir = new_directory();
        server *s = with_log(dir, "--appendfsync", policies[i]);
        conn *c = connect_to(s);

        says(c, "+OK", "SET", "k", "v");
        says(c, "*2 :1 :0", "WAITAOF", "1", "0", "0");
        says(c, "*2 :1 :0", "WAITAOF", "1", "1", "10");
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}

/* As Redis: the log decides, even when there is none. But it is said, with the way that keeps the data. */
static void a_snapshot_without_a_log_is_left_alone(void **state)
{
    char *dir = new_directory(), *log;
    server *s = begin("--dir", dir);
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "v");
    says(c, "+OK", "SAVE");
    conn_close(c);
    end(s);

    s = begin("--dir", dir, "--appendonly", "yes", "--appenddirname", "other", "--save", "");
    c = connect_to(s);
    says(c, ":0", "DBSIZE");
    log = server_log(s);
    assert_says(log, "there is no log yet: the data set begins empty, and 'dump.rdb' is not loaded");
    free(log);
    conn_close(c);
    end(s);

    s = begin("--dir", dir);
    c = connect_to(s);
    says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
    says(c, "*2 :1 :0", "WAITAOF", "1", "0", "0");
    conn_close(c);
    end(s);
    s = with_log(dir, "--save", "");
    c = connect_to(s);
    says(c, "$v", "GET", "k");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* How many bytes of a log file are batches, as --check-log tells; filler stands behind them. */
static long long whole_bytes(const char *dir, const char *file)
{
    const char *const argv[] = { kvserver_path(), "--check-log", file, NULL };
    char *output, *ok;
    long long bytes = 0;

    assert_int_equal(run_program(argv, dir, &output), 0);
    ok = strstr(output, "ok, ");
    assert_true(ok && sscanf(ok, "ok, %lld bytes", &bytes) == 1);
    assert_non_null(strstr(output, "and filler behind them"));
    free(output);
    return bytes;
}

static void damage_is_said_and_a_tail_is_repaired(void **state)
{
    char *dir = new_directory(), path[512], byte;
    server *s = with_log(dir, "--appendfsync", "always");
    conn *c = connect_to(s);
    int fd;

    (void)state;
    write_some(c);
    killed(s, c);
    snprintf(path, sizeof path, "%s/%s", dir, INCR);
    prints(dir, 0, "ok,", "--check-log", "appendonlydir");
    assert_int_equal(truncate(path, whole_bytes(dir, INCR) - 5), 0);
    prints(dir, 1, "a bad tail of", "--check-log", "appendonlydir/appendonly.aof.manifest");
    prints(dir, 0, "was cut to", "--repair", "appendonlydir");
    prints(dir, 0, "ok,", "--check-log", "appendonlydir");
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, 150), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 150), 1);
    close(fd);
    prints(dir, 1, "damaged at byte", "--repair", "appendonlydir");
    const char *const argv[] = { kvserver_path(), "--port", "0", "--unixsocket", "s",
                                 "--appendonly",  "yes",    NULL };
    char *output;

    assert_int_equal(run_program(argv, dir, &output), 1);
    assert_non_null(strstr(output, "damaged at byte"));
    free(output);
    remove_directory(dir);
}

/* ---- beside redis-server ---- */

static void wait_until_loaded(server *s)
{
    conn *c = connect_to(s);

    wait_for(c, "\\x0aloading:0"); /* not async_loading; the line end as replies are told */
    conn_close(c);
}

static server *oracle_in(const char *dir)
{
    const char *program = oracle_program();
    server *s;

    if (!program)
        skip();
    s = server_start(program,
                     (const char *const[]){ "--dir", dir, "--appendonly", "yes", "--save", "", NULL });
    assert_non_null(s);
    wait_until_loaded(s);
    return s;
}

static void redis_server_loads_our_log_and_we_load_its(void **state)
{
    char *dir = new_directory();
    server *s = with_log(dir, "--appendfsync", "always");
    conn *c = connect_to(s);

    (void)state;
    write_some(c);
    killed(s, c);
    s = oracle_in(dir);
    c = connect_to(s);
    read_some(c);
    says(c, "+OK", "SET", "redis", "1"); /* appended to our file, behind the filler */
    conn_close(c);
    assert_true(server_stop(s));
    s = oracle_in(dir);
    c = connect_to(s);
    says(c, "$1", "GET", "redis");
    conn_close(c);
    assert_true(server_stop(s));
    s = with_log(dir, "--threads", "2");
    c = connect_to(s);
    read_some(c);
    says(c, "$1", "GET", "redis");
    says(c, "+Background", "BGREWRITEAOF");
    wait_for(c, "aof_rewrite_in_progress:0");
    says(c, "+OK", "SET", "ours", "2");
    conn_close(c);
    end(s);
    s = oracle_in(dir);
    c = connect_to(s);
    read_some(c);
    says(c, "$2", "GET", "ours");
    says(c, "+Background", "BGREWRITEAOF");
    wait_for(c, "aof_rewrite_in_progress:0");
    conn_close(c);
    assert_true(server_stop(s));
    s = with_log(dir, "--threads", "2");
    c = connect_to(s);
    read_some(c);
    says(c, "$2", "GET", "ours");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* ---- a disk that fails ---- */

#ifdef KV_FAULTS
/* A server whose files fail by a plan from the start on. */
static server *with_faults(const char *dir, const char *plan, const char *policy, const char *action)
{
    server *s;

    setenv("KV_AOF_FAULTS", plan, 1);
    s = with_log(dir, "--appendfsync", policy, "--aof-error-action", action);
    unsetenv("KV_AOF_FAULTS");
    return s;
}

static void a_failed_sync_ends_acknowledgements(void **state)
{
    char *dir = new_directory();
    server *s = with_faults(dir, "sync:6=EIO", "always", "refuse");
    conn *c = connect_to(s), *other = connect_to(s);
    char *said = NULL;

    (void)state;
    for (int n = 0; !said && n < 10; n++) { /* opening it takes some syncs, too */
        conn_send_args(c, 3, (const kv_slice[]){ KV_STR("SET"), KV_STR("k"), KV_STR("v") });
        reply *r = conn_read(c);

        if (!r)
            said = strdup(conn_trouble(c));
        reply_free(r);
    }
    assert_non_null(said); /* that write has no answer */
    free(said);
    says(other, "-MISCONF Errors writing to the AOF file: Can't sync: Input/output error", "SET", "k", "w");
    wait_for(other, "aof_last_write_status:err");
    says(other, "+PONG", "PING");
    says(other, "+Background", "BGREWRITEAOF"); /* new files: it is well again */
    wait_for(other, "aof_last_write_status:ok");
    says(other, "+OK", "SET", "k", "x");
    conn_close(c);
    killed(s, other);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    says(c, "$x", "GET", "k");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

static void a_failed_sync_ends_the_server(void **state)
{
    char *dir = new_directory();
    server *s = with_faults(dir, "sync:6+=EIO", "always", "auto");
    conn *c = connect_to(s);
    reply *r;

    (void)state;
    do {
        conn_send_args(c, 3, (const kv_slice[]){ KV_STR("SET"), KV_STR("k"), KV_STR("v") });
        r = conn_read(c);
        reply_free(r);
    } while (r);
    assert_int_equal(server_wait(s) >> 8, 1);
    conn_close(c);
    server_kill(s);
    remove_directory(dir);
}

static void a_slow_disk_is_seen_by_latency(void **state)
{
    char *dir = new_directory(), *text;
    server *s = with_faults(dir, "slow:4", "always", "auto");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "CONFIG", "SET", "latency-monitor-threshold", "2");
    says(c, "+OK", "SET", "k", "v");
    says(c, "*1 *2 :", "LATENCY", "HISTORY", "aof-fsync-always");
    says(c, "*1 *2 :", "LATENCY", "HISTORY", "aof-write-alone");
    says(c, "*1 *2 :", "LATENCY", "HISTORY", "aof-write");
    text = ask(c, "LATENCY", "DOCTOR");
    assert_says(text, "aof-fsync-always: 1 latency spikes");
    free(text);
    says(c, ":1", "LATENCY", "RESET", "aof-fsync-always");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

static void a_full_disk_refuses_writes_until_there_is_room(void **state)
{
    char *dir = new_directory();
    server *s = with_faults(dir,
                            "write:8=ENOSPC write:9=ENOSPC write:10=ENOSPC write:11=ENOSPC write:12=ENOSPC "
                            "write:13=ENOSPC write:14=ENOSPC",
                            "everysec", "auto");
    conn *c = connect_to(s);
    bool refused = false;

    (void)state;
    for (int n = 0; n < 20 && !refused; n++) {
        conn *one = connect_to(s);
        reply *r;

        conn_send_args(one, 2, (const kv_slice[]){ KV_STR("INCR"), KV_STR("n") });
        r = conn_read(one);
        refused = !r || r->type == '-';
        reply_free(r);
        conn_close(one);
    }
    assert_true(refused);
    wait_for(c, "aof_last_write_status:ok"); /* it is tried again */
    says(c, "+OK", "SET", "k", "x");
    killed(s, c);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    says(c, "$x", "GET", "k");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* The disk has no room for what is prepared ahead: the log goes on without. */
static void a_log_that_cannot_be_prepared_goes_on(void **state)
{
    char *dir = new_directory(), *log;
    server *s = with_faults(dir, "write:3=ENOSPC", "always", "exit");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "k", "x");
    says(c, "+OK", "SET", "k", "y");
    log = server_log(s);
    assert_says(log, "Can't prepare the log of changes");
    free(log);
    killed(s, c);
    prints(dir, 0, "ok,", "--check-log", INCR);
    s = with_log(dir, "--appendfsync", "always");
    c = connect_to(s);
    says(c, "$y", "GET", "k");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* Whatever step of a rewrite the server dies at, all that was acknowledged is there. */
static void a_rewrite_may_end_at_any_step(void **state)
{
    static const char *const points[] = { "stop:log-rotated", "stop:base-written", "stop:base-renamed",
                                          "stop:log-replaced", "stop:manifest-renamed" };

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        char *dir = new_directory();
        server *s = with_log(dir, "--appendfsync", "always");
        conn *c = connect_to(s);

        write_some(c);
        conn_close(c);
        end(s);
        s = with_faults(dir, points[i], "always", "auto");
        c = connect_to(s);
        conn_send_args(c, 1, (const kv_slice[]){ KV_STR("BGREWRITEAOF") });
        assert_true(server_wait(s) != 0);
        conn_close(c);
        server_kill(s);
        s = with_log(dir, "--appendfsync", "always");
        c = connect_to(s);
        read_some(c);
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_server_has_all_that_was_acknowledged),
        cmocka_unit_test(a_rewritten_log_tells_the_same),
        cmocka_unit_test(without_a_log_a_base_is_written),
        cmocka_unit_test(a_base_is_written_and_the_log_is_switched_on),
        cmocka_unit_test(the_log_is_switched_on_and_off),
        cmocka_unit_test(a_base_is_written_whenever_it_is_asked_for),
        cmocka_unit_test(among_transactions_it_is_switched_on_and_off),
        cmocka_unit_test(waitaof_waits_for_the_disk),
        cmocka_unit_test(a_snapshot_without_a_log_is_left_alone),
        cmocka_unit_test(damage_is_said_and_a_tail_is_repaired),
        cmocka_unit_test(redis_server_loads_our_log_and_we_load_its),
        cmocka_unit_test(a_new_log_leaves_nothing_of_an_older_one),
#ifdef KV_FAULTS
        cmocka_unit_test(a_failed_sync_ends_acknowledgements),
        cmocka_unit_test(a_failed_sync_ends_the_server),
        cmocka_unit_test(a_slow_disk_is_seen_by_latency),
        cmocka_unit_test(a_full_disk_refuses_writes_until_there_is_room),
        cmocka_unit_test(a_log_that_cannot_be_prepared_goes_on),
        cmocka_unit_test(a_rewrite_may_end_at_any_step),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
