/* public.c - the functions of kvstore.h: each an act on the state, carried to where the state may be touched.
 *
 * An act is a function and its arguments. With KV_SHARING_ACTOR it travels as a message to the state's thread
 * and the caller sleeps until it was run; otherwise it runs here. Either way it runs inside an epoch. The
 * indirection is `static inline` with a constant function, so that a direct call costs nothing more.
 *
 * What is handed out leaves the epoch: a value is copied, or a reference to it is taken.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

/* ---- acts ---- */

typedef struct act act;
typedef int act_fn(act *a);

struct act {
    actor_message message;
    act_fn *run;
    kv_store *store;
    kv_slice key;
    int64_t now_ms;
    int result;
};

static int act_run(act *a)
{
    int err = epoch_enter(a->store->domain);

    if (!err)
        err = a->run(a);
    epoch_leave(a->store->domain);
    return err;
}

static void act_on_actor(actor_message *message)
{
    act *a = (act *)message;

    a->result = act_run(a);
}

static inline int perform(act *a, act_fn *run)
{
    a->run = run;
    if (!a->store->actor)
        return act_run(a);
    a->message.run = act_on_actor;
    actor_call(a->store->actor, &a->message);
    return a->result;
}

/* ---- one key: reading ---- */

struct get {
    act act;
    kv_bytes *value;
};

/* A reference to e's value, or a copy of it; NULL: memory is out. */
static kv_bytes *value_for_keeps(const kv_store *store, const entry *e)
{
    kv_bytes *owner;
    kv_slice value = entry_value(e, &owner);

    return owner ? kv_bytes_prefix(owner, value.len) : kv_bytes_copy(domain_account(store->domain), value);
}

KV_REQUIRES(kv_epoch_held) static int get_act(act *a)
{
    struct get *get = (struct get *)a;
    const entry *e = store_find(a->store, store_key_of(a->store, a->key), a->now_ms);

    if (!e)
        return KV_ENOKEY;
    if (entry_type(e) != ENTRY_STRING)
        return KV_ETYPE;
    get->value = value_for_keeps(a->store, e);
    return get->value ? 0 : KV_ENOMEM;
}

kv_bytes *kv_store_get(kv_store *store, kv_slice key, int64_t now_ms)
{
    struct get get = { .act = { .store = store, .key = key, .now_ms = now_ms } };

    return perform(&get.act, get_act) == 0 ? get.value : NULL;
}

struct copy {
    act act;
    void *buffer;
    size_t size;
    kv_meta *ret_meta;
};

static kv_meta meta_of(const entry *e)
{
    return (kv_meta){ entry_value(e, NULL).len, entry_deadline(e), e->version };
}

KV_REQUIRES(kv_epoch_held) static int copy_act(act *a)
{
    struct copy *copy = (struct copy *)a;
    const entry *e = store_find(a->store, store_key_of(a->store, a->key), a->now_ms);
    kv_slice value;

    if (!e)
        return KV_ENOKEY;
    if (entry_type(e) != ENTRY_STRING)
        return KV_ETYPE;
    value = entry_value(e, NULL);
    if (copy->size > 0 && value.len > 0)
        memcpy(copy->buffer, value.data, value.len < copy->size ? value.len : copy->size);
    if (copy->ret_meta)
        *copy->ret_meta = meta_of(e);
    return 0;
}

int kv_store_copy(kv_store *store, kv_slice key, void *buffer, size_t size, kv_meta *ret_meta, int64_t now_ms)
{
    struct copy copy = { { .store = store, .key = key, .now_ms = now_ms }, buffer, size, ret_meta };

    return perform(&copy.act, copy_act);
}

/* ---- one key: writing ---- */

struct update {
    act act;
    kv_step *step;
    void *arg;
};

KV_REQUIRES(kv_epoch_held) static int update_act(act *a)
{
    struct update *update = (struct update *)a;

    return store_update(a->store, store_key_of(a->store, a->key), update->step, update->arg, a->now_ms);
}

int kv_store_update(kv_store *store, kv_slice key, kv_step *step, void *arg, int64_t now_ms)
{
    struct update update = { { .store = store, .key = key, .now_ms = now_ms }, step, arg };

    return perform(&update.act, update_act);
}

