/* terminal_test.c - kvcli as people use it: the prompt, hints, Tab, Ctrl-C, questions, a lost connection, the history's secrets.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"
#include "resp.h"

static server *kvserver;
static const char *path;

static int begin(void **state)
{
    (void)state;
    kvserver = server_start(program_or_skip("kvserver"), (const char *const[]){ "--threads", "2", NULL });
    path = kvserver ? server_socket(kvserver) : NULL;
    return kvserver ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return server_stop(kvserver) ? 0 : -1;
}

static int flush(void **state)
{
    (void)state;
    kvcli_ends(0, "OK\n", "", "-s", path, "flushall");
    return 0;
}

/* On the terminal, at its first prompt. */
static terminal *at_prompt(void)
{
    terminal *t = terminal_open("-s", path, "--color", "never");

    terminal_sees(t, "> ");
    return t;
}

static void quit(terminal *t)
{
    terminal_types(t, "quit\r");
    assert_int_equal(terminal_close(t), 0);
}

static void the_prompt_tells_database_and_transaction(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "select 3\r");
    terminal_sees(t, "OK");
    terminal_sees(t, "[3]> ");
    terminal_types(t, "multi\r");
    terminal_sees(t, "[3](TX)> ");
    terminal_types(t, "set a 1\r");
    terminal_sees(t, "QUEUED");
    terminal_types(t, "select 4\r");
    terminal_sees(t, "QUEUED");
    terminal_sees(t, "[3](TX)> ");
    terminal_types(t, "exec\r");
    terminal_sees(t, "1) OK");
    terminal_sees(t, "[4]> ");
    quit(t);
}

static void help_and_counts_work_at_the_prompt(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "help incrby\r");
    terminal_sees(t, "INCRBY key increment");
    terminal_types(t, "help @string\r");
    terminal_sees(t, "STRLEN");
    terminal_types(t, "3 incr n\r");
    terminal_sees(t, "(integer) 1");
    terminal_sees(t, "(integer) 3");
    terminal_types(t, "get \"unclosed\r");
    terminal_sees(t, "a closing \" is missing");
    terminal_types(t, ":peek n\r");
    terminal_sees(t, "type:     string");
    terminal_types(t, "watch n\r"); /* at the prompt always the server's */
    terminal_sees(t, "OK");
    quit(t);
}

static void subscriptions_are_left_with_ctrl_c(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "subscribe news\r");
    terminal_sees(t, "3) (integer) 1");
    terminal_sees(t, "Reading messages");
    kvcli_ends(0, "1\n", "", "-s", path, "publish", "news", "hello");
    terminal_sees(t, "3) \"hello\"");
    terminal_types(t, "\r"); /* Enter: a prompt, still subscribed */
    terminal_sees(t, "(subscribed)> ");
    terminal_types(t, "subscribe more\r");
    terminal_sees(t, "3) (integer) 2");
    terminal_types(t, "\r");
    terminal_sees(t, "(subscribed)> ");
    terminal_types(t, "\r"); /* and back to the messages */
    terminal_sees(t, "Reading messages");
    terminal_types(t, "\x03");
    terminal_sees(t, "> ");
    terminal_types(t, "ping\r");
    terminal_sees(t, "PONG");
    quit(t);
}

static void a_subscription_that_ends_is_left(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "subscribe news\r");
    terminal_sees(t, "Reading messages");
    terminal_types(t, "\r");
    terminal_sees(t, "(subscribed)> ");
    terminal_types(t, "unsubscribe\r");
    terminal_sees(t, "(integer) 0");
    terminal_sees(t, "> ");
    terminal_types(t, "ping\r");
    terminal_sees(t, "PONG");
    quit(t);
}

/* Somebody closes the connection; what is left of the session is said. */
static void a_lost_connection_is_replaced_with_its_session(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "select 5\r");
    terminal_sees(t, "[5]> ");
    terminal_types(t, "client setname me\r");
    terminal_sees(t, "OK");
    terminal_types(t, "watch k\r");
    terminal_sees(t, "OK");
    terminal_types(t, "multi\r");
    terminal_sees(t, "(TX)> ");
    kvcli_ends(0, NULL, "", "-s", path, "client", "kill", "type", "normal");
    terminal_types(t, "set k v\r");
    terminal_sees(t, "connected again to ");
    terminal_sees(t, "database 5");
    terminal_sees(t, "lost: the transaction, the watched keys");
    terminal_sees(t, "[5]> ");
    terminal_types(t, "client getname\r");
    terminal_sees(t, "\"me\"");
    quit(t);
}

