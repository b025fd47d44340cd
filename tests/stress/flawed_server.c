/* flawed_server.c - a small RESP server that can be wrong in one way: what kvstress must find.
 *
 *     flawed_server --port 6379 [--socket PATH] [--flaw NAME] [--rate N] [--log FILE] [--commands GET,SET,...]
 *
 * One thread, one libevent loop, one map (flawed_store.c): without a flaw it is correct, with appends to a log as
 * durable as a kill -9 asks for. flaws.def lists the flaws; a rate of N lets one happen in one of N cases. The other
 * words that --flaw takes are no flaws of a store, but what must not be taken for one:
 *
 *     garbage   after some requests, bytes that are not RESP      refuses   every request gets an error
 *     dies      exit(1) after some requests                       hangs     no reply after some requests
 *     closes    every connection, at once                         nonsense  +WHAT to everything
 *
 * hiredis' reader takes requests apart; they are arrays of bulk strings as replies may be.
 *
 * SPDX-License-Identifier: MIT */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <hiredis/hiredis.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "flawed_store.h"

#define TROUBLE_AFTER 3000u /* requests: when to die, hang, ... */

#define FLAW(name, check, rate, what) FLAW_##name,
enum flaw {
#include "flaws.def"
    FLAWS,
    MODE_GARBAGE = FLAWS,
    MODE_DIES,
    MODE_HANGS,
    MODE_CLOSES,
    MODE_REFUSES,
    MODE_NONSENSE,
};
#undef FLAW
#define FLAW(name, check, rate, what) #name,
static const char *const NAMES[] = {
#include "flaws.def"
    "garbage", "dies", "hangs", "closes", "refuses", "nonsense"
};
#undef FLAW
#define FLAW(name, check, rate, what) rate,
static const unsigned RATES[] = {
#include "flaws.def"
};
#undef FLAW

typedef struct client client;

typedef struct server {
    struct event_base *base;
    enum flaw flaw;
    unsigned rate;
    const char *commands; /* the only ones that it knows, separated by commas; NULL: all */
    uint64_t random, requests;
    store *store;
    client *clients;
    unsigned serials;
    int log_fd;
    bool loading;
    struct evbuffer *log;
} server;

typedef struct watched {
    entry *entry;
    uint64_t version;
} watched;

struct client {
    server *server;
    client *next;
    struct bufferevent *socket;
    redisReader *reader;
    unsigned serial, requests;
    store *own; /* FLAW_connection_state */
    bool in_transaction, executing;
    redisReply **queue;
    size_t queued;
    watched *watched;
    size_t watched_count;
    char **channels, **patterns;
    size_t channel_count, pattern_count;
    struct evbuffer *out;
};

typedef redisReply request;

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t now_ms(void)
{
    return now_us() / 1000;
}

/* Whether the flaw shows this time. */
static bool shows(server *s, enum flaw flaw)
{
    if (s->flaw != flaw || s->loading)
        return false;
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (s->random >> 20) % s->rate == 0;
}

static void *grown(void *list, size_t count, size_t size)
{
    void *bigger = realloc(list, (count + 1) * size);

    if (!bigger)
        abort();
    return bigger;
}

/* ---- replies ---------------------------------------------------------------------------- */

static void say(client *c, const char *line)
{
    evbuffer_add_printf(c->out, "%s\r\n", line);
}

static void say_number(client *c, long long number)
{
    evbuffer_add_printf(c->out, ":%lld\r\n", number);
}

static void say_bytes(client *c, const char *bytes, size_t len)
{
    if (!bytes) {
        say(c, "$-1");
        return;
    }
    evbuffer_add_printf(c->out, "$%zu\r\n", len);
    evbuffer_add(c->out, bytes, len);
    evbuffer_add(c->out, "\r\n", 2);
}

/* ---- the map ---------------------------------------------------------------------------- */

static bool word_is(const request *word, const char *text)
{
    return strcasecmp(word->str, text) == 0;
}

static entry *find(client *c, const request *key)
{
    return store_entry(c->own ? c->own : c->server->store, key->str, key->len);
}

