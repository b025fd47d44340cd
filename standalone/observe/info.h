/* info.h - INFO for others than its command. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_INFO_H
#define KV_STANDALONE_INFO_H

#include "server.h"

/* The text of INFO EVERYTHING, to be freed; NULL: memory is out. */
char *info_everything(server *s) KV_EXCLUDES(kv_shard_held);
/* Writes all default sections into the log, a line for each of theirs. */
void info_log(server *s) KV_EXCLUDES(kv_shard_held);

#endif
