/* keyed.c - see keyed.h.
 *
 * Opening a pack fills the module's scratch store with the fields that the command names, which costs some 200 ns
 * each; closing packs them again, together with the others, when something has changed, and empties the scratch
 * store. When the fields have become too many or too long for a pack, the others join them in the scratch store, which is
 * given to the key, and a new one takes its place.
 *
 * All packs share the sequence of versions of the scratch store: it never goes back, so a field that was deleted and
 * comes back never repeats a version.
 *
 * SPDX-License-Identifier: MIT */
#include "keyed.h"

#include "expire.h"
#include "handle.h"

#define STORE_TAG    ((uintptr_t)1)
#define ATTACHED_TAG ((uintptr_t)2)
#define TAGS         (STORE_TAG | ATTACHED_TAG)
#define TRIM_FROM    1000u /* fields: freeing so many is worth tidying up after */

static pack *pack_of(const keyed *k)
{
    return k->content & STORE_TAG ? NULL : (pack *)k->content;
}

kv_store *keyed_store(const keyed *k)
{
    return k->content & STORE_TAG ? (kv_store *)(k->content & ~TAGS) : NULL;
}

bool keyed_attached(const keyed *k)
{
    return k->content & ATTACHED_TAG;
}

void keyed_set_attached(keyed *k, bool attached)
{
    k->content = (k->content & ~ATTACHED_TAG) | (attached ? ATTACHED_TAG : 0);
}

uint64_t keyed_version_max(rm_ctx *ctx)
{
    int trusted = RM_IS_LOADING | RM_ASYNC_LOADING | RM_IS_REPLICATED;

    return rm.GetContextFlags(ctx) & trusted ? INT64_MAX : (uint64_t)1 << 62;
}

kv_store *keyed_store_new(uint64_t version_start)
{
    kv_store_options options = { .domain = module.domain, .version_start = version_start };
    kv_store *store = kv_store_new(&options);

    if (store)
        kv_store_on_change(store, effects_note, &module.effects, NULL);
    return store;
}

/* ---- life ---- */

keyed *keyed_new(void)
{
    keyed *k = rm_alloc(sizeof *k);

    if (k) {
        *k = (keyed){ 0 };
        atomic_fetch_add_explicit(&module.keys, 1, memory_order_relaxed);
    }
    return k;
}

static void set_content(keyed *k, pack *p, kv_store *store)
{
    pack_free(pack_of(k));
    if (keyed_store(k)) {
        bool big = kv_store_count(keyed_store(k)) >= TRIM_FROM;

        atomic_fetch_add_explicit(&module.ended, 1, memory_order_relaxed);
        kv_store_unref(keyed_store(k)); /* who holds it still, and frees it, sees that it has ended */
        atomic_fetch_sub_explicit(&module.stores, 1, memory_order_relaxed);
        if (big) { /* what FLUSHALL frees is free when it returns */
            domain_trim(module.domain);
            atomic_store_explicit(&module.tidy, true, memory_order_relaxed);
        }
    }
    k->content = store ? (uintptr_t)store | STORE_TAG : (uintptr_t)p;
    if (store)
        atomic_fetch_add_explicit(&module.stores, 1, memory_order_relaxed);
}

void keyed_free(keyed *k)
{
    if (!k)
        return;
    expire_forget(k);
    handle_forget(k);
    set_content(k, NULL, NULL);
    rm.Free(k);
    atomic_fetch_sub_explicit(&module.keys, 1, memory_order_relaxed);
}

/* ---- figures ---- */

size_t keyed_count(const keyed *k)
{
    kv_store *store = keyed_store(k);

    return store ? kv_store_count(store) : k->content ? pack_of(k)->count : 0;
}

size_t keyed_size(const keyed *k)
{
    kv_store *store = keyed_store(k);
    kv_stats stats;

    if (!store)
        return sizeof *k + (k->content ? pack_size(pack_of(k)) : 0);
    kv_store_stats(store, &stats, 0);
    return sizeof *k + stats.entry_bytes + stats.index_bytes;
}

uint64_t keyed_version(const keyed *k)
{
    kv_store *store = keyed_store(k);

    return store ? store_version(store) : k->content ? pack_of(k)->version : 0;
}

/* ---- filling a store ---- */

int keyed_restore(kv_store *store, const pack_field *field)
{
    entry_parts parts = { .key = field->name, .value = field->value, .deadline_ms = field->deadline_ms };

    return store_restore(store, store_key_of(store, field->name), &parts, field->version, INT64_MIN);
}

struct restore {
    kv_store *store;
    int err;
};

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void restore_visit(void *arg, const pack_field *field)
{
    struct restore *r = arg;

    if (!r->err)
        r->err = keyed_restore(r->store, field);
}

/* ---- opening and closing ---- */

