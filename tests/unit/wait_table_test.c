/* wait_table_test.c - who waits first is woken first. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "wait_table.h"

typedef struct person {
    waiter waiter; /* first */
    _Atomic int wakes;
} person;

static void wake(waiter *w)
{
    atomic_fetch_add(&((person *)w)->wakes, 1);
}

static void join(wait_table *t, person *p, int db, const char *a, const char *b)
{
    kv_slice keys[2] = { kv_str(a), kv_str(b ? b : "") };

    p->waiter.wake = wake;
    assert_int_equal(wait_table_join(t, &p->waiter, b ? 2 : 1, db, keys), 0);
}

static int open_table(void **state)
{
    *state = wait_table_new();
    return *state ? 0 : -1;
}

static int close_table(void **state)
{
    assert_int_equal(wait_table_keys(*state), 0);
    wait_table_free(*state);
    return 0;
}

static void the_first_is_woken_first(void **state)
{
    wait_table *t = *state;
    person first = { .wakes = 0 }, second = { .wakes = 0 };

    assert_false(wait_table_signal(t, 0, KV_STR("k")));
    join(t, &first, 0, "k", NULL);
    join(t, &second, 0, "k", NULL);
    assert_false(wait_table_signal(t, 0, KV_STR("other")));
    assert_false(wait_table_signal(t, 1, KV_STR("k"))); /* another database */
    assert_true(wait_table_signal(t, 0, KV_STR("k")));
    assert_int_equal(first.wakes, 1);
    assert_int_equal(second.wakes, 0);
    assert_true(wait_table_signal(t, 0, KV_STR("k"))); /* the first is awake already */
    assert_int_equal(second.wakes, 1);
    assert_false(wait_table_signal(t, 0, KV_STR("k")));
    wait_table_leave(t, &first.waiter);
    wait_table_leave(t, &second.waiter);
}

static void who_was_woken_in_vain_keeps_his_place(void **state)
{
    wait_table *t = *state;
    person first = { .wakes = 0 }, second = { .wakes = 0 };

    join(t, &first, 0, "k", NULL);
    join(t, &second, 0, "k", NULL);
    assert_true(wait_table_signal(t, 0, KV_STR("k")));
    wait_table_heard(t, &first.waiter);
    assert_true(wait_table_signal(t, 0, KV_STR("k")));
    assert_int_equal(first.wakes, 2);
    assert_int_equal(second.wakes, 0);
    wait_table_heard(t, &first.waiter);
    wait_table_leave(t, &first.waiter);
    assert_int_equal(second.wakes, 0);
    wait_table_leave(t, &second.waiter);
}

static void who_leaves_awake_passes_it_on(void **state)
{
    wait_table *t = *state;
    person first = { .wakes = 0 }, second = { .wakes = 0 }, third = { .wakes = 0 };

    join(t, &first, 0, "k", NULL);
    join(t, &second, 0, "k", NULL);
    join(t, &third, 0, "k", NULL);
    assert_true(wait_table_signal(t, 0, KV_STR("k")));
    wait_table_leave(t, &first.waiter); /* his timeout came at the same moment */
    assert_int_equal(second.wakes, 1);
    assert_int_equal(third.wakes, 0);
    wait_table_heard(t, &second.waiter);
    wait_table_leave(t, &second.waiter);
    assert_int_equal(third.wakes, 0);
    wait_table_leave(t, &third.waiter);
}

static void one_waits_for_several_keys_and_is_woken_once(void **state)
{
    wait_table *t = *state;
    person both = { .wakes = 0 }, one = { .wakes = 0 }, twice = { .wakes = 0 };

    join(t, &both, 0, "a", "b");
    join(t, &one, 0, "b", NULL);
    join(t, &twice, 0, "c", "c");
    assert_int_equal(wait_table_keys(t), 3);
    assert_true(wait_table_signal(t, 0, KV_STR("a")));
    assert_true(wait_table_signal(t, 0, KV_STR("b")));
    assert_int_equal(both.wakes, 1);
    assert_int_equal(one.wakes, 1);
    assert_true(wait_table_signal(t, 0, KV_STR("c")));
    assert_false(wait_table_signal(t, 0, KV_STR("c")));
    wait_table_leave(t, &both.waiter);
    wait_table_leave(t, &one.waiter);
    wait_table_leave(t, &twice.waiter);
    wait_table_leave(t, &twice.waiter); /* is nowhere any more */
}

static void keys_may_be_empty_and_binary(void **state)
{
    wait_table *t = *state;
    person p = { .waiter.wake = wake };
    kv_slice keys[2] = { KV_STR(""), KV_STR("a\0b") };

    assert_int_equal(wait_table_join(t, &p.waiter, 2, 3, keys), 0);
    assert_false(wait_table_signal(t, 3, KV_STR("a\0c")));
    assert_true(wait_table_signal(t, 3, KV_STR("a\0b")));
    wait_table_heard(t, &p.waiter);
    assert_true(wait_table_signal(t, 3, KV_STR("")));
    wait_table_leave(t, &p.waiter);
}

/* ---- many threads: nobody sleeps beside something that is there ---- */

enum { THREADS = 3, ROUNDS = 2000 };

struct market {
    wait_table *table;
    _Atomic int goods; /* under the one key */
    _Atomic int taken;
};

static bool take(struct market *m)
{
    int goods = atomic_load(&m->goods);

    while (goods > 0)
        if (atomic_compare_exchange_weak(&m->goods, &goods, goods - 1)) {
            atomic_fetch_add(&m->taken, 1);
            return true;
        }
    return false;
}

static void *buy(void *arg)
{
    struct market *m = arg;

    for (int i = 0; i < ROUNDS; i++) {
        person me = { .wakes = 0 };
        int seen = 0;
        bool served;

        join(m->table, &me, 0, "k", NULL);
        served = take(m); /* it may have come before we stood in the queue */
        while (!served) {
            while (atomic_load(&me.wakes) == seen)
                sched_yield();
            seen++;
            wait_table_heard(m->table, &me.waiter);
            served = take(m);
        }
        wait_table_leave(m->table, &me.waiter);
    }
    return NULL;
}

static void *sell(void *arg)
{
    struct market *m = arg;

    for (int i = 0; i < THREADS * ROUNDS; i++) {
        atomic_fetch_add(&m->goods, 1);
        wait_table_signal(m->table, 0, KV_STR("k"));
    }
    return NULL;
}

static void nobody_sleeps_beside_goods(void **state)
{
    struct market m = { .table = *state };
    pthread_t buyers[THREADS], seller;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&buyers[i], NULL, buy, &m), 0);
    assert_int_equal(pthread_create(&seller, NULL, sell, &m), 0);
    pthread_join(seller, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(buyers[i], NULL);
    assert_int_equal(m.taken, THREADS * ROUNDS);
    assert_int_equal(m.goods, 0);
}

#define on_table(test) cmocka_unit_test_setup_teardown(test, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_table(the_first_is_woken_first),      on_table(who_was_woken_in_vain_keeps_his_place),
        on_table(who_leaves_awake_passes_it_on), on_table(one_waits_for_several_keys_and_is_woken_once),
        on_table(keys_may_be_empty_and_binary),  on_table(nobody_sleeps_beside_goods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
