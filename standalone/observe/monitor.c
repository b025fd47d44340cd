/* monitor.c - see monitor.h.
 *
 * A line of text per command, to every client that has said MONITOR, in the order of each connection's commands:
 *
 *     +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
 *
 * The way of a line is that of a published message: a monitor is subscribed to a topic of a kind of its own, whose name is
 * its filter (empty: everything), and whose messages have no head (pubsub.c). So lines arrive across workers in order, a
 * worker that has much to deliver slows down those who publish, and a monitor that does not read is closed by
 * client-output-buffer-limit pubsub. A filter is decided where the command runs, once for all who have the same.
 *
 * As in Redis, commands are shown after they have run, those of a transaction when EXEC runs them, administrators'
 * commands never, and secrets as "(redacted)". A request that was refused (unknown, wrong arguments, not allowed) is not shown.
 *
 * Filters are this server's own:
 *
 *     MONITOR [MATCH pattern] [COMMAND name [name ...]]
 *
 * shows commands with a key, or if the command has none an argument, that matches; and only commands of these names
 * ("get", "config|get", or "config" for all of its subcommands). COMMAND takes what follows it.
 *
 * Cost: nothing while nobody monitors, but a look at a number of the server per batch. With a monitor, no commands run
 * together, and each costs about a microsecond.
 *
 * SPDX-License-Identifier: MIT */
#include "monitor.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "args.h"
#include "multi.h"
#include "pattern.h"
#include "pubsub.h"
#include "secret.h"
#include "server.h"
#include "session.h"

#define ALWAYS_SECRET(row) ((row)->flags & (KV_CMD_ADMIN | KV_CMD_SKIP_MONITOR))
#define KEYS_LOOKED_AT     64
#define FILTER_BYTES_MAX   4096

/* A filter that somebody has. */
typedef struct filter {
    kv_slice name; /* the topic's: pattern, NUL, then names of commands, each with a NUL */
    kv_slice pattern;
    size_t users;
} filter;

struct monitors {
    pthread_rwlock_t lock; /* guards the rest; a leaf */
    filter filters[MONITOR_FILTERS_MAX];
    size_t count;
};

monitors *monitor_open(void)
{
    monitors *m = calloc(1, sizeof *m);

    if (m)
        pthread_rwlock_init(&m->lock, NULL);
    return m;
}

void monitor_close(monitors *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free((char *)m->filters[i].name.data);
    pthread_rwlock_destroy(&m->lock);
    free(m);
}

/* ---- filters ---- */

static filter *find_filter(monitors *m, kv_slice name)
{
    for (size_t i = 0; i < m->count; i++)
        if (kv_slice_equal(m->filters[i].name, name))
            return &m->filters[i];
    return NULL;
}

/* One user more of a filter. KV_ENOMEM; KV_ETOOBIG: there are too many. */
static int use_filter(server *s, kv_slice name)
{
    monitors *m = s->monitors;
    filter *f;
    char *copy;
    int err = 0;

    pthread_rwlock_wrlock(&m->lock);
    f = find_filter(m, name);
    if (f) {
        f->users++;
    } else if (m->count == MONITOR_FILTERS_MAX) {
        err = KV_ETOOBIG;
    } else if (!(copy = malloc(name.len + 1))) {
        err = KV_ENOMEM;
    } else {
        if (name.len)
            memcpy(copy, name.data, name.len);
        copy[name.len] = '\0';
        m->filters[m->count++] = (filter){ kv_slice_of(copy, name.len), kv_str(copy), 1 };
        server_restrict(s, SERVER_MONITORED, SERVER_MONITORED);
    }
    pthread_rwlock_unlock(&m->lock);
    return err;
}

static void leave_filter(server *s, kv_slice name)
{
    monitors *m = s->monitors;
    filter *f;

    pthread_rwlock_wrlock(&m->lock);
    f = find_filter(m, name);
    if (f && --f->users == 0) {
        free((char *)f->name.data);
        *f = m->filters[--m->count];
        server_restrict(s, SERVER_MONITORED, m->count ? SERVER_MONITORED : 0);
    }
    pthread_rwlock_unlock(&m->lock);
}

