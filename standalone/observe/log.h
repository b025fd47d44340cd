/* log.h - the server's log, in Redis's line format or in logfmt.
 *
 *     12345:M 23 Nov 2026 01:42:51.770 * Ready to accept connections
 *     pid=12345 role=primary timestamp="2026-11-23T01:42:51.770+00:00" level=notice message="Ready to accept connections"
 *
 * Where the standard output is the journal's, lines begin with "<5>", its form of a priority, and have no time and no
 * number of the process, which it knows.
 *
 * Threads    Any thread may write; a line is one write(2) to a descriptor in append mode, so lines never mix.
 * Errors     A log that cannot be written loses lines, never a request.
 * Discipline Neither keys, nor values, nor arguments of AUTH ever go into the log.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_LOG_H
#define KV_STANDALONE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* The levels are CONFIG_LOG_DEBUG to CONFIG_LOG_WARNING. */
typedef struct log {
    _Atomic int level; /* lines below it are dropped */
    int fd;
    _Atomic char role; /* 'C' while starting, then 'M', or 'S' with a primary */
    bool to_syslog, to_journal;
    _Atomic int format, time_format;  /* CONFIG_FORMAT_..., CONFIG_TIME_... */
    char path[4096];                  /* "": standard output */
    _Atomic int64_t muted_until_s[8]; /* for log_limited, by its slots */
} log;

/* Standard output, notices and above. */
void log_init(log *l);
/* Opens the file named by the configuration, and syslog if asked. 0, or -1 with errno. */
int log_open(log *l, config *c) KV_EXCLUDES(kv_shard_held);
/* Makes changes of loglevel and of the formats effective. */
void log_apply(log *l, config *c);
/* Opens the file anew, after it was moved away. Lines written meanwhile go to one of the two. */
void log_reopen(log *l) KV_EXCLUDES(kv_shard_held);
void log_done(log *l);

void log_write(log *l, int level, const char *format, ...) KV_EXCLUDES(kv_shard_held)
    __attribute__((format(printf, 3, 4)));

/* As log_write, but at most one line a second of each slot: for what a stranger can provoke. */
enum log_slot {
    LOG_ACCEPT,
    LOG_CLIENT_LIMIT,
    LOG_HTTP,
    LOG_PROTOCOL,
    LOG_REPLICATION,
    LOG_WATCHDOG,
    LOG_SLOTS
};
void log_limited(log *l, enum log_slot slot, int level, const char *format, ...) KV_EXCLUDES(kv_shard_held)
    __attribute__((format(printf, 4, 5)));

#endif
