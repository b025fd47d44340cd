/* memory.c - MEMORY USAGE: what one key takes. SPDX-License-Identifier: MIT */
#include "read.h"

#define INDEX_SHARE 11 /* bytes of the index per key: a slot of a bucket and what stays free */

/* MEMORY USAGE key [SAMPLES count]: a string is one piece, so there is nothing to be sampled. */
void kv_cmd_memory_usage(kv_call *call)
{
    int64_t samples = 0;
    const entry *e;

    if (call->argc > 3 && (call->argc != 5 || !kv_word_is(call->argv[3], "samples"))) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    if (call->argc == 5 && !kv_parse_int(call->argv[4], &samples)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return;
    }
    if (samples < 0) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    e = store_find(call->store, kv_arg_key(call, 2), call->now_ms);
    if (e)
        kv_reply_int(call->reply, (int64_t)entry_size(e) + INDEX_SHARE);
    else
        kv_reply_null(call->reply);
}
