/* kvstore.h - a key/value store that many threads share.
 *
 *     kv_store *store = kv_store_new(NULL);
 *     kv_store_set(store, KV_STR("user:1"), KV_STR("Ada"), NULL, now_ms, NULL);
 *     kv_bytes *name = kv_store_get(store, KV_STR("user:1"), now_ms);   // ours: one reference
 *     kv_bytes_unref(name);
 *     kv_store_unref(store);
 *
 * Threads    A kv_store may be used from any thread; a kv_bytes never changes.
 * Ownership  A returned kv_bytes * is a reference you unref. A kv_slice is borrowed and
 *            read only during the call. Everything that ends a life takes NULL.
 * Errors     0, or a negative KV_E...; outputs (ret_...) are written only on 0, unless said.
 * Time       Milliseconds since the Unix epoch, passed by the caller; KV_FOREVER is no
 *            deadline. The store never reads a clock. Threads may go by clocks that differ by less
 *            than a second: a key that one has found gone is gone for all.
 *
 * Sections: bytes, errors, the store, one key, many keys, updates under the lock, commands,
 * changes, threads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTORE_KVSTORE_H
#define KVSTORE_KVSTORE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kvstore/capability.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KV_API __attribute__((visibility("default")))
#else
#define KV_API
#endif

#define KV_VERSION "0.1.0"

/* ---- bytes ------------------------------------------------------------------------------ */

/* Borrowed, binary-safe bytes: len bytes at data, which may hold NUL and may be empty. */
typedef struct kv_slice {
    const char *data;
    size_t len;
} kv_slice;

static inline kv_slice kv_slice_of(const void *data, size_t len)
{
    kv_slice slice = { (const char *)data, len };
    return slice;
}

/* A slice of a C string, without its NUL. */
static inline kv_slice kv_str(const char *text)
{
    return kv_slice_of(text, strlen(text));
}
#define KV_STR(literal) kv_slice_of("" literal, sizeof(literal) - 1)

