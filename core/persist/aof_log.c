/* aof_log.c - see aof_log.h.
 *
 * Loading goes file by file: the base, in RDB format or of commands, then the incremental ones by their seq. Only the last may
 * have a torn tail: the others were left whole when the next one began. Between files of ours the sequences of batches must
 * go on, so that a file which lost its end is noticed, too. What becomes of commands is told before what becomes of the file behind
 * them: the first thing that is wrong is named, whoever finds it.
 *
 * A new file is on disk, with its opening line, before the manifest names it; the manifest changes by rename. So after a crash at any
 * point there is the old set of files or the new one, and perhaps a file that nobody names.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_SUFFIX ".manifest"

__attribute__((format(printf, 3, 4))) static void say(const aof_log *log, aof_saying how, const char *format,
                                                      ...)
{
    char text[AOF_PATH_MAX + 512];
    va_list args;

    if (!log->say)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->say(log->arg, how, text);
}

static int failed(const aof_log *log, int err, const char *what, const char *name)
{
    if (err)
        say(log, AOF_WARNING, "%s %s/%s: %s", what, log->directory, name, strerror(-err));
    return err;
}

/* ---- names ---- */

bool aof_log_path(const aof_log *log, const char *name, char path[AOF_PATH_MAX])
{
    return snprintf(path, AOF_PATH_MAX, "%s/%s", log->directory, name) < AOF_PATH_MAX;
}

