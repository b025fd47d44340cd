/* metrics.h - /metrics and /healthz over HTTP, on a port of their own.
 *
 *     metrics *m = metrics_start(s);        // NULL with error.text empty: metrics-port is 0
 *     ...
 *     metrics_stop(m);
 *
 * GET or HEAD /metrics gives the figures of INFO in the text format of Prometheus; /healthz 200 when the server answers
 * its clients, 503 while it loads, while it refuses stale data (replica-serve-stale-data no), and when it stops.
 *
 * Threads    One of its own serves them, so that a scrape holds up no worker. start, stop: the main thread.
 * Errors     NULL with the reason in error.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_METRICS_H
#define KV_STANDALONE_METRICS_H

#include "server.h"

typedef struct metrics metrics;

metrics *metrics_start(server *s, config_error *ret_error) KV_EXCLUDES(kv_shard_held);
void metrics_stop(metrics *m) KV_EXCLUDES(kv_shard_held);

#endif
