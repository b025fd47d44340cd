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

#define KEYS_AT_ONCE 16384 /* keys of one act */

/* ---- many keys ---- */

/* What a command does with the keys argv[first] ... argv[first + n - 1]: adds to *count. 0 or KV_E... */
typedef int piece_fn(kv_call *call, int first, int n, int64_t *count);

/* A command about so many keys that it goes through them piece by piece. */
typedef struct many_keys {
    kv_rest rest;
    kv_domain *domain;
    piece_fn *piece;
    int next; /* argument */
    int64_t count;
} many_keys;

static void free_many(kv_rest *rest)
{
    domain_free(((many_keys *)rest)->domain, rest, sizeof(many_keys));
}

static void reply_count(kv_call *call, int err, int64_t count)
{
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, count);
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool next_piece(kv_rest *rest, kv_call *call)
{
    many_keys *many = (many_keys *)rest;
    int left = call->argc - many->next, n = left < KEYS_AT_ONCE ? left : KEYS_AT_ONCE;
    int err = many->piece(call, many->next, n, &many->count);

    many->next += n;
    if (!err && many->next < call->argc)
        return false;
    reply_count(call, err, many->count);
    return true;
}

/* False: it must be done at once. */
static bool put_off(kv_call *call, piece_fn *piece)
{
    kv_domain *domain = kv_store_domain(call->store);
    many_keys *many = call->put_off ? domain_alloc(domain, sizeof *many, 8) : NULL;

    if (!many)
        return false;
    *many = (many_keys){ .rest = { next_piece, free_many }, .domain = domain, .piece = piece, .next = 1 };
    if (call->put_off(call, &many->rest))
        return true;
    free_many(&many->rest);
    return false;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void for_all_keys(kv_call *call, piece_fn *piece)
{
    int64_t count = 0;
    int err;

    if (call->argc > KEYS_AT_ONCE && put_off(call, piece))
        return;
    err = piece(call, 1, call->argc - 1, &count);
    reply_count(call, err, count);
}

/* ---- DEL, UNLINK ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int delete_piece(kv_call *call, int first, int n, int64_t *count)
{
    size_t removed;
    int err = store_delete_many(call->store, (size_t)n, call->argv + first, &removed, call->now_ms);

    if (!err)
        *count += (int64_t)removed;
    return err;
}

/* UNLINK key [key ...] */
void kv_cmd_unlink(kv_call *call)
{
    key_condition always = { .kind = CONDITION_NONE };

    if (call->argc == 2)
        condition_delete(call, &always);
    else
        for_all_keys(call, delete_piece);
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
static int count_existing(kv_call *call, int first, int n, int64_t *count,
                          void (*note)(kv_call *, kv_slice, const entry *))
{
    kv_found found;
    int err = kv_found_some(&found, call, first, (size_t)n);

    if (err)
        return err;
    for (size_t i = 0; i < found.count; i++) {
        note(call, call->argv[(size_t)first + i], found.entries[i]);
        *count += found.entries[i] != NULL;
    }
    kv_found_done(&found, call);
    return 0;
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int exists_piece(kv_call *call, int first, int n, int64_t *count)
{
    return count_existing(call, first, n, count, kv_note_peek);
}

/* EXISTS key [key ...] */
void kv_cmd_exists(kv_call *call)
{
    for_all_keys(call, exists_piece);
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int touch_piece(kv_call *call, int first, int n, int64_t *count)
{
    return count_existing(call, first, n, count, kv_note_read);
}

/* TOUCH key [key ...] */
void kv_cmd_touch(kv_call *call)
{
    for_all_keys(call, touch_piece);
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
