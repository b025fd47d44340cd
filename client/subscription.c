/* subscription.c - kvc_subscription: poll around what feed.c does.
 *
 * There is one feed, and in a cluster one more for each node that serves a shard channel. Who serves what is asked for at the
 * beginning; later the nodes tell (MOVED) when they are asked for a channel that is not theirs. A feed whose node is lost goes
 * to another one, which serves its channels, or knows who does.
 *
 * kvc_subscription_wake sets a flag and makes an eventfd readable. next looks at the flag first, so that a flood of
 * messages cannot keep a wake-up from being heard.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client.h"
#include "clock.h"
#include "failure.h"
#include "feed.h"
#include "options.h"

enum { FAILURES_MAX = 2 }; /* to connect, before another node is tried */

typedef struct node_feed {
    kvc_feed *feed;
    kvc_node *node;       /* NULL: the first */
    kvc_node *at;         /* in a cluster: where it is connected, or tries to */
    kvc_options *options; /* its own, or NULL */
} node_feed;

struct kvc_subscription {
    const kvc_options *options; /* the client's */
    kvc_tls *tls;               /* the client's, or NULL */
    pid_t pid;
    int wake; /* eventfd */
    atomic_bool woken;
    kvc_node_table *nodes; /* NULL: no cluster */
    node_feed *feeds;      /* the first is where the options point to */
    size_t n;
    size_t turn;           /* whose turn it is to be looked at first */
    struct pollfd *polled; /* n + 1 */
};

/* ---- feeds ---- */

/* Adds a feed; NULL with *error. */
static node_feed *add_feed(kvc_subscription *s, kvc_node *node, kvc_error *error)
{
    node_feed added = { .node = node };
    struct pollfd *polled = realloc(s->polled, (s->n + 2) * sizeof *polled);
    node_feed *feeds = NULL;
    kvc_status status = KVC_OK;

    if (polled) {
        s->polled = polled;
        feeds = realloc(s->feeds, (s->n + 1) * sizeof *feeds);
    }
    if (!feeds) {
        kvc_fail_nomem(error);
        return NULL;
    }
    s->feeds = feeds;
    if (node)
        status = kvc_options_copy_for(s->options, node->host, node->port, &added.options, error);
    if (status == KVC_OK)
        status = kvc_feed_new(node ? added.options : s->options, s->tls, &added.feed, error);
    if (status != KVC_OK) {
        kvc_options_free(added.options);
        return NULL;
    }
    if (s->nodes)
        added.at = node ? node : kvc_node_table_after(s->nodes, NULL);
    s->feeds[s->n] = added;
    return &s->feeds[s->n++];
}

void kvc_subscription_free(kvc_subscription *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        kvc_feed_free(s->feeds[i].feed);
        kvc_options_free(s->feeds[i].options);
    }
    free(s->feeds);
    free(s->polled);
    kvc_node_table_free(s->nodes);
    if (s->wake >= 0)
        close(s->wake);
    free(s);
}

/* The node does not answer: the next one. Without memory it stays. */
static void try_another_node(const kvc_subscription *s, node_feed *nf)
{
    kvc_node *node = kvc_node_table_after(s->nodes, nf->at);
    kvc_options *options;

    if (node == nf->at || kvc_options_copy_for(s->options, node->host, node->port, &options, NULL) != KVC_OK)
        return;
    if (kvc_feed_move(nf->feed, options, NULL) != KVC_OK) {
        kvc_options_free(options);
        return;
    }
    kvc_options_free(nf->options);
    nf->options = options;
    nf->at = node;
}

/* ---- waiting ---- */

static bool take_wake(kvc_subscription *s)
{
    uint64_t count;
    ssize_t got;

    if (!atomic_exchange_explicit(&s->woken, false,
                                  memory_order_acquire)) /* pairs with the release in wake */
        return false;
    got = read(s->wake, &count, sizeof count);
    (void)got; /* nothing: wake has set the flag, and is about to write */
    return true;
}

void kvc_subscription_wake(kvc_subscription *s)
{
    uint64_t one = 1;

    atomic_store_explicit(&s->woken, true, memory_order_release);
    while (write(s->wake, &one, sizeof one) < 0 && errno == EINTR)
        ; /* any other failure: it is full, and so readable */
}

