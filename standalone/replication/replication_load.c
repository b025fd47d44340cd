/* replication_load.c - the data set of a primary, from the link into the databases.
 *
 *     link --rdb_reader--> databases of our own, which nobody sees      at its end, if it was whole:
 *                                                                       one act: ours emptied, contents exchanged
 *
 * So it is with repl-diskless-load swapdb, and whenever there is nothing here: a data set is read as it arrives, and clients read
 * the old one until the new one is complete. The price is memory for both, for as long as the transfer takes.
 *
 *     link --rdb_reader--> a file without a name      if it was whole: ours emptied --file--> databases of our own, exchanged
 *
 * Otherwise (disabled, on-empty-db) what comes is read, too, and so checked, but kept in a file in `dir`. Then the old data set
 * goes, clients are told -LOADING, and the file is loaded: there is never more than one data set in memory. A link that is cut, a
 * damaged data set, one that we cannot take, a full disk lose nothing either way, since what there is goes only when all has come.
 *
 * The exchange holds all shards of all databases: no reader sees some keys of before and others of after. Versions of the
 * new keys are newer than any that was given out before, so that WATCH and compare-and-set notice.
 *
 * Keys that have expired are taken as well: it is the primary that deletes them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "actor.h"
#include "aof.h"
#include "aof_retell.h"
#include "args.h"
#include "feed.h"
#include "persistence.h"
#include "rdb.h"
#include "replication_internal.h"
#include "spool.h"

#define NEWLINE_INTERVAL_MS 1000
#define VERSIONS_APART      ((uint64_t)1 << 32)

typedef struct loading {
    replication *r;
    int64_t left;       /* bytes of the data set that are not yet received; -1: nobody knows */
    int64_t newline_ms; /* when the primary is to hear next that we are still there */
    bool link_failed;
    int file;          /* -1: there is none */
    bool to_file;      /* records are checked, and not taken */
    int file_error;    /* an errno */
    kv_store **stores; /* as many as the server has databases */
    int count;
    uint64_t keys;
    int stream_db;
    uint64_t left_out;
    char types[128];
} loading;

/* ---- the link as a source ---- */

/* A primary waits so long for a replica that reads; and one that loads says now and then that it does. */
static bool keep_alive(loading *l)
{
    int64_t now_ms = peer_clock_ms();

    if (now_ms < l->newline_ms)
        return true;
    l->newline_ms = now_ms + NEWLINE_INTERVAL_MS;
    return !replication_is_stale(l->r) &&
           peer_send(&l->r->link, KV_STR("\n"), replication_deadline(l->r)) == PEER_OK;
}

static void count_bytes(replication *r, size_t n)
{
    pthread_mutex_lock(&r->figures_lock);
    r->figures.sync_bytes += (int64_t)n;
    r->figures.last_heard_ms = peer_clock_ms();
    pthread_mutex_unlock(&r->figures_lock);
}

static bool write_file(loading *l, const char *bytes, size_t len)
{
    l->file_error = spool_write(l->r->server->faults, l->file, bytes, len);
    return l->file_error == 0;
}

static ssize_t read_file(void *arg, void *into, size_t max)
{
    loading *l = arg;
    ssize_t n;

    if (!keep_alive(l)) {
        l->link_failed = true;
        return -ECONNRESET;
    }
    n = spool_read(l->file, into, max);
    if (n < 0)
        l->file_error = (int)-n;
    return n;
}

static ssize_t read_link(void *arg, void *into, size_t max)
{
    loading *l = arg;
    peer *link = &l->r->link;
    size_t n;

    if (l->left == 0)
        return 0;
    if (!keep_alive(l) ||
        (link->len == 0 && peer_receive(link, SIZE_MAX, replication_deadline(l->r)) != PEER_OK)) {
        l->link_failed = true;
        return -ECONNRESET;
    }
    n = link->len < max ? link->len : max;
    if (l->left > 0 && (int64_t)n > l->left)
        n = (size_t)l->left;
    memcpy(into, link->data + link->start, n);
    if (l->to_file && !write_file(l, into, n))
        return -EIO;
    peer_take(link, n);
    if (l->left > 0)
        l->left -= (int64_t)n;
    count_bytes(l->r, n);
    return (ssize_t)n;
}