static bool is_over(server *s, const content *v)
{
    int64_t late_ms = 0;

    if (!v->bytes || !v->deadline_ms)
        return false;
    if (shows(s, FLAW_expired_served))
        late_ms = 40;
    if (shows(s, FLAW_expired_early))
        late_ms = -30;
    if (now_ms() < v->deadline_ms + late_ms)
        return false;
    return !shows(s, FLAW_expired_rarely);
}

/* What the key holds, for those who write. */
static const content *held(client *c, entry *e)
{
    static const content nothing = { .bytes = NULL };

    return is_over(c->server, &e->now) ? &nothing : &e->now;
}

/* The same, for those who read. */
static const content *seen(client *c, entry *e)
{
    server *s = c->server;
    int64_t age_us = now_us() - e->changed_us;
    bool old = false;

    if (shows(s, FLAW_stale_read) || (s->flaw == FLAW_stale_newcomer && c->requests < 20 && age_us < 20000))
        old = true;
    if (s->flaw == FLAW_stale_worker && age_us < 300 && e->writer % 2 != c->serial % 2)
        old = true;
    return old && e->version > 1 ? &e->before : held(c, e);
}

static void log_content(client *c, const entry *e)
{
    server *s = c->server;

    if (s->log_fd < 0 || s->loading || shows(s, FLAW_crash_rarely))
        return;
    evbuffer_add_printf(s->log, "%zu %lld %lld\n", e->key_len, e->now.bytes ? (long long)e->now.len : -1LL,
                        (long long)e->now.deadline_ms);
    evbuffer_add(s->log, e->key, e->key_len);
    if (e->now.bytes)
        evbuffer_add(s->log, e->now.bytes, e->now.len);
}

static void put(client *c, entry *e, const char *bytes, size_t len, int64_t deadline_ms)
{
    entry_write(e, bytes, len, deadline_ms, c->serial, now_us());
    log_content(c, e);
}

static void clear(client *c, entry *e)
{
    entry_clear(e, c->serial, now_us());
    log_content(c, e);
}

/* ---- things that happen later ----------------------------------------------------------- */

typedef struct later {
    entry *entry;
    uint64_t version; /* only if nobody has written meanwhile */
    content content;
} later;

static void do_later(evutil_socket_t fd, short what, void *arg)
{
    later *l = arg;

    (void)fd;
    (void)what;
    if (l->entry->version == l->version) {
        if (l->content.bytes)
            entry_write(l->entry, l->content.bytes, l->content.len, l->content.deadline_ms, 0, now_us());
        else
            entry_clear(l->entry, 0, now_us());
    }
    content_free(&l->content);
    free(l);
}

static void later_holds(client *c, entry *e, content holds, long us)
{
    later *l = malloc(sizeof *l);
    struct timeval wait = { .tv_usec = us };

    if (!l)
        abort();
    *l = (later){ e, e->version, holds };
    if (event_base_once(c->server->base, -1, EV_TIMEOUT, do_later, l, &wait))
        abort();
}

/* The write just made is taken back, and made again later. */
static void put_off(client *c, entry *e, long us)
{
    content new = content_copy(&e->now), old = content_copy(&e->before);

    if (old.bytes)
        entry_write(e, old.bytes, old.len, old.deadline_ms, c->serial, 0);
    else
        entry_clear(e, c->serial, 0);
    content_free(&old);
    later_holds(c, e, new, us);
}

/* The write just made is taken back. */
static void take_back(client *c, entry *e)
{
    content old = content_copy(&e->before);

    if (old.bytes)
        entry_write(e, old.bytes, old.len, old.deadline_ms, c->serial, 0);
    else
        entry_clear(e, c->serial, 0);
    content_free(&old);
}

/* ---- strings ---------------------------------------------------------------------------- */

static bool equal(const content *v, const char *bytes, size_t len)
{
    return v->bytes && v->len == len && memcmp(v->bytes, bytes, len) == 0;
}

static void after_write(client *c, entry *e)
{
    if (shows(c->server, FLAW_lost_write))
        take_back(c, e);
    else if (shows(c->server, FLAW_write_gone))
        later_holds(c, e, content_copy(&e->before), 1000);
}