/* Waits for what the feeds wait for, for a wake-up, or until until_ms. */
static void wait_for_feeds(kvc_subscription *s, int64_t until_ms)
{
    s->polled[s->n] = (struct pollfd){ .fd = s->wake, .events = POLLIN };
    poll(s->polled, s->n + 1, kvc_poll_timeout(until_ms));
}

/* ---- opening ---- */

/* Until the first connection is made, or failed: then with the reason. */
static kvc_status connect_first(kvc_subscription *s, kvc_error *error)
{
    kvc_feed *feed = s->feeds[0].feed;
    kvc_message message;
    kvc_dial_wait wait = { .fd = -1 };
    kvc_status status;

    for (;;) {
        const kvc_error *failure = kvc_feed_failure(feed);

        status = kvc_feed_next(feed, kvc_now_ms(), &message, &wait, error);
        if (kvc_feed_is_up(feed))
            return KVC_OK;
        if (status < 0)
            return status;
        if (failure->status != KVC_OK) {
            if (error)
                *error = *failure;
            return failure->status;
        }
        s->polled[0] = (struct pollfd){ .fd = wait.fd, .events = wait.events };
        wait_for_feeds(s, wait.until_ms);
    }
}

/* The nodes of the cluster; of a server that is none, that one. */
static kvc_status learn_nodes(kvc_subscription *s, kvc_client *client, kvc_error *error)
{
    const kvc_slice argv[] = { kvc_str("CLUSTER"), kvc_str("SLOTS") };
    kvc_reply *slots;
    kvc_status status;

    s->nodes = kvc_node_table_new(s->options->host, s->options->port);
    if (!s->nodes)
        return kvc_fail_nomem(error);
    status = client->ops->call(client, 2, argv, &slots, error);
    if (status == KVC_OK && kvc_reply_type(slots) != KVC_TYPE_ERROR)
        status = kvc_node_table_load(s->nodes, slots, s->options->host, error);
    kvc_reply_free(slots);
    return status;
}

kvc_status kvc_subscription_new(kvc_client *client, kvc_subscription **ret_subscription, kvc_error *error)
{
    kvc_subscription *s = calloc(1, sizeof *s);
    kvc_status status;

    *ret_subscription = NULL;
    if (!s)
        return kvc_fail_nomem(error);
    s->pid = getpid();
    atomic_init(&s->woken, false);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status = s->wake < 0 ? kvc_fail_errno(error, KVC_EIO, errno, "eventfd")
                         : client->ops->settings(client, &s->options, &s->tls, error);
    if (status == KVC_OK && s->options->cluster)
        status = learn_nodes(s, client, error);
    if (status == KVC_OK && !add_feed(s, NULL, error))
        status = KVC_ENOMEM;
    if (status == KVC_OK)
        status = connect_first(s, error);
    if (status != KVC_OK) {
        kvc_subscription_free(s);
        return status;
    }
    *ret_subscription = s;
    return KVC_OK;
}

/* ---- subscribing ---- */

static kvc_status check_process(const kvc_subscription *s, kvc_error *error)
{
    return s->pid == getpid()
               ? KVC_OK
               : kvc_fail(error, KVC_ESTATE, "this process is a fork of the one that subscribed");
}

static kvc_status check_kind(kvc_channel_kind kind, kvc_error *error)
{
    return kind <= KVC_SHARD_CHANNEL
               ? KVC_OK
               : kvc_fail(error, KVC_EARG,
                          "kind is %d; expected KVC_CHANNEL, KVC_PATTERN or KVC_SHARD_CHANNEL", (int)kind);
}

static node_feed *find_feed(kvc_subscription *s, const kvc_node *node)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->feeds[i].node == node)
            return &s->feeds[i];
    return NULL;
}

/* Where the channel is served, as far as is known; NULL with *error: out of memory. */
static node_feed *feed_for(kvc_subscription *s, kvc_channel_kind kind, kvc_slice channel, kvc_error *error)
{
    kvc_node *owner = NULL;
    node_feed *found;

    if (s->nodes && kind == KVC_SHARD_CHANNEL)
        owner = kvc_node_table_owner(s->nodes, kvc_key_slot(channel));
    found = find_feed(s, owner);
    return found ? found : add_feed(s, owner, error);
}

