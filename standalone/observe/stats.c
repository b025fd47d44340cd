/* stats.c - see stats.h. SPDX-License-Identifier: MIT */
#include "stats.h"

#include <stdlib.h>

const char *const stats_error_names[STATS_ERROR_COUNT] = {
#define STATS_ERROR_NAME(word) #word,
    STATS_ERRORS(STATS_ERROR_NAME)
#undef STATS_ERROR_NAME
};

/* The counter of an error's first word; STATS_ERROR_COUNT: it has none. What has no first word is an ERR. */
static int find_error(kv_slice text, size_t word)
{
    if (word == 0 || word == text.len || word > ERROR_WORD_MAX)
        return STATS_ERR;
    for (int i = 0; i < STATS_ERROR_COUNT; i++)
        if (strlen(stats_error_names[i]) == word && memcmp(text.data, stats_error_names[i], word) == 0)
            return i;
    return STATS_ERROR_COUNT;
}

void stats_error(stats *s, kv_slice text)
{
    size_t word = 0;
    int found;

    while (word < text.len && text.data[word] != ' ')
        word++;
    found = find_error(text, word);
    stats_add(&s->error_replies, 1);
    if (found < STATS_ERROR_COUNT)
        stats_add(&s->errors[found], 1);
    else if (s->words)
        error_words_add(s->words, kv_slice_of(text.data, word));
}

static void sum_array(const _Atomic uint64_t *from, uint64_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

void stats_sum(const stats *s, stats_sums *sums)
{
#define STATS_SUM(name) sum_array(&s->name, &sums->name, 1);
    STATS_COUNTERS(STATS_SUM)
#undef STATS_SUM
    sum_array(&s->keyspace.keyspace_hits, &sums->keyspace_hits, 1);
    sum_array(&s->keyspace.keyspace_misses, &sums->keyspace_misses, 1);
    sum_array(s->errors, sums->errors, STATS_ERROR_COUNT);
    sum_array(s->calls, sums->calls, KV_COMMAND_COUNT);
    sum_array(s->failed_calls, sums->failed_calls, KV_COMMAND_COUNT);
    sum_array(s->rejected_calls, sums->rejected_calls, KV_COMMAND_COUNT);
    sum_array(s->timed_calls, sums->timed_calls, KV_COMMAND_COUNT);
    sum_array(s->nanoseconds, sums->nanoseconds, KV_COMMAND_COUNT);
}

uint64_t stats_usec(const stats_sums *sums, int id)
{
    if (!sums->timed_calls[id])
        return 0;
    return (uint64_t)((double)sums->nanoseconds[id] / (double)sums->timed_calls[id] *
                          (double)sums->calls[id] / 1000 +
                      0.5);
}

/* A stats_sums is nothing but numbers. */
void stats_subtract(stats_sums *sums, const stats_sums *base)
{
    const stats_sums all = *sums;
    uint64_t *a = (uint64_t *)sums;
    const uint64_t *b = (const uint64_t *)base;

    for (size_t i = 0; i < sizeof *sums / sizeof *a; i++)
        a[i] -= b[i];
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        if (sums->calls[id] && !sums->timed_calls[id]) {
            sums->timed_calls[id] = all.timed_calls[id];
            sums->nanoseconds[id] = all.nanoseconds[id];
        }
}

/* ---- times ---- */

/* The histogram of a row, made when missing; NULL: memory is out, and it stays without this call. */
static durations *durations_of(stats *s, int id)
{
    durations *d = atomic_load_explicit(&s->durations[id], memory_order_relaxed);

    if (!d) {
        d = calloc(1, sizeof *d);
        /* Pairs with the load in stats_sum_durations. */
        atomic_store_explicit(&s->durations[id], d, memory_order_release);
    }
    return d;
}

/* How many of the next calls need not be timed: see stats.h. */
static uint8_t pause_of(stats *s, const kv_command *row)
{
    bool fast = (row->flags & KV_CMD_FAST) || row->run_many;

    if (s->each || !fast)
        return 0;
    if (s->begun[row->id] < STATS_SAMPLE) {
        s->begun[row->id]++;
        return 0;
    }
    return STATS_SAMPLE - 1;
}

void stats_time(stats *s, const kv_command *row, uint64_t n, uint64_t ticks)
{
    uint64_t ns = ticks_to_ns(&s->clock, ticks);
    int id = row->id;

    stats_add(&s->timed_calls[id], n);
    stats_add(&s->nanoseconds[id], ns);
    if (s->keeps_durations) {
        durations *d = durations_of(s, id);

        if (d)
            durations_add(d, s->generation, ns / n, n + (uint64_t)(s->stood[id] - s->untimed[id]));
    }
    s->untimed[id] = s->stood[id] = pause_of(s, row);
}

void stats_init(stats *s, const ticks_clock *clock, struct slow_watch *slow, error_words *words)
{
    s->words = words;
    s->clock = *clock;
    s->slow_ticks = INT64_MAX;
    s->slow = slow;
    s->keeps_durations = true;
}

void stats_done(stats *s)
{
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        free(atomic_load_explicit(&s->durations[id], memory_order_relaxed));
}

void stats_ask(stats *s, unsigned generation, bool keeps_durations, bool each)
{
    if (s->generation != generation)
        memset(s->begun, 0, sizeof s->begun);
    if (s->generation != generation || (each && !s->each)) {
        memset(s->untimed, 0, sizeof s->untimed);
        memset(s->stood, 0, sizeof s->stood);
    }
    s->generation = generation;
    s->keeps_durations = keeps_durations;
    s->each = each;
}

void stats_sum_durations(const stats *s, int id, unsigned generation, durations_sum *sum)
{
    const durations *d = atomic_load_explicit(&s->durations[id], memory_order_acquire);

    if (d)
        durations_sum_up(d, generation, sum);
}
