/* aof_buffer_test.c - the order of what several threads tell, one step after the other.
 *
 * Writers take turns on one thread, so that it is known what was told when: whatever is taken, and carried out on copies
 * of the databases, makes them what the databases are at that moment. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aof_buffer.h"
#include "aof_replay.h"

#define DBS     2
#define WRITERS 3
#define KEYS    8
#define STEPS   20000
#define NOW     1

typedef struct scene {
    kv_domain *domain;
    kv_store *stores[DBS], *copies[DBS];
    aof_buffer buffer;
    aof_writer writers[WRITERS];
    int turn; /* whose */
    aof_replay replay;
    uint64_t rng;
    uint64_t told; /* values are never the same twice */
} scene;

static int db_of(const scene *s, const void *tag)
{
    return (int)((kv_store *const *)tag - s->stores);
}

KV_UNDER_LOCK static void note(void *arg, const kv_change *change)
{
    scene *s = arg;

    aof_buffer_note(&s->buffer, &s->writers[s->turn], change, db_of(s, change->tag),
                    change->other_tag ? db_of(s, change->other_tag) : 0);
}

KV_UNDER_LOCK static bool note_put(void *arg, const store_put_told *put)
{
    scene *s = arg;

    return aof_buffer_note_put(&s->buffer, &s->writers[s->turn], put, db_of(s, put->tag));
}

static int begin(void **state)
{
    scene *s = calloc(1, sizeof *s);
    kv_store_options options = { .domain = kv_domain_new(NULL) };

    assert_non_null(s);
    s->domain = options.domain;
    s->rng = 1;
    aof_buffer_init(&s->buffer);
    for (int i = 0; i < DBS; i++) {
        s->stores[i] = kv_store_new(&options);
        s->copies[i] = kv_store_new(&options);
        kv_store_on_change(s->stores[i], note, s, &s->stores[i]);
        store_on_put(s->stores[i], note_put, s);
    }
    s->replay.stores = s->copies;
    *state = s;
    return 0;
}

static int end(void **state)
{
    scene *s = *state;

    for (int i = 0; i < DBS; i++) {
        kv_store_unref(s->stores[i]);
        kv_store_unref(s->copies[i]);
    }
    kv_domain_unref(s->domain);
    for (int i = 0; i < WRITERS; i++)
        aof_writer_done(&s->writers[i]);
    aof_buffer_done(&s->buffer);
    free(s);
    return 0;
}

/* ---- what writers do ---- */

static void put(scene *s, int writer, int db, const char *key, const char *value)
{
    kv_slice pair[2] = { kv_str(key), kv_str(value) };
    uint64_t hash = store_key_of(s->stores[db], pair[0]).hash;
    map_hint hint;

    s->turn = writer;
    assert_int_equal(epoch_enter(s->domain), 0);
    store_prefetch(s->stores[db], 1, &hash, &hint);
    assert_int_equal(store_put_run(s->stores[db], 1, pair, 2, &hash, &hint, 0, NOW), 1);
    epoch_leave(s->domain);
}

static void put_two_as_one(scene *s, int writer, int db, const char *a, const char *b, const char *value)
{
    kv_slice pairs[4] = { kv_str(a), kv_str(value), kv_str(b), kv_str(value) };

    s->turn = writer;
    assert_int_equal(epoch_enter(s->domain), 0);
    assert_int_equal(store_put_many(s->stores[db], 2, pairs, NULL, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW),
                     0);
    epoch_leave(s->domain);
}

/* ---- what comes of it ---- */

static void assert_same(scene *s, int db, kv_slice key)
{
    kv_bytes *is = kv_store_get(s->stores[db], key, NOW), *copy = kv_store_get(s->copies[db], key, NOW);

    assert_int_equal(is != NULL, copy != NULL);
    if (is)
        assert_true(kv_slice_equal(kv_bytes_slice(is), kv_bytes_slice(copy)));
    kv_bytes_unref(is);
    kv_bytes_unref(copy);
}

static void assert_copies_are_alike(scene *s)
{
    for (int db = 0; db < DBS; db++) {
        assert_int_equal(kv_store_count(s->stores[db]), kv_store_count(s->copies[db]));
        for (int i = 0; i < KEYS; i++) {
            char key[16];

            snprintf(key, sizeof key, "k%d", i);
            assert_same(s, db, kv_str(key));
        }
    }
}

static void carry_out(scene *s, aof_queue *queue)
{
    assert_true(aof_replay_run(&s->replay, queue));
    aof_buffer_give_back(&s->buffer, queue);
    assert_copies_are_alike(s);
}

static void take(scene *s)
{
    aof_queue queue = { 0 };
    uint64_t end;

    assert_int_equal(aof_buffer_take(&s->buffer, &queue, &end), AOF_TAKEN);
    assert_int_equal(end, aof_buffer_appended(&s->buffer));
    for (int i = 0; i < WRITERS; i++)
        assert_false(aof_writer_waits(&s->writers[i]));
    carry_out(s, &queue);
}

/* At the moment of a snapshot: what was told before, and what is told after it. */
static void seal(scene *s)
{
    aof_queue queue = { 0 };
    uint64_t end;

    aof_buffer_seal(&s->buffer);
    assert_int_equal(aof_buffer_take(&s->buffer, &queue, &end), AOF_SEALED);
    assert_int_equal(aof_buffer_take_sealed(&s->buffer, &queue, &end), AOF_TAKEN);
    assert_int_equal(end, aof_buffer_appended(&s->buffer));
    carry_out(s, &queue);
    aof_buffer_open(&s->buffer);
    s->replay.db = 1; /* of another file nobody knows what is selected */
}

