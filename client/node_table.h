/* node_table.h - the nodes of a cluster, and which of them owns each slot.
 *
 *     kvc_redirect redirect = kvc_redirect_of(reply);
 *     if (redirect.kind == KVC_REDIRECT_MOVED) {
 *         node = kvc_node_table_add(table, redirect.host, redirect.port);
 *         kvc_node_table_set_owner(table, redirect.slot, node);
 *     }
 *
 * What both the blocking and the asynchronous client know of a cluster: slots are learned one by one from MOVED, and
 * all at once from CLUSTER SLOTS.
 *
 * Threads    One at a time: the blocking client holds its lock.
 * Ownership  Nodes belong to the table. One whose users count is not 0 stays, whatever is learned.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_NODE_TABLE_H
#define KVC_NODE_TABLE_H

#include "key_slot.h"
#include "kvclient.h"

enum {
    KVC_NODES_MAX = 1024, /* a server that names ever new nodes does not fill our memory */
    KVC_HOST_SIZE = 256,  /* a host name with its NUL */
};

/* ---- redirections ----------------------------------------------------------------------- */

typedef enum kvc_redirect_kind {
    KVC_REDIRECT_NONE,
    KVC_REDIRECT_MOVED, /* the slot belongs to another node, for good */
    KVC_REDIRECT_ASK,   /* the slot is moving: this once, after ASKING */
    KVC_REDIRECT_AGAIN, /* TRYAGAIN: the keys are on both sides of a moving slot; later */
    KVC_REDIRECT_DOWN,  /* CLUSTERDOWN: the slot has no node at present; later */
} kvc_redirect_kind;

typedef struct kvc_redirect {
    kvc_redirect_kind kind;
    unsigned slot;
    char host[KVC_HOST_SIZE]; /* "": the host of the node that answered */
    int port;
} kvc_redirect;

/* What an error reply asks for; NONE for any other reply, and for one that is no proper redirection. */
kvc_redirect kvc_redirect_of(const kvc_reply *reply);

/* ---- nodes ------------------------------------------------------------------------------ */

typedef struct kvc_node {
    char *host;
    int port;
    unsigned users; /* counted by the driver */
    bool listed;    /* owns slots as far as we know, or is where we began */
    void *peer;     /* the driver's: connections to it */
} kvc_node;

typedef struct kvc_node_table kvc_node_table;

/* Begins with one node, which is never forgotten. NULL: out of memory. */
kvc_node_table *kvc_node_table_new(const char *host, int port);
/* The peers must have been taken off. */
void kvc_node_table_free(kvc_node_table *table);
/* The node of that address, a new one when it was not known; NULL: out of memory, or KVC_NODES_MAX are known. */
kvc_node *kvc_node_table_add(kvc_node_table *table, const char *host, int port);
/* NULL: not known. */
kvc_node *kvc_node_table_owner(const kvc_node_table *table, unsigned slot);
void kvc_node_table_set_owner(kvc_node_table *table, unsigned slot, kvc_node *node);
/* The node after this one, round and round; of NULL: the first. Never NULL. */
kvc_node *kvc_node_table_after(const kvc_node_table *table, const kvc_node *node);
size_t kvc_node_table_count(const kvc_node_table *table);
/* Every owner, place by place: the first place from *place on whose node owns slots (the first place of all, when no owner is known);
 * false: there is none. */
bool kvc_node_table_find(const kvc_node_table *table, size_t *place);
/* NULL: nothing is there any more. */
kvc_node *kvc_node_table_at(const kvc_node_table *table, size_t place);

/* Takes over the reply of CLUSTER SLOTS, all of it or (on an error) nothing. asked_host stands in for hosts that the reply
 * leaves out. KVC_EPROTOCOL: it has another shape; KVC_ENOMEM. */
kvc_status kvc_node_table_load(kvc_node_table *table, const kvc_reply *slots, const char *asked_host,
                               kvc_error *error);
/* Takes a node without users that is not listed out of the table: *ret_peer is for the caller to end. False: there is none. */
bool kvc_node_table_sweep(kvc_node_table *table, void **ret_peer);
/* Takes one node's peer off, for the caller to end. False: none has any. */
bool kvc_node_table_take_peer(kvc_node_table *table, void **ret_peer);

#endif
