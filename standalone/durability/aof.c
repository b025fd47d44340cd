/* aof.c - the life of the log: loading it, going on with it, its figures. See aof_task.c for what it does meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_internal.h"
#include "notify.h"
#include "steady_cond.h"

/* ---- changes ---- */

static int index_of(const server *s, const void *tag)
{
    return (int)((kv_store *const *)tag - s->databases.stores);
}

void aof_note(server *s, aof_writer *writer, const kv_change *change)
{
    aof *a = s->aof;
    unsigned age = atomic_load_explicit(&a->age, memory_order_relaxed);

    if (writer->age != age) { /* it may have begun an act of whose end nobody was told */
        aof_writer_restart(writer);
        writer->age = age;
    }
    if (atomic_load_explicit(&a->deaf, memory_order_relaxed))
        return;
    aof_buffer_note(&a->buffer, writer, change, index_of(s, change->tag),
                    change->kind == KV_CHANGE_SWAP ? index_of(s, change->other_tag) : 0);
}

bool aof_note_put(server *s, aof_writer *writer, const store_put_told *put)
{
    aof *a = s->aof;

    return writer->age == atomic_load_explicit(&a->age, memory_order_relaxed) &&
           !atomic_load_explicit(&a->deaf, memory_order_relaxed) &&
           aof_buffer_note_put(&a->buffer, writer, put, index_of(s, put->tag));
}

/* ---- configuration ---- */

static void read_config(aof *a)
{
    config *c = a->server->config;

    atomic_store(&a->policy, (int)config_number(c, CONFIG_ID_appendfsync));
    atomic_store(&a->action, (int)config_number(c, CONFIG_ID_aof_error_action));
    atomic_store(&a->no_sync_while_rewriting, config_number(c, CONFIG_ID_no_appendfsync_on_rewrite) != 0);
    atomic_store(&a->buffer_max, (uint64_t)config_number(c, CONFIG_ID_aof_buffer_limit));
    atomic_store(&a->prepare_bytes, (uint64_t)config_number(c, CONFIG_ID_aof_prepare_bytes));
}

/* Begins to tell changes, and a rewrite that makes the base. */
static int switch_on(aof *a, config_error *error)
{
    server *s = a->server;
    int err;

    atomic_fetch_add(&a->age, 1);
    atomic_store(&a->state, AOF_WAITING);
    atomic_store(&s->aof_guards, true);
    notify_apply(s);
    err = aof_rewrite_start(s);
    if (!err || err == -EBUSY) /* a base is being written by itself: aof_tick begins the rewrite */
        return 0;
    atomic_store(&s->aof_guards, false);
    notify_apply(s);
    atomic_store(&a->state, AOF_OFF);
    snprintf(error->text, sizeof error->text, "Unable to turn on AOF. Check server logs.");
    return -1;
}

/* Ends the telling; the task writes what was told, and closes the file. */
static void switch_off(aof *a)
{
    atomic_store(&a->server->aof_guards, false);
    notify_apply(a->server);
    atomic_store(&a->stop_rewriting, true);
    pthread_mutex_lock(&a->lock);
    a->ending = true;
    pthread_mutex_unlock(&a->lock);
    aof_ask(a);
}

int aof_apply_config(server *s, config_error *ret_error)
{
    aof *a = s->aof;
    bool wanted = config_number(s->config, CONFIG_ID_appendonly) != 0;

    read_config(a);
    if (atomic_load(&a->loading)) {
        if (!wanted)
            snprintf(ret_error->text, sizeof ret_error->text, "the log is being loaded");
        return wanted ? 0 : -1;
    }
    if (wanted && !aof_listens(s)) {
        if (atomic_load(&a->state) != AOF_OFF) {
            snprintf(ret_error->text, sizeof ret_error->text, "it is just being switched off, try again");
            return -1;
        }
        return switch_on(a, ret_error);
    }
    if (!wanted && aof_listens(s))
        switch_off(a);
    aof_ask(a); /* what waits may have less to wait for */
    return 0;
}