static void do_set(client *c, request **argv, size_t argc)
{
    server *s = c->server;
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);
    content old = content_copy(v);
    int64_t deadline_ms = s->flaw == FLAW_set_keeps_deadline ? v->deadline_ms : 0;
    bool give_old = false, go = true;

    for (size_t i = 3; i < argc; i++) {
        if (word_is(argv[i], "NX"))
            go = !v->bytes || shows(s, FLAW_setnx_twice);
        else if (word_is(argv[i], "XX"))
            go = v->bytes;
        else if (word_is(argv[i], "KEEPTTL"))
            deadline_ms = v->deadline_ms;
        else if (word_is(argv[i], "GET"))
            give_old = true;
        else if (word_is(argv[i], "PX") && i + 1 < argc)
            deadline_ms = now_ms() + atoll(argv[++i]->str);
        else if (word_is(argv[i], "EX") && i + 1 < argc)
            deadline_ms = now_ms() + atoll(argv[++i]->str) * 1000;
        else if (word_is(argv[i], "IFEQ") && i + 1 < argc) {
            i++;
            go = equal(v, argv[i]->str, argv[i]->len) || shows(s, FLAW_cas_rarely) ||
                 (s->flaw == FLAW_cas_twice && equal(&e->before, argv[i]->str, argv[i]->len));
        } else {
            say(c, "-ERR syntax error");
            content_free(&old);
            return;
        }
    }
    if (go) {
        put(c, e, argv[2]->str, argv[2]->len, deadline_ms);
        after_write(c, e);
    }
    if (give_old)
        say_bytes(c, old.bytes, old.len);
    else
        say(c, go ? "+OK" : "$-1");
    content_free(&old);
}

static void do_get(client *c, request **argv, size_t argc)
{
    const content *v = seen(c, find(c, argv[1]));
    content changed = content_copy(v);

    (void)argc;
    if (changed.len && shows(c->server, FLAW_corrupted))
        changed.bytes[changed.len - 1] ^= 1;
    say_bytes(c, changed.bytes, changed.len);
    content_free(&changed);
}

static void do_getrange(client *c, request **argv, size_t argc)
{
    const content *v = seen(c, find(c, argv[1]));

    (void)argc;
    say_bytes(c, v->bytes ? v->bytes : "", v->len); /* only 0 -1 is asked for */
}

static void do_getset(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);

    (void)argc;
    say_bytes(c, v->bytes, v->len);
    put(c, e, argv[2]->str, argv[2]->len, 0);
}

static void do_getdel(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);

    (void)argc;
    say_bytes(c, v->bytes, v->len);
    if (v->bytes && !shows(c->server, FLAW_getdel_keeps))
        clear(c, e);
}

static void do_setnx(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    bool go = !held(c, e)->bytes || shows(c->server, FLAW_setnx_twice);

    (void)argc;
    if (go)
        put(c, e, argv[2]->str, argv[2]->len, 0);
    say_number(c, go);
}

static void do_psetex(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);

    (void)argc;
    put(c, e, argv[3]->str, argv[3]->len, now_ms() + atoll(argv[2]->str));
    say(c, "+OK");
}

static void do_append(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);
    size_t len = v->len + argv[2]->len;
    char *joined = malloc(len + 1);
    int64_t deadline_ms = v->deadline_ms;

    (void)argc;
    if (!joined)
        abort();
    memcpy(joined, v->bytes ? v->bytes : "", v->len);
    memcpy(joined + v->len, argv[2]->str, argv[2]->len);
    put(c, e, joined, len, deadline_ms);
    if (shows(c->server, FLAW_lost_append))
        take_back(c, e);
    free(joined);
    say_number(c, (long long)len);
}

static void add(client *c, const request *key, long long by)
{
    entry *e = find(c, key);
    const content *v = held(c, e), *base = v;
    long long number;
    char text[32], *end;

    if (v->bytes && e->before.bytes && e->writer != c->serial && shows(c->server, FLAW_lost_update))
        base = &e->before;
    number = base->bytes ? strtoll(base->bytes, &end, 10) : 0;
    if (base->bytes && (*end || base->len == 0)) {
        say(c, "-ERR value is not an integer or out of range");
        return;
    }
    number += by;
    put(c, e, text, (size_t)snprintf(text, sizeof text, "%lld", number), v->deadline_ms);
    say_number(c, number);
}

static void do_incr(client *c, request **argv, size_t argc)
{
    long long by = argc > 2 ? atoll(argv[2]->str) : 1;

    add(c, argv[1], argv[0]->str[0] == 'd' || argv[0]->str[0] == 'D' ? -by : by);
}

