/* actor_test.c - SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "actor.h"

/* A message that notes when it was run, and can hold the actor up until it is let go. */
struct note {
    actor_message message;
    int *order; /* the next number to give out: only the actor's thread touches it */
    int number;
    _Atomic bool *gate;
    _Atomic int *done;
};

static void note_run(actor_message *message)
{
    struct note *note = (struct note *)message;

    while (note->gate && !*note->gate)
        ;
    note->number = (*note->order)++;
}

static void note_done(actor_message *message)
{
    (*((struct note *)message)->done)++;
}

static void messages_run_in_the_order_of_posting(void **state)
{
    enum { N = 100 };
    kv_domain *domain = kv_domain_new(NULL);
    actor *a = actor_new(domain, N);
    struct note notes[N];
    _Atomic int done = 0;
    int order = 0;

    (void)state;
    assert_non_null(a);
    for (int i = 0; i < N; i++) {
        notes[i] = (struct note){ .message = { .run = note_run, .done = note_done },
                                  .order = &order,
                                  .done = &done };
        assert_true(actor_post(a, &notes[i].message));
    }
    actor_free(a); /* runs what is queued first */
    assert_int_equal(done, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(notes[i].number, i);
    kv_domain_unref(domain);
}

static void a_full_queue_refuses(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    actor *a = actor_new(domain, 2);
    _Atomic bool gate = false;
    _Atomic int done = 0;
    int order = 0;
    struct note notes[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        notes[i] = (struct note){
            .message = { .run = note_run, .done = note_done }, .order = &order, .gate = &gate, .done = &done
        };
    assert_true(actor_post(a, &notes[0].message));
    assert_true(actor_post(a, &notes[1].message));
    assert_false(actor_post(a, &notes[2].message));
    gate = true;
    actor_call(a, &notes[2].message); /* waits for room, then for its turn */
    assert_int_equal(notes[2].number, 2);
    actor_free(a);
    assert_int_equal(done, 2);
    kv_domain_unref(domain);
}

/* A thread's own note, and the actor it calls. */
struct caller {
    actor *actor;
    struct note note;
};

static void *call_rounds(void *arg)
{
    struct caller *caller = arg;

    for (int i = 0; i < 2000; i++)
        actor_call(caller->actor, &caller->note.message);
    return NULL;
}

static void calls_of_many_threads_run_one_at_a_time(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    actor *a = actor_new(domain, 2);
    pthread_t threads[3];
    struct caller callers[3];
    int order = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){ a, { .message = { .run = note_run }, .order = &order } };
        assert_int_equal(pthread_create(&threads[i], NULL, call_rounds, &callers[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    actor_free(a);
    assert_int_equal(order, 6000);
    kv_domain_unref(domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_run_in_the_order_of_posting),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(calls_of_many_threads_run_one_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
