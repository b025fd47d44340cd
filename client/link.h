/* link.h - a session with a RESP server, without the socket: bytes in, bytes out.
 *
 *     kvc_link *link = kvc_link_new(&options, "127.0.0.1:6379");
 *     kvc_link_begin(link, &error);                      // connected: queues the handshake
 *     for (;;) {
 *         kvc_slice out = kvc_link_output(link);         // write what is there, as far as the socket takes it
 *         kvc_link_sent(link, write(...));
 *         kvc_link_feed(link, input, read(...), &error); // whatever arrived
 *         while ((status = kvc_link_next(link, &kind, &reply, &error)) == KVC_OK)
 *             ...                                        // replies in order, messages in between
 *         if (kvc_link_ready(link))
 *             kvc_link_append(link, argc, argv, &error);
 *     }
 *
 * The one core under every driver: blocking connections (connection.c) and event loops differ only in how they move
 * bytes. It waits for nothing, knows no clock, and never calls back.
 *
 * Threads    One at a time.
 * Ownership  Replies handed out are the caller's. options (and what it points to) are borrowed for the link's life.
 * Errors     A negative status of feed or next is final until the next kvc_link_begin; append that fails (KVC_EARG,
 *            KVC_ENOMEM) queued nothing. The drivers set error.sent: see kvc_link_queued.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_LINK_H
#define KVC_LINK_H

#include "kvclient.h"

typedef struct kvc_link kvc_link;

/* address is what messages call the server; copied. NULL: out of memory. */
kvc_link *kvc_link_new(const kvc_options *options, const char *address);
void kvc_link_free(kvc_link *link);
const char *kvc_link_address(const kvc_link *link);

/* ---- the session ------------------------------------------------------------------------ */

/* A new connection was made: forgets everything of the one before and queues the handshake: HELLO with AUTH and SETNAME,
 * CLIENT SETINFO, SELECT, in one write; a server without HELLO or RESP3 then gets them as commands of their own. */
kvc_status kvc_link_begin(kvc_link *link, kvc_error *error);
/* The handshake is over: commands may be appended. */
bool kvc_link_ready(const kvc_link *link);
/* 2 or 3, as agreed. */
int kvc_link_protocol(const kvc_link *link);
/* HELLO's reply, or NULL. Borrowed until the next begin. */
const kvc_reply *kvc_link_hello(const kvc_link *link);
/* Something of the session is not as the handshake left it (MULTI, WATCH, another database, subscriptions, CLIENT REPLY OFF,
 * MONITOR, ...), or replies are outstanding, or more came than was asked for: not for the next user. */
bool kvc_link_dirty(const kvc_link *link);

/* ---- out -------------------------------------------------------------------------------- */

/* Queues a command; KVC_ESTATE before the handshake is over. */
kvc_status kvc_link_append(kvc_link *link, size_t argc, const kvc_slice *argv, kvc_error *error);
/* Queues bytes that are commands already, and bring this many replies. What they do to the session is not seen: it is dirty. */
kvc_status kvc_link_append_raw(kvc_link *link, kvc_slice bytes, size_t replies, kvc_error *error);
/* What is to be written, valid until the next call; then how much of it was. */
kvc_slice kvc_link_output(const kvc_link *link);
void kvc_link_sent(kvc_link *link, size_t n);
/* Positions in the stream since begin: its end with what is queued, and how far it was sent. With the first taken before an append,
 * "at least one byte of that command was sent" is kvc_link_sent_total(link) > position. */
uint64_t kvc_link_queued(const kvc_link *link);
uint64_t kvc_link_sent_total(const kvc_link *link);

/* ---- in --------------------------------------------------------------------------------- */

typedef enum kvc_link_kind {
    KVC_LINK_REPLY,        /* of the oldest command that waits for one */
    KVC_LINK_CONFIRMATION, /* subscribe, unsubscribe and their kin: one for each channel of such a command */
    KVC_LINK_MESSAGE,      /* unasked: message, pmessage, smessage, invalidate, a line of MONITOR, ... */
} kvc_link_kind;

/* At most kvc_link_feed_max bytes a call; next is to be called until it answers KVC_NIL before the next feed. */
enum { kvc_link_feed_max = 16 * 1024 };
kvc_status kvc_link_feed(kvc_link *link, const void *data, size_t len, kvc_error *error);
/* KVC_OK: *ret_reply is yours. KVC_NIL: more bytes are needed. Error replies are replies. Negative: KVC_EPROTOCOL, KVC_ENOMEM,
 * and of the handshake KVC_EAUTH, KVC_EREPLY, KVC_ENOTSUP. */
kvc_status kvc_link_next(kvc_link *link, kvc_link_kind *ret_kind, kvc_reply **ret_reply, kvc_error *error);
/* Replies (confirmations included) that are outstanding; the handshake's are not counted. */
size_t kvc_link_pending(const kvc_link *link);

#endif