static void do_del(client *c, request **argv, size_t argc)
{
    long long count = 0;

    for (size_t i = 1; i < argc; i++) {
        entry *e = find(c, argv[i]);

        if (!held(c, e)->bytes)
            continue;
        clear(c, e);
        count++;
        if (shows(c->server, FLAW_resurrected))
            later_holds(c, e, content_copy(&e->before), 1000);
    }
    say_number(c, count);
}

static void do_exists(client *c, request **argv, size_t argc)
{
    long long count = 0;

    for (size_t i = 1; i < argc; i++)
        count += seen(c, find(c, argv[i]))->bytes != NULL;
    say_number(c, count);
}

static void do_strlen(client *c, request **argv, size_t argc)
{
    (void)argc;
    say_number(c, (long long)seen(c, find(c, argv[1]))->len);
}

/* ---- several keys ----------------------------------------------------------------------- */

static void mset(client *c, request **argv, size_t argc)
{
    bool torn = shows(c->server, FLAW_torn_mset), partial = shows(c->server, FLAW_torn_mset_rarely);

    for (size_t i = 1; i + 1 < argc; i += 2) {
        entry *e = find(c, argv[i]);

        put(c, e, argv[i + 1]->str, argv[i + 1]->len, 0);
        if (torn && i > argc / 2)
            put_off(c, e, 0);
        if (partial && i + 2 >= argc)
            take_back(c, e);
    }
}

static void do_mset(client *c, request **argv, size_t argc)
{
    mset(c, argv, argc);
    say(c, "+OK");
}

static void do_msetnx(client *c, request **argv, size_t argc)
{
    bool go = true;

    for (size_t i = 1; i + 1 < argc; i += 2)
        go = go && !held(c, find(c, argv[i]))->bytes;
    if (go)
        mset(c, argv, argc);
    say_number(c, go);
}

static void do_mget(client *c, request **argv, size_t argc)
{
    bool torn = shows(c->server, FLAW_torn_mget);

    evbuffer_add_printf(c->out, "*%zu\r\n", argc - 1);
    for (size_t i = 1; i < argc; i++) {
        entry *e = find(c, argv[i]);
        const content *v = torn && i == argc - 1 && e->version > 1 ? &e->before : seen(c, e);

        say_bytes(c, v->bytes, v->len);
    }
}

/* ---- deadlines -------------------------------------------------------------------------- */

static void do_expire(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));
    int64_t unit = argv[0]->str[0] == 'p' || argv[0]->str[0] == 'P' ? 1 : 1000;

    (void)argc;
    if (v.bytes)
        put(c, e, v.bytes, v.len, now_ms() + atoll(argv[2]->str) * unit);
    say_number(c, v.bytes != NULL);
    content_free(&v);
}

static void do_persist(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));
    bool go = v.bytes && v.deadline_ms;

    (void)argc;
    if (go && c->server->flaw != FLAW_persist_ignored)
        put(c, e, v.bytes, v.len, 0);
    say_number(c, go);
    content_free(&v);
}

static void do_getex(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));

    say_bytes(c, v.bytes, v.len);
    if (v.bytes && argc == 4 && word_is(argv[2], "PX"))
        put(c, e, v.bytes, v.len, now_ms() + atoll(argv[3]->str));
    content_free(&v);
}

static void do_ttl(client *c, request **argv, size_t argc)
{
    const content *v = held(c, find(c, argv[1]));
    int64_t left_ms = v->deadline_ms - now_ms();

    (void)argc;
    if (left_ms < 0)
        left_ms = 0;
    if (shows(c->server, FLAW_pttl_wrong))
        left_ms /= 2;
    if (!v->bytes || !v->deadline_ms)
        say_number(c, v->bytes ? -1 : -2);
    else
        say_number(c, argv[0]->str[0] == 'p' || argv[0]->str[0] == 'P' ? left_ms : (left_ms + 500) / 1000);
}

/* ---- publish and subscribe -------------------------------------------------------------- */

