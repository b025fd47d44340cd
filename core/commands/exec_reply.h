/* exec_reply.h - the sink that builds a kv_value, and the memory of that.
 *
 *     exec_reply *result = exec_reply_new(domain);
 *     exec_sink_init(&sink, result);
 *     ... run commands with call.reply = &sink.reply ...
 *     if (!sink.failed) hand out &result->root; else kv_value_free(&result->root);
 *
 * Private to exec.c. SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_EXEC_REPLY_H
#define KV_COMMANDS_EXEC_REPLY_H

#include "call.h"

#define EXEC_DEPTH_MAX 32 /* of aggregates in aggregates; COMMAND DOCS needs 14 */

/* What kv_value_free needs to know; lives in the first chunk. */
typedef struct exec_reply {
    kv_domain *domain;    /* a reference */
    struct chunk *chunks; /* the newest first */
    kv_value root;
} exec_reply;

/* Where the next element of an aggregate goes, and how many are to come. */
struct frame {
    kv_value *next;
    size_t left;
};

typedef struct exec_sink {
    kv_reply reply;
    exec_reply *result;
    struct frame frames[EXEC_DEPTH_MAX];
    int depth;
    bool failed;
    kv_value nowhere; /* takes what comes after a failure */
} exec_sink;

/* NULL: memory is out. */
exec_reply *exec_reply_new(kv_domain *domain);
/* Memory that lives as long as the reply, 16-byte aligned; NULL: none is left. */
void *exec_reply_alloc(exec_reply *result, size_t size_bytes);
/* Makes sure that the next size_bytes come without asking for memory. */
bool exec_reply_reserve(exec_reply *result, size_t size_bytes);

void exec_sink_init(exec_sink *sink, exec_reply *result);
/* The root is an array of replies, and memory is out for the one with that index: it becomes an error, and the sink goes on with
 * the next. */
void exec_sink_give_up(exec_sink *sink, size_t index);

#endif
