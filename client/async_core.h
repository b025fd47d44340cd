/* async_core.h - inside kvc_async: the calls, the connections they travel on, and who decides what.
 *
 *   async.c            the public calls, deadlines, and the callbacks
 *   async_peer.c       one server: the connection, and the queue of calls for it
 *   async_cluster.c    which connection a call belongs on; MOVED, ASK and their kin
 *   async_feeds.c      the connections that subscribed
 *
 * Threads    The loop's only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_ASYNC_CORE_H
#define KVC_ASYNC_CORE_H

#include <sys/queue.h>

#include "async_watch.h"
#include "buffer.h"
#include "call_heap.h"
#include "feed.h"
#include "node_table.h"
#include "session.h"

/* ---- calls ---- */

typedef enum kvc_call_place {
    KVC_CALL_NOWHERE,
    KVC_CALL_WAITING, /* in its peer's queue: no byte of it was handed to the link */
    KVC_CALL_FLYING,  /* its reply is outstanding */
    KVC_CALL_LATER,   /* the cluster said: later; kvc_async.later */
} kvc_call_place;

typedef struct kvc_call {
    kvc_due due; /* first: a heap item is the call; the deadline, or when LATER ends */
    kvc_async *async;
    TAILQ_ENTRY(kvc_call) queue;
    STAILQ_ENTRY(kvc_call) done;
    kvc_call_place place;
    struct kvc_peer *peer; /* WAITING, FLYING */
    int64_t deadline_ms;
    kvc_async_fn *fn; /* or NULL */
    void *arg;

    kvc_buffer bytes;  /* the command */
    size_t size_bytes; /* what it counts for in async_queue_bytes */
    bool internal;     /* CLUSTER SLOTS of our own */
    bool readonly;
    int slot; /* -1: no key, or no cluster */

    uint64_t position; /* FLYING: where it begins in the link's stream */
    int64_t flown_ms;  /* FLYING: since when */
    bool asking;       /* ASKING goes before it */
    unsigned skip;     /* FLYING: replies before its own (ASKING's) */
    unsigned redirects, laters, retries;

    bool
        answered; /* status ... error are known: it is among kvc_async.done, or was; a reply that comes is dropped */
    kvc_status status;
    bool sent;
    kvc_reply *reply;
    kvc_error *error; /* NULL: no more than status is known */
} kvc_call;

TAILQ_HEAD(kvc_calls, kvc_call);
STAILQ_HEAD(kvc_done_calls, kvc_call);

/* ---- servers ---- */

typedef enum kvc_peer_state {
    KVC_PEER_IDLE, /* not connected, and nobody needs it */
    KVC_PEER_DOWN, /* until retry_ms */
    KVC_PEER_CONNECTING,
    KVC_PEER_UP,
} kvc_peer_state;

typedef struct kvc_peer {
    TAILQ_ENTRY(kvc_peer) next;
    kvc_async *async;
    kvc_node *node;       /* of a cluster, or NULL */
    kvc_options *options; /* its own, or NULL: async's */
    kvc_session *session;
    kvc_watch watch;
    kvc_peer_state state;
    bool keep;  /* connected also when there is nothing to send */
    bool dirty; /* to be pumped in this turn */
    unsigned failures;
    int64_t retry_ms; /* DOWN */
    int64_t heard_ms; /* UP */
    struct kvc_calls waiting, flying;
    kvc_error failure; /* the last; status KVC_OK: none since it was up */
} kvc_peer;

TAILQ_HEAD(kvc_peers, kvc_peer);

typedef struct kvc_async_feed {
    TAILQ_ENTRY(kvc_async_feed) next;
    kvc_async *async;
    kvc_node *node;       /* of shard channels in a cluster, or NULL */
    kvc_node *at;         /* in a cluster: where it is connected, or tries to */
    kvc_options *options; /* its own, or NULL: async's */
    kvc_feed *feed;
    kvc_watch watch;
} kvc_async_feed;

TAILQ_HEAD(kvc_async_feeds, kvc_async_feed);

struct kvc_async {
    struct event_base *base; /* borrowed */
    kvc_options *options;
    kvc_tls *tls;
    kvc_watch turn; /* what API calls left to do; its time is the first deadline */
    kvc_call_heap heap;
    uint64_t seed;

    kvc_peer *main; /* to where the options say */
    struct kvc_peers peers;
    struct kvc_calls later;
    struct kvc_done_calls done; /* callbacks to be called */
    size_t outstanding;         /* accepted, and the callback not called yet */
    size_t held_bytes;

    kvc_node_table *nodes; /* NULL: no cluster */
    kvc_node *asked;       /* the last node that was asked for the slots */
    bool refreshing;
    int64_t refresh_after_ms;

    struct kvc_async_feeds feeds;
    kvc_async_message_fn *on_message;
    void *message_arg;

    bool dirty; /* a peer is */
    bool closing, draining;
};

/* ---- async.c ---- */

/* A command that is not in any queue yet; NULL: out of memory. */
kvc_call *kvc_call_new(kvc_async *async, size_t argc, const kvc_slice *argv, uint32_t timeout_ms);
/* Takes it out of the queue it is in. */
void kvc_call_leave(kvc_call *call);
/* Ends it: the callback will be called from the loop. reply is taken over; error may be NULL. A call that is FLYING stays there until its
 * reply comes or its connection ends, unless it left before. */
void kvc_call_answer(kvc_call *call, kvc_status status, kvc_reply *reply, const kvc_error *error, bool sent);
/* Frees one that nobody waits for: of no callback, in no queue. */
void kvc_call_free(kvc_call *call);
/* Has what is dirty done, from the loop. */
void kvc_async_wake(kvc_async *async);
/* The end of each event: sends, calls the callbacks, and frees async when it is over. Do not touch async afterwards. */
void kvc_async_settle(kvc_async *async);

/* ---- async_peer.c ---- */

kvc_status kvc_peer_new(kvc_async *async, kvc_node *node, kvc_peer **ret_peer, kvc_error *error);
/* Its queues must be empty, but for calls that are answered. */
void kvc_peer_free(kvc_peer *peer);
/* Puts the call at the end of the queue. */
void kvc_peer_add(kvc_peer *peer, kvc_call *call);
/* It has something to do in this turn, if only to connect. */
void kvc_peer_need(kvc_peer *peer);
/* Connects when there is something to send, and sends. */
void kvc_peer_pump(kvc_peer *peer);
const char *kvc_peer_address(const kvc_peer *peer);

/* ---- async_cluster.c ---- */

/* Where a call with this slot goes; never NULL. */
kvc_peer *kvc_async_route(kvc_async *async, int slot);
/* The peer of a node, which is made when there is none; NULL: out of memory. */
kvc_peer *kvc_async_node_peer(kvc_async *async, kvc_node *node);
/* Follows an error reply that sends the call elsewhere; false: it is an error like others. */
bool kvc_async_redirect(kvc_peer *peer, kvc_call *call, const kvc_reply *reply);
/* A call that was LATER may go on. */
void kvc_async_resume(kvc_async *async, kvc_call *call);
/* Asks some node for all the slots, if that is not under way. */
void kvc_async_refresh(kvc_async *async, int64_t now_ms);
/* The answer: reply, or NULL when there will be none. */
void kvc_async_refreshed(kvc_async *async, kvc_peer *peer, const kvc_reply *reply);

/* ---- async_feeds.c ---- */

void kvc_async_feed_free(kvc_async_feed *feed);

#endif
