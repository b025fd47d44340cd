/* aof_check.c - kvserver --check-log and --repair: says what a log is worth, without a server.
 *
 * A path is a manifest, the directory of one, or a file by itself. Nothing is carried out: a file is checked as far as its batches, or
 * its form, tell. SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_log.h"
#include "rdb.h"

typedef struct checking {
    bool repair;
    void (*say)(void *arg, aof_saying how, const char *text);
    void *arg;
} checking;

__attribute__((format(printf, 3, 4))) static void tell(const checking *c, aof_saying how, const char *format,
                                                       ...)
{
    char text[AOF_PATH_MAX + 512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->say(c->arg, how, text);
}

static int cut(const checking *c, const char *path, uint64_t size)
{
    int err = aof_file_cut(path, size, NULL);

    if (err)
        tell(c, AOF_WARNING, "%s: cannot be cut: %s", path, strerror(-err));
    else
        tell(c, AOF_NOTICE, "%s: was cut to %" PRIu64 " bytes", path, size);
    return err ? 1 : 0;
}

/* Whether a file is RDB up to somewhere; *ret_from: where commands may follow. 1: it is damaged. named: what the manifest says of
 * it, or NULL. */
static int check_preamble(const checking *c, const char *path, const aof_entry *named, uint64_t *ret_from)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), found = 0;
    char magic[5];
    rdb_reader *reader;
    rdb_item item;

    *ret_from = 0;
    if ((named && named->type != AOF_BASE) || fd < 0 || read(fd, magic, sizeof magic) != sizeof magic ||
        memcmp(magic, "REDIS", 5) != 0) {
        if (fd >= 0)
            close(fd);
        if (fd < 0 || !named || !aof_entry_is_rdb(named))
            return 0;
        tell(c, AOF_WARNING, "%s: damaged at byte 0: it does not begin as an RDB file", path);
        return 1;
    }
    lseek(fd, 0, SEEK_SET);
    reader = rdb_reader_new(&(rdb_read_options){ .pass_unsupported = true }, rdb_source_fd, &fd);
    while (reader && (found = rdb_read(reader, &item)) > 0)
        ;
    if (reader && found == 0)
        *ret_from = rdb_reader_offset(reader);
    else
        tell(c, AOF_WARNING, "%s: damaged at byte %" PRIu64 ": %s", path,
             reader ? rdb_reader_offset(reader) : 0, reader ? rdb_reader_reason(reader) : "memory is out");
    rdb_reader_free(reader);
    close(fd);
    return found == 0 ? 0 : 1;
}

static int judge(const checking *c, const char *path, const aof_reader *reader, aof_found found, bool last)
{
    uint64_t torn = reader->size - reader->offset - reader->filler;

    if (found == AOF_END) {
        if (reader->ours)
            tell(c, AOF_NOTICE, "%s: ok, %" PRIu64 " bytes, batches %" PRIu64 " to %" PRIu64 "%s", path,
                 reader->size - reader->filler, reader->opening.first, reader->next - 1,
                 reader->filler ? ", and filler behind them" : "");
        else
            tell(c, AOF_NOTICE, "%s: ok, %" PRIu64 " bytes", path, reader->size);
        return 0;
    }
    if (found == AOF_TORN && last) {
        tell(c, AOF_WARNING,
             "%s: a bad tail of %" PRIu64 " bytes, from byte %" PRIu64
             " on: %s. The last whole batch is %" PRIu64,
             path, torn, reader->offset, reader->reason, reader->next ? reader->next - 1 : 0);
        return c->repair ? cut(c, path, reader->offset) : 1;
    }
    tell(c, AOF_WARNING, "%s: damaged at byte %" PRIu64 ": %s", path, reader->offset, reader->reason);
    return 1;
}

/* next: the sequence that the first batch must have, or 0; set to that of the batch to come. */
static int check_file(const checking *c, const char *path, const aof_entry *item, bool last, uint64_t *next)
{
    const aof_opening *opening = item && item->ours ? &item->opening : NULL;
    aof_reader reader;
    aof_unit unit;
    aof_found found;
    uint64_t from;
    int bad = check_preamble(c, path, item, &from), err;

    if (bad)
        return bad;
    err = aof_reader_open(&reader, path, from, opening);
    if (err) {
        tell(c, AOF_WARNING, "%s: %s", path, strerror(-err));
        return 1;
    }
    while ((found = aof_reader_next(&reader, &unit)) == AOF_UNIT)
        ;
    bad = judge(c, path, &reader, found, last);
    if (reader.ours && *next && reader.opening.first != *next) {
        tell(c, AOF_WARNING,
             "%s: batches are missing before it: it begins with %" PRIu64 " instead of %" PRIu64, path,
             reader.opening.first, *next);
        bad = 1;
    }
    if (reader.ours)
        *next = reader.next;
    aof_reader_close(&reader);
    return bad;
}

static int check_manifest(const checking *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    aof_manifest manifest;
    char reason[256], file[AOF_PATH_MAX];
    uint64_t next = 0, none;
    int bad = 0;

    if (aof_manifest_read(&manifest, path, reason, sizeof reason) != 0) {
        tell(c, AOF_WARNING, "%s: %s", path, reason);
        return 1;
    }
    tell(c, AOF_NOTICE, "%s: ok, names %zu files", path, manifest.count);
    for (size_t i = 0; i < manifest.count; i++) {
        const aof_entry *item = &manifest.entries[i];

        if (item->type == AOF_HISTORY)
            continue;
        snprintf(file, sizeof file, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, item->name);
        none = 0;
        bad |= check_file(c, file, item, item == aof_manifest_last(&manifest),
                          item->type == AOF_BASE ? &none : &next);
    }
    aof_manifest_done(&manifest);
    return bad;
}

/* The manifest in a directory. False: there is none. */
static bool find_manifest(const char *directory, char path[AOF_PATH_MAX])
{
    DIR *dir = opendir(directory);
    const struct dirent *each;
    bool found = false;

    while (dir && !found && (each = readdir(dir))) {
        size_t len = strlen(each->d_name);

        found = len > 9 && strcmp(each->d_name + len - 9, ".manifest") == 0 &&
                strncmp(each->d_name, "temp-", 5) != 0 &&
                snprintf(path, AOF_PATH_MAX, "%s/%s", directory, each->d_name) < AOF_PATH_MAX;
    }
    if (dir)
        closedir(dir);
    return found;
}

int aof_check(const char *path, bool repair, void (*say)(void *arg, aof_saying how, const char *text),
              void *arg)
{
    checking c = { repair, say, arg };
    struct stat status;
    char manifest[AOF_PATH_MAX];
    uint64_t next = 0;
    size_t len = strlen(path);

    if (stat(path, &status) != 0) {
        tell(&c, AOF_WARNING, "%s: %s", path, strerror(errno));
        return 1;
    }
    if (S_ISDIR(status.st_mode)) {
        if (find_manifest(path, manifest))
            return check_manifest(&c, manifest);
        tell(&c, AOF_WARNING, "%s: there is no manifest in it", path);
        return 1;
    }
    if (len > 9 && strcmp(path + len - 9, ".manifest") == 0)
        return check_manifest(&c, path);
    return check_file(&c, path, NULL, true, &next);
}
