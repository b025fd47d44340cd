/* parts.c - see parts.h. SPDX-License-Identifier: MIT */
#include "parts.h"

typedef struct parts {
    kv_rest rest;
    kv_domain *domain;
    kv_begin_fn *begin; /* NULL: done */
    kv_argument_fn *each;
    int next, at_once;
} parts;

static void parts_free(kv_rest *rest)
{
    domain_free(((parts *)rest)->domain, rest, sizeof(parts));
}

static void go_through(parts *p, kv_call *call, int end)
{
    if (p->begin)
        p->begin(call);
    p->begin = NULL;
    while (p->next < end)
        p->each(call, p->next++);
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static bool parts_go_on(kv_rest *rest, kv_call *call)
{
    parts *p = (parts *)rest;
    int left = call->argc - p->next;

    go_through(p, call, left > p->at_once ? p->next + p->at_once : call->argc);
    return p->next == call->argc;
}

/* False: it must be done at once. */
static bool put_off(kv_call *call, const parts *p)
{
    parts *copy = call->put_off ? domain_alloc(p->domain, sizeof *copy, 8) : NULL;

    if (!copy)
        return false;
    *copy = *p;
    if (call->put_off(call, &copy->rest))
        return true;
    parts_free(&copy->rest);
    return false;
}

void kv_each_argument(kv_call *call, int first, int at_once, kv_begin_fn *begin, kv_argument_fn *each)
{
    parts p = { { parts_go_on, parts_free }, kv_store_domain(call->store), begin, each, first, at_once };

    if (call->argc - first <= at_once || !put_off(call, &p))
        go_through(&p, call, call->argc);
}
