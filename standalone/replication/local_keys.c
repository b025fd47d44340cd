/* local_keys.c - see local_keys.h.
 *
 * The problem: a replica removes nothing because it has expired, since its primary says DEL. Of what its own clients have written
 * (replica-read-only no) the primary knows nothing, and will not.
 *
 *     change of a client, with a deadline --under the shard's lock--> noted: db, key, deadline
 *     change of the primary, with a deadline ----------------------->  noted: no longer a client's
 *     DEL, eviction ------------------------------------------------>  noted: no longer there
 *     a few times a second: notes --> a store of names, which have the deadlines of the keys
 *                                     its expire cycle --> names that were due --> the keys themselves, if they have expired
 *
 * The names are a kv_store, so they are there once each, and expire where something is due and nowhere else. They count as memory of
 * the server, as of the last tick.
 * What exchanges or empties a database gives it a new generation; names of another one mean nothing, and go when they are due.
 *
 * A key is a client's when a client has written it last. Redis also counts one that a client has given a deadline and the primary has
 * written since; here that waits for the primary. SWAPDB makes the keys of both databases nobody's, as there.
 *
 * Bounds. No more names than keys with a deadline (and those of past generations); and as many notes as are made between two ticks.
 * What memory does not suffice for stays hidden, and is removed when it is written again or the replica is promoted.
 *
 * Threads    Notes: any. The rest: worker 0. l->lock is a leaf, taken under the locks of shards.
 *
 * SPDX-License-Identifier: MIT */
#include "local_keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "actor.h"
#include "server.h"
#include "store.h"

/* In front of a name. */
typedef struct home {
    uint32_t db, generation;
} home;

typedef struct note {
    struct note *next;
    int64_t deadline_ms; /* KV_FOREVER: the name is no longer wanted */
    size_t len;
    char name[]; /* a home and the key */
} note;

struct local_keys {
    server *server;
    kv_store *names;      /* worker 0's; NULL: none yet */
    note *due;            /* while its cycle runs */
    pthread_mutex_t lock; /* guards the following */
    note *first, **last;
    uint32_t *generations;  /* of databases */
    _Atomic bool some;      /* there are notes, or names */
    _Atomic uint64_t bytes; /* that the names take */
};

/* ---- under the lock of a shard ---- */

static note *note_new(kv_slice key, size_t ahead, int64_t deadline_ms)
{
    note *n = malloc(sizeof *n + ahead + key.len);

    if (!n)
        return NULL;
    *n = (note){ .deadline_ms = deadline_ms, .len = ahead + key.len };
    if (key.len)
        memcpy(n->name + ahead, key.data, key.len);
    return n;
}

static void push(local_keys *l, note *n, int db)
{
    home at = { .db = (uint32_t)db };

    pthread_mutex_lock(&l->lock);
    at.generation = l->generations[db];
    memcpy(n->name, &at, sizeof at);
    *l->last = n;
    l->last = &n->next;
    atomic_store_explicit(&l->some, true, memory_order_relaxed);
    pthread_mutex_unlock(&l->lock);
}

static void begin_generation(local_keys *l, int db)
{
    pthread_mutex_lock(&l->lock);
    l->generations[db]++;
    pthread_mutex_unlock(&l->lock);
}

/* deadline_ms: KV_FOREVER: if there is a name for it, that may go. */
static void note_key(local_keys *l, kv_slice key, int db, int64_t deadline_ms)
{
    bool matters = deadline_ms != KV_FOREVER || atomic_load_explicit(&l->some, memory_order_relaxed);
    note *n = matters ? note_new(key, sizeof(home), deadline_ms) : NULL;

    if (n)
        push(l, n, db);
}

void local_keys_note(local_keys *l, const kv_change *change, int db, bool by_client)
{
    switch (change->kind) {
    case KV_CHANGE_SET:
    case KV_CHANGE_APPEND:
    case KV_CHANGE_DEADLINE:
        if (change->deadline_ms != KV_FOREVER)
            note_key(l, change->key, db, by_client ? change->deadline_ms : KV_FOREVER);
        return;
    case KV_CHANGE_DELETE:
    case KV_CHANGE_EVICT:
        note_key(l, change->key, db, KV_FOREVER);
        return;
    case KV_CHANGE_SWAP:
        begin_generation(l, (int)((kv_store *const *)change->other_tag - l->server->databases.stores));
        begin_generation(l, db);
        return;
    case KV_CHANGE_CLEAR:
        begin_generation(l, db);
        return;
    default:
        return;
    }
}

