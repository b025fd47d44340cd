/* histogram.c - see histogram.h. Step i holds i itself below 32; above, i / 32 is the power of two and i % 32
 * the five bits below the highest. SPDX-License-Identifier: MIT */
#include "histogram.h"

static unsigned step_of(uint64_t ns)
{
    unsigned power = ns < 32 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 4;

    return ns < 32 ? (unsigned)ns : power * 32 + (unsigned)((ns >> (power - 1)) & 31);
}

/* The middle of step i. */
static double step_ns(unsigned i)
{
    unsigned power = i / 32;

    return power == 0 ? i : ((double)(32 + i % 32) + 0.5) * (double)(1ull << (power - 1));
}

void histogram_count(histogram *h, uint64_t ns)
{
    h->counts[step_of(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

void histogram_add(histogram *to, const histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_STEPS; i++)
        to->counts[i] += from->counts[i];
    to->total += from->total;
    if (from->max_ns > to->max_ns)
        to->max_ns = from->max_ns;
}

double histogram_percentile(const histogram *h, double part)
{
    uint64_t rank = (uint64_t)((double)h->total * part), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_STEPS; i++) {
        seen += h->counts[i];
        if (seen > rank)
            return step_ns(i) < (double)h->max_ns ? step_ns(i) : (double)h->max_ns;
    }
    return (double)h->max_ns;
}
