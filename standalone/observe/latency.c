/* latency.c - see latency.h. SPDX-License-Identifier: MIT */
#include "latency.h"

#include <stdlib.h>

latency_monitor *latency_new(void)
{
    latency_monitor *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->events = calloc(LATENCY_EVENTS, sizeof *l->events);
    if (!l->events) {
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void latency_free(latency_monitor *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l->events);
    free(l);
}

static bool is_named(const latency_event *e, kv_slice name)
{
    return kv_slice_equal(kv_str(e->name), name);
}

/* The event of that name, or NULL. */
static latency_event *find(latency_monitor *l, kv_slice name)
{
    for (size_t i = 0; i < l->count; i++)
        if (is_named(&l->events[i], name))
            return &l->events[i];
    return NULL;
}

static latency_event *find_or_begin(latency_monitor *l, const char *name)
{
    latency_event *e = find(l, kv_str(name));

    if (e || l->count == LATENCY_EVENTS)
        return e;
    e = &l->events[l->count++];
    *e = (latency_event){ .name = name };
    return e;
}

static void add_sample(latency_event *e, int64_t ms, int64_t now_s)
{
    latency_sample *last = &e->samples[(e->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];

    if (ms > e->max_ms)
        e->max_ms = ms;
    if (e->count && last->time_s == now_s) {
        last->ms = last->ms > ms ? last->ms : ms;
        return;
    }
    e->samples[e->next] = (latency_sample){ now_s, ms };
    e->next = (e->next + 1) % LATENCY_SAMPLES;
    e->count += e->count < LATENCY_SAMPLES;
}

void latency_add(latency_monitor *l, const char *name, int64_t ms, int64_t now_ms)
{
    int64_t threshold_ms = atomic_load_explicit(&l->threshold_ms, memory_order_relaxed);
    latency_event *e;

    if (!threshold_ms || ms < threshold_ms)
        return;
    pthread_mutex_lock(&l->lock);
    e = find_or_begin(l, name);
    if (e)
        add_sample(e, ms, now_ms / 1000);
    pthread_mutex_unlock(&l->lock);
}

bool latency_read(latency_monitor *l, kv_slice name, latency_event *ret_event)
{
    const latency_event *e;

    pthread_mutex_lock(&l->lock);
    e = find(l, name);
    if (e) {
        *ret_event = *e;
        for (size_t i = 0; i < e->count; i++)
            ret_event->samples[i] = e->samples[(e->next + LATENCY_SAMPLES - e->count + i) % LATENCY_SAMPLES];
    }
    pthread_mutex_unlock(&l->lock);
    return e != NULL;
}

size_t latency_names(latency_monitor *l, const char *ret_names[LATENCY_EVENTS])
{
    size_t count;

    pthread_mutex_lock(&l->lock);
    count = l->count;
    for (size_t i = 0; i < count; i++)
        ret_names[i] = l->events[i].name;
    pthread_mutex_unlock(&l->lock);
    return count;
}

size_t latency_reset(latency_monitor *l, kv_slice name)
{
    size_t kept = 0, count;

    pthread_mutex_lock(&l->lock);
    count = l->count;
    for (size_t i = 0; i < l->count; i++)
        if (name.data && !is_named(&l->events[i], name))
            l->events[kept++] = l->events[i];
    l->count = kept;
    pthread_mutex_unlock(&l->lock);
    return count - kept;
}
