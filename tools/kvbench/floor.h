/* floor.h - the floor: a libevent server that answers like a store and stores nothing.
 *
 * What it costs per request is the cost of the sockets, the event loop and finding where a request ends;
 * what a real server costs more than this is the price of its work.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_FLOOR_H
#define KVBENCH_FLOOR_H

#include <stddef.h>

#include "fault.h"

/* Serves RESP on 127.0.0.1:port until SIGTERM or SIGINT: every command of two words is answered with one
 * and the same bulk of value_size bytes, of one word with +PONG, of more with +OK. */
int floor_serve(int port, size_t value_size, fault *f);

#endif
