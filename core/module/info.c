/* info.c - INFO kv: kv_keys, kv_stores, kv_memory_bytes, kv_expired_fields, kv_offloaded_reads and more.
 * SPDX-License-Identifier: MIT */
#include "info.h"

#include "handle.h"
#include "module.h"
#include "port.h"

static uint64_t read_counter(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void info(rm_info *out, int for_crash_report)
{
    domain_memory memory;
    port_figures port;

    (void)for_crash_report;
    domain_read_memory(module.domain, &memory);
    port_read_figures(&port);
    rm.InfoAddSection(out, "stats");
    rm.InfoAddFieldULongLong(out, "keys", read_counter(&module.keys));
    rm.InfoAddFieldULongLong(out, "stores", read_counter(&module.stores));
    rm.InfoAddFieldULongLong(out, "store_memory_bytes", memory.allocated_bytes);
    rm.InfoAddFieldULongLong(out, "store_memory_used_bytes", memory.slab_used_bytes);
    rm.InfoAddFieldULongLong(out, "keyspace_hits", read_counter(&module.counters.keyspace_hits) + port.hits);
    rm.InfoAddFieldULongLong(out, "keyspace_misses",
                             read_counter(&module.counters.keyspace_misses) + port.misses);
    rm.InfoAddFieldULongLong(out, "expired_fields", module.expired_fields);
    rm.InfoAddFieldULongLong(out, "offloaded_reads", module.offloaded);
    rm.InfoAddFieldULongLong(out, "handles", handle_count());
    rm.InfoAddFieldULongLong(out, "port_clients", port.clients);
    rm.InfoAddFieldULongLong(out, "port_requests", port.requests);
    rm.InfoAddFieldULongLong(out, "port_stale", port.stale);
}

void info_register(rm_ctx *ctx)
{
    rm.RegisterInfoFunc(ctx, info);
}