static void do_subscribe(client *c, request **argv, size_t argc)
{
    bool pattern = argv[0]->str[0] == 'p' || argv[0]->str[0] == 'P';
    char ***list = pattern ? &c->patterns : &c->channels;
    size_t *count = pattern ? &c->pattern_count : &c->channel_count;

    for (size_t i = 1; i < argc; i++) {
        *list = grown(*list, *count, sizeof **list);
        (*list)[(*count)++] = strdup(argv[i]->str);
        say(c, "*3");
        say_bytes(c, pattern ? "psubscribe" : "subscribe", pattern ? 10 : 9);
        say_bytes(c, argv[i]->str, argv[i]->len);
        say_number(c, (long long)(c->channel_count + c->pattern_count));
    }
}

static void send_message(client *c, const char *pattern, const request *channel, const request *text)
{
    struct evbuffer *own = c->out;

    c->out = bufferevent_get_output(c->socket);
    say(c, pattern ? "*4" : "*3");
    say_bytes(c, pattern ? "pmessage" : "message", pattern ? 8 : 7);
    if (pattern)
        say_bytes(c, pattern, strlen(pattern));
    say_bytes(c, channel->str, channel->len);
    say_bytes(c, text->str, text->len);
    c->out = own;
}

static bool matches(const char *pattern, const char *text)
{
    return strncmp(pattern, text, strlen(pattern) - 1) == 0; /* "beginning*" is all that is used */
}

/* As often as the flaw has it. Returns 1: it counts as received. */
static long long deliver(client *to, const char *pattern, const request *channel, const request *text)
{
    static request *held_channel, *held_text;
    static client *held_for;
    server *s = to->server;

    if (shows(s, FLAW_message_lost))
        return 1;
    if (!held_for && shows(s, FLAW_messages_reordered)) {
        held_for = to;
        held_channel = calloc(1, sizeof *held_channel);
        held_text = calloc(1, sizeof *held_text);
        *held_channel = (request){ .str = strdup(channel->str), .len = channel->len };
        *held_text = (request){ .str = strdup(text->str), .len = text->len };
        return 1;
    }
    send_message(to, pattern, channel, text);
    if (shows(s, FLAW_message_twice))
        send_message(to, pattern, channel, text);
    /* the message held back was of another number of the same publisher, sooner or later */
    if (held_for == to && strncmp(text->str, held_text->str, strcspn(text->str, " ") + 1) == 0 &&
        strcmp(channel->str, held_channel->str) == 0) {
        send_message(to, pattern, held_channel, held_text);
        free(held_channel->str);
        free(held_text->str);
        free(held_channel);
        free(held_text);
        held_for = NULL;
    }
    return 1;
}

static void do_publish(client *c, request **argv, size_t argc)
{
    long long count = 0;

    (void)argc;
    for (client *to = c->server->clients; to; to = to->next) {
        for (size_t i = 0; i < to->channel_count; i++)
            if (strcmp(to->channels[i], argv[1]->str) == 0)
                count += deliver(to, NULL, argv[1], argv[2]);
        for (size_t i = 0; i < to->pattern_count; i++)
            if (matches(to->patterns[i], argv[1]->str))
                count += deliver(to, to->patterns[i], argv[1], argv[2]);
    }
    say_number(c, count);
}

/* ---- transactions ----------------------------------------------------------------------- */

static void execute(client *c, request *r);

static void forget_transaction(client *c)
{
    for (size_t i = 0; i < c->queued; i++)
        freeReplyObject(c->queue[i]);
    free(c->queue);
    free(c->watched);
    c->queue = NULL;
    c->watched = NULL;
    c->queued = c->watched_count = 0;
    c->in_transaction = false;
}

static void do_multi(client *c, request **argv, size_t argc)
{
    (void)argv;
    (void)argc;
    c->in_transaction = true;
    say(c, "+OK");
}

static void do_watch(client *c, request **argv, size_t argc)
{
    for (size_t i = 1; i < argc; i++) {
        entry *e = find(c, argv[i]);

        c->watched = grown(c->watched, c->watched_count, sizeof *c->watched);
        c->watched[c->watched_count++] = (watched){ e, e->version };
    }
    say(c, "+OK");
}

static void do_unwatch(client *c, request **argv, size_t argc)
{
    (void)argv;
    (void)argc;
    c->watched_count = 0;
    say(c, "+OK");
}

