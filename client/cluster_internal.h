/* cluster_internal.h - what the parts of the client of a cluster share.
 *
 *     cluster.c          the calls of kvc_client, opening and closing
 *     cluster_batch.c    transactions and pipelines
 *     cluster_course.c   where a command goes, and goes next
 *     cluster_nodes.c    the nodes, and the map of slots
 *
 * Threads    Any. The functions take the lock for themselves, but for kvc_cluster_use.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CLUSTER_INTERNAL_H
#define KVC_CLUSTER_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "client.h"
#include "node_table.h"
#include "options.h"

typedef struct kvc_cluster {
    kvc_client client; /* first */
    kvc_options *options;
    kvc_tls *tls; /* or NULL */
    pid_t pid;
    pthread_mutex_t lock; /* guards what follows, and the pointers to the pools */
    kvc_node_table *nodes;
    bool refreshing;
    int64_t refresh_after_ms;
    uint64_t seed;
} kvc_cluster;

/* ---- nodes: cluster_nodes.c ---- */

/* All of these: the node is used until kvc_cluster_put; NULL: out of memory. */

/* The owner of the slot, if that is known, else any node (slot -1: any). */
kvc_node *kvc_cluster_take_owner(kvc_cluster *c, int slot);
/* The node behind this one, round the table. */
kvc_node *kvc_cluster_take_after(kvc_cluster *c, const kvc_node *before);
/* The node that a redirection of teller names; of MOVED it is remembered. */
kvc_node *kvc_cluster_take_redirected(kvc_cluster *c, const kvc_node *teller, const kvc_redirect *redirect);
/* This node. The lock is held. */
kvc_node *kvc_cluster_use(kvc_cluster *c, kvc_node *node);

void kvc_cluster_put(kvc_cluster *c, kvc_node *node);
kvc_pool *kvc_cluster_pool_of(const kvc_node *node); /* of a node that is used */
/* Ends what kvc_node_table_take_peer gave; NULL is nothing. */
void kvc_cluster_free_peer(void *peer);

/* Asks this node for the map of slots. KVC_EREPLY: it is no cluster. */
kvc_status kvc_cluster_load_from(kvc_cluster *c, const kvc_node *node, kvc_error *error);
/* The same, but not while another thread does or has just done so. */
void kvc_cluster_refresh_from(kvc_cluster *c, const kvc_node *node);
/* A node does not answer: the others are asked, until one does. */
void kvc_cluster_refresh_without(kvc_cluster *c, kvc_node *lost, int64_t deadline_ms);

/* ---- the course of one command, or of one transaction: cluster_course.c ---- */

typedef struct kvc_course {
    kvc_cluster *c;
    int slot;       /* -1: any node */
    kvc_node *node; /* used by the course; NULL: none */
    bool asking;
    uint32_t redirects, tries;
    int64_t deadline_ms;
} kvc_course;

/* The slot of a command's first key; -1: it has none. */
int kvc_cluster_slot_of(size_t argc, const kvc_slice *argv);

kvc_status kvc_course_begin(kvc_course *way, kvc_cluster *c, int slot, kvc_error *error);
void kvc_course_end(kvc_course *way);
/* Goes on at a node that was taken (NULL: could not be: the error says why), and puts the one before. */
kvc_status kvc_course_go_to(kvc_course *way, kvc_node *node, kvc_error *error);
/* What an answer asks for. KVC_OK: again, at way->node. KVC_NIL: the answer stands. KVC_EREDIRECT: it leads nowhere. */
kvc_status kvc_course_follow(kvc_course *way, const kvc_reply *answer, bool may_ask, kvc_error *error);
/* The node could not be reached, and nothing was sent: KVC_OK: again, at way->node. */
kvc_status kvc_course_go_round(kvc_course *way, const kvc_error *failure, kvc_error *error);
/* Runs along the course until an answer stands. */
kvc_status kvc_course_call(kvc_course *way, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                           kvc_error *error);

/* ---- several commands: cluster_batch.c ---- */

/* Fills *ret_replies, which was NULL, on success. */
kvc_status kvc_cluster_run_transaction(kvc_cluster *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                       kvc_error *error);
kvc_status kvc_cluster_run_pipeline(kvc_cluster *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                    kvc_error *error);

#endif
