/* port.h - TCP ports for the servers that tools and tests start. SPDX-License-Identifier: MIT */
#ifndef KV_HARNESS_PORT_H
#define KV_HARNESS_PORT_H

/* A port of 127.0.0.1 that nobody has right now; -1: there is none. Somebody else may take it before the server does:
 * who starts one tries again. */
int free_port(void);

#endif
