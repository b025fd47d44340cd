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
 * comes before, then W1 came before W2, which handed the lock to R1, which came before R2: so R2 sees the new value. (A
 * write of several keys is followed by W2 when the last of them is published and the marks are down.)
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
 * SPDX-License-Identifier: MIT */
#include "tracking.h"

#include <stdlib.h>

#include "decimal.h"
#include "memory.h"
#include "pubsub.h"
#include "server.h"

#define PARTS      64
#define PEOPLE     4096 /* buckets of the directory */
#define KEYS_MAX   256  /* of one command, on the stack */
#define INVALIDATE "__redis__:invalidate"

/* A key that somebody may have. */
typedef struct cached {
    struct cached *next;
    uint64_t hash;
    uint64_t *clients;
    uint32_t count, capacity;
    uint32_t key_len;
    char key[];
} cached;

typedef struct part {
    pthread_mutex_t lock;
    cached **buckets;
    size_t bucket_count, count;
    size_t hand; /* where the next one to be dropped is looked for */
} part;

typedef struct prefix {
    kv_slice text;
    uint64_t *clients;
    size_t count;
} prefix;

struct tracking {
    part parts[PARTS];
    pthread_mutex_t people_locks[PARTS];
    connection *people[PEOPLE];
    pthread_mutex_t prefix_lock; /* guards the next two */
    prefix *prefixes;
    size_t prefix_total;
    _Atomic size_t clients, broadcasts, keys, items, prefix_count;
    _Atomic size_t bytes; /* what the table and the prefixes take */
    _Atomic size_t hand;  /* the part in which the next key to be dropped is looked for */
    _Atomic int fence;    /* threads that may still be in writes which are not told */
    worker_message *fences;
};

/* ---- the directory ---- */

static pthread_mutex_t *people_lock(tracking *t, uint64_t id)
{
    return &t->people_locks[id % PEOPLE % PARTS];
}

void tracking_enter(connection *c)
{
    tracking *t = c->owner->server->tracking;
    connection **bucket = &t->people[c->id % PEOPLE];

    pthread_mutex_lock(people_lock(t, c->id));
    c->next_person = *bucket;
    *bucket = c;
    pthread_mutex_unlock(people_lock(t, c->id));
}

void tracking_leave(connection *c)
{
    tracking *t = c->owner->server->tracking;
    connection **link = &t->people[c->id % PEOPLE];

    tracking_set(c, 0, 0, 0, NULL);
    pthread_mutex_lock(people_lock(t, c->id));
    while (*link && *link != c)
        link = &(*link)->next_person;
    if (*link)
        *link = c->next_person;
    pthread_mutex_unlock(people_lock(t, c->id));
}

/* What others may know of a connection. */
typedef struct person {
    connection *c; /* only for its own worker */
    int worker;
    unsigned mode;
    uint64_t redirect;
} person;

static bool look_up(tracking *t, uint64_t id, person *ret)
{
    connection *c;

    pthread_mutex_lock(people_lock(t, id));
    for (c = t->people[id % PEOPLE]; c && c->id != id; c = c->next_person)
        ;
    if (c)
        *ret = (person){ c, c->owner->index, tracking_mode_of(c), c->tracker ? c->tracker->redirect : 0 };
    pthread_mutex_unlock(people_lock(t, id));
    return c != NULL;
}

static void set_mode(connection *c, unsigned mode)
{
    tracking *t = c->owner->server->tracking;

    pthread_mutex_lock(people_lock(t, c->id));
    c->tracker->mode = mode;
    pthread_mutex_unlock(people_lock(t, c->id));
}

bool tracking_client_exists(server *s, uint64_t id)
{
    person who;

    return look_up(s->tracking, id, &who);
}

/* ---- notes ---- */

void tracking_note_free(tracking_note *note)
{
    if (!note)
        return;
    kv_bytes_unref(note->keys);
    free(note);
}

static void post(server *s, worker *from, int to, int what, uint64_t client, bool redirected, kv_bytes *keys)
{
    tracking_note *note = malloc(sizeof *note);

    if (!note) {
        atomic_store_explicit(&s->notice_lost, true, memory_order_relaxed);
        return;
    }
    *note = (tracking_note){ .client = client, .redirected = redirected, .keys = kv_bytes_ref(keys) };
    note->what = what;
    pubsub_post_note(s, from, to, note);
}

