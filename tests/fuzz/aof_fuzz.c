/* aof_fuzz.c - logs of changes from strangers: manifests, files with batches and without.
 *
 * The first byte says what the rest is. A file is read to its end, and what is believed of it is carried out, by one thread and by
 * several, which must come to the same; the units that the reader gives must be whole commands, and lie in the file where it says.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aof_apply.h"
#include "aof_manifest.h"
#include "content.h"
#include "fuzz.h"

static void check_manifest(const uint8_t *data, size_t size)
{
    aof_manifest manifest;
    char reason[256];

    if (aof_manifest_parse(&manifest, (const char *)data, size, reason, sizeof reason) != 0) {
        must(manifest.count == 0 && strlen(reason) > 0);
        return;
    }
    must(manifest.count > 0);
    for (size_t i = 0; i < manifest.count; i++)
        must(!strchr(manifest.entries[i].name, '/') && manifest.entries[i].seq > 0);
    aof_manifest_done(&manifest);
}

/* What became of a file that was read into databases. */
typedef struct outcome {
    int err; /* of a command */
    uint64_t failed_at, offset;
    char reason[AOF_REASON_MAX];
    aof_found found;
    uint64_t sum; /* of all that is there */
} outcome;

static void take_units(outcome *o, aof_reader *reader, aof_apply *apply, const uint8_t *data, size_t size)
{
    aof_unit unit;
    uint64_t before = 0;

    while (!o->err && (o->found = aof_reader_next(reader, &unit)) == AOF_UNIT) {
        must(unit.offset >= before && unit.offset + unit.bytes.len <= size);
        must(memcmp(unit.bytes.data, data + unit.offset, unit.bytes.len) == 0);
        before = unit.offset + unit.bytes.len;
        o->err = aof_apply_run(apply, unit.bytes, unit.offset);
    }
    if (!o->err)
        o->err = aof_apply_end_file(apply);
    must(!o->err || (apply->failed_at < before && strlen(apply->reason) > 0));
}

static outcome read_file(const char *path, const uint8_t *data, size_t size, int threads)
{
    outcome o = { .found = AOF_END };
    content c;
    aof_reader reader;
    aof_apply apply;

    content_open(&c);
    must(aof_reader_open(&reader, path, 0, NULL) == 0);
    aof_apply_init(&apply,
                   &(aof_apply_options){
                       .databases = &c.databases, .now_ms = CONTENT_NOW_MS, .threads = threads, .alone = 1 });
    take_units(&o, &reader, &apply, data, size);
    must(reader.offset <= size);
    must(o.found == AOF_UNIT || o.found == AOF_END || strlen(reader.reason) > 0);
    o.failed_at = apply.failed_at;
    o.offset = reader.offset;
    memcpy(o.reason, apply.reason, sizeof o.reason);
    aof_apply_done(&apply);
    aof_reader_close(&reader);
    o.sum = content_sum(&c);
    content_close(&c);
    return o;
}

/* Several threads make of it what one does, to the failure and its place. */
static void check_file(const char *path, const uint8_t *data, size_t size)
{
    outcome one = read_file(path, data, size, 0), several = read_file(path, data, size, 3);

    must(one.err == several.err && one.failed_at == several.failed_at);
    must(strcmp(one.reason, several.reason) == 0);
    must(one.err || (one.found == several.found && one.offset == several.offset && one.sum == several.sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd;

    if (size < 1)
        return 0;
    if (data[0] == 'm') {
        check_manifest(data + 1, size - 1);
        return 0;
    }
    fd = memfd_create("log", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check_file(path, data + 1, size - 1);
    close(fd);
    return 0;
}
