/* call.h - one invocation of a command, and the sink that takes its reply.
 *
 * A command sees its arguments, a store, the time and a sink: neither a socket, nor a lock, nor RESP, nor
 * Redis's module API. The same function therefore runs behind every door.
 *
 * Threads    A call belongs to one thread, which is inside an epoch of the stores' domain.
 * Ownership  argv is borrowed for the call. A sink copies what it is given, or retains the owner.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_CALL_H
#define KV_COMMANDS_CALL_H

#include "store.h"

struct kv_command;

/* ---- the reply sink ---- */

typedef struct kv_reply kv_reply;

/* What a host implements. An aggregate is announced with its count, its elements follow as replies of
 * their own. In RESP2 a map is an array of 2n, a set an array, null is a null bulk. Errors and simple
 * strings are whole texts ("ERR no such key"); the host keeps CR and LF out of the stream. */
typedef struct kv_reply_ops {
    void (*null)(kv_reply *reply);
    void (*null_array)(kv_reply *reply);
    void (*integer)(kv_reply *reply, int64_t value);
    void (*real)(kv_reply *reply, double value);
    void (*boolean)(kv_reply *reply, bool value);
    void (*simple)(kv_reply *reply, kv_slice text);
    void (*error)(kv_reply *reply, kv_slice text);
    /* owner: NULL, or a kv_bytes that holds data, which the sink may retain instead of copying. */
    void (*bulk)(kv_reply *reply, kv_slice data, kv_bytes *owner);
    /* A bulk whose RESP3 form names its format: "txt" or "mkd". */
    void (*verbatim)(kv_reply *reply, kv_slice text, const char format[4]);
    void (*array)(kv_reply *reply, size_t count);
    void (*map)(kv_reply *reply, size_t pairs);
    void (*set)(kv_reply *reply, size_t count);
    void (*push)(kv_reply *reply, size_t count);
} kv_reply_ops;

struct kv_reply {
    const kv_reply_ops *ops;
    int protocol; /* 2 or 3: the few commands whose very shape differs ask it */
    size_t many;  /* while a run of calls replies: how many may; the sink makes it 0 to see them end early */
};

static inline void kv_reply_null(kv_reply *r)
{
    r->ops->null(r);
}
static inline void kv_reply_int(kv_reply *r, int64_t value)
{
    r->ops->integer(r, value);
}
static inline void kv_reply_bulk(kv_reply *r, kv_slice data)
{
    r->ops->bulk(r, data, NULL);
}
static inline void kv_reply_ok(kv_reply *r)
{
    r->ops->simple(r, KV_STR("OK"));
}
static inline void kv_reply_array(kv_reply *r, size_t count)
{
    r->ops->array(r, count);
}
/* The entry's string value as a bulk, by reference when it is out of line. */
__attribute__((always_inline)) static inline void kv_reply_value(kv_reply *r, const entry *e)
{
    kv_bytes *owner;
    kv_slice value = entry_value(e, &owner);

    r->ops->bulk(r, value, owner);
}
/* n lines of a HELP subcommand. */
void kv_reply_help(kv_reply *r, const char *const lines[], size_t n);
/* The text of a KV_E... */
void kv_reply_error(kv_reply *r, int error);
/* An error text made as by printf, at most 512 bytes of it. */
void kv_reply_errorf(kv_reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the call ---- */

typedef struct kv_call kv_call;

/* The databases of a server, or the one store of an embedding program. */
typedef struct kv_databases {
    kv_store **stores;
    int count;
    /* Told by FLUSHALL that all are empty; true: it will reply. Locks may be held (EXEC). NULL: nobody asks. */
    bool (*emptied)(void *arg, kv_call *call);
    void *arg;
} kv_databases;

/* Figures that commands keep; one per thread, read by others with relaxed loads. */
typedef struct kv_counters {
    _Atomic uint64_t keyspace_hits, keyspace_misses;
} kv_counters;

/* What reads leave on the entries they find: an access clock, or one of these. */
#define KV_ACCESS_MAX 0xffffffu
#define KV_COUNT_USES (UINT32_MAX - 1) /* LFU: a use is counted */
#define KV_NO_TOUCH   UINT32_MAX       /* CLIENT NO-TOUCH: nothing */

/* What is left to do of a call that would keep its thread for too long: the host goes on with it between what others ask
 * for. Begins a struct of the command's. */
typedef struct kv_rest kv_rest;
struct kv_rest {
    /* The next part, of some milliseconds; true: that was the last one, and it has replied. It may reply bit by bit, in
     * any part: the host keeps that together. call is set up as at first, its arguments are a copy, the same one for all parts.
     * The same promises as kv_command_fn. */
    bool (*go_on)(kv_rest *rest, kv_call *call);
    void (*free)(kv_rest *rest); /* after the last part, or when nobody wants it any more */
};

struct kv_call {
    const struct kv_command *command; /* the row: of the subcommand, where there is one */
    const kv_slice *argv;             /* argv[0] is the command's name */
    int argc;
    const kv_owned *owned; /* of argv, what lies in memory of its own; NULL: nothing */
    int db;                /* which of databases store is */
    kv_store *store;       /* the selected database */
    const kv_databases *databases;
    int64_t now_ms;
    uint32_t access; /* the access clock to leave on what is read, KV_COUNT_USES or KV_NO_TOUCH */
    bool key_hashed; /* key_hash holds domain_hash of argv[command->keys.first] */
    uint64_t key_hash;
    const map_hint *key_hint; /* what the host learned of that key by reading ahead, or NULL */
    kv_reply *reply;
    kv_counters *counters;
    uint64_t *rng;                    /* a random state of the thread's own */
    const struct kv_renames *renames; /* other names of commands, or NULL: see renames.h */
    size_t value_max;                 /* proto-max-bulk-len: the longest value a command may build */
    /* NULL, or told of each key that a read command did not find. */
    void (*on_miss)(kv_call *call, kv_slice key);
    /* NULL: all must be done at once. Else takes rest over, and the function returns without a reply; false: memory is
     * out, rest is still the caller's. */
    bool (*put_off)(kv_call *call, kv_rest *rest);
    void *host; /* the host's: its session */
};

/* Adds to a counter that only this thread writes. */
__attribute__((always_inline)) static inline void kv_count_more(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

__attribute__((always_inline)) static inline void kv_count(_Atomic uint64_t *counter)
{
    kv_count_more(counter, 1);
}

#endif
