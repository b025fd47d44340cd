/* pairs.c - see pairs.h. SPDX-License-Identifier: MIT */
#include "pairs.h"

#define PAIRS_AT_ONCE 8192               /* made ready in one part: about 2 ms */
#define BYTES_AT_ONCE ((size_t)16 << 20) /* of values that are copied */

typedef struct pairs_rest {
    kv_rest rest;
    kv_domain *domain;
    kv_pairs pairs;
    store_puts *puts;
} pairs_rest;

static void pairs_free(kv_rest *rest)
{
    pairs_rest *r = (pairs_rest *)rest;

    store_puts_free(r->puts);
    domain_free(r->domain, r, sizeof *r);
}

/* The act is a part of its own. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool pairs_go_on(kv_rest *rest, kv_call *call)
{
    pairs_rest *r = (pairs_rest *)rest;
    const kv_pairs *p = &r->pairs;
    const kv_slice *pairs = call->argv + p->first;
    int err;

    if (store_puts_ready(r->puts)) {
        err = store_puts_commit(r->puts, pairs, p->condition, p->keep_deadline, call->now_ms);
    } else {
        err = store_puts_prepare(r->puts, PAIRS_AT_ONCE, pairs, call->owned, p->deadline_ms, call->now_ms);
        if (!err)
            return false;
    }
    p->reply(call, err);
    return true;
}

/* False: it must be done at once. */
static bool put_off(kv_call *call, const kv_pairs *pairs)
{
    kv_domain *domain = kv_store_domain(call->store);
    pairs_rest *r = call->put_off ? domain_alloc(domain, sizeof *r, 8) : NULL;

    if (!r)
        return false;
    *r = (pairs_rest){
        { pairs_go_on, pairs_free }, domain, *pairs, store_puts_new(call->store, pairs->count)
    };
    if (r->puts && call->put_off(call, &r->rest))
        return true;
    pairs_free(&r->rest);
    return false;
}

/* Whether there is more to copy than should be at once. */
static bool is_long(const kv_call *call, const kv_pairs *pairs)
{
    const kv_slice *argv = call->argv + pairs->first;
    size_t bytes = 0;

    for (size_t i = 0; i < pairs->count; i++)
        bytes += kv_owner_of(call->owned, argv[2 * i + 1]) ? 0 : argv[2 * i + 1].len;
    return bytes > BYTES_AT_ONCE;
}

void kv_put_pairs(kv_call *call, const kv_pairs *pairs)
{
    int err;

    if ((pairs->count > PAIRS_AT_ONCE || is_long(call, pairs)) && put_off(call, pairs))
        return;
    err = store_put_many(call->store, pairs->count, call->argv + pairs->first, call->owned, pairs->condition,
                         pairs->deadline_ms, pairs->keep_deadline, call->now_ms);
    pairs->reply(call, err);
}

void kv_reply_whether_put(kv_call *call, int err)
{
    if (err && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}
