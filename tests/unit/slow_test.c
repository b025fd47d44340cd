/* slow_test.c - tests of who is told of as slow, when requests were timed together.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "server.h"

/* A server as far as slow.c looks at it, and the stats of one of its threads. */
typedef struct fixture {
    server *server;
    stats *stats;
    slow_watch watch;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);

    f->server = calloc(1, sizeof *f->server);
    f->stats = calloc(1, sizeof *f->stats);
    f->server->config = config_new();
    f->server->latency = latency_new();
    f->server->slowlog = slowlog_new();
    ticks_init(&f->server->ticks);
    f->watch.server = f->server;
    stats_init(f->stats, &f->server->ticks, &f->watch, NULL);
    slow_apply(f->server);
    slow_ask_anew(f->stats, clock_ms());
    *state = f;
    return 0;
}

static void forget_held(fixture *f)
{
    slow_release(f->server, f->watch.held, NULL);
    f->watch.held = NULL;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    forget_held(f);
    stats_done(f->stats);
    slowlog_free(f->server->slowlog);
    latency_free(f->server->latency);
    config_free(f->server->config);
    free(f->stats);
    free(f->server);
    free(f);
    return 0;
}

static void set(fixture *f, enum config_id id, const char *value)
{
    kv_slice text = kv_str(value);
    config_error error;

    assert_int_equal(config_set(f->server->config, id, 1, &text, false, &error), 0);
    slow_apply(f->server);
    slow_ask_anew(f->stats, clock_ms());
}

static const kv_slice get_a[] = { { "GET", 3 }, { "a", 1 } },
                      set_b[] = { { "SET", 3 }, { "b", 1 }, { "long", 4 } },
                      keys[] = { { "KEYS", 4 }, { "*", 1 } };

static request request_of(const kv_slice argv[], int argc)
{
    return (request){ .row = kv_command_find(argv[0]), .argv = argv, .argc = argc, .direct = true };
}

static uint64_t ms(const fixture *f, uint64_t n)
{
    return ticks_of_ns(&f->server->ticks, n * 1000000);
}

static void the_threshold_is_the_lower_of_both(void **state)
{
    fixture *f = *state;

    assert_in_range(f->stats->slow_ticks, ms(f, 10) - 1, ms(f, 10));
    set(f, CONFIG_ID_latency_monitor_threshold, "5");
    assert_in_range(f->stats->slow_ticks, ms(f, 5) - 1, ms(f, 5));
    set(f, CONFIG_ID_slowlog_log_slower_than, "2000");
    assert_in_range(f->stats->slow_ticks, ms(f, 2) - 1, ms(f, 2));
    assert_false(f->stats->each);
    set(f, CONFIG_ID_slowlog_log_slower_than, "-1");
    assert_in_range(f->stats->slow_ticks, ms(f, 5) - 1, ms(f, 5));
    set(f, CONFIG_ID_latency_monitor_threshold, "0");
    assert_true(f->stats->slow_ticks == INT64_MAX);
    set(f, CONFIG_ID_slowlog_log_slower_than, "999");
    assert_true(f->stats->each);
}

/* KEYS is timed by itself: what is left is the GET's. */
static void the_only_short_command_of_a_batch_is_known(void **state)
{
    fixture *f = *state;
    const request requests[] = { request_of(keys, 2), request_of(get_a, 2) };

    slow_batch(f->stats, requests, 2, ms(f, 20), NULL);
    assert_non_null(f->watch.held);
    assert_null(f->watch.held->next);
    assert_int_equal(f->watch.held->argc, 2);
    assert_true(kv_slice_equal(f->watch.held->argv[1], KV_STR("a")));
    assert_in_range(f->watch.held->usec, 19999, 20001);
}

static void of_several_the_longest_is_told_with_a_remark(void **state)
{
    fixture *f = *state;
    const request requests[] = { request_of(get_a, 2), request_of(set_b, 3), request_of(get_a, 2) };

    slow_batch(f->stats, requests, 3, ms(f, 20), NULL);
    assert_int_equal(f->watch.held->argc, 4);
    assert_true(kv_slice_equal(f->watch.held->argv[0], KV_STR("SET")));
    assert_true(kv_slice_equal(f->watch.held->argv[3], KV_STR("... (or one of 2 more in the pipeline)")));
}

static void when_that_happens_twice_each_call_is_timed_for_a_while(void **state)
{
    fixture *f = *state;
    const request requests[] = { request_of(get_a, 2), request_of(get_a, 2) };
    int64_t now_ms = clock_ms();

    slow_batch(f->stats, requests, 2, ms(f, 20), NULL);
    slow_ask(f->stats, atomic_load(&f->server->slow_version), now_ms);
    assert_false(f->stats->each);
    slow_batch(f->stats, requests, 2, ms(f, 20), NULL);
    slow_ask(f->stats, atomic_load(&f->server->slow_version), now_ms);
    assert_true(f->stats->each);
    forget_held(f);
    slow_batch(f->stats, requests, 2, ms(f, 20), NULL);
    assert_null(f->watch.held); /* all were timed by themselves */
    slow_ask(f->stats, atomic_load(&f->server->slow_version), now_ms + 60000);
    assert_false(f->stats->each);
}

static void what_is_released_stands_in_the_log_in_order(void **state)
{
    fixture *f = *state;

    slow_command(f->stats, kv_command_find(KV_STR("get")), 2, get_a, ms(f, 20), NULL);
    slow_command(f->stats, kv_command_find(KV_STR("exec")), 1, get_a, ms(f, 20), NULL); /* is not kept */
    slow_command(f->stats, kv_command_find(KV_STR("set")), 3, set_b, ms(f, 30), NULL);
    assert_int_equal(slowlog_len(f->server->slowlog), 0);
    assert_true(kv_slice_equal(f->watch.held->argv[0], KV_STR("SET")));
    forget_held(f);
    assert_int_equal(slowlog_len(f->server->slowlog), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_threshold_is_the_lower_of_both),
        TEST(the_only_short_command_of_a_batch_is_known),
        TEST(of_several_the_longest_is_told_with_a_remark),
        TEST(when_that_happens_twice_each_call_is_timed_for_a_while),
        TEST(what_is_released_stands_in_the_log_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
