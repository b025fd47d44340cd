/* side.h - a server that is one of the two compared. SPDX-License-Identifier: MIT */
#ifndef TESTS_SIDE_H
#define TESTS_SIDE_H

#include "server.h"

/* Starts what name says: a path, redis-server (only the version that decides what is right), or another program. NULL: it does
 * not start. Ends the test program with status 77 where it is not installed. The caller stops it. */
server *side_start(const char *name, const char *const options[]);

#endif
