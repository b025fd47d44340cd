/* topic.c - see topic.h.
 *
 *     name --hash--> part (a lock, buckets) --> topic | seats of worker 0 | seats of worker 1 | ... | name
 *                                                        list: only worker 0     announced: under the lock
 *
 * A PUBLISH needs two answers that fit together: how many receive the message, and which workers are to
 * deliver it. Both are the announced counts, read under the part's lock, under which a subscription is
 * counted before it is confirmed. So a message that is published after the confirmation is sent to the
 * subscriber's worker, which finds the subscription in its seats: it sat down before it confirmed.
 *
 * Names spread over PARTS parts, so that publishers to different channels do not meet. The patterns stand in
 * one array besides, under a reader-writer lock, since each message must be matched with all of them; there
 * is a count of them to look at before.
 *
 * Invariants
 *   1. A topic is in its bucket, and among the patterns, exactly while users > 0.
 *   2. Locks: a part, then the patterns. Both are leaves for everybody else.
 *
 * SPDX-License-Identifier: MIT */
#include "topic.h"

#include <stdlib.h>

#include "pattern.h"

#define PARTS        64
#define FIRST_BUCKET 8

typedef struct part {
    pthread_mutex_t lock; /* guards all of it, and users and announced of its topics */
    topic **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t topic_count;
} part;

struct topics {
    kv_domain *domain;
    int worker_count;
    _Atomic size_t counts[TOPIC_KINDS];
    _Atomic size_t bytes;
    pthread_rwlock_t pattern_lock; /* guards the next two */
    topic **patterns;
    size_t pattern_capacity;
    part parts[PARTS];
};

/* ---- life ---- */

topics *topics_new(kv_domain *domain, int worker_count)
{
    topics *all = calloc(1, sizeof *all);

    if (!all)
        return NULL;
    all->domain = domain;
    all->worker_count = worker_count;
    pthread_rwlock_init(&all->pattern_lock, NULL);
    for (int i = 0; i < PARTS; i++)
        pthread_mutex_init(&all->parts[i].lock, NULL);
    return all;
}

void topics_free(topics *all)
{
    if (!all)
        return;
    for (int i = 0; i < PARTS; i++) {
        free(all->parts[i].buckets);
        pthread_mutex_destroy(&all->parts[i].lock);
    }
    pthread_rwlock_destroy(&all->pattern_lock);
    free(all->patterns);
    free(all);
}

static topic *topic_new(const topics *all, topic_kind kind, kv_slice name, uint64_t hash)
{
    size_t seats = (size_t)all->worker_count * sizeof(topic_seats);
    size_t size = sizeof(topic) + seats + name.len;
    topic *t = calloc(1, size);

    if (!t)
        return NULL;
    t->kind = kind;
    t->hash = hash;
    t->size_bytes = size;
    atomic_init(&t->references, 1); /* the bucket's */
    if (name.len)
        memcpy((char *)(t->seats + all->worker_count), name.data, name.len);
    t->name = kv_slice_of(t->seats + all->worker_count, name.len);
    return t;
}

static topic *topic_ref(topic *t)
{
    atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
    return t;
}

/* The lists of its seats are gone by then: each worker frees its own with the last subscription. */
void topic_unref(topic *t)
{
    /* Pairs with the same of the other owners. */
    if (t && atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) == 1)
        free(t);
}

/* ---- finding ---- */

/* Kinds have names of their own: the same name as a channel and as a pattern are two topics. */
uint64_t topic_hash(const topics *all, topic_kind kind, kv_slice name)
{
    return domain_hash(all->domain, name) + (uint64_t)kind * 0x9e3779b97f4a7c15u;
}

static part *part_of(topics *all, uint64_t hash)
{
    return &all->parts[hash >> 58];
}

/* The link to the topic, or to where it would stand; NULL: there are no buckets. The part is locked. */
static topic **find_link(part *p, topic_kind kind, kv_slice name, uint64_t hash)
{
    topic **link;

    if (!p->bucket_count)
        return NULL;
    link = &p->buckets[hash & (p->bucket_count - 1)];
    while (*link && ((*link)->hash != hash || (*link)->kind != kind || !kv_slice_equal((*link)->name, name)))
        link = &(*link)->next;
    return link;
}

static topic *find_locked(part *p, topic_kind kind, kv_slice name, uint64_t hash)
{
    topic **link = find_link(p, kind, name, hash);

    return link ? *link : NULL;
}

/* ---- patterns ---- */

static bool add_pattern(topics *all, topic *t)
{
    bool ok = true;
    size_t count;

    pthread_rwlock_wrlock(&all->pattern_lock);
    count = atomic_load_explicit(&all->counts[TOPIC_PATTERN], memory_order_relaxed);
    if (count == all->pattern_capacity) {
        size_t capacity = count ? 2 * count : 16;
        topic **patterns = realloc(all->patterns, capacity * sizeof *patterns);

        ok = patterns != NULL;
        if (ok) {
            all->patterns = patterns;
            all->pattern_capacity = capacity;
        }
    }
    if (ok) {
        t->pattern_index = count;
        all->patterns[count] = t;
        atomic_store_explicit(&all->counts[TOPIC_PATTERN], count + 1, memory_order_release);
    }
    pthread_rwlock_unlock(&all->pattern_lock);
    return ok;
}

