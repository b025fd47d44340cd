/* memory.c - see memory.h.
 *
 * In use are: keys, values and their index (the stores' own sums, exact at every moment), what clients have in their buffers,
 * what subscriptions and the tracking table take, and the fixed parts. Blocks that wait for readers before they are freed count no more: evicting
 * a key must be seen at once, or far too many would go.
 *
 * Adding these sums up costs some dozens of cache lines, too many for each batch. So a worker that has found slack
 * takes an allowance of it, as many bytes of requests as it may run before it looks again: its share of half of the
 * slack. Near the limit it looks at every batch.
 *
 * Above the limit a worker evicts, from whichever databases hold candidates, in proportion to their number, until the
 * batch has room and a margin is free, or for as long as maxmemory-eviction-tenacity allows. Only when nothing can be
 * evicted, writes are refused; a refused command has not begun, so it has changed nothing.
 *
 * Clients (maxmemory-clients, or a quarter of the machine's memory): each worker keeps sums of its clients' bytes by size class, which all may read. Who
 * finds the total too large looks for the largest class that anybody has: closes one of its own out of it, or sends its
 * owner to do so.
 *
 * SPDX-License-Identifier: MIT */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "local_keys.h"
#include "pubsub.h"
#include "replica.h"
#include "tracking.h"

#define REPLICAS        (-1)          /* a class of its own: never closed for want of memory */
#define ALLOWANCE_MAX   (1024 * 1024) /* bytes of requests between two looks */
#define REQUEST_BYTES   96            /* what a request may add besides its arguments */
#define MARGIN_MAX      (32 * 1024) /* freed beyond what is needed: it is used again while it is in the cache */
#define FRUITLESS_MAX   64          /* draws without a candidate, after which there are none to speak of */
#define TICK_BUDGET_US  25000
#define NO_LIMIT_BUDGET INT64_MAX

/* ---- what is in use ---- */

uint64_t memory_of_clients(const server *s)
{
    uint64_t bytes = 0;

    for (int i = 0; i < s->worker_count; i++)
        bytes += atomic_load_explicit(&s->workers[i].client_bytes, memory_order_relaxed);
    return bytes;
}

uint64_t memory_of_replicas(const server *s)
{
    uint64_t bytes = 0;

    for (int i = 0; i < s->worker_count; i++)
        bytes += atomic_load_explicit(&s->workers[i].replica_bytes, memory_order_relaxed);
    return bytes;
}

uint64_t server_memory(server *s)
{
    uint64_t bytes = sizeof *s + topics_memory(s->topics) + tracking_memory(s->tracking);

    bytes += memory_of_clients(s) + memory_of_replicas(s) + local_keys_memory(s->local_keys);
    bytes += (uint64_t)s->worker_count * (sizeof(worker) + WORKER_INPUT_BYTES);
    for (int i = 0; i < s->databases.count; i++) {
        kv_stats figures;

        store_read_stats(s->databases.stores[i], &figures, 0);
        bytes += figures.entry_bytes + figures.index_bytes;
    }
    return bytes;
}

uint64_t memory_resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- policies ---- */

typedef struct policy {
    bool evicts, only_deadline;
    store_victim victim;
} policy;

/* In the order of the directive's words. */
static const policy policies[] = {
    { true, true, STORE_EVICT_LRU },     { true, true, STORE_EVICT_LFU },
    { true, true, STORE_EVICT_RANDOM },  { true, true, STORE_EVICT_TTL },
    { true, false, STORE_EVICT_LRU },    { true, false, STORE_EVICT_LFU },
    { true, false, STORE_EVICT_RANDOM }, { false, false, STORE_EVICT_LRU },
};

static const policy *policy_of(const server *s)
{
    return &policies[config_number(s->config, CONFIG_ID_maxmemory_policy)];
}

void memory_apply(server *s)
{
    const policy *p = policy_of(s);
    bool limited = config_number(s->config, CONFIG_ID_maxmemory) > 0;
    bool counts = p->evicts && p->victim == STORE_EVICT_LFU;

    for (int i = 0; i < s->databases.count; i++)
        store_count_uses(s->databases.stores[i], counts,
                         (uint32_t)config_number(s->config, CONFIG_ID_lfu_log_factor),
                         (uint32_t)config_number(s->config, CONFIG_ID_lfu_decay_time));
    atomic_store_explicit(&s->access_mode,
                          counts                                                 ? ACCESS_USES
                          : limited && p->evicts && p->victim == STORE_EVICT_LRU ? ACCESS_FINE
                                                                                 : ACCESS_COARSE,
                          memory_order_relaxed);
    server_restrict(s, SERVER_MEMORY_LIMITED, limited ? SERVER_MEMORY_LIMITED : 0);
    atomic_store_explicit(&s->over_memory, limited,
                          memory_order_relaxed); /* maybe: so that all workers look */
}

/* ---- making room ---- */

