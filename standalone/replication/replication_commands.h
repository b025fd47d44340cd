/* replication_commands.h - INFO's section about replication. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICATION_COMMANDS_H
#define KV_STANDALONE_REPLICATION_COMMANDS_H

#include <stdio.h>

struct server;

void replication_write_info(struct server *s, FILE *out);

#endif
