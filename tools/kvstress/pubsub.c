/* pubsub.c - the other half of the check "fifo": every subscriber gets every message, each publisher's in order.
 *
 * Each worker has two connections that subscribe to all channels, one by name and one by pattern. Every data connection
 * publishes to every channel, numbering its messages; so each subscriber must see 1, 2, 3, ... from each publisher and
 * channel, without a gap, a repetition or an exchange. Nobody publishes before all have subscribed.
 *
 * A server may close a subscriber that does not read fast enough, and what it missed is no violation: it is told as
 * "dropped", the subscriber begins anew, and takes the first number that it sees from each publisher as its beginning.
 * That this does not happen by itself is seen to by publishing only while nobody is far behind.
 *
 * In the end, when all is published and acknowledged, the last numbers must arrive within the timeout.
 *
 * SPDX-License-Identifier: MIT */
#include "parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS   4u
#define BEHIND_MAX 2000u /* messages that a subscriber may be behind before publishers wait */
#define PROCESSES  65536u

/* One subscriber's view of one publisher. */
typedef struct view {
    uint32_t process; /* a later one may take its place */
    uint64_t last[CHANNELS];
} view;

/* What a publisher has published and was acknowledged. */
typedef struct ledger {
    atomic_uint process;
    atomic_ullong last[CHANNELS];
} ledger;

typedef struct subscriber {
    lane *lane;
    bool pattern;
    unsigned acknowledged; /* subscriptions */
    bool counted;          /* in channels.ready */
    bool fresh;            /* it missed something: beginnings are taken as they come */
    view views[];          /* [PROCESSES] by process % PROCESSES */
} subscriber;

struct channels {
    unsigned subscribers;      /* in all */
    atomic_uint ready;         /* of them have subscribed */
    atomic_uint interrupted;   /* times that one lost its connection */
    atomic_ullong miscount;    /* 1 + what a PUBLISH replied that did not reach them all; 0: none */
    atomic_ullong sent;        /* messages, each to all subscribers */
    atomic_ullong *received;   /* by subscriber */
    ledger ledgers[PROCESSES]; /* by process % PROCESSES */
};

channels *channels_new(const options *o)
{
    channels *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->subscribers = (unsigned)o->threads * PUBSUB_SUBSCRIBERS;
    c->received = calloc(c->subscribers, sizeof *c->received);
    if (c->received)
        return c;
    free(c);
    return NULL;
}

void channels_free(channels *c)
{
    if (!c)
        return;
    free(c->received);
    free(c);
}

static channels *channels_of(const lane *l)
{
    return l->worker->run->channels;
}

static subscriber *subscriber_of(const lane *l)
{
    subscriber **all = l->worker->states[PART_PUBSUB];

    return all[l - l->worker->lanes - l->worker->data_lanes];
}

static unsigned number_of(const lane *l)
{
    return l->worker->index * PUBSUB_SUBSCRIBERS + (unsigned)(l - l->worker->lanes - l->worker->data_lanes);
}

static size_t make_channel(const lane *l, unsigned channel, char out[64])
{
    return (size_t)snprintf(out, 64, "%sc%u", l->worker->run->prefix, channel);
}

static size_t make_message(uint32_t process, uint64_t number, char out[64])
{
    size_t len = (size_t)snprintf(out, 64, "%" PRIu32 " %" PRIu64 " ", process, number);

    for (uint64_t filler = number % 24; filler; filler--)
        out[len++] = (char)('a' + filler);
    return len;
}

/* ---- subscribing ------------------------------------------------------------------------ */

static void opened(lane *l)
{
    subscriber *s;
    char name[64];
    size_t len;

    if (!l->subscriber)
        return;
    s = subscriber_of(l);
    s->acknowledged = 0;
    wire_command(&l->out, s->pattern ? 2 : 1 + CHANNELS);
    wire_text(&l->out, s->pattern ? "PSUBSCRIBE" : "SUBSCRIBE");
    if (s->pattern) {
        len = make_channel(l, 0, name);
        name[len - 1] = '*';
        wire_arg(&l->out, name, len);
    } else {
        for (unsigned i = 0; i < CHANNELS; i++)
            wire_arg(&l->out, name, make_channel(l, i, name));
    }
}

static void subscribed(lane *l)
{
    channels *c = channels_of(l);
    subscriber *s = subscriber_of(l);
    unsigned number = number_of(l);

    if (++s->acknowledged != (s->pattern ? 1 : CHANNELS))
        return;
    if (s->fresh) {
        memset(s->views, 0, PROCESSES * sizeof *s->views);
        atomic_store(&c->received[number], atomic_load(&c->sent));
    }
    if (!s->counted)
        atomic_fetch_add(&c->ready, 1);
    s->counted = true;
}

void pubsub_lost(lane *l)
{
    subscriber *s = subscriber_of(l);

    l->worker->tally.dropped++;
    atomic_fetch_add(&channels_of(l)->interrupted, 1);
    s->fresh = true;
    /* nobody waits for it until it has subscribed again */
    atomic_store(&channels_of(l)->received[number_of(l)], UINT64_MAX / 2);
}