static int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* As Redis reads the tenacity: 0 to 10 are steps of 50 microseconds, from there on each is 15 % more; 100 is no limit. */
static int64_t eviction_budget_us(const server *s)
{
    int64_t tenacity = config_number(s->config, CONFIG_ID_maxmemory_eviction_tenacity);
    double us = 500;

    if (tenacity <= 10)
        return 50 * tenacity;
    if (tenacity == 100)
        return NO_LIMIT_BUDGET;
    for (; tenacity > 10; tenacity--)
        us *= 1.15;
    return (int64_t)us;
}

/* Keys that may go, of each database, and in all. */
static size_t count_candidates(worker *w, bool only_deadline)
{
    const kv_databases *all = &w->server->databases;
    size_t total = 0;

    for (int i = 0; i < all->count; i++) {
        kv_stats figures;

        store_read_stats(all->stores[i], &figures, w->now_ms);
        w->candidates[i] = only_deadline ? figures.keys_with_deadline : figures.keys;
        total += w->candidates[i];
    }
    return total;
}

/* A database, drawn in proportion to its candidates. */
static int draw_database(worker *w, size_t total)
{
    uint64_t x = w->rng += 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(((x ^ x >> 29) * 0xbf58476d1ce4e5b9u >> 32) * (uint64_t)total >> 32);
    int i = 0;

    while (i + 1 < w->server->databases.count && at >= w->candidates[i])
        at -= w->candidates[i++];
    return i;
}

/* One eviction; with --sharing actor it is a message to the thread that owns the state. */
typedef struct evict_message {
    actor_message message;
    kv_store *store;
    const policy *policy;
    size_t samples, want_bytes, bytes, keys;
    uint64_t *hand;
    int64_t now_ms;
} evict_message;

static void run_evict(actor_message *message)
{
    evict_message *m = (evict_message *)message;

    m->keys = store_evict(m->store, m->policy->victim, m->policy->only_deadline, m->samples, m->hand,
                          m->now_ms, m->want_bytes, &m->bytes);
}

/* Evicts until want_bytes are free, or the budget is used up. False: there is nothing more to be evicted, and
 * fewer than need_bytes are free. */
static bool make_room(worker *w, const policy *p, uint64_t need_bytes, uint64_t want_bytes, int64_t budget_us)
{
    server *s = w->server;
    size_t total = count_candidates(w, p->only_deadline), fruitless = 0;
    int64_t until_us = budget_us == NO_LIMIT_BUDGET ? INT64_MAX : clock_us() + budget_us;
    uint64_t freed = 0;

    while (total > 0 && freed < want_bytes && fruitless < FRUITLESS_MAX) {
        int db = draw_database(w, total);
        evict_message m = {
            .message.run = run_evict,
            .store = s->databases.stores[db],
            .policy = p,
            .samples = (size_t)config_number(s->config, CONFIG_ID_maxmemory_samples),
            .want_bytes = want_bytes - freed,
            .hand = &w->hands[db],
            .now_ms = w->now_ms,
        };

        if (s->actor)
            actor_call(s->actor, &m.message);
        else
            run_evict(&m.message);
        freed += m.bytes;
        fruitless = m.keys ? 0 : fruitless + 1;
        if (fruitless)
            total = count_candidates(w, p->only_deadline);
        if (clock_us() >= until_us)
            return true; /* the next batch goes on */
    }
    return freed >= need_bytes;
}

/* Compares what is in use with the limit; evicts. */
static bool look(worker *w, int64_t budget_us)
{
    server *s = w->server;
    uint64_t limit = (uint64_t)config_number(s->config, CONFIG_ID_maxmemory), used = server_memory(s), margin;
    const policy *p = policy_of(s);
    uint64_t start;
    bool found;

    w->memory_allowance = 0;
    if (!limit || used <= limit) {
        uint64_t share = (limit - used) / (2 * (uint64_t)s->worker_count);

        w->memory_allowance = limit && share < ALLOWANCE_MAX ? (int64_t)share : ALLOWANCE_MAX;
        atomic_store_explicit(&s->over_memory, false, memory_order_relaxed);
        return false;
    }
    margin = limit / 128 < MARGIN_MAX ? limit / 128 : MARGIN_MAX;
    if (!p->evicts)
        return true;
    if (!atomic_load(&s->complete)) /* a log that is loaded may still need what it has brought */
        return false;
    start = ticks_now(&s->ticks);
    found = make_room(w, p, used - limit, used - limit + margin, budget_us);
    latency_add(s->latency, "eviction-cycle",
                (int64_t)ticks_to_ns(&s->ticks, ticks_now(&s->ticks) - start) / 1000000, w->now_ms);
    return !found;
}

bool memory_short(worker *w, size_t input_bytes, size_t count)
{
    w->memory_allowance -= (int64_t)(input_bytes + REQUEST_BYTES * count);
    if (w->memory_allowance > 0 && !atomic_load_explicit(&w->server->over_memory, memory_order_relaxed))
        return false;
    return look(w, eviction_budget_us(w->server));
}

