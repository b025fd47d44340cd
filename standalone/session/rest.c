/* rest.c - see rest.h. SPDX-License-Identifier: MIT */
#include "rest.h"

#include <stdlib.h>

#include "dispatch.h"
#include "session.h"

typedef struct request_rest {
    kv_rest *rest;
    const kv_command *row;
    size_t bytes; /* of all of this */
    output
        replies; /* of the parts, which are sent together: what is pushed meanwhile stands before or after them */
    int argc;
    kv_slice argv[]; /* and what they point to */
} request_rest;

bool rest_put_off(kv_call *call, kv_rest *rest)
{
    connection *c = session_connection(call);
    size_t bytes = sizeof(request_rest) + (size_t)call->argc * sizeof(kv_slice);
    request_rest *r;
    char *to;

    for (int i = 0; i < call->argc; i++)
        bytes += call->argv[i].len;
    r = malloc(bytes);
    if (!r)
        return false;
    *r = (request_rest){ .rest = rest, .row = call->command, .bytes = bytes, .argc = call->argc };
    to = (char *)(r->argv + call->argc);
    for (int i = 0; i < call->argc; i++) {
        size_t len = call->argv[i].len;

        if (len)
            memcpy(to, call->argv[i].data, len);
        r->argv[i] = kv_slice_of(to, len);
        to += len;
    }
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
    w->call.key_hashed = false;
    w->call.key_hint = NULL;
    if (!pushes)
        w->reply.out = &r->replies;
    r->replies.limit = w->output_limit;
    done = r->rest->go_on(r->rest, &w->call) || r->replies.failed;
    w->reply.out = out;
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
    free(c->rest);
    c->rest = NULL;
}

size_t rest_memory(const connection *c)
{
    return c->rest ? c->rest->bytes + c->rest->replies.capacity : 0;
}
