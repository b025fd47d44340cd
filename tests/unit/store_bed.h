/* store_bed.h - a store per test, of each way of sharing.
 *
 * Everything here fails the running test when it does not succeed. SPDX-License-Identifier: MIT */
#ifndef TESTS_STORE_BED_H
#define TESTS_STORE_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"

#define NOW 1700000000000

kv_store *new_store(kv_sharing sharing);
/* Runs body on a fresh store of each sharing, and checks the store afterwards. */
void on_each_sharing(void (*body)(kv_store *store));
/* expected NULL: there is no such key. */
void assert_value(kv_store *store, const char *key, const char *expected, int64_t now_ms);
void set(kv_store *store, const char *key, const char *value);

/* For kv_store_update: appends more; len is the length then. */
struct append {
    kv_slice more;
    size_t max_bytes, len;
};
KV_UNDER_LOCK int append_step(kv_slot *slot, void *arg);

/* The two ends of an epoch round an expression of the internal interface. */
#define IN_EPOCH(store, expression)                               \
    do {                                                          \
        assert_int_equal(epoch_enter(kv_store_domain(store)), 0); \
        expression;                                               \
        epoch_leave(kv_store_domain(store));                      \
    } while (0)

#endif