static void a_server_that_is_gone_leaves_a_prompt(void **state)
{
    server *s = server_start(program_or_skip("kvserver"), (const char *const[]){ NULL });
    terminal *t;

    (void)state;
    assert_non_null(s);
    t = terminal_open("-s", server_socket(s), "--color", "never");
    terminal_sees(t, "> ");
    terminal_types(t, "shutdown\r");
    terminal_sees(t, "[y/N]");
    terminal_types(t, "y\r");
    terminal_sees(t, "not connected> ");
    terminal_types(t, "ping\r");
    terminal_sees(t, "kvcli: ");
    terminal_sees(t, "not connected> ");
    quit(t);
    server_wait(s);
    server_stop(s);
}

static void questions_come_before_destruction(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    terminal_types(t, "set k 1\r");
    terminal_sees(t, "OK");
    terminal_types(t, "flushall\r");
    terminal_sees(t, "[y/N]");
    terminal_types(t, "n\r");
    terminal_sees(t, "> ");
    terminal_types(t, "dbsize\r");
    terminal_sees(t, "(integer) 1");
    terminal_types(t, "keys *\r"); /* few keys: no question */
    terminal_sees(t, "1) \"k\"");
    terminal_types(t, "flushall\r");
    terminal_sees(t, "[y/N]");
    terminal_types(t, "y\r");
    terminal_sees(t, "OK");
    quit(t);
    t = terminal_open("-s", path, "--yes", "flushall");
    terminal_sees(t, "OK");
    assert_int_equal(terminal_close(t), 0);
}

