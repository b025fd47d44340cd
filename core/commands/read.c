/* read.c - see read.h. SPDX-License-Identifier: MIT */
#include "read.h"

kv_slice kv_type_name(const entry *e)
{
    return e ? KV_STR("string") : KV_STR("none"); /* the one type there is yet */
}

int kv_found_init(kv_found *found, kv_call *call, int first)
{
    return kv_found_some(found, call, first, (size_t)(call->argc - first));
}

int kv_found_some(kv_found *found, kv_call *call, int first, size_t n)
{
    uint64_t *hashes = found->hashes_on_stack;

    found->count = n;
    found->block = NULL;
    found->entries = found->entries_on_stack;
    if (n > sizeof found->hashes_on_stack / sizeof found->hashes_on_stack[0]) {
        found->block_bytes = n * (sizeof *hashes + sizeof found->entries[0]);
        found->block = domain_alloc(kv_store_domain(call->store), found->block_bytes, 16);
        if (!found->block)
            return KV_ENOMEM;
        hashes = found->block;
        found->entries = (const entry **)(hashes + n);
    }
    for (size_t i = 0; i < n; i++)
        hashes[i] = kv_arg_key(call, first + (int)i).hash;
    store_find_many(call->store, n, call->argv + first, hashes, found->entries, call->now_ms);
    return 0;
}

void kv_found_done(kv_found *found, kv_call *call)
{
    if (found->block)
        domain_free(kv_store_domain(call->store), found->block, found->block_bytes);
}
