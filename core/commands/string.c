/* string.c - strings: GET and SET with their kin, GETRANGE, the many-key forms. (APPEND and SETRANGE: grow.c.)
 *
 * Reads look the entry up and reply with its bytes: by reference when they are long, since what is found
 * stays readable while the command runs. A plain SET is one store_put, built outside the lock; whatever must
 * look at the old value first is a step under it (store_update). The old value that GETSET, GETDEL and SET GET
 * give back is replied after the lock is released, out of the entry that the step saw: the epoch keeps it.
 *
 * SPDX-License-Identifier: MIT */
#include "condition.h"
#include "expiry.h"
#include "pairs.h"
#include "read.h"

/* Replies the string of e, or null. */
__attribute__((always_inline)) static inline void reply_string(kv_call *call, const entry *e)
{
    if (!e)
        kv_reply_null(call->reply);
    else if (kv_is_string(call, e))
        kv_reply_value(call->reply, e);
}

/* GET key */
void kv_cmd_get(kv_call *call)
{
    reply_string(call, kv_read(call, 1));
}

#define RUN_MAX 64u /* calls of a run that are looked up before the first one is replied to */

/* Counts n reads of which some found an entry. */
static void note_reads(kv_call *call, size_t n, size_t hits)
{
    kv_counters *counters = call->counters;

    kv_count_more(&counters->keyspace_hits, hits);
    kv_count_more(&counters->keyspace_misses, n - hits);
}

/* Up to n of a run, n <= RUN_MAX; returns how many. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static size_t get_some(kv_call *call, size_t n, const kv_slice names[], const uint64_t hashes[],
                       const map_hint hints[])
{
    const entry *found[RUN_MAX];
    size_t hits = 0, i;

    store_find_run(call->store, n, names, 2, hashes, hints, found, call->now_ms);
    call->reply->many = n;
    for (i = 0; i < call->reply->many; i++) {
        const entry *e = found[i];

        if (!e) {
            if (call->on_miss)
                call->on_miss(call, names[2 * i]);
            kv_reply_null(call->reply);
            continue;
        }
        hits++;
        kv_note_use(call, e);
        if (kv_is_string(call, e))
            kv_reply_value(call->reply, e);
    }
    note_reads(call, i, hits);
    return i;
}

/* GET, many times: the lookups and the replies, and nothing else. */
size_t kv_run_get(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[])
{
    size_t ran = 0, some, wanted;

    do {
        wanted = n - ran < RUN_MAX ? n - ran : RUN_MAX;
        some = get_some(call, wanted, call->argv + 2 * ran + 1, hashes + ran, hints + ran);
        ran += some;
    } while (some == wanted && ran < n);
    return ran;
}

/* STRLEN key */
void kv_cmd_strlen(kv_call *call)
{
    const entry *e = kv_read(call, 1);

    if (!e)
        kv_reply_int(call->reply, 0);
    else if (kv_is_string(call, e))
        kv_reply_int(call->reply, (int64_t)entry_value(e, NULL).len);
}

/* MGET key [key ...] */
void kv_cmd_mget(kv_call *call)
{
    kv_found found;

    if (kv_found_init(&found, call, 1) != 0) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    kv_reply_array(call->reply, found.count);
    for (size_t i = 0; i < found.count; i++) {
        const entry *e = found.entries[i];

        kv_note_read(call, call->argv[i + 1], e);
        if (e && entry_type(e) == ENTRY_STRING)
            kv_reply_value(call->reply, e);
        else
            kv_reply_null(call->reply);
    }
    kv_found_done(&found, call);
}

/* ---- SET and its kin ---- */

/* A write of one key that looks at the old value. */
struct set {
    key_condition condition;
    key_expiry expiry;
    bool get; /* reply the old value */
    kv_slice value;
    int64_t deadline_ms;
    const entry *old; /* found by the step */
    kv_call *call;
};

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int put(kv_call *call, kv_slice value, int64_t deadline_ms)
{
    entry_parts parts = {
        .key = call->argv[1],
        .value = value,
        .bytes = kv_arg_bytes(call, value),
        .deadline_ms = deadline_ms,
        .access = kv_write_access(call),
    };
    int err = store_put(call->store, kv_arg_key(call, 1), &parts, call->now_ms);

    if (__builtin_expect(err != 0, 0))
        kv_bytes_unref(parts.bytes);
    return err;
}

static void reply_put(kv_call *call, int err)
{
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_ok(call->reply);
}

