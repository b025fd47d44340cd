/* compare.c - compare and set beyond SET: DELEX, DELIFEQ, DIGEST, GETV, MSETEX.
 *
 * Two dialects share one implementation (condition.h): conditions on the value or its digest, as Redis and
 * Valkey have them, and on the version, which is ours. GETV tells value, version and time left in one reply;
 * a client computes, and writes with IFVER, whatever the type and size of the value.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "condition.h"
#include "expiry.h"
#include "pairs.h"
#include "read.h"

/* DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest | IFVER version] */
void kv_cmd_delex(kv_call *call)
{
    key_condition c = { .kind = CONDITION_NONE };

    for (int i = 2; i < call->argc; i++) {
        int found = condition_parse(&c, call, &i);

        if (found != 1 || c.kind <= CONDITION_XX) {
            condition_reply_error(call, found < 0 ? found : KV_ESYNTAX);
            return;
        }
    }
    condition_delete(call, &c);
}

/* DELIFEQ key value */
void kv_cmd_delifeq(kv_call *call)
{
    key_condition c = { .kind = CONDITION_IFEQ, .value = call->argv[2] };

    condition_delete(call, &c);
}

/* DIGEST key */
void kv_cmd_digest(kv_call *call)
{
    const entry *e = kv_read(call, 1);
    char digits[17];

    if (!e) {
        kv_reply_null(call->reply);
    } else if (kv_is_string(call, e)) {
        snprintf(digits, sizeof digits, "%016llx",
                 (unsigned long long)condition_digest(entry_value(e, NULL)));
        kv_reply_bulk(call->reply, kv_slice_of(digits, 16));
    }
}

/* GETV key */
void kv_cmd_getv(kv_call *call)
{
    const entry *e = kv_read(call, 1);

    if (!e) {
        call->reply->ops->null_array(call->reply);
        return;
    }
    if (!kv_is_string(call, e))
        return;
    kv_reply_array(call->reply, 3);
    kv_reply_value(call->reply, e);
    kv_reply_int(call->reply, (int64_t)e->version);
    kv_reply_int(call->reply, entry_deadline(e) == KV_FOREVER ? -1 : entry_deadline(e) - call->now_ms);
}

/* ---- MSETEX ---- */

/* The options after the pairs; false: an error was replied. */
static bool msetex_options(kv_call *call, int i, key_condition *c, key_expiry *expiry)
{
    for (; i < call->argc; i++) {
        int found = condition_parse(c, call, &i);

        if (found == 0)
            found = expiry_parse(expiry, call, &i, EXPIRY_KEEP);
        if (found != 1 || c->kind > CONDITION_XX) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
    }
    return true;
}

/* MSETEX numkeys key value [key value ...] [NX | XX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] */
void kv_cmd_msetex(kv_call *call)
{
    key_condition c = { .kind = CONDITION_NONE };
    key_expiry expiry = { .kind = EXPIRY_NONE };
    store_put_if when = STORE_PUT_ALWAYS;
    int64_t keys, deadline_ms;
    int err;

    if (!kv_parse_int(call->argv[1], &keys) || keys < 1 || keys > INT_MAX) {
        kv_reply_errorf(call->reply, "ERR invalid numkeys value");
        return;
    }
    if (keys > (call->argc - 2) / 2) {
        kv_reply_errorf(call->reply, "ERR wrong number of key-value pairs");
        return;
    }
    if (!msetex_options(call, 2 + 2 * (int)keys, &c, &expiry))
        return;
    err = expiry_deadline(&expiry, call->now_ms, &deadline_ms);
    if (err) {
        expiry_reply_error(call, err);
        return;
    }
    if (c.kind == CONDITION_NX)
        when = STORE_PUT_IF_NONE;
    else if (c.kind == CONDITION_XX)
        when = STORE_PUT_IF_ALL;
    kv_put_pairs(call, &(kv_pairs){ 2, (size_t)keys, when, deadline_ms, expiry.kind == EXPIRY_KEEP,
                                    kv_reply_whether_put });
}