static bool manifest_name(const aof_log *log, char name[AOF_NAME_MAX])
{
    return snprintf(name, AOF_NAME_MAX, "%s" MANIFEST_SUFFIX, log->prefix) < AOF_NAME_MAX;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int write_manifest(const aof_log *log, const aof_manifest *manifest)
{
    char name[AOF_NAME_MAX];

    if (!manifest_name(log, name))
        return -ENAMETOOLONG;
    return failed(log, aof_manifest_write(manifest, log->directory, name, log->faults), "Can't write", name);
}

/* The names beside the directory are on disk: its own, too. */
static int sync_parent(const aof_log *log)
{
    char parent[AOF_PATH_MAX];
    const char *slash = strrchr(log->directory, '/');
    int len = slash ? (int)(slash - log->directory) : 0;

    if (len >= AOF_PATH_MAX)
        return -ENAMETOOLONG;
    snprintf(parent, sizeof parent, "%.*s", len, log->directory);
    return failed(log,
                  aof_directory_sync(len     ? parent
                                     : slash ? "/"
                                             : ".",
                                     log->faults),
                  "Can't sync the directory above", log->prefix);
}

int aof_log_make_directory(const aof_log *log)
{
    if (fault_mkdir(log->faults, log->directory, 0755) != 0 && errno != EEXIST)
        return failed(log, -errno, "Can't make the directory of", log->prefix);
    /* One that is there may have been made by a process that did not come to sync it. */
    return log->manifest.count == 0 ? sync_parent(log) : 0;
}

/* ---- opening ---- */

/* Where versions before 7 had the log: prefix, in the directory of the directory. */
static bool old_path(const aof_log *log, char path[AOF_PATH_MAX])
{
    const char *slash = strrchr(log->directory, '/');

    return snprintf(path, AOF_PATH_MAX, "%.*s%s", slash ? (int)(slash + 1 - log->directory) : 0,
                    log->directory, log->prefix) < AOF_PATH_MAX;
}

/* Makes a log of one file the base of a log of several. The manifest comes first: if the file is not moved any more, that
 * is done at the next start. */
static int adopt_old(aof_log *log, const char *old)
{
    aof_entry item = { .seq = 1, .type = AOF_BASE };
    char path[AOF_PATH_MAX];
    int err;

    if (strlen(log->prefix) >= AOF_NAME_MAX || !aof_log_path(log, log->prefix, path))
        return -ENAMETOOLONG;
    strcpy(item.name, log->prefix);
    err = aof_log_make_directory(log);
    if (err)
        return err;
    if (log->manifest.count == 0) {
        err = aof_manifest_add(&log->manifest, &item);
        if (!err)
            err = write_manifest(log, &log->manifest);
        if (err)
            return err;
    }
    if (fault_rename(log->faults, old, path) != 0)
        return failed(log, -errno, "Can't move the old log to", log->prefix);
    /* Where it goes to comes first: it must not be gone from both. */
    err = failed(log, aof_directory_sync(log->directory, log->faults), "Can't sync the directory of",
                 log->prefix);
    if (!err)
        err = sync_parent(log);
    if (!err)
        say(log, AOF_NOTICE, "The log %s is now the base of one of several files, in %s", old,
            log->directory);
    return err;
}

/* Whether nothing but a base that is still at its old place is named. */
static bool is_half_adopted(const aof_log *log)
{
    char path[AOF_PATH_MAX];
    const aof_entry *base = aof_manifest_base(&log->manifest);

    return log->manifest.count == 1 && base && strcmp(base->name, log->prefix) == 0 &&
           aof_log_path(log, base->name, path) && !exists(path);
}

static int read_manifest(aof_log *log)
{
    char name[AOF_NAME_MAX], path[AOF_PATH_MAX], reason[256];
    int err;

    log->manifest = (aof_manifest){ 0 };
    if (!manifest_name(log, name) || !aof_log_path(log, name, path))
        return -ENAMETOOLONG;
    err = aof_manifest_read(&log->manifest, path, reason, sizeof reason);
    if (err && err != -ENOENT) {
        say(log, AOF_WARNING, "The manifest %s cannot be used: %s", path, reason);
        aof_manifest_done(&log->manifest);
    }
    return err;
}

int aof_log_open(aof_log *log)
{
    char old[AOF_PATH_MAX];
    int err;

    if (!old_path(log, old))
        return -ENAMETOOLONG;
    err = read_manifest(log);
    if (err == -ENOENT)
        return exists(old) ? adopt_old(log, old) : -ENOENT;
    if (!err && is_half_adopted(log) && exists(old))
        err = adopt_old(log, old);
    return err;
}

int aof_log_know(aof_log *log)
{
    int err = log->manifest.count ? 0 : read_manifest(log);

    return err == -ENOENT ? 0 : err;
}

void aof_log_close(aof_log *log)
{
    aof_manifest_done(&log->manifest);
}

static uint64_t file_bytes(const aof_log *log, const aof_entry *item)
{
    char path[AOF_PATH_MAX];
    struct stat status;

    if (item->type == AOF_HISTORY || !aof_log_path(log, item->name, path) || stat(path, &status) != 0)
        return 0;
    return (uint64_t)status.st_size;
}

uint64_t aof_log_bytes(const aof_log *log)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < log->manifest.count; i++)
        bytes += file_bytes(log, &log->manifest.entries[i]);
    return bytes;
}

/* ---- loading ---- */

typedef struct loading {
    aof_log *log;
    const aof_load_options *load;
    aof_apply *apply; /* NULL: check only */
    aof_end *end;
    uint64_t before; /* bytes of the files before this one */
} loading;

static void progress(const loading *l, uint64_t offset)
{
    if (l->load->loaded_bytes)
        atomic_store_explicit(l->load->loaded_bytes, l->before + offset, memory_order_relaxed);
}

static aof_log_found refuse(const loading *l, const aof_entry *item, uint64_t offset, const char *reason)
{
    say(l->log, AOF_WARNING,
        "The log file %s/%s is damaged at byte %" PRIu64 ": %s. Nothing of it is served.", l->log->directory,
        item->name, offset, reason);
    return AOF_LOG_REFUSED;
}

static bool begins_as_rdb(const char *path)
{
    FILE *file = fopen(path, "re");
    char magic[5];
    bool is = file && fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "REDIS", 5) == 0;

    if (file)
        fclose(file);
    return is;
}