static void remove_pattern(topics *all, const topic *t)
{
    size_t last;

    pthread_rwlock_wrlock(&all->pattern_lock);
    last = atomic_load_explicit(&all->counts[TOPIC_PATTERN], memory_order_relaxed) - 1;
    all->patterns[t->pattern_index] = all->patterns[last];
    all->patterns[t->pattern_index]->pattern_index = t->pattern_index;
    atomic_store_explicit(&all->counts[TOPIC_PATTERN], last, memory_order_release);
    pthread_rwlock_unlock(&all->pattern_lock);
}

/* ---- joining and leaving ---- */

/* Doubles the buckets when they are as many as the topics; without memory they stay. */
static bool grow_buckets(part *p)
{
    size_t count = p->bucket_count ? 2 * p->bucket_count : FIRST_BUCKET;
    topic **buckets;

    if (p->topic_count < p->bucket_count)
        return true;
    buckets = calloc(count, sizeof(topic *));
    if (!buckets)
        return p->bucket_count > 0;
    for (size_t i = 0; i < p->bucket_count; i++) {
        for (topic *t = p->buckets[i], *next; t; t = next) {
            next = t->next;
            t->next = buckets[t->hash & (count - 1)];
            buckets[t->hash & (count - 1)] = t;
        }
    }
    free(p->buckets);
    p->buckets = buckets;
    p->bucket_count = count;
    return true;
}

/* A new topic in its bucket; NULL: memory is out. */
static topic *insert_locked(topics *all, part *p, topic_kind kind, kv_slice name, uint64_t hash)
{
    topic *t = grow_buckets(p) ? topic_new(all, kind, name, hash) : NULL, **bucket;

    if (!t)
        return NULL;
    if (kind == TOPIC_PATTERN && !add_pattern(all, t)) {
        free(t);
        return NULL;
    }
    bucket = &p->buckets[hash & (p->bucket_count - 1)];
    t->next = *bucket;
    *bucket = t;
    p->topic_count++;
    if (kind != TOPIC_PATTERN)
        atomic_fetch_add_explicit(&all->counts[kind], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&all->bytes, t->size_bytes, memory_order_relaxed);
    return t;
}

topic *topic_join(topics *all, topic_kind kind, kv_slice name, int worker)
{
    uint64_t hash = topic_hash(all, kind, name);
    part *p = part_of(all, hash);
    topic *t;

    pthread_mutex_lock(&p->lock);
    t = find_locked(p, kind, name, hash);
    if (!t)
        t = insert_locked(all, p, kind, name, hash);
    if (t) {
        t->users++;
        t->seats[worker].announced++;
        topic_ref(t);
    }
    pthread_mutex_unlock(&p->lock);
    return t;
}

static void remove_locked(topics *all, part *p, topic *t)
{
    *find_link(p, t->kind, t->name, t->hash) = t->next;
    p->topic_count--;
    if (t->kind == TOPIC_PATTERN)
        remove_pattern(all, t);
    else
        atomic_fetch_sub_explicit(&all->counts[t->kind], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&all->bytes, t->size_bytes, memory_order_relaxed);
}

void topic_leave(topics *all, topic *t, int worker)
{
    part *p = part_of(all, t->hash);
    bool last;

    pthread_mutex_lock(&p->lock);
    t->seats[worker].announced--;
    last = --t->users == 0;
    if (last)
        remove_locked(all, p, t);
    pthread_mutex_unlock(&p->lock);
    if (last)
        topic_unref(t); /* the bucket's */
    topic_unref(t);
}

/* ---- seats ---- */

bool topic_sit(topic *t, int worker, struct subscription *sub, uint32_t *ret_seat)
{
    topic_seats *seats = &t->seats[worker];

    if (seats->count == seats->capacity) {
        uint32_t capacity = seats->capacity ? 2 * seats->capacity : 1;
        struct subscription **list = realloc(seats->list, capacity * sizeof *list);

        if (!list)
            return false;
        seats->list = list;
        seats->capacity = capacity;
    }
    *ret_seat = seats->count;
    seats->list[seats->count++] = sub;
    return true;
}

struct subscription *topic_stand_up(topic *t, int worker, uint32_t seat)
{
    topic_seats *seats = &t->seats[worker];
    struct subscription *moved = NULL;

    seats->count--;
    if (seat < seats->count)
        moved = seats->list[seat] = seats->list[seats->count];
    if (seats->count == 0) {
        free(seats->list);
        seats->list = NULL;
        seats->capacity = 0;
    }
    return moved;
}

/* ---- matching ---- */

