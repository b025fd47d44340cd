/* rdb_save.c - writing a snapshot to a file, or to whoever takes it. SPDX-License-Identifier: MIT */
#include "rdb_save.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SYNC_EVERY (8u << 20)
#define STOP       2 /* what write_record returns when it failed */

typedef struct file {
    rdb_save *save;
    int fd;
    uint64_t written, handed_over; /* to the disk, by sync_file_range */
    char temp[4096 + 32];
    const char *doing; /* for the reason */
} file;

/* ---- the file ---- */

/* Starts to write what has come together, and waits for what was started the time before: there is never much left. */
static void hand_over(file *f)
{
    uint64_t before = f->handed_over;

    if (!f->save->incremental_sync || f->written - before < SYNC_EVERY)
        return;
    sync_file_range(f->fd, (off_t)before, (off_t)(f->written - before), SYNC_FILE_RANGE_WRITE);
    if (before > 0)
        sync_file_range(f->fd, 0, (off_t)before, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
    f->handed_over = f->written;
}

static int write_all(void *arg, const void *bytes, size_t len)
{
    file *f = arg;
    const char *from = bytes;

    while (len > 0) {
        ssize_t n = fault_write(f->save->faults, f->fd, from, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        from += n;
        len -= (size_t)n;
        f->written += (size_t)n;
    }
    hand_over(f);
    return 0;
}

int rdb_sync_directory(fault_plan *faults, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = name ? fault_open(faults, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -1, err = 0;

    if (fd < 0 || fault_fsync(faults, fd) != 0)
        err = errno;
    if (fd >= 0)
        close(fd);
    free(name);
    return err;
}

/* ---- the content ---- */

typedef struct content {
    rdb_save *save;
    rdb_writer *writer;
    const snapshot *snap;
    size_t db; /* of the last record; SIZE_MAX: there was none */
    bool *announced;
    int error; /* of the writer */
    rdb_sink_fn *sink;
    void *arg;
    uint64_t written;
    struct timespec start;
} content;

static int64_t elapsed_ns(const content *c)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)(now.tv_sec - c->start.tv_sec) * 1000000000 + (now.tv_nsec - c->start.tv_nsec);
}

/* Sleeps until as much time has passed as what was written may take. */
static void keep_to_rate(const content *c)
{
    uint64_t rate = c->save->bytes_per_second;
    int64_t due_ns = rate ? (int64_t)((double)c->written / (double)rate * 1e9) : 0, early_ns;

    while (rate && (early_ns = due_ns - elapsed_ns(c)) > 1000000 &&
           !atomic_load_explicit(&c->save->cancel, memory_order_relaxed)) {
        struct timespec pause = { 0, early_ns < 50000000 ? early_ns : 50000000 };

        nanosleep(&pause, NULL);
    }
}

static int hand_on(void *arg, const void *bytes, size_t len)
{
    content *c = arg;
    int err = c->sink(c->arg, bytes, len);

    if (err)
        return err;
    c->written += len;
    keep_to_rate(c);
    atomic_store_explicit(&c->save->bytes_done, c->written, memory_order_relaxed);
    return 0;
}

static int write_head(content *c)
{
    const rdb_save *save = c->save;
    rdb_writer *w = c->writer;

    rdb_write_aux(w, KV_STR("redis-ver"), kv_str(save->version));
    rdb_write_aux_int(w, KV_STR("redis-bits"), (int64_t)sizeof(void *) * 8);
    rdb_write_aux_int(w, KV_STR("ctime"), save->now_ms / 1000);
    rdb_write_aux_int(w, KV_STR("used-mem"), (int64_t)save->used_memory);
    if (save->stream_db)
        rdb_write_aux_int(w, KV_STR("repl-stream-db"), (int64_t)save->stream_db - 1);
    return rdb_write_aux_int(w, KV_STR("aof-base"), save->aof_base);
}

static int change_db(content *c, size_t db)
{
    bool first = !c->announced[db];

    c->db = db;
    c->announced[db] = true;
    return rdb_write_db(c->writer, (unsigned)db, first ? snapshot_keys(c->snap, db) : 0,
                        first ? snapshot_keys_with_deadline(c->snap, db) : 0);
}

static int64_t idle_s(const content *c, uint32_t access)
{
    uint32_t units = (store_access_clock(c->save->now_ms) - access) & 0xffffff;

    return units > 0xffffff - 64 ? 0 : (int64_t)units * STORE_ACCESS_MS / 1000;
}

static int write_record(void *arg, const snapshot_record *from)
{
    content *c = arg;
    rdb_record record = { .key = from->key,
                          .value = from->value,
                          .deadline_ms = from->deadline_ms,
                          .idle_s = c->save->use == RDB_USE_IDLE ? idle_s(c, from->access) : RDB_IDLE_NONE,
                          .freq = c->save->use == RDB_USE_FREQ ? (int)(from->access & 255) : RDB_FREQ_NONE };

    if (from->store != c->db)
        change_db(c, from->store);
    c->error = rdb_write_string(c->writer, &record);
    if (atomic_load_explicit(&c->save->cancel, memory_order_relaxed))
        c->error = ECANCELED;
    atomic_store_explicit(&c->save->keys_done,
                          atomic_load_explicit(&c->save->keys_done, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return c->error ? STOP : 0;
}

/* 0 or an errno. */
static int write_content(content *c, snapshot *snap)
{
    int err = write_head(c), more;

    if (err)
        return err;
    while ((more = snapshot_next(snap, write_record, c)) == 1)
        ;
    if (more == STOP)
        return c->error;
    if (more < 0)
        return more == KV_ENOMEM ? ENOMEM : EOVERFLOW;
    return rdb_write_end(c->writer);
}

int rdb_save_to(rdb_save *save, snapshot *snap, size_t n, rdb_sink_fn *sink, void *arg)
{
    content c = { .save = save, .snap = snap, .db = SIZE_MAX, .sink = sink, .arg = arg };
    int err = ENOMEM;

    clock_gettime(CLOCK_MONOTONIC, &c.start);
    c.announced = calloc(n, sizeof *c.announced);
    c.writer = rdb_writer_new(&save->format, hand_on, &c);
    if (c.announced && c.writer)
        err = write_content(&c, snap);
    rdb_writer_free(c.writer);
    free(c.announced);
    return err;
}

/* ---- step by step ---- */

const char *rdb_save_error(int err)
{
    return err == EOVERFLOW ? "more was overwritten meanwhile than snapshot-keep-bytes allows to keep"
                            : strerror(err);
}

static int fail(const file *f, int err)
{
    rdb_save *save = f->save;

    snprintf(save->reason, sizeof save->reason, "%s %.120s: %s", f->doing, f->temp, rdb_save_error(err));
    return err;
}

static int open_temp(file *f)
{
    const char *slash = strrchr(f->save->path, '/');
    int directory = slash ? (int)(slash - f->save->path) + 1 : 0;

    snprintf(f->temp, sizeof f->temp, "%.*stemp-%d.rdb", directory, f->save->path, (int)getpid());
    f->doing = "opening";
    f->fd = fault_open(f->save->faults, f->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return f->fd < 0 ? errno : 0;
}

/* The file is written and open; it takes the place of the old one. */
static int put_in_place(file *f)
{
    rdb_save *save = f->save;

    f->doing = "syncing";
    if (fault_fsync(save->faults, f->fd) != 0)
        return errno;
    fault_point(save->faults, "rdb-synced");
    f->doing = "renaming";
    if (fault_rename(save->faults, f->temp, save->path) != 0)
        return errno;
    fault_point(save->faults, "rdb-renamed");
    f->doing = "syncing the directory of";
    return rdb_sync_directory(save->faults, save->path);
}

int rdb_save_snapshot(rdb_save *save, snapshot *snap, size_t n)
{
    file f = { .save = save, .fd = -1 };
    int err;

    save->reason[0] = '\0';
    err = open_temp(&f);
    if (err)
        return fail(&f, err);
    f.doing = "writing";
    err = rdb_save_to(save, snap, n, write_all, &f);
    fault_point(save->faults, "rdb-written");
    if (!err)
        err = put_in_place(&f);
    close(f.fd);
    if (err) {
        fault_unlink(save->faults, f.temp); /* or it is in place, but not for certain on the disk */
        return fail(&f, err);
    }
    return 0;
}
