/* grow.c - APPEND and SETRANGE: values that are made of older ones.
 *
 * A value never changes where readers may look, so most of these commands build another one. Mostly that is a step under the
 * shard's lock, like other writes: the old value stands still there. APPEND behind a large value finds spare room there, which no
 * reader looks at, and copies nothing of what is there.
 *
 * To copy some hundred megabytes takes longer than anybody should wait for a lock, or for a worker. Such a value is built
 * outside of the lock, in parts, between which the host serves others:
 *
 *     look: keep the old value, note its version -> copy, copy, copy -> under the lock: is that still its version? then put
 *                         ^______________________________________________ no: anew, but not for ever
 *
 * What is new lies where the rest keeps the arguments. Who finds the key changed TRIES times does it under the lock after all, so that
 * a busy key is not beyond reach.
 *
 * An argument in memory of its own (call->owned) becomes the value when it is the whole of it.
 *
 * SPDX-License-Identifier: MIT */
#include "read.h"

#define COPIED_UNDER_LOCK ((size_t)8 << 20) /* bytes; what is longer is built in parts */
#define PART_BYTES        ((size_t)1 << 20) /* less than a millisecond, or some while the kernel finds memory */
#define SPARE_BYTES       ((size_t)1 << 20) /* behind a value that is built in parts, or an eighth of it */
#define TRIES             4

/* What is asked for. */
typedef struct grow {
    kv_slice more;
    bool append;    /* at the end; else */
    size_t offset;  /* there */
    size_t max;     /* the longest value allowed */
    size_t at_once; /* bytes that may be copied under the lock */
    bool is_long;   /* set by the step that refuses with KV_ECOND: it would be more than that */
    size_t len;     /* set by the step: of the value, afterwards */
    const kv_call *call;
} grow;

static void reply_length(kv_call *call, const grow *wish, int err)
{
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, (int64_t)wish->len);
}

/* ---- under the lock ---- */

KV_UNDER_LOCK static bool refuse_long(grow *wish, size_t bytes)
{
    wish->is_long = bytes > wish->at_once;
    return wish->is_long;
}

KV_UNDER_LOCK static int append_step(kv_slot *slot, void *arg)
{
    grow *wish = arg;
    const entry *e = kv_slot_entry(slot);
    kv_bytes *owner;
    kv_slice old;
    int err = kv_slot_value(slot, &old);

    if (err)
        return err;
    /* Adding nothing to a short string leaves it raw, which only OBJECT ENCODING tells. */
    if (e && wish->more.len == 0 && e->value_len && !(entry_meta(e) & ENTRY_RAW)) {
        wish->len = e->value_len;
        return kv_slot_set_encoded(slot, old, ENTRY_RAW);
    }
    owner = e || wish->more.len > wish->max ? NULL : kv_arg_bytes(wish->call, wish->more);
    if (owner) {
        wish->len = wish->more.len;
        return kv_slot_set_bytes(slot, owner, wish->len, 0);
    }
    if (old.len + wish->more.len <= wish->max && !kv_slot_extends(slot, wish->more.len) &&
        refuse_long(wish, old.len + wish->more.len))
        return KV_ECOND;
    return kv_slot_append(slot, wish->more, wish->max, &wish->len);
}

/* How long the value will be; KV_ETOOBIG. */
static int length_after(const grow *wish, size_t old_len, size_t *ret_len)
{
    size_t end;

    if (__builtin_add_overflow(wish->append ? old_len : wish->offset, wish->more.len, &end) ||
        end > wish->max)
        return KV_ETOOBIG;
    *ret_len = end > old_len ? end : old_len;
    return 0;
}

KV_UNDER_LOCK static int setrange_step(kv_slot *slot, void *arg)
{
    grow *wish = arg;
    size_t offset = wish->offset, end = offset + wish->more.len;
    kv_bytes *owner;
    kv_slice old;
    char *room;
    int err = kv_slot_value(slot, &old);

    if (err)
        return err;
    wish->len = old.len;
    if (wish->more.len == 0)
        return 0;
    err = length_after(wish, old.len, &wish->len);
    if (err)
        return err;
    owner = offset == 0 && end >= old.len ? kv_arg_bytes(wish->call, wish->more) : NULL;
    if (owner)
        return kv_slot_set_bytes(slot, owner, end, ENTRY_RAW);
    if (refuse_long(wish, wish->len))
        return KV_ECOND;
    room = kv_slot_room(slot, wish->len, ENTRY_RAW);
    if (!room)
        return KV_ENOMEM;
    memcpy(room, old.data, old.len < offset ? old.len : offset);
    if (offset > old.len)
        memset(room + old.len, 0, offset - old.len);
    memcpy(room + offset, wish->more.data, wish->more.len);
    if (old.len > end)
        memcpy(room + end, old.data + end, old.len - end);
    return 0;
}

/* ---- in parts ---- */

typedef struct growth {
    kv_rest rest; /* first */
    kv_domain *domain;
    grow grow;     /* offset is where more goes, with APPEND, too, once it has begun */
    kv_bytes *old; /* NULL: there was nothing */
    size_t old_len;
    uint64_t version; /* of the key, when that was looked at; 0: it was absent */
    kv_bytes *fresh;  /* the new value; NULL: not begun */
    size_t made;      /* bytes of it that are there */
    int tries;
} growth;

static void growth_reset(growth *g)
{
    kv_bytes_unref(g->old);
    kv_bytes_unref(g->fresh);
    g->old = g->fresh = NULL;
    g->old_len = g->made = 0;
    g->version = 0;
}

