/* dump_commands.c - DUMP and RESTORE: a value by itself, as bytes that any server of the kind takes.
 *
 * Rows of the table like others; they stand here because they need the payload's format, which is of this layer.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "payload.h"
#include "read.h"

/* DUMP key */
void kv_cmd_dump(kv_call *call)
{
    const entry *e = kv_read(call, 1);
    char *payload;
    size_t len;

    if (!e) {
        kv_reply_null(call->reply);
        return;
    }
    if (!kv_is_string(call, e))
        return;
    if (payload_encode(entry_value(e, NULL), true, &payload, &len) != 0) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    kv_reply_bulk(call->reply, kv_slice_of(payload, len));
    free(payload);
}

/* ---- RESTORE ---- */

typedef struct restoring {
    bool replace, absolute;
    int64_t idle_s, freq; /* or -1 */
    int64_t deadline_ms;
    kv_slice value;
    int64_t now_ms;
} restoring;

/* A number after an option, from 0 to max; false: an error was replied. */
static bool read_number(kv_call *call, int index, int64_t max, const char *range, int64_t *ret_number)
{
    if (kv_arg_int(call, index, ret_number)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return false;
    }
    if (*ret_number >= 0 && *ret_number <= max)
        return true;
    kv_reply_errorf(call->reply, "ERR Invalid %s", range);
    return false;
}

/* [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]; false: an error was replied. */
static bool read_options(kv_call *call, restoring *r)
{
    for (int i = 4; i < call->argc; i++) {
        bool more = i + 1 < call->argc;

        if (kv_word_is(call->argv[i], "replace")) {
            r->replace = true;
        } else if (kv_word_is(call->argv[i], "absttl")) {
            r->absolute = true;
        } else if (kv_word_is(call->argv[i], "idletime") && more && r->freq < 0) {
            if (!read_number(call, ++i, INT64_MAX, "IDLETIME value, must be >= 0", &r->idle_s))
                return false;
        } else if (kv_word_is(call->argv[i], "freq") && more && r->idle_s < 0) {
            if (!read_number(call, ++i, 255, "FREQ value, must be >= 0 and <= 255", &r->freq))
                return false;
        } else {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
    }
    return true;
}

static void reply_busy(kv_call *call)
{
    kv_reply_errorf(call->reply, "BUSYKEY Target key name already exists.");
}

/* ttl; false: an error was replied. */
static bool read_deadline(kv_call *call, restoring *r)
{
    int64_t ttl;

    if (!read_number(call, 2, INT64_MAX, "TTL value, must be >= 0", &ttl))
        return false;
    r->deadline_ms = ttl ? ttl : KV_FOREVER;
    if (ttl && !r->absolute && __builtin_add_overflow(ttl, call->now_ms, &r->deadline_ms)) {
        kv_reply_errorf(call->reply, "ERR invalid expire time in 'restore' command");
        return false;
    }
    return true;
}

static int restore_step(kv_slot *slot, void *arg)
{
    const restoring *r = arg;
    int err = 0;

    if (kv_slot_exists(slot) && !r->replace)
        return KV_ECOND;
    if (r->deadline_ms <= r->now_ms) { /* it has ended on its way */
        kv_slot_remove(slot);
        return 0;
    }
    err = kv_slot_set(slot, r->value);
    if (!err)
        kv_slot_set_deadline(slot, r->deadline_ms);
    return err;
}

/* How the key was used where it comes from. */
static void set_use(kv_call *call, const restoring *r) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    const entry *e;

    if (r->idle_s < 0 && r->freq < 0)
        return;
    e = store_find(call->store, kv_arg_key(call, 1), call->now_ms);
    if (e)
        entry_touch(e, store_access_known(call->store,
                                          r->idle_s < 0                     ? -1
                                          : r->idle_s > call->now_ms / 1000 ? call->now_ms
                                                                            : r->idle_s * 1000,
                                          (int)r->freq, call->now_ms));
}

static void store_value(kv_call *call, restoring *r) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    int err = store_update(call->store, kv_arg_key(call, 1), restore_step, r, call->now_ms);

    if (err == KV_ECOND) {
        reply_busy(call);
    } else if (err) {
        kv_reply_error(call->reply, err);
    } else {
        set_use(call, r);
        kv_reply_ok(call->reply);
    }
}

static void reply_bad_payload(kv_call *call, int err, const char *type)
{
    if (err == PAYLOAD_ECHECKSUM)
        kv_reply_errorf(call->reply, "ERR DUMP payload version or checksum are wrong");
    else if (err == PAYLOAD_EUNSUPPORTED)
        kv_reply_errorf(call->reply, "ERR RESTORE of type %s is not supported", type);
    else if (err == KV_ENOMEM)
        kv_reply_error(call->reply, KV_ENOMEM);
    else
        kv_reply_errorf(call->reply, "ERR Bad data format");
}

/* RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency] */
void kv_cmd_restore(kv_call *call)
{
    restoring r = { .idle_s = -1, .freq = -1, .now_ms = call->now_ms };
    const char *type = "";
    char *memory = NULL;
    int err;

    if (!read_options(call, &r))
        return;
    if (!r.replace && store_find(call->store, kv_arg_key(call, 1), call->now_ms)) { /* as Redis: said first */
        reply_busy(call);
        return;
    }
    if (!read_deadline(call, &r))
        return;
    err = payload_decode(call->argv[3], &r.value, &memory, &type);
    if (err)
        reply_bad_payload(call, err, type);
    else if (r.value.len > call->value_max)
        kv_reply_error(call->reply, KV_ETOOBIG);
    else
        store_value(call, &r);
    free(memory);
}
