/* acl_log.c - see acl_log.h.
 *
 * A client that is denied the same thing again and again must not push everything else out of the log: what is like one of the
 * last LIKELY entries, and less than a minute old, is counted there. The length is bounded by acllog-max-len, and each entry by
 * OBJECT_MAX. SPDX-License-Identifier: MIT */
#include "acl_log.h"

#include <stdlib.h>

#define LIKELY      10
#define GROUPING_MS 60000
#define OBJECT_MAX  512 /* of what was denied, so much is kept */

struct acl_log_entry {
    acl_log_entry *next, *previous;
    acl_verdict verdict;
    bool in_multi;
    uint64_t count, id;
    int64_t created_ms, updated_ms;
    char *client; /* may be NULL */
    size_t object_len, user_len;
    char text[]; /* object, user */
};

void acl_log_init(acl_log *log)
{
    memset(log, 0, sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
}

static void free_entry(acl_log_entry *e)
{
    free(e->client);
    free(e);
}

static void unlink_entry(acl_log *log, acl_log_entry *e)
{
    *(e->previous ? &e->previous->next : &log->first) = e->next;
    *(e->next ? &e->next->previous : &log->last) = e->previous;
    log->count--;
}

static void push_entry(acl_log *log, acl_log_entry *e)
{
    e->previous = NULL;
    e->next = log->first;
    *(log->first ? &log->first->previous : &log->last) = e;
    log->first = e;
    log->count++;
}

static void trim(acl_log *log, size_t max)
{
    while (log->count > max) {
        acl_log_entry *e = log->last;

        unlink_entry(log, e);
        free_entry(e);
    }
}

void acl_log_reset(acl_log *log)
{
    pthread_mutex_lock(&log->lock);
    trim(log, 0);
    pthread_mutex_unlock(&log->lock);
}

void acl_log_done(acl_log *log)
{
    trim(log, 0);
    pthread_mutex_destroy(&log->lock);
}

static kv_slice object_of(const acl_log_entry *e)
{
    return kv_slice_of(e->text, e->object_len);
}

static kv_slice user_of(const acl_log_entry *e)
{
    return kv_slice_of(e->text + e->object_len, e->user_len);
}

static bool alike(const acl_log_entry *a, const acl_log_entry *b)
{
    return a->verdict == b->verdict && a->in_multi == b->in_multi &&
           b->updated_ms - a->updated_ms <= GROUPING_MS && kv_slice_equal(object_of(a), object_of(b)) &&
           kv_slice_equal(user_of(a), user_of(b));
}

/* Counts fresh with an entry like it, which becomes the first. */
static bool count_alike(acl_log *log, acl_log_entry *fresh)
{
    acl_log_entry *e = log->first;
    char *client = fresh->client;

    for (int i = 0; e && i < LIKELY && !alike(e, fresh); i++)
        e = e->next;
    if (!e || !alike(e, fresh))
        return false;
    unlink_entry(log, e);
    push_entry(log, e);
    e->count++;
    e->updated_ms = fresh->updated_ms;
    fresh->client = e->client;
    e->client = client;
    return true;
}

void acl_log_add(acl_log *log, acl_verdict verdict, bool in_multi, kv_slice object, kv_slice user,
                 char *client, int64_t now_ms, size_t max)
{
    size_t object_len = object.len < OBJECT_MAX ? object.len : OBJECT_MAX;
    size_t user_len = user.len < OBJECT_MAX ? user.len : OBJECT_MAX;
    acl_log_entry *fresh = malloc(sizeof *fresh + object_len + user_len);

    if (!fresh) {
        free(client);
        return;
    }
    *fresh = (acl_log_entry){ .verdict = verdict,
                              .in_multi = in_multi,
                              .count = 1,
                              .created_ms = now_ms,
                              .updated_ms = now_ms,
                              .client = client,
                              .object_len = object_len,
                              .user_len = user_len };
    if (object_len)
        memcpy(fresh->text, object.data, object_len);
    if (user_len)
        memcpy(fresh->text + object_len, user.data, user_len);
    pthread_mutex_lock(&log->lock);
    if (count_alike(log, fresh)) {
        free_entry(fresh);
    } else {
        fresh->id = log->next_id++;
        push_entry(log, fresh);
        trim(log, max);
    }
    pthread_mutex_unlock(&log->lock);
}

/* ---- replying ---- */

static void reply_text(kv_reply *r, const char *name, const char *value)
{
    kv_reply_bulk(r, kv_str(name));
    kv_reply_bulk(r, kv_str(value));
}

static void reply_number(kv_reply *r, const char *name, int64_t value)
{
    kv_reply_bulk(r, kv_str(name));
    kv_reply_int(r, value);
}

static void reply_entry(kv_reply *r, const acl_log_entry *e, int64_t now_ms)
{
    static const char *const reasons[] = { [ACL_DENIED_COMMAND] = "command",
                                           [ACL_DENIED_KEY] = "key",
                                           [ACL_DENIED_AUTH] = "auth",
                                           [ACL_DENIED_CHANNEL] = "channel" };

    r->ops->map(r, 10);
    reply_number(r, "count", (int64_t)e->count);
    reply_text(r, "reason", reasons[e->verdict]);
    reply_text(r, "context", e->in_multi ? "multi" : "toplevel");
    kv_reply_bulk(r, KV_STR("object"));
    kv_reply_bulk(r, object_of(e));
    kv_reply_bulk(r, KV_STR("username"));
    kv_reply_bulk(r, user_of(e));
    kv_reply_bulk(r, KV_STR("age-seconds"));
    r->ops->real(r, (double)(now_ms - e->updated_ms) / 1000);
    reply_text(r, "client-info", e->client ? e->client : "");
    reply_number(r, "entry-id", (int64_t)e->id);
    reply_number(r, "timestamp-created", e->created_ms);
    reply_number(r, "timestamp-last-updated", e->updated_ms);
}

void acl_log_reply(acl_log *log, kv_reply *reply, size_t count, int64_t now_ms)
{
    const acl_log_entry *e;

    pthread_mutex_lock(&log->lock);
    kv_reply_array(reply, count < log->count ? count : log->count);
    for (e = log->first; e && count; e = e->next, count--)
        reply_entry(reply, e, now_ms);
    pthread_mutex_unlock(&log->lock);
}
