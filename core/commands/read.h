/* read.h - how commands look keys up: with the statistics and the access clock that a read leaves.
 *
 *     const entry *e = kv_read(call, 1);
 *     if (!e)
 *         kv_reply_null(call->reply);
 *     else if (kv_is_string(call, e))      // replies WRONGTYPE otherwise
 *         kv_reply_value(call->reply, e);
 *
 * What is found stays readable until the command returns, since it runs inside an epoch.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_READ_H
#define KV_COMMANDS_READ_H

#include "args.h"

/* The access clock for an entry that is written now. */
static inline uint32_t kv_write_access(const kv_call *call)
{
    return call->access <= KV_ACCESS_MAX ? call->access : store_access_new(call->store, call->now_ms);
}

/* Marks an entry as just used. */
static inline void kv_note_use(kv_call *call, const entry *e)
{
    if (call->access <= KV_ACCESS_MAX)
        entry_touch(e, call->access);
    else if (call->access == KV_COUNT_USES)
        store_note_use(call->store, e, call->now_ms, call->rng);
}

static inline void kv_note_miss(kv_call *call, kv_slice key)
{
    kv_count(&call->counters->keyspace_misses);
    if (call->on_miss)
        call->on_miss(call, key);
}

/* Counts a hit or a miss, and marks the entry (or NULL) as just read. */
static inline void kv_note_read(kv_call *call, kv_slice key, const entry *e)
{
    if (!e) {
        kv_note_miss(call, key);
        return;
    }
    kv_count(&call->counters->keyspace_hits);
    kv_note_use(call, e);
}

/* As above, for commands that look at a key without using it: the access clock stays. */
static inline void kv_note_peek(kv_call *call, kv_slice key, const entry *e)
{
    if (e)
        kv_count(&call->counters->keyspace_hits);
    else
        kv_note_miss(call, key);
}

/* The entry of the key at argv[index], or NULL. */
KV_REQUIRES(kv_epoch_held) static inline const entry *kv_read(kv_call *call, int index)
{
    const entry *e = store_find(call->store, kv_arg_key(call, index), call->now_ms);

    kv_note_read(call, call->argv[index], e);
    return e;
}

KV_REQUIRES(kv_epoch_held) static inline const entry *kv_peek(kv_call *call, int index)
{
    const entry *e = store_find(call->store, kv_arg_key(call, index), call->now_ms);

    kv_note_peek(call, call->argv[index], e);
    return e;
}

/* As kv_peek, of commands about how keys are stored, who miss without anybody being told. */
KV_REQUIRES(kv_epoch_held) static inline const entry *kv_inspect(kv_call *call, int index)
{
    const entry *e = store_find(call->store, kv_arg_key(call, index), call->now_ms);

    kv_count(e ? &call->counters->keyspace_hits : &call->counters->keyspace_misses);
    return e;
}

/* Whether e holds a string; otherwise replies the error. */
static inline bool kv_is_string(kv_call *call, const entry *e)
{
    if (entry_type(e) == ENTRY_STRING)
        return true;
    kv_reply_error(call->reply, KV_ETYPE);
    return false;
}

/* "string", or "none" for NULL. */
kv_slice kv_type_name(const entry *e);

/* The entries of the keys argv[first], argv[first + 1], ..., argv[argc - 1], as of one moment. */
typedef struct kv_found {
    const entry **entries;
    size_t count;
    void *block; /* holds entries and more; NULL: on_stack does */
    size_t block_bytes;
    const entry *entries_on_stack[16];
    uint64_t hashes_on_stack[16];
} kv_found;

/* KV_ENOMEM. kv_found_done frees what it took, entries excepted: they belong to the epoch. */
int kv_found_init(kv_found *found, kv_call *call, int first) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
void kv_found_done(kv_found *found, kv_call *call);
/* Of n keys from argv[first] on. */
int kv_found_some(kv_found *found, kv_call *call, int first, size_t n) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

#endif
