/* map_check.h - the parts of the invariant checker that the map runs on itself when KV_CHECKS is defined.
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_MAP_CHECK_H
#define KV_MAP_MAP_CHECK_H

#include "shard.h"

/* What the segments of a shard add up to. */
typedef struct check_sums {
    size_t entries, in_chain, entry_bytes, with_deadline, index_bytes;
    uint64_t deadline_sum;
    uint32_t segments, deepest;
} check_sums;

void segment_check(const map_shard *s, segment *seg, check_sums *sums);

#endif
