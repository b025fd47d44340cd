/* async_test.c - asynchronous calls: every callback exactly once, whatever the server does. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "fake_server.h"
#include "kvclient.h"
#include "server.h"

enum { patience_ms = 60000 };

/* ---- a loop, a handle, and what was answered ---- */

typedef struct answer {
    int calls; /* of the callback */
    kvc_status status;
    kvc_error error;
    kvc_reply *reply;
} answer;

typedef struct bench {
    struct event_base *base;
    struct event *tick; /* so that a loop without events goes on */
    kvc_async *async;
    int answers; /* callbacks so far */
    bool inside; /* kvc_async_command is running */
    answer last;
} bench;

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static bench *bench_new(const kvc_options *options)
{
    bench *b = calloc(1, sizeof *b);
    const struct timeval soon = { .tv_usec = 20000 };
    kvc_error error;

    b->base = event_base_new();
    b->tick = event_new(b->base, -1, EV_PERSIST, on_tick, NULL);
    event_add(b->tick, &soon);
    if (kvc_async_open(b->base, options, &b->async, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return b;
}

static kvc_options options_for(int port)
{
    kvc_options options;

    kvc_options_init(&options);
    options.port = port;
    options.backoff_max_ms = 100;
    options.command_timeout_ms = patience_ms;
    return options;
}

static bench *bench_for(int port)
{
    kvc_options options = options_for(port);

    return bench_new(&options);
}

static void bench_free(bench *b)
{
    kvc_reply_free(b->last.reply);
    kvc_async_close(b->async, false);
    event_del(b->tick);
    event_base_dispatch(b->base); /* the handle is gone when nothing is left to wait for */
    event_free(b->tick);
    event_base_free(b->base);
    free(b);
}

/* Runs the loop until there are n answers. */
static void run_until(bench *b, int n)
{
    int64_t deadline_ms = kvc_now_ms() + patience_ms;

    while (b->answers < n && kvc_now_ms() < deadline_ms)
        event_base_loop(b->base, EVLOOP_ONCE);
    assert_true(b->answers >= n);
}

#define RUN_WHILE(b, condition)                                            \
    for (int64_t deadline = kvc_now_ms() + patience_ms; (condition);) {    \
        if (kvc_now_ms() > deadline)                                       \
            fail_msg("still so after %d ms: %s", patience_ms, #condition); \
        event_base_loop((b)->base, EVLOOP_ONCE);                           \
    }

static void on_answer(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                      void *arg)
{
    bench *b = arg;

    assert_ptr_equal(async, b->async);
    assert_false(b->inside);
    assert_int_equal(status, error->status);
    assert_true(status >= 0 || !reply);
    b->answers++;
    kvc_reply_free(b->last.reply);
    b->last = (answer){ .calls = b->last.calls + 1, .status = status, .error = *error, .reply = reply };
}

static size_t split_words(const char *line, char *buffer, size_t size, kvc_slice argv[16])
{
    char *rest = NULL;
    size_t argc = 0;

    snprintf(buffer, size, "%s", line);
    for (char *w = strtok_r(buffer, " ", &rest); w && argc < 16; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = kvc_str(w);
    return argc;
}

static kvc_status send_line(bench *b, const char *line, uint32_t timeout_ms, kvc_async_fn *fn, void *arg)
{
    char words[256];
    kvc_slice argv[16];
    size_t argc = split_words(line, words, sizeof words, argv);
    kvc_status status;

    b->inside = true;
    status = kvc_async_command(b->async, argc, argv, timeout_ms, fn, arg);
    b->inside = false;
    return status;
}

/* Sends a command and waits for its answer. */
static const answer *ask(bench *b, const char *line)
{
    int n = b->answers + 1;

    assert_int_equal(send_line(b, line, 0, on_answer, b), KVC_OK);
    run_until(b, n);
    return &b->last;
}

static const char *text_of(const answer *a)
{
    return kvc_reply_text(a->reply).data;
}

/* ---- a server that keeps values ---- */

typedef struct script {
    _Atomic int gets;     /* requests that were no handshake */
    int hold_from;        /* from this one on, no answer */
    _Atomic int reset_at; /* this one resets the connection */
    int garbage_at;       /* this one is answered with what is no RESP */
    int executed[10000];  /* MARK n was executed so often */
} script;

static void play(fake_request *request, void *arg)
{
    script *s = arg;
    int n;

    if (fake_handshake(request))
        return;
    n = s->gets++;
    if (fake_is(request, "MARK"))
        s->executed[atoi(fake_arg(request, 1))]++;
    if (s->reset_at && n == s->reset_at - 1)
        fake_reset(request);
    else if (s->garbage_at && n == s->garbage_at - 1)
        fake_say(request, "hello\r\n");
    else if (s->hold_from && n >= s->hold_from - 1)
        return;
    else if (fake_is(request, "FAIL"))
        fake_say(request, "-WRONGTYPE no\r\n");
    else if (fake_is(request, "NULL"))
        fake_say(request, "$-1\r\n");
    else
        fake_say(request, "$%zu\r\n%s\r\n", strlen(fake_arg(request, 1)), fake_arg(request, 1));
}

/* ---- answers ---- */

static void a_reply_an_error_and_a_null_are_told_apart(void **state)
{
    script s = { 0 };
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));

    (void)state;
    assert_string_equal(text_of(ask(b, "ECHO hello")), "hello");
    assert_int_equal(b->last.status, KVC_OK);
    ask(b, "FAIL x");
    assert_int_equal(b->last.status, KVC_EREPLY);
    assert_string_equal(b->last.error.code, "WRONGTYPE");
    assert_string_equal(b->last.error.message, "WRONGTYPE no");
    assert_true(b->last.error.sent);
    ask(b, "NULL x");
    assert_int_equal(b->last.status, KVC_OK);
    assert_int_equal(kvc_reply_type(b->last.reply), KVC_TYPE_NIL);
    bench_free(b);
    fake_stop(fake);
}

typedef struct sequence {
    bench *b;
    int next;
} sequence;

typedef struct numbered {
    sequence *all;
    int number;
} numbered;

static void on_numbered(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                        void *arg)
{
    numbered *n = arg;
    char expected[16];

    (void)async;
    (void)error;
    assert_int_equal(status, KVC_OK);
    snprintf(expected, sizeof expected, "%d", n->number);
    assert_string_equal(kvc_reply_text(reply).data, expected);
    assert_int_equal(n->number, n->all->next++);
    n->all->b->answers++;
    kvc_reply_free(reply);
}

static void replies_come_in_order_however_the_stream_is_cut(void **state)
{
    static const size_t pieces[] = { 1, 2, 3, 5, 7, 100, 0 };

    (void)state;
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        script s = { 0 };
        fake_server *fake = fake_start(play, &s);
        bench *b = bench_for(fake_port(fake));
        sequence all = { .b = b };
        numbered each[200];

        fake_set_piece(fake, pieces[p]);
        for (int i = 0; i < 200; i++) {
            char line[32];

            each[i] = (numbered){ &all, i };
            snprintf(line, sizeof line, "ECHO %d", i);
            assert_int_equal(send_line(b, line, 0, on_numbered, &each[i]), KVC_OK);
        }
        run_until(b, 200);
        bench_free(b);
        fake_stop(fake);
    }
}

static void what_changes_the_connection_is_refused(void **state)
{
    static const char *const lines[] = { "SELECT 1",         "MULTI", "SUBSCRIBE a",
                                         "client reply off", "QUIT",  "HELLO 3" };
    bench *b = bench_for(free_port());

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(send_line(b, lines[i], 0, on_answer, b), KVC_ESTATE);
    assert_int_equal(kvc_async_command(b->async, 0, NULL, 0, on_answer, b), KVC_EARG);
    assert_int_equal(kvc_async_subscribe(b->async, KVC_CHANNEL, kvc_str("a")), KVC_ESTATE);
    bench_free(b);
}

/* ---- callbacks that act ---- */

static void on_chain(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error, void *arg)
{
    bench *b = arg;
    const kvc_slice argv[] = { kvc_str("ECHO"), kvc_str("x") };

    (void)error;
    assert_false(b->inside);
    assert_int_equal(status, KVC_OK);
    kvc_reply_free(reply);
    if (++b->answers >= 100)
        return;
    b->inside = true;
    assert_int_equal(kvc_async_command(async, 2, argv, 0, on_chain, b), KVC_OK);
    b->inside = false;
}

static void a_callback_may_issue_commands(void **state)
{
    script s = { 0 };
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));

    (void)state;
    assert_int_equal(send_line(b, "ECHO x", 0, on_chain, b), KVC_OK);
    run_until(b, 100);
    bench_free(b);
    fake_stop(fake);
}

