/* supervise.h - telling systemd how the service is doing (sd_notify(3), by hand).
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SUPERVISE_H
#define KV_STANDALONE_SUPERVISE_H

#include "kvstore/capability.h"

/* Sends state ("READY=1") to the socket named by NOTIFY_SOCKET; nothing when there is none. */
void supervise_notify(const char *state) KV_EXCLUDES(kv_shard_held);

#endif
