/* loading_test.c - a server that loads: it listens, says that it is loading and how far it is, serves nothing of what is not
 * whole, tells nobody of a change, and can be stopped.
 *
 * key-load-delay makes the loading take as long as the test wants: minutes, until it is set to 0.
 *
 * SPDX-License-Identifier: MIT */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS 100

/* What is loaded. */
typedef enum source { SNAPSHOT, LOG, LOG_WITH_BASE, SOURCES } source;

static const char *const sharings[SOURCES] = { "sharded", "sharded", "actor" };

/* Waits until a section of INFO has the line, or has it no more. */
static void wait_until(conn *c, const char *section, const char *line, bool wanted)
{
    bool there = !wanted;

    for (int tries = 0; there != wanted && tries < 12000; tries++) {
        char *info = ask(c, "INFO", section);

        there = strstr(info, line) != NULL;
        free(info);
        if (there != wanted)
            usleep(5000);
    }
    assert_true(there == wanted);
}

static void wait_for(conn *c, const char *section, const char *line)
{
    wait_until(c, section, line, true);
}

static server *start(const char *dir, source from, const char *delay_us)
{
    server *s = server_start_loading(
        kvserver_path(),
        (const char *const[]){ "--dir", dir, "--appendonly", from == SNAPSHOT ? "no" : "yes", "--sharing",
                               sharings[from], "--key-load-delay", delay_us, "--notify-keyspace-events",
                               "KEA", "--maxmemory", "1", "--maxmemory-policy", "allkeys-random", NULL });

    assert_non_null(s);
    return s;
}

static void write_keys(conn *c)
{
    char key[32];

    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        says(c, "+OK", "SET", key, key);
    }
    says(c, "+OK", "SELECT", "3");
    says(c, "+OK", "SET", "far", "away", "EX", "999999");
    says(c, "+OK", "SELECT", "0");
}

static void read_keys(conn *c)
{
    says(c, ":100", "DBSIZE");
    says(c, "$key:0", "GET", "key:0");
    says(c, "$key:99", "GET", "key:99");
    says(c, "+OK", "SELECT", "3");
    says(c, ":9999", "TTL", "far");
    says(c, "+OK", "SELECT", "0");
}

/* A directory with something to load; gone with remove_directory. */
static char *make_data(source from)
{
    char *dir = new_directory();
    server *s = begin("--dir", dir, "--appendonly", from == SNAPSHOT ? "no" : "yes");
    conn *c = connect_to(s);

    write_keys(c);
    if (from == SNAPSHOT)
        says(c, "+OK", "SAVE");
    if (from == LOG_WITH_BASE) {
        says(c, "+Background append only file rewriting started", "BGREWRITEAOF");
        wait_for(c, "persistence", "aof_rewrite_in_progress:0");
        wait_for(c, "persistence", "aof_last_bgrewrite_status:ok");
        says(c, "+OK", "SET", "key:0", "key:0");
    }
    conn_close(c);
    end(s);
    return dir;
}

static long long number_of(const char *info, const char *field)
{
    const char *at = strstr(info, field);

    assert_non_null(at);
    return atoll(at + strlen(field));
}

static void says_that_it_loads(conn *c)
{
    char *info;

    says(c, "-LOADING Redis is loading the dataset in memory", "GET", "key:0");
    says(c, "-LOADING Redis is loading the dataset in memory", "SET", "key:0", "mine");
    says(c, "-LOADING Redis is loading the dataset in memory", "PING");
    says(c, "-LOADING Redis is loading the dataset in memory", "BGREWRITEAOF");
    wait_for(c, "persistence", "\\x0aloading:1");
    info = ask(c, "INFO", "persistence");
    assert_non_null(strstr(info, "\\x0aasync_loading:0"));
    assert_true(number_of(info, "loading_start_time:") > 1000000000);
    assert_true(number_of(info, "loading_total_bytes:") > KEYS * 10);
    assert_true(number_of(info, "loading_loaded_bytes:") < number_of(info, "loading_total_bytes:"));
    assert_true(number_of(info, "loading_loaded_perc:") < 100);
    assert_true(number_of(info, "loading_eta_seconds:") >= 0);
    free(info);
}

/* It says in its log how far it is. */
static void reports(server *s)
{
    bool there = false;

    for (int tries = 0; !there && tries < 12000; tries++) {
        char *text = server_log(s);

        there = strstr(text, "Loading") && strstr(text, " bytes\n");
        free(text);
        if (!there)
            usleep(5000);
    }
    assert_true(there);
}

static void serves_when_all_is_there(void **state)
{
    (void)state;
    for (source from = 0; from < SOURCES; from++) {
        char *dir = make_data(from);
        server *s = start(dir, from, "1000000");
        conn *c = connect_to(s), *listener = connect_to(s);

        says(listener, "*3 $psubscribe $__key*", "PSUBSCRIBE", "__key*");
        /* Nothing of it is known at the very first, when the files are only looked for. */
        wait_until(c, "persistence", "loading_total_bytes:0\\x0d", false);
        says_that_it_loads(c);
        if (from != SNAPSHOT)
            says(c, "-LOADING Failed to set the specified config while loading", "CONFIG", "SET",
                 "appendonly", "no");
        reports(s);
        says(c, "+OK", "CONFIG", "SET", "maxmemory", "0");
        says(c, "+OK", "CONFIG", "SET", "key-load-delay", "0");
        wait_for(c, "persistence", "\\x0aloading:0");
        wait_for(c, "keyspace", "db0:keys=100");
        read_keys(c);
        says(c, "+OK", "SET", "after", "1");
        next_is(listener, "*4 $pmessage $__key* $__keyspace@0__:after");
        conn_close(listener);
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}

static void can_be_stopped_and_begins_anew(void **state)
{
    (void)state;
    for (source from = 0; from < SOURCES; from++) {
        char *dir = make_data(from);
        server *s = start(dir, from, "1000000");
        conn *c;

        assert_true(server_stop(s)); /* by SIGTERM, and with status 0 */
        s = start(dir, from, "1000000");
        c = connect_to(s);
        conn_send_args(c, 1, (const kv_slice[]){ KV_STR("SHUTDOWN") });
        assert_int_equal(server_wait(s), 0);
        conn_close(c);
        server_forget(s);
        s = begin("--dir", dir, "--appendonly", from == SNAPSHOT ? "no" : "yes");
        c = connect_to(s);
        read_keys(c);
        conn_close(c);
        end(s);
        remove_directory(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_when_all_is_there),
        cmocka_unit_test(can_be_stopped_and_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