typedef struct ending {
    int ok, closed, other, refused;
    bool drain;
} ending;

static void on_ending(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                      void *arg)
{
    ending *e = arg;
    const kvc_slice argv[] = { kvc_str("ECHO"), kvc_str("x") };

    (void)error;
    e->ok += status == KVC_OK;
    e->closed += status == KVC_ECLOSED;
    e->other += status != KVC_OK && status != KVC_ECLOSED;
    kvc_reply_free(reply);
    if (e->ok == 1 && e->closed == 0)
        kvc_async_close(async, e->drain);
    if (kvc_async_command(async, 2, argv, 0, on_ending, e) == KVC_ESTATE)
        e->refused++;
}

/* Closes the handle inside the first of 50 callbacks, and runs the loop to its end. */
static ending close_within(bool drain, int hold_from, uint32_t timeout_ms)
{
    script s = { .hold_from = hold_from };
    fake_server *fake = fake_start(play, &s);
    struct event_base *base = event_base_new();
    kvc_options options = options_for(fake_port(fake));
    const kvc_slice argv[] = { kvc_str("ECHO"), kvc_str("x") };
    ending e = { .drain = drain };
    kvc_async *async;

    assert_int_equal(kvc_async_open(base, &options, &async, NULL), KVC_OK);
    for (int i = 0; i < 50; i++)
        assert_int_equal(kvc_async_command(async, 2, argv, timeout_ms, on_ending, &e), KVC_OK);
    event_base_dispatch(base);
    event_base_free(base);
    fake_stop(fake);
    assert_int_equal(e.ok + e.closed + e.other, 50);
    assert_int_equal(e.refused, 50);
    return e;
}

