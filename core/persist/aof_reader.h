/* aof_reader.h - what of a log file may be believed.
 *
 *     aof_reader_open(&reader, path, 0, &opening);
 *     while ((found = aof_reader_next(&reader, &unit)) == AOF_UNIT)
 *         ... unit.bytes: whole commands, acts not cut in two; aof_command_parse takes them apart ...
 *     if (found != AOF_END) ... reader.reason, at reader.offset ...
 *
 * A file of ours is believed batch by batch (aof_frame.h). One that redis-server has written has nothing to be checked but its
 * form; and what redis-server has appended to a file of ours is taken like that. Filler behind the last batch is nothing.
 *
 * Threads    One at a time.
 * Ownership  A unit points into the reader's memory, until the next call.
 * Memory     Grows with what is read, to the longest batch or act; never with a number that was read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_READER_H
#define KV_PERSIST_AOF_READER_H

#include <stdbool.h>

#include "aof_frame.h"

typedef enum aof_found {
    AOF_UNIT,
    AOF_END, /* all of the file was believed, but for filler */
    AOF_TORN, /* what is behind offset is no whole batch or command, and nothing whole follows: what a crash leaves */
    AOF_DAMAGED, /* anything else */
    AOF_FAILED,  /* the file cannot be read, or memory is out */
} aof_found;

typedef struct aof_unit {
    kv_slice bytes;
    uint64_t offset;   /* of bytes, in the file */
    uint64_t sequence; /* of the batch; 0: it has none */
} aof_unit;

typedef struct aof_reader {
    int fd;
    char *data; /* bytes start .. start + len are of the file, from offset on */
    size_t start, len, capacity;
    uint64_t offset; /* up to where the file was believed; where something is wrong with it */
    uint64_t size;   /* of the file, when it was opened */
    uint64_t
        filler; /* bytes of filler (aof_filler.h) that it ends with; known at its end, or when it is torn */
    bool begun, ours, plain; /* ours: it has an opening line; plain: commands without batches are read */
    bool expects;
    aof_opening opening; /* expected, or found */
    uint64_t next;       /* the sequence of the next batch */
    char reason[256];
} aof_reader;

/* From byte `from` on, which is 0 but behind an RDB preamble. opening: that the file must have, or NULL: what it has. 0 or -errno. */
int aof_reader_open(aof_reader *reader, const char *path, uint64_t from, const aof_opening *opening)
    KV_EXCLUDES(kv_shard_held);
void aof_reader_close(aof_reader *reader);
aof_found aof_reader_next(aof_reader *reader, aof_unit *ret_unit) KV_EXCLUDES(kv_shard_held);

/* ---- commands ---- */

typedef struct aof_command {
    kv_slice *argv;
    int argc, capacity;
} aof_command;

typedef enum aof_parse { AOF_WHOLE, AOF_SHORT, AOF_MALFORMED, AOF_NOMEM } aof_parse;

/* The command that bytes begin with, and how long it is; lines that begin with '#' before it are skipped and count. AOF_SHORT: bytes end
 * within it, or are nothing but such lines. All zero is an empty command. */
aof_parse aof_command_parse(aof_command *command, kv_slice bytes, size_t *ret_used);
void aof_command_done(aof_command *command);

#endif