static bool is_named(const kv_command *row, const char *name)
{
    char buffer[KV_COMMAND_NAME_MAX];
    kv_slice full = kv_command_name(row, buffer);

    return kv_slice_equal(full, kv_str(name)) || (row->container && strcmp(row->container, name) == 0);
}

static bool wants_command(const filter *f, const kv_command *row)
{
    const char *at = f->name.data + f->pattern.len + 1, *end = f->name.data + f->name.len;

    if (at >= end)
        return true;
    for (; at < end; at += strlen(at) + 1)
        if (is_named(row, at))
            return true;
    return false;
}

static bool wants_arguments(const filter *f, const kv_command *row, int argc, const kv_slice argv[])
{
    int positions[KEYS_LOOKED_AT], n;

    if (f->pattern.len == 0)
        return true;
    n = kv_command_keys(row, argc, argv, positions, KEYS_LOOKED_AT);
    for (int i = 0; i < n && i < KEYS_LOOKED_AT; i++)
        if (pattern_match(f->pattern, argv[positions[i]], false))
            return true;
    for (int i = 1; n <= 0 && i < argc; i++)
        if (!secret_argument(row, argc, argv, i) && pattern_match(f->pattern, argv[i], false))
            return true;
    return false;
}

/* ---- lines ---- */

/* text between quotation marks, as Redis escapes it. */
static void write_quoted(FILE *out, kv_slice text)
{
    static const char plain[] = "\n\r\t\a\b\"\\", letters[] = "nrtab\"\\";

    fputc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        const char *at = c ? strchr(plain, c) : NULL;

        if (at)
            fprintf(out, "\\%c", letters[at - plain]);
        else if (c >= ' ' && c <= '~')
            fputc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
    fputc('"', out);
}

static void write_line(FILE *out, const connection *c, const kv_command *row, int argc, const kv_slice argv[])
{
    char address[CONNECTION_ADDRESS_MAX] = "?:0";
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (c->fd >= 0)
        connection_address(c, address);
    if (c->flags & CONNECTION_UNIX)
        fprintf(out, "+%lld.%06ld [%d unix:%.*s]", (long long)now.tv_sec, now.tv_nsec / 1000, c->db,
                (int)(strlen(address) - 2), address);
    else
        fprintf(out, "+%lld.%06ld [%d %s]", (long long)now.tv_sec, now.tv_nsec / 1000, c->db, address);
    for (int i = 0; i < argc; i++) {
        fputc(' ', out);
        write_quoted(out, secret_argument(row, argc, argv, i) ? KV_STR(SECRET_SHOWN) : argv[i]);
    }
    fputs("\r\n", out);
}

/* Copies of the names of those filters that want to see the command; they point into text, which is malloc's. */
static size_t choose_filters(monitors *m, const kv_command *row, int argc, const kv_slice argv[],
                             kv_slice names[MONITOR_FILTERS_MAX])
{
    size_t n = 0;

    pthread_rwlock_rdlock(&m->lock);
    for (size_t i = 0; i < m->count; i++) {
        const filter *f = &m->filters[i];
        char *copy;

        if (!wants_command(f, row) || !wants_arguments(f, row, argc, argv))
            continue;
        copy = malloc(f->name.len + 1);
        if (!copy)
            continue; /* the line is lost: memory is out */
        memcpy(copy, f->name.data, f->name.len + 1);
        names[n++] = kv_slice_of(copy, f->name.len);
    }
    pthread_rwlock_unlock(&m->lock);
    return n;
}

