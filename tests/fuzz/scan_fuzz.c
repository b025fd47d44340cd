/* scan_fuzz.c - whatever is added and removed meanwhile, SCAN sees every key that stays, and none twice.
 *
 * Input: a program of two-byte instructions. The lowest two bits of the first byte say what is done, the rest of
 * it and the second byte to which keys:
 *
 *     0  set a run of keys        1  delete a run of keys
 *     2  some calls of SCAN       3  a call with a cursor made up, and one with a text for a cursor
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz.h"
#include "store.h"

enum { keys_max = 4096, now_ms = 1000000 };

typedef struct walk {
    kv_store *store;
    uint64_t cursor;
    bool present[keys_max];
    bool stayed[keys_max]; /* present since the iteration began */
    bool seen[keys_max];   /* in this iteration */
} walk;

static kv_slice key_text(int key, char text[16])
{
    return kv_slice_of(text, (size_t)snprintf(text, 16, "key:%d", key));
}

static void set_keys(walk *w, int from, int count)
{
    for (int key = from; key < from + count && key < keys_max; key++) {
        char text[16];
        kv_slice name = key_text(key, text);

        must(kv_store_set(w->store, name, name, NULL, now_ms, NULL) == 0);
        w->present[key] = true;
    }
}

static void delete_keys(walk *w, int from, int count)
{
    for (int key = from; key < from + count && key < keys_max; key++) {
        char text[16];

        must(kv_store_delete(w->store, key_text(key, text), NULL, now_ms) ==
             (w->present[key] ? 0 : KV_ENOKEY));
        w->present[key] = w->stayed[key] = false;
    }
}

static void see(void *arg, kv_slice name, kv_slice value, const kv_meta *meta)
{
    walk *w = arg;
    char text[16];
    int key = 0;

    must(kv_slice_equal(name, value) && meta->len == value.len);
    must(name.len > 4 && name.len < sizeof text);
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    must(sscanf(text, "key:%d", &key) == 1 && key >= 0 && key < keys_max);
    must(w->present[key] && !w->seen[key]);
    w->seen[key] = true;
}

static void scan(walk *w, size_t count)
{
    if (w->cursor == 0) {
        memcpy(w->stayed, w->present, sizeof w->stayed);
        memset(w->seen, 0, sizeof w->seen);
    }
    w->cursor = kv_store_scan(w->store, w->cursor, count, see, w, now_ms);
    if (w->cursor == 0)
        for (int key = 0; key < keys_max; key++)
            must(!w->stayed[key] || w->seen[key]);
}

static void ignore(void *arg, kv_slice name, kv_slice value, const kv_meta *meta)
{
    (void)arg;
    (void)name;
    (void)value;
    (void)meta;
}

static void make_up(walk *w, const uint8_t *data, size_t size)
{
    kv_slice argv[] = { KV_STR("SCAN"), kv_slice_of(data, size < 24 ? size : 24) };
    uint64_t cursor = 0;
    kv_value *reply;

    memcpy(&cursor, data, size < sizeof cursor ? size : sizeof cursor);
    kv_store_scan(w->store, cursor, 10, ignore, NULL, now_ms);
    if (kv_exec(w->store, 2, argv, &reply, now_ms) != 0)
        return;
    must(reply->type == KV_REPLY_ERROR || (reply->type == KV_REPLY_ARRAY && reply->count == 2));
    kv_value_free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[192] = { 1, 2, 3 };
    static walk w;
    kv_domain_options domain_options = { .secret = secret };
    kv_domain *domain = kv_domain_new(&domain_options);
    kv_store_options options = { .domain = domain, .shards = size & 1 ? 4 : 0 };

    must(domain);
    memset(&w, 0, sizeof w);
    w.store = kv_store_new(&options);
    must(w.store);
    if (size > 240)
        size = 240;
    for (size_t i = 0; i + 1 < size; i += 2) {
        int from = (data[i] >> 2) * 64 + (data[i + 1] & 15) * 4, count = 1 + (data[i + 1] >> 4) * 12;

        switch (data[i] & 3) {
        case 0:
            set_keys(&w, from, count);
            break;
        case 1:
            delete_keys(&w, from, count);
            break;
        case 2:
            for (int n = 0; n <= data[i + 1] >> 4; n++)
                scan(&w, 1 + (data[i + 1] & 15) * 7);
            break;
        default:
            make_up(&w, data + i, size - i);
        }
    }
    for (int n = 0; w.cursor; n++) {
        must(n < 100000);
        scan(&w, 10);
    }
    store_check(w.store);
    kv_store_unref(w.store);
    kv_domain_unref(domain);
    return 0;
}