/* Copies a name of a file or directory. */
static int take_name(aof *a, enum config_id id, char name[AOF_NAME_MAX])
{
    char *text = config_text(a->server->config, id);
    int err = text && *text && strlen(text) < AOF_NAME_MAX && !strchr(text, '/') ? 0 : -1;

    if (!err)
        strcpy(name, text);
    else
        log_write(&a->server->log, CONFIG_LOG_WARNING, "%s must be a name, not a path, of less than %d bytes",
                  config_directives[id].name, AOF_NAME_MAX);
    free(text);
    return err;
}

/* ---- life ---- */

static void say(void *arg, aof_saying how, const char *text)
{
    server *s = arg;

    log_write(&s->log, how == AOF_WARNING ? CONFIG_LOG_WARNING : CONFIG_LOG_NOTICE, "%s", text);
}

int aof_new(server *s)
{
    aof *a = calloc(1, sizeof *a);

    if (!a)
        return -1;
    s->aof = a;
    a->server = s;
    a->file.fd = -1;
    a->log = (aof_log){ .directory = a->directory, .prefix = a->prefix, .say = say, .arg = s };
    a->log.faults = fault_plan_new(getenv("KV_AOF_FAULTS"));
    aof_buffer_init(&a->buffer);
    atomic_store(&a->write_ok, true);
    pthread_mutex_init(&a->file_lock, NULL);
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->reason_lock, NULL);
    pthread_mutex_init(&a->rewriter_lock, NULL);
    steady_cond_init(&a->wake);
    pthread_cond_init(&a->was_rotated, NULL);
    atomic_store(&a->rewrite_ok, true);
    atomic_store(&a->last_rewrite_s, -1);
    read_config(a);
    return 0;
}

void aof_free(server *s)
{
    aof *a = s->aof;

    if (!a)
        return;
    aof_file_close(&a->file);
    aof_queue_clear(&a->batch);
    aof_buffer_done(&a->buffer);
    aof_log_close(&a->log);
    fault_plan_free(a->log.faults);
    pthread_mutex_destroy(&a->file_lock);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->reason_lock);
    pthread_mutex_destroy(&a->rewriter_lock);
    pthread_cond_destroy(&a->wake);
    pthread_cond_destroy(&a->was_rotated);
    free(a);
    s->aof = NULL;
}

/* ---- loading ---- */

/* Where the log and what is loaded of it stand. */
static void note_end(aof *a, const aof_end *end)
{
    uint64_t cut = end->torn_bytes + end->filler_bytes,
             all = end->bytes > cut ? end->bytes - cut : end->bytes;

    atomic_store(&a->base_bytes, all);
    atomic_store(&a->older_bytes, end->has_last && all > a->file.size ? all - a->file.size
                                  : end->has_last                     ? 0
                                                                      : all);
    atomic_store(&a->file_bytes, a->file.size);
    atomic_store(&a->sequence, a->file.sequence - 1);
}

/* The base, in RDB format, on as many threads as there are workers. Keys whose deadline has passed are kept: commands that
 * follow may refer to them. */
static aof_log_found load_base(void *arg, const char *path, uint64_t *ret_bytes)
{
    aof *a = arg;
    server *s = a->server;
    rdb_load *load = &a->base;
    int err = rdb_load_file(load, path, ret_bytes);

    if (err == RDB_ESTOPPED)
        return AOF_LOG_STOPPED;
    if (err)
        log_write(&s->log, CONFIG_LOG_WARNING, "The base of the log cannot be loaded: %s",
                  err > 0 ? "it is not there" : load->reason);
    else if (atomic_load(&load->keys_passed))
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "Left out %llu keys or functions of types that are not supported: %s",
                  (unsigned long long)atomic_load(&load->keys_passed), load->passed);
    return err ? AOF_LOG_REFUSED : AOF_LOG_LOADED;
}

static void prepare_base(aof *a, const aof_load_options *load)
{
    server *s = a->server;

    a->base.stores = s->databases.stores;
    a->base.count = s->databases.count;
    a->base.threads = s->worker_count;
    a->base.options = (rdb_read_options){
        .pass_unsupported = config_number(s->config, CONFIG_ID_rdb_skip_unsupported) != 0,
    };
    a->base.now_ms = INT64_MIN;
    a->base.used_ms = load->now_ms;
    a->base.go_on = load->go_on;
    a->base.arg = load->go_on_arg;
}

