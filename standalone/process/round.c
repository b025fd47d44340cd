/* round.c - see round.h. SPDX-License-Identifier: MIT */
#include "round.h"

#include <stdlib.h>

#include "server.h"
#include "session.h"

struct round_stop {
    worker_message message;
    round *round;
};

static void come_back(worker *w, worker_message *message)
{
    round *r = (round *)((char *)message - offsetof(round, back));
    connection *c = r->asker;

    if (connection_unpark(c)) {
        output_mark_at mark = output_mark(connection_output(c));

        w->reply.out = connection_output(c);
        w->call.command = c->last_command;
        resp_reply_set_protocol(&w->reply, c->protocol);
        r->answer(r, &w->reply.base);
        if (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP))
            output_rewind(w->reply.out, mark);
        if (!(c->flags & CONNECTION_UNFINISHED))
            c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
        connection_flush(c);
    }
    free(r->stops);
    r->end(r);
}

/* Reaches the asker's worker after the last of the others has been visited. */
static void visit_and_return(worker *w, worker_message *message)
{
    round *r = ((struct round_stop *)message)->round;
    worker *asking = r->asker->owner;

    r->visit(r, w);
    if (atomic_fetch_sub_explicit(&r->left, 1, memory_order_acq_rel) == 1)
        worker_post(asking, &r->back);
}

void round_start(round *r, kv_call *call)
{
    connection *c = session_connection(call);
    server *s = session_server(call);
    int n = s->worker_count;

    r->asker = c;
    r->stops = n > 1 ? calloc((size_t)n, sizeof *r->stops) : NULL;
    if (n > 1 && !r->stops) {
        kv_reply_error(call->reply, KV_ENOMEM);
        r->end(r);
        return;
    }
    r->visit(r, c->owner);
    if (n == 1) {
        r->answer(r, call->reply);
        r->end(r);
        return;
    }
    r->back.run = come_back;
    atomic_init(&r->left, n - 1);
    connection_park(c);
    for (int i = 0; i < n; i++) {
        r->stops[i] = (struct round_stop){ .message.run = visit_and_return, .round = r };
        if (i != c->owner->index)
            worker_post(&s->workers[i], &r->stops[i].message);
    }
}
