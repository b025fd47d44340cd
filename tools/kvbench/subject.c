/* subject.c - see subject.h.
 *
 * A worker runs turns of 64 operations, looks at the clock between two turns, and (registered) is
 * quiescent there, as an event loop is. What an operation costs includes making up a key and copying 32
 * bytes out: about 10 ns that every map would have to pay here.
 *
 * SPDX-License-Identifier: MIT */
#include "subject.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "load.h"
#include "protocol.h"

#define TURN       64u
#define ZIPF_DRAWS 65536u

_Static_assert(TURN == BASELINE_AHEAD, "a turn is one batch of WORK_BASE_64");

/* Each on lines of its own, or threads would write to each other's. */
typedef struct worker {
    subject *subject;
    const work *work;
    pthread_t thread;
    pthread_barrier_t *start;
    uint64_t random;
    uint32_t *zipf; /* ZIPF_DRAWS keys, for the kinds of work that draw by Zipf's law */
    unsigned zipf_next;
    uint64_t done, misses;              /* operations, and those that found nothing */
    double seconds, cpu;                /* wall time, and the thread's own */
    unsigned char sink;                 /* so that the copies are not optimised away */
    bool online;                        /* registered with the domain */
    int err;                            /* KV_E... */
} __attribute__((aligned(128))) worker; /* or two threads would write the same line */

int subject_init(subject *s, bool store, kv_sharing sharing, size_t value_size, bool ttl, fault *f)
{
    kv_domain_options domain_options = { .helper = true };

    *s = (subject){ .value_size = value_size, .deadline_ms = ttl ? SUBJECT_NOW_MS + 3600000 : KV_FOREVER };
    s->domain = kv_domain_new(&domain_options);
    if (!s->domain)
        return fault_set(f, "out of memory");
    if (store) {
        kv_store_options options = { .domain = s->domain, .sharing = sharing };

        s->store = kv_store_new(&options);
    } else {
        map_options options = { .version_step = 1 };

        s->map = map_new(s->domain, &options);
    }
    if (s->store || s->map)
        return 0;
    subject_done(s);
    return fault_set(f, "out of memory");
}

void subject_done(subject *s)
{
    if (s->store)
        kv_store_unref(s->store);
    if (s->map)
        map_free(s->map);
    kv_domain_unref(s->domain);
    *s = (subject){ 0 };
}

/* ---- one operation ---------------------------------------------------------------------- */

static int map_set(subject *s, kv_slice name, kv_slice value) KV_REQUIRES(kv_epoch_held)
{
    entry_parts parts = { .key = name, .value = value, .deadline_ms = s->deadline_ms };
    uint64_t hash = domain_hash(s->domain, name);

    map_expect(s->map, hash); /* as store_put does */
    entry *fresh = entry_new(s->domain, &parts);
    int err = 0;

    if (!fresh)
        return KV_ENOMEM;

    map_shard *shard = map_lock(s->map, hash);
    map_place place = shard_find(shard, name, hash);

    if (place.entry)
        shard_replace(shard, &place, fresh);
    else
        err = shard_insert(shard, hash, fresh);
    map_unlock(shard);
    if (err)
        entry_free(s->domain, fresh);
    else if (place.entry)
        entry_retire(s->domain, place.entry);
    return err;
}

int subject_set(subject *s, uint64_t key)
{
    char name[KEY_SIZE], value[SUBJECT_VALUE_MAX];
    kv_slice key_slice, value_slice;
    int err;

    key_bytes(key, name);
    value_bytes(key, value, s->value_size);
    key_slice = kv_slice_of(name, sizeof name);
    value_slice = kv_slice_of(value, s->value_size);
    if (s->store) {
        kv_set_options options = { .deadline_ms = s->deadline_ms };

        return kv_store_set(s->store, key_slice, value_slice, &options, SUBJECT_NOW_MS, NULL);
    }
    err = epoch_enter(s->domain);
    if (!err)
        err = map_set(s, key_slice, value_slice);
    epoch_leave(s->domain);
    return err;
}

static int map_delete(subject *s, kv_slice name) KV_REQUIRES(kv_epoch_held)
{
    uint64_t hash = domain_hash(s->domain, name);
    map_shard *shard = map_lock(s->map, hash);
    map_place place = shard_find(shard, name, hash);

    if (place.entry)
        shard_remove(shard, &place);
    map_unlock(shard);
    if (place.entry)
        entry_retire(s->domain, place.entry);
    return place.entry ? 0 : KV_ENOKEY;
}

int subject_delete(subject *s, uint64_t key)
{
    char name[KEY_SIZE];
    int err;

    key_bytes(key, name);
    if (s->store)
        return kv_store_delete(s->store, kv_slice_of(name, sizeof name), NULL, SUBJECT_NOW_MS);
    err = epoch_enter(s->domain);
    if (!err)
        err = map_delete(s, kv_slice_of(name, sizeof name));
    epoch_leave(s->domain);
    return err;
}