/* Tells a client, or whom it redirects to. */
static void tell(server *s, worker *from, uint64_t client, uint64_t origin, bool broadcast, int what,
                 kv_bytes *keys)
{
    person who, other;

    if (!look_up(s->tracking, client, &who) || !(who.mode & TRACKING_ON))
        return;
    if (what == TRACKING_KEYS && broadcast != !!(who.mode & TRACKING_BCAST))
        return;
    if ((who.mode & TRACKING_NOLOOP) && origin == client)
        return;
    if (!who.redirect)
        post(s, from, who.worker, what, client, false, keys);
    else if (look_up(s->tracking, who.redirect, &other))
        post(s, from, other.worker, what, who.redirect, true, keys);
    else
        post(s, from, who.worker, TRACKING_BROKEN_NOW, client, false, NULL);
}

/* ---- bodies ---- */

static size_t bulk_size(kv_slice text)
{
    char digits[DECIMAL_MAX];

    return decimal_format(digits, (int64_t)text.len).len + text.len + 5;
}

static char *put_number(char *p, char type, size_t number)
{
    *p++ = type;
    p += decimal_format(p, (int64_t)number).len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

static char *put_bulk(char *p, kv_slice text)
{
    p = put_number(p, '$', text.len);
    if (text.len)
        memcpy(p, text.data, text.len);
    p += text.len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

/* Keys as an array; NULL: memory is out. */
static kv_bytes *make_keys(const kv_slice keys[], size_t count)
{
    char digits[DECIMAL_MAX], *p;
    size_t len = decimal_format(digits, (int64_t)count).len + 3;
    kv_bytes *bytes;

    for (size_t i = 0; i < count; i++)
        len += bulk_size(keys[i]);
    bytes = kv_bytes_room(NULL, len, 0);
    if (!bytes)
        return NULL;
    p = put_number(kv_bytes_data(bytes), '*', count);
    for (size_t i = 0; i < count; i++)
        p = put_bulk(p, keys[i]);
    return bytes;
}

/* ---- delivering: the worker's thread ---- */

static kv_bytes *join(kv_slice head, kv_slice body)
{
    kv_bytes *bytes = kv_bytes_room(NULL, head.len + body.len, 0);

    if (!bytes)
        return NULL;
    memcpy(kv_bytes_data(bytes), head.data, head.len);
    memcpy(kv_bytes_data(bytes) + head.len, body.data, body.len);
    return bytes;
}

static void mail(connection *c, kv_slice head, kv_slice body, bool serving)
{
    kv_bytes *bytes = join(head, body);

    if (bytes)
        connection_mail(c, bytes, serving);
    else
        connection_close_for_memory(c);
    kv_bytes_unref(bytes);
}

static void deliver_stale(connection *c, const tracking_note *note, bool serving)
{
    if (c->protocol == 3)
        mail(c, KV_STR(">2\r\n$10\r\ninvalidate\r\n"),
             note->keys ? kv_bytes_slice(note->keys) : KV_STR("_\r\n"), serving);
    else if (note->redirected && (c->flags & CONNECTION_SUBSCRIBED))
        mail(c, KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n" INVALIDATE "\r\n"),
             note->keys ? kv_bytes_slice(note->keys) : KV_STR("$-1\r\n"), serving);
}

static void deliver_broken(connection *c, bool serving)
{
    char text[DECIMAL_MAX + 3];

    if (!c->tracker || !(c->tracker->mode & TRACKING_ON))
        return;
    set_mode(c, c->tracker->mode | TRACKING_BROKEN);
    if (c->protocol == 3)
        mail(c, KV_STR(">2\r\n$21\r\ntracking-redir-broken\r\n"),
             kv_slice_of(text, (size_t)(put_number(text, ':', c->tracker->redirect) - text)), serving);
}

static void deliver(connection *c, const tracking_note *note, bool serving)
{
    if (note->what == TRACKING_BROKEN_NOW)
        deliver_broken(c, serving);
    else
        deliver_stale(c, note, serving);
}

static void defer(tracker *tr, tracking_note *note)
{
    note->next = NULL;
    if (!tr->deferred)
        tr->deferred_last = &tr->deferred;
    *tr->deferred_last = note;
    tr->deferred_last = &note->next;
}

void tracking_deliver(worker *w, tracking_note *notes, connection *serving)
{
    while (notes) {
        tracking_note *note = notes;
        person who;

        notes = note->next;
        if (look_up(w->server->tracking, note->client, &who)) {
            if (w->server->actor && who.c->tracker && who.c->in_flight > 0) {
                defer(who.c->tracker, note);
                continue;
            }
            deliver(who.c, note, who.c == serving);
        }
        tracking_note_free(note);
    }
}

void tracking_catch_up(connection *c)
{
    tracking_note *notes = c->tracker ? c->tracker->deferred : NULL, *next;

    if (!notes)
        return;
    c->tracker->deferred = NULL;
    for (; notes; notes = next) {
        next = notes->next;
        deliver(c, notes, false);
        tracking_note_free(notes);
    }
}

/* ---- the table ---- */

static part *part_of(tracking *t, uint64_t hash)
{
    return &t->parts[hash >> 58];
}

static cached **find_link(part *p, kv_slice key, uint64_t hash)
{
    cached **link = &p->buckets[hash & (p->bucket_count - 1)];

    while (*link &&
           ((*link)->hash != hash || !kv_slice_equal(kv_slice_of((*link)->key, (*link)->key_len), key)))
        link = &(*link)->next;
    return link;
}

static void count_bytes(tracking *t, size_t more, size_t less)
{
    atomic_fetch_add_explicit(&t->bytes, more - less, memory_order_relaxed);
}

/* Returns whether there are buckets. */
static bool grow_buckets(tracking *t, part *p)
{
    size_t count = p->bucket_count ? 2 * p->bucket_count : 16;
    cached **buckets;

    if (p->count < p->bucket_count)
        return true;
    buckets = calloc(count, sizeof(cached *));
    if (!buckets)
        return p->bucket_count > 0;
    for (size_t i = 0; i < p->bucket_count; i++) {
        for (cached *e = p->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    }
    free(p->buckets);
    count_bytes(t, count * sizeof(cached *), p->bucket_count * sizeof(cached *));
    p->buckets = buckets;
    p->bucket_count = count;
    return true;
}

static cached *insert(tracking *t, part *p, cached **link, kv_slice key, uint64_t hash)
{
    cached *e = key.len > UINT32_MAX ? NULL : malloc(sizeof *e + key.len);

    if (!e)
        return NULL;
    *e = (cached){ .hash = hash, .key_len = (uint32_t)key.len };
    if (key.len)
        memcpy(e->key, key.data, key.len);
    *link = e;
    p->count++;
    count_bytes(t, sizeof *e + key.len, 0);
    atomic_fetch_add_explicit(&t->keys, 1, memory_order_relaxed);
    return e;
}

static bool add_client(tracking *t, cached *e, uint64_t id)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (e->clients[i] == id)
            return true;
    if (e->count == e->capacity) {
        uint32_t capacity = e->capacity ? 2 * e->capacity : 1;
        uint64_t *clients = realloc(e->clients, capacity * sizeof *clients);

        if (!clients)
            return false;
        count_bytes(t, capacity * sizeof *clients, e->capacity * sizeof *clients);
        e->clients = clients;
        e->capacity = capacity;
    }
    e->clients[e->count++] = id;
    atomic_fetch_add_explicit(&t->items, 1, memory_order_relaxed);
    return true;
}

static void unlink_cached(tracking *t, part *p, cached **link)
{
    cached *e = *link;

    *link = e->next;
    p->count--;
    count_bytes(t, 0, sizeof *e + e->key_len + e->capacity * sizeof *e->clients);
    atomic_fetch_sub_explicit(&t->keys, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&t->items, e->count, memory_order_relaxed);
}

static void free_cached(cached *e)
{
    if (!e)
        return;
    free(e->clients);
    free(e);
}

/* Takes some key out of a part; NULL: there is none. */
static cached *take_any(tracking *t, part *p)
{
    for (size_t i = 0; i < p->bucket_count; i++) {
        cached **link = &p->buckets[p->hand++ & (p->bucket_count - 1)], *e = *link;

        if (e) {
            unlink_cached(t, p, link);
            return e;
        }
    }
    return NULL;
}

/* Remembers that a client may have a key. False: memory is out. */
static bool remember(tracking *t, kv_slice key, uint64_t hash, uint64_t id)
{
    part *p = part_of(t, hash);
    bool ok = false;

    pthread_mutex_lock(&p->lock);
    if (grow_buckets(t, p)) {
        cached **link = find_link(p, key, hash), *e = *link;

        if (!e)
            e = insert(t, p, link, key, hash);
        ok = e && add_client(t, e, id);
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static cached *forget(tracking *t, kv_slice key, uint64_t hash)
{
    part *p = part_of(t, hash);
    cached *e = NULL;

    pthread_mutex_lock(&p->lock);
    if (p->bucket_count) {
        cached **link = find_link(p, key, hash);

        e = *link;
        if (e)
            unlink_cached(t, p, link);
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

static void tell_cached(server *s, worker *from, cached *e, uint64_t origin)
{
    kv_slice key = kv_slice_of(e->key, e->key_len);
    kv_bytes *keys = make_keys(&key, 1);

    for (uint32_t i = 0; keys && i < e->count; i++)
        tell(s, from, e->clients[i], origin, false, TRACKING_KEYS, keys);
    kv_bytes_unref(keys);
    free_cached(e);
}

void tracking_changed(server *s, worker *from, kv_slice key, uint64_t origin)
{
    cached *e = NULL;

    if (atomic_load_explicit(&s->tracking->keys, memory_order_relaxed) > 0)
        e = forget(s->tracking, key, domain_hash(s->domain, key));
    if (e)
        tell_cached(s, from, e, origin);
}

/* Empties the table: the clients are told otherwise, or none is left. */
static void forget_all(tracking *t)
{
    for (int i = 0; i < PARTS; i++) {
        part *p = &t->parts[i];
        cached *e;

        pthread_mutex_lock(&p->lock);
        while ((e = take_any(t, p)) != NULL)
            free_cached(e);
        pthread_mutex_unlock(&p->lock);
    }
}

#define PEOPLE_AT_ONCE 64

/* Tells some clients of a bucket of the directory, the first `skip` left out, that all is stale; how many. */
static size_t tell_some(server *s, worker *from, int bucket, size_t skip)
{
    tracking *t = s->tracking;
    uint64_t ids[PEOPLE_AT_ONCE];
    size_t count = 0;

    pthread_mutex_lock(&t->people_locks[bucket % PARTS]);
    for (connection *c = t->people[bucket]; c && count < PEOPLE_AT_ONCE; c = c->next_person)
        if (tracking_mode_of(c) & TRACKING_ON) {
            if (skip)
                skip--;
            else
                ids[count++] = c->id;
        }
    pthread_mutex_unlock(&t->people_locks[bucket % PARTS]);
    for (size_t i = 0; i < count; i++)
        tell(s, from, ids[i], 0, false, TRACKING_ALL, NULL);
    return count;
}

void tracking_changed_all(server *s, worker *from)
{
    tracking *t = s->tracking;

    forget_all(t);
    for (int i = 0; i < PEOPLE; i++)
        for (size_t skip = 0; tell_some(s, from, i, skip) == PEOPLE_AT_ONCE; skip += PEOPLE_AT_ONCE)
            ;
}

/* Drops keys, from one part after the other, while there are too many: some, so that nobody waits long. */
static void drop_excess(server *s, size_t max_keys)
{
    tracking *t = s->tracking;

    for (int i = 0; i < PARTS && atomic_load_explicit(&t->keys, memory_order_relaxed) > max_keys; i++) {
        part *p = &t->parts[atomic_fetch_add_explicit(&t->hand, 1, memory_order_relaxed) % PARTS];
        cached *e;

        pthread_mutex_lock(&p->lock);
        e = take_any(t, p);
        pthread_mutex_unlock(&p->lock);
        if (e)
            tell_cached(s, NULL, e, 0);
    }
}

/* ---- requests of tracking clients ---- */

/* Whether the command's keys will be in the client's cache. */
static bool will_cache(const tracker *tr, const kv_command *row)
{
    bool caching = tr->mode & TRACKING_CACHING;

    if (!(row->flags & KV_CMD_READONLY) || (tr->mode & TRACKING_BCAST))
        return false;
    return !((tr->mode & TRACKING_OPTIN) && !caching) && !((tr->mode & TRACKING_OPTOUT) && caching);
}

static void stale_at_once(connection *c, kv_slice key)
{
    kv_bytes *keys = make_keys(&key, 1);

    tell(c->owner->server, NULL, c->id, 0, false, TRACKING_KEYS, keys);
    kv_bytes_unref(keys);
}

void tracking_before(connection *c, const kv_command *row, int argc, const kv_slice argv[])
{
    server *s = c->owner->server;
    size_t max_keys = (size_t)config_number(s->config, CONFIG_ID_tracking_table_max_keys);
    int few[KEYS_MAX], *positions = few, count;

    if (!c->tracker || !will_cache(c->tracker, row))
        return;
    if (argc > KEYS_MAX)
        positions = malloc((size_t)argc * sizeof *positions);
    count = positions ? kv_command_keys(row, argc, argv, positions, argc > KEYS_MAX ? argc : KEYS_MAX) : 0;
    if (!positions)
        tell(s, NULL, c->id, 0, false, TRACKING_ALL, NULL);
    for (int i = 0; i < count; i++) {
        kv_slice key = argv[positions[i]];

        if (!remember(s->tracking, key, domain_hash(s->domain, key), c->id))
            stale_at_once(c, key);
    }
    if (max_keys)
        drop_excess(s, max_keys);
    if (positions != few)
        free(positions);
}

void tracking_after(connection *c, const kv_command *row)
{
    bool about_client = row && row->container && strcmp(row->container, "client") == 0;
    bool queues = (c->flags & CONNECTION_MULTI) && !(row && row->id == KV_COMMAND_exec);

    if ((tracking_mode_of(c) & TRACKING_CACHING) && !queues && !about_client)
        set_mode(c, c->tracker->mode & ~(unsigned)TRACKING_CACHING);
}

/* ---- prefixes ---- */

static bool begins_with(kv_slice key, kv_slice text)
{
    return key.len >= text.len && memcmp(key.data, text.data, text.len) == 0;
}

static int by_bytes(const void *a, const void *b)
{
    const kv_slice *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = len ? memcmp(x->data, y->data, len) : 0;

    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* The keys, sorted, that begin with text, each once. */
static kv_bytes *matching(kv_slice text, const kv_slice keys[], size_t count)
{
    kv_slice *chosen = malloc((count ? count : 1) * sizeof *chosen);
    size_t n = 0;
    kv_bytes *bytes;

    if (!chosen)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (begins_with(keys[i], text) && (n == 0 || !kv_slice_equal(keys[i], chosen[n - 1])))
            chosen[n++] = keys[i];
    bytes = n ? make_keys(chosen, n) : NULL;
    free(chosen);
    return bytes;
}

void tracking_broadcast(server *s, worker *from, kv_slice keys[], size_t count, uint64_t origin)
{
    tracking *t = s->tracking;

    if (count == 0 || atomic_load_explicit(&t->prefix_count, memory_order_relaxed) == 0)
        return;
    qsort(keys, count, sizeof *keys, by_bytes);
    pthread_mutex_lock(&t->prefix_lock);
    for (size_t i = 0; i < t->prefix_total; i++) {
        const prefix *p = &t->prefixes[i];
        kv_bytes *bytes = matching(p->text, keys, count);

        for (size_t j = 0; bytes && j < p->count; j++)
            tell(s, from, p->clients[j], origin, true, TRACKING_KEYS, bytes);
        kv_bytes_unref(bytes);
    }
    pthread_mutex_unlock(&t->prefix_lock);
}

static prefix *find_prefix(tracking *t, kv_slice text)
{
    for (size_t i = 0; i < t->prefix_total; i++)
        if (kv_slice_equal(t->prefixes[i].text, text))
            return &t->prefixes[i];
    return NULL;
}

/* Keeps the prefixes sorted, so that clients hear of them in Redis's order. */
static prefix *new_prefix(tracking *t, kv_slice text)
{
    prefix *all = realloc(t->prefixes, (t->prefix_total + 1) * sizeof *all);
    char *copy = all ? malloc(text.len + 1) : NULL;
    size_t at;

    if (all)
        t->prefixes = all;
    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.data, text.len);
    for (at = t->prefix_total; at > 0 && by_bytes(&text, &all[at - 1].text) < 0; at--)
        all[at] = all[at - 1];
    all[at] = (prefix){ .text = kv_slice_of(copy, text.len) };
    count_bytes(t, sizeof *all + text.len + 1, 0);
    t->prefix_total++;
    atomic_store_explicit(&t->prefix_count, t->prefix_total, memory_order_relaxed);
    return &all[at];
}

static void drop_prefix(tracking *t, prefix *p)
{
    count_bytes(t, 0, sizeof *p + p->text.len + 1);
    free((void *)(uintptr_t)p->text.data);
    free(p->clients);
    memmove(p, p + 1, (size_t)(t->prefixes + t->prefix_total - (p + 1)) * sizeof *p);
    t->prefix_total--;
    atomic_store_explicit(&t->prefix_count, t->prefix_total, memory_order_relaxed);
}

static int join_prefix(tracking *t, kv_slice text, uint64_t id)
{
    prefix *p;
    uint64_t *clients;
    int err = KV_ENOMEM;

    pthread_mutex_lock(&t->prefix_lock);
    p = find_prefix(t, text);
    if (!p)
        p = new_prefix(t, text);
    clients = p ? realloc(p->clients, (p->count + 1) * sizeof *clients) : NULL;
    if (clients) {
        p->clients = clients;
        p->clients[p->count++] = id;
        count_bytes(t, sizeof id, 0);
        err = 0;
    } else if (p && p->count == 0) {
        drop_prefix(t, p);
    }
    pthread_mutex_unlock(&t->prefix_lock);
    return err;
}

static void leave_prefix(tracking *t, kv_slice text, uint64_t id)
{
    prefix *p;

    pthread_mutex_lock(&t->prefix_lock);
    p = find_prefix(t, text);
    for (size_t i = 0; p && i < p->count; i++)
        if (p->clients[i] == id) {
            p->clients[i] = p->clients[--p->count];
            count_bytes(t, 0, sizeof id);
            break;
        }
    if (p && p->count == 0)
        drop_prefix(t, p);
    pthread_mutex_unlock(&t->prefix_lock);
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
        leave_prefix(s->tracking, old->prefixes[i], c->id);
        free((void *)(uintptr_t)old->prefixes[i].data);
    }
    for (tracking_note *note = old->deferred, *next; note; note = next) {
        next = note->next;
        tracking_note_free(note);
    }
    free(old->prefixes);
    free(old);
    if (atomic_fetch_sub_explicit(&s->tracking->clients, 1, memory_order_acq_rel) == 1) {
        forget_all(s->tracking);
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

        if (!copy || join_prefix(c->owner->server->tracking, prefixes[i], c->id) != 0) {
            free(copy);
            return KV_ENOMEM;
        }
        if (prefixes[i].len)
            memcpy(copy, prefixes[i].data, prefixes[i].len);
        all[tr->prefix_count++] = kv_slice_of(copy, prefixes[i].len);
        tr->prefix_bytes += 2 * (prefixes[i].len + 1) + sizeof *all + sizeof(prefix) + sizeof c->id;
    }
    qsort(all, tr->prefix_count, sizeof *all, by_bytes);
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
    set_mode(c, on ? c->tracker->mode | TRACKING_CACHING : c->tracker->mode & ~(unsigned)TRACKING_CACHING);
}

/* ---- life and figures ---- */

tracking *tracking_new(server *s)
{
    tracking *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->fences = calloc(128, sizeof *t->fences);
    for (int i = 0; i < PARTS; i++) {
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
    forget_all(t);
    for (int i = 0; i < PARTS; i++) {
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
    ret->bytes = ret->keys * (sizeof(cached) + 32) + ret->items * sizeof(uint64_t);
}