KV_UNDER_LOCK static int set_step(kv_slot *slot, void *arg)
{
    struct set *set = arg;
    kv_bytes *owner;
    int err;

    set->old = kv_slot_entry(slot);
    if (set->get && !set->old)
        kv_note_miss(set->call, set->call->argv[1]);
    if (set->get && set->old && entry_type(set->old) != ENTRY_STRING)
        return KV_ETYPE;
    err = condition_check(&set->condition, set->old);
    if (err)
        return err;
    if (set->expiry.kind != EXPIRY_KEEP)
        kv_slot_set_deadline(slot, set->deadline_ms);
    owner = kv_arg_bytes(set->call, set->value);
    return owner ? kv_slot_set_bytes(slot, owner, set->value.len, 0) : kv_slot_set(slot, set->value);
}

/* The options after SET key value; false: an error was replied. */
static bool set_options(kv_call *call, struct set *set)
{
    for (int i = 3; i < call->argc; i++) {
        int found = condition_parse(&set->condition, call, &i);

        if (found < 0) {
            condition_reply_error(call, found);
            return false;
        }
        if (found)
            continue;
        if (kv_word_is(call->argv[i], "get")) {
            set->get = true;
        } else if (expiry_parse(&set->expiry, call, &i, EXPIRY_KEEP) != 1) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
    }
    return true;
}

/* Runs a struct set whose options are complete, and replies. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void set_run(kv_call *call, struct set *set)
{
    int err;

    set->call = call;
    err = store_update(call->store, kv_arg_key(call, 1), set_step, set, call->now_ms);
    if (err && err != KV_ECOND) {
        kv_reply_error(call->reply, err);
    } else if (set->get) {
        if (set->old)
            kv_note_read(call, call->argv[1], set->old);
        reply_string(call, set->old);
    } else if (err) {
        kv_reply_null(call->reply);
    } else {
        kv_reply_ok(call->reply);
    }
}

/* SET with options. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void set_with_options(kv_call *call)
{
    struct set set = { .value = call->argv[2] };
    int err;

    if (!set_options(call, &set))
        return;
    err = expiry_deadline(&set.expiry, call->now_ms, &set.deadline_ms);
    if (err)
        expiry_reply_error(call, err);
    else if (set.condition.kind == CONDITION_NONE && !set.get && set.expiry.kind != EXPIRY_KEEP)
        reply_put(call, put(call, set.value, set.deadline_ms));
    else
        set_run(call, &set);
}

/* SET key value [a condition] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] */
void kv_cmd_set(kv_call *call)
{
    if (__builtin_expect(call->argc == 3, 1))
        reply_put(call, put(call, call->argv[2], KV_FOREVER));
    else
        set_with_options(call);
}

/* SET, many times; only without options in the short way. */
size_t kv_run_set(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[])
{
    size_t stored = 0;

    if (call->argc == 3)
        stored = store_put_run(call->store, n, call->argv + 1, 3, hashes, hints, kv_write_access(call),
                               call->now_ms);
    for (size_t i = 0; i < stored; i++)
        kv_reply_ok(call->reply);
    call->argv += stored * (size_t)call->argc;
    for (size_t i = stored; i < n; i++, call->argv += call->argc) {
        call->key_hash = hashes[i];
        call->key_hint = &hints[i];
        kv_cmd_set(call);
    }
    return n;
}

/* SETEX and PSETEX key time value */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void set_for(kv_call *call, expiry_kind unit)
{
    key_expiry expiry = { .kind = unit, .amount = call->argv[2] };
    int64_t deadline_ms;
    int err = expiry_deadline(&expiry, call->now_ms, &deadline_ms);

    if (err)
        expiry_reply_error(call, err);
    else
        reply_put(call, put(call, call->argv[3], deadline_ms));
}

void kv_cmd_setex(kv_call *call)
{
    set_for(call, EXPIRY_EX);
}

void kv_cmd_psetex(kv_call *call)
{
    set_for(call, EXPIRY_PX);
}

