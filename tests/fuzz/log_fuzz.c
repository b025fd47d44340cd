/* log_fuzz.c - a whole log from strangers: a base file, in RDB format or of commands or of both, and an incremental file behind it.
 *
 * The first byte says whether a bad tail may be cut, the next two how long the base is. What is loaded by several threads must be what one loads; a
 * log that was loaded can be gone on with, its bad tail cut off, and is the same when it is loaded again.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_log.h"
#include "content.h"
#include "fuzz.h"
#include "rdb_load.h"

#define BASE "log.1.base.aof"
#define INCR "log.1.incr.aof"
#define NEXT "log.2.incr.aof"

static const char *const names[] = { "log.manifest", BASE, INCR, NEXT };

/* ---- the directory ---- */

static void path_of(const char *directory, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", directory, name);
}

static void write_file(const char *directory, const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    FILE *out;

    path_of(directory, name, path);
    out = fopen(path, "wbe");
    must(out && fwrite(data, 1, size, out) == size);
    fclose(out);
}

static void remove_all(const char *directory)
{
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        path_of(directory, names[i], path);
        unlink(path);
    }
    rmdir(directory);
}

/* ---- loading ---- */

typedef struct outcome {
    aof_log_found found;
    aof_end end;
    uint64_t sum;
} outcome;

typedef struct base {
    content *content;
    int threads;
} base;

static aof_log_found load_base(void *arg, const char *path, uint64_t *ret_bytes)
{
    base *b = arg;
    rdb_load load = {
        .stores = b->content->stores,
        .count = CONTENT_STORES,
        .threads = b->threads ? b->threads : 1,
        .options = { .no_checksum = true },
        .now_ms = INT64_MIN,
    };
    int err = rdb_load_file(&load, path, ret_bytes);

    must(!err || load.reason[0]);
    return err ? AOF_LOG_REFUSED : AOF_LOG_LOADED;
}

static void hear(void *arg, aof_saying how, const char *text)
{
    (void)how;
    *(bool *)arg |= text[0] != 0;
}

/* Loads what is in the directory; goes_on: and opens it to append. */
static outcome load(const char *directory, bool cut, int threads, bool goes_on)
{
    bool said = false;
    aof_log log = { .directory = directory, .prefix = "log", .say = hear, .arg = &said };
    outcome o = { .found = AOF_LOG_REFUSED };
    content c;
    base b = { &c, threads };
    aof_file file;

    content_open(&c);
    must(aof_log_open(&log) == 0);
    o.found = aof_log_load(&log,
                           &(aof_load_options){ .databases = &c.databases,
                                                .now_ms = CONTENT_NOW_MS,
                                                .threads = threads,
                                                .alone = 1,
                                                .cut_tail = cut,
                                                .load_rdb = load_base,
                                                .rdb_arg = &b },
                           &o.end);
    must(o.found == AOF_LOG_LOADED || o.found == AOF_LOG_REFUSED);
    o.sum = content_sum(&c);
    if (o.found == AOF_LOG_LOADED && goes_on) {
        must(aof_log_continue(&log, &o.end, &file) == 0);
        aof_file_close(&file);
    }
    aof_log_close(&log);
    content_close(&c);
    return o;
}

static void check(const char *directory, bool cut)
{
    outcome one = load(directory, cut, 0, false), several = load(directory, cut, 3, true), again;

    must(one.found == several.found);
    if (one.found != AOF_LOG_LOADED)
        return;
    must(one.sum == several.sum && one.end.next == several.end.next);
    must(one.end.commands == several.end.commands && one.end.torn_bytes == several.end.torn_bytes);
    must(cut || one.end.torn_bytes == 0);
    again = load(directory, false, 2, false);
    must(again.found == AOF_LOG_LOADED && again.end.torn_bytes == 0);
    must(again.sum == one.sum && again.end.next == one.end.next && again.end.commands == one.end.commands);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char manifest[] = "file " BASE " seq 1 type b\nfile " INCR " seq 1 type i\n";
    char directory[64] = "/dev/shm/log-fuzz-XXXXXX"; /* where a sync costs nothing */
    size_t length;

    if (size < 3)
        return 0;
    if (!mkdtemp(directory)) {
        strcpy(directory, "/tmp/log-fuzz-XXXXXX");
        must(mkdtemp(directory) != NULL);
    }
    length = ((size_t)data[1] << 8 | data[2]) % (size - 2);
    write_file(directory, "log.manifest", (const uint8_t *)manifest, sizeof manifest - 1);
    write_file(directory, BASE, data + 3, length);
    write_file(directory, INCR, data + 3 + length, size - 3 - length);
    check(directory, data[0] & 1);
    remove_all(directory);
    return 0;
}
