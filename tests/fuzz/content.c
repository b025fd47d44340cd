/* content.c - see content.h. SPDX-License-Identifier: MIT */
#include "content.h"

#include "crc32c.h"
#include "fuzz.h"

void content_open(content *c)
{
    c->domain = kv_domain_new(NULL);
    for (int i = 0; i < CONTENT_STORES; i++) {
        c->stores[i] = kv_store_new(&(kv_store_options){ .domain = c->domain });
        must(c->stores[i] != NULL);
    }
    c->databases = (kv_databases){ .stores = c->stores, .count = CONTENT_STORES };
}

static void sum_entry(void *arg, const entry *e)
{
    kv_slice key = entry_key(e), value = entry_value(e, NULL);
    int64_t deadline_ms = entry_deadline(e);
    uint64_t sum = crc32c(1, key.data, key.len);

    sum = sum << 32 | crc32c((uint32_t)sum, value.data, value.len);
    *(uint64_t *)arg += (sum ^ (uint64_t)deadline_ms * 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93;
}

uint64_t content_sum(const content *c)
{
    uint64_t sum = 0;

    for (int i = 0; i < CONTENT_STORES; i++) {
        uint64_t cursor = 0, of_store = 0;

        must(epoch_enter(c->domain) == 0);
        do
            cursor = store_scan(c->stores[i], cursor, sum_entry, &of_store, INT64_MIN);
        while (cursor);
        epoch_leave(c->domain);
        sum = sum * 31 + of_store;
    }
    return sum;
}

void content_close(content *c)
{
    for (int i = 0; i < CONTENT_STORES; i++)
        kv_store_unref(c->stores[i]);
    kv_domain_unref(c->domain);
}
