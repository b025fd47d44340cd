/* counter.c - numbers in strings: INCR and its kin, INCRBYFLOAT.
 *
 * SPDX-License-Identifier: MIT */
#include "args.h"
#include "number.h"

struct add {
    int64_t by, sum;
};

KV_UNDER_LOCK static int add_step(kv_slot *slot, void *arg)
{
    struct add *add = arg;
    int64_t old;
    int err = kv_slot_int(slot, &old); /* an absent key counts from 0 */

    if (err)
        return err;
    if (__builtin_add_overflow(old, add->by, &add->sum))
        return KV_ERANGE;
    return kv_slot_set_int(slot, add->sum);
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void add_reply(kv_call *call, int64_t by)
{
    struct add add = { .by = by };
    int err = store_update(call->store, kv_arg_key(call, 1), add_step, &add, call->now_ms);

    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, add.sum);
}

/* INCR key */
void kv_cmd_incr(kv_call *call)
{
    add_reply(call, 1);
}

/* DECR key */
void kv_cmd_decr(kv_call *call)
{
    add_reply(call, -1);
}

/* INCRBY key increment */
void kv_cmd_incrby(kv_call *call)
{
    int64_t by;
    int err = kv_arg_int(call, 2, &by);

    if (err)
        kv_reply_error(call->reply, err);
    else
        add_reply(call, by);
}

/* DECRBY key decrement */
void kv_cmd_decrby(kv_call *call)
{
    int64_t by;
    int err = kv_arg_int(call, 2, &by);

    if (err)
        kv_reply_error(call->reply, err);
    else if (by == INT64_MIN)
        kv_reply_errorf(call->reply, "ERR decrement would overflow");
    else
        add_reply(call, -by);
}

/* ---- INCRBYFLOAT ---- */

struct add_float {
    long double by;
    bool by_valid; /* a wrong type is reported before a wrong number */
    char text[NUMBER_TEXT_MAX];
    kv_slice sum; /* in text */
};

KV_UNDER_LOCK static int add_float_step(kv_slot *slot, void *arg)
{
    struct add_float *add = arg;
    long double old = 0;
    kv_slice value;
    int err = kv_slot_value(slot, &value);

    if (err)
        return err;
    if (kv_slot_exists(slot) && !number_parse(value, &old))
        return KV_ENOTFLOAT;
    if (!add->by_valid)
        return KV_ENOTFLOAT;
    if (!number_format(old + add->by, add->text, &add->sum))
        return KV_ENAN;
    return kv_slot_set_encoded(slot, add->sum, ENTRY_TEXT);
}

/* INCRBYFLOAT key increment */
void kv_cmd_incrbyfloat(kv_call *call)
{
    struct add_float add;
    int err;

    add.by_valid = number_parse(call->argv[2], &add.by);
    err = store_update(call->store, kv_arg_key(call, 1), add_float_step, &add, call->now_ms);
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_bulk(call->reply, add.sum);
}
