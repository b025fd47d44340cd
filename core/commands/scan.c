/* scan.c - SCAN, KEYS, RANDOMKEY: what there is.
 *
 * SCAN's cursor is a position in hash space (map.h): no state is kept, and any number is a valid cursor. What
 * the walk meets is collected first, since a reply says how many elements follow; the entries stay readable
 * while the command runs, so that only pointers are kept, on the stack as long as they are few.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "pattern.h"
#include "read.h"

#define SCAN_COUNT_DEFAULT 10
#define SCAN_COUNT_MAX     65536              /* COUNT is a hint, and one call is not to take long */
#define KEYS_MAX           1048576            /* elements of one reply of KEYS */
#define KEYS_BYTES_MAX     (64 * 1024 * 1024) /* of keys that a walk remembers */
#define KEYS_AT_ONCE       100000             /* keys of a database that is walked through as of one moment */
#define KEYS_PART          16384              /* keys that are visited in one part of a longer walk */
#define PATTERN_EFFORT     (4 * 1024 * 1024)  /* steps of matching in one part of a walk, or one SCAN */
#define RANDOM_TRIES       16

/* The entries that a walk found. */
struct harvest {
    kv_domain *domain;
    const entry **entries;
    size_t count, room;
    size_t visited;   /* entries met, wanted or not */
    uint64_t effort;  /* steps of matching */
    kv_slice pattern; /* NULL data: any */
    kv_slice type;    /* NULL data: any */
    bool failed;      /* memory is out */
    const entry *on_stack[128];
};

static void harvest_init(struct harvest *h, kv_call *call)
{
    h->domain = kv_store_domain(call->store);
    h->entries = h->on_stack;
    h->count = h->visited = 0;
    h->effort = 0;
    h->room = sizeof h->on_stack / sizeof h->on_stack[0];
    h->pattern = h->type = kv_slice_of(NULL, 0);
    h->failed = false;
}

static void harvest_done(struct harvest *h)
{
    if (h->entries != h->on_stack)
        domain_free(h->domain, h->entries, h->room * sizeof h->entries[0]);
}

static bool harvest_grow(struct harvest *h)
{
    const entry **grown = domain_alloc(h->domain, 2 * h->room * sizeof grown[0], 16);

    if (!grown)
        return false;
    memcpy(grown, h->entries, h->count * sizeof grown[0]);
    harvest_done(h);
    h->entries = grown;
    h->room *= 2;
    return true;
}

static bool harvest_wants(struct harvest *h, const entry *e)
{
    if (h->type.data) {
        kv_slice type = kv_type_name(e);

        if (h->type.len != type.len)
            return false;
        for (size_t i = 0; i < type.len; i++)
            if (kv_lower(h->type.data[i]) != type.data[i])
                return false;
    }
    return !h->pattern.data || pattern_match_counting(h->pattern, entry_key(e), false, &h->effort);
}

static void harvest_visit(void *arg, const entry *e)
{
    struct harvest *h = arg;

    h->visited++;
    if (h->failed || !harvest_wants(h, e))
        return;
    if (h->count == h->room && !harvest_grow(h)) {
        h->failed = true;
        return;
    }
    h->entries[h->count++] = e;
}

static void harvest_reply(kv_call *call, const struct harvest *h)
{
    kv_reply_array(call->reply, h->count);
    for (size_t i = 0; i < h->count; i++)
        kv_reply_bulk(call->reply, entry_key(h->entries[i]));
}

/* Takes the pattern, unless it is "*"; false: it is too long, and an error was replied. */
static bool harvest_pattern(struct harvest *h, kv_call *call, kv_slice pattern)
{
    if (pattern.len > PATTERN_MAX) {
        kv_reply_errorf(call->reply, "ERR pattern is too long");
        return false;
    }
    h->pattern = kv_slice_equal(pattern, KV_STR("*")) ? kv_slice_of(NULL, 0) : pattern;
    return true;
}

/* ---- SCAN ---- */

/* The options after SCAN cursor; false: an error was replied. */
static bool scan_options(kv_call *call, struct harvest *h, int64_t *ret_count)
{
    for (int i = 2; i < call->argc; i += 2) {
        int err = i + 1 < call->argc ? 0 : KV_ESYNTAX;

        if (!err && kv_word_is(call->argv[i], "count")) {
            err = kv_arg_int(call, i + 1, ret_count);
            if (!err && *ret_count < 1)
                err = KV_ESYNTAX;
        } else if (!err && kv_word_is(call->argv[i], "match")) {
            if (!harvest_pattern(h, call, call->argv[i + 1]))
                return false;
        } else if (!err && kv_word_is(call->argv[i], "type")) {
            h->type = call->argv[i + 1];
        } else {
            err = KV_ESYNTAX;
        }
        if (err) {
            kv_reply_error(call->reply, err);
            return false;
        }
    }
    return true;
}

