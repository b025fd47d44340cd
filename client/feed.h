/* feed.h - one connection that subscribed: it reconnects by itself and subscribes again, in steps that never wait.
 *
 *     kvc_feed_new(options, tls, &feed, &error);
 *     kvc_feed_subscribe(feed, KVC_CHANNEL, kvc_str("news"), &error);
 *     while ((status = kvc_feed_next(feed, kvc_now_ms(), &message, &wait, &error)) == KVC_OK)
 *         handle(&message);
 *     poll(wait.fd, wait.events, until wait.until_ms);       // KVC_NIL: then next again
 *
 * What kvc_subscription (which polls) and kvc_async (on an event loop) have in common.
 *
 * Threads    One at a time.
 * Ownership  What a message points to lives until the next kvc_feed_next.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_FEED_H
#define KVC_FEED_H

#include "node_table.h"
#include "session.h"

typedef struct kvc_feed kvc_feed;

/* options and tls (NULL: no TLS) are borrowed for the feed's life. */
kvc_status kvc_feed_new(const kvc_options *options, kvc_tls *tls, kvc_feed **ret_feed, kvc_error *error);
void kvc_feed_free(kvc_feed *feed);

/* At once, or as soon as there is a connection; the event tells. Subscribing to what is subscribed does nothing. */
kvc_status kvc_feed_subscribe(kvc_feed *feed, kvc_channel_kind kind, kvc_slice name, kvc_error *error);
kvc_status kvc_feed_unsubscribe(kvc_feed *feed, kvc_channel_kind kind, kvc_slice name, kvc_error *error);

/* KVC_OK: *ret_message. KVC_NIL: nothing for now; next again when *ret_wait says. Others must be told, and next may be called
 * again afterwards: KVC_EAUTH, KVC_ETLS, KVC_EREPLY, KVC_ENOTSUP, KVC_EARG (the server does not let us in; it is
 * tried again later), KVC_EREPLY (a channel was refused and is dropped), KVC_EREDIRECT (kvc_feed_moved).
 * The socket may be closed and another one opened within. */
kvc_status kvc_feed_next(kvc_feed *feed, int64_t now_ms, kvc_message *ret_message, kvc_dial_wait *ret_wait,
                         kvc_error *error);

/* After KVC_EREDIRECT, until the next kvc_feed_next: a shard channel that is served elsewhere, and where, if the server said so
 * (kind is not NONE). It is no longer the feed's. */
kvc_slice kvc_feed_moved(const kvc_feed *feed, kvc_redirect *ret_redirect);

/* It has a connection with a session on it. */
bool kvc_feed_is_up(const kvc_feed *feed);
/* Why the last connection ended or was not made; status KVC_OK: it is up, or was not tried. */
const kvc_error *kvc_feed_failure(const kvc_feed *feed);
/* It waits before its next attempt to connect. */
bool kvc_feed_is_down(const kvc_feed *feed);
/* Attempts to connect that failed since it was up. */
unsigned kvc_feed_failures(const kvc_feed *feed);
/* Goes to another server with the next attempt; what it is to hear stays. It must be down. options are borrowed in place of the
 * ones before. KVC_ENOMEM: it stays where it was. */
kvc_status kvc_feed_move(kvc_feed *feed, const kvc_options *options, kvc_error *error);

#endif