static void run_queue(client *c)
{
    struct evbuffer *replies = c->out;

    evbuffer_add_printf(c->out, "*%zu\r\n", c->queued);
    c->executing = true;
    for (size_t i = 0; i < c->queued; i++)
        execute(c, c->queue[i]);
    if (shows(c->server, FLAW_exec_twice)) {
        c->out = evbuffer_new();
        for (size_t i = 0; i < c->queued; i++)
            execute(c, c->queue[i]);
        evbuffer_free(c->out);
        c->out = replies;
    }
    c->executing = false;
}

static void do_exec(client *c, request **argv, size_t argc)
{
    server *s = c->server;
    bool conflict = false;
    request *last = c->queued ? c->queue[c->queued - 1] : NULL;
    uint64_t version = 0;

    (void)argv;
    (void)argc;
    for (size_t i = 0; i < c->watched_count; i++)
        conflict = conflict || c->watched[i].entry->version != c->watched[i].version;
    if (conflict && s->flaw != FLAW_watch_ignored && !shows(s, FLAW_watch_rarely)) {
        say(c, "*-1");
        forget_transaction(c);
        return;
    }
    if (last && last->elements > 1)
        version = find(c, last->element[1])->version;
    run_queue(c);
    if (last && last->elements > 1 && find(c, last->element[1])->version > version) {
        if (shows(s, FLAW_torn_exec))
            put_off(c, find(c, last->element[1]), 0);
        else if (shows(s, FLAW_partial_exec))
            take_back(c, find(c, last->element[1]));
    }
    forget_transaction(c);
}

/* ---- the rest --------------------------------------------------------------------------- */

static void do_ping(client *c, request **argv, size_t argc)
{
    (void)argv;
    (void)argc;
    say(c, "+PONG");
}

static void do_echo(client *c, request **argv, size_t argc)
{
    (void)argc;
    say_bytes(c, argv[1]->str, argv[1]->len);
}

static const struct command {
    const char *name;
    size_t words; /* at least */
    void (*run)(client *c, request **argv, size_t argc);
} COMMANDS[] = {
    { "GET", 2, do_get },
    { "SET", 3, do_set },
    { "MGET", 2, do_mget },
    { "MSET", 3, do_mset },
    { "MSETNX", 3, do_msetnx },
    { "DEL", 2, do_del },
    { "EXISTS", 2, do_exists },
    { "STRLEN", 2, do_strlen },
    { "GETRANGE", 4, do_getrange },
    { "GETSET", 3, do_getset },
    { "GETDEL", 2, do_getdel },
    { "GETEX", 2, do_getex },
    { "SETNX", 3, do_setnx },
    { "PSETEX", 4, do_psetex },
    { "APPEND", 3, do_append },
    { "INCR", 2, do_incr },
    { "DECR", 2, do_incr },
    { "INCRBY", 3, do_incr },
    { "DECRBY", 3, do_incr },
    { "PEXPIRE", 3, do_expire },
    { "EXPIRE", 3, do_expire },
    { "PERSIST", 2, do_persist },
    { "PTTL", 2, do_ttl },
    { "TTL", 2, do_ttl },
    { "PING", 1, do_ping },
    { "ECHO", 2, do_echo },
    { "MULTI", 1, do_multi },
    { "EXEC", 1, do_exec },
    { "WATCH", 2, do_watch },
    { "UNWATCH", 1, do_unwatch },
    { "SUBSCRIBE", 2, do_subscribe },
    { "PSUBSCRIBE", 2, do_subscribe },
    { "PUBLISH", 3, do_publish },
};

/* Whether name is in the list of those that the server is to know. */
static bool is_allowed(const server *s, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = s->commands; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncasecmp(at, name, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    }
    return !s->commands;
}

static void execute(client *c, request *r)
{
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (word_is(r->element[0], COMMANDS[i].name) && r->elements >= COMMANDS[i].words &&
            is_allowed(c->server, COMMANDS[i].name)) {
            COMMANDS[i].run(c, r->element, r->elements);
            return;
        }
    say(c, "-ERR unknown command");
}

/* ---- requests --------------------------------------------------------------------------- */

/* Queues it, if it is part of a transaction. */
static bool queue(client *c, request *r)
{
    if (!c->in_transaction || word_is(r->element[0], "EXEC"))
        return false;
    c->queue = grown(c->queue, c->queued, sizeof *c->queue);
    c->queue[c->queued++] = r;
    say(c, "+QUEUED");
    return true;
}

