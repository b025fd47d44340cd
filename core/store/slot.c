/* slot.c - one key under its shard's lock: what it holds now, and what it shall hold.
 *
 * An update is three acts. *Load*: find the key's place; an entry past its deadline counts as absent. *Step*:
 * the caller's function looks and says what it wants; each wish replaces the one before:
 *
 *     value      kv_slot_set, _set_int, _append, _room   -> slot->fresh, an entry nobody else sees yet
 *     deadline   kv_slot_set_deadline                    -> slot->deadline_ms
 *     nothing    kv_slot_remove                          -> slot->removed
 *
 * *Commit*: one store in the map, one change record. Until the commit nothing has changed, so a step that
 * fails leaves everything as it was, and so does a commit that finds no memory.
 *
 * A fresh entry is built under the lock, in the slab's fast path: the value depends on what the lock
 * protects. store_put, whose value does not, builds before it locks. What was replaced is retired
 * after the lock is released.
 *
 * SPDX-License-Identifier: MIT */
#include "decimal.h"
#include "store_private.h"

#define APPEND_SPARE_MAX (1024u * 1024) /* spare room behind a growing value: as much again, up to this */

struct kv_slot {
    kv_store *store;
    map_shard *shard;
    store_key key;
    map_place place;
    int64_t now_ms;

    entry *live;         /* what the key holds; NULL: absent or expired */
    entry *fresh;        /* what it shall hold, when the value changes */
    int64_t deadline_ms; /* what the deadline shall be */
    bool removed;
    bool renewed;    /* a deadline was given, be it the one that the key has: that is a write, too */
    size_t appended; /* fresh is live and so many bytes more; 0: it is not */
};

/* ---- looking ---- */

bool kv_slot_exists(const kv_slot *slot)
{
    return slot->live != NULL;
}

const entry *kv_slot_entry(const kv_slot *slot)
{
    return slot->live;
}

int kv_slot_value(const kv_slot *slot, kv_slice *ret_value)
{
    if (slot->live && entry_type(slot->live) != ENTRY_STRING)
        return KV_ETYPE;
    *ret_value = slot->live ? entry_value(slot->live, NULL) : KV_STR("");
    return 0;
}

int kv_slot_int(const kv_slot *slot, int64_t *ret_value)
{
    kv_slice value;
    int err = kv_slot_value(slot, &value);

    if (err)
        return err;
    if (!slot->live)
        *ret_value = 0;
    else if (!decimal_parse(value, ret_value))
        return KV_ENOTINT;
    return 0;
}

int64_t kv_slot_deadline(const kv_slot *slot)
{
    return slot->live ? entry_deadline(slot->live) : KV_FOREVER;
}

uint64_t kv_slot_version(const kv_slot *slot)
{
    return slot->live ? slot->live->version : 0;
}

/* ---- wishing ---- */

static void slot_set_fresh(kv_slot *slot, entry *fresh)
{
    entry_free(slot->store->domain, slot->fresh);
    slot->fresh = fresh;
    slot->removed = false;
    slot->appended = 0;
}

static entry_parts slot_parts(const kv_slot *slot, kv_slice value, unsigned encoding)
{
    return (entry_parts){
        .key = slot->key.name,
        .value = value,
        .deadline_ms = slot->deadline_ms,
        .encoding = encoding,
        .access = store_access_after(slot->store, slot->live, slot->now_ms),
    };
}

int kv_slot_set_encoded(kv_slot *slot, kv_slice value, unsigned encoding)
{
    entry_parts parts = slot_parts(slot, value, encoding);
    entry *fresh;

    if (value.len > KV_VALUE_MAX)
        return KV_ETOOBIG;
    fresh = entry_new(slot->store->domain, &parts);
    if (!fresh)
        return KV_ENOMEM;
    slot_set_fresh(slot, fresh);
    return 0;
}

int kv_slot_set(kv_slot *slot, kv_slice value)
{
    return kv_slot_set_encoded(slot, value, 0);
}

int kv_slot_set_int(kv_slot *slot, int64_t value)
{
    char digits[DECIMAL_MAX];

    return kv_slot_set_encoded(slot, decimal_format(digits, value), 0);
}

