/* rest.c - see rest.h. SPDX-License-Identifier: MIT */
#include "rest.h"

#include <stdlib.h>

#include "arguments.h"
#include "dispatch.h"
#include "session.h"

typedef struct request_rest {
    kv_rest *rest;
    const kv_command *row;
    size_t bytes; /* of all of this */
    kv_owned owned;
    output
        replies; /* of the parts, which are sent together: what is pushed meanwhile stands before or after them */
    int argc;
    kv_slice argv[]; /* and what owned and they point to */
} request_rest;

bool rest_put_off(kv_call *call, kv_rest *rest)
{
    connection *c = session_connection(call);
    size_t bytes = sizeof(request_rest) + (size_t)call->argc * sizeof(kv_slice);
    arguments_sizes sizes = { 0 };
    request_rest *r;

    arguments_measure(call->owned, call->argc, call->argv, &sizes);
    bytes += sizes.owners * sizeof(kv_bytes *) + sizes.bytes;
    r = malloc(bytes);
    if (!r)
        return false;
    *r = (request_rest){
        .rest = rest, .row = call->command, .bytes = bytes + sizes.owned_bytes, .argc = call->argc
    };
    r->owned.bytes = (kv_bytes **)(r->argv + call->argc);
    arguments_keep(call->owned, call->argc, call->argv, r->argv, (char *)(r->owned.bytes + sizes.owners),
                   &r->owned);
    c->rest = r;
    c->flags |= CONNECTION_UNFINISHED;
    return true;
}

void rest_go_on(connection *c)
{
    worker *w = c->owner;
    request_rest *r = c->rest;
    output *out = connection_output(c);
    bool pushes = dispatch_replies_by_push(r->row), done;

    w->call.command = r->row;
    w->call.argv = r->argv;
    w->call.argc = r->argc;
    w->call.owned = &r->owned;
    w->call.key_hashed = false;
    w->call.key_hint = NULL;
    if (!pushes)
        w->reply.out = &r->replies;
    r->replies.limit = w->output_limit;
    done = r->rest->go_on(r->rest, &w->call) || r->replies.failed;
    w->reply.out = out;
    w->call.owned = NULL;
    if (!done || (c->flags & CONNECTION_CLOSING))
        return;
    if (!(c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP)))
        output_move(out, &r->replies);
    c->flags &= ~(unsigned)(CONNECTION_UNFINISHED | CONNECTION_REPLY_SKIP);
    rest_end(c);
}

void rest_end(connection *c)
{
    if (!c->rest)
        return;
    c->rest->rest->free(c->rest->rest);
    output_done(&c->rest->replies);
    arguments_drop(&c->rest->owned);
    free(c->rest);
    c->rest = NULL;
}

size_t rest_memory(const connection *c)
{
    return c->rest ? c->rest->bytes + c->rest->replies.capacity : 0;
}
