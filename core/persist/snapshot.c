/* snapshot.c - a snapshot of stores whose visitor may wait.
 *
 * The map visits some hundred entries inside an epoch, in which nobody must wait (core/map/map_snapshot.c). So they are copied
 * to a stage there, large values by reference, and visited from it after the epoch: a copy of some ten KiB at a time, which
 * stays in the cache.
 *
 *     stage    [staged | key | value][staged | key ] ...        the value, or a kv_bytes that holds it
 *
 * SPDX-License-Identifier: MIT */
#include "snapshot.h"

#include <stdlib.h>

#include "map_snapshot.h"

typedef struct staged {
    size_t store, key_len, value_len, size; /* size: of all of it */
    int64_t deadline_ms;
    uint64_t version;
    kv_bytes *bytes; /* a reference, or NULL: the value follows the key */
    uint32_t access;
} staged;

struct snapshot {
    map_snapshot *map;
    snapshot_options options;
    char *stage;
    size_t used, size;
    bool failed; /* memory was out while staging */
};

snapshot *snapshot_new(const snapshot_options *options, size_t n, kv_store *const stores[])
{
    snapshot *snap = calloc(1, sizeof *snap);
    map **maps = malloc(n * sizeof *maps);

    if (snap && maps) {
        for (size_t i = 0; i < n; i++)
            maps[i] = (map *)store_map(stores[i]);
        snap->options = *options;
        snap->map = map_snapshot_new(kv_store_domain(stores[0]), n, maps, options->keep_bytes);
    }
    free(maps);
    if (!snap || !snap->map) {
        free(snap);
        return NULL;
    }
    return snap;
}

static staged *staged_at(snapshot *snap, size_t at)
{
    return (staged *)(snap->stage + at);
}

/* Gives back what the stage holds from there on. */
static void drop_staged(snapshot *snap, size_t at)
{
    for (; at < snap->used; at += staged_at(snap, at)->size)
        kv_bytes_unref(staged_at(snap, at)->bytes);
    snap->used = 0;
}

void snapshot_free(snapshot *snap)
{
    if (!snap)
        return;
    map_snapshot_free(snap->map);
    drop_staged(snap, 0);
    free(snap->stage);
    free(snap);
}

int snapshot_begin(snapshot *snap)
{
    return map_snapshot_begin(snap->map, snap->options.at_moment, snap->options.at_moment_arg);
}

/* Room for so many bytes at the end of the stage, or NULL. */
static staged *stage_room(snapshot *snap, size_t size)
{
    if (snap->size - snap->used < size) {
        size_t wider = (snap->used + size) * 2;
        char *stage = realloc(snap->stage, wider);

        if (!stage)
            return NULL;
        snap->stage = stage;
        snap->size = wider;
    }
    return staged_at(snap, snap->used);
}

static void stage_entry(void *arg, size_t store, const entry *e)
{
    snapshot *snap = arg;
    kv_bytes *bytes;
    kv_slice key = entry_key(e), value = entry_value(e, &bytes);
    size_t inline_len = bytes ? 0 : value.len;
    size_t size = (sizeof(staged) + key.len + inline_len + 7) & ~(size_t)7;
    staged *s = stage_room(snap, size);

    if (!s) {
        snap->failed = true;
        return;
    }
    *s = (staged){ .store = store,
                   .key_len = key.len,
                   .value_len = value.len,
                   .size = size,
                   .deadline_ms = entry_deadline(e),
                   .version = e->version,
                   .bytes = bytes ? kv_bytes_ref(bytes) : NULL,
                   .access = entry_access(e) };
    memcpy(s + 1, key.data, key.len);
    if (inline_len > 0)
        memcpy((char *)(s + 1) + key.len, value.data, inline_len);
    snap->used += size;
}

static int visit_staged(const staged *s, snapshot_visit_fn *visit, void *arg)
{
    const char *key = (const char *)(s + 1);
    const char *value = s->bytes ? kv_bytes_slice(s->bytes).data : key + s->key_len;
    snapshot_record record = { .store = s->store,
                               .key = kv_slice_of(key, s->key_len),
                               .value = kv_slice_of(value, s->value_len),
                               .deadline_ms = s->deadline_ms,
                               .version = s->version,
                               .access = s->access };

    return visit(arg, &record);
}

int snapshot_next(snapshot *snap, snapshot_visit_fn *visit, void *arg)
{
    int more = map_snapshot_step(snap->map, stage_entry, snap), err = 0;
    size_t at = 0;

    if (snap->failed)
        more = KV_ENOMEM;
    while (more >= 0 && !err && at < snap->used) {
        staged *s = staged_at(snap, at);

        err = visit_staged(s, visit, arg);
        kv_bytes_unref(s->bytes);
        at += s->size;
    }
    drop_staged(snap, at);
    return err ? err : more;
}

size_t snapshot_keys(const snapshot *snap, size_t store)
{
    return map_snapshot_counted(snap->map, store).entries;
}

size_t snapshot_keys_with_deadline(const snapshot *snap, size_t store)
{
    return map_snapshot_counted(snap->map, store).with_deadline;
}

size_t snapshot_kept_bytes(const snapshot *snap)
{
    return map_snapshot_kept(snap->map);
}

bool snapshot_pressed(const snapshot *snap)
{
    return map_snapshot_pressed(snap->map);
}

bool snapshot_failed(const snapshot *snap)
{
    return map_snapshot_failed(snap->map);
}
