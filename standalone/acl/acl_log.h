/* acl_log.h - what users were denied: the entries of ACL LOG, the newest first.
 *
 * Threads    Any. One lock, which only who is denied something takes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_LOG_H
#define KV_STANDALONE_ACL_LOG_H

#include <pthread.h>

#include "acl_user.h"

typedef struct acl_log_entry acl_log_entry;

typedef struct acl_log {
    pthread_mutex_t lock; /* guards all of it */
    acl_log_entry *first, *last;
    size_t count;
    uint64_t next_id;
} acl_log;

void acl_log_init(acl_log *log);
void acl_log_done(acl_log *log);

/* Adds an entry, or counts it with one that is like it and not older than a minute. object: the command, key or channel, or
 * the word of a failed AUTH; client: a line of CLIENT LIST, taken over, may be NULL. At most max entries are kept. Without
 * memory there is no entry. */
void acl_log_add(acl_log *log, acl_verdict verdict, bool in_multi, kv_slice object, kv_slice user,
                 char *client, int64_t now_ms, size_t max);
void acl_log_reset(acl_log *log);
/* Replies the newest count entries. */
void acl_log_reply(acl_log *log, kv_reply *reply, size_t count, int64_t now_ms);

#endif