/* A cursor as Redis reads it, which is as strtoul(3) does: any sign, wrapping round; nothing at all is 0; what follows a NUL
 * is not looked at. */
static bool scan_cursor(kv_slice text, uint64_t *ret_cursor)
{
    const char *p = text.data, *end = p + strnlen(p, text.len), *digits;
    bool negative = p < end && *p == '-';
    uint64_t cursor = 0;

    p += p < end && (*p == '-' || *p == '+');
    for (digits = p; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(cursor, 10u, &cursor) ||
            __builtin_add_overflow(cursor, (uint64_t)(*p - '0'), &cursor))
            return false;
    *ret_cursor = negative ? -cursor : cursor;
    return p == end && (digits < end || end == text.data);
}

/* SCAN cursor [MATCH pattern] [COUNT n] [TYPE type] */
void kv_cmd_scan(kv_call *call)
{
    struct harvest h;
    int64_t count = SCAN_COUNT_DEFAULT;
    uint64_t cursor, steps;
    char text[24];
    int len;

    if (!scan_cursor(call->argv[1], &cursor)) {
        kv_reply_errorf(call->reply, "ERR invalid cursor");
        return;
    }
    harvest_init(&h, call);
    if (!scan_options(call, &h, &count))
        return;
    /* A sparse index must not make one call long: it visits no more than ten times as many places. */
    count = count > SCAN_COUNT_MAX ? SCAN_COUNT_MAX : count;
    steps = (uint64_t)count * 10;
    do {
        cursor = store_scan(call->store, cursor, harvest_visit, &h, call->now_ms);
    } while (cursor && h.visited < (uint64_t)count && --steps && h.effort < PATTERN_EFFORT && !h.failed);
    if (h.failed) {
        kv_reply_error(call->reply, KV_ENOMEM);
    } else {
        len = snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
        kv_reply_array(call->reply, 2);
        kv_reply_bulk(call->reply, kv_slice_of(text, (size_t)len));
        harvest_reply(call, &h);
    }
    harvest_done(&h);
}

/* ---- KEYS ---- */

/* A walk through a whole database. */
struct walk {
    kv_call *call;
    struct harvest harvest;
    uint64_t effort_max; /* it is over then, too */
    uint64_t cursor;     /* where it goes on */
};

