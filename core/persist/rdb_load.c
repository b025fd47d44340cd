/* rdb_load.c - loading on all cores: one thread reads, others insert.
 *
 *     file -> reader: parse, unpack, checksum -> queue of batches -> inserter, inserter, ... -> stores
 *
 * A batch is some hundred records with their bytes in one block, of up to BATCH_BYTES (or one large value). There is a
 * fixed number of them, which go round: the reader waits when all are on their way. Inserters read ahead what a batch will
 * touch, as a pipeline of a client does, and insert runs of keys without deadlines at once.
 *
 * The first failure of anybody ends it for all.
 *
 * SPDX-License-Identifier: MIT */
#include "rdb_load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay.h"

#define BATCH_RECORDS 512
#define BATCH_BYTES   (128u << 10)
#define THREADS_MAX   16

typedef struct loaded {
    unsigned db;
    size_t offset; /* of the key in the batch; the value follows it */
    size_t key_len, value_len;
    int64_t deadline_ms, idle_s;
    int freq;
} loaded;

typedef struct batch {
    relay_block link; /* first */
    size_t count, used, size;
    char *bytes;
    loaded records[BATCH_RECORDS];
} batch;

typedef struct loader {
    rdb_load *load;
    kv_domain *domain;
    relay relay;    /* broken: memory was out */
    batch *current; /* the reader's */
    batch *batches;
} loader;

/* ---- inserting ---- */

/* Up to so many records of one database. */
typedef struct run {
    kv_store *store;
    size_t n;
    kv_slice pairs[2 * MAP_PREFETCH_MAX];
    uint64_t hashes[MAP_PREFETCH_MAX];
    map_hint hints[MAP_PREFETCH_MAX];
} run;

static void collect_run(const loader *l, const batch *b, size_t first, run *r)
{
    unsigned db = b->records[first].db;

    r->store = l->load->stores[db];
    for (r->n = 0; r->n < MAP_PREFETCH_MAX && first + r->n < b->count; r->n++) {
        const loaded *record = &b->records[first + r->n];

        if (record->db != db)
            break;
        r->pairs[2 * r->n] = kv_slice_of(b->bytes + record->offset, record->key_len);
        r->pairs[2 * r->n + 1] = kv_slice_of(b->bytes + record->offset + record->key_len, record->value_len);
        r->hashes[r->n] = domain_hash(l->domain, r->pairs[2 * r->n]);
    }
}

static bool is_plain(const loaded *record)
{
    return record->deadline_ms == KV_FOREVER && record->idle_s < 0 && record->freq < 0;
}

/* At what time keys are stored: none has expired by then. */
static int64_t time_of(const rdb_load *load)
{
    return load->now_ms > 0 ? load->now_ms : 1;
}

static int64_t used_at(const rdb_load *load)
{
    return load->used_ms ? load->used_ms : time_of(load);
}

static int insert_one(const loader *l, const run *r, size_t i, const loaded *record)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    store_key key = { r->pairs[2 * i], r->hashes[i], &r->hints[i] };
    int64_t now_ms = time_of(l->load);
    entry_parts parts = {
        .key = key.name,
        .value = r->pairs[2 * i + 1],
        .deadline_ms = record->deadline_ms,
        .access = store_access_known(r->store, record->idle_s < 0 ? -1 : record->idle_s * 1000, record->freq,
                                     used_at(l->load)),
    };

    return store_put(r->store, key, &parts, now_ms);
}

static int insert_run(const loader *l, const batch *b, size_t first, run *r) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held)
{
    int64_t now_ms = time_of(l->load);
    uint32_t access = store_access_new(r->store, used_at(l->load));

    store_prefetch(r->store, r->n, r->hashes, r->hints);
    for (size_t i = 0, n; i < r->n; i += n) {
        for (n = 0; i + n < r->n && is_plain(&b->records[first + i + n]);)
            n++;
        if (n > 0) {
            if (store_put_run(r->store, n, &r->pairs[2 * i], 2, &r->hashes[i], &r->hints[i], access, now_ms) <
                n)
                return KV_ENOMEM;
        } else {
            n = 1;
            if (insert_one(l, r, i, &b->records[first + i]))
                return KV_ENOMEM;
        }
    }
    return 0;
}

static int insert_batch(const loader *l, const batch *b)
{
    int err = epoch_enter(l->domain);
    run r;

    for (size_t first = 0; !err && first < b->count; first += r.n) {
        collect_run(l, b, first, &r);
        err = insert_run(l, b, first, &r);
    }
    epoch_leave(l->domain);
    return err;
}

static void *insert_all(void *arg)
{
    loader *l = arg;
    batch *b;

    while ((b = (batch *)relay_take_full(&l->relay)) != NULL) {
        if (insert_batch(l, b) != 0)
            relay_break(&l->relay);
        relay_give_back(&l->relay, &b->link);
    }
    return NULL;
}

/* ---- reading ---- */

/* Waits for an empty batch; NULL: an inserter has failed. */
static batch *take_empty(loader *l)
{
    batch *b = (batch *)relay_take_empty(&l->relay);

    if (b)
        b->count = b->used = 0;
    return b;
}