/* What is not the business of a store. True: the request is done with. */
static bool misbehave(client *c)
{
    server *s = c->server;

    if (s->flaw == MODE_REFUSES)
        return say(c, "-ERR not today"), true;
    if (s->flaw == MODE_NONSENSE)
        return say(c, "+WHAT"), true;
    if (s->requests < TROUBLE_AFTER)
        return false;
    if (s->flaw == MODE_DIES)
        exit(1);
    if (s->flaw == MODE_GARBAGE)
        return say(c, "HTTP/1.1 400 Bad Request"), true;
    return s->flaw == MODE_HANGS;
}

static void answer(client *c, request *r)
{
    c->server->requests++;
    c->requests++;
    if (misbehave(c)) {
        freeReplyObject(r);
        return;
    }
    if (queue(c, r))
        return;
    execute(c, r);
    freeReplyObject(r);
}

/* The reply in reply goes where it should, or where the flaw has it. */
static void send_reply(client *c, struct evbuffer *reply, struct evbuffer **kept)
{
    server *s = c->server;
    struct evbuffer *out = bufferevent_get_output(c->socket);

    if (!*kept && shows(s, FLAW_reordered)) {
        *kept = evbuffer_new();
        evbuffer_add_buffer(*kept, reply);
        return;
    }
    if (s->clients != c && !s->clients->channel_count && !s->clients->pattern_count &&
        shows(s, FLAW_wrong_connection))
        out = bufferevent_get_output(s->clients->socket);
    if (shows(s, FLAW_reply_twice)) {
        size_t len = evbuffer_get_length(reply);

        evbuffer_add(out, evbuffer_pullup(reply, -1), len);
    }
    evbuffer_add_buffer(out, reply);
    if (*kept) {
        evbuffer_add_buffer(out, *kept);
        evbuffer_free(*kept);
        *kept = NULL;
    }
}

static request *next_request(client *c)
{
    void *r = NULL;

    if (redisReaderGetReply(c->reader, &r) != REDIS_OK || !r)
        return NULL;
    if (((request *)r)->type == REDIS_REPLY_ARRAY && ((request *)r)->elements)
        return r;
    freeReplyObject(r);
    return NULL;
}

/* Runs what is there; FLAW_early_execution swaps two requests, and their replies back. */
static void run_all(client *c)
{
    struct evbuffer *reply = evbuffer_new(), *first = evbuffer_new(), *kept = NULL;
    request *r, *second;

    while ((r = next_request(c))) {
        c->out = reply;
        if (!c->in_transaction && shows(c->server, FLAW_early_execution) && (second = next_request(c))) {
            answer(c, second);
            c->out = first;
            answer(c, r);
            send_reply(c, first, &kept);
        } else {
            answer(c, r);
        }
        send_reply(c, reply, &kept);
    }
    if (kept) { /* there was no other to change places with */
        evbuffer_add_buffer(bufferevent_get_output(c->socket), kept);
        evbuffer_free(kept);
    }
    evbuffer_free(reply);
    evbuffer_free(first);
    c->out = NULL;
}

static void write_log(server *s)
{
    while (s->log_fd >= 0 && evbuffer_get_length(s->log) && evbuffer_write(s->log, s->log_fd) > 0)
        ;
}

static void close_client(client *c)
{
    client **link = &c->server->clients;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    forget_transaction(c);
    bufferevent_free(c->socket);
    redisReaderFree(c->reader);
    for (size_t i = 0; i < c->channel_count; i++)
        free(c->channels[i]);
    for (size_t i = 0; i < c->pattern_count; i++)
        free(c->patterns[i]);
    free(c->channels);
    free(c->patterns);
    if (c->own)
        store_free(c->own);
    free(c);
}

static void on_read(struct bufferevent *socket, void *arg)
{
    client *c = arg;
    struct evbuffer *in = bufferevent_get_input(socket);
    size_t len = evbuffer_get_length(in);

    redisReaderFeed(c->reader, (const char *)evbuffer_pullup(in, -1), len);
    evbuffer_drain(in, len);
    run_all(c);
    if (c->server->flaw != FLAW_crash_loss)
        write_log(c->server);
    if (c->reader->err || c->server->flaw == MODE_CLOSES)
        close_client(c);
}