int kv_slot_set_bytes(kv_slot *slot, kv_bytes *bytes, size_t len, unsigned encoding)
{
    entry_parts parts = slot_parts(slot, kv_slice_of(kv_bytes_data(bytes), len), encoding);
    entry *fresh;

    parts.bytes = bytes;
    fresh = len > KV_VALUE_MAX ? NULL : entry_new(slot->store->domain, &parts);
    if (!fresh) {
        kv_bytes_unref(bytes);
        return len > KV_VALUE_MAX ? KV_ETOOBIG : KV_ENOMEM;
    }
    slot_set_fresh(slot, fresh);
    return 0;
}

void kv_slot_appended(kv_slot *slot, size_t more)
{
    slot->appended = more;
}

/* As kv_slot_room, with spare room behind a value out of line. */
static char *slot_room(kv_slot *slot, size_t len, size_t spare, unsigned encoding)
{
    if (len <= ENTRY_INLINE_MAX) {
        entry_parts parts = slot_parts(slot, kv_slice_of(NULL, len), encoding);
        entry *fresh = entry_new(slot->store->domain, &parts);

        if (!fresh)
            return NULL;
        slot_set_fresh(slot, fresh);
        return (char *)entry_value_room(fresh);
    }
    kv_bytes *bytes = kv_bytes_room(domain_account(slot->store->domain), len, spare);

    if (!bytes || kv_slot_set_bytes(slot, bytes, len, encoding) != 0)
        return NULL;
    return kv_bytes_data(bytes);
}

char *kv_slot_room(kv_slot *slot, size_t len, unsigned encoding)
{
    return slot_room(slot, len, 0, encoding);
}

bool kv_slot_extends(const kv_slot *slot, size_t more)
{
    kv_bytes *owner = NULL;
    kv_slice old = slot->live ? entry_value(slot->live, &owner) : KV_STR("");

    return owner && kv_bytes_extends(owner, old.len, more);
}

int kv_slot_append(kv_slot *slot, kv_slice more, size_t max_bytes, size_t *ret_len)
{
    kv_slice old;
    kv_bytes *owner;
    int err = kv_slot_value(slot, &old);

    if (err)
        return err;
    if (more.len > max_bytes || old.len > max_bytes - more.len)
        return KV_ETOOBIG;
    *ret_len = old.len + more.len;
    if (!slot->live)
        return kv_slot_set(slot, more);

    entry_value(slot->live, &owner);
    if (owner && kv_bytes_extend(owner, old.len, more)) {
        err = kv_slot_set_bytes(slot, kv_bytes_ref(owner), *ret_len, ENTRY_RAW);
    } else {
        size_t spare = *ret_len < APPEND_SPARE_MAX ? *ret_len : APPEND_SPARE_MAX;
        char *room = slot_room(slot, *ret_len, spare, ENTRY_RAW);

        if (!room)
            return KV_ENOMEM;
        memcpy(room, old.data, old.len);
        memcpy(room + old.len, more.data, more.len);
    }
    if (!err)
        slot->appended = more.len;
    return err;
}

void kv_slot_set_deadline(kv_slot *slot, int64_t deadline_ms)
{
    slot->deadline_ms = deadline_ms;
    slot->renewed = deadline_ms != KV_FOREVER;
}

void kv_slot_remove(kv_slot *slot)
{
    slot_set_fresh(slot, NULL);
    slot->removed = true;
}

/* ---- load and commit ---- */

KV_UNDER_LOCK static void slot_load(kv_slot *slot)
{
    slot->place = shard_look_up(slot->shard, slot->key);
    slot->live = place_live(slot->shard, &slot->place, slot->now_ms);
    slot->deadline_ms = kv_slot_deadline(slot);
}

entry *entry_remake(kv_store *store, const entry *e, kv_slice key, int64_t deadline_ms, int64_t now_ms)
{
    kv_bytes *owner;
    entry_parts parts = {
        .key = key,
        .value = entry_value(e, &owner),
        .deadline_ms = deadline_ms,
        .encoding = entry_meta(e) & (ENTRY_RAW | ENTRY_TEXT),
        .access = store_access_after(store, e, now_ms),
    };
    entry *copy;

    if (owner)
        parts.bytes = kv_bytes_ref(owner);
    copy = entry_new(store->domain, &parts);
    if (!copy)
        kv_bytes_unref(parts.bytes);
    return copy;
}

