/* aof_fuzz.c - logs of changes from strangers: manifests, files with batches and without.
 *
 * The first byte says what the rest is. A file is read to its end, and what is believed of it is carried out; the units that the reader gives
 * must be whole commands, and lie in the file where it says.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aof_apply.h"
#include "aof_manifest.h"
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

static void read_file(const char *path, const uint8_t *data, size_t size, const kv_databases *databases)
{
    aof_reader reader;
    aof_apply apply;
    aof_unit unit;
    aof_found found = AOF_END;
    uint64_t before = 0;

    must(aof_reader_open(&reader, path, 0, NULL) == 0);
    aof_apply_init(&apply, databases, 1700000000000);
    while (!apply.failed && (found = aof_reader_next(&reader, &unit)) == AOF_UNIT) {
        size_t at;

        must(unit.offset >= before && unit.offset + unit.bytes.len <= size);
        must(memcmp(unit.bytes.data, data + unit.offset, unit.bytes.len) == 0);
        before = unit.offset + unit.bytes.len;
        must(aof_apply_run(&apply, unit.bytes, &at) == 0 || apply.failed || at < unit.bytes.len);
    }
    must(reader.offset <= size);
    must(found == AOF_UNIT || found == AOF_END || strlen(reader.reason) > 0);
    aof_apply_done(&apply);
    aof_reader_close(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kv_store *stores[2];
    kv_databases databases = { .stores = stores, .count = 2 };
    kv_domain *domain;
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
    domain = kv_domain_new(NULL);
    for (int i = 0; i < 2; i++)
        stores[i] = kv_store_new(&(kv_store_options){ .domain = domain });
    read_file(path, data + 1, size - 1, &databases);
    for (int i = 0; i < 2; i++)
        kv_store_unref(stores[i]);
    kv_domain_unref(domain);
    close(fd);
    return 0;
}