void memory_tick(worker *w)
{
    if (atomic_load_explicit(&w->server->restrictions, memory_order_relaxed) & SERVER_IGNORES_MEMORY)
        return;
    if (atomic_load_explicit(&w->server->over_memory, memory_order_relaxed) && policy_of(w->server)->evicts)
        look(w, TICK_BUDGET_US);
}

/* ---- clients ---- */

static int class_of(size_t bytes)
{
    int class = 0;

    while (class + 1 < WORKER_CLASSES && bytes >= WORKER_CLASS_BYTES << class)
        class ++;
    return class;
}

static void add_bytes(_Atomic uint64_t *sum, int64_t bytes)
{
    /* Only the worker itself writes. */
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + (uint64_t)bytes,
                          memory_order_relaxed);
}

/* Takes out of the sums what c has in them. */
static void uncount(connection *c)
{
    worker *w = c->owner;
    int64_t bytes = (int64_t)c->counted_bytes;

    add_bytes(c->counted_class == REPLICAS ? &w->replica_bytes : &w->client_bytes, -bytes);
    if (c->counted_class > 0)
        add_bytes(&w->class_bytes[c->counted_class - 1], -bytes);
}

static int class_of_client(const connection *c, size_t bytes)
{
    if (replica_is_served(c))
        return REPLICAS;
    return bytes && !(c->flags & CONNECTION_NO_EVICT) ? class_of(bytes) + 1 : 0;
}

/* Moves c's bytes from where they were counted to where they belong now. */
static void recount(connection *c, size_t bytes)
{
    worker *w = c->owner;

    uncount(c);
    c->counted_bytes = bytes;
    c->counted_class = class_of_client(c, bytes);
    add_bytes(c->counted_class == REPLICAS ? &w->replica_bytes : &w->client_bytes, (int64_t)bytes);
    if (c->counted_class > 0)
        add_bytes(&w->class_bytes[c->counted_class - 1], (int64_t)bytes);
}

/* What all clients together may have. Where nothing is said, that is a quarter of the machine's memory: more than they need,
 * and less than what would end the process. */
static uint64_t clients_limit(const server *s)
{
    int64_t limit = config_number(s->config, CONFIG_ID_maxmemory_clients);

    if (limit == 0)
        return s->machine_bytes / 4;
    if (limit > 0)
        return (uint64_t)limit;
    return (uint64_t)(-limit * (config_number(s->config, CONFIG_ID_maxmemory) / 100));
}

static bool has_class(const worker *w, int class)
{
    return atomic_load_explicit(&w->class_bytes[class], memory_order_relaxed) > 0;
}

/* Who has clients of the largest class that there is: w, when it has some; NULL: there are none to be closed. */
static worker *worker_of_largest(worker *w)
{
    server *s = w->server;

    for (int class = WORKER_CLASSES - 1; class >= 0; class --) {
        if (has_class(w, class))
            return w;
        for (int i = 0; i < s->worker_count; i++)
            if (has_class(&s->workers[i], class))
                return &s->workers[i];
    }
    return NULL;
}

static connection *largest_client(const worker *w)
{
    connection *largest = NULL;

    for (connection *c = w->connections; c; c = c->next)
        if (c->counted_class > 0 && (!largest || c->counted_bytes > largest->counted_bytes))
            largest = c;
    return largest;
}

static void evict_client(worker *w, connection *c)
{
    stats_add(&w->stats.evicted_clients, 1);
    log_limited(&w->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_NOTICE,
                "Evicting client id=%llu, whose buffers hold %zu bytes", (unsigned long long)c->id,
                c->counted_bytes);
    connection_close(c);
}

void memory_ask_to_shed(worker *w)
{
    if (!atomic_exchange_explicit(&w->shedding, true, memory_order_acq_rel))
        worker_post(w, &w->shed);
}

void memory_shed_clients(worker *w)
{
    uint64_t limit = clients_limit(w->server);
    worker *owner;

    while (limit && memory_of_clients(w->server) > limit && (owner = worker_of_largest(w))) {
        connection *c = owner == w ? largest_client(w) : NULL;

        if (owner != w) {
            memory_ask_to_shed(owner);
            return;
        }
        if (!c)
            return;
        evict_client(w, c);
    }
}

void memory_shed(worker *w, worker_message *message)
{
    (void)message;
    atomic_store_explicit(&w->shedding, false, memory_order_release);
    memory_shed_clients(w);
}

void memory_count_client(connection *c)
{
    size_t before = c->counted_bytes;
    connection_use use;

    if (c->flags & CONNECTION_CLOSING)
        return;
    connection_usage(c, &use);
    recount(c, use.total_bytes);
    if (use.total_bytes > before)
        memory_shed_clients(c->owner);
}

void memory_forget_client(connection *c)
{
    recount(c, 0);
}
