/* tracking.c - see tracking.h.
 *
 *     table      key -> ids of clients that have read it since it changed last    64 parts, a lock each
 *     prefixes   prefix -> ids of clients that want to hear of it (BCAST)          one lock
 *     directory  id -> connection, its worker, what it asked for                   64 parts, a lock each
 *
 * The race. Readers take no lock, so a client may read a key while another writes it. What it reads must never stay in
 * its cache unnoticed when it is old:
 *
 *     reader   R1 remembers the key in the table    R2 reads it
 *     writer   W1 publishes the new value           W2 looks the key up in the table, and takes it out
 *
 * R1 and W2 take the lock of the same part. If W2 comes after R1, the writer finds the client and tells it. If it
 * comes before, then W1 came before W2, which handed the lock to R1, which came before R2: so R2 sees the new value. (Where
 * W1 is one of several that are one act, the marks are up before it, so R2 waits for the last of them.)
 *
 * W2 is done under the lock of the shard, right behind W1; telling the clients comes later (notify.c). So within EXEC all is in
 * order, too: who writes a key and then reads it has the new value, and is remembered for it; who reads it and then
 * writes it is told, and is not.
 *
 * What the client is told must come after the reply to what it read when it was remembered, old or new. Notes for a
 * connection are therefore delivered between requests only; and with --sharing actor, where its replies come as messages of
 * their own, not while a batch of it is under way.
 *
 * The stores tell of changes only while somebody listens. A write that began before the first client turned tracking on may
 * be under way untold; so the client's next request waits until every worker has ended what it was doing then (the
 * fence). The state thread of --sharing actor needs no such thing: it does one after the other.
 *
 * Without memory to remember a key, the client is told at once that it is stale, too. The table holds
 * tracking-table-max-keys keys; beyond that others are dropped, and their clients told.
 *
 * The table is tracking_table.c, the prefixes are tracking_prefix.c, and what a client is told tracking_note.c; here are
 * the directory, the requests of tracking clients, and CLIENT TRACKING itself.
 *
 * SPDX-License-Identifier: MIT */
#include "tracking.h"

#include <stdlib.h>

#include "memory.h"
#include "server.h"
#include "tracking_internal.h"

#define KEYS_MAX 256 /* of one command, on the stack */

/* ---- the directory ---- */

static pthread_mutex_t *people_lock(tracking *t, uint64_t id)
{
    return &t->people_locks[id % TRACKING_PEOPLE % TRACKING_PARTS];
}

void tracking_enter(connection *c)
{
    tracking *t = c->owner->server->tracking;
    connection **bucket = &t->people[c->id % TRACKING_PEOPLE];

    pthread_mutex_lock(people_lock(t, c->id));
    c->next_person = *bucket;
    *bucket = c;
    pthread_mutex_unlock(people_lock(t, c->id));
}

void tracking_leave(connection *c)
{
    tracking *t = c->owner->server->tracking;
    connection **link = &t->people[c->id % TRACKING_PEOPLE];

    tracking_set(c, 0, 0, 0, NULL);
    pthread_mutex_lock(people_lock(t, c->id));
    while (*link && *link != c)
        link = &(*link)->next_person;
    if (*link)
        *link = c->next_person;
    pthread_mutex_unlock(people_lock(t, c->id));
}

bool tracking_look_up(tracking *t, uint64_t id, tracking_person *ret)
{
    connection *c;

    pthread_mutex_lock(people_lock(t, id));
    for (c = t->people[id % TRACKING_PEOPLE]; c && c->id != id; c = c->next_person)
        ;
    if (c)
        *ret = (tracking_person){ c, c->owner->index, tracking_mode_of(c),
                                  c->tracker ? c->tracker->redirect : 0 };
    pthread_mutex_unlock(people_lock(t, id));
    return c != NULL;
}

void tracking_set_mode(connection *c, unsigned mode)
{
    tracking *t = c->owner->server->tracking;

    pthread_mutex_lock(people_lock(t, c->id));
    c->tracker->mode = mode;
    pthread_mutex_unlock(people_lock(t, c->id));
}

bool tracking_client_exists(server *s, uint64_t id)
{
    tracking_person who;

    return tracking_look_up(s->tracking, id, &who);
}

/* ---- changes ---- */