static bool part_has(keyed_part part, kv_slice name)
{
    for (size_t i = 0; i < part.n; i++) {
        if (kv_slice_equal(part.names[i], name))
            return true;
    }
    return part.n == 0;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void scratch_empty(keyed_part part)
{
    module.effects.muted = true;
    for (size_t i = 0; i < part.n; i++)
        kv_store_delete(module.scratch, part.names[i], NULL, INT64_MIN);
    if (kv_store_count(module.scratch))
        store_clear(module.scratch, false);
    module.effects.muted = false;
}

/* Fills the scratch store with the fields of p that are in part, or with those that are not. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int scratch_fill(const pack *p, keyed_part part, bool in_part)
{
    pack_field field;
    int err = 0;

    module.effects.muted = true;
    if (p->version > module.version) {
        store_raise_version(module.scratch, p->version);
        module.version = p->version;
    }
    for (size_t at = 0; !err && pack_next(p, &at, &field);) {
        if (part_has(part, field.name) == in_part)
            err = keyed_restore(module.scratch, &field);
    }
    module.effects.muted = false;
    return err;
}

kv_store *keyed_open(const keyed *k, keyed_part part)
{
    kv_store *store = k ? keyed_store(k) : NULL;

    if (store)
        return store;
    if (k && k->content && scratch_fill(pack_of(k), part, true) != 0) {
        scratch_empty(part);
        return NULL;
    }
    return module.scratch;
}

struct gather {
    pack_field fields[PACK_FIELDS_MAX];
    size_t n;
    bool too_many;
};

static void gather_field(struct gather *gather, const pack_field *field)
{
    if (gather->n < PACK_FIELDS_MAX)
        gather->fields[gather->n++] = *field;
    else
        gather->too_many = true;
}

static void gather_visit(void *arg, const entry *e)
{
    pack_field field = pack_field_of(e);

    gather_field(arg, &field);
}

/* The scratch store's fields, and those of old that are in no part, as a pack; KV_ETOOBIG: they are none. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int scratch_pack(const pack *old, keyed_part part, pack **ret_pack)
{
    struct gather gather = { .n = 0 };
    pack_field field;
    uint64_t cursor = 0;

    for (size_t at = 0; old && pack_next(old, &at, &field);) {
        if (!part_has(part, field.name))
            gather_field(&gather, &field);
    }
    if (kv_store_count(module.scratch) > PACK_FIELDS_MAX)
        return KV_ETOOBIG;
    do {
        cursor = store_scan(module.scratch, cursor, gather_visit, &gather, INT64_MIN);
    } while (cursor);
    if (gather.too_many)
        return KV_ETOOBIG;
    module.version = store_version(module.scratch);
    return pack_new(gather.fields, gather.n, module.version, ret_pack);
}

/* Gives the scratch store to k, with the fields of its pack that are in no part. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int scratch_give(keyed *k, keyed_part part)
{
    int err = k->content ? scratch_fill(pack_of(k), part, false) : 0;
    kv_store *next = err ? NULL : keyed_store_new(store_version(module.scratch));

    if (!next)
        return KV_ENOMEM;
    set_content(k, NULL, module.scratch);
    module.scratch = next;
    return 0;
}

int keyed_close(keyed *k, keyed_part part, bool changed)
{
    pack *p = NULL;
    int err = 0;

    if (k && keyed_store(k))
        return 0;
    if (changed) {
        err = scratch_pack(pack_of(k), part, &p);
        if (err == KV_ETOOBIG && (err = scratch_give(k, part)) == 0)
            return 0;
        if (!err)
            set_content(k, p, NULL);
    }
    scratch_empty(part);
    return err;
}

int keyed_make_store(keyed *k)
{
    return keyed_store(k) ? 0 : scratch_give(k, (keyed_part){ 0 });
}

/* ---- all fields ---- */

struct each {
    keyed_visit_fn *visit;
    void *arg;
};

static void each_visit(void *arg, const entry *e)
{
    const struct each *each = arg;
    pack_field field = pack_field_of(e);

    each->visit(each->arg, &field);
}

void keyed_each(const keyed *k, keyed_visit_fn *visit, void *arg)
{
    kv_store *store = keyed_store(k);
    struct each each = { visit, arg };
    pack_field field;
    uint64_t cursor = 0;

    if (!store) {
        for (size_t at = 0; k->content && pack_next(pack_of(k), &at, &field);)
            visit(arg, &field);
        return;
    }
    if (epoch_enter(module.domain) == 0) {
        do {
            cursor = store_scan(store, cursor, each_visit, &each, INT64_MIN);
        } while (cursor);
    }
    epoch_leave(module.domain);
}

static int copy_content(keyed *to, const keyed *from)
{
    struct restore restore = { 0 };

    if (!keyed_store(from)) {
        pack *p = from->content ? pack_copy(pack_of(from)) : NULL;

        if (from->content && !p)
            return KV_ENOMEM;
        set_content(to, p, NULL);
        return 0;
    }
    restore.store = keyed_store_new(keyed_version(from));
    if (!restore.store)
        return KV_ENOMEM;
    module.effects.muted = true;
    keyed_each(from, restore_visit, &restore);
    module.effects.muted = false;
    if (restore.err)
        kv_store_unref(restore.store);
    else
        set_content(to, NULL, restore.store);
    return restore.err;
}

keyed *keyed_copy(const keyed *from)
{
    keyed *copy = keyed_new();

    if (copy && copy_content(copy, from) != 0) {
        keyed_free(copy);
        return NULL;
    }
    return copy;
}