/* ---- records ---- */

static int put_record(loading *l, const rdb_record *record)
{
    server *s = l->r->server;
    kv_store *store = l->stores[record->db];
    int64_t now_ms = clock_ms();
    entry_parts parts = {
        .key = record->key,
        .value = record->value,
        .deadline_ms = record->deadline_ms,
        .access = store_access_known(s->databases.stores[record->db],
                                     record->idle_s < 0 ? -1 : record->idle_s * 1000, record->freq, now_ms),
    };
    int err = epoch_enter(s->domain);

    if (!err)
        err = store_put(store, store_key_of(store, record->key), &parts, now_ms);
    epoch_leave(s->domain);
    return err;
}

/* Keys of a type that we do not have, if they are to be left out. */
static void leave_out(loading *l, const char *type)
{
    size_t len = strlen(l->types), n = strlen(type);

    l->left_out++;
    for (const char *at = l->types; (at = strstr(at, type)); at += n)
        if ((at == l->types || at[-1] == ',') && (at[n] == ',' || !at[n]))
            return;
    if (len + n + 2 < sizeof l->types)
        snprintf(l->types + len, sizeof l->types - len, "%s%s", len ? "," : "", type);
}

static int take_item(loading *l, const rdb_item *item)
{
    const rdb_record *record = &item->record;
    int64_t number;

    switch (item->kind) {
    case RDB_DB:
    case RDB_STRING:
        if (record->db >= (unsigned)l->count)
            return replication_fail(l->r, "it has keys in database %u: set 'databases' to more than %d",
                                    record->db, l->count);
        if (item->kind == RDB_STRING && !l->to_file && put_record(l, record) != 0)
            return replication_fail(l->r, "out of memory for its data set");
        l->keys += item->kind == RDB_STRING;
        return 0;
    case RDB_AUX:
        if (kv_slice_equal(record->key, KV_STR("repl-stream-db")) && kv_parse_int(record->value, &number) &&
            number >= 0 && number < l->count)
            l->stream_db = (int)number;
        return 0;
    case RDB_PASSED:
        leave_out(l, item->type);
        return 0;
    }
    return 0;
}

static int fail_reading(loading *l, rdb_reader *reader)
{
    if (l->link_failed)
        return replication_fail_link(l->r, "the data set did not come to its end");
    if (l->file_error)
        return replication_fail(l->r, "the file for its data set, in 'dir': %s", strerror(l->file_error));
    return replication_fail(l->r, "its data set cannot be taken: byte %llu: %s",
                            (unsigned long long)rdb_reader_offset(reader), rdb_reader_reason(reader));
}

/* Behind a data set of unknown length stands the mark, and behind that the stream. */
static int check_mark(loading *l, rdb_reader *reader, const char mark[REPLICATION_ID_LEN])
{
    replication *r = l->r;
    peer *link = &r->link;

    if (peer_put_back(link, rdb_reader_rest(reader)) != PEER_OK)
        return replication_fail_link(r, "the end of the data set");
    while (link->len < REPLICATION_ID_LEN)
        if (peer_receive(link, SIZE_MAX, replication_deadline(r)) != PEER_OK)
            return replication_fail_link(r, "the end of the data set");
    if (memcmp(link->data + link->start, mark, REPLICATION_ID_LEN) != 0)
        return replication_fail(r, "its data set has no end mark");
    peer_take(link, REPLICATION_ID_LEN);
    return 0;
}

