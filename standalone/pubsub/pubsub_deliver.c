/* pubsub_deliver.c - handing messages to the subscribers of one worker.
 *
 *     posts of the postbox, in order --> runs --> a form per topic and protocol --> connection_mail to every seat
 *
 * A run is what can be delivered as one: several short messages to the same channel in a row, or a single message. A form
 * is a run as its subscribers see it, written once and shared by all of them. A tail longer than TAIL_SHORT is not copied into
 * forms: it is passed on by reference behind the head.
 *
 * Threads: the worker's. SPDX-License-Identifier: MIT */
#include "bulk.h"
#include "pubsub_internal.h"

#define RUN_BYTES  (64 * 1024) /* of messages that become one form */
#define TAIL_SHORT 8192        /* tails up to here are copied into forms */

/* Consecutive publications that are delivered as one. */
typedef struct run {
    const post *first;
    size_t count;
    size_t tail_bytes;
    bool by_reference; /* a single one, whose tail is long */
} run;

static kv_slice kind_word(topic_kind kind)
{
    return kind == TOPIC_CHANNEL ? KV_STR("message")
           : kind == TOPIC_SHARD ? KV_STR("smessage")
                                 : KV_STR("pmessage");
}

static size_t head_size(const topic *t)
{
    if (t->kind == TOPIC_MONITOR)
        return 0;
    return 4 + bulk_size(kind_word(t->kind)) + (t->kind == TOPIC_PATTERN ? bulk_size(t->name) : 0);
}

static char *put_head(char *p, const topic *t, int protocol)
{
    if (t->kind == TOPIC_MONITOR)
        return p;
    *p++ = protocol == 3 ? '>' : '*';
    *p++ = t->kind == TOPIC_PATTERN ? '4' : '3';
    *p++ = '\r';
    *p++ = '\n';
    p = bulk_put(p, kind_word(t->kind));
    return t->kind == TOPIC_PATTERN ? bulk_put(p, t->name) : p;
}

/* What subscribers of t see of the run, but for a tail by reference. NULL: memory is out. */
static kv_bytes *make_form(const run *r, const topic *t, int protocol)
{
    kv_bytes *form = kv_bytes_room(NULL, r->count * head_size(t) + (r->by_reference ? 0 : r->tail_bytes), 0);
    const post *mail = r->first;
    char *p;

    if (!form)
        return NULL;
    p = kv_bytes_data(form);
    for (size_t i = 0; i < r->count; i++, mail = mail->next) {
        kv_slice tail = kv_bytes_slice(mail->publication->tail);

        p = put_head(p, t, protocol);
        if (r->by_reference)
            continue;
        memcpy(p, tail.data, tail.len);
        p += tail.len;
    }
    return form;
}

/* Closing a connection on the way takes it out of the seats, whose last one moves to its place: so from the end. */
static void deliver_to(worker *w, topic *t, const run *r, connection *serving)
{
    topic_seats *seats = &t->seats[w->index];
    kv_bytes *forms[2] = { NULL, NULL }, *tail = r->first->publication->tail;

    for (uint32_t i = seats->count; i-- > 0;) {
        connection *c = seats->list[i]->owner;
        kv_bytes **form = &forms[c->protocol == 3];

        if (!*form)
            *form = make_form(r, t, c->protocol);
        if (!*form) {
            connection_close_for_memory(c);
            continue;
        }
        connection_mail(c, *form, c == serving);
        if (r->by_reference)
            connection_mail(c, tail, c == serving);
    }
    kv_bytes_unref(forms[0]);
    kv_bytes_unref(forms[1]);
}

/* The longest run that begins at mail; returns what comes behind it. */
static post *take_run(post *mail, run *ret_run)
{
    const publication *p = mail->publication;
    const topic *t = p->topics[0];
    size_t bytes = kv_bytes_slice(p->tail).len;
    run *r = ret_run;

    *r = (run){ .first = mail, .count = 1, .tail_bytes = bytes, .by_reference = bytes > TAIL_SHORT };
    mail = mail->next;
    if (p->topic_count > 1 || r->by_reference)
        return mail;
    for (; mail; mail = mail->next, r->count++) {
        p = mail->publication;
        bytes = kv_bytes_slice(p->tail).len;
        if (p->topic_count > 1 || p->topics[0] != t || bytes > TAIL_SHORT ||
            r->tail_bytes + bytes > RUN_BYTES)
            break;
        r->tail_bytes += bytes;
    }
    return mail;
}

void pubsub_deliver(worker *w, connection *serving)
{
    post *mail = pubsub_empty_postbox(w);

    while (mail) {
        post *next;
        run r;

        next = take_run(mail, &r);
        for (uint32_t i = 0; i < mail->publication->topic_count; i++)
            deliver_to(w, mail->publication->topics[i], &r, serving);
        while (mail != next) {
            post *done = mail;

            mail = mail->next;
            publication_unref(done->publication);
        }
    }
}
