/* tracking_note.c - what tracking tells a client: how it gets to the client's worker, and what is sent.
 *
 *     tracking_tell --> a note in the worker's postbox (pubsub.c) --> tracking_deliver --> connection_mail
 *                                                                          | a batch of it is with the state thread
 *                                                                          v
 *                                                                     tracker->deferred --> tracking_catch_up
 *
 * The keys are written once, as an array in RESP, and shared by all who are told; what stands before them depends on the
 * client: a push in RESP3, a message of a channel for a RESP2 client that others redirect to.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "bulk.h"
#include "pubsub.h"
#include "tracking_internal.h"

#define INVALIDATE "__redis__:invalidate"

/* ---- posting ---- */

void tracking_note_free(tracking_note *note)
{
    if (!note)
        return;
    kv_bytes_unref(note->keys);
    free(note);
}

static void post(server *s, worker *from, int to, int what, uint64_t client, bool redirected, kv_bytes *keys)
{
    tracking_note *note = malloc(sizeof *note);

    if (!note) {
        atomic_store_explicit(&s->notice_lost, true, memory_order_relaxed);
        return;
    }
    *note = (tracking_note){ .client = client, .redirected = redirected, .keys = kv_bytes_ref(keys) };
    note->what = what;
    pubsub_post_note(s, from, to, note);
}

void tracking_tell(server *s, worker *from, uint64_t client, uint64_t origin, bool broadcast, int what,
                   kv_bytes *keys)
{
    tracking_person who, other;

    if (!tracking_look_up(s->tracking, client, &who) || !(who.mode & TRACKING_ON))
        return;
    if (what == TRACKING_KEYS && broadcast != !!(who.mode & TRACKING_BCAST))
        return;
    if ((who.mode & TRACKING_NOLOOP) && origin == client)
        return;
    if (!who.redirect)
        post(s, from, who.worker, what, client, false, keys);
    else if (tracking_look_up(s->tracking, who.redirect, &other))
        post(s, from, other.worker, what, who.redirect, true, keys);
    else
        post(s, from, who.worker, TRACKING_BROKEN_NOW, client, false, NULL);
}

/* ---- what is sent ---- */

kv_bytes *tracking_make_keys(const kv_slice keys[], size_t count)
{
    char digits[DECIMAL_MAX], *p;
    size_t len = decimal_format(digits, (int64_t)count).len + 3;
    kv_bytes *bytes;

    for (size_t i = 0; i < count; i++)
        len += bulk_size(keys[i]);
    bytes = kv_bytes_room(NULL, len, 0);
    if (!bytes)
        return NULL;
    p = bulk_put_number(kv_bytes_data(bytes), '*', count);
    for (size_t i = 0; i < count; i++)
        p = bulk_put(p, keys[i]);
    return bytes;
}

/* ---- delivering: the worker's thread ---- */

static kv_bytes *join(kv_slice head, kv_slice body)
{
    kv_bytes *bytes = kv_bytes_room(NULL, head.len + body.len, 0);

    if (!bytes)
        return NULL;
    memcpy(kv_bytes_data(bytes), head.data, head.len);
    memcpy(kv_bytes_data(bytes) + head.len, body.data, body.len);
    return bytes;
}

static void mail(connection *c, kv_slice head, kv_slice body, bool serving)
{
    kv_bytes *bytes = join(head, body);

    if (bytes)
        connection_mail(c, bytes, serving);
    else
        connection_close_for_memory(c);
    kv_bytes_unref(bytes);
}

static void deliver_stale(connection *c, const tracking_note *note, bool serving)
{
    if (c->protocol == 3)
        mail(c, KV_STR(">2\r\n$10\r\ninvalidate\r\n"),
             note->keys ? kv_bytes_slice(note->keys) : KV_STR("_\r\n"), serving);
    else if (note->redirected && (c->flags & CONNECTION_SUBSCRIBED))
        mail(c, KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n" INVALIDATE "\r\n"),
             note->keys ? kv_bytes_slice(note->keys) : KV_STR("$-1\r\n"), serving);
}

static void deliver_broken(connection *c, bool serving)
{
    char text[DECIMAL_MAX + 3];

    if (!c->tracker || !(c->tracker->mode & TRACKING_ON))
        return;
    tracking_set_mode(c, c->tracker->mode | TRACKING_BROKEN);
    if (c->protocol == 3)
        mail(c, KV_STR(">2\r\n$21\r\ntracking-redir-broken\r\n"),
             kv_slice_of(text, (size_t)(bulk_put_number(text, ':', c->tracker->redirect) - text)), serving);
}

static void deliver(connection *c, const tracking_note *note, bool serving)
{
    if (note->what == TRACKING_BROKEN_NOW)
        deliver_broken(c, serving);
    else
        deliver_stale(c, note, serving);
}

static void defer(tracker *tr, tracking_note *note)
{
    note->next = NULL;
    if (!tr->deferred)
        tr->deferred_last = &tr->deferred;
    *tr->deferred_last = note;
    tr->deferred_last = &note->next;
}

void tracking_deliver(worker *w, tracking_note *notes, connection *serving)
{
    while (notes) {
        tracking_note *note = notes;
        tracking_person who;

        notes = note->next;
        if (tracking_look_up(w->server->tracking, note->client, &who)) {
            if (w->server->actor && who.c->tracker && who.c->in_flight > 0) {
                defer(who.c->tracker, note);
                continue;
            }
            deliver(who.c, note, who.c == serving);
        }
        tracking_note_free(note);
    }
}

void tracking_catch_up(connection *c)
{
    tracking_note *notes = c->tracker ? c->tracker->deferred : NULL, *next;

    if (!notes)
        return;
    c->tracker->deferred = NULL;
    for (; notes; notes = next) {
        next = notes->next;
        deliver(c, notes, false);
        tracking_note_free(notes);
    }
}
