/* fake_server.h - a server that says what a test wants, when it wants it.
 *
 *     static void answer(fake_request *request, void *arg)
 *     {
 *         if (fake_handshake(request))
 *             return;
 *         if (fake_is(request, "GET"))
 *             fake_say(request, "$5\r\nhello\r\n");
 *         else
 *             fake_hang_up(request);
 *     }
 *
 *     fake_server *server = fake_start(answer, NULL);
 *     ... connect to 127.0.0.1, fake_port(server) ...
 *     fake_stop(server);
 *
 * A thread accepts connections, cuts what they send into requests and calls the handler for each. A handler that says
 * nothing leaves the client waiting.
 *
 * Threads    Handlers run one at a time, on the server's thread; everything else may be called from any other thread.
 * Errors     Out of memory or out of sockets aborts: this is a test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fake_server fake_server;
typedef struct fake_request fake_request;
typedef void fake_handler(fake_request *request, void *arg);

fake_server *fake_start(fake_handler *handler, void *arg);
/* Ends it and every connection; takes NULL. */
void fake_stop(fake_server *server);
int fake_port(const fake_server *server);

/* ---- in a handler ---- */

/* The words of the request; "" behind the last. */
size_t fake_argc(const fake_request *request);
const char *fake_arg(const fake_request *request, size_t i);
size_t fake_arg_len(const fake_request *request, size_t i);
/* The first word, or the first two ("CLUSTER SLOTS"), are these; case does not matter. */
bool fake_is(const fake_request *request, const char *words);
/* Which connection it came from: 0, 1, ... in the order of their arrival. */
unsigned fake_connection(const fake_request *request);
fake_server *fake_server_of(const fake_request *request);

/* Queues bytes, as by printf. */
void fake_say(fake_request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fake_say_bytes(fake_request *request, const void *data, size_t len);
/* Closes once what was said is out. */
void fake_hang_up(fake_request *request);
/* Closes at once, and the client sees a reset. */
void fake_reset(fake_request *request);
/* Answers HELLO (as the protocol it asks for), AUTH, SELECT, CLIENT, PING, ASKING as a server would; false: it was none of them. */
bool fake_handshake(fake_request *request);

/* ---- from the test ---- */

/* Everything is sent in pieces of this many bytes, each in a write of its own; 0: at once. */
void fake_set_piece(fake_server *server, size_t bytes);
/* Queues bytes unasked, for one connection. */
void fake_push(fake_server *server, unsigned connection, const void *data, size_t len);
/* Resets every connection that is open. */
void fake_drop_all(fake_server *server);
/* Stops listening, and listens again on the same port: between the two, connecting is refused. */
void fake_close_door(fake_server *server);
void fake_open_door(fake_server *server);
/* How many connections there were; how many are open. */
unsigned fake_arrivals(fake_server *server);
unsigned fake_open_connections(fake_server *server);

#endif