/* ---- receiving -------------------------------------------------------------------------- */

static void accuse(lane *l, const char *title, uint32_t process, unsigned channel, uint64_t last,
                   const reply *r)
{
    char *shown = NULL, before[64];
    size_t size;
    FILE *out = open_memstream(&shown, &size);
    int64_t now = l->worker->now;
    evidence e;

    if (!out)
        return;
    reply_print(r, out);
    fclose(out);
    evidence_init(&e, "fifo", "%s", title);
    if (last) {
        snprintf(before, sizeof before, "message %" PRIu64 " of connection %" PRIu32, last, process);
        evidence_row(&e, l->process, now, now, "(the one before)", before);
    }
    evidence_row(&e, l->process, now, now, "(received)", shown)->guilty = true;
    snprintf(e.note, sizeof e.note,
             "A message is: the connection that published it, its number on channel %u, a filler. The "
             "subscriber's "
             "connection was not interrupted.",
             channel);
    run_violation(l->worker->run, &e);
    free(shown);
}

/* A message of a channel of ours. */
static void take_message(lane *l, unsigned channel, const reply *text, const reply *whole)
{
    subscriber *s = subscriber_of(l);
    unsigned long process = 0;
    uint64_t number = 0, *last;
    char expected[64], *end = text->text;
    view *v;

    process = strtoul(text->text, &end, 10);
    if (*end == ' ')
        number = strtoull(end, &end, 10);
    if (number == 0 || text->len != make_message((uint32_t)process, number, expected) ||
        memcmp(text->text, expected, text->len) != 0) {
        accuse(l, "a message that nobody published", (uint32_t)process, channel, 0, whole);
        return;
    }
    v = &s->views[process % PROCESSES];
    if (v->process != process)
        *v = (view){ .process = (uint32_t)process };
    last = &v->last[channel];
    l->worker->tally.messages++;
    worker_checked(l->worker, CHECK_FIFO);
    atomic_fetch_add_explicit(&channels_of(l)->received[number_of(l)], 1, memory_order_relaxed);
    if (number != *last + 1 && !(s->fresh && *last == 0))
        accuse(l,
               number == *last  ? "a message arrives twice"
               : number < *last ? "messages arrive out of order"
                                : "a message is lost on its way to a subscriber",
               (uint32_t)process, channel, *last, whole);
    if (number > *last)
        *last = number;
}

static bool text_is(const reply *r, const char *text)
{
    return r->type == REPLY_IS_STRING && strcmp(r->text, text) == 0;
}

bool pubsub_received(lane *l, const reply *r)
{
    bool pattern = subscriber_of(l)->pattern;
    size_t words = pattern ? 4 : 3, channel_at = pattern ? 2 : 1;
    const reply *channel;
    char name[64];

    if (r->type != REPLY_IS_ARRAY || r->count == 0)
        return false; /* the reply to AUTH or SELECT, or an error */
    if (text_is(r->elements[0], pattern ? "psubscribe" : "subscribe")) {
        subscribed(l);
        return true;
    }
    if (!text_is(r->elements[0], pattern ? "pmessage" : "message") || r->count != words ||
        r->elements[channel_at]->type != REPLY_IS_STRING || r->elements[words - 1]->type != REPLY_IS_STRING) {
        accuse(l, "what a subscriber receives is no message", 0, 0, 0, r);
        return true;
    }
    channel = r->elements[channel_at];
    for (unsigned i = 0; i < CHANNELS; i++)
        if (channel->len == make_channel(l, i, name) && memcmp(channel->text, name, channel->len) == 0) {
            take_message(l, i, r->elements[words - 1], r);
            return true;
        }
    accuse(l, "a message of a channel that nobody subscribed to", 0, 0, 0, r);
    return true;
}

/* ---- publishing ------------------------------------------------------------------------- */

static void published(lane *l, const call *c, const reply *r)
{
    channels *all = channels_of(l);
    ledger *own = &all->ledgers[l->process % PROCESSES];
    char command[64];

    if (!r || r->type == REPLY_IS_ERROR)
        return;
    worker_checked(l->worker, CHECK_FIFO);
    if (atomic_load(&own->process) != l->process) {
        for (unsigned i = 0; i < CHANNELS; i++)
            atomic_store(&own->last[i], 0);
        atomic_store(&own->process, l->process);
    }
    atomic_store(&own->last[c->small], c->a);
    snprintf(command, sizeof command, "PUBLISH channel %u, message %llu", (unsigned)c->small,
             (unsigned long long)c->a);
    if (r->type != REPLY_IS_INTEGER)
        worker_misfit(l, c, CHECK_FIFO, command, r);
    else if (r->integer != all->subscribers) /* judged in the end: the server may have closed one just now */
        atomic_store(&all->miscount, (unsigned long long)r->integer + 1);
}

