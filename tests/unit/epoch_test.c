/* epoch_test.c - nothing is released while a thread that could see it is inside. A second thread is led
 * step by step, so nothing here depends on time. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>

#include "domain.h"

static size_t released;

static void release(kv_domain *domain, void *memory)
{
    slab_free(domain, memory, 64);
    released++;
}

static void enter(kv_domain *domain)
{
    if (epoch_enter(domain))
        abort();
    epoch_leave(domain);
}

/* Retires one block, in an epoch of its own. */
static void retire(kv_domain *domain)
{
    void *block = slab_alloc(domain, 64);

    assert_non_null(block);
    if (epoch_enter(domain))
        abort();
    epoch_retire(domain, block, 64, release);
    epoch_leave(domain);
}

/* As many tries as would release anything that may be released. */
static void try_hard(kv_domain *domain)
{
    for (int i = 0; i < 10; i++)
        epoch_reclaim(domain);
}

/* ---- another thread, that does one thing when told ---- */

typedef enum order { ENTER, LEAVE, REGISTER, QUIESCE, OFFLINE, ONLINE, UNREGISTER, RETIRE, STOP } order;

typedef struct puppet {
    kv_domain *domain;
    pthread_t thread;
    sem_t told, done;
    order order;
} puppet;

KV_UNCHECKED static void obey(puppet *p)
{
    switch (p->order) {
    case ENTER:
        if (epoch_enter(p->domain))
            abort();
        break;
    case LEAVE:
        epoch_leave(p->domain);
        break;
    case REGISTER:
        if (kv_thread_register(p->domain))
            abort();
        break;
    case QUIESCE:
        kv_thread_quiesce(p->domain);
        break;
    case OFFLINE:
        kv_thread_offline(p->domain);
        break;
    case ONLINE:
        kv_thread_online(p->domain);
        break;
    case UNREGISTER:
        kv_thread_unregister(p->domain);
        break;
    case RETIRE:
        retire(p->domain);
        break;
    case STOP:
        break;
    }
}

static void *puppet_main(void *arg)
{
    puppet *p = arg;
    bool last = false;

    while (!last) {
        sem_wait(&p->told);
        obey(p);
        last = p->order == STOP;
        sem_post(&p->done);
    }
    return NULL;
}

static void tell(puppet *p, order what)
{
    p->order = what;
    sem_post(&p->told);
    sem_wait(&p->done);
}

static void puppet_start(puppet *p, kv_domain *domain)
{
    p->domain = domain;
    sem_init(&p->told, 0, 0);
    sem_init(&p->done, 0, 0);
    assert_int_equal(pthread_create(&p->thread, NULL, puppet_main, p), 0);
}

static void puppet_stop(puppet *p)
{
    tell(p, STOP);
    pthread_join(p->thread, NULL);
    sem_destroy(&p->told);
    sem_destroy(&p->done);
}

static int set_up(void **state)
{
    released = 0;
    *state = kv_domain_new(NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    kv_domain_unref(*state);
    return 0;
}

/* ---- the tests ---- */

static void what_is_retired_is_released_after_two_epochs(void **state)
{
    epoch_stats before, after;

    epoch_read_stats(*state, &before);
    retire(*state);
    epoch_reclaim(*state);
    assert_int_equal(released, 0);
    epoch_read_stats(*state, &after);
    assert_int_equal(after.retired_bytes, 64);
    try_hard(*state);
    assert_int_equal(released, 1);
    epoch_read_stats(*state, &after);
    assert_int_equal(after.retired_bytes, 0);
    assert_true(after.epoch >= before.epoch + 2);
}

static void a_reader_inside_holds_what_it_could_see(void **state)
{
    puppet reader;

    puppet_start(&reader, *state);
    tell(&reader, ENTER);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 0);
    epoch_stats stats;
    epoch_read_stats(*state, &stats);
    assert_int_equal(stats.stalled_threads, 1);
    tell(&reader, LEAVE);
    try_hard(*state);
    assert_int_equal(released, 1);
    epoch_read_stats(*state, &stats);
    assert_int_equal(stats.stalled_threads, 0);
    puppet_stop(&reader);
}

static void enters_nest(void **state)
{
    puppet reader;

    puppet_start(&reader, *state);
    tell(&reader, ENTER);
    tell(&reader, ENTER);
    tell(&reader, LEAVE);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 0);
    tell(&reader, LEAVE);
    try_hard(*state);
    assert_int_equal(released, 1);
    puppet_stop(&reader);
}

