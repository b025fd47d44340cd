/* cluster_commands.c - what clients ask to find out whether they talk to a node of a cluster: they do not, and are told so as
 * redis-server tells them. For a cluster, load the module into redis-server.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

/* ASKING, READONLY, READWRITE, CLUSTER with any subcommand */
void session_no_cluster(kv_call *call)
{
    kv_reply_errorf(call->reply, "ERR This instance has cluster support disabled");
}