static inline bool kv_slice_equal(kv_slice a, kv_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Reference-counted bytes: cloning costs one increment, whatever the size. Immutable. */
typedef struct kv_bytes kv_bytes;

/* A copy of data, or NULL when memory is out. */
KV_API kv_bytes *kv_bytes_new(kv_slice data);
KV_API kv_bytes *kv_bytes_ref(kv_bytes *bytes);
KV_API void kv_bytes_unref(kv_bytes *bytes);
/* The bytes, valid while you hold a reference. */
KV_API kv_slice kv_bytes_slice(const kv_bytes *bytes);

/* ---- errors ----------------------------------------------------------------------------- */

/* Every error of the store: its number and the text a RESP client sees. */
#define KV_ERRORS(X)                                                                     \
    X(KV_ENOMEM, -1, "OOM out of memory")                                                \
    X(KV_ENOKEY, -2, "ERR no such key")                                                  \
    X(KV_ETYPE, -3, "WRONGTYPE Operation against a key holding the wrong kind of value") \
    X(KV_ENOTINT, -4, "ERR value is not an integer or out of range")                     \
    X(KV_ERANGE, -5, "ERR increment or decrement would overflow")                        \
    X(KV_ENOTFLOAT, -6, "ERR value is not a valid float")                                \
    X(KV_ENAN, -7, "ERR increment would produce NaN or Infinity")                        \
    X(KV_ESYNTAX, -8, "ERR syntax error")                                                \
    X(KV_ETOOBIG, -9, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")    \
    X(KV_EOFFSET, -10, "ERR offset is out of range")                                     \
    X(KV_ECOND, -11, "ERR condition not met")                                            \
    X(KV_EINVAL, -12, "ERR invalid argument")                                            \
    X(KV_EDB, -13, "ERR DB index is out of range")                                       \
    X(KV_EARITY, -15, "ERR wrong number of arguments")                                   \
    X(KV_EDEADLINE, -16, "ERR invalid expire time")                                      \
    X(KV_ESAMEKEY, -17, "ERR source and destination objects are the same")

enum kv_error {
    KV_OK = 0,
#define KV_ERROR_ENUM(name, number, text) name = number,
    KV_ERRORS(KV_ERROR_ENUM)
#undef KV_ERROR_ENUM
};

/* The text of an error: its RESP word, then the sentence; never NULL. */
KV_API const char *kv_error_text(int error);

/* ---- the store -------------------------------------------------------------------------- */

#define KV_FOREVER   INT64_MAX            /* no deadline */
#define KV_VALUE_MAX (512u * 1024 * 1024) /* the longest key or value, in bytes */

typedef struct kv_store kv_store;
typedef struct kv_domain kv_domain;

/* How concurrent callers share the state; the answers are the same. */
typedef enum kv_sharing {
    KV_SHARING_SHARDED, /* a lock per shard; reads take none: the default */
    KV_SHARING_MUTEX,   /* one lock round everything, reads included */
    KV_SHARING_ACTOR,   /* one thread owns the state; calls are messages to it */
} kv_sharing;

/* Where memory comes from; both functions or none. size_bytes is never 0; alignment is a power of two. */
typedef struct kv_allocator {
    void *(*alloc)(void *arg, size_t size_bytes, size_t alignment);
    void (*free)(void *arg, void *memory, size_t size_bytes);
    void *arg;
} kv_allocator;

/* A domain is what stores may share: memory, reclamation, the secret key of the hash. A program
 * with many stores gives them one domain. NULL options are the defaults. */
typedef struct kv_domain_options {
    const kv_allocator *allocator; /* copied; NULL: aligned_alloc and free. Must work until the last
                                      kv_bytes that came out of the domain's stores is gone, too */
    bool siphash;                  /* SipHash-1-3 instead of XXH3: for keys chosen by an enemy */
    bool helper;                   /* a background thread frees big values and prepares memory */
    const unsigned char *secret;   /* 192 bytes that key the hash, copied; NULL: from getrandom(2).
                                      For reproducible tests only */
} kv_domain_options;

/* One reference, or NULL when memory is out. */
KV_API kv_domain *kv_domain_new(const kv_domain_options *options);
KV_API kv_domain *kv_domain_ref(kv_domain *domain);
/* The last reference frees; no thread may be inside a call on its stores. */
KV_API void kv_domain_unref(kv_domain *domain);

typedef struct kv_store_options {
    kv_domain *domain; /* shared with other stores; NULL: one of its own */
    kv_sharing sharing;
    size_t shards;          /* a power of two up to 1024; 0: one while small, then 64 */
    size_t expected_keys;   /* a hint: with many, the store begins with all of its shards */
    uint64_t version_start; /* versions begin above this ... */
    uint64_t version_step;  /* ... and grow by this (0: 1); a step of 16 lets 16 stores, starting
                                at 0..15, never give out the same version */
    size_t actor_queue;     /* KV_SHARING_ACTOR: how many calls may wait; 0: 1024 */
} kv_store_options;

/* One reference, or NULL when memory is out or an option is out of range. */
KV_API kv_store *kv_store_new(const kv_store_options *options);
KV_API kv_store *kv_store_ref(kv_store *store);
/* The last reference frees keys and values. */
KV_API void kv_store_unref(kv_store *store) KV_EXCLUDES(kv_shard_held);

typedef struct kv_stats {
    size_t keys; /* expired ones not yet removed included */
    size_t keys_with_deadline;
    int64_t average_ttl_ms; /* an estimate over keys with a deadline */
    size_t entry_bytes;     /* keys, values and their headers, as allocated */
    size_t index_bytes;     /* buckets, directories, shards */
    uint64_t expired;       /* keys removed because their deadline passed */
    uint64_t evicted;       /* keys removed because memory was short */
    size_t shards;
} kv_stats;

KV_API void kv_store_stats(kv_store *store, kv_stats *ret_stats, int64_t now_ms) KV_EXCLUDES(kv_shard_held);
KV_API size_t kv_store_count(kv_store *store) KV_EXCLUDES(kv_shard_held);
/* Removes every key. */
KV_API int kv_store_clear(kv_store *store) KV_EXCLUDES(kv_shard_held);
/* Removes keys whose deadline has passed, visiting at most max_segments of the index (0: all), each of
 * some hundred keys; goes on where the last call ended. Call it a few times a second. Returns how many keys it removed. */
KV_API size_t kv_store_expire_cycle(kv_store *store, int64_t now_ms, size_t max_segments)
    KV_EXCLUDES(kv_shard_held);

/* ---- one key ---------------------------------------------------------------------------- */

/* What is known of a key besides its value. */
typedef struct kv_meta {
    size_t len;          /* of the value, in bytes */
    int64_t deadline_ms; /* or KV_FOREVER */
    uint64_t version;    /* changes with every write of the key and never repeats, even after
                             the key was deleted; versions of two keys cannot be compared */
} kv_meta;

/* A reference to the value, or NULL: absent, expired, not a string, or out of memory. */
KV_API kv_bytes *kv_store_get(kv_store *store, kv_slice key, int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* Copies at most size bytes of the value into buffer (which may be NULL when size is 0) and tells all
 * about it; ret_meta may be NULL. ret_meta->len is the whole length, so a result longer than size
 * means: call again with more room. KV_ENOKEY, KV_ETYPE. */
KV_API int kv_store_copy(kv_store *store, kv_slice key, void *buffer, size_t size, kv_meta *ret_meta,
                         int64_t now_ms) KV_EXCLUDES(kv_shard_held);

typedef enum kv_condition {
    KV_ALWAYS,
    KV_IF_ABSENT,
    KV_IF_PRESENT,
    KV_IF_VERSION, /* the key has exactly this version (0: it is absent) */
    KV_IF_EQUAL,   /* the value equals this one; an absent key does not */
} kv_condition;

typedef struct kv_set_options {
    kv_condition condition;
    uint64_t version;    /* for KV_IF_VERSION */
    kv_slice equal;      /* for KV_IF_EQUAL */
    int64_t deadline_ms; /* 0 and KV_FOREVER: none */
    bool keep_deadline;  /* keep the one the key has */
} kv_set_options;

/* Stores value under key; options NULL: unconditionally and for ever. ret_version (may be NULL) gets
 * the new version. KV_ECOND (nothing changed), KV_ENOMEM, KV_ETOOBIG, KV_ETYPE (KV_IF_EQUAL on a key
 * that is no string). */
KV_API int kv_store_set(kv_store *store, kv_slice key, kv_slice value, const kv_set_options *options,
                        int64_t now_ms, uint64_t *ret_version) KV_EXCLUDES(kv_shard_held);

/* Removes key when the condition holds; options NULL: always. KV_ENOKEY, KV_ECOND, KV_ETYPE. */
KV_API int kv_store_delete(kv_store *store, kv_slice key, const kv_set_options *options, int64_t now_ms)
    KV_EXCLUDES(kv_shard_held);

/* Adds by to the decimal integer stored at key; an absent key counts from 0; the deadline stays.
 * KV_ENOTINT, KV_ERANGE, KV_ETYPE, KV_ENOMEM. */
KV_API int kv_store_increment(kv_store *store, kv_slice key, int64_t by, int64_t *ret_sum, int64_t now_ms)
    KV_EXCLUDES(kv_shard_held);

/* Sets the deadline; KV_FOREVER removes it; one that has passed removes the key. KV_ENOKEY, KV_ENOMEM. */
KV_API int kv_store_expire(kv_store *store, kv_slice key, int64_t deadline_ms, int64_t now_ms)
    KV_EXCLUDES(kv_shard_held);

/* ---- many keys -------------------------------------------------------------------------- */

/* Looks up n keys with overlapping memory accesses, and as one atomic act: no write falls between two
 * of them. ret_values[i] gets a reference or NULL. Returns how many were found, or KV_ENOMEM (then every
 * ret_values[i] is NULL). */
KV_API int kv_store_get_many(kv_store *store, size_t n, const kv_slice keys[], kv_bytes *ret_values[],
                             int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* Sees one key; runs inside the epoch, not under a lock. */
typedef void kv_scan_fn(void *arg, kv_slice key, kv_slice value, const kv_meta *meta);

/* Visits some of the keys and returns the cursor to go on with; begins and ends with 0. A key that is
 * present from the first call to the last is seen once, whatever happens meanwhile; no key is seen
 * twice. About count keys are visited per call. No state is kept between calls. */
KV_API uint64_t kv_store_scan(kv_store *store, uint64_t cursor, size_t count, kv_scan_fn *visit, void *arg,
                              int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* ---- updates under the lock ------------------------------------------------------------- */

/* A key while its shard is locked: what it holds now and what it shall hold. */
typedef struct kv_slot kv_slot;

/* Changes one key. What it returns, kv_store_update returns; on an error nothing is changed. */
typedef int kv_step(kv_slot *slot, void *arg);

/* Runs step on key as one atomic act and returns what step returned (or KV_ENOMEM). The shard is
 * locked meanwhile: step may compute, but not wait, do I/O or call back into the store. With
 * KV_SHARING_ACTOR it runs on the state's thread, as kv_scan_fn does. */
KV_API int kv_store_update(kv_store *store, kv_slice key, kv_step *step, void *arg, int64_t now_ms)
    KV_EXCLUDES(kv_shard_held);

KV_API bool kv_slot_exists(const kv_slot *slot);
/* The string value, valid until step returns; KV_ETYPE. Empty and 0 for an absent key. */
KV_API int kv_slot_value(const kv_slot *slot, kv_slice *ret_value);
/* The value as an integer; 0 for an absent key. KV_ENOTINT, KV_ETYPE. */
KV_API int kv_slot_int(const kv_slot *slot, int64_t *ret_value);
KV_API int64_t kv_slot_deadline(const kv_slot *slot);
KV_API uint64_t kv_slot_version(const kv_slot *slot);
/* Each of these says what the key shall hold once step has returned 0. A new value keeps the deadline.
 * value is copied before kv_store_update returns. KV_ETOOBIG. */
KV_API int kv_slot_set(kv_slot *slot, kv_slice value);
KV_API int kv_slot_set_int(kv_slot *slot, int64_t value);
KV_API void kv_slot_set_deadline(kv_slot *slot, int64_t deadline_ms);
KV_API void kv_slot_remove(kv_slot *slot);

/* ---- commands --------------------------------------------------------------------------- */

/* A reply of any shape, as RESP3 knows them. */
typedef enum kv_reply_type {
    KV_REPLY_NULL,
    KV_REPLY_INT,
    KV_REPLY_DOUBLE,
    KV_REPLY_BOOL,
    KV_REPLY_SIMPLE,
    KV_REPLY_ERROR,
    KV_REPLY_BULK,
    KV_REPLY_ARRAY,
    KV_REPLY_MAP,
    KV_REPLY_SET,
} kv_reply_type;

typedef struct kv_value {
    kv_reply_type type;
    int64_t integer; /* INT, BOOL */
    double number;   /* DOUBLE */
    kv_slice text;   /* SIMPLE, ERROR, BULK: followed by a NUL that len does not count */
    size_t count;    /* ARRAY, SET: elements; MAP: keys and values, alternating */
    struct kv_value *elements;
} kv_value;

/* Runs any data command of the table ("SET", "key", "value") and gives its reply, which you free with
 * kv_value_free. An error reply is a reply, and 0 is returned. KV_ENOMEM. */
KV_API int kv_exec(kv_store *store, int argc, const kv_slice argv[], kv_value **ret_reply, int64_t now_ms)
    KV_EXCLUDES(kv_shard_held);
KV_API void kv_value_free(kv_value *value);

/* Several commands as one act: nobody sees some of them done and others not, and nothing comes between. */
typedef struct kv_exec_command {
    int argc;
    const kv_slice *argv;
} kv_exec_command;

/* What a key must be for the commands to run. Whoever has read keys first and would write only if they are unchanged,
 * asks for the versions that were read (kv_store_copy tells them; a buffer of size 0 is enough; 0: absent). */
typedef struct kv_exec_check {
    kv_slice key;
    kv_condition condition;
    uint64_t version; /* for KV_IF_VERSION */
    kv_slice equal;   /* for KV_IF_EQUAL */
} kv_exec_check;

typedef struct kv_transaction {
    size_t command_count;
    const kv_exec_command *commands;
    size_t check_count;
    const kv_exec_check *checks;
} kv_transaction;

/* Runs the commands if all checks hold, and gives their replies as the elements of one KV_REPLY_ARRAY, which you free. A command
 * that fails while it runs (WRONGTYPE, OOM) has an error as its reply, and the others run all the same. If not 0 is returned,
 * nothing has run: KV_ECOND: a check does not hold. KV_ETYPE: KV_IF_EQUAL on a key that is no string. KV_ENOMEM. KV_EINVAL: a
 * command does not exist, has a wrong number of arguments, or is a server's; then *ret_reply is the error, which you free, and
 * *ret_refused (which may be NULL) which command it is. */
KV_API int kv_exec_many(kv_store *store, const kv_transaction *transaction, kv_value **ret_reply,
                        size_t *ret_refused, int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* ---- changes ---------------------------------------------------------------------------- */

typedef enum kv_change_kind {
    KV_CHANGE_SET,      /* the key now holds value, deadline_ms, version */
    KV_CHANGE_APPEND,   /* value was added to the end of what base_version held */
    KV_CHANGE_DEADLINE, /* only the deadline (and the version) changed */
    KV_CHANGE_DELETE,   /* the key is gone */
    KV_CHANGE_EXPIRE,   /* the key is gone: its deadline had passed */
    KV_CHANGE_EVICT,    /* the key is gone: memory was short */
    KV_CHANGE_CLEAR,    /* every key is gone */
    KV_CHANGE_SWAP,     /* the contents of the stores tagged tag and other_tag were exchanged */
    KV_CHANGE_BEGIN, /* what this thread tells until END are the changes of one act of several keys: whoever */
    KV_CHANGE_END,   /* keeps records, keeps all of them or none. Each store tells both */
} kv_change_kind;

/* A write, as the state it reached: absolute and deterministic, so that applying the records of a
 * key in order gives the key. */
typedef struct kv_change {
    kv_change_kind kind;
    const void *tag;       /* what kv_store_on_change was given for the store */
    const void *other_tag; /* SWAP */
    kv_slice key;
    kv_slice value; /* SET: the whole; APPEND: the added bytes */
    int64_t deadline_ms;
    uint64_t version;
    uint64_t base_version; /* APPEND: the version that value is added to; 0: none */
    bool created;          /* SET: there was no such key, or it was deleted for this */
    kv_bytes *bytes;       /* NULL, or what value lies in: a listener may retain it instead of copying */
} kv_change;

/* Hears of every change of a key, in the order in which that key changed, under its shard's lock: it
 * may copy, but not wait, do I/O or call back into the store. */
typedef void kv_change_fn(void *arg, const kv_change *change);

/* Sets (or with NULL removes) the listener. Before the store is used by other threads. */
KV_API void kv_store_on_change(kv_store *store, kv_change_fn *fn, void *arg, const void *tag);

/* ---- threads ---------------------------------------------------------------------------- */

/* Any thread may call any function, without ceremony: a call then enters and leaves an epoch. An event
 * loop can spare that cost: it registers once, calls kv_thread_quiesce once per turn (nothing it looked
 * up before may be used after), and goes offline while it waits. A registered, online thread that never
 * quiesces keeps all freed memory of the domain from being reused. */
KV_API int kv_thread_register(kv_domain *domain); /* KV_ENOMEM; nests */
KV_API void kv_thread_unregister(kv_domain *domain);
KV_API void kv_thread_quiesce(kv_domain *domain) KV_EXCLUDES(kv_shard_held);
KV_API void kv_thread_offline(kv_domain *domain) KV_EXCLUDES(kv_shard_held);
KV_API void kv_thread_online(kv_domain *domain);
/* The domain of a store, borrowed. */
KV_API kv_domain *kv_store_domain(kv_store *store);

#ifdef __cplusplus
}
#endif
#endif