/* The RDB part of a base file, if it has one; *ret_from: where commands may follow. */
static aof_log_found load_preamble(const loading *l, const aof_entry *item, const char *path,
                                   uint64_t *ret_from)
{
    *ret_from = 0;
    if (item->type != AOF_BASE)
        return AOF_LOG_LOADED;
    if (!begins_as_rdb(path))
        return aof_entry_is_rdb(item) ? refuse(l, item, 0, "it does not begin as an RDB file")
                                      : AOF_LOG_LOADED;
    if (!l->load->load_rdb) {
        *ret_from = file_bytes(l->log, item);
        return AOF_LOG_LOADED;
    }
    return l->load->load_rdb(l->load->rdb_arg, path, ret_from);
}

/* What came of carrying out commands. */
static aof_log_found applied(const loading *l, const aof_entry *item, int err)
{
    if (err && l->apply->stopped)
        return AOF_LOG_STOPPED;
    if (err == KV_ENOMEM) {
        say(l->log, AOF_WARNING, "Out of memory while loading the log");
        return AOF_LOG_REFUSED;
    }
    return err ? refuse(l, item, l->apply->failed_at, l->apply->reason) : AOF_LOG_LOADED;
}

static aof_log_found apply_unit(const loading *l, const aof_entry *item, const aof_unit *unit)
{
    return applied(l, item, l->apply ? aof_apply_run(l->apply, unit->bytes, unit->offset) : 0);
}

/* What was believed of the file is in the databases. */
static aof_log_found end_units(const loading *l, const aof_entry *item)
{
    return applied(l, item, l->apply ? aof_apply_end_file(l->apply) : 0);
}

static aof_log_found found_torn(const loading *l, const aof_entry *item, const aof_reader *reader, bool last)
{
    uint64_t torn = reader->size - reader->offset - reader->filler;

    if (!last)
        return refuse(l, item, reader->offset, reader->reason);
    if (!l->load->cut_tail) {
        say(l->log, AOF_WARNING,
            "The log file %s/%s has a bad tail of %" PRIu64 " bytes, from byte %" PRIu64
            " on: %s. It is not cut off, since aof-load-truncated is no.",
            l->log->directory, item->name, torn, reader->offset, reader->reason);
        return AOF_LOG_REFUSED;
    }
    say(l->log, AOF_WARNING,
        "The log file %s/%s has a bad tail of %" PRIu64 " bytes, from byte %" PRIu64
        " on: %s. It ends now with batch %" PRIu64 ".",
        l->log->directory, item->name, torn, reader->offset, reader->reason,
        reader->next   ? reader->next - 1
        : l->end->next ? l->end->next - 1
                       : 0);
    l->end->torn_bytes = torn;
    l->end->torn_at = reader->offset;
    return AOF_LOG_LOADED;
}

/* What the reader of a file has found at its end. */
static aof_log_found file_ends(const loading *l, const aof_entry *item, const aof_reader *reader,
                               aof_found found, bool last)
{
    if (found == AOF_FAILED) {
        say(l->log, AOF_WARNING, "The log file %s/%s: %s", l->log->directory, item->name, reader->reason);
        return AOF_LOG_REFUSED;
    }
    if (found == AOF_DAMAGED)
        return refuse(l, item, reader->offset, reader->reason);
    if (found == AOF_TORN && found_torn(l, item, reader, last) != AOF_LOG_LOADED)
        return AOF_LOG_REFUSED;
    if (reader->ours && item->type == AOF_INCREMENT)
        l->end->next = reader->next;
    if (last)
        l->end->filler_bytes = reader->filler;
    if (last && item->type == AOF_INCREMENT && !reader->plain && (reader->ours || reader->expects)) {
        l->end->has_last = true;
        l->end->last = (aof_file){ .fd = -1,
                                   .id = reader->opening.id,
                                   .sequence = reader->ours ? reader->next : reader->opening.first,
                                   .size = reader->offset };
    }
    return AOF_LOG_LOADED;
}