/* Makes slot->fresh carry slot->deadline_ms; it may still be NULL when there is nothing to publish. */
static int slot_settle_deadline(kv_slot *slot)
{
    const entry *from = slot->fresh ? slot->fresh : slot->live;
    entry *made;

    if (!from || (entry_deadline(from) == slot->deadline_ms && (slot->fresh || !slot->renewed)))
        return 0;
    made = entry_remake(slot->store, from, slot->key.name, slot->deadline_ms, slot->now_ms);
    if (!made)
        return KV_ENOMEM;
    entry_free(slot->store->domain, slot->fresh);
    slot->fresh = made;
    return 0;
}

KV_UNDER_LOCK static void slot_tell(const kv_slot *slot, bool only_deadline)
{
    const entry *e = slot->fresh;
    kv_change change;

    if (!store_tells(slot->store))
        return;
    if (!slot->appended && !only_deadline) {
        store_tell_set(slot->store, e, slot->live == NULL);
        return;
    }
    change = (kv_change){
        .kind = only_deadline ? KV_CHANGE_DEADLINE : KV_CHANGE_APPEND,
        .tag = slot->store->tag,
        .key = entry_key(e),
        .deadline_ms = entry_deadline(e),
        .version = e->version,
        .base_version = kv_slot_version(slot),
    };
    if (slot->appended) {
        change.value = entry_value(e, &change.bytes);
        change.value.data += change.value.len - slot->appended;
        change.value.len = slot->appended;
    }
    store_tell(slot->store, &change);
}

/* Publishes slot->fresh. */
KV_UNDER_LOCK static int slot_publish(kv_slot *slot)
{
    if (slot->place.entry) {
        shard_replace(slot->shard, &slot->place, slot->fresh);
        return 0;
    }
    return shard_insert(slot->shard, slot->key.hash, slot->fresh);
}

/* Carries out what the step wished. ret_garbage: what it unlinked, to be retired after the lock. */
KV_UNDER_LOCK static int slot_commit(kv_slot *slot, entry **ret_garbage, uint64_t *ret_version)
{
    entry *before = slot->place.entry;
    bool only_deadline = !slot->fresh;
    int err = slot->removed ? 0 : slot_settle_deadline(slot);

    if (err)
        return err;
    if (before && !slot->live)
        store_tell_expired(slot->store, before);
    if (slot->fresh) {
        err = slot_publish(slot);
        if (err)
            return err;
        slot_tell(slot, only_deadline);
        *ret_version = slot->fresh->version;
    } else if (before && (slot->removed || !slot->live)) {
        shard_remove(slot->shard, &slot->place);
        if (slot->live)
            store_tell_gone(slot->store, KV_CHANGE_DELETE, slot->key.name);
        *ret_version = 0;
    } else {
        *ret_version = kv_slot_version(slot);
        return 0;
    }
    slot->fresh = NULL;
    *ret_garbage = before;
    return 0;
}

/* Nothing was committed: an entry past its deadline goes all the same where reads would remove it. */
KV_UNDER_LOCK static void slot_reap(kv_slot *slot, entry **ret_garbage)
{
    if (!slot->place.entry || slot->live ||
        !atomic_load_explicit(&slot->store->reaping, memory_order_relaxed))
        return;
    *ret_garbage = slot->place.entry;
    store_tell_expired(slot->store, slot->place.entry);
    shard_remove(slot->shard, &slot->place);
}

int store_update_version(kv_store *store, store_key key, kv_step *step, void *arg, int64_t now_ms,
                         uint64_t *ret_version)
{
    kv_slot slot = { .store = store, .key = key, .now_ms = now_ms };
    entry *garbage = NULL;
    int err = epoch_reserve(store->domain, 1);
    _Atomic uint64_t *span;

    if (err)
        return err;
    span = store_span_begin(store);
    slot.shard = map_lock(store->map, key.hash);
    slot_load(&slot);
    err = step(&slot, arg);
    if (!err)
        err = slot_commit(&slot, &garbage, ret_version);
    else
        slot_reap(&slot, &garbage);
    map_unlock(slot.shard);
    span_end(span);
    entry_free(store->domain, slot.fresh);
    if (garbage)
        entry_retire(store->domain, garbage);
    return err;
}

int store_update(kv_store *store, store_key key, kv_step *step, void *arg, int64_t now_ms)
{
    uint64_t version;

    return store_update_version(store, key, step, arg, now_ms, &version);
}

/* ---- the way without a step ---- */