static void tell_key(server *s, worker *from, tracking_key *e, uint64_t origin)
{
    kv_slice key = kv_slice_of(e->key, e->key_len);
    kv_bytes *keys = tracking_make_keys(&key, 1);

    for (uint32_t i = 0; keys && i < e->count; i++)
        tracking_tell(s, from, e->clients[i], origin, false, TRACKING_KEYS, keys);
    kv_bytes_unref(keys);
    tracking_key_free(e);
}

tracking_key *tracking_take_stale(server *s, kv_slice key)
{
    /* The lock of the key's part is taken even when no key seems to be in the table: see the race above. */
    if (atomic_load_explicit(&s->tracking->clients, memory_order_relaxed) == 0)
        return NULL;
    return tracking_forget(s->tracking, key, domain_hash(s->domain, key));
}

void tracking_tell_stale(server *s, worker *from, tracking_key *stale, uint64_t origin)
{
    tell_key(s, from, stale, origin);
}

void tracking_drop_stale(tracking_key *stale)
{
    if (stale)
        tracking_key_free(stale);
}

#define PEOPLE_AT_ONCE 64

/* Tells some clients of a bucket of the directory, the first `skip` left out, that all is stale; how many. */
static size_t tell_some(server *s, worker *from, int bucket, size_t skip)
{
    tracking *t = s->tracking;
    uint64_t ids[PEOPLE_AT_ONCE];
    size_t count = 0;

    pthread_mutex_lock(&t->people_locks[bucket % TRACKING_PARTS]);
    for (connection *c = t->people[bucket]; c && count < PEOPLE_AT_ONCE; c = c->next_person)
        if (tracking_mode_of(c) & TRACKING_ON) {
            if (skip)
                skip--;
            else
                ids[count++] = c->id;
        }
    pthread_mutex_unlock(&t->people_locks[bucket % TRACKING_PARTS]);
    for (size_t i = 0; i < count; i++)
        tracking_tell(s, from, ids[i], 0, false, TRACKING_ALL, NULL);
    return count;
}

void tracking_all_are_stale(server *s)
{
    tracking_outdate(s->tracking);
}

void tracking_tell_all(server *s, worker *from)
{
    tracking *t = s->tracking;

    tracking_drop_outdated(t);
    for (int i = 0; i < TRACKING_PEOPLE; i++)
        for (size_t skip = 0; tell_some(s, from, i, skip) == PEOPLE_AT_ONCE; skip += PEOPLE_AT_ONCE)
            ;
}

/* Drops keys while there are too many: some, so that nobody waits long. */
static void drop_excess(server *s, size_t max_keys)
{
    tracking *t = s->tracking;

    for (int i = 0; i < TRACKING_PARTS && atomic_load_explicit(&t->keys, memory_order_relaxed) > max_keys;
         i++) {
        tracking_key *e = tracking_take_next(t);

        if (e)
            tell_key(s, NULL, e, 0);
    }
}

/* ---- requests of tracking clients ---- */

/* Whether the command's keys will be in the cache of a client of that mode. */
static bool will_cache(unsigned mode, const kv_command *row)
{
    bool caching = mode & TRACKING_CACHING;

    if (!(row->flags & KV_CMD_READONLY) || (mode & TRACKING_BCAST))
        return false;
    return !((mode & TRACKING_OPTIN) && !caching) && !((mode & TRACKING_OPTOUT) && caching);
}

/* Remembers all keys of a command. False: memory was out for one of them. */
static bool remember_keys(server *s, uint64_t id, const kv_command *row, int argc, const kv_slice argv[])
{
    int few[KEYS_MAX], *positions = few, count;
    bool complete = true;

    if (argc > KEYS_MAX)
        positions = malloc((size_t)argc * sizeof *positions);
    if (!positions)
        return false;
    count = kv_command_keys(row, argc, argv, positions, argc > KEYS_MAX ? argc : KEYS_MAX);
    for (int i = 0; i < count; i++) {
        kv_slice key = argv[positions[i]];

        complete &= tracking_remember(s->tracking, key, domain_hash(s->domain, key), id);
    }
    if (positions != few)
        free(positions);
    return complete;
}

