/* flawed_server.c - a small RESP server that can be wrong in one way: what kvstress must find.
 *
 *     flawed_server --port 6379 [--socket PATH] [--flaw NAME] [--rate N] [--log FILE] [--commands GET,SET,...]
 *
 * One thread, one libevent loop, one map: without a flaw it is correct, with appends to a log as
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
#include <event2/event.h>
#include <event2/listener.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "flawed.h"

#define TROUBLE_AFTER 3000u /* requests: when to die, hang, ... */

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

/* ---- requests ---- */

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

/* ---- the log ---- */

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

/* ---- main ---- */

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
