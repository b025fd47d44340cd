/* aof_group.c - see aof_group.h.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_group.h"

#define SMOOTHING 8 /* a sync counts for an eighth */
#define SKIP_MAX  32
#define GAINS     4 /* a wait counts for a quarter of what is known of waits */
#define GAIN_MAX  6.0
#define PAYS      1.5

uint64_t aof_group_patience(aof_group *group, uint64_t kept)
{
    if (kept >= group->expected)
        return 0;
    if (group->skip > 0) {
        group->skip--;
        return 0;
    }
    return group->sync_ns / 2;
}

void aof_group_waited(aof_group *group, uint64_t before, uint64_t now, uint64_t waited_ns)
{
    double larger =
               (double)(now - before) / (double)(before > group->collected ? before - group->collected : 1),
           longer = (double)waited_ns / (double)(group->sync_ns ? group->sync_ns : 1);

    double gain = longer * GAIN_MAX > larger ? larger / longer : GAIN_MAX;

    group->gain += (gain - group->gain) / GAINS;
    if (group->gain >= PAYS) {
        group->skip_next = 0;
        return;
    }
    group->skip = group->skip_next ? group->skip_next : 1;
    group->skip_next = group->skip * 2 < SKIP_MAX ? group->skip * 2 : SKIP_MAX;
}

void aof_group_released(aof_group *group, uint64_t taken_at, uint64_t kept, uint64_t took_ns)
{
    uint64_t released = taken_at - group->collected;

    group->collected = taken_at;
    group->expected = kept + released;
    group->sync_ns =
        group->sync_ns ? group->sync_ns - group->sync_ns / SMOOTHING + took_ns / SMOOTHING : took_ns;
}
