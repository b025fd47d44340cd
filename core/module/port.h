/* port.h - the read port: reads of single keys' fields that do not wait for the server's main thread (kv.port; closed
 * unless asked for).
 *
 *     KV.ATTACH key                  to the server: handle, port and token
 *     AUTH token                     to the port
 *     KV.GET handle field            every command of the table that reads fields it names, and KV.SCAN
 *
 * A reply is what the field held at some moment between request and reply, also in the middle of a transaction of the
 * server, and before the writer has its reply. -STALE: the handle has ended (handle.h).
 *
 * Threads    The server's main thread; the port has one of its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_PORT_H
#define KV_MODULE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens, closes or moves it to what kv.port says. False: it stays closed; why is a sentence. */
bool port_apply(char *why, size_t size);
/* Closes it. Requests that are being answered are waited for. */
void port_stop(void);
/* What AUTH wants, while it is open. */
const char *port_token(void);

typedef struct port_figures {
    uint64_t clients, requests, stale;
    uint64_t hits, misses;
} port_figures;

void port_read_figures(port_figures *ret);

#endif
