/* growth.c - see growth.h.
 *
 * The worst insert is a wall-clock time, so anything that takes the processor away looks like a slow insert.
 * The kernel counts such events (involuntary context switches); a slow insert during which the count rose
 * is set aside, and how many were is told.
 *
 * The rate is of another fill: to read the clock takes some 30 ns, and lets nothing of one insert overlap with the next.
 *
 * SPDX-License-Identifier: MIT */
#include "growth.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"
#include "process.h"

#define SLOW_SECONDS 50e-6

static long preemptions(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

static int resident(size_t *ret_bytes, fault *f)
{
    process self = { .pid = getpid() };

    return process_memory(&self, ret_bytes, f);
}

/* The highest that resident memory has been, in bytes. */
static size_t resident_peak(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return (size_t)kib * 1024;
}

static int insert_failed(uint64_t key, int err, fault *f)
{
    return fault_set(f, "insert %llu failed: %s", (unsigned long long)key, kv_error_text(err));
}

static int insert_all(subject *s, uint64_t keys, double *ret_rate, fault *f)
{
    double begin = load_clock();

    for (uint64_t key = 0; key < keys; key++) {
        int err = subject_set(s, key);

        if (err)
            return insert_failed(key, err, f);
    }
    *ret_rate = (double)keys / (load_clock() - begin);
    return 0;
}

int growth_watch(subject *s, uint64_t keys, slowest *ret_slowest, fault *f)
{
    double before = load_clock(), worst = 0;
    long switches = preemptions();

    ret_slowest->preempted = 0;
    for (uint64_t key = 0; key < keys; key++) {
        int err = subject_set(s, key);
        double now = load_clock(), took = now - before;

        if (err)
            return insert_failed(key, err, f);
        if (took > SLOW_SECONDS || key % 1024 == 0) {
            long since = preemptions();

            if (since != switches && took > SLOW_SECONDS)
                ret_slowest->preempted++;
            else if (took > worst)
                worst = took;
            switches = since;
            now = load_clock();
        } else if (took > worst) {
            worst = took;
        }
        before = now;
    }
    ret_slowest->worst_us = worst * 1e6;
    return 0;
}

int growth_fill(subject *s, uint64_t keys, growth *ret_growth, fault *f)
{
    growth g = { 0 };
    size_t before, after;
    domain_memory memory;

    if (resident(&before, f) || insert_all(s, keys, &g.per_second, f) || resident(&after, f))
        return -1;
    domain_read_memory(s->domain, &memory);
    g.rss_bytes = ((double)after - (double)before) / (double)keys;
    g.peak_bytes = ((double)resident_peak() - (double)before) / (double)keys;
    g.domain_bytes = (double)memory.allocated_bytes / (double)keys;
    for (uint64_t i = 0; i < 1000 && i < keys; i++)
        if (!subject_check(s, keys - 1 - i))
            return fault_set(f, "key %llu does not hold its value", (unsigned long long)(keys - 1 - i));
    *ret_growth = g;
    return 0;
}

/* Replaces keys until the time is over; live[] are the numbers of the keys that are there. */
static int replace_keys(subject *s, uint64_t live[], uint64_t keys, double seconds, uint64_t seed,
                        double *ret_rate, fault *f)
{
    uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15, next = keys, done = 0;
    double begin = load_clock(), now = begin;

    while (now - begin < seconds) {
        for (unsigned i = 0; i < 256; i++, done++) {
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;

            uint64_t *victim = &live[((random * 0x2545f4914f6cdd1d) >> 32) * keys >> 32];
            int err = subject_delete(s, *victim);

            if (!err)
                err = subject_set(s, *victim = next++);
            if (err)
                return fault_set(f, "replacing a key failed: %s", kv_error_text(err));
        }
        now = load_clock();
    }
    *ret_rate = (double)done / (now - begin);
    return 0;
}

int growth_churn(subject *s, uint64_t keys, double seconds, uint64_t seed, churn *ret_churn, fault *f)
{
    uint64_t *live = malloc(keys * sizeof *live);
    size_t before = 0, after = 0;
    int err = 0;

    if (!live)
        return fault_set(f, "out of memory");
    for (uint64_t i = 0; i < keys; i++)
        live[i] = i;
    if (resident(&before, f) || replace_keys(s, live, keys, seconds, seed, &ret_churn->per_second, f) ||
        resident(&after, f))
        err = -1;
    for (uint64_t i = 0; i < 1000 && i < keys && !err; i++)
        if (!subject_check(s, live[i]))
            err = fault_set(f, "a key does not hold its value after the churn");
    free(live);
    ret_churn->grown = before ? (double)after / (double)before : 0;
    return err;
}
