/* persistence_load.c - the snapshot at the start: loaded on all cores, while the workers listen and answer -LOADING.
 *
 * A file that cannot be read as a whole ends the process, and is left as it is: half of the data are worse than none.
 *
 * Threads: the task's, and one that says once a second how far it is. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "persistence_internal.h"

#define PROGRESS_MS 1000

/* Says once a second how far it is. */
static void *report_progress(void *arg)
{
    persistence *p = arg;
    int waited_ms = 0;

    while (persistence_is_loading(p)) {
        struct timespec pause = { 0, 20000000 };

        nanosleep(&pause, NULL);
        waited_ms += 20;
        if (waited_ms % PROGRESS_MS == 0)
            log_write(&p->server->log, CONFIG_LOG_NOTICE, "Loading: %llu keys, %llu of %llu bytes",
                      (unsigned long long)atomic_load(&p->load.keys_loaded),
                      (unsigned long long)atomic_load(&p->load.bytes_done),
                      (unsigned long long)atomic_load(&p->load.bytes_total));
    }
    return NULL;
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

void persistence_load_first(persistence *p)
{
    pthread_t reporter;
    bool reports = pthread_create(&reporter, NULL, report_progress, p) == 0;

    if (persistence_load(p) != 0) {
        log_write(&p->server->log, CONFIG_LOG_WARNING, "Exiting.");
        _exit(1);
    }
    end_loading(p);
    persistence_apply(p->server);
    server_loaded(p->server);
    if (reports)
        pthread_join(reporter, NULL);
}
