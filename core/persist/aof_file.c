/* aof_file.c - see aof_file.h.
 *
 * A batch goes out in blocks of 64 KiB: the header with the first bytes behind it, so that a small batch is one call of
 * write(2); long pieces from where they lie. A write that was cut short goes on; one that failed leaves a torn batch behind
 * `size`, which is cut off before anything else is written. That can fail as well: then the next write tries again, and whoever
 * reads the file meanwhile finds a bad tail.
 *
 *     opening | batch | batch |##########\n###########...##\n
 *                             size                          prepared
 *
 * Where the file is prepared, a batch overwrites filler. So the file's own position says where the next byte goes to, not its end.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aof_filler.h"
#include "crc32c.h"

#define BLOCK_BYTES  AOF_CHUNK_BYTES
#define DIRECT_BYTES (16u * 1024) /* from here on a call costs less than a copy */

/* Bytes that wait in the block of a file. */
typedef struct block {
    aof_file *file;
    size_t len;
    int err;
} block;

static int write_all(const aof_file *file, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = fault_write(file->faults, file->fd, bytes, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ENOSPC;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static void flush(block *b)
{
    if (!b->err)
        b->err = write_all(b->file, b->file->block, b->len);
    b->len = 0;
}

static void add(block *b, const char *bytes, size_t len)
{
    if (len >= DIRECT_BYTES || len > BLOCK_BYTES - b->len)
        flush(b);
    if (len >= DIRECT_BYTES) {
        if (!b->err)
            b->err = write_all(b->file, bytes, len);
    } else if (len) {
        memcpy(b->file->block + b->len, bytes, len);
        b->len += len;
    }
}

/* The next byte goes to where the last batch ends. */
static int go_to_end(const aof_file *file)
{
    return lseek(file->fd, (off_t)file->size, SEEK_SET) < 0 ? -errno : 0;
}

/* Cuts off what a failed write has left. */
static int mend(aof_file *file)
{
    int err;

    if (!file->torn)
        return 0;
    if (fault_ftruncate(file->faults, file->fd, (off_t)file->size) != 0)
        return -errno;
    err = go_to_end(file);
    if (err)
        return err;
    file->prepared = file->size;
    file->torn = false;
    return 0;
}

/* ---- filler ---- */

static int write_filler(aof_file *file, uint64_t from, uint64_t to)
{
    int err = lseek(file->fd, (off_t)from, SEEK_SET) < 0 ? -errno : 0;

    while (from < to && !err) {
        size_t len = to - from < BLOCK_BYTES ? (size_t)(to - from) : BLOCK_BYTES;

        aof_filler_write(file->block, len, from);
        err = write_all(file, file->block, len);
        from += len;
    }
    return err ? err : go_to_end(file);
}

int aof_file_prepare(aof_file *file, uint64_t batch_bytes, uint64_t step)
{
    uint64_t end = file->size + AOF_HEADER_BYTES + batch_bytes, to = end + step;
    int err;

    if (batch_bytes == 0 || batch_bytes > step || end < file->prepared || file->bare)
        return 0;
    err = mend(file);
    if (err)
        return 0;                                 /* the write that follows tries that again, and tells */
    to += AOF_FILLER_LINE - to % AOF_FILLER_LINE; /* whole lines: redis-server may append */
    err = write_filler(file, file->prepared > file->size ? file->prepared : file->size, to);
    if (err) {
        file->bare = file->torn = true;
        return err;
    }
    file->prepared = to;
    return 0;
}

/* Whether what is left of the filler would begin with the end of a line. */
static bool splits_line(const aof_file *file, uint64_t end)
{
    return end < file->prepared && aof_filler_at(end) != '#';
}

/* ---- batches ---- */

static uint32_t unsynced_before(aof_file *file, uint64_t sequence)
{
    /* Pairs with the release in aof_file_sync: said only after it is so. */
    uint64_t behind = sequence - atomic_load_explicit(&file->durable, memory_order_acquire);

    return behind < UINT32_MAX ? (uint32_t)behind : UINT32_MAX;
}

static int write_batch(aof_file *file, const aof_queue *queue)
{
    aof_header header = { .sequence = atomic_load_explicit(&file->sequence, memory_order_relaxed),
                          .length = queue->bytes };
    char line[AOF_HEADER_BYTES];
    block b = { .file = file };
    bool extra;
    int err = mend(file);

    if (err)
        return err;
    for (const aof_chunk *chunk = queue->first; chunk; chunk = chunk->next)
        header.crc = crc32c(header.crc, chunk->data, chunk->len);
    header.unsynced = unsynced_before(file, header.sequence);
    aof_header_write(line, &header, file->id);
    add(&b, line, sizeof line);
    for (const aof_chunk *chunk = queue->first; chunk; chunk = chunk->next)
        add(&b, chunk->data, chunk->len);
    extra = splits_line(file, file->size + sizeof line + queue->bytes);
    add(&b, "#", extra);
    flush(&b);
    if (b.err) {
        file->torn = true;
        mend(file);
        return b.err;
    }
    file->size += sizeof line + queue->bytes;
    file->torn = extra && go_to_end(file) != 0;
    /* Pairs with the acquire in aof_file_sync: its bytes were written before. */
    atomic_store_explicit(&file->sequence, header.sequence + 1, memory_order_release);
    file->marked = false;
    return 0;
}

int aof_file_write(aof_file *file, const aof_queue *queue)
{
    return queue->bytes ? write_batch(file, queue) : 0;
}

int aof_file_sync(aof_file *file)
{
    uint64_t next = atomic_load_explicit(&file->sequence, memory_order_acquire);

    if (fault_fdatasync(file->faults, file->fd) != 0)
        return -errno;
    atomic_store_explicit(&file->durable, next, memory_order_release);
    return 0;
}

int aof_file_mark(aof_file *file)
{
    uint64_t next = atomic_load_explicit(&file->sequence, memory_order_relaxed);
    int err;

    if (file->marked || unsynced_before(file, next) > 0)
        return 0;
    err = write_batch(file, &(aof_queue){ 0 });
    file->marked = !err;
    return err;
}

/* ---- opening and closing ---- */

static int open_at(aof_file *file, const char *path, int flags)
{
    file->block = malloc(BLOCK_BYTES);
    if (!file->block)
        return -ENOMEM;
    file->torn = file->bare = false;
    file->prepared = 0;
    file->fd = fault_open(file->faults, path, O_WRONLY | O_CLOEXEC | flags, 0600);
    return file->fd >= 0 ? 0 : -errno;
}

static int write_opening(aof_file *file)
{
    aof_opening opening = { file->id, atomic_load_explicit(&file->sequence, memory_order_relaxed) };
    char line[AOF_OPENING_BYTES];
    int err;

    aof_opening_write(line, &opening);
    err = write_all(file, line, sizeof line);
    if (!err)
        file->size = sizeof line;
    return err;
}

static void is_durable(aof_file *file, bool empty)
{
    atomic_store_explicit(&file->durable, atomic_load_explicit(&file->sequence, memory_order_relaxed),
                          memory_order_relaxed);
    file->marked = empty;
}

int aof_file_create(aof_file *file, const char *path)
{
    int err = open_at(file, path, O_CREAT | O_EXCL);

    if (!err)
        err = write_opening(file);
    if (!err && fault_fsync(file->faults, file->fd) != 0)
        err = -errno;
    if (err)
        aof_file_close(file);
    else
        is_durable(file, true);
    return err;
}

int aof_file_reopen(aof_file *file, const char *path)
{
    int err = open_at(file, path, 0);

    if (!err) {
        file->torn = true;
        err = mend(file);
    }
    if (!err && file->size < AOF_OPENING_BYTES)
        err = write_opening(file);
    if (!err && fault_fsync(file->faults, file->fd) != 0)
        err = -errno;
    if (err)
        aof_file_close(file);
    else
        is_durable(file, file->size == AOF_OPENING_BYTES);
    return err;
}

void aof_file_close(aof_file *file)
{
    if (file->fd >= 0 && file->prepared > file->size)
        fault_ftruncate(file->faults, file->fd,
                        (off_t)file->size); /* otherwise whoever reads it passes the filler */
    if (file->fd >= 0)
        close(file->fd);
    free(file->block);
    file->fd = -1;
    file->block = NULL;
}

int aof_file_cut(const char *path, uint64_t size, fault_plan *faults)
{
    int fd = fault_open(faults, path, O_WRONLY | O_CLOEXEC, 0), err = 0;

    if (fd < 0 || fault_ftruncate(faults, fd, (off_t)size) != 0 || fault_fsync(faults, fd) != 0)
        err = -errno;
    if (fd >= 0)
        close(fd);
    return err;
}

int aof_directory_sync(const char *path, fault_plan *faults)
{
    int fd = fault_open(faults, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), err = 0;

    if (fd < 0)
        return -errno;
    if (fault_fsync(faults, fd) != 0)
        err = -errno;
    close(fd);
    return err;
}
