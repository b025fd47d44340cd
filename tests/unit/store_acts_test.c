/* store_acts_test.c - acts on several keys, through the internal verbs, and what is told of changes. SPDX-License-Identifier: MIT */
#include "store_bed.h"

#include <stdio.h>

/* ---- acts on several keys ---- */

static void put_many_is_all_or_nothing(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice pairs[] = { KV_STR("a"), KV_STR("1"), KV_STR("b"), KV_STR("2"), KV_STR("a"), KV_STR("3") };
    int err = -1;

    (void)state;
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, NULL, STORE_PUT_IF_ALL, KV_FOREVER, false, NOW));
    assert_int_equal(err, KV_ECOND);
    assert_int_equal(kv_store_count(store), 0);
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, NULL, STORE_PUT_IF_NONE, NOW + 5, false, NOW));
    assert_int_equal(err, 0);
    assert_value(store, "a", "3", NOW);
    assert_value(store, "b", "2", NOW);
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, NULL, STORE_PUT_IF_NONE, KV_FOREVER, false, NOW));
    assert_int_equal(err, KV_ECOND);
    IN_EPOCH(store, err = store_put_many(store, 2, pairs, NULL, STORE_PUT_ALWAYS, KV_FOREVER, true, NOW));
    assert_int_equal(err, 0);
    assert_value(store, "a", "1", NOW + 4);
    assert_value(store, "a", NULL, NOW + 5); /* the deadline was kept */
    store_check(store);
    kv_store_unref(store);
}

static void pairs_are_made_ready_in_steps_and_put_at_once(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice pairs[] = { KV_STR("a"), KV_STR("1"), KV_STR("b"), KV_STR("2"), KV_STR("c"), KV_STR("3") };
    store_puts *puts = store_puts_new(store, 3);
    int err = -1;

    (void)state;
    store_puts_free(puts); /* nobody wants it any more: before anything was done, */
    puts = store_puts_new(store, 3);
    assert_int_equal(store_puts_prepare(puts, 2, pairs, NULL, KV_FOREVER, NOW), 0);
    store_puts_free(puts); /* and half done */
    store_puts_free(NULL);
    puts = store_puts_new(store, 3);
    assert_int_equal(store_puts_prepare(puts, 2, pairs, NULL, KV_FOREVER, NOW), 0);
    assert_false(store_puts_ready(puts));
    assert_int_equal(kv_store_count(store), 0);
    set(store, "c", "meanwhile");
    assert_int_equal(store_puts_prepare(puts, 2, pairs, NULL, KV_FOREVER, NOW), 0);
    assert_true(store_puts_ready(puts));
    IN_EPOCH(store, err = store_puts_commit(puts, pairs, STORE_PUT_IF_NONE, false, NOW));
    assert_int_equal(err, KV_ECOND);
    assert_int_equal(kv_store_count(store), 1);
    IN_EPOCH(store, err = store_puts_commit(puts, pairs, STORE_PUT_ALWAYS, false, NOW));
    assert_int_equal(err, 0);
    store_puts_free(puts);
    assert_value(store, "a", "1", NOW);
    assert_value(store, "c", "3", NOW);
    assert_int_equal(kv_store_count(store), 3);
    store_check(store);
    kv_store_unref(store);
}

static void delete_many_counts_each_key_once(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice names[] = { KV_STR("a"), KV_STR("b"), KV_STR("a"), KV_STR("none") };
    size_t removed = 0;

    (void)state;
    set(store, "a", "1");
    set(store, "b", "1");
    IN_EPOCH(store, assert_int_equal(store_delete_many(store, 4, names, &removed, NOW), 0));
    assert_int_equal(removed, 2);
    assert_int_equal(kv_store_count(store), 0);
    kv_store_unref(store);
}

static int transfer(kv_store *from, const char *a, kv_store *to, const char *b, store_transfer how,
                    bool replace)
{
    int err = 0;

    IN_EPOCH(from, err = store_transfer_key(from, store_key_of(from, kv_str(a)), to,
                                            store_key_of(to, kv_str(b)), how, replace, NOW));
    return err;
}

