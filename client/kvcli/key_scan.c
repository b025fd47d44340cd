/* key_scan.c - SPDX-License-Identifier: MIT */
#include "key_scan.h"

#include <stdio.h>

#include "interrupt.h"

enum { COUNT_DEFAULT = 100, ROUND_TRIPS_PER_PAUSE = 100 };

void key_scan_begin(key_scan *scan, conversation *c)
{
    const char *const dbsize[] = { "DBSIZE", NULL };
    kvc_reply *reply = NULL;
    kvc_error error;

    *scan = (key_scan){ .c = c };
    text_add_str(&scan->cursor, "0");
    if (c->settings->stderr_is_terminal && conversation_ask_strings(c, dbsize, &reply, &error) == KVC_OK)
        scan->total = kvc_reply_double(reply);
    kvc_reply_free(reply);
    progress_begin(&scan->progress, c->settings, "keys", scan->total);
}

static void make_command(const key_scan *scan, words *command)
{
    const settings *s = scan->c->settings;
    text count = { 0 };

    text_printf(&count, "%ld", s->count ? s->count : COUNT_DEFAULT);
    words_add_str(command, "SCAN");
    words_add(command, text_slice(&scan->cursor));
    if (s->pattern) {
        words_add_str(command, "MATCH");
        words_add(command, kvc_bytes(s->pattern, s->pattern_len));
    }
    if (s->count || s->pattern || s->type) {
        words_add_str(command, "COUNT");
        words_add(command, text_slice(&count));
    }
    if (s->type) {
        words_add_str(command, "TYPE");
        words_add_str(command, s->type);
    }
    text_done(&count);
}

static kvc_status refuse(const kvc_reply *reply, kvc_error *error)
{
    *error = (kvc_error){ .status = KVC_EREPLY };
    if (kvc_reply_type(reply) == KVC_TYPE_ERROR)
        snprintf(error->message, sizeof error->message, "SCAN: %s", kvc_reply_text(reply).data);
    else
        snprintf(error->message, sizeof error->message,
                 "SCAN was not answered with a cursor and a list of keys");
    return KVC_EREPLY;
}

kvc_status key_scan_next(key_scan *scan, kvc_error *error)
{
    const settings *s = scan->c->settings;
    words command = { 0 };
    kvc_status status;

    kvc_reply_free(scan->reply);
    scan->reply = NULL;
    if (scan->begun && strcmp(text_str(&scan->cursor), "0") == 0)
        return KVC_NIL;
    scan->begun = true;
    if (scan->round_trips++ % ROUND_TRIPS_PER_PAUSE == ROUND_TRIPS_PER_PAUSE - 1 && s->interval > 0)
        interrupt_sleep(s->interval);
    make_command(scan, &command);
    status = interrupt_happened() ? KVC_ESTATE
                                  : conversation_ask(scan->c, command.n, command.items, &scan->reply, error);
    words_done(&command);
    if (status != KVC_OK)
        return status;
    if (kvc_reply_type(scan->reply) != KVC_TYPE_ARRAY || kvc_reply_count(scan->reply) != 2)
        return refuse(scan->reply, error);
    text_clear(&scan->cursor);
    text_add_slice(&scan->cursor, kvc_reply_text(kvc_reply_at(scan->reply, 0)));
    scan->seen +=
        s->pattern || s->type ? (double)(s->count ? s->count : COUNT_DEFAULT) : (double)key_scan_count(scan);
    progress_set(&scan->progress, scan->seen);
    return KVC_OK;
}

size_t key_scan_count(const key_scan *scan)
{
    return kvc_reply_count(kvc_reply_at(scan->reply, 1));
}

kvc_slice key_scan_key(const key_scan *scan, size_t i)
{
    return kvc_reply_text(kvc_reply_at(kvc_reply_at(scan->reply, 1), i));
}

void key_scan_end(key_scan *scan)
{
    progress_end(&scan->progress);
    kvc_reply_free(scan->reply);
    text_done(&scan->cursor);
}

kvc_status key_scan_pipeline(conversation *c, size_t n, key_scan_make_fn *make, key_scan_take_fn *take,
                             void *arg, kvc_error *error)
{
    kvc_status status = KVC_OK;

    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        words command = { 0 };

        make(arg, i, &command);
        status = kvc_connection_append(c->connection, command.n, command.items, error);
        words_done(&command);
    }
    interrupt_watch(c->connection);
    if (status == KVC_OK)
        status = kvc_connection_flush(c->connection, error);
    interrupt_watch(NULL);
    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        kvc_reply *reply = NULL;

        do {
            kvc_reply_free(reply);
            status = conversation_next(c, UINT32_MAX, &reply, error);
        } while (status == KVC_OK && kvc_reply_type(reply) == KVC_TYPE_PUSH);
        if (status == KVC_OK)
            take(arg, i, reply);
        kvc_reply_free(reply);
    }
    return status;
}
