/* slowlog.c - see slowlog.h. SPDX-License-Identifier: MIT */
#include "slowlog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "secret.h"

#define REMARK_MAX 64 /* of a remark about what was left out */

struct slowlog {
    pthread_mutex_t lock; /* guards the rest */
    slowlog_entry *first; /* the newest */
    size_t count;
    int64_t next_id;
};

slowlog *slowlog_new(void)
{
    slowlog *log = calloc(1, sizeof *log);

    if (log)
        pthread_mutex_init(&log->lock, NULL);
    return log;
}

/* ---- an entry ---- */

/* Writes argv[i], cut, to p; returns the end. */
static char *put_argument(char *p, const kv_command *row, int argc, const kv_slice argv[], int i)
{
    kv_slice word = secret_argument(row, argc, argv, i) ? KV_STR(SECRET_SHOWN) : argv[i];
    size_t len = word.len < SLOWLOG_BYTES ? word.len : SLOWLOG_BYTES;

    if (len)
        memcpy(p, word.data, len);
    p += len;
    if (len < word.len)
        p += snprintf(p, REMARK_MAX, "... (%zu more bytes)", word.len - len);
    return p;
}

/* Bytes that put_argument may write. */
static size_t argument_room(kv_slice word)
{
    return (word.len < SLOWLOG_BYTES ? word.len : SLOWLOG_BYTES) + REMARK_MAX;
}

slowlog_entry *slowlog_entry_new(const kv_command *row, int argc, const kv_slice argv[], int more,
                                 int64_t usec, int64_t now_ms)
{
    int shown = argc > SLOWLOG_ARGUMENTS ? SLOWLOG_ARGUMENTS - 1 : argc, n = 0;
    size_t room = 2 * REMARK_MAX;
    slowlog_entry *e;
    char *p;

    for (int i = 0; i < shown; i++)
        room += argument_room(argv[i]);
    e = malloc(sizeof *e + (size_t)(shown + 2) * sizeof *argv + room);
    if (!e)
        return NULL;
    *e = (slowlog_entry){ .time_s = now_ms / 1000, .usec = usec };
    p = (char *)&e->argv[shown + 2];
    for (; n < shown; n++) {
        char *end = put_argument(p, row, argc, argv, n);

        e->argv[n] = kv_slice_of(p, (size_t)(end - p));
        p = end;
    }
    if (shown < argc) {
        e->argv[n++] =
            kv_slice_of(p, (size_t)snprintf(p, REMARK_MAX, "... (%d more arguments)", argc - shown));
        p += REMARK_MAX;
    }
    if (more)
        e->argv[n++] =
            kv_slice_of(p, (size_t)snprintf(p, REMARK_MAX, "... (or one of %d more in the pipeline)", more));
    e->argc = n;
    return e;
}

void slowlog_entry_of(slowlog_entry *e, const char *address, const char *name)
{
    e->address = address ? strdup(address) : NULL;
    e->name = name ? strdup(name) : NULL;
}

void slowlog_entry_free(slowlog_entry *e)
{
    if (!e)
        return;
    free(e->address);
    free(e->name);
    free(e);
}

static void free_list(slowlog_entry *e)
{
    while (e) {
        slowlog_entry *next = e->next;

        slowlog_entry_free(e);
        e = next;
    }
}

void slowlog_free(slowlog *log)
{
    if (!log)
        return;
    free_list(log->first);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

/* ---- the list ---- */

/* Unlinks all entries behind the newest max_len. */
static slowlog_entry *cut(slowlog *log, size_t max_len)
{
    slowlog_entry **link = &log->first, *rest;

    if (log->count <= max_len)
        return NULL;
    for (size_t i = 0; i < max_len; i++)
        link = &(*link)->next;
    rest = *link;
    *link = NULL;
    log->count = max_len;
    return rest;
}

void slowlog_add(slowlog *log, slowlog_entry *e, size_t max_len)
{
    slowlog_entry *dropped;

    pthread_mutex_lock(&log->lock);
    e->id = log->next_id++;
    e->next = log->first;
    log->first = e;
    log->count++;
    dropped = cut(log, max_len);
    pthread_mutex_unlock(&log->lock);
    free_list(dropped);
}

size_t slowlog_len(slowlog *log)
{
    size_t count;

    pthread_mutex_lock(&log->lock);
    count = log->count;
    pthread_mutex_unlock(&log->lock);
    return count;
}

void slowlog_newest(slowlog *log, int64_t *ret_id, int64_t *ret_usec)
{
    pthread_mutex_lock(&log->lock);
    *ret_id = log->first ? log->first->id : 0;
    *ret_usec = log->first ? log->first->usec : 0;
    pthread_mutex_unlock(&log->lock);
}

void slowlog_reset(slowlog *log)
{
    slowlog_entry *dropped;

    pthread_mutex_lock(&log->lock);
    dropped = cut(log, 0);
    pthread_mutex_unlock(&log->lock);
    free_list(dropped);
}

static void reply_entry(const slowlog_entry *e, kv_reply *reply)
{
    kv_reply_array(reply, 6);
    kv_reply_int(reply, e->id);
    kv_reply_int(reply, e->time_s);
    kv_reply_int(reply, e->usec);
    kv_reply_array(reply, (size_t)e->argc);
    for (int i = 0; i < e->argc; i++)
        kv_reply_bulk(reply, e->argv[i]);
    kv_reply_bulk(reply, kv_str(e->address ? e->address : ""));
    kv_reply_bulk(reply, kv_str(e->name ? e->name : ""));
}

void slowlog_reply(slowlog *log, size_t most, kv_reply *reply)
{
    const slowlog_entry *e;

    pthread_mutex_lock(&log->lock);
    most = most < log->count ? most : log->count;
    kv_reply_array(reply, most);
    e = log->first;
    for (size_t i = 0; i < most; i++, e = e->next)
        reply_entry(e, reply);
    pthread_mutex_unlock(&log->lock);
}
