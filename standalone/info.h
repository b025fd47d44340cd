/* info.h - INFO for others than its command. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_INFO_H
#define KV_STANDALONE_INFO_H

#include "server.h"

/* Writes all default sections into the log, a line for each of theirs. */
void info_log(server *s) KV_EXCLUDES(kv_shard_held);

#endif
