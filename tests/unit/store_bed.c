/* store_bed.c - see store_bed.h. SPDX-License-Identifier: MIT */
#include "store_bed.h"

static const kv_sharing all_sharings[] = { KV_SHARING_SHARDED, KV_SHARING_MUTEX, KV_SHARING_ACTOR };

kv_store *new_store(kv_sharing sharing)
{
    kv_store_options options = { .sharing = sharing };
    kv_store *store = kv_store_new(&options);

    assert_non_null(store);
    return store;
}

void on_each_sharing(void (*body)(kv_store *store))
{
    for (size_t i = 0; i < sizeof all_sharings / sizeof all_sharings[0]; i++) {
        kv_store *store = new_store(all_sharings[i]);

        body(store);
        store_check(store);
        kv_store_unref(store);
    }
}

void assert_value(kv_store *store, const char *key, const char *expected, int64_t now_ms)
{
    kv_bytes *value = kv_store_get(store, kv_str(key), now_ms);

    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_true(kv_slice_equal(kv_bytes_slice(value), kv_str(expected)));
    kv_bytes_unref(value);
}

void set(kv_store *store, const char *key, const char *value)
{
    assert_int_equal(kv_store_set(store, kv_str(key), kv_str(value), NULL, NOW, NULL), 0);
}

KV_UNDER_LOCK int append_step(kv_slot *slot, void *arg)
{
    struct append *append = arg;

    return kv_slot_append(slot, append->more, append->max_bytes, &append->len);
}