static void closing_with_drain_waits_for_the_replies(void **state)
{
    ending e = close_within(true, 0, patience_ms);

    (void)state;
    assert_int_equal(e.ok, 50);
}

static void closing_with_drain_ends_with_the_deadlines(void **state)
{
    ending e = close_within(true, 11, 2000);

    (void)state;
    assert_int_equal(e.ok, 10);
    assert_int_equal(e.other, 40);
}

static void closing_without_drain_answers_everything_with_closed(void **state)
{
    ending e = close_within(false, 2, patience_ms);

    (void)state;
    assert_int_equal(e.ok, 1);
    assert_int_equal(e.closed, 49);
}

static void a_handle_that_never_connected_is_closed(void **state)
{
    kvc_options options = options_for(free_port());
    struct event_base *base = event_base_new();
    kvc_async *async;

    (void)state;
    assert_int_equal(kvc_async_open(base, &options, &async, NULL), KVC_OK);
    kvc_async_close(async, true);
    event_base_dispatch(base);
    event_base_free(base);
}

/* ---- deadlines ---- */

static void a_late_reply_is_not_taken_for_the_next_one(void **state)
{
    script s = { .hold_from = 1 };
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));

    (void)state;
    assert_int_equal(send_line(b, "ECHO late", 50, on_answer, b), KVC_OK);
    run_until(b, 1);
    assert_int_equal(b->last.status, KVC_ETIMEOUT);
    assert_true(b->last.error.sent);
    assert_int_equal(send_line(b, "ECHO second", 0, on_answer, b), KVC_OK);
    RUN_WHILE(b, fake_open_connections(fake) < 1);
    fake_push(fake, 0, "$4\r\nlate\r\n$6\r\nsecond\r\n", 22);
    run_until(b, 2);
    assert_string_equal(text_of(&b->last), "second");
    assert_int_equal(fake_arrivals(fake), 1);
    bench_free(b);
    fake_stop(fake);
}

static void a_command_that_was_never_sent_says_so(void **state)
{
    int port = free_port();
    bench *b = bench_for(port);

    (void)state;
    assert_int_equal(send_line(b, "ECHO x", 100, on_answer, b), KVC_OK);
    run_until(b, 1);
    assert_int_equal(b->last.status, KVC_ETIMEOUT);
    assert_false(b->last.error.sent);
    assert_non_null(strstr(b->last.error.message, "refused"));
    bench_free(b);
}

static void a_silent_server_is_given_up(void **state)
{
    script s = { .hold_from = 1 };
    fake_server *fake = fake_start(play, &s);
    kvc_options options = options_for(fake_port(fake));
    bench *b;

    (void)state;
    options.command_timeout_ms = 1000;
    b = bench_new(&options);
    assert_int_equal(send_line(b, "ECHO 1", 0, on_answer, b), KVC_OK);
    assert_int_equal(send_line(b, "ECHO 2", UINT32_MAX, on_answer, b), KVC_OK);
    run_until(b, 2);
    assert_int_equal(b->last.status, KVC_ETIMEOUT);
    assert_non_null(strstr(b->last.error.message, "given up"));
    RUN_WHILE(b, fake_arrivals(fake) < 2);
    bench_free(b);
    fake_stop(fake);
}