/* Copies at most SUBJECT_VALUE_MAX bytes of the value out; its length, or -1. */
static int map_copy(subject *s, kv_slice name, char out[]) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = map_find(s->map, name, domain_hash(s->domain, name));
    kv_slice value;

    if (!e || entry_deadline(e) <= SUBJECT_NOW_MS)
        return -1;
    value = entry_value(e, NULL);
    memcpy(out, value.data, value.len);
    return (int)value.len;
}

static int subject_get(subject *s, uint64_t key, char out[])
{
    char name[KEY_SIZE];
    int len = -1;

    key_bytes(key, name);
    if (s->store) {
        kv_meta meta;

        return kv_store_copy(s->store, kv_slice_of(name, sizeof name), out, SUBJECT_VALUE_MAX, &meta,
                             SUBJECT_NOW_MS)
                   ? -1
                   : (int)meta.len;
    }
    if (epoch_enter(s->domain) == 0)
        len = map_copy(s, kv_slice_of(name, sizeof name), out);
    epoch_leave(s->domain);
    return len;
}

bool subject_check(subject *s, uint64_t key)
{
    char out[SUBJECT_VALUE_MAX];
    int len = subject_get(s, key, out);

    return len == (int)s->value_size && value_matches(key, out, s->value_size);
}

/* ---- turns ------------------------------------------------------------------------------ */

static uint64_t draw(worker *w)
{
    w->random ^= w->random >> 12; /* xorshift64* (Vigna 2016) */
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return ((w->random * 0x2545f4914f6cdd1d) >> 32) * w->work->keys >> 32;
}

/* Zipf's law with exponent 1, from a table: drawing one afresh would cost more than the lookup. Ranks are spread over the keys,
 * so that neighbours in rank are no neighbours in memory. */
static int zipf_fill(worker *w)
{
    w->zipf = malloc(ZIPF_DRAWS * sizeof *w->zipf);
    if (!w->zipf)
        return KV_ENOMEM;
    for (unsigned i = 0; i < ZIPF_DRAWS; i++) {
        double u = (double)(draw(w) + 1) / (double)w->work->keys; /* (0, 1] */
        uint64_t rank = (uint64_t)exp(u * log((double)w->work->keys)) - 1;

        w->zipf[i] = (uint32_t)(rank * 2654435761u % w->work->keys);
    }
    return 0;
}

static uint64_t draw_zipf(worker *w)
{
    return w->zipf[w->zipf_next++ % ZIPF_DRAWS];
}

static void turn_zipf(worker *w, bool mix)
{
    char out[SUBJECT_VALUE_MAX];

    for (unsigned i = 0; i < TURN; i++) {
        if (mix && i % 2) {
            int err = subject_set(w->subject, draw_zipf(w));

            if (err)
                w->err = err;
        } else {
            w->misses += subject_get(w->subject, draw_zipf(w), out) < 0;
            w->sink ^= (unsigned char)out[0];
        }
    }
}

static void turn_get(worker *w, bool hot)
{
    char out[SUBJECT_VALUE_MAX];

    for (unsigned i = 0; i < TURN; i++) {
        w->misses += subject_get(w->subject, hot ? 0 : draw(w), out) < 0;
        w->sink ^= (unsigned char)out[0];
    }
}

static void turn_mix(worker *w)
{
    char out[SUBJECT_VALUE_MAX];

    for (unsigned i = 0; i < TURN; i += 2) {
        w->misses += subject_get(w->subject, draw(w), out) < 0;
        w->sink ^= (unsigned char)out[0];

        int err = subject_set(w->subject, draw(w));

        if (err)
            w->err = err;
    }
}

static void batch_of_map(worker *w) KV_REQUIRES(kv_epoch_held)
{
    subject *s = w->subject;
    char names[SUBJECT_BATCH][KEY_SIZE], out[SUBJECT_VALUE_MAX];
    uint64_t hashes[SUBJECT_BATCH];
    map_hint hints[SUBJECT_BATCH];

    for (unsigned i = 0; i < SUBJECT_BATCH; i++) {
        key_bytes(draw(w), names[i]);
        hashes[i] = domain_hash(s->domain, kv_slice_of(names[i], KEY_SIZE));
    }
    map_prefetch(s->map, SUBJECT_BATCH, hashes, hints);
    for (unsigned i = 0; i < SUBJECT_BATCH; i++) {
        const entry *e = map_find_hinted(s->map, kv_slice_of(names[i], KEY_SIZE), hashes[i], &hints[i]);

        if (!e || entry_deadline(e) <= SUBJECT_NOW_MS) {
            w->misses++;
            continue;
        }

        kv_slice value = entry_value(e, NULL);

        memcpy(out, value.data, value.len);
        w->sink ^= (unsigned char)out[0];
    }
}

static void batch_of_store(worker *w)
{
    char names[SUBJECT_BATCH][KEY_SIZE];
    kv_slice keys[SUBJECT_BATCH];
    kv_bytes *values[SUBJECT_BATCH];
    int found;

    for (unsigned i = 0; i < SUBJECT_BATCH; i++) {
        key_bytes(draw(w), names[i]);
        keys[i] = kv_slice_of(names[i], KEY_SIZE);
    }
    found = kv_store_get_many(w->subject->store, SUBJECT_BATCH, keys, values, SUBJECT_NOW_MS);
    if (found < 0) {
        w->err = found;
        return;
    }
    w->misses += SUBJECT_BATCH - (unsigned)found;
    for (unsigned i = 0; i < SUBJECT_BATCH; i++)
        kv_bytes_unref(values[i]);
}

