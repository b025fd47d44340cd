/* power.c - see power.h.
 *
 * The record is read once. Of the calls that changed names, those whose directory was synced later are on disk. Of the others, in
 * their order, the first k are, too, since file systems keep that order; the rest is undone, the last one first. Then each file
 * that the record mentions, or that it says is new, loses bytes. SPDX-License-Identifier: MIT */
#include "power.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_filler.h"
#include "e2e.h"

enum { page_bytes = 4096 };

typedef struct change {
    char what; /* c(reate), r(ename), u(nlink) */
    char kept[16], path[PATH_MAX], from[PATH_MAX];
    bool durable;
} change;

typedef struct cut {
    const char *record;
    change *changes;
    size_t count;
    struct {
        unsigned long long inode;
        long long size;
    } * syncs;
    size_t sync_count;
    unsigned *seed;
} cut;

static bool is_in(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void read_line(cut *c, const char *line)
{
    change one = { .kept = "-" };
    char directory[PATH_MAX];

    c->changes = realloc(c->changes, (c->count + 1) * sizeof one);
    c->syncs = realloc(c->syncs, (c->sync_count + 1) * sizeof *c->syncs);
    if (sscanf(line, "sync %llu %lld", &c->syncs[c->sync_count].inode, &c->syncs[c->sync_count].size) == 2) {
        c->sync_count++;
    } else if (sscanf(line, "directory %4095s", directory) == 1) {
        for (size_t i = 0; i < c->count; i++)
            c->changes[i].durable |= is_in(c->changes[i].path, directory);
    } else {
        one.what = line[0];
        assert_true(sscanf(line, "create %4095s", one.path) == 1 ||
                    sscanf(line, "rename %15s %4095s %4095s", one.kept, one.from, one.path) == 3 ||
                    sscanf(line, "unlink %15s %4095s", one.kept, one.path) == 2);
        c->changes[c->count++] = one;
    }
}

static void read_record(cut *c)
{
    char path[PATH_MAX], line[2 * PATH_MAX + 64];
    FILE *in;

    snprintf(path, sizeof path, "%s/record", c->record);
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in))
        read_line(c, line);
    fclose(in);
}

/* ---- names ---- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void put_back(const cut *c, const change *one)
{
    char kept[PATH_MAX + 32];

    if (one->kept[0] == '-')
        return;
    snprintf(kept, sizeof kept, "%s/%s", c->record, one->kept);
    unlink(one->path);
    assert_int_equal(link(kept, one->path), 0);
}

static void undo(const cut *c, const change *one)
{
    if (one->what == 'c') {
        if (unlink(one->path) != 0)
            rmdir(one->path); /* it is empty, since nothing in it is on disk: undone before */
    } else if (one->what == 'u') {
        put_back(c, one);
    } else if (!exists(one->from)) { /* otherwise it did not come to it */
        assert_int_equal(rename(one->path, one->from), 0);
        put_back(c, one);
    }
}

static void undo_names(const cut *c)
{
    size_t pending = 0, stay;

    for (size_t i = 0; i < c->count; i++)
        pending += !c->changes[i].durable;
    stay = pending ? (size_t)rand_r(c->seed) % (pending + 1) : 0;
    for (size_t i = c->count; i-- > 0 && pending > stay;)
        if (!c->changes[i].durable) {
            undo(c, &c->changes[i]);
            pending--;
        }
}

/* ---- bytes ---- */

/* Whether a file may lose any, and how many of them are on disk. */
static bool synced_bytes(const cut *c, const char *path, unsigned long long inode, long long *ret_size)
{
    bool known = false;

    *ret_size = 0;
    for (size_t i = 0; i < c->count; i++)
        known |= strcmp(c->changes[i].path, path) == 0 || strcmp(c->changes[i].from, path) == 0;
    for (size_t i = 0; i < c->sync_count; i++)
        if (c->syncs[i].inode == inode) {
            *ret_size = c->syncs[i].size;
            known = true;
        }
    return known;
}

static bool ends_with_filler(int fd, long long size)
{
    char last[2];

    return size >= 2 && pread(fd, last, 2, size - 2) == 2 && last[0] == '#' &&
           (last[1] == '#' || last[1] == '\n');
}

/* What is read of a page that was not written: zeros, or in a file that was prepared what was there before. */
static void lose_pages(const cut *c, int fd, long long from, long long size, bool filled)
{
    for (long long at = from, to; at < size; at = to) {
        char bytes[page_bytes] = { 0 };

        to = (at / page_bytes + 1) * page_bytes;
        if (to > size)
            to = size;
        if (filled)
            aof_filler_write(bytes, (size_t)(to - at), (uint64_t)at);
        if (rand_r(c->seed) % 2)
            assert_int_equal(pwrite(fd, bytes, (size_t)(to - at), at), to - at);
    }
}

static void lose_bytes(const cut *c, const char *path, long long from, long long size)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool torn = rand_r(c->seed) % 2, filled;

    assert_true(fd >= 0);
    filled = ends_with_filler(fd, size) && rand_r(c->seed) % 4;
    if (!filled && rand_r(c->seed) % 2) {
        size = from + rand_r(c->seed) % (size - from + 1);
        assert_int_equal(ftruncate(fd, size), 0);
    }
    if (torn || filled)
        lose_pages(c, fd, from, size, filled);
    close(fd);
}

static void lose_in(const cut *c, const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *each;

    while (dir && (each = readdir(dir))) {
        char path[PATH_MAX];
        struct stat status;
        long long synced;

        snprintf(path, sizeof path, "%s/%s", directory, each->d_name);
        if (each->d_name[0] == '.' || strcmp(path, c->record) == 0 || lstat(path, &status) != 0)
            continue;
        if (S_ISDIR(status.st_mode))
            lose_in(c, path);
        else if (S_ISREG(status.st_mode) && synced_bytes(c, path, status.st_ino, &synced) &&
                 synced < status.st_size)
            lose_bytes(c, path, synced, status.st_size);
    }
    if (dir)
        closedir(dir);
}

void power_cut(const char *directory, const char *record, unsigned *seed)
{
    cut c = { .record = record, .seed = seed };

    read_record(&c);
    undo_names(&c);
    lose_in(&c, directory);
    free(c.changes);
    free(c.syncs);
}

void power_forget(const char *record)
{
    DIR *dir = opendir(record);
    struct dirent *each;

    while (dir && (each = readdir(dir)))
        if (each->d_name[0] != '.')
            unlinkat(dirfd(dir), each->d_name, 0);
    if (dir)
        closedir(dir);
}
