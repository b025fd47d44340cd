/* slowlog.h - the commands that took long: the newest of them, in a list of bounded length.
 *
 *     slowlog_entry *e = slowlog_entry_new(row, argc, argv, more, 12345, now_ms);
 *     slowlog_entry_of(e, "127.0.0.1:4711", "name");
 *     slowlog_add(log, e, 128);
 *
 * Arguments are cut as Redis cuts them: 32 of them, of 128 bytes each, with a remark about the rest. So an entry takes at
 * most about 5 KiB, and the list at most that times its length.
 *
 * Threads    Any. One lock, a leaf, taken by commands that were slow and by SLOWLOG.
 * Ownership  slowlog_add takes the entry over.
 * Errors     NULL: memory is out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SLOWLOG_H
#define KV_STANDALONE_SLOWLOG_H

#include "command.h"

#define SLOWLOG_ARGUMENTS 32
#define SLOWLOG_BYTES     128

typedef struct slowlog slowlog;

typedef struct slowlog_entry {
    struct slowlog_entry *next; /* the older one */
    int64_t id, time_s, usec;
    char *address, *name; /* the client's; NULL: unknown, or none */
    int argc;
    kv_slice argv[]; /* and their bytes behind them */
} slowlog_entry;

slowlog *slowlog_new(void);
void slowlog_free(slowlog *log);

/* more: so many other requests ran together with this one, and it is not known which of them was slow; a last argument says
 * so. Secrets are left out (secret.h). */
slowlog_entry *slowlog_entry_new(const kv_command *row, int argc, const kv_slice argv[], int more,
                                 int64_t usec, int64_t now_ms);
/* Notes whose it was; copies that cannot be made are left out. */
void slowlog_entry_of(slowlog_entry *e, const char *address, const char *name);
void slowlog_entry_free(slowlog_entry *e);

/* Puts it in front, and drops the oldest beyond max_len. */
void slowlog_add(slowlog *log, slowlog_entry *e, size_t max_len) KV_EXCLUDES(kv_shard_held);
size_t slowlog_len(slowlog *log);
/* Of the newest entry; 0 and 0: there is none. */
void slowlog_newest(slowlog *log, int64_t *ret_id, int64_t *ret_usec);
void slowlog_reset(slowlog *log);
/* Replies the newest most entries, as SLOWLOG GET does. */
void slowlog_reply(slowlog *log, size_t most, kv_reply *reply);

#endif
