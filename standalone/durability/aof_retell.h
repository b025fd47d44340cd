/* aof_retell.h - telling the log what is in the databases, key by key, where it came there without being told.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_AOF_RETELL_H
#define KV_STANDALONE_AOF_RETELL_H

#include <stdbool.h>

#include "kvstore/capability.h"

struct server;

/* As a write of what is there, while nobody else writes. of_primary: it is the primary's (see notify.h). go_on is asked now and then, and
 * may say no. 0, also when there is no log; KV_ENOMEM; KV_ECOND: go_on said no. On a thread that is no worker. */
int aof_retell(struct server *s, bool of_primary, bool (*go_on)(void *arg), void *arg)
    KV_EXCLUDES(kv_shard_held);

#endif
