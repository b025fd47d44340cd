/* lineup.h - which servers take part: those the options name and this machine has.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_LINEUP_H
#define KVBENCH_LINEUP_H

#include "contestant.h"
#include "options.h"

#define LINEUP_MAX 12

typedef struct lineup {
    contestant contestants[LINEUP_MAX];
    unsigned count;
} lineup;

/* kvserver (or its three strategies), redis-server, memcached, the user's own, the floor. What is not
 * installed is left out with a note on stderr, unless --only names it. */
int lineup_init(lineup *l, const options *o, fault *f);
/* How many connections may be opened to one server: those the options ask for, as far as the limit of open
 * files goes. */
unsigned lineup_connections_max(const options *o);
/* The contestant of that name, or -1. */
int lineup_find(const lineup *l, const char *name);

#endif
