/* module_door.h - a conversation with the fields of one key of the loadable module: SET a 1 becomes KV.SET key a 1.
 *
 * Threads    One at a time. SPDX-License-Identifier: MIT */
#ifndef TESTS_MODULE_DOOR_H
#define TESTS_MODULE_DOOR_H

#include "resp.h"

/* The module's file, or NULL: it was not built. */
const char *module_door_file(void);

/* Asks through the module. False: the command speaks of more than the fields of a key, and has no place there. A text in an
 * error that names KV.SET names set then, as everywhere. */
bool module_door_ask(conn *c, size_t argc, const kv_slice argv[], reply **ret_reply);

#endif