static void growth_free(kv_rest *rest)
{
    growth *g = (growth *)rest;

    growth_reset(g);
    domain_free(g->domain, g, sizeof *g);
}

/* Keeps what is there; a short value is copied. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static int keep_old(growth *g, kv_call *call)
{
    const entry *e = store_find(call->store, kv_arg_key(call, 1), call->now_ms);
    kv_bytes *owner;
    kv_slice old;

    if (!e)
        return 0;
    if (entry_type(e) != ENTRY_STRING)
        return KV_ETYPE;
    old = entry_value(e, &owner);
    g->old = owner ? kv_bytes_ref(owner) : kv_bytes_copy(domain_account(g->domain), old);
    g->old_len = old.len;
    g->version = e->version;
    return g->old ? 0 : KV_ENOMEM;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static int growth_begin(growth *g, kv_call *call)
{
    size_t spare = 0;
    int err = keep_old(g, call);

    if (!err)
        err = length_after(&g->grow, g->old_len, &g->grow.len);
    if (err)
        return err;
    if (g->grow.append) {
        g->grow.offset = g->old_len;
        spare = g->grow.len / 8 > SPARE_BYTES ? g->grow.len / 8 : SPARE_BYTES;
    }
    g->fresh = kv_bytes_room(domain_account(g->domain), g->grow.len, spare);
    return g->fresh ? 0 : KV_ENOMEM;
}

/* What stands at a place of the new value, up to the next seam; NULL data: zeros. */
static kv_slice piece_at(const growth *g, size_t at)
{
    size_t offset = g->grow.offset, end = offset + g->grow.more.len;
    const char *old = g->old ? kv_bytes_data(g->old) : NULL;

    if (at < offset && at < g->old_len)
        return kv_slice_of(old + at, (offset < g->old_len ? offset : g->old_len) - at);
    if (at < offset)
        return kv_slice_of(NULL, offset - at);
    if (at < end)
        return kv_slice_of(g->grow.more.data + (at - offset), end - at);
    return kv_slice_of(old + at, g->old_len - at);
}

static void growth_copy(growth *g)
{
    char *to = kv_bytes_data(g->fresh);

    for (size_t left = PART_BYTES; left && g->made < g->grow.len;) {
        kv_slice piece = piece_at(g, g->made);
        size_t n = piece.len < left ? piece.len : left;

        if (piece.data)
            memcpy(to + g->made, piece.data, n);
        else
            memset(to + g->made, 0, n);
        g->made += n;
        left -= n;
    }
}

KV_UNDER_LOCK static int publish_step(kv_slot *slot, void *arg)
{
    growth *g = arg;
    int err;

    if (kv_slot_version(slot) != g->version)
        return KV_ECOND;
    err = kv_slot_set_bytes(slot, kv_bytes_ref(g->fresh), g->grow.len, ENTRY_RAW);
    if (!err && g->grow.append && g->version)
        kv_slot_appended(slot, g->grow.more.len);
    return err;
}

/* True: it has replied. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool growth_publish(growth *g, kv_call *call)
{
    int err = store_update(call->store, kv_arg_key(call, 1), publish_step, g, call->now_ms);

    if (err == KV_ECOND) {
        growth_reset(g);
        if (++g->tries < TRIES)
            return false;
        g->grow.at_once = SIZE_MAX;
        err = store_update(call->store, kv_arg_key(call, 1), g->grow.append ? append_step : setrange_step,
                           &g->grow, call->now_ms);
    }
    reply_length(call, &g->grow, err);
    return true;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool growth_go_on(kv_rest *rest, kv_call *call)
{
    growth *g = (growth *)rest;
    int err;

    g->grow.call = call;
    g->grow.more = call->argv[call->argc - 1]; /* where the host keeps it */
    if (!g->fresh) {
        err = growth_begin(g, call);
        if (err)
            kv_reply_error(call->reply, err);
        return err != 0;
    }
    if (g->made < g->grow.len) {
        growth_copy(g);
        return false;
    }
    return growth_publish(g, call);
}

/* False: it must be done at once. */
static bool put_off(kv_call *call, const grow *wish)
{
    kv_domain *domain = kv_store_domain(call->store);
    growth *g = domain_alloc(domain, sizeof *g, 8);

    if (!g)
        return false;
    *g = (growth){ .rest = { growth_go_on, growth_free }, .domain = domain, .grow = *wish };
    if (call->put_off(call, &g->rest))
        return true;
    growth_free(&g->rest);
    return false;
}

/* ---- both ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void run(kv_call *call, grow *wish, kv_step *step)
{
    int err;

    wish->call = call;
    wish->max = call->value_max;
    wish->at_once = call->put_off ? COPIED_UNDER_LOCK : SIZE_MAX;
    err = store_update(call->store, kv_arg_key(call, 1), step, wish, call->now_ms);
    if (wish->is_long) {
        if (put_off(call, wish))
            return;
        wish->at_once = SIZE_MAX;
        err = store_update(call->store, kv_arg_key(call, 1), step, wish, call->now_ms);
    }
    reply_length(call, wish, err);
}

/* APPEND key value */
void kv_cmd_append(kv_call *call)
{
    grow wish = { .more = call->argv[2], .append = true };

    run(call, &wish, append_step);
}

/* SETRANGE key offset value */
void kv_cmd_setrange(kv_call *call)
{
    grow wish = { .more = call->argv[3] };
    int64_t offset;
    int err = kv_arg_int(call, 2, &offset);

    if (!err && offset < 0)
        err = KV_EOFFSET;
    if (err) {
        kv_reply_error(call->reply, err);
        return;
    }
    wish.offset = (size_t)offset;
    run(call, &wish, setrange_step);
}
