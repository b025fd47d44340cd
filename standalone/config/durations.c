/* durations.c - see durations.h. SPDX-License-Identifier: MIT */
#include "durations.h"

#define LONGEST ((UINT64_C(1) << 40) - 1)

/* Below 16 one bucket for each number; then 16 to each power of two. */
static size_t bucket_of(uint64_t ns)
{
    int exponent;

    if (ns < 16)
        return (size_t)ns;
    if (ns > LONGEST)
        ns = LONGEST;
    exponent = 63 - __builtin_clzll(ns);
    return (size_t)(exponent - 3) * 16 + ((ns >> (exponent - 4)) & 15);
}

static uint64_t bucket_start(size_t bucket)
{
    return bucket < 16 ? bucket : (uint64_t)(16 + bucket % 16) << (bucket / 16 - 1);
}

static void add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n, memory_order_relaxed);
}

void durations_add(durations *d, unsigned generation, uint64_t ns, uint64_t n)
{
    if (atomic_load_explicit(&d->generation, memory_order_relaxed) != generation) {
        for (size_t i = 0; i < DURATIONS_BUCKETS; i++)
            atomic_store_explicit(&d->counts[i], 0, memory_order_relaxed);
        /* Pairs with the load in durations_sum_up: who sees it sees empty buckets. */
        atomic_store_explicit(&d->generation, generation, memory_order_release);
    }
    add(&d->counts[bucket_of(ns)], n);
}

void durations_sum_up(const durations *d, unsigned generation, durations_sum *sum)
{
    if (atomic_load_explicit(&d->generation, memory_order_acquire) != generation)
        return;
    for (size_t i = 0; i < DURATIONS_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&d->counts[i], memory_order_relaxed);

        sum->counts[i] += n;
        sum->total += n;
    }
}

uint64_t durations_highest_like(uint64_t ns)
{
    return bucket_start(bucket_of(ns) + 1) - 1;
}

uint64_t durations_percentile(const durations_sum *sum, double percent)
{
    double wanted = (double)sum->total * (percent > 100 ? 100 : percent) / 100;
    uint64_t seen = 0;

    for (size_t i = 0; sum->total && i < DURATIONS_BUCKETS; i++) {
        seen += sum->counts[i];
        if (seen && (double)seen >= wanted)
            return bucket_start(i + 1) - 1;
    }
    return 0;
}

uint64_t durations_below(const durations_sum *sum, uint64_t ns)
{
    uint64_t n = 0;

    for (size_t i = 0; i < DURATIONS_BUCKETS && bucket_start(i) < ns; i++)
        n += sum->counts[i];
    return n;
}
