/* push_side.c - see push_side.h.
 *
 * After each step every client, but those who are in a transaction, sends PING with a word of its own; what it reads up to the
 * answer is what the step has sent to it. It goes to streams, which are compared each by itself: pieces whose order is no
 * promise are sorted as they come, and kept at the stream's end until something else follows.
 *
 * SPDX-License-Identifier: MIT */
#include "push_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "side.h"

/* What follows the pattern in a pmessage: channel and message; no data: it is none. */
static kv_slice after_pattern(kv_slice raw)
{
    static const char head[] = "4\r\n$8\r\npmessage\r\n$"; /* behind '*' or '>' */
    const char *end = raw.data + raw.len, *at = raw.data + sizeof head;
    size_t len;

    if (raw.len < 32 || memcmp(raw.data + 1, head, sizeof head - 1) != 0)
        return kv_slice_of(NULL, 0);
    len = strtoul(at, NULL, 10);
    at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1 + len;
    return kv_slice_of(at, (size_t)(end - at));
}

static int compare_slices(const void *a, const void *b)
{
    const kv_slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Sorts the last n pieces of what a client was sent, which are one message. */
static void sort_last(push_side *s, int client, int stream, int n)
{
    kv_slice pieces[same_message_max];
    size_t len = 0;
    char *copy, *to;

    for (int i = 0; i < n; i++)
        len += s->last[client][stream][i];
    copy = malloc(len);
    if (!copy)
        abort();
    to = s->said[client][stream] + s->said_len[client][stream] - len;
    memcpy(copy, to, len);
    for (size_t i = 0, at = 0; i < (size_t)n; at += s->last[client][stream][i++])
        pieces[i] = kv_slice_of(copy + at, s->last[client][stream][i]);
    qsort(pieces, (size_t)n, sizeof *pieces, compare_slices);
    for (int i = 0; i < n; to += pieces[i++].len) {
        memcpy(to, pieces[i].data, pieces[i].len);
        s->last[client][stream][i] = pieces[i].len;
    }
    free(copy);
}

/* redis-server writes the null of who has redirected, not of who is told. */
static kv_slice as_meant(kv_slice raw)
{
    if (kv_slice_equal(raw, KV_STR(">2\r\n$10\r\ninvalidate\r\n$-1\r\n")))
        return KV_STR(">2\r\n$10\r\ninvalidate\r\n_\r\n");
    if (kv_slice_equal(raw, KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n_\r\n")))
        return KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
    return raw;
}

static void append(push_side *s, int client, int stream, kv_slice raw)
{
    char **said = &s->said[client][stream];
    size_t *len = &s->said_len[client][stream];

    *said = realloc(*said, *len + raw.len);
    if (!*said)
        abort();
    memcpy(*said + *len, raw.data, raw.len);
    *len += raw.len;
}

static bool begins(kv_slice raw, const char *text)
{
    return raw.len > strlen(text) && memcmp(raw.data + 1, text, strlen(text)) == 0;
}

/* In RESP2 a message that somebody publishes to that channel looks the same. */
static bool is_invalidation(kv_slice raw)
{
    return begins(raw, "2\r\n$10\r\ninvalidate\r\n") ||
           (raw.data[0] == '*' && begins(raw, "3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"));
}

/* Appends what belongs together with what was there before (goes_on), in any order, or begins such a group. */
static void append_to_group(push_side *s, int client, int stream, kv_slice raw, bool goes_on)
{
    int *same = &s->same[client][stream];

    goes_on = goes_on && *same < same_message_max;
    append(s, client, stream, raw);
    *same = goes_on ? *same : 0;
    s->last[client][stream][(*same)++] = raw.len;
    if (goes_on)
        sort_last(s, client, stream, *same);
}

/* A message; one that several patterns match goes to its place among them. */
static void hear_message(push_side *s, int client, int stream, kv_slice raw)
{
    kv_slice tail = after_pattern(raw);
    const char *end = s->said[client][stream] + s->said_len[client][stream];
    bool goes_on = tail.data && s->tail_len[client][stream] == tail.len &&
                   s->said_len[client][stream] >= tail.len &&
                   memcmp(end - tail.len, tail.data, tail.len) == 0;

    s->tail_len[client][stream] = tail.len;
    append_to_group(s, client, stream, raw, goes_on);
}

static bool is_message(kv_slice raw)
{
    return begins(raw, "4\r\n$8\r\npmessage\r\n") || begins(raw, "3\r\n$7\r\nmessage\r\n") ||
           begins(raw, "3\r\n$8\r\nsmessage\r\n");
}

static bool is_event(kv_slice raw)
{
    return memmem(raw.data, raw.len, "__keyspace@", 11) || memmem(raw.data, raw.len, "__keyevent@", 11);
}

/* Keeps one reply or push. */
static void hear(push_side *s, int client, kv_slice bytes)
{
    kv_slice raw = as_meant(bytes);

    if (is_invalidation(raw)) {
        append_to_group(s, client, INVALIDATIONS, raw, raw.data[0] == '*' && s->invalidated[client]);
        s->invalidated[client] = true;
        return;
    }
    if (is_message(raw)) {
        hear_message(s, client, s->events_apart && is_event(raw) ? EVENTS : MESSAGES, raw);
        return;
    }
    hear_message(s, client, MESSAGES, raw);
    append(s, client, INVALIDATIONS, raw);
    if (!s->events_apart)
        append(s, client, EVENTS, raw);
    s->invalidated[client] = false;
}

static bool is_answer(const reply *r, const char *word)
{
    if (r->type == '*' && r->count == 2 && r->elements[0].text && strcmp(r->elements[0].text, "pong") == 0)
        r = &r->elements[1];
    return r->type == '$' && r->text && strcmp(r->text, word) == 0;
}

/* Reads what a client was sent, up to the answer to its PING. */
static bool listen_until(push_side *s, int client, const char *word)
{
    bool answered = false;

    while (!answered) {
        kv_slice raw;
        reply *r = conn_read_raw(s->conns[client], &raw);

        if (!r)
            return false;
        answered = is_answer(r, word);
        if (!answered)
            hear(s, client, raw);
        reply_free(r);
    }
    return true;
}

/* Reads up to the reply of a request in a transaction; pushes may come before it. */
static bool listen_for_reply(push_side *s, int client, reply **ret)
{
    for (;;) {
        kv_slice raw;
        reply *r = conn_read_raw(s->conns[client], &raw);

        if (!r)
            return false;
        hear(s, client, raw);
        if (r->type != '>') {
            *ret = r;
            return true;
        }
        reply_free(r);
    }
}

static bool tell(push_side *s, const step *what)
{
    kv_slice argv[words_max];

    for (int i = 0; i < what->count; i++) {
        const char *word = what->words[i];
        bool is_id = strncmp(word, "id", 2) == 0 && word[2] >= '0' && word[2] < '0' + clients && !word[3];

        argv[i] = kv_str(is_id ? s->id[word[2] - '0'] : word);
    }
    return conn_send_args(s->conns[what->client], (size_t)what->count, argv);
}

bool push_side_step(push_side *s, const step *what, unsigned number)
{
    int c = what->client;
    bool ends = step_is(what, "EXEC") || step_is(what, "DISCARD") || step_is(what, "RESET");
    char word[24];

    memset(s->said_len, 0, sizeof s->said_len);
    memset(s->same, 0, sizeof s->same);
    memset(s->tail_len, 0, sizeof s->tail_len);
    memset(s->invalidated, 0, sizeof s->invalidated);
    if (!tell(s, what))
        return false;
    if (ends)
        s->in_multi[c] = false;
    if (s->in_multi[c] || step_is(what, "MULTI")) {
        reply *r;

        if (!listen_for_reply(s, c, &r))
            return false;
        s->in_multi[c] = s->in_multi[c] || (r->type == '+' && strcmp(r->text, "OK") == 0);
        reply_free(r);
    }
    snprintf(word, sizeof word, "word%u", number);
    for (int n = 0; n <= clients; n++) {
        int i =
            (c + n) %
            clients; /* who has asked is answered first, and at the end again: what is broadcast may come late */

        if (s->in_multi[i])
            continue;
        if (!conn_send_args(s->conns[i], 2, (kv_slice[]){ KV_STR("PING"), kv_str(word) }) ||
            !listen_until(s, i, word))
            return false;
    }
    return true;
}

static bool told(conn *c, const char *wanted, const char *const args[])
{
    char *text = c ? conn_ask_text(c, args) : NULL;
    bool as_wanted = text && strncmp(text, wanted, strlen(wanted)) == 0;

    free(text);
    return as_wanted;
}

/* Until those of the conversation before have gone, and with them what they have subscribed to. */
static bool wait_for_others_to_leave(push_side *s)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    for (int tries = 0; tries < 60000; tries++) {
        char *text = conn_ask_text(s->conns[0], (const char *const[]){ "INFO", "clients", NULL });
        const char *at = text ? strstr(text, "connected_clients:") : NULL;
        bool alone = at && atoi(at + strlen("connected_clients:")) == clients;

        free(text);
        if (!at || alone)
            return alone;
        nanosleep(&pause, NULL);
    }
    return false;
}

bool push_side_begin(push_side *s)
{
    bool ok = true;

    for (int i = 0; i < clients; i++) {
        conn_close(s->conns[i]);
        s->conns[i] = NULL;
    }
    for (int i = 0; i < clients && ok; i++) {
        char *text;

        s->in_multi[i] = false;
        s->conns[i] = conn_open_unix(server_socket(s->server));
        ok = s->conns[i] != NULL;
        text = ok ? conn_ask_text(s->conns[i], (const char *const[]){ "CLIENT", "ID", NULL }) : NULL;
        ok = text && text[0] == ':';
        if (ok)
            snprintf(s->id[i], sizeof s->id[i], "%s", text + 1);
        free(text);
        if (ok && i >= clients / 2)
            ok = told(s->conns[i], "%", (const char *const[]){ "HELLO", "3", NULL });
        if (ok && i == told_client)
            ok = told(s->conns[i], ">3 $subscribe", (const char *const[]){ "SUBSCRIBE", "told", NULL });
    }
    return ok && wait_for_others_to_leave(s) &&
           told(s->conns[0], "+OK", (const char *const[]){ "FLUSHALL", NULL }) &&
           told(s->conns[0], "+OK",
                (const char *const[]){ "CONFIG", "SET", "notify-keyspace-events", "KEA", NULL });
}

void push_side_end(push_side *s)
{
    for (int i = 0; i < clients; i++) {
        conn_close(s->conns[i]);
        for (int k = 0; k < STREAMS; k++)
            free(s->said[i][k]);
    }
}

bool push_side_open(push_side *s, const char *name, const char *const server_options[])
{
    s->name = name;
    s->server = side_start(name, server_options);
    return s->server != NULL;
}