static void a_reader_that_comes_later_holds_nothing_for_long(void **state)
{
    puppet reader;

    puppet_start(&reader, *state);
    retire(*state);
    epoch_reclaim(*state); /* sealed */
    epoch_reclaim(*state);
    tell(&reader, ENTER); /* in an epoch that knows it unlinked */
    try_hard(*state);
    assert_int_equal(released, 1);
    tell(&reader, LEAVE);
    puppet_stop(&reader);
}

static void a_registered_thread_holds_until_it_quiesces(void **state)
{
    puppet loop;

    puppet_start(&loop, *state);
    tell(&loop, REGISTER);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 0);
    for (int i = 0; i < 3; i++) {
        tell(&loop, QUIESCE);
        epoch_reclaim(*state);
    }
    assert_int_equal(released, 1);
    tell(&loop, UNREGISTER);
    puppet_stop(&loop);
}

static void a_registered_thread_that_is_offline_holds_nothing(void **state)
{
    puppet loop;

    puppet_start(&loop, *state);
    tell(&loop, REGISTER);
    tell(&loop, OFFLINE);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 1);
    tell(&loop, ONLINE);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 1);
    tell(&loop, UNREGISTER);
    try_hard(*state);
    assert_int_equal(released, 2);
    puppet_stop(&loop);
}

static void registering_nests(void **state)
{
    puppet loop;

    puppet_start(&loop, *state);
    tell(&loop, REGISTER);
    tell(&loop, REGISTER);
    tell(&loop, UNREGISTER);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 0);
    tell(&loop, UNREGISTER);
    try_hard(*state);
    assert_int_equal(released, 1);
    puppet_stop(&loop);
}

static void what_an_exited_thread_retired_is_released_by_others(void **state)
{
    puppet writer;

    puppet_start(&writer, *state);
    for (int i = 0; i < 300; i++)
        tell(&writer, RETIRE);
    puppet_stop(&writer);
    try_hard(*state);
    enter(*state);
    try_hard(*state);
    assert_int_equal(released, 300);
    epoch_stats stats;
    epoch_read_stats(*state, &stats);
    assert_int_equal(stats.retired_bytes, 0);
}

static void drain_waits_for_everything(void **state)
{
    for (int i = 0; i < 1000; i++)
        retire(*state);
    epoch_drain(*state);
    assert_int_equal(released, 1000);
}

static void an_exited_reader_holds_nothing(void **state)
{
    puppet reader;

    puppet_start(&reader, *state);
    tell(&reader, ENTER);
    tell(&reader, LEAVE);
    puppet_stop(&reader);
    retire(*state);
    try_hard(*state);
    assert_int_equal(released, 1);
}

static void much_retired_is_released_without_asking(void **state)
{
    for (int i = 0; i < 100000; i++)
        retire(*state);
    assert_true(released > 90000);
}

static void the_end_of_a_domain_releases_the_rest(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    puppet other;

    (void)state;
    assert_non_null(domain);
    puppet_start(&other, domain);
    tell(&other, RETIRE);
    for (int i = 0; i < 10; i++)
        retire(domain);
    kv_domain_unref(domain);
    assert_int_equal(released, 11);
    puppet_stop(&other); /* its record outlives the domain */
}

static void a_thread_may_be_in_several_domains(void **state)
{
    kv_domain *other = kv_domain_new(NULL);

    assert_non_null(other);
    if (epoch_enter(*state))
        abort();
    retire(other);
    try_hard(other);
    assert_int_equal(released, 1); /* being inside one holds nothing of the other */
    epoch_leave(*state);
    kv_domain_unref(other);
    other = kv_domain_new(NULL); /* perhaps at the same address */
    assert_non_null(other);
    retire(other);
    try_hard(other);
    assert_int_equal(released, 2);
    kv_domain_unref(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_retired_is_released_after_two_epochs),
        TEST(a_reader_inside_holds_what_it_could_see),
        TEST(enters_nest),
        TEST(a_reader_that_comes_later_holds_nothing_for_long),
        TEST(a_registered_thread_holds_until_it_quiesces),
        TEST(a_registered_thread_that_is_offline_holds_nothing),
        TEST(registering_nests),
        TEST(what_an_exited_thread_retired_is_released_by_others),
        TEST(drain_waits_for_everything),
        TEST(an_exited_reader_holds_nothing),
        TEST(much_retired_is_released_without_asking),
        TEST(the_end_of_a_domain_releases_the_rest),
        TEST(a_thread_may_be_in_several_domains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