bool monitor_show(connection *c, const kv_command *row, int argc, const kv_slice argv[])
{
    server *s = c->owner->server;
    kv_slice names[MONITOR_FILTERS_MAX];
    bool crowded = false, crowd;
    char *text = NULL;
    size_t len = 0, n;
    FILE *out;

    if (ALWAYS_SECRET(row) || argc < 1)
        return false;
    n = choose_filters(s->monitors, row, argc, argv, names);
    out = n ? open_memstream(&text, &len) : NULL;
    if (out) {
        write_line(out, c, row, argc, argv);
        if (fclose(out) != 0)
            len = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (len) {
            pubsub_publish(s, c->owner, TOPIC_MONITOR, names[i], kv_slice_of(text, len), &crowd);
            crowded |= crowd;
        }
        free((char *)names[i].data);
    }
    free(text);
    return crowded;
}

bool monitor_show_queue(connection *c)
{
    const multi *m = c->multi;
    bool crowded = false;

    for (size_t i = 0; m && i < m->count; i++)
        crowded |= monitor_show(c, m->queue[i].row, m->queue[i].argc, m->queue[i].argv);
    return crowded;
}

/* ---- being one ---- */

static void forget_filter(void *arg, kv_slice name)
{
    connection *c = arg;

    leave_filter(c->owner->server, name);
}

static void unsubscribed(void *arg, kv_slice name)
{
    (void)arg;
    (void)name;
}

void monitor_leave(connection *c)
{
    if (!(c->flags & CONNECTION_MONITOR))
        return;
    c->flags &= ~(unsigned)CONNECTION_MONITOR;
    pubsub_each(c, TOPIC_MONITOR, forget_filter, c);
}

static int enter(connection *c, kv_slice name)
{
    server *s = c->owner->server;
    int err = use_filter(s, name);

    if (err)
        return err;
    err = pubsub_subscribe(c, TOPIC_MONITOR, name);
    if (err) {
        leave_filter(s, name);
        return err;
    }
    c->flags |= CONNECTION_MONITOR | CONNECTION_WATCHED;
    return 0;
}

/* Writes the filter that the arguments describe; its length, or -1: an error was replied. */
static int parse_filter(kv_call *call, char text[FILTER_BYTES_MAX])
{
    kv_slice pattern = { NULL, 0 };
    size_t len;
    int i = 1;

    if (i + 1 < call->argc && kv_word_is(call->argv[i], "match")) {
        pattern = call->argv[i + 1];
        i += 2;
    }
    if (pattern.len >= FILTER_BYTES_MAX - 1 || (pattern.len && memchr(pattern.data, 0, pattern.len))) {
        kv_reply_errorf(call->reply, "ERR the pattern is too long, or holds a zero byte");
        return -1;
    }
    if (pattern.len)
        memcpy(text, pattern.data, pattern.len);
    len = pattern.len;
    if (i == call->argc)
        return (int)len;
    if (!kv_word_is(call->argv[i], "command") || ++i == call->argc) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return -1;
    }
    text[len++] = '\0';
    for (; i < call->argc; i++) {
        kv_slice name = call->argv[i];

        if (name.len == 0 || name.len >= KV_COMMAND_NAME_MAX || len + name.len + 1 > FILTER_BYTES_MAX) {
            kv_reply_errorf(call->reply, "ERR a name of a command is too long, or there are too many");
            return -1;
        }
        for (size_t k = 0; k < name.len; k++)
            text[len++] = kv_lower(name.data[k]);
        text[len++] = '\0';
    }
    return (int)len;
}

/* MONITOR [MATCH pattern] [COMMAND name [name ...]] */
void session_monitor(kv_call *call)
{
    connection *c = session_connection(call);
    char text[FILTER_BYTES_MAX];
    int len, err;

    if (c->flags & CONNECTION_MULTI) {
        kv_reply_errorf(call->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    len = parse_filter(call, text);
    if (len < 0)
        return;
    monitor_leave(c); /* what it asks for now counts */
    pubsub_unsubscribe_some(c, TOPIC_MONITOR, SIZE_MAX, &(size_t){ 0 }, unsubscribed, NULL);
    err = enter(c, kv_slice_of(text, (size_t)len));
    if (err == KV_ETOOBIG)
        kv_reply_errorf(call->reply, "ERR there are too many different filters of monitors");
    else if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_ok(call->reply);
}
