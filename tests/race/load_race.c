/* load_race.c - the commands of a log on several threads, while others look at the databases, as INFO does: what comes of it is
 * what one thread makes of it.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aof_apply.h"

#define NOW      1700000000000
#define KEYS     300
#define COMMANDS 6000
#define READERS  2

typedef struct place {
    kv_domain *domain;
    kv_store *stores[2];
    kv_databases databases;
    atomic_bool ended;
} place;

/* In a domain of its own, or in that of another. */
static void open_place(place *p, const place *other)
{
    *p = (place){ .domain = other ? kv_domain_ref(other->domain) : kv_domain_new(NULL) };
    for (int i = 0; i < 2; i++)
        p->stores[i] = kv_store_new(&(kv_store_options){ .domain = p->domain });
    p->databases = (kv_databases){ .stores = p->stores, .count = 2 };
}

static void close_place(place *p)
{
    for (int i = 0; i < 2; i++)
        kv_store_unref(p->stores[i]);
    kv_domain_unref(p->domain);
}

static void see(void *arg, const entry *e)
{
    *(size_t *)arg += entry_value(e, NULL).len;
}

/* Walks and counts, for as long as the loading takes. */
static void *look(void *arg)
{
    place *p = arg;
    size_t seen = 0;
    kv_stats stats;

    while (!atomic_load(&p->ended))
        for (int i = 0; i < 2; i++) {
            uint64_t cursor = 0;

            assert_int_equal(epoch_enter(p->domain), 0);
            do
                cursor = store_scan(p->stores[i], cursor, see, &seen, NOW);
            while (cursor);
            epoch_leave(p->domain);
            store_read_stats(p->stores[i], &stats, NOW);
            assert_true(store_count(p->stores[i]) <= KEYS);
        }
    return NULL;
}

/* Changes of each key by turns, and now and then something that concerns several. */
static char *make_log(size_t *ret_len)
{
    char *bytes = NULL;
    FILE *out = open_memstream(&bytes, ret_len);

    assert_non_null(out);
    for (int i = 0; i < COMMANDS; i++) {
        char key[16], other[16];

        sprintf(key, "k%d", i % KEYS);
        sprintf(other, "k%d", (i * 7 + 1) % KEYS);
        if (i % 1500 == 1499)
            fprintf(out, "*3\r\n$6\r\nSWAPDB\r\n$1\r\n0\r\n$1\r\n1\r\n");
        else if (i % 500 == 499)
            fprintf(out, "*5\r\n$4\r\nMSET\r\n$%zu\r\n%s\r\n$1\r\n1\r\n$%zu\r\n%s\r\n$1\r\n2\r\n",
                    strlen(key), key, strlen(other), other);
        else if (i % 11 == 10)
            fprintf(out, "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n", strlen(key), key);
        else if (i % 3)
            fprintf(out, "*3\r\n$6\r\nAPPEND\r\n$%zu\r\n%s\r\n$1\r\nx\r\n", strlen(key), key);
        else
            fprintf(out, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$4\r\n%04d\r\n", strlen(key), key, i % 10000);
    }
    fclose(out);
    return bytes;
}

static void load(place *p, kv_slice bytes, int threads)
{
    aof_apply apply;

    aof_apply_init(&apply, &(aof_apply_options){
                               .databases = &p->databases, .now_ms = NOW, .threads = threads, .alone = 5 });
    assert_int_equal(aof_apply_run(&apply, bytes, 0), 0);
    assert_int_equal(aof_apply_end_file(&apply), 0);
    assert_int_equal(apply.commands, COMMANDS);
    aof_apply_done(&apply);
}

typedef struct comparison {
    kv_store *other;
    size_t found;
} comparison;

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void compare(void *arg, const entry *e)
{
    comparison *c = arg;
    const entry *its = store_find(c->other, store_key_of(c->other, entry_key(e)), NOW);
    kv_slice value = entry_value(e, NULL);

    assert_non_null(its);
    assert_true(kv_slice_equal(value, entry_value(its, NULL)));
    c->found++;
}

static void assert_same(place *a, place *b)
{
    for (int i = 0; i < 2; i++) {
        comparison c = { .other = b->stores[i] };
        uint64_t cursor = 0;

        assert_int_equal(epoch_enter(a->domain), 0);
        do
            cursor = store_scan(a->stores[i], cursor, compare, &c, NOW);
        while (cursor);
        assert_true(c.found >= store_count(a->stores[i]));
        assert_int_equal(store_count(a->stores[i]), store_count(b->stores[i]));
        epoch_leave(a->domain);
        store_check(a->stores[i]);
    }
}

static void readers_do_not_disturb_it(void **state)
{
    size_t len;
    char *bytes = make_log(&len);
    place one;

    (void)state;
    open_place(&one, NULL);
    load(&one, kv_slice_of(bytes, len), 0);
    for (int round = 0; round < 4; round++) {
        pthread_t readers[READERS];
        place several;

        open_place(&several, &one);
        for (int i = 0; i < READERS; i++)
            assert_int_equal(pthread_create(&readers[i], NULL, look, &several), 0);
        load(&several, kv_slice_of(bytes, len), 1 + round);
        atomic_store(&several.ended, true);
        for (int i = 0; i < READERS; i++)
            pthread_join(readers[i], NULL);
        assert_same(&several, &one);
        close_place(&several);
    }
    close_place(&one);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(readers_do_not_disturb_it) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