/* ---- connections that end ---- */

static void commands_wait_for_a_server_that_is_not_there_yet(void **state)
{
    script s = { 0 };
    fake_server *fake = fake_start(play, &s);
    bench *b;

    (void)state;
    fake_close_door(fake);
    b = bench_for(fake_port(fake));
    assert_int_equal(send_line(b, "ECHO x", 0, on_answer, b), KVC_OK);
    for (int i = 0; i < 5; i++)
        event_base_loop(b->base, EVLOOP_ONCE);
    assert_int_equal(b->answers, 0);
    fake_open_door(fake);
    run_until(b, 1);
    assert_string_equal(text_of(&b->last), "x");
    bench_free(b);
    fake_stop(fake);
}

static void a_lost_connection_fails_what_was_sent_and_is_replaced(void **state)
{
    script s = { .reset_at = 1 };
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));

    (void)state;
    ask(b, "ECHO 1");
    assert_true(b->last.status == KVC_ECLOSED || b->last.status == KVC_EIO);
    assert_true(b->last.error.sent);
    assert_string_equal(text_of(ask(b, "ECHO 2")), "2");
    assert_int_equal(fake_arrivals(fake), 2);
    bench_free(b);
    fake_stop(fake);
}

static void what_only_reads_may_be_repeated(void **state)
{
    script s = { .reset_at = 1 };
    fake_server *fake = fake_start(play, &s);
    kvc_options options = options_for(fake_port(fake));
    bench *b;

    (void)state;
    options.retry = KVC_RETRY_READONLY;
    b = bench_new(&options);
    assert_string_equal(text_of(ask(b, "GET again")), "again");
    s.reset_at = s.gets + 1;
    ask(b, "INCR k");
    assert_true(b->last.error.sent);
    bench_free(b);
    fake_stop(fake);
}

static void what_is_no_resp_ends_the_connection(void **state)
{
    script s = { .garbage_at = 1 };
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));

    (void)state;
    ask(b, "ECHO 1");
    assert_int_equal(b->last.status, KVC_EPROTOCOL);
    assert_string_equal(text_of(ask(b, "ECHO 2")), "2");
    bench_free(b);
    fake_stop(fake);
}

