/* cluster.h - the client of a Redis Cluster.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CLUSTER_H
#define KVC_CLUSTER_H

#include "client.h"

/* Connects to the node that options name, and learns from it who owns which slots. On success options and tls (or NULL) are the
 * client's, to be freed with it. */
kvc_status kvc_cluster_open(kvc_options *options, kvc_tls *tls, kvc_client **ret_client, kvc_error *error);

#endif