/* A reader of it; NULL after replication_fail. */
static rdb_reader *open_reader(loading *l, rdb_source_fn *source)
{
    config *c = l->r->server->config;
    rdb_read_options options = { .pass_unsupported = config_number(c, CONFIG_ID_rdb_skip_unsupported) != 0 };
    rdb_reader *reader = rdb_reader_new(&options, source, l);

    l->keys = l->left_out = 0;
    l->types[0] = '\0';
    if (!reader)
        replication_fail(l->r, "out of memory");
    return reader;
}

static int read_records(loading *l, rdb_reader *reader)
{
    rdb_item item;
    int more;

    while ((more = rdb_read(reader, &item)) > 0)
        if (take_item(l, &item) != 0)
            return -1;
    return more < 0 ? fail_reading(l, reader) : 0;
}

static int read_data_set(loading *l, const char mark[REPLICATION_ID_LEN])
{
    rdb_reader *reader = open_reader(l, read_link);
    bool known = l->left >= 0;
    int result;

    if (!reader)
        return -1;
    result = read_records(l, reader);
    if (result == 0 && known && (l->left > 0 || rdb_reader_rest(reader).len))
        result = replication_fail(l->r, "its data set ends before its last byte");
    else if (result == 0 && !known)
        result = check_mark(l, reader, mark);
    rdb_reader_free(reader);
    return result;
}

/* ---- the file ---- */

/* Whether the old and the new data set must not be there at once. */
static bool needs_file(const server *s)
{
    size_t keys = 0;

    for (int db = 0; db < s->databases.count; db++)
        keys += store_count(s->databases.stores[db]);
    return keys > 0 && config_number(s->config, CONFIG_ID_repl_diskless_load) != CONFIG_LOAD_SWAPDB;
}

static int open_file(loading *l)
{
    l->file = spool_open(l->r->server->faults);
    if (l->file < 0)
        return replication_fail(l->r, "a file for its data set, in 'dir': %s", strerror(-l->file));
    l->to_file = true;
    return 0;
}

static void close_file(loading *l)
{
    if (l->file >= 0)
        close(l->file);
    l->file = -1;
}

static int read_file_again(loading *l)
{
    rdb_reader *reader = open_reader(l, read_file);
    int result = -1;

    l->to_file = false;
    if (reader && lseek(l->file, 0, SEEK_SET) == 0)
        result = read_records(l, reader);
    rdb_reader_free(reader);
    return result;
}

/* ---- databases of our own ---- */

/* The exchange gives them what the server's databases were made of. A snapshot that is being read may still hold on to that, so
 * they live as long as the server, and are used again. */
static int make_stores(replication *r)
{
    server *s = r->server;
    kv_sharing sharing = (kv_sharing)config_number(s->config, CONFIG_ID_sharing);

    if (!r->spare)
        r->spare = calloc((size_t)s->databases.count, sizeof *r->spare);
    for (int i = 0; r->spare && i < s->databases.count; i++) {
        kv_store_options options = { .domain = s->domain,
                                     .sharing = sharing == KV_SHARING_ACTOR ? KV_SHARING_SHARDED : sharing,
                                     .version_start = (uint64_t)i,
                                     .version_step = (uint64_t)s->databases.count };

        if (!r->spare[i])
            r->spare[i] = kv_store_new(&options);
        if (!r->spare[i])
            return -1;
    }
    return r->spare ? 0 : -1;
}

/* Empty ones, whose versions are newer than all that were given out. */
static int open_stores(loading *l)
{
    server *s = l->r->server;
    uint64_t count = (uint64_t)s->databases.count, newest = (uint64_t)clock_ms() << 8;

    if (make_stores(l->r) != 0)
        return replication_fail(l->r, "out of memory");
    l->stores = l->r->spare;
    l->count = s->databases.count;
    for (int i = 0; i < l->count; i++)
        if (store_version(s->databases.stores[i]) > newest)
            newest = store_version(s->databases.stores[i]);
    newest = (newest + VERSIONS_APART) / count * count;
    for (int i = 0; i < l->count; i++)
        store_raise_version(l->stores[i], newest + (uint64_t)i);
    return 0;
}