/* ---- worker 0 ---- */

/* The listener of the names. */
KV_UNDER_LOCK static void take_due(void *arg, const kv_change *change)
{
    local_keys *l = arg;
    note *n = change->kind == KV_CHANGE_EXPIRE ? note_new(change->key, 0, 0) : NULL;

    if (!n)
        return;
    n->next = l->due;
    l->due = n;
}

static bool open_names(local_keys *l)
{
    kv_store_options options = { .domain = l->server->domain };

    if (!l->names) {
        l->names = kv_store_new(&options);
        if (l->names)
            kv_store_on_change(l->names, take_due, l, NULL);
    }
    return l->names != NULL;
}

static void count_bytes(local_keys *l)
{
    kv_stats figures;

    store_read_stats(l->names, &figures, 0);
    atomic_store_explicit(&l->bytes, figures.entry_bytes + figures.index_bytes, memory_order_relaxed);
}

static note *take_notes(local_keys *l)
{
    note *first;

    pthread_mutex_lock(&l->lock);
    first = l->first;
    l->first = NULL;
    l->last = &l->first;
    if (!first && (!l->names || kv_store_count(l->names) == 0))
        atomic_store_explicit(&l->some, false, memory_order_relaxed);
    pthread_mutex_unlock(&l->lock);
    return first;
}

/* Keeps the name of n, or removes it; what is due at once joins those that are. */
static void follow_note(local_keys *l, note *n, int64_t now_ms)
{
    kv_slice name = kv_slice_of(n->name, n->len);
    kv_set_options options = { .deadline_ms = n->deadline_ms };

    if (n->deadline_ms == KV_FOREVER) {
        kv_store_delete(l->names, name, NULL, now_ms);
    } else if (n->deadline_ms > now_ms) {
        kv_store_set(l->names, name, KV_STR(""), &options, now_ms, NULL);
    } else {
        n->next = l->due;
        l->due = n;
        return;
    }
    free(n);
}

static bool is_of_now(local_keys *l, home at)
{
    bool same;

    pthread_mutex_lock(&l->lock);
    same = l->generations[at.db] == at.generation;
    pthread_mutex_unlock(&l->lock);
    return same;
}

static void reap(local_keys *l, const note *n, int64_t now_ms)
{
    kv_store *store;
    home at;

    memcpy(&at, n->name, sizeof at);
    store = l->server->databases.stores[at.db];
    if (!is_of_now(l, at))
        return;
    if (epoch_enter(l->server->domain) == 0)
        store_reap(store, store_key_of(store, kv_slice_of(n->name + sizeof at, n->len - sizeof at)), now_ms);
    epoch_leave(l->server->domain);
}

/* Removes those that were due, where they are. */
typedef struct reaping {
    actor_message message;
    local_keys *l;
    int64_t now_ms;
} reaping;

static void run_reaping(actor_message *message)
{
    reaping *r = (reaping *)message;
    local_keys *l = r->l;

    for (note *n = l->due, *next; n; n = next) {
        next = n->next;
        reap(l, n, r->now_ms);
        free(n);
    }
    l->due = NULL;
}

void local_keys_expire(local_keys *l, int64_t now_ms)
{
    reaping r = { .message.run = run_reaping, .l = l, .now_ms = now_ms };
    note *notes;

    if (!atomic_load_explicit(&l->some, memory_order_relaxed) || !open_names(l))
        return;
    notes = take_notes(l);
    for (note *n = notes, *next; n; n = next) {
        next = n->next;
        follow_note(l, n, now_ms);
    }
    kv_store_expire_cycle(l->names, now_ms, 0);
    count_bytes(l);
    if (!l->due)
        return;
    if (l->server->actor)
        actor_call(l->server->actor, &r.message);
    else
        run_reaping(&r.message);
}

uint64_t local_keys_memory(const local_keys *l)
{
    return atomic_load_explicit(&((local_keys *)l)->bytes, memory_order_relaxed);
}

/* ---- life ---- */

local_keys *local_keys_new(server *s)
{
    local_keys *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->server = s;
    l->last = &l->first;
    l->generations = calloc((size_t)s->databases.count, sizeof *l->generations);
    pthread_mutex_init(&l->lock, NULL);
    if (!l->generations) {
        local_keys_free(l);
        return NULL;
    }
    return l;
}

void local_keys_free(local_keys *l)
{
    if (!l)
        return;
    for (note *n = l->first, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    kv_store_unref(l->names);
    free(l->generations);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
