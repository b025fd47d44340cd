/* persistence_load.c - what there is at the start, a snapshot or a log: loaded on all cores, while the workers listen and answer
 * -LOADING.
 *
 *     persistence_prepare: SERVER_LOADING -> listen -> task: load -> start the log -> server_complete -> serve
 *
 * A file that cannot be read as a whole ends the process, and is left as it is: half of the data are worse than none.
 *
 * Until server_complete nothing of it is a change: nobody is told, no key expires (a later command of a log may still change
 * it), nothing is evicted. Changes are told before the first client may make one.
 *
 * Who stops the server meanwhile need not wait: each record asks persistence_goes_on, which also makes it take as
 * long as key-load-delay says, so that a test can see a server load.
 *
 * Threads: the task's, and one that says once a second how far it is. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "aof.h"
#include "persistence_internal.h"

#define PROGRESS_MS   1000
#define DELAY_STEP_NS 5000000 /* a delay ends when it is set to 0 */

persistence_progress persistence_loaded_so_far(persistence *p)
{
    const rdb_load *load = &p->load;
    persistence_progress progress = { atomic_load(&load->bytes_done), atomic_load(&load->bytes_total),
                                      atomic_load(&load->keys_loaded), atomic_load(&load->keys_expired) };
    aof_figures figures;

    if (p->loads_log && persistence_is_loading(p)) {
        aof_read_figures(p->server, &figures);
        progress.bytes = figures.loaded_bytes;
        progress.bytes_total = figures.total_bytes;
    }
    return progress;
}

static void say_progress(persistence *p)
{
    persistence_progress progress = persistence_loaded_so_far(p);

    if (p->loads_log)
        log_write(&p->server->log, CONFIG_LOG_NOTICE, "Loading the log: %llu of %llu bytes",
                  (unsigned long long)progress.bytes, (unsigned long long)progress.bytes_total);
    else
        log_write(&p->server->log, CONFIG_LOG_NOTICE, "Loading: %llu keys, %llu of %llu bytes",
                  (unsigned long long)progress.keys, (unsigned long long)progress.bytes,
                  (unsigned long long)progress.bytes_total);
}

/* Says once a second how far it is. */
static void *report_progress(void *arg)
{
    persistence *p = arg;
    int waited_ms = 0;

    while (persistence_is_loading(p) && !atomic_load(&p->ending)) {
        struct timespec pause = { 0, 20000000 };

        nanosleep(&pause, NULL);
        waited_ms += 20;
        if (waited_ms % PROGRESS_MS == 0)
            say_progress(p);
    }
    return NULL;
}

/* As Redis: microseconds for each record, or with -n one for every n. */
static void delay(persistence *p)
{
    const config *c = p->server->config;
    uint64_t start_ns = clock_ns();
    int64_t us, left_ns;

    while ((us = config_number(c, CONFIG_ID_key_load_delay)) != 0 && !atomic_load(&p->ending)) {
        if (us < 0)
            us = ++p->undelayed % (uint64_t)-us == 0;
        left_ns = us * 1000 - (int64_t)(clock_ns() - start_ns);
        if (left_ns <= 0)
            break;
        nanosleep(&(struct timespec){ 0, left_ns < DELAY_STEP_NS ? left_ns : DELAY_STEP_NS }, NULL);
    }
}

bool persistence_goes_on(void *arg)
{
    persistence *p = arg;

    if (__builtin_expect(config_number(p->server->config, CONFIG_ID_key_load_delay) != 0, 0))
        delay(p);
    return !atomic_load_explicit(&p->ending, memory_order_relaxed);
}

static void end_loading(persistence *p)
{
    uint64_t changes = persistence_count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->loading = false;
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

int persistence_load(persistence *p)
{
    server *s = p->server;
    char *path = persistence_path(s);
    rdb_load *load = &p->load;
    uint64_t start = clock_ns();
    int err;

    load->stores = s->databases.stores;
    load->count = s->databases.count;
    load->threads = s->worker_count;
    load->now_ms = clock_ms();
    load->go_on = persistence_goes_on;
    load->arg = p;
    atomic_store(&load->keys_loaded, 0);
    atomic_store(&load->keys_expired, 0);
    atomic_store(&load->keys_passed, 0);
    atomic_store(&load->bytes_done, 0);
    load->passed[0] = '\0';
    load->options =
        (rdb_read_options){ .pass_unsupported = config_number(s->config, CONFIG_ID_rdb_skip_unsupported) != 0,
                            .no_checksum = !config_number(s->config, CONFIG_ID_rdbchecksum) };
    err = path ? rdb_load_file(load, path, NULL) : RDB_ENOMEM;
    free(path);
    if (err == RDB_ESTOPPED)
        return -1;
    if (err < 0) {
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "Fatal error loading the DB: %s. Nothing was served, and the file is as it was.",
                  load->reason);
        if (err == RDB_EUNSUPPORTED)
            log_write(&s->log, CONFIG_LOG_WARNING,
                      "With rdb-skip-unsupported yes, keys of types that are not supported are left out.");
        return -1;
    }
    if (err == 0)
        log_write(&s->log, CONFIG_LOG_NOTICE, "DB loaded from disk: %llu keys (%llu expired) in %.3f seconds",
                  (unsigned long long)atomic_load(&load->keys_loaded),
                  (unsigned long long)atomic_load(&load->keys_expired), (double)(clock_ns() - start) / 1e9);
    if (err == 0 && atomic_load(&load->keys_passed))
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "Left out %llu keys or functions of types that are not supported: %s",
                  (unsigned long long)atomic_load(&load->keys_passed), load->passed);
    return 0;
}

static int load_log(persistence *p)
{
    server *s = p->server;

    if (aof_load(s, persistence_goes_on, p) == 0)
        return 0;
    if (!atomic_load(&p->ending))
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "The log of changes cannot be used, exiting. See kvserver --check-log.");
    return -1;
}

static void load_all(persistence *p)
{
    int err = p->loads_log ? load_log(p) : persistence_load(p);

    if (atomic_load(&p->ending)) {
        log_write(&p->server->log, CONFIG_LOG_NOTICE, "The server ends while it is loading");
        return;
    }
    /* Without a log, too: it may be switched on later. */
    if (err || aof_start(p->server) != 0) {
        log_write(&p->server->log, CONFIG_LOG_WARNING, "Exiting.");
        _exit(1);
    }
    server_complete(p->server); /* first: from then on anybody may find that clients can be served */
    end_loading(p);
    persistence_apply(p->server);
    server_loaded(p->server);
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->loaded);
    pthread_mutex_unlock(&p->lock);
}

void persistence_load_first(persistence *p)
{
    pthread_t reporter;
    bool reports = pthread_create(&reporter, NULL, report_progress, p) == 0;

    load_all(p);
    if (reports)
        pthread_join(reporter, NULL);
}