/* Whether the key, as the slot shows it, meets the condition. */
KV_UNDER_LOCK static int condition_check(const kv_slot *slot, const kv_set_options *o)
{
    kv_slice value;
    int err;

    switch (o->condition) {
    case KV_ALWAYS:
        return 0;
    case KV_IF_ABSENT:
        return kv_slot_exists(slot) ? KV_ECOND : 0;
    case KV_IF_PRESENT:
        return kv_slot_exists(slot) ? 0 : KV_ECOND;
    case KV_IF_VERSION:
        return kv_slot_version(slot) == o->version ? 0 : KV_ECOND;
    case KV_IF_EQUAL:
        err = kv_slot_value(slot, &value);
        if (err)
            return err;
        return kv_slot_exists(slot) && kv_slice_equal(value, o->equal) ? 0 : KV_ECOND;
    }
    return KV_EINVAL;
}

struct set {
    const kv_set_options *options;
    kv_slice value;
};

KV_UNDER_LOCK static int set_step(kv_slot *slot, void *arg)
{
    const struct set *set = arg;
    int err = condition_check(slot, set->options);

    if (err)
        return err;
    if (!set->options->keep_deadline)
        kv_slot_set_deadline(slot, set->options->deadline_ms ? set->options->deadline_ms : KV_FOREVER);
    return kv_slot_set(slot, set->value);
}

struct set_act {
    act act;
    struct set set;
    uint64_t version;
};

KV_REQUIRES(kv_epoch_held) static int set_act(act *a)
{
    struct set_act *s = (struct set_act *)a;

    return store_update_version(a->store, store_key_of(a->store, a->key), set_step, &s->set, a->now_ms,
                                &s->version);
}

int kv_store_set(kv_store *store, kv_slice key, kv_slice value, const kv_set_options *options, int64_t now_ms,
                 uint64_t *ret_version)
{
    static const kv_set_options always = { .condition = KV_ALWAYS };
    struct set_act s = { .act = { .store = store, .key = key, .now_ms = now_ms },
                         .set = { options ? options : &always, value } };
    int err;

    if (key.len > KV_VALUE_MAX || value.len > KV_VALUE_MAX)
        return KV_ETOOBIG;
    err = perform(&s.act, set_act);
    if (!err && ret_version)
        *ret_version = s.version;
    return err;
}

KV_UNDER_LOCK static int delete_step(kv_slot *slot, void *arg)
{
    const kv_set_options *options = arg;
    int err = options ? condition_check(slot, options) : 0;

    if (err)
        return err;
    if (!kv_slot_exists(slot))
        return KV_ENOKEY;
    kv_slot_remove(slot);
    return 0;
}

int kv_store_delete(kv_store *store, kv_slice key, const kv_set_options *options, int64_t now_ms)
{
    return kv_store_update(store, key, delete_step, (void *)(uintptr_t)options, now_ms);
}

struct increment {
    int64_t by, sum;
};

KV_UNDER_LOCK static int increment_step(kv_slot *slot, void *arg)
{
    struct increment *increment = arg;
    int64_t old;
    int err = kv_slot_int(slot, &old);

    if (err)
        return err;
    if (__builtin_add_overflow(old, increment->by, &increment->sum))
        return KV_ERANGE;
    return kv_slot_set_int(slot, increment->sum);
}

int kv_store_increment(kv_store *store, kv_slice key, int64_t by, int64_t *ret_sum, int64_t now_ms)
{
    struct increment increment = { .by = by };
    int err = kv_store_update(store, key, increment_step, &increment, now_ms);

    if (!err && ret_sum)
        *ret_sum = increment.sum;
    return err;
}

struct expire {
    int64_t deadline_ms, now_ms;
};

KV_UNDER_LOCK static int expire_step(kv_slot *slot, void *arg)
{
    const struct expire *expire = arg;

    if (!kv_slot_exists(slot))
        return KV_ENOKEY;
    if (expire->deadline_ms <= expire->now_ms)
        kv_slot_remove(slot);
    else
        kv_slot_set_deadline(slot, expire->deadline_ms);
    return 0;
}

int kv_store_expire(kv_store *store, kv_slice key, int64_t deadline_ms, int64_t now_ms)
{
    struct expire expire = { deadline_ms, now_ms };

    return kv_store_update(store, key, expire_step, &expire, now_ms);
}

/* ---- many keys ---- */

struct get_many {
    act act;
    size_t n;
    const kv_slice *keys;
    kv_bytes **ret_values;
};

#define GET_MANY_STACK 64

KV_REQUIRES(kv_epoch_held) static int get_many_found(struct get_many *m, const entry *const found[])
{
    int count = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (!found[i] || entry_type(found[i]) != ENTRY_STRING)
            continue;
        m->ret_values[i] = value_for_keeps(m->act.store, found[i]);
        if (!m->ret_values[i])
            return KV_ENOMEM;
        count++;
    }
    return count;
}

