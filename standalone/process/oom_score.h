/* oom_score.h - oom-score-adj: how willingly the kernel kills this process when memory is out.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_OOM_SCORE_H
#define KV_STANDALONE_OOM_SCORE_H

#include "kvstore/capability.h"

struct server;

/* Writes what oom-score-adj and oom-score-adj-values say into /proc. -1: it was refused, and the log says why. Under the
 * config_lock, once there are threads. */
int oom_score_apply(struct server *s) KV_EXCLUDES(kv_shard_held);

#endif
