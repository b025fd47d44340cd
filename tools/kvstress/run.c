/* run.c - see run.h. SPDX-License-Identifier: MIT */
#include "run.h"

#include <string.h>

#include "clock.h"

void run_violation(run *r, evidence *e)
{
    pthread_mutex_lock(&r->lock);
    if (r->violation_count < r->options->violations) {
        r->violations[r->violation_count++] = *e;
        memset(e, 0, sizeof *e);
    }
    pthread_mutex_unlock(&r->lock);
    evidence_done(e);
}

void run_fail(run *r, const fault *f)
{
    pthread_mutex_lock(&r->lock);
    if (!r->failed) {
        r->failed = true;
        r->fault = *f;
    }
    pthread_mutex_unlock(&r->lock);
}

bool run_over(run *r)
{
    bool over;

    pthread_mutex_lock(&r->lock);
    over = r->failed || r->violation_count == r->options->violations;
    pthread_mutex_unlock(&r->lock);
    return over;
}

void run_refused(run *r, const char *text)
{
    size_t len = strcspn(text, ","); /* what follows are arguments */
    unsigned i;

    if (len >= sizeof r->refusals[0].text)
        len = sizeof r->refusals[0].text - 1;
    pthread_mutex_lock(&r->lock);
    for (i = 0; i < r->refusal_count; i++)
        if (strlen(r->refusals[i].text) == len && memcmp(r->refusals[i].text, text, len) == 0)
            break;
    if (i == r->refusal_count && i < RUN_REFUSALS) {
        memcpy(r->refusals[i].text, text, len);
        r->refusal_count++;
    }
    if (i < RUN_REFUSALS)
        r->refusals[i].count++;
    pthread_mutex_unlock(&r->lock);
}

static uint32_t pick_zipf(const run *r, uint64_t *random, uint32_t n)
{
    double at = (double)(random_next(random) >> 11) * 0x1p-53 * r->zipf[n - 1];
    uint32_t low = 0, high = n - 1;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (r->zipf[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t run_pick(const run *r, uint64_t *random, uint32_t n)
{
    switch ((distribution)r->options->distribution) {
    case DISTRIBUTION_ZIPF:
        return pick_zipf(r, random, n);
    case DISTRIBUTION_HOT: /* four of five on one key in a hundred, but at least one */
        return random_below(random, 5) ? random_below(random, n / 100 + 1) : random_below(random, n);
    default:
        return random_below(random, n);
    }
}