struct put_told {
    kv_store *store;
    int64_t now_ms;
    _Atomic uint64_t *spans; /* of this thread, once known */
    const kv_slice *pair;    /* key and value, of one that may be told in short; or NULL */
};

/* Whoever hears of changes sees spans, too. */
__attribute__((always_inline)) static inline _Atomic uint64_t *spans_of(struct put_told *put, unsigned hooked)
{
    if (__builtin_expect(!(hooked & STORE_SPANS), 1))
        return NULL;
    if (!put->spans)
        put->spans = put->store->on_span(put->store->on_span_arg);
    return put->spans;
}

KV_UNDER_LOCK static bool tell_in_short(const struct put_told *put, const entry *before, const entry *fresh,
                                        map_mark *mark)
{
    const kv_store *store = put->store;
    const store_put_told told = { .tag = store->tag,
                                  .key = put->pair[0],
                                  .value = put->pair[1],
                                  .version = fresh->version,
                                  .before_version = before ? before->version : 0,
                                  .mark = mark };

    return store_tells(store) && store->on_put(store->on_put_arg, &told);
}

/* Whether somebody wants to know is looked at here, under the lock: who begins to listen, and then takes a moment under all locks, hears
 * of each write that is not in that moment. */
KV_UNDER_LOCK static void tell_put(void *arg, const entry *before, const entry *fresh, map_mark *mark)
{
    const struct put_told *put = arg;
    bool expired;

    if (__builtin_expect(!atomic_load_explicit(&put->store->hooked, memory_order_acquire), 1))
        return;
    expired = before && entry_expired(before, put->now_ms);
    if (store_counts_uses(put->store))
        entry_touch(fresh, store_access_after(put->store, expired ? NULL : before, put->now_ms));
    if (expired)
        store_tell_expired(put->store, before);
    else if (put->pair && tell_in_short(put, before, fresh, mark))
        return;
    store_tell_set(put->store, fresh, !before || expired);
}

/* Publishes fresh (NULL: memory was out) and retires what it replaced. held: within a hold that has named the key. KV_ENOMEM: fresh
 * is still the caller's. */
__attribute__((always_inline)) static inline int put_fresh(struct put_told *put, store_key key, entry *fresh,
                                                           bool held) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held)
{
    kv_store *store = put->store;
    entry *before;

    if (__builtin_expect(!fresh, 0))
        return KV_ENOMEM;
    unsigned hooked = atomic_load_explicit(&store->hooked, memory_order_acquire);

    _Atomic uint64_t *spans = spans_of(put, hooked);
    span_begin(spans);
    int err = held ? map_put_held(store->map, key.name, key.hash, key.hint, fresh, &before, tell_put, put)
                   : map_put(store->map, key.name, key.hash, key.hint, fresh, &before, tell_put, put);

    span_end(spans);
    if (__builtin_expect(!err, 1))
        entry_retire(store->domain, before);
    return err;
}

int store_put(kv_store *store, store_key key, const entry_parts *parts, int64_t now_ms)
{
    struct put_told put = { store, now_ms, NULL, NULL };

    if (!key.hint)
        map_expect(store->map, key.hash);
    entry *fresh = epoch_reserve(store->domain, 1) == 0 ? entry_new(store->domain, parts) : NULL;
    int err = put_fresh(&put, key, fresh, false);

    if (err && fresh) {
        if (parts->bytes)
            kv_bytes_ref(parts->bytes); /* the entry gives its reference back; the caller keeps one */
        entry_free(store->domain, fresh);
    }
    return err;
}

size_t store_put_run(kv_store *store, size_t n, const kv_slice pairs[], size_t stride,
                     const uint64_t hashes[], const map_hint hints[], uint32_t access, int64_t now_ms)
{
    struct put_told put = { store, now_ms, NULL, NULL };
    kv_domain *domain = store->domain;
    bool held = map_hold_current(domain) != NULL, in_short = !held && store->on_put;

    for (size_t i = 0; i < n; i++, pairs += stride) {
        store_key key = { pairs[0], hashes[i], &hints[i] };
        entry *fresh = epoch_reserve(domain, 1) == 0
                           ? entry_new_plain(domain, pairs[0], pairs[1], KV_FOREVER, 0, access)
                           : NULL;

        put.pair = in_short ? pairs : NULL;
        if (__builtin_expect(put_fresh(&put, key, fresh, held), 0)) {
            entry_free(domain, fresh);
            return i;
        }
    }
    return n;
}
