/* store.h - one keyspace over one map, as the commands see it: verbs, never locks.
 *
 *     store_key key = store_key_of(store, name);
 *     if (epoch_enter(domain) == 0) {                     // a host does this once per batch
 *         const entry *e = store_find(store, key, now_ms);
 *         ... reply with entry_value(e) ...
 *     }
 *     epoch_leave(domain);
 *
 * The store adds to the map: time (an entry whose deadline has passed does not exist), conditions,
 * change records, and acts that span several keys or several stores of one domain.
 *
 * Threads    Any. Everything that reads is called inside an epoch; commands are always run inside one.
 *            These functions act at once on the calling thread, whatever the sharing; with
 *            KV_SHARING_ACTOR it is the public functions and the server that send messages (actor.h).
 * Errors     0 or KV_E...; on an error nothing has changed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STORE_STORE_H
#define KV_STORE_STORE_H

#include "map.h"

/* A key with its hash, which is the same in all stores of a domain, and what reading ahead learned of it. */
typedef struct store_key {
    kv_slice name;
    uint64_t hash;
    const map_hint *hint; /* or NULL */
} store_key;

store_key store_key_of(const kv_store *store, kv_slice name);

/* ---- reading ---- */

/* The live entry, readable inside the epoch, or NULL: absent or expired. */
const entry *store_find(kv_store *store, store_key key, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* store_find for n keys, one after the other: names[0], names[stride], ... */
void store_find_run(kv_store *store, size_t n, const kv_slice names[], size_t stride, const uint64_t hashes[],
                    const map_hint hints[], const entry *ret[], int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* n keys as of one moment. */
void store_find_many(kv_store *store, size_t n, const kv_slice names[], const uint64_t hashes[],
                     const entry *ret[], int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* See map_prefetch. */
void store_prefetch(const kv_store *store, size_t n, const uint64_t hashes[], map_hint ret_hints[])
    KV_REQUIRES(kv_epoch_held);

static inline bool entry_expired(const entry *e, int64_t now_ms)
{
    return entry_deadline(e) <= now_ms;
}

/* Visits the live entries around cursor; see map_scan. */
uint64_t store_scan(kv_store *store, uint64_t cursor, map_visit_fn *visit, void *arg, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* A live entry chosen at random, or NULL: none was found in a bounded number of draws. rng: a seed that the call
 * advances. */
const entry *store_random(kv_store *store, uint64_t *rng, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* Runs look(arg), which reads the store as a whole (counts it, walks through it), until all that it read in its last run was of
 * one moment: begins anew when there was a change meanwhile, and locks the store when that happens again. Within a
 * hold that has named the store, just runs it. KV_ENOMEM. */
typedef void store_look_fn(void *arg);
int store_look(kv_store *store, store_look_fn *look, void *arg) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* ---- writing one key ---- */

/* Stores what parts says, unconditionally, replacing value and deadline. key.name must equal parts->key. KV_ENOMEM:
 * parts->bytes is still the caller's. The fastest way to write. */
int store_put(kv_store *store, store_key key, const entry_parts *parts, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* The same without deadlines for n keys, one after the other: pairs[0] the first key, pairs[1] its value, pairs[stride]
 * the next key, ... Returns how many were stored before memory ran out: n, if it did not. */
size_t store_put_run(kv_store *store, size_t n, const kv_slice pairs[], size_t stride,
                     const uint64_t hashes[], const map_hint hints[], uint32_t access, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* The same with a version that the key had elsewhere, on a primary or in a file: later writes get newer ones. KV_EINVAL:
 * there is no such version. */
int store_restore(kv_store *store, store_key key, const entry_parts *parts, uint64_t version, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* The newest version that any key of the store has had; and: later ones are newer than this. */
uint64_t store_version(kv_store *store) KV_EXCLUDES(kv_shard_held);
void store_raise_version(kv_store *store, uint64_t version) KV_EXCLUDES(kv_shard_held);
/* See map_changes. */
uint64_t store_changes(kv_store *store) KV_EXCLUDES(kv_shard_held);

/* As kv_store_update. */
int store_update(kv_store *store, store_key key, kv_step *step, void *arg, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* The same, and the version that the key has afterwards (0: it is absent). */
int store_update_version(kv_store *store, store_key key, kv_step *step, void *arg, int64_t now_ms,
                         uint64_t *ret_version) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* What a step may use besides kvstore.h: the entry (NULL: absent), and ways to say the outcome. */
const entry *kv_slot_entry(const kv_slot *slot);
/* The next value with its encoding flags (ENTRY_RAW, ENTRY_TEXT); kv_slot_set is this with 0. */
int kv_slot_set_encoded(kv_slot *slot, kv_slice value, unsigned encoding);
/* Appends to the value in time proportional to what is added, when it is large. KV_ETOOBIG past max_bytes. */
int kv_slot_append(kv_slot *slot, kv_slice more, size_t max_bytes, size_t *ret_len);
/* Whether that would add so many bytes without copying what is there. */
bool kv_slot_extends(const kv_slot *slot, size_t more);
/* Room for a value of len bytes (uninitialised) that the step fills; NULL: memory is out. */
char *kv_slot_room(kv_slot *slot, size_t len, unsigned encoding);
/* The next value is the first len bytes of bytes, of which one reference is taken over in any case. encoding: ENTRY_RAW, or 0. 0;
 * KV_ENOMEM, KV_ETOOBIG: the value is as it was. */
int kv_slot_set_bytes(kv_slot *slot, kv_bytes *bytes, size_t len, unsigned encoding);
/* Of the value that was set, only the last so many bytes (not 0) are new: listeners are told of an APPEND. */
void kv_slot_appended(kv_slot *slot, size_t more);

/* The map that it is over: as long as the store lives, whatever is exchanged between stores. */
const map *store_map(const kv_store *store);

/* ---- writing several keys, as one act that no reader sees in part ---- */

typedef enum store_put_if { STORE_PUT_ALWAYS, STORE_PUT_IF_NONE, STORE_PUT_IF_ALL } store_put_if;

/* Stores n key/value pairs, pairs[0] the first key, pairs[1] its value, ...; all or nothing. Values that owned has (it may be NULL) are
 * kept by reference. With keep_deadline each key keeps its own deadline, else all get deadline_ms. The last of equal keys wins.
 * KV_ECOND: the condition (none of the keys exists; all of them exist) does not hold; KV_ENOMEM. */
int store_put_many(kv_store *store, size_t n, const kv_slice pairs[], const kv_owned *owned,
                   store_put_if condition, int64_t deadline_ms, bool keep_deadline, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* The same in steps, for many: the entries are made before the act, some at a time. pairs[] is the same at each call, n >= 1.
 *
 *     store_puts *puts = store_puts_new(store, n);             // NULL: memory is out
 *     while (!store_puts_ready(puts))
 *         err = store_puts_prepare(puts, 4096, pairs, ...);    // at most so many more, and some MB; KV_ENOMEM
 *     err = store_puts_commit(puts, pairs, condition, ...);    // as store_put_many
 *     store_puts_free(puts);                                   // in any state; takes NULL
 */
typedef struct store_puts store_puts;
store_puts *store_puts_new(kv_store *store, size_t n);
int store_puts_prepare(store_puts *puts, size_t at_most, const kv_slice pairs[], const kv_owned *owned,
                       int64_t deadline_ms, int64_t now_ms);
bool store_puts_ready(const store_puts *puts);
int store_puts_commit(store_puts *puts, const kv_slice pairs[], store_put_if condition, bool keep_deadline,
                      int64_t now_ms) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
void store_puts_free(store_puts *puts);

/* Removes n keys; ret_removed: how many there were. KV_ENOMEM. */
int store_delete_many(kv_store *store, size_t n, const kv_slice names[], size_t *ret_removed, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* What becomes of a source and a destination key, of one store or of two. */
typedef enum store_transfer { STORE_MOVE, STORE_COPY } store_transfer;

/* Gives to_key the value and deadline of from_key (RENAME, MOVE: STORE_MOVE, the source goes; COPY). replace: an
 * existing destination is replaced; otherwise KV_ECOND. KV_ENOKEY: no source. KV_ESAMEKEY: both are the same key of the same
 * store. KV_ENOMEM. The stores are of one domain. */
int store_transfer_key(kv_store *from, store_key from_key, kv_store *to, store_key to_key, store_transfer how,
                       bool replace, int64_t now_ms) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* Removes everything at one moment; the memory is returned by the domain's helper, or before the call
 * returns when async is false or there is no helper. */
int store_clear(kv_store *store, bool async) KV_EXCLUDES(kv_shard_held);
/* Empties n > 0 stores of one domain as one act, which no reader sees in part. KV_ENOMEM: none of them. */
int store_clear_all(kv_store *stores[], size_t n, bool async) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* Exchanges the contents of two stores of one domain (SWAPDB). */
void store_swap(kv_store *a, kv_store *b, int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* ---- several verbs as one act ---- */

/* What map_hold is, for stores of one domain: within it every function of this header works as ever on what was named, and
 * nobody sees the act in part. Its change records are told between KV_CHANGE_BEGIN and KV_CHANGE_END. */
typedef struct store_hold store_hold;

/* For up to so many stores; NULL: memory is out. */
store_hold *store_hold_new(kv_domain *domain, size_t stores);
void store_hold_free(store_hold *hold);
/* Name what the act touches: keys, by their hashes, and whole stores (for what counts, walks or clears them); then lock;
 * on false name everything again. */
void store_hold_begin(store_hold *hold);
void store_hold_key(store_hold *hold, kv_store *store, uint64_t hash);
/* n keys: hashes[0], hashes[stride], ... */
void store_hold_run(store_hold *hold, kv_store *store, size_t n, const uint64_t hashes[], size_t stride);
void store_hold_store(store_hold *hold, kv_store *store);
bool store_hold_lock(store_hold *hold) KV_TRIES(true, kv_hold_held) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
void store_hold_release(store_hold *hold) KV_RELEASES(kv_hold_held) KV_EXCLUDES(kv_shard_held);

/* ---- noticing a change: WATCH ---- */

/* What a key was when it was watched. It has changed when it was written, deleted or created since, even if it looks
 * the same again; when its deadline has passed since; when its store was cleared or exchanged while the key was in it. A
 * key whose deadline had passed before is absent. */
typedef struct store_watch {
    kv_store *store;
    store_key key;    /* its name is the caller's and lives as long */
    uint64_t version; /* 0: it was absent */
    unsigned swaps;
    map_watch absence; /* when it was */
} store_watch;

/* watch->store and ->key are set. KV_ENOMEM. */
int store_watch_begin(store_watch *watch, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
void store_watch_end(store_watch *watch);
bool store_watch_changed(store_watch *watch, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* ---- upkeep and figures ---- */

/* Removes key if it has expired. */
void store_reap(kv_store *store, store_key key, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* As kv_store_expire_cycle, kv_store_stats, kv_store_count. ret_more (may be NULL): whether max_segments ended the cycle
 * before it had been everywhere. */
size_t store_expire_cycle(kv_store *store, int64_t now_ms, size_t max_segments, bool *ret_more)
    KV_EXCLUDES(kv_shard_held);
/* See map_next_deadline. */
int64_t store_next_deadline(kv_store *store) KV_REQUIRES(kv_epoch_held);
void store_read_stats(kv_store *store, kv_stats *ret_stats, int64_t now_ms) KV_EXCLUDES(kv_shard_held);
size_t store_count(kv_store *store);
/* Verifies the invariants of the map; see map_check. */
void store_check(kv_store *store);

/* ---- how long ago, or how often, a key was used ---- */

/* The access clock of a moment: 24 bits, in units of 128 ms, so it goes round in 24.8 days; entries that are not used for so long
 * are kept from becoming young again (store_age_some). As most entries are read more often than that, the clock that they are marked
 * with need only advance every STORE_ACCESS_COARSE units. */
#define STORE_ACCESS_MS     128
#define STORE_ACCESS_COARSE 8u
#define STORE_IDLE_MOST_MS  (INT64_C(23) * 86400 * 1000) /* it may be longer, which is not known */

static inline uint32_t store_access_clock(int64_t now_ms)
{
    return (uint32_t)(now_ms / STORE_ACCESS_MS) & 0xffffff;
}
/* Milliseconds since the entry was used, by that clock. */
static inline int64_t store_idle_ms(const entry *e, int64_t now_ms)
{
    uint32_t units = (store_access_clock(now_ms) - entry_access(e)) & 0xffffff;

    /* One that was marked ahead of this moment, by a thread whose clock is a little ahead, is not idle. */
    return units > 0xffffff - 64 ? 0 : (int64_t)units * STORE_ACCESS_MS;
}

/* Visits some entries, about as many as are asked for, and goes on where the last call ended: one that was not used for longer than
 * STORE_IDLE_MOST_MS is marked as not used for so long. Within a day and a half it must have been everywhere. Any thread. */
void store_age_some(kv_store *store, size_t entries, int64_t now_ms) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* LFU: from now on the access clock holds, instead of a time, the minute of the last use and a logarithmic counter of
 * uses, as Redis's does: it grows with probability 1 / ((counter - 5) * log_factor + 1), and loses one for every decay_minutes (0:
 * never) without use. on false: back to time. Entries adjust as they are used. Any thread, at any time. */
void store_count_uses(kv_store *store, bool on, uint32_t log_factor, uint32_t decay_minutes);
bool store_counts_uses(const kv_store *store);
/* The access clock of a new key. */
uint32_t store_access_new(const kv_store *store, int64_t now_ms);
/* The access clock of a key that was used elsewhere: so long ago (at most STORE_IDLE_MOST_MS), or so often (either may be -1: that
 * is not known). What the store does not count is not used. */
uint32_t store_access_known(const kv_store *store, int64_t idle_ms, int frequency, int64_t now_ms);
/* The counter of an entry now: 0..255. */
unsigned store_frequency(const kv_store *store, const entry *e, int64_t now_ms);
/* Counts a use. rng: a seed that the call advances. */
void store_note_use(const kv_store *store, const entry *e, int64_t now_ms, uint64_t *rng);

/* From now on reads of a key remove what they find past its deadline, as Redis's do (on), or leave that to writes and the expire
 * cycle (off, as a store begins): for where only one thread may write, or nothing may expire by itself. Any thread. */
void store_set_reaping(kv_store *store, bool on);

/* Stops telling the listener of kv_store_on_change, and begins again: any thread, at any time. What is under way at that
 * moment may be told or not. */
void store_set_telling(kv_store *store, bool on);

/* A put that is told in short: of a plain string without a deadline, in the place of nothing or of such a one, by itself. */
typedef struct store_put_told {
    const void *tag;
    kv_slice key, value;
    uint64_t version, before_version; /* 0: there was nothing */
    map_mark *mark;                   /* of its shard, for the listener alone */
} store_put_told;

/* Whether that was heard; false: it is told in full, to the listener of kv_store_on_change. */
typedef bool store_put_fn(void *arg, const store_put_told *put);
/* Those of store_put_run, while changes are told. Before other threads use the store. */
void store_on_put(kv_store *store, store_put_fn *fn, void *arg);

/* When a change is told, readers without a lock may have seen it already. Whoever must know whether there is such a change
 * is shown a span around each write: a counter of the calling thread, which fn returns, is odd from before anybody can see the change
 * until it was told; it grows with release. What raises the marks of its shards (several keys, whole stores, a hold) needs
 * none: nobody sees it before its end. */
typedef _Atomic uint64_t *store_span_fn(void *arg);
/* Before other threads use the store; spans are off at first. */
void store_on_span(kv_store *store, store_span_fn *fn, void *arg);
/* As store_set_telling. */
void store_set_spans(kv_store *store, bool on);

/* ---- making room ---- */

typedef enum store_victim {
    STORE_EVICT_LRU,
    STORE_EVICT_LFU,
    STORE_EVICT_RANDOM,
    STORE_EVICT_TTL
} store_victim;

/* Removes some keys: of the entries that come next after *hand (see map_evict), two of five that it would take `samples` each
 * to choose from at random, those that were not used for longest, least often, or whose deadline is nearest, until want_bytes
 * are free. only_deadline: only of those that have one. Returns how many keys it removed, *ret_bytes what they took; 0
 * also when there was none among those it looked at. */
size_t store_evict(kv_store *store, store_victim victim, bool only_deadline, size_t samples, uint64_t *hand,
                   int64_t now_ms, size_t want_bytes, size_t *ret_bytes) KV_EXCLUDES(kv_shard_held);

#endif
