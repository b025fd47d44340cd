/* type.c - see type.h.
 *
 * What rdb_save writes, and DUMP and MIGRATE with it:
 *
 *     version     the newest that the key has given out
 *     count       of fields
 *     count times: name, value, deadline in milliseconds (0: none), version
 *
 * with the server's own types of numbers and strings. Fields past their deadline are written too: they are there until
 * their removal is told. Nothing that is read is trusted: a number out of range, or an end that comes early, refuses the
 * key with a line in the log.
 *
 * Saving runs in a forked child while reader threads of the parent were anywhere: it takes no lock and changes nothing.
 * All writing is done by the main thread, which was inside no command when it forked, so what the child sees is whole.
 *
 * Threads    The server's main thread, or a child of it; type_free any.
 *
 * SPDX-License-Identifier: MIT */
#include "type.h"

#include "expire.h"
#include "handle.h"
#include "keyed.h"

/* ---- saving ---- */

static void save_visit(void *arg, const pack_field *field)
{
    rm_io *io = arg;

    rm.SaveStringBuffer(io, field->name.data, field->name.len);
    rm.SaveStringBuffer(io, field->value.data, field->value.len);
    rm.SaveUnsigned(io, field->deadline_ms == KV_FOREVER ? 0 : (uint64_t)field->deadline_ms);
    rm.SaveUnsigned(io, field->version);
}

static void type_save(rm_io *io, void *value)
{
    rm.SaveUnsigned(io, keyed_version(value));
    rm.SaveUnsigned(io, keyed_count(value));
    keyed_each(value, save_visit, io);
}

struct rewrite {
    rm_io *io;
    rm_str *key;
};

static void rewrite_visit(void *arg, const pack_field *field)
{
    const struct rewrite *r = arg;
    long long deadline_ms = field->deadline_ms == KV_FOREVER ? 0 : field->deadline_ms;

    rm.EmitAOF(r->io, "KV.PUT", "sbbll", r->key, field->name.data, field->name.len, field->value.data,
               field->value.len, deadline_ms, (long long)field->version);
}

static void type_rewrite(rm_io *io, rm_str *key, void *value)
{
    struct rewrite r = { io, key };

    keyed_each(value, rewrite_visit, &r);
}

/* ---- loading ---- */

/* One field of the file into the store. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static int load_field(rm_io *io, kv_store *store, uint64_t newest, int64_t *earliest_ms)
{
    size_t name_len = 0, value_len = 0;
    char *name = rm.LoadStringBuffer(io, &name_len);
    char *value = name ? rm.LoadStringBuffer(io, &value_len) : NULL;
    uint64_t deadline_ms = value ? rm.LoadUnsigned(io) : 0;
    uint64_t version = value ? rm.LoadUnsigned(io) : 0;
    int err = KV_EINVAL;

    if (value && !rm.IsIOError(io) && deadline_ms <= INT64_MAX && version <= newest) {
        pack_field field = {
            .name = kv_slice_of(name, name_len),
            .value = kv_slice_of(value, value_len),
            .deadline_ms = deadline_ms ? (int64_t)deadline_ms : KV_FOREVER,
            .version = version,
        };

        if (field.deadline_ms < *earliest_ms)
            *earliest_ms = field.deadline_ms;
        err = keyed_restore(store, &field);
    }
    if (value)
        rm.Free(value);
    if (name)
        rm.Free(name);
    return err;
}

/* The fields of the file into k. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int load_fields(rm_io *io, keyed *k, int64_t *earliest_ms)
{
    uint64_t newest = rm.LoadUnsigned(io), count = rm.LoadUnsigned(io);
    kv_store *store = keyed_open(NULL, (keyed_part){ 0 });
    int err = rm.IsIOError(io) || !count || newest > keyed_version_max(NULL) ? KV_EINVAL : 0;

    if (!store)
        return KV_ENOMEM;
    module.effects.muted = true;
    if (!err)
        store_raise_version(store, newest);
    for (uint64_t i = 0; !err && i < count; i++)
        err = load_field(io, store, newest, earliest_ms);
    module.effects.muted = false;
    if (!err && kv_store_count(store) != count)
        err = KV_EINVAL; /* a field stood there twice */
    if (err) {
        keyed_close(NULL, (keyed_part){ 0 }, false);
        return err;
    }
    return keyed_close(k, (keyed_part){ 0 }, true);
}

