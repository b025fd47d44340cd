/* contestant.h - the servers that can be measured, and how each is started.
 *
 *     contestant_init(&c, "redis-server", PROTOCOL_RESP, "redis-server --port {port} ...", fault);
 *     contestant_start(&c, &server, dir, wrapper, fault);      // returns when it answers
 *     ... server.port, server.process ...
 *     contestant_stop(&server);
 *
 * A command line is words separated by spaces ('' is an empty word), in which {port} stands for the port
 * to listen on, {tls-port} for another one, and {dir} for a directory of its own to write in.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_CONTESTANT_H
#define KVBENCH_CONTESTANT_H

#include "load.h"
#include "process.h"

#define CONTESTANT_WORDS 64

typedef struct contestant {
    char name[40];
    protocol_kind protocol;
    bool is_floor;                  /* stores nothing: only speed is measured */
    char line[1024];                /* the command line's words, each NUL-terminated */
    size_t words[CONTESTANT_WORDS]; /* where they begin */
    unsigned word_count;
} contestant;

typedef struct server {
    const contestant *contestant;
    process process;
    int port;
    int tls_port; /* where the command line asks for one */
} server;

int contestant_init(contestant *c, const char *name, protocol_kind kind, fault *f, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* One more word behind the others. */
int contestant_add(contestant *c, const char *word, fault *f);

/* Starts it on a free port, with the words of wrapper (may be NULL; ends with NULL) in front of its
 * command line, and waits until it answers. */
int contestant_start(const contestant *c, server *s, const char *dir, char *const wrapper[], fault *f);
/* Whether it ended by itself when asked to; false when it was not running or had to be killed. */
bool contestant_stop(server *s, double patience);
/* Turns "a request failed" into "the server died", when it did, and puts its name in front. Always -1. */
int contestant_blame(server *s, fault *f);

#endif