static void transfer_takes_value_and_deadline_along(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    kv_store_options options = { .domain = domain };
    kv_store *one = kv_store_new(&options), *two = kv_store_new(&options);

    (void)state;
    assert_non_null(one);
    assert_non_null(two);
    set(one, "a", "1");
    assert_int_equal(kv_store_expire(one, KV_STR("a"), NOW + 5, NOW), 0);
    assert_int_equal(transfer(one, "a", one, "a", STORE_MOVE, true), KV_ESAMEKEY);
    assert_int_equal(transfer(one, "none", one, "b", STORE_MOVE, true), KV_ENOKEY);
    assert_int_equal(transfer(one, "a", one, "b", STORE_MOVE, false), 0);
    assert_value(one, "a", NULL, NOW);
    assert_value(one, "b", "1", NOW + 4);
    assert_int_equal(transfer(one, "b", two, "b", STORE_COPY, false), 0);
    assert_int_equal(transfer(one, "b", two, "b", STORE_MOVE, false), KV_ECOND);
    assert_int_equal(transfer(one, "b", two, "b", STORE_MOVE, true), 0);
    assert_int_equal(kv_store_count(one), 0);
    assert_value(two, "b", "1", NOW);
    store_swap(one, two, 0);
    assert_value(one, "b", "1", NOW);
    assert_value(one, "b", NULL, NOW + 5);
    assert_int_equal(kv_store_count(two), 0);
    kv_store_unref(one);
    kv_store_unref(two);
    kv_domain_unref(domain);
}

/* ---- changes ---- */

struct transcript {
    char text[1024];
    size_t len;
};

KV_UNDER_LOCK static void write_change(void *arg, const kv_change *c)
{
    static const char *const names[] = { "set",   "append", "deadline", "delete", "expire",
                                         "evict", "clear",  "swap",     "begin",  "end" };
    struct transcript *t = arg;

    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s %.*s %.*s\n", names[c->kind],
                               (int)c->key.len, c->key.data, (int)c->value.len, c->value.data);
}

static void every_write_tells_the_state_it_reached(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    struct transcript t = { .len = 0 };
    struct append append = { .more = KV_STR("de"), .max_bytes = 100 };
    kv_slice pairs[] = { KV_STR("x"), KV_STR("1"), KV_STR("y"), KV_STR("2") };

    (void)state;
    kv_store_on_change(store, write_change, &t, NULL);
    set(store, "k", "abc");
    assert_int_equal(kv_store_update(store, KV_STR("k"), append_step, &append, NOW), 0);
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 5, NULL, NOW), 0);
    assert_int_equal(kv_store_increment(store, KV_STR("k"), 5, NULL, NOW), KV_ENOTINT);
    assert_int_equal(kv_store_expire(store, KV_STR("n"), NOW + 5, NOW), 0);
    assert_int_equal(kv_store_expire_cycle(store, NOW + 5, 0), 1);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), NULL, NOW), 0);
    IN_EPOCH(store, assert_int_equal(
                        store_put_many(store, 2, pairs, NULL, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW), 0));
    assert_int_equal(kv_store_clear(store), 0);
    assert_string_equal(t.text, "set k abc\nappend k de\nset n 5\ndeadline n \nexpire n \ndelete k \n"
                                "begin  \nset x 1\nset y 2\nend  \nclear  \n");
    kv_store_unref(store);
}

/* Whether a reader without a lock may have seen what was not told yet. */
struct span {
    _Atomic uint64_t steps; /* odd: within one */
    size_t outside;
};

static _Atomic uint64_t *show_span(void *arg)
{
    return &((struct span *)arg)->steps;
}

KV_UNDER_LOCK static void told_in_span(void *arg, const kv_change *c)
{
    struct span *span = arg;

    (void)c;
    span->outside += span->steps % 2 == 0;
}

static void a_single_change_is_told_within_a_span(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    struct span span = { .outside = 0 };
    entry_parts parts = { .key = KV_STR("r"), .value = KV_STR("1"), .deadline_ms = KV_FOREVER };
    uint64_t rng = 1;
    size_t bytes;

    (void)state;
    kv_store_on_change(store, told_in_span, &span, NULL);
    store_on_span(store, show_span, &span);
    set(store, "k", "abc");
    assert_int_equal(span.steps, 0);
    assert_int_equal(span.outside, 1);
    store_set_spans(store, true);
    set(store, "k", "abd");
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 5, NULL, NOW), 0);
    IN_EPOCH(store,
             assert_int_equal(store_restore(store, store_key_of(store, parts.key), &parts, 9, NOW), 0));
    assert_true(store_evict(store, STORE_EVICT_RANDOM, false, 5, &rng, NOW, 1, &bytes) > 0);
    assert_int_equal(span.steps, 2 * 4);
    assert_int_equal(span.outside, 1);
    kv_store_unref(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_many_is_all_or_nothing),
        cmocka_unit_test(pairs_are_made_ready_in_steps_and_put_at_once),
        cmocka_unit_test(delete_many_counts_each_key_once),
        cmocka_unit_test(transfer_takes_value_and_deadline_along),
        cmocka_unit_test(every_write_tells_the_state_it_reached),
        cmocka_unit_test(a_single_change_is_told_within_a_span),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
