/* relay_test.c - blocks go to other threads and back: each is taken once, in order, and who waits is told of the end.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "relay.h"

enum { blocks = 4, rounds = 2000, takers = 3 };

typedef struct work {
    relay_block link; /* first */
    int number;
} work;

typedef struct taker {
    pthread_t thread;
    relay *from;
    int count, last;
    bool in_order;
    int64_t sum;
} taker;

static void *take_all(void *arg)
{
    taker *t = arg;
    work *w;

    while ((w = (work *)relay_take_full(t->from)) != NULL) {
        t->in_order &= w->number > t->last;
        t->last = w->number;
        t->sum += w->number;
        t->count++;
        relay_give_back(t->from, &w->link);
    }
    return NULL;
}

static void begin(relay *r, work all[blocks], taker of[], int n)
{
    relay_init(r);
    for (int i = 0; i < blocks; i++)
        relay_add(r, &all[i].link);
    for (int i = 0; i < n; i++) {
        of[i] = (taker){ .from = r, .in_order = true };
        assert_int_equal(pthread_create(&of[i].thread, NULL, take_all, &of[i]), 0);
    }
}

static void give(relay *r, int number)
{
    work *w = (work *)relay_take_empty(r);

    assert_non_null(w);
    w->number = number;
    relay_give_full(r, &w->link);
}

static void every_block_is_taken_once_and_in_order(void **state)
{
    relay r;
    work all[blocks];
    taker of[takers];
    int64_t sum = 0;
    int count = 0;

    (void)state;
    begin(&r, all, of, takers);
    for (int i = 1; i <= rounds; i++)
        give(&r, i);
    relay_end(&r);
    for (int i = 0; i < takers; i++) {
        pthread_join(of[i].thread, NULL);
        assert_true(of[i].in_order);
        sum += of[i].sum;
        count += of[i].count;
    }
    assert_int_equal(count, rounds);
    assert_int_equal(sum, (int64_t)rounds * (rounds + 1) / 2);
    assert_false(relay_is_broken(&r));
    relay_done(&r);
}

static void idle_is_when_all_were_given_back(void **state)
{
    relay r;
    work all[blocks];
    taker one;

    (void)state;
    begin(&r, all, &one, 1);
    for (int i = 1; i <= rounds; i++) {
        give(&r, i);
        if (i % 100 == 0) {
            relay_wait_idle(&r);
            assert_int_equal(one.count, i); /* the relay's lock has shown it */
        }
    }
    relay_end(&r);
    pthread_join(one.thread, NULL);
    relay_done(&r);
}

/* Also what was given and not taken is dropped. */
static void nobody_waits_for_a_broken_relay(void **state)
{
    relay r;
    work all[blocks];
    taker of[takers];

    (void)state;
    begin(&r, all, of, takers); /* they wait, or will */
    relay_break(&r);
    for (int i = 0; i < takers; i++) {
        pthread_join(of[i].thread, NULL);
        assert_int_equal(of[i].count, 0);
    }
    assert_true(relay_is_broken(&r));
    assert_null(relay_take_empty(&r));
    relay_give_full(&r, &all[0].link);
    assert_null(relay_take_full(&r));
    relay_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_taken_once_and_in_order),
        cmocka_unit_test(idle_is_when_all_were_given_back),
        cmocka_unit_test(nobody_waits_for_a_broken_relay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