kvc_status kvc_subscribe(kvc_subscription *s, kvc_channel_kind kind, kvc_slice channel, kvc_error *error)
{
    kvc_status status = check_process(s, error);
    node_feed *to;

    if (status == KVC_OK)
        status = check_kind(kind, error);
    if (status != KVC_OK)
        return status;
    to = feed_for(s, kind, channel, error);
    return to ? kvc_feed_subscribe(to->feed, kind, channel, error) : KVC_ENOMEM;
}

kvc_status kvc_unsubscribe(kvc_subscription *s, kvc_channel_kind kind, kvc_slice channel, kvc_error *error)
{
    kvc_status status = check_process(s, error);

    if (status == KVC_OK)
        status = check_kind(kind, error);
    for (size_t i = 0; i < s->n && status == KVC_OK; i++)
        status = kvc_feed_unsubscribe(s->feeds[i].feed, kind, channel, error);
    return status;
}

/* A shard channel is served elsewhere. */
static kvc_status follow(kvc_subscription *s, size_t i, kvc_error *error)
{
    kvc_redirect redirect;
    kvc_slice channel = kvc_feed_moved(s->feeds[i].feed, &redirect);
    kvc_node *node;

    if (redirect.kind == KVC_REDIRECT_MOVED) {
        node = kvc_node_table_add(s->nodes, redirect.host[0] ? redirect.host : s->feeds[i].at->host,
                                  redirect.port);
        if (!node)
            return kvc_fail(error, KVC_ENOMEM, "out of memory, or more than %d nodes in a cluster",
                            KVC_NODES_MAX);
        kvc_node_table_set_owner(s->nodes, redirect.slot, node);
    }
    return kvc_subscribe(s, KVC_SHARD_CHANNEL, channel, error);
}

/* ---- next ---- */

/* Looks at every feed once. KVC_NIL: nothing is there; s->polled and *until_ms say what to wait for. */
static kvc_status look_at_feeds(kvc_subscription *s, kvc_message *ret_message, int64_t *until_ms,
                                kvc_error *error)
{
    size_t n = s->n;

    s->turn++;
    for (size_t k = 0; k < n; k++) {
        size_t i = (s->turn + k) % n;
        kvc_dial_wait wait = { .fd = -1 };
        kvc_feed *feed = s->feeds[i].feed;
        kvc_status status;

        if (s->nodes && kvc_feed_is_down(feed) && kvc_feed_failures(feed) >= FAILURES_MAX)
            try_another_node(s, &s->feeds[i]);
        status = kvc_feed_next(feed, kvc_now_ms(), ret_message, &wait, error);
        if (status == KVC_EREDIRECT) {
            status = follow(s, i, error);
            *until_ms = 0; /* look again */
            wait.fd = -1;
            if (status == KVC_OK)
                status = KVC_NIL;
        }
        if (status != KVC_NIL)
            return status;
        s->polled[i] = (struct pollfd){ .fd = wait.fd, .events = wait.events };
        if (wait.until_ms < *until_ms)
            *until_ms = wait.until_ms;
    }
    for (size_t i = n; i < s->n; i++) { /* added just now */
        s->polled[i] = (struct pollfd){ .fd = -1 };
        *until_ms = 0;
    }
    return KVC_NIL;
}

kvc_status kvc_subscription_next(kvc_subscription *s, uint32_t timeout_ms, kvc_message *ret_message,
                                 kvc_error *error)
{
    int64_t deadline_ms = kvc_deadline(timeout_ms);
    kvc_status status = check_process(s, error);

    *ret_message = (kvc_message){ .channel = { "", 0 }, .pattern = { "", 0 }, .payload = { "", 0 } };
    while (status == KVC_OK) {
        int64_t until_ms = deadline_ms;

        if (take_wake(s))
            return kvc_fail(error, KVC_ESTATE, "woken by kvc_subscription_wake");
        status = look_at_feeds(s, ret_message, &until_ms, error);
        if (status != KVC_NIL)
            return status;
        if (kvc_now_ms() >= deadline_ms)
            return kvc_fail(error, KVC_ETIMEOUT, "nothing came within %u ms", timeout_ms);
        wait_for_feeds(s, until_ms);
        status = KVC_OK;
    }
    return status;
}