static void *type_load(rm_io *io, int encoding)
{
    int64_t earliest_ms = KV_FOREVER;
    const rm_str *name = rm.GetKeyNameFromIO(io);
    keyed *k = NULL;
    int err = KV_ENOMEM;

    if (encoding != MODULE_ENCODING) {
        rm.LogIOError(io, "warning", "kv: encoding %d is not known: written by a newer module?", encoding);
        return NULL;
    }
    k = keyed_new();
    if (epoch_enter(module.domain) == 0 && k)
        err = load_fields(io, k, &earliest_ms);
    epoch_leave(module.domain);
    if (err) {
        rm.LogIOError(io, "warning", "kv: a key is damaged or cut short: %s", kv_error_text(err));
        keyed_free(k);
        return NULL;
    }
    if (earliest_ms != KV_FOREVER && name) {
        size_t len;
        const char *data = rm.StringPtrLen(name, &len);

        expire_watch(k, rm.GetDbIdFromIO(io), kv_slice_of(data, len), earliest_ms);
    }
    return k;
}

/* ---- the rest ---- */

static void digest_visit(void *arg, const pack_field *field)
{
    rm_digest *digest = arg;

    rm.DigestAddStringBuffer(digest, field->name.data, field->name.len);
    rm.DigestAddStringBuffer(digest, field->value.data, field->value.len);
    rm.DigestAddLongLong(digest, field->deadline_ms == KV_FOREVER ? 0 : field->deadline_ms);
    rm.DigestAddLongLong(digest, (long long)field->version);
    rm.DigestEndSequence(digest); /* each field by itself: their order does not matter */
}

static void type_digest(rm_digest *digest, void *value)
{
    keyed_each(value, digest_visit, digest);
}

static void type_free(void *value)
{
    keyed_free(value);
}

/* The key is deleted, or gets another name: then its handle ends, since permissions go by names. */
static void type_unlink(rm_names *names, const void *value)
{
    (void)names;
    handle_forget((keyed *)(uintptr_t)value);
}

static size_t type_free_effort(rm_names *names, const void *value)
{
    (void)names;
    return keyed_count(value);
}

static size_t type_memory(rm_names *names, const void *value, size_t samples)
{
    (void)names;
    (void)samples;
    return keyed_size(value);
}

static void *type_copy(rm_names *names, const void *value)
{
    keyed *copy = keyed_copy(value);
    const keyed *from = value;
    const rm_str *name = rm.GetToKeyNameFromOptCtx ? rm.GetToKeyNameFromOptCtx(names) : NULL;

    if (copy && from->expiring && name && rm.GetToDbIdFromOptCtx) {
        size_t len;
        const char *data = rm.StringPtrLen(name, &len);

        expire_watch(copy, rm.GetToDbIdFromOptCtx(names), kv_slice_of(data, len), 0);
    }
    return copy;
}

rm_type *type_create(rm_ctx *ctx)
{
    rm_type_methods methods = {
        .version = RM_TYPE_METHODS_VERSION,
        .rdb_load = type_load,
        .rdb_save = type_save,
        .aof_rewrite = type_rewrite,
        .digest = type_digest,
        .free = type_free,
        .free_effort2 = type_free_effort,
        .mem_usage2 = type_memory,
        .unlink2 = type_unlink,
        .copy2 = type_copy,
    };

    return rm.CreateDataType(ctx, MODULE_TYPE_NAME, MODULE_ENCODING, &methods);
}