/* ---- tests ---- */

/* Bytes in the stagings, of all that was told. */
static uint64_t staged(const scene *s)
{
    return aof_buffer_appended(&s->buffer) - atomic_load(&((scene *)s)->buffer.appended);
}

static void the_last_of_several_writers_is_the_last_in_the_log(void **state)
{
    scene *s = *state;

    for (int round = 0; round < 2; round++)
        for (int first = 0; first < WRITERS; first++)
            for (int second = 0; second < WRITERS; second++) {
                put(s, first, 0, "k1", "one");
                put(s, second, 0, "k1", "two");
                take(s);
                put(s, first, 0, "k2", "one");
                put(s, second, 0, "k3", "two");
                put(s, first, 0, "k3", "three");
                put(s, second, 0, "k3", "four");
                take(s);
            }
    assert_true(staged(s) > 0 && staged(s) < aof_buffer_appended(&s->buffer));
}

static void a_put_of_a_key_that_was_deleted_stays_behind_that(void **state)
{
    scene *s = *state;

    put(s, 0, 0, "k1", "one");
    take(s);
    for (int writer = 0; writer < WRITERS; writer++) {
        s->turn = 1;
        assert_int_equal(kv_store_delete(s->stores[0], KV_STR("k1"), NULL, NOW), 0);
        put(s, writer, 0, "k1", "two");
        take(s);
    }
}

static void puts_of_several_databases_are_told_apart(void **state)
{
    scene *s = *state;

    for (int i = 0; i < 8; i++) {
        put(s, 0, i & 1, "k1", "a");
        put(s, 1, i >> 1 & 1, "k2", "b");
        put(s, 1, i >> 2 & 1, "k3", "c");
        put(s, 2, i & 1, "k1", "d");
        take(s);
    }
}

static void puts_while_a_map_grows_keep_their_order(void **state)
{
    scene *s = *state;
    char key[32];

    put(s, 0, 0, "k1", "one");
    put(s, 0, 0, "k2", "one");
    for (int i = 0; i < 20000; i++) { /* one shard becomes many */
        snprintf(key, sizeof key, "other-%d", i);
        put(s, 0, 0, key, "x");
    }
    put(s, 1, 0, "k1", "two");
    put(s, 2, 0, "k2", "two");
    take(s);
}

static void values_that_are_long_are_told_in_their_place(void **state)
{
    static char text[3][40000];
    const size_t lengths[3] = { 300, 5000, sizeof text[0] - 1 };
    scene *s = *state;

    for (int i = 0; i < 3; i++)
        memset(text[i], 'a' + i, lengths[i]);
    for (int i = 0; i < 9; i++) {
        put(s, i % WRITERS, 0, "k1", text[i % 3]);
        put(s, (i + 1) % WRITERS, 0, "k1", text[i / 3]);
        put(s, (i + 2) % WRITERS, 0, "k2", text[i / 3]);
        take(s);
    }
}

static void what_is_dropped_is_not_told_later(void **state)
{
    scene *s = *state;

    put(s, 0, 1, "k1", "one");
    put(s, 1, 1, "k1", "two");
    aof_buffer_clear(&s->buffer);
    assert_int_equal(kv_store_set(s->copies[1], KV_STR("k1"), KV_STR("two"), NULL, NOW, NULL), 0);
    assert_false(aof_writer_waits(&s->writers[0]));
    put(s, 0, 1, "k2", "three");
    take(s);
    assert_int_equal(s->replay.commands, 2); /* SELECT, SET */
}

static unsigned draw(scene *s, unsigned below)
{
    s->rng = s->rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(s->rng >> 33) % below;
}

static void step(scene *s)
{
    char key[16], other[16], value[64];
    int db = draw(s, 5) == 0, writer = (int)draw(s, WRITERS);
    unsigned what = draw(s, 100);

    snprintf(key, sizeof key, "k%u", draw(s, KEYS));
    snprintf(other, sizeof other, "k%u", draw(s, KEYS));
    snprintf(value, sizeof value, "%0*llu", (int)(1 + draw(s, 40)), (unsigned long long)s->told++);
    s->turn = writer;
    if (what < 80)
        put(s, writer, db, key, value);
    else if (what < 84)
        kv_store_delete(s->stores[db], kv_str(key), NULL, NOW);
    else if (what < 86)
        assert_int_equal(kv_store_set(s->stores[db], kv_str(key), kv_str(value), NULL, NOW, NULL), 0);
    else if (what < 88)
        put_two_as_one(s, writer, db, key, other, value);
    else if (what < 89 && draw(s, 4) == 0)
        assert_int_equal(store_clear(s->stores[db], draw(s, 2)), 0);
    else if (what < 90 && draw(s, 4) == 0)
        store_swap(s->stores[0], s->stores[1], NOW);
    else if (what < 91)
        seal(s);
    else
        take(s);
}

static void whatever_was_told_the_log_comes_to_the_same(void **state)
{
    scene *s = *state;

    for (int i = 0; i < STEPS; i++)
        step(s);
    take(s);
    assert_true(staged(s) > 0 && staged(s) < aof_buffer_appended(&s->buffer));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_of_several_writers_is_the_last_in_the_log),
        TEST(a_put_of_a_key_that_was_deleted_stays_behind_that),
        TEST(puts_of_several_databases_are_told_apart),
        TEST(puts_while_a_map_grows_keep_their_order),
        TEST(values_that_are_long_are_told_in_their_place),
        TEST(what_is_dropped_is_not_told_later),
        TEST(whatever_was_told_the_log_comes_to_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
