/* histogram.c - SPDX-License-Identifier: MIT */
#include "histogram.h"

#include <math.h>

static unsigned bucket_of(uint64_t value)
{
    unsigned shift, bucket;

    if (value < 2 * HISTOGRAM_SUB)
        return (unsigned)value;
    shift = 63 - 6 - (unsigned)__builtin_clzll(value); /* so that value >> shift is from 64 to 127 */
    bucket = 2 * HISTOGRAM_SUB + (shift - 1) * HISTOGRAM_SUB + (unsigned)(value >> shift) - HISTOGRAM_SUB;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned bucket)
{
    unsigned shift, sub;

    if (bucket < 2 * HISTOGRAM_SUB)
        return bucket;
    shift = (bucket - 2 * HISTOGRAM_SUB) / HISTOGRAM_SUB + 1;
    sub = (bucket - 2 * HISTOGRAM_SUB) % HISTOGRAM_SUB + HISTOGRAM_SUB;
    return (((uint64_t)sub + 1) << shift) - 1;
}

void histogram_add(histogram *h, uint64_t value)
{
    h->least = h->n == 0 || value < h->least ? value : h->least;
    h->most = value > h->most ? value : h->most;
    h->n++;
    h->sum += (double)value;
    h->buckets[bucket_of(value)]++;
}

uint64_t histogram_percentile(const histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)ceil((double)h->n * percent / 100), seen = 0;

    for (unsigned i = 0; h->n && i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && seen) {
            uint64_t top = top_of(i);

            return top < h->most ? top : h->most;
        }
    }
    return h->most;
}

double histogram_mean(const histogram *h)
{
    return h->n ? h->sum / (double)h->n : 0;
}