KV_REQUIRES(kv_epoch_held) static int get_many_act(act *a)
{
    struct get_many *m = (struct get_many *)a;
    struct {
        uint64_t hashes[GET_MANY_STACK];
        const entry *found[GET_MANY_STACK];
    } few;
    size_t block_bytes = m->n * (sizeof(uint64_t) + sizeof(entry *));
    uint64_t *hashes = few.hashes;
    const entry **found = few.found;
    void *block = NULL;
    int result;

    if (m->n > GET_MANY_STACK) {
        block = domain_alloc(a->store->domain, block_bytes, 16);
        if (!block)
            return KV_ENOMEM;
        hashes = block;
        found = (const entry **)(hashes + m->n);
    }
    for (size_t i = 0; i < m->n; i++)
        hashes[i] = domain_hash(a->store->domain, m->keys[i]);
    store_find_many(a->store, m->n, m->keys, hashes, found, a->now_ms);
    result = get_many_found(m, found);
    if (block)
        domain_free(a->store->domain, block, block_bytes);
    return result;
}

int kv_store_get_many(kv_store *store, size_t n, const kv_slice keys[], kv_bytes *ret_values[],
                      int64_t now_ms)
{
    struct get_many m = { { .store = store, .now_ms = now_ms }, n, keys, ret_values };
    int result;

    if (n > INT_MAX)
        return KV_EINVAL;
    for (size_t i = 0; i < n; i++)
        ret_values[i] = NULL;
    if (n == 0)
        return 0;
    result = perform(&m.act, get_many_act);
    for (size_t i = 0; result < 0 && i < n; i++) {
        kv_bytes_unref(ret_values[i]);
        ret_values[i] = NULL;
    }
    return result;
}

struct scan {
    act act;
    uint64_t cursor;
    size_t count, seen;
    kv_scan_fn *visit;
    void *arg;
};

static void scan_visit(void *arg, const entry *e)
{
    struct scan *scan = arg;
    kv_meta meta = meta_of(e);

    scan->seen++;
    scan->visit(scan->arg, entry_key(e), entry_value(e, NULL), &meta);
}

KV_REQUIRES(kv_epoch_held) static int scan_act(act *a)
{
    struct scan *scan = (struct scan *)a;
    size_t steps = 10 * (scan->count ? scan->count : 1); /* empty buckets end a call too */

    do {
        scan->cursor = store_scan(a->store, scan->cursor, scan_visit, scan, a->now_ms);
    } while (scan->cursor && scan->seen < scan->count && --steps);
    return 0;
}

uint64_t kv_store_scan(kv_store *store, uint64_t cursor, size_t count, kv_scan_fn *visit, void *arg,
                       int64_t now_ms)
{
    struct scan scan = { .act = { .store = store, .now_ms = now_ms },
                         .cursor = cursor,
                         .count = count,
                         .visit = visit,
                         .arg = arg };

    return perform(&scan.act, scan_act) == 0 ? scan.cursor : cursor;
}

/* ---- the whole store ---- */

KV_REQUIRES(kv_epoch_held) static int clear_act(act *a)
{
    return store_clear(a->store, true);
}

int kv_store_clear(kv_store *store)
{
    act a = { .store = store };

    return perform(&a, clear_act);
}

struct cycle {
    act act;
    size_t max_segments, removed;
};

KV_REQUIRES(kv_epoch_held) static int cycle_act(act *a)
{
    struct cycle *cycle = (struct cycle *)a;

    cycle->removed = store_expire_cycle(a->store, a->now_ms, cycle->max_segments, NULL);
    return 0;
}

size_t kv_store_expire_cycle(kv_store *store, int64_t now_ms, size_t max_segments)
{
    struct cycle cycle = { .act = { .store = store, .now_ms = now_ms }, .max_segments = max_segments };

    return perform(&cycle.act, cycle_act) == 0 ? cycle.removed : 0;
}

struct stats {
    act act;
    kv_stats *ret_stats;
};

KV_REQUIRES(kv_epoch_held) static int stats_act(act *a)
{
    store_read_stats(a->store, ((struct stats *)a)->ret_stats, a->now_ms);
    return 0;
}

void kv_store_stats(kv_store *store, kv_stats *ret_stats, int64_t now_ms)
{
    struct stats stats = { { .store = store, .now_ms = now_ms }, ret_stats };

    memset(ret_stats, 0, sizeof *ret_stats);
    perform(&stats.act, stats_act);
}

size_t kv_store_count(kv_store *store)
{
    return store_count(store); /* sums counters, which any thread may read */
}