static void turn_batch(worker *w)
{
    for (unsigned i = 0; i < TURN; i += SUBJECT_BATCH) {
        if (w->subject->store) {
            batch_of_store(w);
            continue;
        }
        if (epoch_enter(w->subject->domain) == 0)
            batch_of_map(w);
        epoch_leave(w->subject->domain);
    }
}

/* The loop of turn_get, and nothing of a map. */
static void turn_base_hot(worker *w)
{
    const char *line = baseline_hot_line(w->subject->base);
    char name[KEY_SIZE], out[SUBJECT_VALUE_MAX];

    for (unsigned i = 0; i < TURN; i++) {
        key_bytes(0, name);
        __asm__ volatile("" : : "r"(name) : "memory"); /* the key was made, the line is read again */
        memcpy(out, line, w->subject->value_size < 64 ? w->subject->value_size : 64);
        w->sink ^= (unsigned char)out[0];
    }
}

static void turn(worker *w)
{
    switch (w->work->kind) {
    case WORK_GET:
        turn_get(w, false);
        break;
    case WORK_HOT:
        turn_get(w, true);
        break;
    case WORK_MIX:
        turn_mix(w);
        break;
    case WORK_ZIPF:
        turn_zipf(w, false);
        break;
    case WORK_ZIPF_MIX:
        turn_zipf(w, true);
        break;
    case WORK_GET_BATCH:
        turn_batch(w);
        break;
    case WORK_BASE_HOT:
        turn_base_hot(w);
        break;
    case WORK_BASE_MISS:
        w->random = baseline_lookups(w->subject->base, w->random, TURN);
        break;
    case WORK_BASE_16:
        for (unsigned i = 0; i < TURN; i += 16)
            w->random = baseline_lookups_ahead(w->subject->base, w->random, 16);
        break;
    case WORK_BASE_64:
        w->random = baseline_lookups_ahead(w->subject->base, w->random, TURN);
        break;
    case WORK_BASE_SUMS:
        w->random = baseline_arithmetic(w->random, TURN);
        break;
    }
    w->done += TURN;
}

static double thread_cpu(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    const work *todo = w->work;
    kv_domain *domain = w->subject->domain;
    double begin, end, cpu;

    if (todo->registered)
        w->err = kv_thread_register(domain);
    w->online = todo->registered && !w->err;
    if (!w->err && (todo->kind == WORK_ZIPF || todo->kind == WORK_ZIPF_MIX))
        w->err = zipf_fill(w);
    pthread_barrier_wait(w->start);
    begin = end = load_clock();
    cpu = thread_cpu();
    while (!w->err && end - begin < todo->seconds && (!todo->operations || w->done < todo->operations)) {
        for (unsigned i = 0; i < 8 && !w->err; i++) {
            turn(w);
            if (w->online)
                kv_thread_quiesce(domain);
        }
        end = load_clock();
    }
    w->seconds = end - begin;
    w->cpu = thread_cpu() - cpu;
    free(w->zipf);
    if (w->online)
        kv_thread_unregister(domain);
    return NULL;
}

/* ---- the run ---------------------------------------------------------------------------- */

static int gather(const worker workers[], const work *w, work_result *ret_result, fault *f)
{
    work_result sum = { 0 };
    double busy = 0;

    for (unsigned i = 0; i < w->threads; i++) {
        if (workers[i].err)
            return fault_set(f, "an operation failed: %s", kv_error_text(workers[i].err));
        if (workers[i].misses)
            return fault_set(f, "%llu keys that are there were not found",
                             (unsigned long long)workers[i].misses);
        sum.operations += (double)workers[i].done;
        busy += workers[i].cpu;
        if (workers[i].seconds > sum.seconds)
            sum.seconds = workers[i].seconds;
    }
    sum.ns = busy * 1e9 / sum.operations;
    *ret_result = sum;
    return 0;
}

int subject_run(subject *s, const work *w, work_result *ret_result, fault *f)
{
    worker *workers = aligned_alloc(_Alignof(worker), w->threads * sizeof *workers);
    pthread_barrier_t start;
    unsigned started = 0;
    int err = 0;

    if (!workers || pthread_barrier_init(&start, NULL, w->threads)) {
        free(workers);
        return fault_set(f, "out of memory");
    }
    for (; started < w->threads; started++) {
        worker *one = &workers[started];

        *one = (worker){ .subject = s, .work = w, .start = &start };
        one->random = (w->seed + started + 1) * 0x9e3779b97f4a7c15;
        if (pthread_create(&one->thread, NULL, worker_main, one))
            break;
    }
    if (started < w->threads) { /* those that wait at the barrier cannot be told: give up as a whole */
        fault_set(f, "cannot start %u threads", w->threads);
        return -1;
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&start);
    err = gather(workers, w, ret_result, f);
    free(workers);
    return err;
}
