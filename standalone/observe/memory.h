/* memory.h - what is in use, and what is done when it is too much: eviction of keys, refusal of writes, and
 * closing of clients.
 *
 *     if (w->refuse_memory) ... commands flagged DENYOOM are refused, see memory_short ...
 *
 * Threads    memory_short, memory_count_client: the worker's. The others: any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_MEMORY_H
#define KV_STANDALONE_MEMORY_H

#include "connection.h"
#include "server.h"

/* Whether what adds to memory must be refused in the batch of input_bytes with count requests that follows. Makes room
 * first, when the policy allows. Asked only while maxmemory is set. */
bool memory_short(worker *w, size_t input_bytes, size_t count);
/* At ticks: goes on making room when it must. */
void memory_tick(worker *w);
/* After maxmemory or what belongs to it has changed. */
void memory_apply(server *s);

/* Bytes of physical memory that the process has; 0 where the system does not tell. */
uint64_t memory_resident(void);
/* Bytes of all clients, but for replicas; and of these, which are never closed for want of memory. What of the stream waits for
 * them is in the backlog, once for all. */
uint64_t memory_of_clients(const server *s);
uint64_t memory_of_replicas(const server *s);
/* Brings what is known of c's memory up to date, and closes clients, the largest first, while all have more than
 * maxmemory-clients; c may be among them. */
void memory_count_client(connection *c);
/* c is closed. */
void memory_forget_client(connection *c);
/* Closes clients of w, the largest first, while all have too much and w has some of the largest; else passes the job on. w's
 * thread only; the client whose request is running may be among them. */
void memory_shed_clients(worker *w);
/* Sends w to see whether some of its clients must be closed; memory_shed is what it does then. Any thread. */
void memory_ask_to_shed(worker *w);
void memory_shed(worker *w, worker_message *message);

#endif