static aof_load_options how_to_load(aof *a, const kv_databases *databases, bool (*go_on)(void *arg),
                                    void *arg)
{
    server *s = a->server;
    aof_load_options load = {
        .databases = databases,
        .now_ms = clock_ms(),
        .threads = s->worker_count,
        .load_rdb = load_base,
        .rdb_arg = a,
        .loaded_bytes = &a->loaded_bytes,
        .go_on = go_on,
        .go_on_arg = arg,
    };

    prepare_base(a, &load);
    return load;
}

/* The log has been opened: loads its files, and opens the last one to go on. */
static int load_and_continue(aof *a, const aof_load_options *load, aof_end *end)
{
    server *s = a->server;
    uint64_t start_ns = clock_ns();

    atomic_store(&a->total_bytes, aof_log_bytes(&a->log));
    if (aof_log_load(&a->log, load, end) != AOF_LOG_LOADED)
        return -1;
    log_write(&s->log, CONFIG_LOG_NOTICE,
              "DB loaded from append only file: %.3f seconds, %llu commands, %llu bytes",
              (double)(clock_ns() - start_ns) / 1e9, (unsigned long long)end->commands,
              (unsigned long long)end->bytes);
    return aof_log_continue(&a->log, end, &a->file) == 0 ? 0 : -1;
}

/* There is no log: the databases begin empty, whatever else there is. As Redis; but that may not be what was meant. */
static void warn_of_snapshot(server *s)
{
    char *path = config_text(s->config, CONFIG_ID_dbfilename);

    if (path && access(path, F_OK) == 0)
        log_write(
            &s->log, CONFIG_LOG_WARNING,
            "appendonly is yes, and there is no log yet: the data set begins empty, and '%s' is not loaded. "
            "To "
            "give a log to what is in it, start with appendonly no, then say CONFIG SET appendonly yes.",
            path);
    free(path);
}

int aof_prepare(server *s)
{
    aof *a = s->aof;

    if (take_name(a, CONFIG_ID_appenddirname, a->directory) != 0 ||
        take_name(a, CONFIG_ID_appendfilename, a->prefix) != 0)
        return -1;
    atomic_store(&a->loading, config_number(s->config, CONFIG_ID_appendonly) != 0);
    return 0;
}

int aof_load(server *s, bool (*go_on)(void *arg), void *arg)
{
    aof *a = s->aof;
    /* What FLUSHALL has to do beside emptying them was done when it was logged. */
    const kv_databases databases = { .stores = s->databases.stores, .count = s->databases.count };
    aof_load_options load = how_to_load(a, &databases, go_on, arg);
    aof_end end = { .last.fd = -1, .next = 1 };
    int err;

    load.cut_tail = config_number(s->config, CONFIG_ID_aof_load_truncated) != 0;
    pthread_mutex_lock(&a->file_lock);
    err = aof_log_open(&a->log);
    if (err == -ENOENT)
        warn_of_snapshot(s);
    if (err == -ENOENT)
        err = aof_log_continue(&a->log, &end, &a->file);
    else if (!err)
        err = load_and_continue(a, &load, &end);
    if (!err)
        note_end(a, &end);
    pthread_mutex_unlock(&a->file_lock);
    return err ? -1 : 0;
}

int aof_flush(server *s)
{
    aof *a = s->aof;
    int err = -EIO;

    pthread_mutex_lock(&a->file_lock);
    if (atomic_load(&a->state) == AOF_ON && !a->spoilt && !a->retry)
        err = aof_commit(a);
    if (!err)
        err = aof_sync(a);
    pthread_mutex_unlock(&a->file_lock);
    return err ? -1 : 0;
}