static void the_history_keeps_no_secret(void **state)
{
    char file[512], text[4096];
    struct stat about;
    terminal *t;
    FILE *in;
    size_t n;

    (void)state;
    snprintf(file, sizeof file, "%s/.kvcli_history", getenv("HOME"));
    unlink(file);
    t = at_prompt();
    terminal_types(t, "set visible 1\r");
    terminal_sees(t, "OK");
    terminal_types(t, "auth topsecret\r");
    terminal_sees(t, "(error)");
    terminal_types(t, "config set requirepass \"\"\r");
    terminal_sees(t, "> ");
    quit(t);
    assert_int_equal(stat(file, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    in = fopen(file, "r");
    assert_non_null(in);
    n = fread(text, 1, sizeof text - 1, in);
    text[n] = 0;
    fclose(in);
    assert_non_null(strstr(text, "set visible 1"));
    assert_null(strstr(text, "topsecret"));
    assert_null(strstr(text, "requirepass"));
}

/* With libedit only: without it the terminal does the editing. */
static bool edits(terminal *t)
{
#ifdef KVCLI_EDITS
    (void)t;
    return true;
#else
    quit(t);
    skip();
    return false;
#endif
}

static void tab_completes_and_hints_follow(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    if (!edits(t))
        return;
    terminal_types(t, "incrby ");
    terminal_sees(t, "key increment");
    terminal_types(t, "\x15getra\t"); /* Ctrl-U; then only what is new is drawn */
    terminal_sees(t, "nge ");
    terminal_sees(t, "key start end");
    terminal_types(t, "\x15set longkeyname 1\r");
    terminal_sees(t, "OK");
    terminal_types(t, "get longk\t");
    terminal_sees(t, "eyname ");
    terminal_types(t, "\r");
    terminal_sees(t, "\"1\"");
    terminal_types(t, ":set nohints\r");
    terminal_sees(t, "> ");
    terminal_types(t, "strlen ");
    terminal_sees(t, "strlen ");
    terminal_sees_not(t, "key");
    terminal_types(t, "\x03");
    terminal_sees(t, "^C");
    quit(t);
}

static void ctrl_r_searches(void **state)
{
    terminal *t = at_prompt();

    (void)state;
    if (!edits(t))
        return;
    terminal_types(t, "set needle 7\r");
    terminal_sees(t, "OK");
    terminal_types(t, "get needle\r");
    terminal_sees(t, "\"7\"");
    terminal_sees(t, "> ");
    terminal_reads_keys(t);
    terminal_types(t, "\x12set n");
    terminal_sees(t, "set needle 7");
    terminal_types(t, "\r");
    terminal_sees(t, "OK");
    quit(t);
}

static void a_watched_command_is_drawn_again(void **state)
{
    terminal *t = terminal_open("-s", path, "--color", "never", "-i", "0.05", "watch", "get", "n");

    (void)state;
    terminal_sees(t, "get n");
    terminal_sees(t, "(nil)");
    kvcli_ends(0, "OK\n", "", "-s", path, "set", "n", "5");
    terminal_sees(t, "\x1b[7m\"5\"\x1b[27m");
    terminal_types(t, "\x03");
    assert_int_equal(terminal_close(t), 0);
}

static void top_is_drawn_until_ctrl_c(void **state)
{
    terminal *t = terminal_open("-s", path, "-i", "0.05", "top");

    (void)state;
    terminal_sees(t, "kvcli top");
    terminal_sees(t, "operations");
    terminal_sees(t, "kvcli top");
    terminal_types(t, "\x03");
    assert_int_equal(terminal_close(t), 0);
}

static void a_blocking_wait_is_left_with_ctrl_c(void **state)
{
    const char *redis = server_program("redis-server");
    server *s = redis ? server_start(redis, (const char *const[]){ NULL }) : NULL;
    terminal *t;

    (void)state;
    if (!redis)
        skip();
    assert_non_null(s);
    t = terminal_open("-s", server_socket(s), "--color", "never");
    terminal_sees(t, "> ");
    terminal_types(t, "monitor\r");
    terminal_sees(t, "OK");
    terminal_sees(t, "Reading messages");
    kvcli_ends(0, "OK\n", "", "-s", server_socket(s), "set", "seen", "1");
    terminal_sees(t, "\"set\" \"seen\" \"1\"");
    terminal_types(t, "\x03");
    terminal_sees(t, "> ");
    terminal_types(t, "blpop nothing 0\r");
    while (1) { /* until it waits there */
        outcome o = run_kvcli("", "-s", server_socket(s), "info", "clients");
        bool waits = strstr(o.out, "blocked_clients:1") != NULL;

        outcome_done(&o);
        if (waits)
            break;
    }
    terminal_types(t, "\x03");
    terminal_sees(t, "interrupted");
    terminal_types(t, "ping\r");
    terminal_sees(t, "PONG");
    quit(t);
    assert_true(server_stop(s));
}

static void a_password_is_asked_for_and_not_shown(void **state)
{
    server *s = server_start(program_or_skip("kvserver"),
                             (const char *const[]){ "--requirepass", "opensesame", NULL });
    terminal *t;

    (void)state;
    assert_non_null(s);
    t = terminal_open("-s", server_socket(s), "--color", "never", "--askpass");
    terminal_sees(t, "assword: ");
    terminal_types(t, "opensesame\r");
    terminal_sees_not(t, "opensesame");
    terminal_sees(t, "> ");
    terminal_types(t, "ping\r");
    terminal_sees(t, "PONG");
    quit(t);
    t = terminal_open("-s", server_socket(s), "--color", "never", "--askpass", "ping");
    terminal_sees(t, "assword: ");
    terminal_types(t, "wrong\r");
    terminal_sees(t, "WRONGPASS");
    assert_int_equal(terminal_close(t), 4);
    assert_true(server_stop(s));
}

static void a_long_reply_goes_through_the_pager(void **state)
{
    terminal *t;

    (void)state;
    setenv("KVCLI_PAGER", "echo paged; sed -n '$='", 1);
    t = at_prompt();
    terminal_types(t, "eval_is_none\r"); /* short: shown as it is */
    terminal_sees(t, "(error)");
    terminal_types(t, "mset a 1 b 2 c 3\r");
    terminal_sees(t, "OK");
    terminal_types(t, "mget a b c a b c a b c a b c a b c a b c a b c a b c a b c a b c a b c\r");
    terminal_sees(t, "paged\r\n33\r\n");
    terminal_sees(t, "> ");
    terminal_types(t, ":set nopager\r");
    terminal_sees(t, "> ");
    terminal_types(t, "mget a b c a b c a b c a b c a b c a b c a b c a b c a b c a b c a b c\r");
    terminal_sees(t, "33) \"3\"");
    quit(t);
    setenv("KVCLI_PAGER", "true", 1); /* it does not even read */
    t = at_prompt();
    terminal_types(t, "client help\r");
    terminal_sees(t, "> ");
    terminal_types(t, "ping\r");
    terminal_sees(t, "PONG");
    quit(t);
    unsetenv("KVCLI_PAGER");
}

#define kept(test) cmocka_unit_test_setup(test, flush)

int main(void)
{
    const struct CMUnitTest tests[] = {
        kept(the_prompt_tells_database_and_transaction),
        kept(help_and_counts_work_at_the_prompt),
        kept(subscriptions_are_left_with_ctrl_c),
        kept(a_subscription_that_ends_is_left),
        kept(a_lost_connection_is_replaced_with_its_session),
        kept(a_server_that_is_gone_leaves_a_prompt),
        kept(questions_come_before_destruction),
        kept(the_history_keeps_no_secret),
        kept(tab_completes_and_hints_follow),
        kept(ctrl_r_searches),
        kept(a_watched_command_is_drawn_again),
        kept(top_is_drawn_until_ctrl_c),
        kept(a_blocking_wait_is_left_with_ctrl_c),
        kept(a_password_is_asked_for_and_not_shown),
        kept(a_long_reply_goes_through_the_pager),
    };
    int failed;

    program_or_skip("kvserver");
    program_or_skip("kvcli");
    program_enter_home();
    failed = cmocka_run_group_tests(tests, begin, end);
    program_leave_home();
    return failed;
}