/* What was remembered may be too much; what was not is told as stale at once. */
static void end_remembering(server *s, uint64_t id, bool complete)
{
    size_t max_keys = (size_t)config_number(s->config, CONFIG_ID_tracking_table_max_keys);

    if (!complete)
        tracking_tell(s, NULL, id, 0, false, TRACKING_ALL, NULL);
    if (max_keys)
        drop_excess(s, max_keys);
}

void tracking_before(connection *c, const kv_command *row, int argc, const kv_slice argv[])
{
    server *s = c->owner->server;

    if (c->tracker && will_cache(c->tracker->mode, row))
        end_remembering(s, c->id, remember_keys(s, c->id, row, argc, argv));
}

bool tracking_within_act(server *s, uint64_t id, unsigned mode, const kv_command *row, int argc,
                         const kv_slice argv[])
{
    return !will_cache(mode, row) || remember_keys(s, id, row, argc, argv);
}

void tracking_act_ends(server *s, uint64_t id, bool complete)
{
    end_remembering(s, id, complete);
}

void tracking_after(connection *c, const kv_command *row)
{
    bool about_client = row && row->container && strcmp(row->container, "client") == 0;
    bool queues = (c->flags & CONNECTION_MULTI) && !(row && row->id == KV_COMMAND_exec);

    if ((tracking_mode_of(c) & TRACKING_CACHING) && !queues && !about_client)
        tracking_set_mode(c, c->tracker->mode & ~(unsigned)TRACKING_CACHING);
}

/* ---- turning it on and off ---- */

bool tracking_listens(const server *s)
{
    return atomic_load_explicit(&s->tracking->clients, memory_order_acquire) > 0 ||
           atomic_load_explicit(&s->tracking->fence, memory_order_acquire) > 0;
}