/* Whether the batches of a file go on where those before it ended. */
static bool follows(const loading *l, const aof_entry *item, const aof_reader *reader)
{
    return item->type == AOF_BASE || !reader->ours || !l->end->next || l->end->next == reader->opening.first;
}

static aof_log_found read_units(const loading *l, const aof_entry *item, aof_reader *reader, bool last)
{
    aof_log_found result = AOF_LOG_LOADED;
    aof_unit unit;
    aof_found found;

    while (result == AOF_LOG_LOADED) {
        found = aof_reader_next(reader, &unit);
        if (!follows(l, item, reader))
            return refuse(l, item, 0, "batches are missing between the file before it and this one");
        if (found != AOF_UNIT) {
            result = end_units(l, item);
            return result == AOF_LOG_LOADED ? file_ends(l, item, reader, found, last) : result;
        }
        result = apply_unit(l, item, &unit);
        progress(l, reader->offset);
    }
    return result;
}

static aof_log_found load_file(const loading *l, const aof_entry *item, bool last)
{
    char path[AOF_PATH_MAX];
    aof_reader reader;
    aof_log_found result;
    uint64_t from;
    int err;

    if (!aof_log_path(l->log, item->name, path))
        return AOF_LOG_REFUSED;
    result = load_preamble(l, item, path, &from);
    if (result != AOF_LOG_LOADED)
        return result;
    err = aof_reader_open(&reader, path, from, item->ours ? &item->opening : NULL);
    if (err) {
        failed(l->log, err, "Can't open the log file", item->name);
        return AOF_LOG_REFUSED;
    }
    result = read_units(l, item, &reader, last);
    aof_reader_close(&reader);
    return result;
}

/* The base, then the others in their order. */
static aof_log_found load_files(loading *l)
{
    const aof_manifest *manifest = &l->log->manifest;
    const aof_entry *base = aof_manifest_base(manifest), *last = aof_manifest_last(manifest);
    aof_log_found result = base ? load_file(l, base, !last) : AOF_LOG_LOADED;

    if (base) {
        l->before = l->end->base_bytes = file_bytes(l->log, base);
        progress(l, 0);
    }
    for (size_t i = 0; i < manifest->count && result == AOF_LOG_LOADED; i++) {
        const aof_entry *item = &manifest->entries[i];

        if (item->type != AOF_INCREMENT)
            continue;
        result = load_file(l, item, item == last);
        l->before += file_bytes(l->log, item);
        progress(l, 0);
    }
    return result;
}

aof_log_found aof_log_load(aof_log *log, const aof_load_options *load, aof_end *ret_end)
{
    aof_apply apply;
    loading l = { .log = log, .load = load, .end = ret_end };
    aof_log_found result;

    *ret_end = (aof_end){ .last.fd = -1 };
    if (load->databases) {
        aof_apply_init(&apply, &(aof_apply_options){ .databases = load->databases,
                                                     .now_ms = load->now_ms,
                                                     .threads = load->threads,
                                                     .alone = load->alone,
                                                     .go_on = load->go_on,
                                                     .arg = load->go_on_arg });
        l.apply = &apply;
    }
    result = load_files(&l);
    ret_end->bytes = l.before;
    if (!ret_end->next)
        ret_end->next = 1;
    if (l.apply) {
        ret_end->commands = apply.commands;
        aof_apply_done(&apply);
    }
    return result;
}

/* ---- going on ---- */

static uint64_t random_id(void)
{
    uint64_t id = 0;

    while (getrandom(&id, sizeof id, 0) != sizeof id && errno == EINTR)
        ;
    return id;
}

