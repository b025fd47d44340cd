/* fake_cluster.h - three fake servers that share slots among them, as a test says.
 *
 *     fake_cluster *cluster = fake_cluster_start();
 *     fake_cluster_own(cluster, 0, 16383, 1);            // node 1 owns all
 *     ... connect to fake_cluster_port(cluster, 0): it answers MOVED ...
 *     fake_cluster_stop(cluster);
 *
 * The nodes keep one number for each key, which INCR counts up and GET tells, and answer MULTI, EXEC, WATCH, CLUSTER SLOTS, and
 * SSUBSCRIBE; SUBSCRIBE anywhere; and SCAN: a key called node0, node1 or node2.
 *
 * Threads    Any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FAKE_CLUSTER_H
#define TESTS_FAKE_CLUSTER_H

#include "fake_server.h"

typedef struct fake_cluster fake_cluster;

enum { fake_nodes = 3 };

fake_cluster *fake_cluster_start(void);
void fake_cluster_stop(fake_cluster *cluster);
int fake_cluster_port(const fake_cluster *cluster, int node);
fake_server *fake_cluster_node(const fake_cluster *cluster, int node);

/* node owns the slots from first to last. */
void fake_cluster_own(fake_cluster *cluster, unsigned first, unsigned last, int node);
/* The owner of slot answers ASK, and node serves it behind ASKING; node -1: no more. */
void fake_cluster_migrate(fake_cluster *cluster, unsigned slot, int node);
/* The next n commands with a key are answered with this error. */
void fake_cluster_answer(fake_cluster *cluster, const char *error, int n);
/* MOVED leaves the host out. */
void fake_cluster_hide_host(fake_cluster *cluster);
/* What CLUSTER SLOTS answers instead of the truth; NULL: the truth. */
void fake_cluster_set_slots_reply(fake_cluster *cluster, const char *bytes);

/* How often a node said MOVED or ASK, and was asked for the slots. */
int fake_cluster_redirects(fake_cluster *cluster);
int fake_cluster_maps(fake_cluster *cluster);
/* The number of a key. */
int fake_cluster_value(fake_cluster *cluster, const char *key);

#endif
