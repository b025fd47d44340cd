/* server_figures.c - the counters of all workers as one, and what is sampled ten times a second.
 *
 * Each worker counts for itself (stats.h), without locks; whoever asks adds them up. CONFIG RESETSTAT cannot set other
 * threads' counters to 0, so it remembers what the sums were, and is subtracted from then on.
 *
 * Rates are averages over SERVER_SAMPLES samples, which worker 0's tick takes.
 *
 * Threads: any but for server_tick; stats_lock guards what RESETSTAT sets. It is a leaf.
 *
 * SPDX-License-Identifier: MIT */
#include "aof.h"
#include "feed.h"
#include "persistence.h"
#include "replica_guard.h"
#include "replication.h"
#include "server.h"
#include "server_internal.h"

/* ---- sums ---- */

static void sum_stats(server *s, stats_sums *sums)
{
    memset(sums, 0, sizeof *sums);
    for (int i = 0; i < s->worker_count; i++)
        stats_sum(&s->workers[i].stats, sums);
    stats_sum(&s->actor_stats, sums);
    if (s->replication)
        replication_sum_stats(s, sums);
}

void server_stats(server *s, stats_sums *ret_sums)
{
    sum_stats(s, ret_sums);
    pthread_mutex_lock(&s->stats_lock);
    stats_subtract(ret_sums, &s->stats_base);
    pthread_mutex_unlock(&s->stats_lock);
}

void server_durations(server *s, int id, durations_sum *ret_sum)
{
    unsigned generation = atomic_load_explicit(&s->stats_generation, memory_order_relaxed);

    memset(ret_sum, 0, sizeof *ret_sum);
    for (int i = 0; i < s->worker_count; i++)
        stats_sum_durations(&s->workers[i].stats, id, generation, ret_sum);
    stats_sum_durations(&s->actor_stats, id, generation, ret_sum);
}

bool server_has_durations(server *s, int id)
{
    for (int i = 0; i < s->worker_count; i++)
        if (atomic_load_explicit(&s->workers[i].stats.durations[id], memory_order_relaxed))
            return true;
    return atomic_load_explicit(&s->actor_stats.durations[id], memory_order_relaxed) != NULL;
}

/* Sums of all databases. */
static void sum_removed(server *s, uint64_t *ret_expired, uint64_t *ret_evicted)
{
    *ret_expired = *ret_evicted = 0;
    for (int i = 0; i < s->databases.count; i++) {
        kv_stats figures;

        kv_store_stats(s->databases.stores[i], &figures, clock_ms());
        *ret_expired += figures.expired;
        *ret_evicted += figures.evicted;
    }
}

uint64_t server_expired_total(server *s)
{
    uint64_t expired, evicted;

    sum_removed(s, &expired, &evicted);
    return expired;
}

uint64_t server_evicted_total(server *s)
{
    uint64_t expired, evicted;

    sum_removed(s, &expired, &evicted);
    return evicted;
}

void server_reset_stats(server *s)
{
    stats_sums now;
    uint64_t expired, evicted, used = server_memory(s);

    error_words_reset(&s->error_words);
    sum_stats(s, &now);
    sum_removed(s, &expired, &evicted);
    pthread_mutex_lock(&s->stats_lock);
    s->stats_base = now;
    s->expired_base = expired;
    s->evicted_base = evicted;
    s->peak_memory = used;
    pthread_mutex_unlock(&s->stats_lock);
    atomic_fetch_add_explicit(&s->stats_generation, 1, memory_order_relaxed);
    slow_apply(s);
}

/* ---- samples ---- */

void server_watch_memory(server *s)
{
    uint64_t used = server_memory(s), most = (uint64_t)config_number(s->config, CONFIG_ID_maxmemory);

    atomic_store_explicit(&s->over_memory, most && used > most, memory_order_relaxed);
    pthread_mutex_lock(&s->stats_lock);
    if (used > s->peak_memory)
        s->peak_memory = used;
    if (most && used > most) {
        s->over_since_ms = s->over_since_ms ? s->over_since_ms : clock_ms();
    } else if (s->over_since_ms) {
        s->over_total_ms += clock_ms() - s->over_since_ms;
        s->over_since_ms = 0;
    }
    pthread_mutex_unlock(&s->stats_lock);
}

/* Adds one sample, of events per second, and publishes the average of the last ones. */
static void sample_rate(server *s, int which, uint64_t total, int64_t elapsed_ms)
{
    server_rate *rate = &s->rates[which];
    uint64_t sum = 0;

    rate->samples[s->rate_index % SERVER_SAMPLES] = (total - rate->last) * 1000 / (uint64_t)elapsed_ms;
    rate->last = total;
    for (int i = 0; i < SERVER_SAMPLES; i++)
        sum += rate->samples[i];
    atomic_store_explicit(&s->rate_values[which], sum / SERVER_SAMPLES, memory_order_relaxed);
}

static void sample_rates(server *s)
{
    int64_t now_ms = s->workers[0].now_ms, elapsed_ms = now_ms - s->rates_at_ms;
    uint64_t commands = 0, input = 0, sent = 0;

    if (elapsed_ms < 100)
        return;
    for (int i = 0; i < s->worker_count; i++) {
        stats *from = &s->workers[i].stats;

        commands += atomic_load_explicit(&from->commands, memory_order_relaxed);
        input += atomic_load_explicit(&from->input_bytes, memory_order_relaxed);
        sent += atomic_load_explicit(&from->output_bytes, memory_order_relaxed);
    }
    sample_rate(s, 0, commands, elapsed_ms);
    sample_rate(s, 1, input, elapsed_ms);
    sample_rate(s, 2, sent, elapsed_ms);
    s->rate_index++;
    s->rates_at_ms = now_ms;
}

void server_tick(server *s)
{
    server_watch_memory(s);
    sample_rates(s);
    listener_tick(s);
    aof_tick(s);
    supervise_tick(s);
    persistence_tick(s->persistence);
    feed_tick(s);
    replica_guard_look(s);
    shutdown_tick(s);
}
