/* worker.c - see worker.h.
 *
 *     turn     for each readable lane: read, judge its replies, fill its pipeline, write
 *     tick     each millisecond: lanes that had nothing to ask, or nowhere to ask it; what is late; what is over
 *
 * A pipeline is filled when it is half empty, so that requests travel many at a time; one lane in four has only two
 * under way, so that there are connections whose order in time is narrow, too, and some have four times as many. What is asked next is drawn by
 * weight from the parts, all of them mixed on all lanes.
 *
 * In the end nothing more is asked; when nothing is under way, the parts judge what is left and remove their keys.
 *
 * SPDX-License-Identifier: MIT */
#include "worker.h"

#include <event2/event.h>

#include <stdlib.h>
#include <string.h>

#include "parts.h"

#define IN_SIZE    (64u << 10)
#define TICK_NS    NS_PER_MS
#define PUBLISH_NS (100 * NS_PER_MS)
#define SLOW_NS    (5 * NS_PER_MS) /* the mean latency */
#define ABSENT_NS  NS_PER_S
#define GONE_NS    (4 * NS_PER_S) /* without any connection */

const part *const WORKER_PARTS[PARTS] = {
    [PART_VISIBILITY] = &PART_OF_VISIBILITY, [PART_LINEAR] = &PART_OF_LINEAR,
    [PART_MULTIKEY] = &PART_OF_MULTIKEY,     [PART_FIFO] = &PART_OF_FIFO,
    [PART_PUBSUB] = &PART_OF_PUBSUB,         [PART_TTL] = &PART_OF_TTL,
};

static phase phase_of(worker *w)
{
    return atomic_load(&w->run->phase);
}

/* ---- what to ask ------------------------------------------------------------------------ */

static bool survives_crash(unsigned i)
{
    return i == PART_LINEAR || i == PART_MULTIKEY;
}

static bool issue_some(lane *l)
{
    worker *w = l->worker;
    uint32_t at = random_below(&w->random, w->share_sum);
    unsigned i = 0;
    bool crash = phase_of(w) == PHASE_CRASH;

    while (at >= w->shares[i])
        at -= w->shares[i++];
    for (unsigned tried = 0; tried < PARTS; tried++, i = (i + 1) % PARTS)
        if (w->shares[i] && (!crash || survives_crash(i)) && WORKER_PARTS[i]->issue(w, l))
            return true;
    return false;
}

void worker_fill(lane *l)
{
    worker *w = l->worker;
    unsigned depth = (unsigned)(l->depth * w->pace) ? (unsigned)(l->depth * w->pace) : 1;
    phase now = phase_of(w);

    if (l->retiring && lane_open_calls(l) == 0 && l->out.len == 0) {
        lane_close(l);
        lane_open(l);
        return;
    }
    w->now = clock_ns();
    if (!l->subscriber && !l->retiring && lane_open_calls(l) <= depth / 2) {
        if (now == PHASE_WORK || now == PHASE_CRASH)
            while (lane_open_calls(l) < depth && issue_some(l))
                ;
        else if (now == PHASE_VERIFY)
            while (lane_open_calls(l) < depth && parts_verify(w, l))
                ;
    }
    lane_send(l);
}

void worker_opened(lane *l)
{
    for (unsigned i = 0; i < PARTS; i++)
        if (l->worker->shares[i] && WORKER_PARTS[i]->opened)
            WORKER_PARTS[i]->opened(l);
}

lane *worker_other_lane(worker *w, const lane *l)
{
    for (unsigned tried = 0; tried < 4; tried++) {
        lane *other = &w->lanes[random_below(&w->random, w->data_lanes)];

        if (other != l && other->state == LANE_OPEN && !other->retiring &&
            lane_open_calls(other) < other->depth)
            return other;
    }
    return NULL;
}

static void tidied(lane *l, const call *c, const reply *r)
{
    (void)l;
    (void)c;
    (void)r;
}

call *worker_tidy(lane *l)
{
    return lane_call(l, tidied);
}