static bool add_match(topic_match *match, topic *t)
{
    if (match->count == match->capacity) {
        size_t capacity = 2 * match->capacity;
        topic **more = malloc(capacity * sizeof(topic *));

        if (!more)
            return false;
        memcpy(more, match->topics, match->count * sizeof(topic *));
        if (match->topics != match->few)
            free(match->topics);
        match->topics = more;
        match->capacity = capacity;
    }
    match->topics[match->count++] = topic_ref(t);
    return true;
}

/* The counts of a pattern belong to its part, which must not be locked here: they are added up afterwards. */
static bool match_patterns(topics *all, kv_slice name, topic_match *match)
{
    bool ok = true;
    size_t count;

    pthread_rwlock_rdlock(&all->pattern_lock);
    count = atomic_load_explicit(&all->counts[TOPIC_PATTERN], memory_order_relaxed);
    for (size_t i = 0; i < count && ok; i++)
        if (pattern_match(all->patterns[i]->name, name, false))
            ok = add_match(match, all->patterns[i]);
    pthread_rwlock_unlock(&all->pattern_lock);
    return ok;
}

static void count_locked(const topics *all, const topic *t, topic_match *match)
{
    match->receivers += t->users;
    for (int w = 0; w < all->worker_count; w++)
        if (t->seats[w].announced)
            match->workers[w / 64] |= (uint64_t)1 << (w % 64);
}

static void match_name(topics *all, topic_kind kind, kv_slice name, topic_match *match)
{
    uint64_t hash = topic_hash(all, kind, name);
    part *p = part_of(all, hash);
    topic *t;

    pthread_mutex_lock(&p->lock);
    t = find_locked(p, kind, name, hash);
    if (t) {
        match->topics[match->count++] = topic_ref(t);
        count_locked(all, t, match);
    }
    pthread_mutex_unlock(&p->lock);
}

static void count_patterns(topics *all, size_t first, topic_match *match)
{
    for (size_t i = first; i < match->count; i++) {
        topic *t = match->topics[i];
        part *p = part_of(all, t->hash);

        pthread_mutex_lock(&p->lock);
        count_locked(all, t, match);
        pthread_mutex_unlock(&p->lock);
    }
}

bool topics_match(topics *all, topic_kind kind, kv_slice name, topic_match *ret_match)
{
    topic_match *match = ret_match;
    size_t first;

    *match = (topic_match){ .topics = match->few, .capacity = TOPIC_MATCH_FEW };
    if (atomic_load_explicit(&all->counts[kind], memory_order_acquire) > 0)
        match_name(all, kind, name, match);
    first = match->count;
    if (kind != TOPIC_CHANNEL || atomic_load_explicit(&all->counts[TOPIC_PATTERN], memory_order_acquire) == 0)
        return true;
    if (!match_patterns(all, name, match)) {
        topic_match_done(match);
        return false;
    }
    count_patterns(all, first, match);
    return true;
}

void topic_match_done(topic_match *match)
{
    for (size_t i = 0; i < match->count; i++)
        topic_unref(match->topics[i]);
    if (match->topics != match->few)
        free(match->topics);
    match->count = 0;
    match->topics = match->few;
}

/* ---- figures ---- */

size_t topics_count(topics *all, topic_kind kind)
{
    return atomic_load_explicit(&all->counts[kind], memory_order_relaxed);
}

int64_t topic_users(topics *all, topic_kind kind, kv_slice name)
{
    uint64_t hash = topic_hash(all, kind, name);
    part *p = part_of(all, hash);
    const topic *t;
    int64_t users;

    pthread_mutex_lock(&p->lock);
    t = find_locked(p, kind, name, hash);
    users = t ? t->users : 0;
    pthread_mutex_unlock(&p->lock);
    return users;
}

/* Adds the topics of a part to list, which has room for more of them. */
static void list_part(part *p, topic_kind kind, topic **list, size_t *count)
{
    for (size_t i = 0; i < p->bucket_count; i++)
        for (topic *t = p->buckets[i]; t; t = t->next)
            if (t->kind == kind)
                list[(*count)++] = topic_ref(t);
}

bool topics_list(topics *all, topic_kind kind, topic ***ret_list, size_t *ret_count)
{
    topic **list = NULL;
    size_t count = 0;
    bool ok = true;

    for (int i = 0; i < PARTS && ok; i++) {
        part *p = &all->parts[i];
        topic **more;

        pthread_mutex_lock(&p->lock);
        more = realloc(list, (count + p->topic_count + 1) * sizeof(topic *));
        ok = more != NULL;
        if (ok) {
            list = more;
            list_part(p, kind, list, &count);
        }
        pthread_mutex_unlock(&p->lock);
    }
    if (!ok) {
        while (count)
            topic_unref(list[--count]);
        free(list);
        return false;
    }
    *ret_list = list;
    *ret_count = count;
    return true;
}

size_t topics_memory(topics *all)
{
    return atomic_load_explicit(&all->bytes, memory_order_relaxed);
}