/* SETNX key value */
void kv_cmd_setnx(kv_call *call)
{
    struct set set = {
        .condition.kind = CONDITION_NX, .value = call->argv[2], .deadline_ms = KV_FOREVER, .call = call
    };
    int err = store_update(call->store, kv_arg_key(call, 1), set_step, &set, call->now_ms);

    if (err && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}

/* GETSET key value */
void kv_cmd_getset(kv_call *call)
{
    struct set set = { .get = true, .value = call->argv[2], .deadline_ms = KV_FOREVER };

    set_run(call, &set);
}

/* ---- GETDEL, GETEX ---- */

struct get_change {
    key_expiry expiry;
    int expiry_error;
    int64_t deadline_ms, now_ms;
    const entry *old;
};

KV_UNDER_LOCK static int get_change_load(kv_slot *slot, struct get_change *get)
{
    get->old = kv_slot_entry(slot);
    if (!get->old)
        return KV_ENOKEY;
    return entry_type(get->old) == ENTRY_STRING ? 0 : KV_ETYPE;
}

static void get_change_reply(kv_call *call, const struct get_change *get, int err)
{
    kv_note_read(call, call->argv[1], get->old);
    if (err && err != KV_ENOKEY)
        expiry_reply_error(call, err);
    else
        reply_string(call, get->old);
}

KV_UNDER_LOCK static int getdel_step(kv_slot *slot, void *arg)
{
    int err = get_change_load(slot, arg);

    if (!err)
        kv_slot_remove(slot);
    return err;
}

/* GETDEL key */
void kv_cmd_getdel(kv_call *call)
{
    struct get_change get = { .old = NULL };
    int err = store_update(call->store, kv_arg_key(call, 1), getdel_step, &get, call->now_ms);

    get_change_reply(call, &get, err);
}

/* A wrong time is an error only for a key that is there, as in Redis. */
KV_UNDER_LOCK static int getex_step(kv_slot *slot, void *arg)
{
    struct get_change *get = arg;
    int err = get_change_load(slot, get);

    if (!err)
        err = get->expiry_error;
    if (err)
        return err;
    if (get->deadline_ms <= get->now_ms)
        kv_slot_remove(slot);
    else
        kv_slot_set_deadline(slot, get->deadline_ms);
    return 0;
}

/* GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] */
void kv_cmd_getex(kv_call *call)
{
    struct get_change get = { .now_ms = call->now_ms };
    int err;

    for (int i = 2; i < call->argc; i++) {
        if (expiry_parse(&get.expiry, call, &i, EXPIRY_PERSIST) != 1) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return;
        }
    }
    if (get.expiry.kind == EXPIRY_NONE) {
        kv_cmd_get(call);
        return;
    }
    get.expiry_error = expiry_deadline(&get.expiry, call->now_ms, &get.deadline_ms);
    err = store_update(call->store, kv_arg_key(call, 1), getex_step, &get, call->now_ms);
    get_change_reply(call, &get, err);
}

/* ---- many keys ---- */

/* MSET and MSETNX: an odd number of arguments is the table's error, which the arity cannot say. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static void put_pairs(kv_call *call, store_put_if condition, void (*reply)(kv_call *call, int err))
{
    kv_pairs pairs = { 1, (size_t)(call->argc - 1) / 2, condition, KV_FOREVER, false, reply };

    if (call->argc % 2)
        kv_put_pairs(call, &pairs);
    else
        kv_reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", call->command->name);
}

/* MSET key value [key value ...] */
void kv_cmd_mset(kv_call *call)
{
    put_pairs(call, STORE_PUT_ALWAYS, reply_put);
}

/* MSETNX key value [key value ...] */
void kv_cmd_msetnx(kv_call *call)
{
    put_pairs(call, STORE_PUT_IF_NONE, kv_reply_whether_put);
}

/* ---- parts ---- */

/* The bytes from start to end, both inclusive, from the end when negative, and clamped to the string: Redis
 * takes an end before the string for its first byte, unless both were counted from the end the wrong way round. */
static kv_slice range_of(kv_slice value, int64_t start, int64_t end)
{
    int64_t len = (int64_t)value.len;

    if (len == 0 || (start < 0 && end < 0 && start > end))
        return KV_STR("");
    if (start < 0)
        start = start + len < 0 ? 0 : start + len;
    if (end < 0)
        end = end + len < 0 ? 0 : end + len;
    if (end >= len)
        end = len - 1;
    if (start > end)
        return KV_STR("");
    return kv_slice_of(value.data + start, (size_t)(end - start + 1));
}

/* GETRANGE key start end */
void kv_cmd_getrange(kv_call *call)
{
    int64_t start, end;
    const entry *e;
    kv_bytes *owner = NULL;
    kv_slice value;
    int err = kv_arg_int(call, 2, &start);

    if (!err)
        err = kv_arg_int(call, 3, &end);
    if (err) {
        kv_reply_error(call->reply, err);
        return;
    }
    e = kv_read(call, 1);
    if (!e) {
        kv_reply_bulk(call->reply, KV_STR(""));
    } else if (kv_is_string(call, e)) {
        value = entry_value(e, &owner);
        call->reply->ops->bulk(call->reply, range_of(value, start, end), owner);
    }
}

/* SUBSTR key start end */
void kv_cmd_substr(kv_call *call)
{
    kv_cmd_getrange(call);
}