/* The current batch, with room for a record of len bytes; NULL: it failed. */
static batch *batch_with_room(loader *l, size_t len)
{
    batch *b = l->current;

    if (b && (b->count == BATCH_RECORDS || (b->count > 0 && b->size - b->used < len))) {
        relay_give_full(&l->relay, &b->link);
        b = NULL;
    }
    l->current = b ? b : take_empty(l);
    b = l->current;
    if (!b || (b->bytes && b->size - b->used >= len))
        return b;
    size_t size = len > BATCH_BYTES ? len : BATCH_BYTES; /* it is empty */
    char *larger = realloc(b->bytes, size);

    if (!larger)
        return NULL;
    b->bytes = larger;
    b->size = size;
    return b;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    /* Only the reader writes it. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static int take_string(loader *l, const rdb_record *record)
{
    size_t len = record->key.len + record->value.len;
    batch *b;
    loaded *to;

    if (record->deadline_ms <= l->load->now_ms) {
        add(&l->load->keys_expired, 1);
        return 0;
    }
    b = batch_with_room(l, len);
    if (!b)
        return RDB_ENOMEM;
    to = &b->records[b->count++];
    *to = (loaded){ record->db,          b->used,        record->key.len, record->value.len,
                    record->deadline_ms, record->idle_s, record->freq };
    memcpy(b->bytes + b->used, record->key.data, record->key.len);
    memcpy(b->bytes + b->used + record->key.len, record->value.data, record->value.len);
    b->used += len;
    add(&l->load->keys_loaded, 1);
    return 0;
}

static void note_passed(rdb_load *load, const char *type)
{
    size_t used = strlen(load->passed);

    add(&load->keys_passed, 1);
    if (!strstr(load->passed, type))
        snprintf(load->passed + used, sizeof load->passed - used, "%s%s", used ? ", " : "", type);
}

/* 0, or RDB_E... with the reason, without the file's name. */
static int take_item(loader *l, const rdb_item *item, char *reason, size_t size)
{
    rdb_load *load = l->load;

    if (item->kind == RDB_PASSED)
        note_passed(load, item->type);
    if ((item->kind == RDB_DB || item->kind == RDB_STRING) && item->record.db >= (unsigned)load->count) {
        snprintf(reason, size, "it has keys in database %u, and there are %d (databases)", item->record.db,
                 load->count);
        return RDB_EUNSUPPORTED;
    }
    if (item->kind == RDB_DB)
        load->keys_announced += item->keys;
    if (item->kind == RDB_STRING && take_string(l, &item->record) != 0) {
        snprintf(reason, size, "memory is out");
        return RDB_ENOMEM;
    }
    return 0;
}

static int read_items(loader *l, rdb_reader *r, const char *name)
{
    rdb_load *load = l->load;
    char reason[256] = "";
    rdb_item item;
    int err;

    while ((err = rdb_read(r, &item)) > 0) {
        if (load->go_on && !load->go_on(load->arg)) {
            snprintf(reason, sizeof reason, "it was stopped");
            err = RDB_ESTOPPED;
            break;
        }
        err = take_item(l, &item, reason, sizeof reason);
        atomic_store_explicit(&load->bytes_done, rdb_reader_offset(r), memory_order_relaxed);
        if (err)
            break;
    }
    if (err)
        snprintf(load->reason, sizeof load->reason, "%.120s, at offset %llu: %s", name,
                 (unsigned long long)rdb_reader_offset(r), *reason ? reason : rdb_reader_reason(r));
    return err;
}

/* ---- both together ---- */

static int open_loader(loader *l, int threads)
{
    relay_init(&l->relay);
    l->batches = calloc((size_t)(2 * threads + 2), sizeof *l->batches);
    for (int i = 0; l->batches && i < 2 * threads + 2; i++)
        relay_add(&l->relay, &l->batches[i].link);
    return l->batches ? 0 : -1;
}

static void close_loader(loader *l, int threads)
{
    for (int i = 0; l->batches && i < 2 * threads + 2; i++)
        free(l->batches[i].bytes);
    free(l->batches);
    relay_done(&l->relay);
}

/* Reads while n threads insert, then waits for them. */
static int read_and_insert(loader *l, rdb_reader *r, const char *name, int n)
{
    pthread_t threads[THREADS_MAX];
    int started = 0, err = 0;

    while (started < n && pthread_create(&threads[started], NULL, insert_all, l) == 0)
        started++;
    if (started > 0)
        err = read_items(l, r, name);
    if (started > 0 && !err && l->current)
        relay_give_full(&l->relay, &l->current->link);
    relay_end(&l->relay);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (!err && (started == 0 || relay_is_broken(&l->relay))) {
        snprintf(l->load->reason, sizeof l->load->reason,
                 "%.120s: memory is out, or no thread can be started", name);
        err = RDB_ENOMEM;
    }
    return err;
}

static int load_fd(rdb_load *load, int fd, const char *name, uint64_t *ret_end)
{
    int threads = load->threads < 1 ? 1 : load->threads > THREADS_MAX ? THREADS_MAX : load->threads;
    loader l = { .load = load, .domain = kv_store_domain(load->stores[0]) };
    rdb_reader *r = rdb_reader_new(&load->options, rdb_source_fd, &fd);
    int err = RDB_ENOMEM;

    load->passed[0] = '\0';
    snprintf(load->reason, sizeof load->reason, "%.120s: memory is out", name);
    if (open_loader(&l, threads) == 0 && r)
        err = read_and_insert(&l, r, name, threads);
    if (!err && ret_end)
        *ret_end = rdb_reader_offset(r);
    rdb_reader_free(r);
    close_loader(&l, threads);
    return err;
}

int rdb_load_file(rdb_load *load, const char *path, uint64_t *ret_end)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), err;
    struct stat facts;

    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0 || fstat(fd, &facts) != 0) {
        snprintf(load->reason, sizeof load->reason, "%.120s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return RDB_EIO;
    }
    atomic_store_explicit(&load->bytes_total, (uint64_t)facts.st_size, memory_order_relaxed);
    err = load_fd(load, fd, path, ret_end);
    close(fd);
    return err;
}
