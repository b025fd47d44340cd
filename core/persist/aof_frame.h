/* aof_frame.h - the lines that frame what is in a log file: which file it is, and what each batch must be.
 *
 *     #KVLOG1 <id> <first> <crc>\r\n                 the opening line of a file
 *     #KV1 <sequence> <length> <unsynced> <crc> <check>\r\n     before each batch
 *     *3\r\n$3\r\nSET\r\n...                         the batch: length bytes, commands of RESP
 *
 * All numbers are hexadecimal of a fixed width. redis-server 7 skips lines that begin with '#', so it loads such a file as it
 * is; see aof_reader.h for how we do.
 *
 * unsynced: how many of the batches before it were not known to be on disk when it was written. So whoever finds a bad batch and a good
 * one behind it can tell damage from what a power cut leaves of writes that had not been synced (aof_reader.c). A batch of no
 * bytes, a mark, is only there to say that.
 *
 * The crc of a batch is that of its bytes. The check is that of its line up to there, begun with the id of the file: a line that
 * was written for another file, or elsewhere in the past of this disk, is none of ours. Sequences go up by one, over
 * all files of a log, so that nothing can be missing between two batches.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_FRAME_H
#define KV_PERSIST_AOF_FRAME_H

#include <stdbool.h>

#include "kvstore/kvstore.h"

#define AOF_OPENING_BYTES 52
#define AOF_HEADER_BYTES  67
#define AOF_OPENING_MARK  "#KVLOG1 "
#define AOF_HEADER_MARK   "#KV1 "

typedef struct aof_opening {
    uint64_t id;    /* of this file, drawn at random */
    uint64_t first; /* the sequence of its first batch */
} aof_opening;

typedef struct aof_header {
    uint64_t sequence, length;
    uint32_t unsynced; /* this many, directly before it, may not be on disk; UINT32_MAX: that or more */
    uint32_t crc;      /* CRC32C of length bytes */
} aof_header;

void aof_opening_write(char line[AOF_OPENING_BYTES], const aof_opening *opening);
/* Whether line is one, whole and undamaged. */
bool aof_opening_read(const char line[AOF_OPENING_BYTES], aof_opening *ret_opening);

void aof_header_write(char line[AOF_HEADER_BYTES], const aof_header *header, uint64_t id);
/* Whether line is one, undamaged, and of the file with that id. */
bool aof_header_read(const char line[AOF_HEADER_BYTES], uint64_t id, aof_header *ret_header);

#endif
