/* connection_mail.c - handing a connection what is no reply to it: messages, invalidations, monitored commands.
 *
 * One message goes to thousands of connections at once, and most of them have nothing else to send. So the first
 * message is only referred to (c->mail), and sent from there: no copy and no buffer, one send. When more comes before
 * that, or the socket does not take it, all of it moves to c->pending in order, and counts against
 * client-output-buffer-limit.
 *
 * Invariant: mail stands behind pending, and before what the next request answers.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "aof.h"
#include "connection_internal.h"
#include "memory.h"
#include "pubsub.h"
#include "server.h"
#include "socket_io.h"
#include "tls.h"

#define MAIL_COPIED 512 /* behind other output, mail up to here is copied: a reference costs as much */

static void append_mail(output *out, kv_bytes *bytes)
{
    kv_slice slice = kv_bytes_slice(bytes);
    char *room;

    if (slice.len > MAIL_COPIED) {
        output_reference(out, bytes, slice);
        return;
    }
    room = output_room(out, slice.len);
    if (!room)
        return;
    memcpy(room, slice.data, slice.len);
    output_commit(out, slice.len);
}

/* Puts c->mail, but for its first sent bytes, behind what is pending. */
static bool move_mail(connection *c, size_t sent)
{
    kv_slice slice;

    if (!connection_pending(c))
        return false;
    if (c->mail) {
        slice = kv_bytes_slice(c->mail);
        output_reference(c->pending, c->mail, kv_slice_of(slice.data + sent, slice.len - sent));
        kv_bytes_unref(c->mail);
        c->mail = NULL;
    }
    return !c->pending->failed;
}

void connection_mail(connection *c, kv_bytes *bytes, bool serving)
{
    if (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER))
        return;
    if (serving) {
        append_mail(connection_output(c), bytes);
        return;
    }
    pubsub_mailed(c);
    if (!c->pending && !c->mail) {
        c->mail = kv_bytes_ref(bytes);
        return;
    }
    if (!move_mail(c, 0)) {
        connection_close_for_memory(c);
        return;
    }
    append_mail(c->pending, bytes);
    if (c->pending->failed || !connection_within_limits(c))
        connection_close_for_output(c);
    else
        memory_count_client(c);
}

/* The common case: nothing else is pending, and the socket takes all of it at once. False: it did not, c is closed or has
 * it pending. */
static bool send_mail_at_once(connection *c)
{
    worker *w = c->owner;
    kv_slice slice = kv_bytes_slice(c->mail);
    ssize_t n = c->tls ? tls_send(c->tls, slice.data, slice.len) : socket_send(c->fd, slice.data, slice.len);

    stats_add(&w->stats.writes, 1);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection_close(c);
        return false;
    }
    n = n < 0 ? 0 : n;
    stats_add(&w->stats.output_bytes, (uint64_t)n);
    if ((size_t)n == slice.len) {
        kv_bytes_unref(c->mail);
        c->mail = NULL;
        c->active_ms = w->now_ms;
        return true;
    }
    if (!move_mail(c, (size_t)n))
        connection_close_for_memory(c);
    else if (!connection_within_limits(c))
        connection_close_for_output(c);
    return false;
}

/* What it was handed may tell of changes that are not yet in the log. False: it may be sent. */
static bool hold_mail(connection *c)
{
    if (!aof_hold(c))
        return false;
    if (c->flags & CONNECTION_CLOSING)
        return true;
    if (!move_mail(c, 0))
        connection_close_for_memory(c);
    else if (!connection_within_limits(c))
        connection_close_for_output(c);
    else
        connection_wait_next(c);
    return true;
}

void connection_send_mail(connection *c)
{
    if (c->flags & CONNECTION_CLOSING || (__builtin_expect(c->owner->guarded, 0) && hold_mail(c)))
        return;
    if (c->mail && !c->pending) {
        if (!send_mail_at_once(c) && !(c->flags & CONNECTION_CLOSING))
            connection_wait_next(c);
        return;
    }
    if (!move_mail(c, 0))
        connection_close_for_memory(c);
    else if (c->wait != CONNECTION_WRITE && c->wait != CONNECTION_BOTH)
        connection_flush(c);
}