void worker_misfit(lane *l, const call *c, check_id check, const char *command, const reply *r)
{
    char *shown = NULL;
    size_t size;
    FILE *out = open_memstream(&shown, &size);
    evidence e;

    if (!out)
        return;
    reply_print(r, out);
    fclose(out);
    evidence_init(&e, CHECK_NAMES[check], "a reply that cannot be this command's");
    evidence_row(&e, l->process, c->sent, l->worker->now, command, shown)->guilty = true;
    snprintf(e.note, sizeof e.note,
             "The server replied to something else, or out of order: %u requests were under "
             "way on this connection.",
             lane_open_calls(l) + 1);
    run_violation(l->worker->run, &e);
    free(shown);
}

/* ---- time ------------------------------------------------------------------------------- */

static void publish(worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->shown = w->tally;
    w->shown_latency = w->latency;
    pthread_mutex_unlock(&w->lock);
    w->published_at = w->now;
}

void worker_show(worker *w, tally *ret, histogram *ret_latency)
{
    pthread_mutex_lock(&w->lock);
    *ret = w->shown;
    *ret_latency = w->shown_latency;
    pthread_mutex_unlock(&w->lock);
}

static void watch_lane(worker *w, lane *l)
{
    run *r = w->run;
    int64_t patience = (int64_t)r->options->timeout_s * NS_PER_S;
    int64_t gone = patience < GONE_NS ? patience : GONE_NS;
    fault f;

    if (l->state == LANE_CLOSED && atomic_load(&r->server_up) && w->now >= l->reopen_at)
        lane_open(l);
    if (l->state == LANE_OPEN) {
        const call *oldest = &l->ring[l->head & (l->ring_size - 1)];

        w->idle_since = w->now;
        if (lane_open_calls(l) && w->now - oldest->sent > patience && w->now - w->present_since > patience) {
            fault_set(&f,
                      "%s: it has not answered a request for %llu seconds, of %u that are under way on a "
                      "connection",
                      r->target.name, (unsigned long long)r->options->timeout_s, lane_open_calls(l));
            run_fail(r, &f);
        } else if (lane_open_calls(l) == 0 || l->retiring) {
            worker_fill(l);
        }
    }
    if (!atomic_load(&r->server_up))
        w->idle_since = w->now;
    if (w->now - w->idle_since > gone) {
        fault_set(&f, "%s: the server is gone: no connection for %.0f seconds", r->target.name,
                  (double)gone / NS_PER_S);
        run_fail(r, &f);
    }
}

/* A slow server is not asked so much at a time: what waits for milliseconds on every connection overlaps with
 * everything, and proves little. */
static void set_pace(worker *w)
{
    int64_t mean_ns = w->waited ? w->waited_ns / w->waited : 0;

    if (mean_ns > SLOW_NS && w->pace > 0.01)
        w->pace *= 0.8;
    else if (mean_ns < SLOW_NS / 2 && w->pace < 1)
        w->pace = w->pace * 1.25 < 1 ? w->pace * 1.25 : 1;
    w->waited_ns = w->waited = 0;
}

/* Chooses a connection to close and open again. */
static void recycle(worker *w)
{
    int64_t pause = (int64_t)w->run->options->recycle_ms * NS_PER_MS;
    lane *l = &w->lanes[random_below(&w->random, w->data_lanes)];

    if (pause == 0 || w->now - w->recycled_at < pause)
        return;
    w->recycled_at = w->now;
    if (l->state == LANE_OPEN && !l->watching)
        l->retiring = true;
}

