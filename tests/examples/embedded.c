/* embedded.c - a program that keeps its state in a kv_store.
 *
 *     cc embedded.c $(pkg-config --cflags --libs kvstore) -o embedded && ./embedded
 *
 * SPDX-License-Identifier: MIT */
#include <kvstore/kvstore.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void check(int err)
{
    if (err == KV_OK)
        return;
    fprintf(stderr, "%s\n", kv_error_text(err));
    exit(1);
}

/* Compare and set: read value and version, compute, write if nobody wrote meanwhile; else again. */
static void shout(kv_store *store, kv_slice key)
{
    char name[64];
    kv_meta meta;
    int err;

    do {
        check(kv_store_copy(store, key, name, sizeof name - 1, &meta, now_ms()));
        name[meta.len] = '!';
        err = kv_store_set(store, key, kv_slice_of(name, meta.len + 1),
                           &(kv_set_options){ .condition = KV_IF_VERSION, .version = meta.version }, now_ms(),
                           NULL);
    } while (err == KV_ECOND);
    check(err);
}

int main(void)
{
    kv_store *store = kv_store_new(NULL);
    kv_slice ada = KV_STR("user:1"), expire[] = { KV_STR("EXPIRE"), KV_STR("user:1"), KV_STR("60") };
    kv_bytes *name;
    kv_value *reply;
    int64_t visits;

    if (!store)
        return 1;
    check(kv_store_set(store, ada, KV_STR("Ada"), NULL, now_ms(), NULL));
    check(kv_store_increment(store, KV_STR("visits"), 41, &visits, now_ms()));
    check(kv_store_increment(store, KV_STR("visits"), 1, &visits, now_ms()));
    shout(store, ada);

    /* Any command of the table, as a client of the server would send it. */
    check(kv_exec(store, 3, expire, &reply, now_ms()));

    name = kv_store_get(store, ada, now_ms()); /* ours: one reference */
    printf("%.*s, visit %lld, %s\n", (int)kv_bytes_slice(name).len, kv_bytes_slice(name).data,
           (long long)visits, reply->integer == 1 ? "leaves in a minute" : "stays");
    kv_bytes_unref(name);
    kv_value_free(reply);
    kv_store_unref(store);
    return 0;
}
