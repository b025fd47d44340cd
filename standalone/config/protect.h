/* protect.h - what a connection may do only where the configuration says so: enable-debug-command,
 * enable-module-command, enable-protected-configs.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PROTECT_H
#define KV_STANDALONE_PROTECT_H

#include "config.h"
#include "connection.h"

/* Whether the directive, one of the three, allows it: "yes"; or "local", and c comes over the unix socket or from
 * 127.0.0.1 or ::1. */
bool protect_allows(const connection *c, enum config_id id);
/* Whether c may run a row that is KV_CMD_PROTECTED; any other it may. */
bool protect_allows_row(const connection *c, const kv_command *row);
/* Why it may not, as an error's text. */
void protect_refusal(const kv_command *row, char text[256]);

#endif