/* Nothing is under way here; when it is so everywhere, lets the parts judge the rest, and tidy up. */
static void finish(worker *w)
{
    if (!w->drained)
        atomic_fetch_add(&w->run->drained, 1);
    if (!w->drained)
        w->drained_at = w->now;
    w->drained = true;
    if (atomic_load(&w->run->drained) < w->run->options->threads)
        return;
    while (w->finished < PARTS) {
        const part *p = WORKER_PARTS[w->finished];

        if (w->shares[w->finished] && p->finish && !p->finish(w))
            break;
        w->finished++;
    }
    for (unsigned i = 0; i < w->lane_count; i++)
        if (w->lanes[i].state == LANE_OPEN)
            lane_send(&w->lanes[i]);
    if (w->finished == PARTS && w->open_calls == 0)
        event_base_loopbreak(w->base);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    worker *w = arg;
    phase now = phase_of(w);

    (void)fd;
    (void)what;
    w->now = clock_ns();
    if (w->now - w->ticked_at > ABSENT_NS) /* waiting for the jury: replies may lie there unread */
        w->present_since = w->now;
    w->ticked_at = w->now;
    for (unsigned i = 0; i < w->lane_count; i++)
        watch_lane(w, &w->lanes[i]);
    if (now == PHASE_WORK)
        recycle(w);
    if (now == PHASE_VERIFY && !w->verified && w->open_calls == 0 && parts_verified(w)) {
        w->verified = true;
        atomic_fetch_add(&w->run->verified, 1);
    }
    if (now != PHASE_VERIFY)
        w->verified = false;
    if (w->now - w->published_at > PUBLISH_NS) {
        set_pace(w);
        publish(w);
    }
    if (run_over(w->run))
        event_base_loopbreak(w->base);
    else if (now == PHASE_DRAIN && w->open_calls == 0)
        finish(w);
}

/* ---- life ------------------------------------------------------------------------------- */

static void share(worker *w)
{
    const run *r = w->run;

    for (unsigned i = 0; i < PARTS; i++) {
        const part *p = WORKER_PARTS[i];
        bool on = r->options->checks[p->check] ||
                  (r->options->checks[CHECK_CRASH] && survives_crash(i)); /* what a crash is judged by */

        on = on && parts_can(&r->target, i);
        w->shares[i] = on ? p->weight : 0;
        w->share_sum += w->shares[i];
    }
}

/* Different connections, different habits: most send some requests at a time, some few, some many. */
static unsigned depth_of(const run *r, unsigned number)
{
    unsigned depth = (unsigned)r->options->pipeline;

    if (number % 4 == 3)
        return depth < 2 ? depth : 2;
    return number % 8 == 5 ? 4 * depth : depth;
}

int worker_init(worker *w, run *r, unsigned index, unsigned lanes, fault *f)
{
    struct timeval tick = { .tv_usec = TICK_NS / NS_PER_US };
    unsigned subscribers;

    w->run = r;
    w->index = index;
    w->pace = 1;
    w->random = (r->seed + index + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    w->now = w->published_at = w->recycled_at = w->idle_since = w->ticked_at = w->present_since = clock_ns();
    pthread_mutex_init(&w->lock, NULL);
    share(w);
    subscribers = w->shares[PART_PUBSUB] ? PUBSUB_SUBSCRIBERS : 0;
    w->base = event_base_new();
    w->in = malloc(IN_SIZE);
    w->lanes = calloc(lanes + subscribers, sizeof *w->lanes);
    if (!w->base || !w->in || !w->lanes)
        return fault_set(f, "out of memory");
    w->data_lanes = lanes;
    for (; w->lane_count < lanes + subscribers; w->lane_count++) {
        lane *l = &w->lanes[w->lane_count];

        if (lane_init(l, w, depth_of(r, w->lane_count)))
            return fault_set(f, "out of memory");
        l->subscriber = w->lane_count >= lanes;
    }
    for (unsigned i = 0; i < PARTS; i++)
        if (w->shares[i] && WORKER_PARTS[i]->begin(w))
            return fault_set(f, "out of memory");
    w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
    if (!w->tick || event_add(w->tick, &tick))
        return fault_set(f, "out of memory");
    return 0;
}

void worker_done(worker *w)
{
    for (unsigned i = 0; i < PARTS; i++)
        if (w->states[i])
            WORKER_PARTS[i]->end(w);
    for (unsigned i = 0; i < w->lane_count; i++)
        lane_done(&w->lanes[i]);
    free(w->lanes);
    free(w->in);
    if (w->tick)
        event_free(w->tick);
    if (w->base)
        event_base_free(w->base);
    pthread_mutex_destroy(&w->lock);
}

void *worker_main(void *arg)
{
    worker *w = arg;

    for (unsigned i = 0; i < w->lane_count; i++)
        lane_open(&w->lanes[i]);
    event_base_dispatch(w->base);
    w->now = clock_ns();
    publish(w);
    return NULL;
}