static void on_event(struct bufferevent *socket, short what, void *arg)
{
    (void)socket;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        close_client(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                      void *arg)
{
    server *s = arg;
    client *c = calloc(1, sizeof *c);

    (void)listener;
    (void)address;
    (void)len;
    if (!c)
        abort();
    c->server = s;
    c->serial = ++s->serials;
    c->next = s->clients;
    s->clients = c;
    c->reader = redisReaderCreate();
    c->socket = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (s->flaw == FLAW_connection_state)
        c->own = calloc(1, sizeof *c->own);
    bufferevent_setcb(c->socket, on_read, NULL, on_event, c);
    bufferevent_enable(c->socket, EV_READ | EV_WRITE);
}

/* ---- the log ---------------------------------------------------------------------------- */

static void load(server *s, const char *path)
{
    FILE *in = fopen(path, "re");
    size_t key_len;
    long long len, deadline_ms;

    s->loading = true;
    while (in && fscanf(in, "%zu %lld %lld", &key_len, &len, &deadline_ms) == 3 && fgetc(in) == '\n') {
        char *key = malloc(key_len + 1), *bytes = malloc(len < 0 ? 1 : (size_t)len + 1);
        entry *e;

        if (!key || !bytes)
            abort();
        if (fread(key, 1, key_len, in) != key_len ||
            (len > 0 && fread(bytes, 1, (size_t)len, in) != (size_t)len)) {
            free(key);
            free(bytes);
            break; /* a torn tail: it was not acknowledged */
        }
        e = store_entry(s->store, key, key_len);
        if (len < 0)
            entry_clear(e, 0, 0);
        else
            entry_write(e, bytes, (size_t)len, deadline_ms, 0, 0);
        free(key);
        free(bytes);
    }
    if (in)
        fclose(in);
    s->loading = false;
    s->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void on_log_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    write_log(arg);
}

/* ---- main ------------------------------------------------------------------------------- */

static int listen_on(server *s, const char *path, int port)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC;
    bool ok = path || port;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (path) {
        unlink(path);
        snprintf(local.sun_path, sizeof local.sun_path, "%s", path);
        ok = evconnlistener_new_bind(s->base, on_accept, s, flags & ~(unsigned)LEV_OPT_REUSEABLE, -1,
                                     (struct sockaddr *)&local, sizeof local);
    }
    if (port)
        ok = ok && evconnlistener_new_bind(s->base, on_accept, s, flags, -1, (struct sockaddr *)&address,
                                           sizeof address);
    return ok ? 0 : -1;
}

static int choose_flaw(server *s, const char *name)
{
    for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(NAMES[i], name) == 0) {
            s->flaw = (enum flaw)i;
            s->rate = i < FLAWS ? RATES[i] : 1;
            return 0;
        }
    fprintf(stderr, "flawed_server: there is no flaw \"%s\"\n", name);
    return -1;
}

int main(int argc, char **argv)
{
    server s = { .random = 88172645463325252u, .rate = 1, .log_fd = -1 };
    struct timeval interval = { .tv_usec = 30000 };
    const char *path = NULL;
    int port = 0;
    unsigned rate = 0;

    signal(SIGPIPE, SIG_IGN);
    s.base = event_base_new();
    s.store = calloc(1, sizeof *s.store);
    s.log = evbuffer_new();
    if (!s.base || !s.store || !s.log)
        return 2;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--socket") == 0)
            path = argv[i + 1];
        else if (strcmp(argv[i], "--rate") == 0)
            rate = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--commands") == 0)
            s.commands = argv[i + 1];
        else if (strcmp(argv[i], "--log") == 0)
            load(&s, argv[i + 1]);
        else if (strcmp(argv[i], "--flaw") != 0 || choose_flaw(&s, argv[i + 1]))
            return 2;
    }
    if (rate)
        s.rate = rate;
    if (listen_on(&s, path, port)) {
        perror("flawed_server: listen");
        return 2;
    }
    if (s.flaw == FLAW_crash_loss)
        event_add(event_new(s.base, -1, EV_PERSIST, on_log_timer, &s), &interval);
    event_base_dispatch(s.base);
    return 0;
}