/* Whether the slowest subscriber is not too far behind. */
static bool may_publish(const channels *c)
{
    unsigned long long sent = atomic_load_explicit(&c->sent, memory_order_relaxed);

    if (atomic_load(&c->ready) < c->subscribers)
        return false;
    for (unsigned i = 0; i < c->subscribers; i++)
        if (sent > BEHIND_MAX + atomic_load_explicit(&c->received[i], memory_order_relaxed))
            return false;
    return true;
}

static bool issue(worker *w, lane *l)
{
    channels *all = w->run->channels;
    unsigned channel = worker_random(w, CHANNELS);
    char text[64];
    call *c;

    if (!may_publish(all))
        return false;
    atomic_fetch_add_explicit(&all->sent, 1, memory_order_relaxed);
    c = lane_call(l, published);
    c->small = channel;
    c->a = ++l->published[channel];
    wire_command(&l->out, 3);
    wire_text(&l->out, "PUBLISH");
    wire_arg(&l->out, text, make_channel(l, channel, text));
    wire_arg(&l->out, text, make_message(l->process, c->a, text));
    return true;
}

/* ---- the part --------------------------------------------------------------------------- */

static int begin(worker *w)
{
    subscriber **all = calloc(PUBSUB_SUBSCRIBERS, sizeof *all);

    w->states[PART_PUBSUB] = all;
    for (unsigned i = 0; all && i < PUBSUB_SUBSCRIBERS; i++) {
        all[i] = calloc(1, sizeof *all[i] + PROCESSES * sizeof(view));
        if (!all[i])
            return -1;
        all[i]->lane = &w->lanes[w->data_lanes + i];
        all[i]->pattern = i & 1;
    }
    return all ? 0 : -1;
}

/* The first message that is missing, if one is. */
static bool find_missing(worker *w, const subscriber *s, uint32_t *ret_process, unsigned *ret_channel)
{
    channels *all = w->run->channels;

    for (uint32_t p = 0; p < PROCESSES && !s->fresh; p++) {
        uint32_t process = atomic_load(&all->ledgers[p].process);
        const view *v = &s->views[p];

        for (unsigned i = 0; process && i < CHANNELS; i++)
            if (atomic_load(&all->ledgers[p].last[i]) > (v->process == process ? v->last[i] : 0)) {
                *ret_process = process;
                *ret_channel = i;
                return true;
            }
    }
    return false;
}

static void accuse_missing(worker *w, const subscriber *s, uint32_t process, unsigned channel)
{
    const view *v = &s->views[process % PROCESSES];
    evidence e;

    evidence_init(&e, "fifo", "messages have not arrived %.1f seconds after they were acknowledged",
                  (double)(w->now - w->drained_at) / NS_PER_S);
    evidence_row(&e, s->lane->process, w->drained_at, w->now, "(subscribed)", "")->guilty = true;
    snprintf(e.note, sizeof e.note,
             "Of connection %" PRIu32 ", channel %u: message %llu has arrived, %llu were acknowledged.",
             process, channel, (unsigned long long)(v->process == process ? v->last[channel] : 0),
             (unsigned long long)atomic_load(&w->run->channels->ledgers[process % PROCESSES].last[channel]));
    run_violation(w->run, &e);
}

static void judge_count(worker *w)
{
    channels *all = w->run->channels;
    unsigned long long miscount = atomic_load(&all->miscount);
    evidence e;

    if (w->index || !miscount || atomic_load(&all->interrupted))
        return;
    evidence_init(&e, "fifo", "a PUBLISH reached %llu of %u subscribers, as it says itself", miscount - 1,
                  all->subscribers);
    snprintf(e.note, sizeof e.note, "All had subscribed, and were told so, before; none was closed.");
    run_violation(w->run, &e);
}

/* All that was acknowledged must have arrived, or do so within some seconds. */
static bool finish(worker *w)
{
    subscriber **all = w->states[PART_PUBSUB];
    int64_t patience = (int64_t)w->run->options->timeout_s * NS_PER_S / 2;

    judge_count(w);
    for (unsigned i = 0; i < PUBSUB_SUBSCRIBERS; i++) {
        subscriber *s = all[i];
        uint32_t process;
        unsigned channel;

        if (s->lane->state != LANE_OPEN || !find_missing(w, s, &process, &channel))
            continue;
        if (w->now - w->drained_at < patience)
            return false;
        accuse_missing(w, s, process, channel);
        return true;
    }
    return true;
}

static void end(worker *w)
{
    subscriber **all = w->states[PART_PUBSUB];

    for (unsigned i = 0; i < PUBSUB_SUBSCRIBERS; i++)
        free(all[i]);
    free(all);
}

const part PART_OF_PUBSUB = { .check = CHECK_FIFO,
                              .weight = 4,
                              .begin = begin,
                              .issue = issue,
                              .opened = opened,
                              .finish = finish,
                              .end = end };