static void pass_fence(worker *w, worker_message *message)
{
    server *s = w->server;

    (void)message;
    if (atomic_fetch_sub_explicit(&s->tracking->fence, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; i < s->worker_count; i++)
        if (!atomic_exchange_explicit(&s->workers[i].fence_down_posted, true, memory_order_acq_rel))
            worker_post(&s->workers[i], &s->workers[i].fence_down);
}

void tracking_fence_down(worker *w, worker_message *message)
{
    connection *c = w->fenced, *next;

    (void)message;
    atomic_store_explicit(&w->fence_down_posted, false, memory_order_release);
    w->fenced = NULL;
    for (; c; c = next) {
        next = c->next_waiting;
        if (connection_unpark(c)) {
            c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
            connection_flush(c);
        }
    }
}

void tracking_wait(connection *c)
{
    if (atomic_load_explicit(&c->owner->server->tracking->fence, memory_order_acquire) == 0)
        return;
    connection_park(c);
    c->next_waiting = c->owner->fenced;
    c->owner->fenced = c;
}

/* The first client: the stores tell from now on, and each worker says when it has ended what it was doing. */
static void raise_fence(server *s)
{
    tracking *t = s->tracking;
    int none = 0;

    notify_apply(s);
    if (!atomic_compare_exchange_strong_explicit(&t->fence, &none, s->worker_count, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return; /* one is up: the stores have told all the time */
    for (int i = 0; i < s->worker_count; i++) {
        t->fences[i].run = pass_fence;
        worker_post(&s->workers[i], &t->fences[i]);
    }
}

static void end(connection *c)
{
    server *s = c->owner->server;
    tracker *old = c->tracker;

    pthread_mutex_lock(people_lock(s->tracking, c->id));
    c->tracker = NULL;
    pthread_mutex_unlock(people_lock(s->tracking, c->id));
    c->flags &= ~(unsigned)CONNECTION_TRACKING;
    for (size_t i = 0; i < old->prefix_count; i++) {
        tracking_leave_prefix(s->tracking, old->prefixes[i], c->id);
        free((void *)(uintptr_t)old->prefixes[i].data);
    }
    for (tracking_note *note = old->deferred, *next; note; note = next) {
        next = note->next;
        tracking_note_free(note);
    }
    free(old->prefixes);
    free(old);
    if (atomic_fetch_sub_explicit(&s->tracking->clients, 1, memory_order_acq_rel) == 1) {
        tracking_outdate(s->tracking);
        tracking_drop_outdated(s->tracking);
        notify_apply(s);
    }
}

static int add_prefixes(connection *c, size_t count, const kv_slice prefixes[])
{
    tracker *tr = c->tracker;
    kv_slice *all = realloc(tr->prefixes, (tr->prefix_count + count + 1) * sizeof *all);

    if (!all)
        return KV_ENOMEM;
    tr->prefixes = all;
    for (size_t i = 0; i < count; i++) {
        char *copy = malloc(prefixes[i].len + 1);

        if (!copy || tracking_join_prefix(c->owner->server->tracking, prefixes[i], c->id) != 0) {
            free(copy);
            return KV_ENOMEM;
        }
        if (prefixes[i].len)
            memcpy(copy, prefixes[i].data, prefixes[i].len);
        all[tr->prefix_count++] = kv_slice_of(copy, prefixes[i].len);
        tr->prefix_bytes += 2 * (prefixes[i].len + 1) + sizeof *all + sizeof(tracking_prefix) + sizeof c->id;
    }
    qsort(all, tr->prefix_count, sizeof *all, tracking_by_bytes);
    return 0;
}

static int begin(connection *c)
{
    server *s = c->owner->server;
    tracker *made = calloc(1, sizeof *made);

    if (!made)
        return KV_ENOMEM;
    pthread_mutex_lock(people_lock(s->tracking, c->id));
    c->tracker = made;
    pthread_mutex_unlock(people_lock(s->tracking, c->id));
    if (atomic_fetch_add_explicit(&s->tracking->clients, 1, memory_order_acq_rel) == 0)
        raise_fence(s);
    return 0;
}

int tracking_set(connection *c, unsigned mode, uint64_t redirect, size_t count, const kv_slice prefixes[])
{
    tracking *t = c->owner->server->tracking;
    bool fresh = !c->tracker;

    if (!mode) {
        if (c->tracker)
            end(c);
        return 0;
    }
    if (fresh && begin(c) != 0)
        return KV_ENOMEM;
    if (add_prefixes(c, count, prefixes) != 0) {
        if (fresh)
            end(c);
        return KV_ENOMEM;
    }
    pthread_mutex_lock(people_lock(t, c->id));
    c->tracker->mode = mode;
    c->tracker->redirect = redirect;
    pthread_mutex_unlock(people_lock(t, c->id));
    c->flags |= CONNECTION_TRACKING;
    if (count)
        memory_count_client(c); /* no buffer of it grows, so that nobody else would */
    return 0;
}

void tracking_set_caching(connection *c, bool on)
{
    tracking_set_mode(c, on ? c->tracker->mode | TRACKING_CACHING
                            : c->tracker->mode & ~(unsigned)TRACKING_CACHING);
}

/* ---- life and figures ---- */

tracking *tracking_new(server *s)
{
    tracking *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->fences = calloc(128, sizeof *t->fences);
    for (int i = 0; i < TRACKING_PARTS; i++) {
        pthread_mutex_init(&t->parts[i].lock, NULL);
        pthread_mutex_init(&t->people_locks[i], NULL);
    }
    pthread_mutex_init(&t->prefix_lock, NULL);
    (void)s;
    return t;
}

size_t tracking_memory(const tracking *t)
{
    return sizeof *t + atomic_load_explicit(&((tracking *)t)->bytes, memory_order_relaxed);
}

void tracking_free(tracking *t)
{
    if (!t)
        return;
    tracking_outdate(t);
    tracking_drop_outdated(t);
    for (int i = 0; i < TRACKING_PARTS; i++) {
        free(t->parts[i].buckets);
        pthread_mutex_destroy(&t->parts[i].lock);
        pthread_mutex_destroy(&t->people_locks[i]);
    }
    pthread_mutex_destroy(&t->prefix_lock);
    free(t->prefixes);
    free(t->fences);
    free(t);
}

void tracking_read_figures(const server *s, tracking_figures *ret)
{
    const tracking *t = s->tracking;

    *ret = (tracking_figures){
        .clients = atomic_load_explicit(&t->clients, memory_order_relaxed),
        .keys = atomic_load_explicit(&t->keys, memory_order_relaxed),
        .items = atomic_load_explicit(&t->items, memory_order_relaxed),
        .prefixes = atomic_load_explicit(&t->prefix_count, memory_order_relaxed),
    };
    ret->bytes = ret->keys * (sizeof(tracking_key) + 32) + ret->items * sizeof(uint64_t);
}
