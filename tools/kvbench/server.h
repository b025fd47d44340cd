/* server.h - kvbench server: what a request and a key cost, kvserver beside others.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_SERVER_H
#define KVBENCH_SERVER_H

#include "lineup.h"
#include "report.h"

/* Runs the rows that the options ask for; fills in the defaults of options that were not given. */
int server_bench(options *o, report *r, fault *f);

/* ---- the parts (speed.c, memory.c) ---- */

/* CPU time per request, throughput and latency. */
int speed_run(const lineup *l, const options *o, const char *dir, report *r, fault *f);
/* Resident memory per key and per idle connection. */
int memory_run(const lineup *l, const options *o, const char *dir, report *r, fault *f);

/* How many SETs stand between MULTI and EXEC in the rows about transactions; and who knows these words. */
#define SERVER_TRANSACTION 10
bool server_has_transactions(const contestant *c);

/* A plan with what all loads have in common; port and protocol kind are the server's. */
load_plan server_plan(const options *o, const server *s, uint64_t value_size);
/* Stores keys 0 .. keys - 1, with values of value_size bytes. */
int server_fill(const options *o, server *s, uint64_t keys, uint64_t value_size, fault *f);

#endif
