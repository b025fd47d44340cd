/* aof_group_test.c - how long a sync waits for company, in simulated time.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aof_group.h"

enum { sync_us = 4000 };

typedef struct clients {
    aof_group group;
    uint64_t random;
    uint64_t now_us, kept, waited_us, syncs, served;
    uint64_t due_us[64]; /* when client i writes next; UINT64_MAX: its reply is kept */
    int count;
} clients;

/* Lets time pass: writes that are due by then are kept. */
static void pass(clients *c, uint64_t until_us)
{
    for (int i = 0; i < c->count; i++)
        if (c->due_us[i] <= until_us) {
            c->due_us[i] = UINT64_MAX;
            c->kept++;
        }
    c->now_us = until_us;
}

/* One turn of the task. The replies that are kept when it takes its group are released, and those clients write again after so long,
 * and up to spread_us more. */
static void sync_once(clients *c, uint64_t again_us, uint64_t spread_us)
{
    uint64_t patience_us = aof_group_patience(&c->group, c->kept) / 1000, before = c->kept,
             start_us = c->now_us, taken_at;
    bool in_group[64];

    while (c->kept < c->group.expected && c->now_us - start_us < patience_us)
        pass(c, c->now_us + 10);
    if (patience_us)
        aof_group_waited(&c->group, before, c->kept, (c->now_us - start_us) * 1000);
    c->waited_us += c->now_us - start_us;
    taken_at = c->kept;
    for (int i = 0; i < c->count; i++)
        in_group[i] = c->due_us[i] == UINT64_MAX;
    pass(c, c->now_us + sync_us);
    for (int i = 0; i < c->count; i++)
        if (in_group[i]) {
            c->random = c->random * 6364136223846793005u + 1442695040888963407u;
            c->due_us[i] = c->now_us + again_us + (c->random >> 33) % (spread_us + 1);
            c->served++;
        }
    c->syncs++;
    aof_group_released(&c->group, taken_at, c->kept, (uint64_t)sync_us * 1000);
}

static void who_comes_back_soon_shares_each_sync(void **state)
{
    clients c = { .count = 50 };

    (void)state;
    for (int i = 0; i < c.count; i++) /* two halves */
        c.due_us[i] = i < 25 ? 0 : 1000;
    pass(&c, 0);
    for (int i = 0; i < 10; i++)
        sync_once(&c, 200, 0);
    c.served = c.syncs = 0;
    for (int i = 0; i < 100; i++)
        sync_once(&c, 200, 0);
    assert_int_equal(c.served, 50 * c.syncs);
}

static void who_does_not_come_back_is_seldom_waited_for(void **state)
{
    clients c = { .count = 60 };

    (void)state;
    for (int i = 0; i < c.count; i++)
        c.due_us[i] = (uint64_t)i * 997;
    for (int i = 0; i < 1000; i++)
        sync_once(&c, 0, 120000);
    assert_true(c.waited_us < c.now_us / 10);
}

static void one_client_is_never_waited_for(void **state)
{
    clients c = { .count = 1 };

    (void)state;
    for (int i = 0; i < 100; i++) {
        pass(&c, c.due_us[0] > c.now_us ? c.due_us[0] : c.now_us); /* the task sleeps until it is asked */
        sync_once(&c, 50, 0);
    }
    assert_int_equal(c.waited_us, 0);
    assert_int_equal(c.served, 100);
}

static void those_who_are_soon_back_again_are_waited_for_again(void **state)
{
    clients c = { .count = 50 };

    (void)state;
    for (int i = 0; i < c.count; i++)
        c.due_us[i] = (uint64_t)i * 80;
    for (int i = 0; i < 200; i++)
        sync_once(&c, 30000, 0); /* it learns that waiting is in vain */
    for (int i = 0; i < 60; i++)
        sync_once(&c, 100, 0);
    c.served = c.syncs = 0;
    for (int i = 0; i < 100; i++)
        sync_once(&c, 100, 0);
    assert_int_equal(c.served, 50 * c.syncs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_back_soon_shares_each_sync),
        cmocka_unit_test(who_does_not_come_back_is_seldom_waited_for),
        cmocka_unit_test(one_client_is_never_waited_for),
        cmocka_unit_test(those_who_are_soon_back_again_are_waited_for_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
