/* effects.c - see effects.h. SPDX-License-Identifier: MIT */
#include "effects.h"

#include "module.h"

#define NAMES_KEPT (64u * 1024) /* room kept from one command to the next, in bytes */

static bool reserve(effects *e, size_t more)
{
    size_t size = e->size ? e->size : 1024;
    char *names;

    if (e->size - e->len >= more)
        return true;
    while (size - e->len < more)
        size *= 2;
    names = rm_alloc(size);
    if (!names)
        return false;
    if (e->len)
        memcpy(names, e->names, e->len);
    rm.Free(e->names);
    e->names = names;
    e->size = size;
    return true;
}

static kv_slice name_at(const effects *e, size_t at)
{
    size_t len;

    memcpy(&len, e->names + at, sizeof len);
    return kv_slice_of(e->names + at + sizeof len, len);
}

void effects_note(void *arg, const kv_change *change)
{
    effects *e = arg;

    if (e->muted || change->kind == KV_CHANGE_BEGIN || change->kind == KV_CHANGE_END)
        return;
    if (change->deadline_ms < e->earliest_ms)
        e->earliest_ms = change->deadline_ms;
    if (change->kind == KV_CHANGE_EXPIRE)
        module.expired_fields++;
    if (e->count && kv_slice_equal(name_at(e, e->last), change->key))
        return;
    if (!reserve(e, sizeof(size_t) + change->key.len)) {
        e->failed = true;
        return;
    }
    e->last = e->len;
    memcpy(e->names + e->len, &change->key.len, sizeof(size_t));
    if (change->key.len)
        memcpy(e->names + e->len + sizeof(size_t), change->key.data, change->key.len);
    e->len += sizeof(size_t) + change->key.len;
    e->count++;
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static void replicate_field(rm_ctx *ctx, rm_str *key, kv_store *store, kv_slice name)
{
    /* Also what is past its deadline: it is there until it is removed, and then that is told. */
    const entry *e = store_find(store, store_key_of(store, name), INT64_MIN);

    if (!e) {
        rm.Replicate(ctx, "KV.REM", "sb", key, name.data, name.len);
        return;
    }
    kv_slice value = entry_value(e, NULL);
    long long deadline_ms = entry_deadline(e) == KV_FOREVER ? 0 : entry_deadline(e);

    rm.Replicate(ctx, "KV.PUT", "sbbll", key, name.data, name.len, value.data, value.len, deadline_ms,
                 (long long)e->version);
}

void effects_replicate(effects *e, rm_ctx *ctx, rm_str *key, kv_store *store)
{
    if (epoch_enter(module.domain) == 0) {
        for (size_t at = 0; at < e->len;) {
            kv_slice name = name_at(e, at);

            replicate_field(ctx, key, store, name);
            at += sizeof(size_t) + name.len;
        }
    }
    epoch_leave(module.domain);
}

void effects_clear(effects *e)
{
    if (e->size > NAMES_KEPT) {
        rm.Free(e->names);
        *e = (effects){ 0 };
    }
    e->len = e->count = e->last = 0;
    e->failed = e->muted = false;
    e->earliest_ms = KV_FOREVER;
}
