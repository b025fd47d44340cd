/* aof_group.h - how long a sync of the log waits for company.
 *
 * The problem: clients that write, wait for their reply and write again fall into two halves with appendfsync always. While the
 * writes of one half are synced those of the other gather, and are synced next; so each write waits for nearly two syncs, and each
 * sync serves half of the clients.
 *
 * The idea: whom a sync has released is soon back with the next request. The next sync begins when they are, or when it has waited
 * for half of what a sync takes, and then serves all. Waiting makes the time until the next sync (took + waited) / took as long, and
 * writes that come at any time make the group as much larger: that gains nothing. Waits pay when they bring half as much again. After
 * one while they do not, the next few syncs begin at once: one at first, then two, four, up to 32.
 *
 * Only counts and times come in, so that it can be tested without clocks. (Compare commit_delay and commit_siblings of PostgreSQL,
 * which are fixed.)
 *
 * Threads    One at a time: the task's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_AOF_GROUP_H
#define KV_STANDALONE_AOF_GROUP_H

#include <stdint.h>

/* All zero is the initial state. `kept` is always how many replies were ever kept back, a count that only grows. */
typedef struct aof_group {
    uint64_t sync_ns;   /* what a sync takes, smoothed; 0: none was seen */
    uint64_t collected; /* kept, when the last group was taken */
    uint64_t expected;  /* kept, when all are back */
    double gain; /* of waits, smoothed: how much larger for how much longer. 1: as writes at any time would */
    unsigned skip;      /* so many syncs begin at once */
    unsigned skip_next; /* the same after the next wait, while waits do not pay; 0: one */
} aof_group;

/* For how many nanoseconds to wait, at most, until kept is group->expected; 0: begin now. */
uint64_t aof_group_patience(aof_group *group, uint64_t kept);
/* The wait is over, which took waited_ns; kept was `before`, and is `now`. */
void aof_group_waited(aof_group *group, uint64_t before, uint64_t now, uint64_t waited_ns);
/* A sync that took took_ns has released those that were kept when kept was taken_at; kept as of now. */
void aof_group_released(aof_group *group, uint64_t taken_at, uint64_t kept, uint64_t took_ns);

#endif
