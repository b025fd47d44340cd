/* aof_filler.h - what stands in a log file behind its last batch, where the next ones will be written.
 *
 *     ################################...#\n         lines of 64 bytes
 *
 * A sync of bytes that were appended has to write the file's new size and where its blocks are, too; one of bytes that overwrite
 * others has not, and takes about half as long. So with appendfsync always the file is prepared ahead (aof_file_prepare).
 *
 * redis-server 7 skips lines that begin with '#', so it loads such a file as it is; and a line may begin at any of these bytes, but
 * for the end of one: what is written before that has one byte more (aof_file.c).
 *
 * What a byte is depends on where it stands, so that bytes of a batch are hardly taken for filler.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_FILLER_H
#define KV_PERSIST_AOF_FILLER_H

#include <stdbool.h>
#include <string.h>

#include "kvstore/kvstore.h"

#define AOF_FILLER_LINE 64u

static inline char aof_filler_at(uint64_t offset)
{
    return offset % AOF_FILLER_LINE == AOF_FILLER_LINE - 1 ? '\n' : '#';
}

/* Fills len bytes that will stand at offset. */
static inline void aof_filler_write(char *bytes, size_t len, uint64_t offset)
{
    memset(bytes, '#', len);
    for (size_t i = AOF_FILLER_LINE - 1 - offset % AOF_FILLER_LINE; i < len; i += AOF_FILLER_LINE)
        bytes[i] = '\n';
}

/* How many bytes, from the first on, are filler, where they stand at offset. first: a batch may end directly before them. */
static inline size_t aof_filler_span(kv_slice bytes, uint64_t offset, bool first)
{
    size_t i = first && bytes.len && bytes.data[0] == '#';

    while (i < bytes.len && bytes.data[i] == aof_filler_at(offset + i))
        i++;
    return i;
}

#endif