static bool walk_is_over(const struct walk *w)
{
    return w->harvest.failed || w->harvest.count > KEYS_MAX || w->harvest.effort >= w->effort_max;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void walk_through(void *arg)
{
    struct walk *w = arg;

    w->harvest.count = 0;
    w->harvest.effort = 0;
    w->cursor = 0;
    do {
        w->cursor = store_scan(w->call->store, w->cursor, harvest_visit, &w->harvest, w->call->now_ms);
    } while (w->cursor && !walk_is_over(w));
}

static void reply_too_many(kv_call *call)
{
    kv_reply_errorf(call->reply, "ERR more than %d keys match, which one reply does not hold: use SCAN",
                    KEYS_MAX);
}

static void keys_reply(kv_call *call, const struct harvest *h)
{
    if (h->failed)
        kv_reply_error(call->reply, KV_ENOMEM);
    else if (h->count > KEYS_MAX)
        reply_too_many(call);
    else
        harvest_reply(call, h);
}

/* All in one act. False: matching takes more than effort_max steps, and nothing was replied. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static bool keys_at_once(kv_call *call, kv_slice pattern, uint64_t effort_max)
{
    struct walk w = { .call = call, .effort_max = effort_max };
    bool done;

    harvest_init(&w.harvest, call);
    w.harvest.pattern = pattern;
    if (store_look(call->store, walk_through, &w) != 0)
        w.harvest.failed = true;
    done = w.harvest.effort < effort_max;
    if (done)
        keys_reply(call, &w.harvest);
    harvest_done(&w.harvest);
    return done;
}

/* A walk in parts. Entries do not outlive a part, so the keys are copied. */
typedef struct long_walk {
    kv_rest rest;
    kv_domain *domain;
    uint64_t cursor;
    size_t visited;  /* in this part */
    uint64_t effort; /* in this part: steps of matching */
    kv_slice pattern;
    size_t count, len, capacity;
    char *keys; /* a length and the bytes, one after the other */
    bool failed;
} long_walk;

static void free_walk(kv_rest *rest)
{
    long_walk *w = (long_walk *)rest;

    if (w->keys)
        domain_free(w->domain, w->keys, w->capacity);
    domain_free(w->domain, w, sizeof *w);
}

static bool walk_room(long_walk *w, size_t bytes)
{
    size_t capacity = w->capacity ? w->capacity : 4096;
    char *keys;

    if (w->len + bytes <= w->capacity)
        return true;
    while (capacity < w->len + bytes)
        capacity *= 2;
    keys = domain_alloc(w->domain, capacity, 16);
    if (!keys)
        return false;
    if (w->keys) {
        memcpy(keys, w->keys, w->len);
        domain_free(w->domain, w->keys, w->capacity);
    }
    w->keys = keys;
    w->capacity = capacity;
    return true;
}

static void walk_visit(void *arg, const entry *e)
{
    long_walk *w = arg;
    kv_slice key = entry_key(e);
    uint32_t len = (uint32_t)key.len;

    w->visited++;
    if ((w->pattern.data && !pattern_match_counting(w->pattern, key, false, &w->effort)) ||
        w->count > KEYS_MAX)
        return;
    if (w->failed || w->len > KEYS_BYTES_MAX || !walk_room(w, sizeof len + len)) {
        w->failed = true;
        return;
    }
    memcpy(w->keys + w->len, &len, sizeof len);
    memcpy(w->keys + w->len + sizeof len, key.data, len);
    w->len += sizeof len + len;
    w->count++;
}

static void walk_reply(kv_call *call, const long_walk *w)
{
    const char *at = w->keys;
    uint32_t len;

    if (w->failed)
        kv_reply_error(call->reply, KV_ENOMEM);
    else if (w->count > KEYS_MAX)
        reply_too_many(call);
    else
        kv_reply_array(call->reply, w->count);
    for (size_t i = 0; !w->failed && w->count <= KEYS_MAX && i < w->count; i++, at += sizeof len + len) {
        memcpy(&len, at, sizeof len);
        kv_reply_bulk(call->reply, kv_slice_of(at + sizeof len, len));
    }
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool walk_on(kv_rest *rest, kv_call *call)
{
    long_walk *w = (long_walk *)rest;

    w->visited = 0;
    w->effort = 0;
    w->pattern = kv_slice_equal(call->argv[1], KV_STR("*")) ? kv_slice_of(NULL, 0) : call->argv[1];
    do {
        w->cursor = store_scan(call->store, w->cursor, walk_visit, w, call->now_ms);
    } while (w->cursor && w->visited < KEYS_PART && w->effort < PATTERN_EFFORT && !w->failed &&
             w->count <= KEYS_MAX);
    if (w->cursor && !w->failed && w->count <= KEYS_MAX)
        return false;
    walk_reply(call, w);
    return true;
}

/* False: it must be done at once. */
static bool walk_later(kv_call *call)
{
    kv_domain *domain = kv_store_domain(call->store);
    long_walk *w = call->put_off ? domain_alloc(domain, sizeof *w, 8) : NULL;

    if (!w)
        return false;
    *w = (long_walk){ .rest = { walk_on, free_walk }, .domain = domain };
    if (call->put_off(call, &w->rest))
        return true;
    free_walk(&w->rest);
    return false;
}

/* KEYS pattern: of a large database in parts, between which others are served. Then it is what a SCAN to the end would have
 * told: each key that was there throughout, once. */
void kv_cmd_keys(kv_call *call)
{
    struct harvest pattern;

    harvest_init(&pattern, call);
    if (!harvest_pattern(&pattern, call, call->argv[1]))
        return;
    if (call->put_off && store_count(call->store) <= KEYS_AT_ONCE &&
        keys_at_once(call, pattern.pattern, PATTERN_EFFORT))
        return;
    if (!walk_later(call))
        keys_at_once(call, pattern.pattern, UINT64_MAX);
}

/* ---- RANDOMKEY ---- */

static void remember_first(void *arg, const entry *e)
{
    const entry **first = arg;

    if (!*first)
        *first = e;
}

struct search {
    kv_call *call;
    uint64_t start;
    const entry *found;
};

/* The first live entry behind a random position. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void search_from(void *arg)
{
    struct search *s = arg;
    uint64_t cursor = s->start;

    s->found = NULL;
    for (int round = 0; round < 2 && !s->found; round++) {
        do {
            cursor = store_scan(s->call->store, cursor, remember_first, &s->found, s->call->now_ms);
        } while (cursor && !s->found);
    }
}

/* For when drawing has found none: there is none, nearly all have expired, or what was drawn is gone again. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static const entry *random_by_walking(kv_call *call)
{
    struct search search = { .call = call, .start = *call->rng };

    return store_look(call->store, search_from, &search) == 0 ? search.found : NULL;
}

/* RANDOMKEY: one that is there when nothing is under way, be it a transaction that has created it only for itself. */
void kv_cmd_randomkey(kv_call *call)
{
    const entry *e = NULL;

    for (int i = 0; i < RANDOM_TRIES && !e; i++) {
        const entry *drawn = store_random(call->store, call->rng, call->now_ms);

        if (!drawn)
            break;
        if (store_find(call->store, store_key_of(call->store, entry_key(drawn)), call->now_ms) == drawn)
            e = drawn;
    }
    if (!e)
        e = random_by_walking(call);
    if (e)
        kv_reply_bulk(call->reply, entry_key(e));
    else
        kv_reply_null(call->reply);
}