static void refuse_password(fake_request *request, void *arg)
{
    (void)arg;
    if (fake_is(request, "HELLO"))
        fake_say(request, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    else
        fake_say(request, "-NOAUTH Authentication required.\r\n");
}

static void a_wrong_password_is_told_at_once(void **state)
{
    fake_server *fake = fake_start(refuse_password, NULL);
    kvc_options options = options_for(fake_port(fake));
    bench *b;

    (void)state;
    options.password = "wrong";
    b = bench_new(&options);
    ask(b, "ECHO 1");
    assert_int_equal(b->last.status, KVC_EAUTH);
    assert_false(b->last.error.sent);
    bench_free(b);
    fake_stop(fake);
}

/* ---- exactly once ---- */

typedef struct mark {
    int calls;
    kvc_status status;
    bool sent;
} mark;

static int marks_answered;

static void on_mark(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error, void *arg)
{
    mark *m = arg;

    (void)async;
    m->calls++;
    m->status = status;
    m->sent = error->sent;
    kvc_reply_free(reply);
    marks_answered++;
}

static void under_random_kills_each_callback_comes_once_and_nothing_runs_twice(void **state)
{
    enum { count = 10000 };
    static mark marks[count];
    static script s;
    fake_server *fake = fake_start(play, &s);
    bench *b = bench_for(fake_port(fake));
    unsigned random = 12345;
    int sent = 0, ok = 0;
    unsigned arrivals;

    (void)state;
    marks_answered = 0;
    while (marks_answered < count) {
        char line[32];

        for (int i = 0; i < 100 && sent < count && sent - marks_answered < 1000; i++, sent++) {
            snprintf(line, sizeof line, "MARK %d", sent);
            assert_int_equal(send_line(b, line, 10000, on_mark, &marks[sent]), KVC_OK);
        }
        event_base_loop(b->base, EVLOOP_ONCE);
        random = random * 1103515245 + 12345;
        if (sent < count && fake_open_connections(fake) > 0 && random >> 16 & 1)
            fake_drop_all(fake);
    }
    arrivals = fake_arrivals(fake);
    bench_free(b);
    fake_stop(fake);
    for (int i = 0; i < count; i++) {
        assert_int_equal(marks[i].calls, 1);
        assert_true(s.executed[i] <= 1);
        ok += marks[i].status == KVC_OK;
        if (marks[i].status == KVC_OK)
            assert_int_equal(s.executed[i], 1);
        else if (!marks[i].sent)
            assert_int_equal(s.executed[i], 0);
    }
    assert_true(ok > 0);
    assert_true(arrivals > 5);
}

/* ---- bounds ---- */

static void more_than_the_queue_holds_is_not_accepted(void **state)
{
    kvc_options options = options_for(free_port());
    bench *b;
    int accepted = 0;
    kvc_status status;

    (void)state;
    options.async_queue_bytes = 10000;
    b = bench_new(&options);
    while ((status = send_line(b, "ECHO x", 100, on_answer, b)) == KVC_OK)
        accepted++;
    assert_int_equal(status, KVC_EFULL);
    assert_in_range(accepted, 2, 10000 / 30);
    run_until(b, accepted);
    assert_int_equal(send_line(b, "ECHO x", 100, on_answer, b), KVC_OK); /* there is room again */
    bench_free(b);
}

/* ---- a real server ---- */

static bench *bench_on(server *s)
{
    kvc_options options;

    kvc_options_init(&options);
    options.unix_path = server_socket(s);
    options.command_timeout_ms = patience_ms;
    return bench_new(&options);
}

static void a_big_pipeline_goes_through(void **state)
{
    enum { count = 20000 };
    const char *programs[] = { server_program("redis-server"), server_program("kvserver") };

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        server *s = programs[p] ? server_start(programs[p], NULL) : NULL;
        bench *b;

        if (!s)
            continue;
        b = bench_on(s);
        for (int i = 0; i < count; i++)
            assert_int_equal(send_line(b, "INCR n", 0, on_answer, b), KVC_OK);
        run_until(b, count);
        assert_int_equal(kvc_reply_int(b->last.reply), count);
        bench_free(b);
        assert_true(server_stop(s));
    }
}

static void a_value_of_many_megabytes_goes_both_ways(void **state)
{
    const char *program = server_program("redis-server");
    size_t len = 40u << 20;
    char *big;
    server *s;
    bench *b;
    kvc_slice argv[3] = { kvc_str("SET"), kvc_str("big") };

    (void)state;
    if (!program)
        skip();
    s = server_start(program, NULL);
    b = bench_on(s);
    big = malloc(len);
    memset(big, 'x', len);
    argv[2] = kvc_bytes(big, len);
    assert_int_equal(kvc_async_command(b->async, 3, argv, 0, on_answer, b), KVC_OK);
    run_until(b, 1);
    ask(b, "GET big");
    assert_int_equal(kvc_reply_text(b->last.reply).len, len);
    assert_memory_equal(kvc_reply_text(b->last.reply).data, big, len);
    free(big);
    bench_free(b);
    assert_true(server_stop(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_an_error_and_a_null_are_told_apart),
        cmocka_unit_test(replies_come_in_order_however_the_stream_is_cut),
        cmocka_unit_test(what_changes_the_connection_is_refused),
        cmocka_unit_test(a_callback_may_issue_commands),
        cmocka_unit_test(closing_with_drain_waits_for_the_replies),
        cmocka_unit_test(closing_with_drain_ends_with_the_deadlines),
        cmocka_unit_test(closing_without_drain_answers_everything_with_closed),
        cmocka_unit_test(a_handle_that_never_connected_is_closed),
        cmocka_unit_test(a_late_reply_is_not_taken_for_the_next_one),
        cmocka_unit_test(a_command_that_was_never_sent_says_so),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(commands_wait_for_a_server_that_is_not_there_yet),
        cmocka_unit_test(a_lost_connection_fails_what_was_sent_and_is_replaced),
        cmocka_unit_test(what_only_reads_may_be_repeated),
        cmocka_unit_test(what_is_no_resp_ends_the_connection),
        cmocka_unit_test(a_wrong_password_is_told_at_once),
        cmocka_unit_test(under_random_kills_each_callback_comes_once_and_nothing_runs_twice),
        cmocka_unit_test(more_than_the_queue_holds_is_not_accepted),
        cmocka_unit_test(a_big_pipeline_goes_through),
        cmocka_unit_test(a_value_of_many_megabytes_goes_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
