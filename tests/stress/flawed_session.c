/* flawed_session.c - transactions, publish and subscribe, and the table of commands. See flawed.h. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "flawed.h"

/* ---- publish and subscribe ---- */

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

/* ---- transactions ---- */

void forget_transaction(client *c)
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

/* ---- the table ---- */

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
    command_function *run;
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

void execute(client *c, request *r)
{
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (word_is(r->element[0], COMMANDS[i].name) && r->elements >= COMMANDS[i].words &&
            is_allowed(c->server, COMMANDS[i].name)) {
            COMMANDS[i].run(c, r->element, r->elements);
            return;
        }
    say(c, "-ERR unknown command");
}
