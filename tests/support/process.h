/* process.h - the door without a server: commands called directly, in this process.
 *
 *     process_door *door = process_door_new();
 *     process_client *c = process_client_new(door);
 *     reply *r = process_ask(c, argc, argv, now_ms);
 *
 * A client has what a connection has for data commands: the number of its database. The reply is built as the
 * tree that a socket's client would have parsed, so that expectations need not know which door they stand at.
 *
 * Ownership  What is returned is yours; free clients before their door.
 * Threads    A client belongs to one thread at a time; the door may be shared.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include "resp.h"

typedef struct process_door process_door;
typedef struct process_client process_client;

/* Sixteen databases that share their state in the given way. */
process_door *process_door_new(kv_sharing sharing);
void process_door_free(process_door *door);
/* Removes every key of every database. */
void process_door_clear(process_door *door);

process_client *process_client_new(process_door *door);
void process_client_free(process_client *c);
reply *process_ask(process_client *c, size_t argc, const kv_slice argv[], int64_t now_ms);

#endif
