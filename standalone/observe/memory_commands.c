/* memory_commands.c - MEMORY STATS, DOCTOR, MALLOC-STATS, PURGE, HELP: what memory is used for, and whether that is
 * well. SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "feed.h"
#include "memory.h"
#include "session.h"

/* ---- figures ---- */

typedef struct figures {
    uint64_t used, peak, startup, resident, allocated, dataset, index, clients;
    size_t keys;
} figures;

static void read_figures(server *s, figures *ret)
{
    domain_memory memory;

    *ret = (figures){
        .used = server_memory(s),
        .startup = s->startup_memory,
        .resident = memory_resident(),
        .clients = memory_of_clients(s),
    };
    domain_read_memory(s->domain, &memory);
    ret->allocated = memory.allocated_bytes;
    pthread_mutex_lock(&s->stats_lock);
    s->peak_memory = s->peak_memory > ret->used ? s->peak_memory : ret->used;
    ret->peak = s->peak_memory;
    pthread_mutex_unlock(&s->stats_lock);
    for (int db = 0; db < s->databases.count; db++) {
        kv_stats found;

        kv_store_stats(s->databases.stores[db], &found, 0);
        ret->keys += found.keys;
        ret->dataset += found.entry_bytes;
        ret->index += found.index_bytes;
    }
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

/* ---- MEMORY STATS ---- */

static void write_int(kv_reply *r, const char *name, uint64_t value)
{
    kv_reply_bulk(r, kv_str(name));
    kv_reply_int(r, (int64_t)value);
}

static void write_real(kv_reply *r, const char *name, double value)
{
    kv_reply_bulk(r, kv_str(name));
    r->ops->real(r, value);
}

static void write_database(kv_reply *r, int db, const kv_stats *found)
{
    char name[32];

    snprintf(name, sizeof name, "db.%d", db);
    kv_reply_bulk(r, kv_str(name));
    r->ops->map(r, 3);
    write_int(r, "overhead.hashtable.main", found->index_bytes);
    write_int(r, "overhead.hashtable.expires", 0);
    write_int(r, "overhead.hashtable.slot-to-keys", 0);
}

/* Of databases that hold keys; ask: only counts them. */
static size_t write_databases(server *s, kv_reply *r, bool ask)
{
    size_t count = 0;

    for (int db = 0; db < s->databases.count; db++) {
        kv_stats found;

        kv_store_stats(s->databases.stores[db], &found, 0);
        if (!found.keys)
            continue;
        count++;
        if (!ask)
            write_database(r, db, &found);
    }
    return count;
}

/* MEMORY STATS */
void session_memory_stats(kv_call *call)
{
    server *s = session_server(call);
    kv_reply *r = call->reply;
    uint64_t overhead;
    figures f;

    read_figures(s, &f);
    overhead = f.used - f.dataset;
    r->ops->map(r, 25 + write_databases(s, r, true));
    write_int(r, "peak.allocated", f.peak);
    write_int(r, "total.allocated", f.used);
    write_int(r, "startup.allocated", f.startup);
    write_int(r, "replication.backlog", feed_backlog_bytes(s));
    write_int(r, "clients.slaves", memory_of_replicas(s));
    write_int(r, "clients.normal", f.clients);
    write_int(r, "cluster.links", 0);
    write_int(r, "aof.buffer", 0);
    write_int(r, "lua.caches", 0);
    write_int(r, "functions.caches", 0);
    write_databases(s, r, false);
    write_int(r, "overhead.total", overhead);
    write_int(r, "keys.count", f.keys);
    write_int(r, "keys.bytes-per-key", f.keys ? (f.dataset + f.index) / f.keys : 0);
    write_int(r, "dataset.bytes", f.dataset);
    write_real(r, "dataset.percentage", 100 * ratio(f.dataset, f.used));
    write_real(r, "peak.percentage", 100 * ratio(f.used, f.peak));
    write_int(r, "allocator.allocated", f.allocated);
    write_int(r, "allocator.active", f.allocated);
    write_int(r, "allocator.resident", f.resident);
    write_real(r, "allocator-fragmentation.ratio", ratio(f.allocated, f.used));
    write_int(r, "allocator-fragmentation.bytes", f.allocated > f.used ? f.allocated - f.used : 0);
    write_real(r, "allocator-rss.ratio", ratio(f.resident, f.allocated));
    write_int(r, "allocator-rss.bytes", f.resident > f.allocated ? f.resident - f.allocated : 0);
    write_real(r, "fragmentation", ratio(f.resident, f.used));
    write_int(r, "fragmentation.bytes", f.resident > f.used ? f.resident - f.used : 0);
}

/* ---- MEMORY DOCTOR ---- */

#define LITTLE (5 * 1024 * 1024)

/* MEMORY DOCTOR */
void session_memory_doctor(kv_call *call)
{
    server *s = session_server(call);
    uint64_t limit = (uint64_t)config_number(s->config, CONFIG_ID_maxmemory);
    char text[2048];
    size_t len = 0;
    figures f;

    read_figures(s, &f);
    text[0] = '\0';
#define SAY(...) len += (size_t)snprintf(text + len, sizeof text - len, __VA_ARGS__)
    if (f.used < LITTLE) {
        SAY("Little memory is in use (%llu bytes): there is nothing to tell yet.",
            (unsigned long long)f.used);
    } else {
        if (limit && f.used > limit)
            SAY(" * More than maxmemory is in use: %llu of %llu bytes. Look at maxmemory-policy and at the "
                "clients' buffers.\n",
                (unsigned long long)f.used, (unsigned long long)limit);
        if (ratio(f.peak, f.used) > 1.5)
            SAY(" * The peak was %llu bytes, more than 1.5 times what is in use now. Free blocks are used "
                "again, but "
                "the process may stay as large; MEMORY PURGE returns what it can.\n",
                (unsigned long long)f.peak);
        if (ratio(f.resident, f.used) > 1.4)
            SAY(" * Resident are %llu bytes, more than 1.4 times what is in use: free blocks lie between "
                "used "
                "ones.\n",
                (unsigned long long)f.resident);
        if (f.clients > f.used / 4)
            SAY(" * Clients' buffers hold %llu bytes, more than a quarter of all. CLIENT LIST shows whose; "
                "maxmemory-clients bounds them.\n",
                (unsigned long long)f.clients);
        if (len == 0)
            SAY("No trouble with memory was found.");
    }
#undef SAY
    call->reply->ops->verbatim(call->reply, kv_str(text), "txt");
}

/* ---- the allocators ---- */

/* MEMORY MALLOC-STATS */
void session_memory_malloc_stats(kv_call *call)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    domain_memory memory;

    domain_read_memory(session_server(call)->domain, &memory);
    if (out) {
        fprintf(out,
                "blocks of entries: %zu bytes of pages, %zu of them in use\nallocated in all: %zu bytes\n",
                memory.slab_bytes, memory.slab_used_bytes, memory.allocated_bytes);
        fprintf(out, "malloc, as it tells in XML:\n");
        malloc_info(0, out);
    }
    if (out && fclose(out) == 0)
        call->reply->ops->verbatim(call->reply, kv_slice_of(text, len), "txt");
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    free(text);
}

/* MEMORY PURGE */
void session_memory_purge(kv_call *call)
{
    malloc_trim(0);
    kv_reply_ok(call->reply);
}

/* MEMORY HELP */
void session_memory_help(kv_call *call)
{
    static const char *const lines[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    What is wrong with the use of memory.",
        "MALLOC-STATS",
        "    The figures of the allocators.",
        "PURGE",
        "    Give free memory back to the system.",
        "STATS",
        "    What memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes that a key takes, its share of the index included.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
