/* replication_stream.h - the commands of a primary, applied to the databases in the primary's order.
 *
 *     replication_stream *stream = stream_new(server);
 *     stream_reset(stream, 0, offset);                     // a data set was loaded that stands at this offset
 *     status = stream_apply(stream, data, len, &used);     // whole commands among the received bytes, some at a time
 *     ... stream->offset is how far the databases are ...
 *
 * Threads    One at a time; the stores may be read by all others meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICATION_STREAM_H
#define KV_STANDALONE_REPLICATION_STREAM_H

#include "notify.h"
#include "stats.h"
#include "transaction.h"

#define STREAM_NAMES_MAX 16

struct server;

typedef enum stream_status {
    STREAM_MORE,  /* the rest is no whole command */
    STREAM_AGAIN, /* there may be more whole commands */
    STREAM_BAD,   /* no commands at all: the link is of no use */
    STREAM_NOMEM, /* a command could not be applied: the databases are no longer the primary's */
} stream_status;

/* What could not be applied, and was passed over. */
typedef struct stream_gaps {
    uint64_t unknown;                 /* commands that the table does not have */
    uint64_t database;                /* commands for databases beyond ours */
    uint64_t failed;                  /* commands that replied an error */
    char names[STREAM_NAMES_MAX][24]; /* of unknown ones: the first that came, each once */
    int name_count;
} stream_gaps;

typedef struct replication_stream replication_stream;

/* NULL: memory is out. */
replication_stream *stream_new(struct server *s);
void stream_free(replication_stream *stream);
/* The databases are what the primary's were at this offset; db is selected. Nothing of before is left. */
void stream_reset(replication_stream *stream, int db, int64_t offset);
/* The link was lost and goes on at stream_offset: what was half received comes again. */
void stream_rewind(replication_stream *stream);

/* Applies some commands; bytes up to *ret_used are done with. data is writable, stands in front of RESP_SLACK readable bytes,
 * and the next call begins at data + *ret_used. */
stream_status stream_apply(replication_stream *stream, char *data, size_t len, size_t *ret_used)
    KV_EXCLUDES(kv_shard_held);

/* Up to where everything is applied: a transaction counts when it has ended. */
int64_t stream_offset(const replication_stream *stream);
/* Up to where it was read. */
int64_t stream_received(const replication_stream *stream);
/* The database that is selected, -1: one that we do not have; what came last, NULL: nothing, or nothing that the table has. */
int stream_db(const replication_stream *stream);
const kv_command *stream_last_command(const replication_stream *stream);
/* Whether everything was applied as it came, and as it stands there: nothing was passed over, decoded in place or parted. */
bool stream_is_exact(const replication_stream *stream);
/* Whether the primary has asked how far we are; forgets it. */
bool stream_take_question(replication_stream *stream);
/* Why the last call failed: a sentence. */
const char *stream_error(const replication_stream *stream);
/* Copies the gaps. Any thread. */
void stream_read_gaps(replication_stream *stream, stream_gaps *ret_gaps);
/* What it counts as a thread that runs commands. */
stats *stream_stats(replication_stream *stream);

#endif