int aof_reload(server *s, bool (*go_on)(void *arg), void *arg)
{
    aof *a = s->aof;
    const kv_databases databases = { .stores = s->databases.stores, .count = s->databases.count };
    aof_load_options load = how_to_load(a, &databases, go_on, arg);
    aof_log files = {
        .directory = a->directory, .prefix = a->prefix, .faults = a->log.faults, .say = say, .arg = s
    };
    aof_end end = { .last.fd = -1, .next = 1 };
    int err;

    atomic_store(&a->loaded_bytes, 0);
    pthread_mutex_lock(&a->file_lock); /* while it is read, no mark is set behind it */
    err = aof_log_open(&files);
    if (!err)
        err = aof_log_load(&files, &load, &end) == AOF_LOG_LOADED ? 0 : -1;
    aof_log_close(&files);
    pthread_mutex_unlock(&a->file_lock);
    return err ? -1 : 0;
}

int aof_start(server *s)
{
    aof *a = s->aof;

    if (atomic_load(&a->loading)) {
        atomic_store(&a->state, AOF_ON);
        atomic_store(&s->aof_guards, true);
        atomic_store(&a->loading, false);
    }
    a->started = pthread_create(&a->task, NULL, aof_task, a) == 0;
    if (!a->started)
        log_write(&s->log, CONFIG_LOG_WARNING, "Can't start the thread of the log");
    return a->started ? 0 : -1;
}

void aof_stop(server *s)
{
    aof *a = s->aof;

    if (!a || !a->started)
        return;
    aof_rewrite_stop(a);
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_signal(&a->wake);
    pthread_join(a->task, NULL);
    a->started = false;
    if (atomic_load(&a->state) == AOF_ON)
        log_write(&s->log, CONFIG_LOG_NOTICE, "The log of changes is on disk up to batch %llu",
                  (unsigned long long)atomic_load(&a->sequence));
}

/* ---- figures ---- */

uint64_t aof_position(server *s)
{
    return aof_buffer_appended(&s->aof->buffer);
}

bool aof_is_synced(server *s, uint64_t position)
{
    /* While it is being switched on the files are worth nothing yet. */
    return atomic_load(&s->aof->state) == AOF_ON && atomic_load(&s->aof->synced) >= position;
}

kv_slice aof_refusal(server *s, char text[AOF_REFUSAL_MAX])
{
    aof *a = s->aof;
    int n;

    pthread_mutex_lock(&a->reason_lock);
    n = snprintf(text, AOF_REFUSAL_MAX, "MISCONF Errors writing to the AOF file: %s", a->reason);
    pthread_mutex_unlock(&a->reason_lock);
    return kv_slice_of(text, (size_t)n);
}

void aof_read_figures(server *s, aof_figures *f)
{
    aof *a = s->aof;
    uint64_t appended = aof_buffer_appended(&a->buffer), written = atomic_load(&a->written);

    *f = (aof_figures){
        .enabled = atomic_load(&a->loading) || atomic_load(&a->state) != AOF_OFF,
        .rewriting = atomic_load(&a->rewriting),
        .rewrite_scheduled = atomic_load(&a->scheduled),
        .last_rewrite_ok = atomic_load(&a->rewrite_ok),
        .last_write_ok = atomic_load(&a->write_ok),
        .last_rewrite_s = atomic_load(&a->last_rewrite_s),
        .current_rewrite_s = -1,
        .rewrites = atomic_load(&a->rewrites),
        .rewrites_failed_in_a_row = atomic_load(&a->rewrites_failed),
        .current_bytes = atomic_load(&a->older_bytes) + atomic_load(&a->file_bytes),
        .base_bytes = atomic_load(&a->base_bytes),
        .buffered_bytes = appended > written ? appended - written : 0,
        .syncing = atomic_load(&a->syncing),
        .delayed_syncs = atomic_load(&a->delayed_syncs),
        .syncs = atomic_load(&a->syncs),
        .batches = atomic_load(&a->batches),
        .batch_sequence = atomic_load(&a->sequence),
        .loaded_bytes = atomic_load(&a->loaded_bytes),
        .total_bytes = atomic_load(&a->total_bytes),
    };
    if (!f->loaded_bytes) /* the base is read, yet */
        f->loaded_bytes = atomic_load(&a->base.bytes_done);
    if (f->rewriting)
        f->current_rewrite_s = (int64_t)((clock_ns() - atomic_load(&a->rewrite_started_ns)) / 1000000000);
    pthread_mutex_lock(&a->reason_lock);
    strcpy(f->reason, a->reason);
    pthread_mutex_unlock(&a->reason_lock);
}
