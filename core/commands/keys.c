/* keys.c - keys whatever they hold: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX.
 *
 * DEL key IFVER n. Redis's DEL takes any words as keys, so no option could be added to it without taking a
 * meaning from somebody. DELEX key IFVER n is therefore the form to use; DEL understands it too, but only in the
 * narrowest form: exactly four words, the third "IFVER" in capitals, the fourth digits only. Who deletes three
 * keys of which the second is named IFVER and the third is a number, sends two DELs, or UNLINK.
 *
 * SPDX-License-Identifier: MIT */
#include "condition.h"
#include "read.h"

/* ---- DEL, UNLINK ---- */

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void delete_many(kv_call *call)
{
    size_t removed;
    int err = store_delete_many(call->store, (size_t)call->argc - 1, call->argv + 1, &removed, call->now_ms);

    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, (int64_t)removed);
}

/* UNLINK key [key ...] */
void kv_cmd_unlink(kv_call *call)
{
    key_condition always = { .kind = CONDITION_NONE };

    if (call->argc == 2)
        condition_delete(call, &always);
    else
        delete_many(call);
}

/* DEL key [key ...], or DEL key IFVER version */
void kv_cmd_del(kv_call *call)
{
    key_condition version = { .kind = CONDITION_IFVER };

    if (call->argc == 4 && kv_slice_equal(call->argv[2], KV_STR("IFVER")) &&
        kv_parse_uint(call->argv[3], &version.number))
        condition_delete(call, &version);
    else
        kv_cmd_unlink(call);
}

/* ---- EXISTS, TOUCH, TYPE ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static void count_existing(kv_call *call, void (*note)(kv_call *, kv_slice, const entry *))
{
    kv_found found;
    int64_t count = 0;

    if (kv_found_init(&found, call, 1) != 0) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    for (size_t i = 0; i < found.count; i++) {
        note(call, call->argv[i + 1], found.entries[i]);
        count += found.entries[i] != NULL;
    }
    kv_found_done(&found, call);
    kv_reply_int(call->reply, count);
}

/* EXISTS key [key ...] */
void kv_cmd_exists(kv_call *call)
{
    count_existing(call, kv_note_peek);
}

/* TOUCH key [key ...] */
void kv_cmd_touch(kv_call *call)
{
    count_existing(call, kv_note_read);
}

/* TYPE key */
void kv_cmd_type(kv_call *call)
{
    call->reply->ops->simple(call->reply, kv_type_name(kv_peek(call, 1)));
}

/* ---- RENAME ---- */

/* 0, or the error of moving argv[1] to argv[2]; a key that keeps its name only has to exist. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static int rename_key(kv_call *call, bool replace)
{
    store_key from = kv_arg_key(call, 1);

    if (kv_slice_equal(call->argv[1], call->argv[2])) {
        if (!store_find(call->store, from, call->now_ms))
            return KV_ENOKEY;
        return replace ? 0 : KV_ECOND;
    }
    return store_transfer_key(call->store, from, call->store, kv_arg_key(call, 2), STORE_MOVE, replace,
                              call->now_ms);
}

/* RENAME key newkey */
void kv_cmd_rename(kv_call *call)
{
    int err = rename_key(call, true);

    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_ok(call->reply);
}

/* RENAMENX key newkey */
void kv_cmd_renamenx(kv_call *call)
{
    int err = rename_key(call, false);

    if (err && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}