/* What is left in them goes. */
static void close_stores(loading *l)
{
    for (int i = 0; i < l->count; i++)
        if (store_count(l->stores[i]) && store_clear(l->stores[i], true) != 0)
            replication_fail(l->r, "out of memory");
}

/* ---- the exchange ---- */

typedef struct exchange {
    actor_message message;
    loading *loading;
    notices notices;
    int err;
} exchange;

/* Everything of both is locked. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void exchange_held(exchange *x)
{
    loading *l = x->loading;
    kv_store **ours = l->r->server->databases.stores;

    x->err = store_clear_all(ours, (size_t)l->count, true);
    for (int i = 0; !x->err && i < l->count; i++)
        store_swap(l->stores[i], ours[i], clock_ms());
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held, kv_hold_held) static void exchange_all(exchange *x)
{
    loading *l = x->loading;
    store_hold *hold = store_hold_new(l->r->server->domain, 2 * (size_t)l->count);

    if (!hold) {
        x->err = KV_ENOMEM;
        return;
    }
    do {
        store_hold_begin(hold);
        for (int i = 0; i < l->count; i++) {
            store_hold_store(hold, l->r->server->databases.stores[i]);
            store_hold_store(hold, l->stores[i]);
        }
    } while (!store_hold_lock(hold));
    exchange_held(x);
    store_hold_release(hold);
    store_hold_free(hold);
}

static void run_exchange(actor_message *message)
{
    exchange *x = (exchange *)message;
    server *s = x->loading->r->server;

    notify_thread(&x->notices);
    x->err = epoch_enter(s->domain);
    if (!x->err)
        exchange_all(x);
    epoch_leave(s->domain);
    aof_rewrite_soon(s);
    feed_break(s, "the databases were exchanged for those of the primary");
    if (x->notices.some)
        notify_flush(s, NULL, &x->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

/* What is there goes, before what is in the file comes. */
static void run_emptying(actor_message *message)
{
    exchange *x = (exchange *)message;
    server *s = x->loading->r->server;

    notify_thread(&x->notices);
    x->err = epoch_enter(s->domain);
    if (!x->err)
        x->err = store_clear_all(s->databases.stores, (size_t)x->loading->count, false);
    epoch_leave(s->domain);
    feed_break(s, "the databases are emptied for those of the primary");
    if (x->notices.some)
        notify_flush(s, NULL, &x->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

/* On the thread that owns the databases. */
static int run_there(loading *l, actor_fn *run)
{
    server *s = l->r->server;
    exchange x = { .message.run = run, .loading = l, .notices = { .server = s, .of_primary = true } };

    if (s->actor)
        actor_call(s->actor, &x.message);
    else
        run(&x.message);
    return x.err;
}

/* With goal_lock. KV_ECOND: the goal has changed. */
static int run_for_goal(loading *l, actor_fn *run)
{
    if (l->r->goal != l->r->serving)
        return KV_ECOND;
    l->r->has_history = false;
    return run_there(l, run);
}

/* On the thread that has emptied them, and without a lock that a reader may wait for: their memory is there again. */
static void run_freeing(actor_message *message)
{
    exchange *x = (exchange *)message;

    epoch_drain(x->loading->r->server->domain);
    domain_trim(x->loading->r->server->domain);
}

static void note_visit(worker *w)
{
    atomic_fetch_add(&w->server->replication->visits, 1);
}

/* Batches that began before clients were refused have ended. (Workers that have ended are not waited for: the goal has changed.) */
static void wait_for_batches(replication *r)
{
    const struct timespec pause = { .tv_nsec = 200000 };
    server *s = r->server;

    for (int i = 0; i < s->worker_count; i++)
        r->visits_asked += worker_call(&s->workers[i], note_visit) == 0;
    while (atomic_load(&r->visits) < r->visits_asked && !replication_is_stale(r))
        nanosleep(&pause, NULL);
}

/* The databases are empty, and clients are refused, when it returns 0. */
static int empty_ours(loading *l)
{
    replication *r = l->r;
    int err;

    persistence_show_loading(r->server->persistence, true);
    wait_for_batches(r);
    pthread_mutex_lock(&r->goal_lock);
    err = run_for_goal(l, run_emptying);
    pthread_mutex_unlock(&r->goal_lock);
    if (!err)
        run_there(l, run_freeing);
    if (err == KV_ENOMEM)
        return replication_fail(r, "out of memory");
    return err ? -1 : 0;
}

/* Puts what was loaded in place of what is there, unless the goal has changed. */
static int put_in_place(loading *l, int64_t offset)
{
    replication *r = l->r;
    int err;

    pthread_mutex_lock(&r->goal_lock);
    err = run_for_goal(l, run_exchange);
    if (!err) {
        stream_reset(r->stream, l->stream_db, offset);
        r->has_history = true;
        replication_begin_relay(r, offset, l->left_out == 0);
    }
    pthread_mutex_unlock(&r->goal_lock);
    if (err == KV_ENOMEM)
        return replication_fail(r, "out of memory");
    return err ? -1 : 0;
}

/* ---- the log of changes ---- */

static bool still_there(void *arg)
{
    return keep_alive(arg);
}

/* The exchange told the log only that the databases were emptied. Until it knows all of what is in them now, a start from the log gives a
 * part of the data set; a replica then fetches all of it again. */
static int tell_log(loading *l)
{
    int err = aof_retell(l->r->server, true, still_there, l);

    if (!err)
        return 0;
    l->r->has_history = false;
    return err == KV_ENOMEM ? replication_fail(l->r, "out of memory") : -1;
}

/* ---- all of it ---- */

static void show_beginning(replication *r, int64_t bytes)
{
    pthread_mutex_lock(&r->figures_lock);
    r->figures.sync_total = bytes;
    r->figures.sync_bytes = 0;
    pthread_mutex_unlock(&r->figures_lock);
}

static void show_end(const loading *l)
{
    replication *r = l->r;

    pthread_mutex_lock(&r->figures_lock);
    r->figures.keys_left_out = l->left_out;
    memcpy(r->figures.types_left_out, l->types, sizeof l->types);
    pthread_mutex_unlock(&r->figures_lock);
    log_write(&r->server->log, CONFIG_LOG_NOTICE, "The data set of %s:%d is in place: %llu keys", r->to_host,
              r->to_port, (unsigned long long)l->keys);
    if (l->left_out)
        log_write(&r->server->log, CONFIG_LOG_WARNING,
                  "Not replicated: %llu keys or functions of types that this server does not have: %s",
                  (unsigned long long)l->left_out, l->types);
}

/* It has come as a whole. */
static int put_all_in_place(loading *l, int64_t offset)
{
    persistence *p = l->r->server->persistence;
    bool refuses = l->file >= 0;
    int result;

    persistence_hold_off(p); /* what is exchanged now is freed then */
    result = refuses ? empty_ours(l) : 0;
    if (result == 0 && refuses)
        result = read_file_again(l);
    if (result == 0)
        result = put_in_place(l, offset);
    if (refuses)
        persistence_show_loading(p, false);
    if (result == 0)
        result = tell_log(l);
    if (result == 0)
        show_end(l);
    close_stores(l);
    persistence_unclaim(p);
    return result;
}

int replication_load(replication *r, int64_t bytes, const char mark[REPLICATION_ID_LEN], int64_t offset)
{
    loading l = { .r = r, .left = bytes, .file = -1, .newline_ms = peer_clock_ms() + NEWLINE_INTERVAL_MS };
    int result;

    show_beginning(r, bytes);
    result = open_stores(&l);
    if (result == 0 && needs_file(r->server))
        result = open_file(&l);
    if (result == 0)
        result = read_data_set(&l, mark);
    if (result == 0)
        result = put_all_in_place(&l, offset);
    else
        close_stores(&l);
    close_file(&l);
    return result;
}
