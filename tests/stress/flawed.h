/* flawed.h - what the parts of the flawed server share: the flaws, the server, a client, and how a command replies, reads and
 * writes, so that a flaw may show in it.
 *
 *     flawed_server.c   requests, replies, connections, the log, main
 *     flawed_session.c  the table of commands; transactions, publish and subscribe
 *     flawed_data.c     commands about keys
 *     flawed_state.c    what all of these stand on
 *     flawed_store.c    the map
 *
 * Out of memory aborts: this is a test. SPDX-License-Identifier: MIT */
#ifndef TESTS_FLAWED_H
#define TESTS_FLAWED_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include <hiredis/hiredis.h>

#include "flawed_store.h"

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

/* ---- flawed_state.c ---- */

int64_t now_ms(void);
/* Whether the flaw shows this time. */
bool shows(server *s, enum flaw flaw);
/* The list with room for one more behind count. */
void *grown(void *list, size_t count, size_t size);

void say(client *c, const char *line);
void say_number(client *c, long long number);
void say_bytes(client *c, const char *bytes, size_t len); /* NULL: nil */

bool word_is(const request *word, const char *text);
entry *find(client *c, const request *key);
/* What the key holds, for those who write, and for those who read. */
const content *held(client *c, entry *e);
const content *seen(client *c, entry *e);
void put(client *c, entry *e, const char *bytes, size_t len, int64_t deadline_ms);
void clear(client *c, entry *e);
/* The entry will hold it after so many microseconds, unless it is written meanwhile. Takes over holds. */
void later_holds(client *c, entry *e, content holds, long us);
/* The write just made is taken back, and made again later. */
void put_off(client *c, entry *e, long us);
/* The write just made is taken back. */
void take_back(client *c, entry *e);

/* ---- commands ---- */

typedef void command_function(client *c, request **argv, size_t argc);

command_function do_get, do_set, do_mget, do_mset, do_msetnx, do_del, do_exists, do_strlen, do_getrange,
    do_getset, do_getdel, do_getex, do_setnx, do_psetex, do_append, do_incr, do_expire, do_persist, do_ttl;

/* Runs it, whatever the state of its transaction. */
void execute(client *c, request *r);
void forget_transaction(client *c);

#endif