int aof_log_new_file(aof_log *log, uint64_t next, aof_file *file, aof_entry *ret_entry)
{
    char path[AOF_PATH_MAX];
    int64_t seq = aof_manifest_seq(&log->manifest, AOF_INCREMENT);
    int err;

    *ret_entry = (aof_entry){ .type = AOF_INCREMENT, .ours = true };
    *file = (aof_file){ .fd = -1, .id = random_id(), .sequence = next, .faults = log->faults };
    err = aof_log_make_directory(log);
    if (err)
        return err;
    do { /* a file that nobody names may be left of an attempt that failed */
        ret_entry->seq = ++seq;
        if (snprintf(ret_entry->name, AOF_NAME_MAX, "%s.%lld.incr.aof", log->prefix, (long long)seq) >=
                AOF_NAME_MAX ||
            !aof_log_path(log, ret_entry->name, path))
            return -ENAMETOOLONG;
        err = aof_file_create(file, path);
    } while (err == -EEXIST);
    ret_entry->opening = (aof_opening){ file->id, next };
    return failed(log, err, "Can't make the log file", ret_entry->name);
}

int aof_log_add(aof_log *log, const aof_entry *item)
{
    int err = aof_manifest_add(&log->manifest, item);

    if (!err)
        err = write_manifest(log, &log->manifest);
    if (err && log->manifest.count)
        log->manifest.count--;
    return err;
}

/* The last file will not be the last one any more, and then it may have no bad tail. */
static int cut_last(aof_log *log, const aof_end *end, const aof_entry *last)
{
    char path[AOF_PATH_MAX];

    if (!end->torn_bytes || !last)
        return 0;
    if (!aof_log_path(log, last->name, path))
        return -ENAMETOOLONG;
    return failed(log, aof_file_cut(path, end->torn_at, log->faults), "Can't cut the log file", last->name);
}

int aof_log_continue(aof_log *log, const aof_end *end, aof_file *file)
{
    const aof_entry *last = aof_manifest_last(&log->manifest);
    char path[AOF_PATH_MAX];
    aof_entry item;
    int err;

    if (end->has_last && last) {
        *file = end->last;
        file->faults = log->faults;
        if (!aof_log_path(log, last->name, path))
            return -ENAMETOOLONG;
        return failed(log, aof_file_reopen(file, path), "Can't go on with the log file", last->name);
    }
    err = cut_last(log, end, last ? last : aof_manifest_base(&log->manifest));
    if (!err)
        err = aof_log_new_file(log, end->next, file, &item);
    if (!err)
        err = aof_log_add(log, &item);
    if (err)
        aof_file_close(file);
    return err;
}

/* ---- a new base ---- */

/* The manifest with the new base, in `fresh`. */
static int with_base(const aof_log *log, const aof_entry *base, const aof_entry *since, aof_manifest *fresh)
{
    bool named = !since;
    int err = aof_manifest_add(fresh, base);

    for (size_t i = 0; i < log->manifest.count && !err; i++) {
        aof_entry item = log->manifest.entries[i];

        if (item.type != AOF_INCREMENT || !since || item.seq < since->seq)
            item.type = AOF_HISTORY;
        named |= item.type == AOF_INCREMENT && item.seq == since->seq;
        err = aof_manifest_add(fresh, &item);
    }
    return err || named ? err : aof_manifest_add(fresh, since);
}

/* Removes the files that are history, and then their names. */
static void forget_history(aof_log *log)
{
    char path[AOF_PATH_MAX];
    size_t kept = 0;

    for (size_t i = 0; i < log->manifest.count; i++) {
        const aof_entry *item = &log->manifest.entries[i];

        if (item->type == AOF_HISTORY && aof_log_path(log, item->name, path) &&
            (fault_unlink(log->faults, path) == 0 || errno == ENOENT))
            continue;
        log->manifest.entries[kept++] = *item;
    }
    if (kept < log->manifest.count) {
        log->manifest.count = kept;
        write_manifest(log, &log->manifest);
    }
}

int aof_log_replace(aof_log *log, const aof_entry *base, const aof_entry *since)
{
    aof_manifest fresh = { 0 };
    int err = with_base(log, base, since, &fresh);

    if (!err)
        err = write_manifest(log, &fresh);
    if (err) {
        aof_manifest_done(&fresh);
        return err;
    }
    aof_manifest_done(&log->manifest);
    log->manifest = fresh;
    fault_point(log->faults, "log-replaced");
    forget_history(log);
    return 0;
}
