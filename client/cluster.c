/* cluster.c - the client of a Redis Cluster: a pool for each node, and where each command goes.
 *
 * A command goes to the owner of its first key's slot, as far as that is known, else to any node, and the node that is wrong says
 * which is right:
 *
 *     MOVED         the slot's owner is remembered, the command goes there; the whole map is asked for
 *     ASK           the command goes there, this once, behind ASKING
 *     TRYAGAIN, CLUSTERDOWN    the command is sent again after a random time that grows with each try
 *     no connection, nothing sent    another node is asked for the map; then again
 *
 * All four say that nothing was executed, so that sending again keeps the promise that nothing is executed twice. It ends with
 * max_redirects, with TRIES_MAX, or with the command timeout.
 *
 * A pipeline is cut into one part for each node; the parts run one after the other, and the commands that were redirected
 * once more. Commands of one slot so keep their order, unless the slot moves under them. A transaction's keys have one slot.
 *
 *     lock     guards the table and the pools' pointers; never held during I/O
 *     users    of a node: threads that are between take_... and put_node. A node with users is not swept.
 *
 * A node of which a connection was leased is never let go: nobody tells when the lease ends. There are at most KVC_NODES_MAX.
 *
 * SPDX-License-Identifier: MIT */
#include "cluster.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "backoff.h"
#include "clock.h"
#include "command_facts.h"
#include "failure.h"
#include "node_table.h"
#include "options.h"
#include "reply.h"

#define TRIES_MAX      16   /* of one command, after "later" or a lost node */
#define REFRESH_MIN_MS 1000 /* between two questions for the map that MOVED gave rise to */

/* kvc_node.peer */
typedef struct node_pool {
    kvc_options *options;
    kvc_pool *pool;
} node_pool;

typedef struct cluster {
    kvc_client client; /* first */
    kvc_options *options;
    kvc_tls *tls; /* or NULL */
    pid_t pid;
    pthread_mutex_t lock;
    kvc_node_table *nodes;
    bool refreshing;
    int64_t refresh_after_ms;
    uint64_t seed;
} cluster;

/* ---- nodes ---- */

static void node_pool_free(node_pool *np)
{
    if (!np)
        return;
    kvc_pool_free(np->pool);
    kvc_options_free(np->options);
    free(np);
}

static node_pool *node_pool_new(const cluster *c, const kvc_node *node)
{
    node_pool *np = calloc(1, sizeof *np);

    if (!np)
        return NULL;
    if (kvc_options_copy_for(c->options, node->host, node->port, &np->options, NULL) == KVC_OK)
        np->pool = kvc_pool_new(np->options, c->tls);
    if (np->pool)
        return np;
    node_pool_free(np);
    return NULL;
}

/* The lock is held. NULL: out of memory. */
static kvc_node *use_node(cluster *c, kvc_node *node)
{
    if (!node->peer)
        node->peer = node_pool_new(c, node);
    if (!node->peer)
        return NULL;
    node->users++;
    return node;
}

/* All of these: the node is used until put_node; NULL: out of memory. */

/* The owner of the slot, if that is known, else any node. */
static kvc_node *take_owner(cluster *c, int slot)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = slot >= 0 ? kvc_node_table_owner(c->nodes, (unsigned)slot) : NULL;
    node = use_node(c, node ? node : kvc_node_table_after(c->nodes, NULL));
    pthread_mutex_unlock(&c->lock);
    return node;
}

static kvc_node *take_after(cluster *c, const kvc_node *before)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = use_node(c, kvc_node_table_after(c->nodes, before));
    pthread_mutex_unlock(&c->lock);
    return node;
}

/* The node that a redirection of teller names; of MOVED it is remembered. */
static kvc_node *take_redirected(cluster *c, const kvc_node *teller, const kvc_redirect *redirect)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = kvc_node_table_add(c->nodes, redirect->host[0] ? redirect->host : teller->host, redirect->port);
    if (node)
        node = use_node(c, node);
    if (node && redirect->kind == KVC_REDIRECT_MOVED)
        kvc_node_table_set_owner(c->nodes, redirect->slot, node);
    pthread_mutex_unlock(&c->lock);
    return node;
}

static void put_node(cluster *c, kvc_node *node)
{
    pthread_mutex_lock(&c->lock);
    node->users--;
    pthread_mutex_unlock(&c->lock);
}

static kvc_pool *pool_of(const kvc_node *node)
{
    return ((node_pool *)node->peer)->pool;
}

/* ---- the map of slots ---- */

/* One thread at a time, and not too often unless it must be. */
static bool begin_refresh(cluster *c, bool must)
{
    bool begin;

    pthread_mutex_lock(&c->lock);
    begin = !c->refreshing && (must || kvc_now_ms() >= c->refresh_after_ms);
    if (begin)
        c->refreshing = true;
    pthread_mutex_unlock(&c->lock);
    return begin;
}

static void end_refresh(cluster *c)
{
    pthread_mutex_lock(&c->lock);
    c->refreshing = false;
    c->refresh_after_ms = kvc_now_ms() + REFRESH_MIN_MS;
    pthread_mutex_unlock(&c->lock);
}

/* Nodes that are no part of the cluster any more; their pools end outside of the lock. */
static void sweep(cluster *c)
{
    void *peer;
    bool more;

    do {
        pthread_mutex_lock(&c->lock);
        more = kvc_node_table_sweep(c->nodes, &peer);
        pthread_mutex_unlock(&c->lock);
        node_pool_free(peer);
    } while (more);
}

/* Asks this node. KVC_EREPLY: it is no cluster. */
static kvc_status load_from(cluster *c, const kvc_node *node, kvc_error *error)
{
    const kvc_slice argv[] = { kvc_str("CLUSTER"), kvc_str("SLOTS") };
    kvc_reply *reply;
    kvc_status status =
        kvc_pool_call(pool_of(node), &(kvc_request){ .argc = 2, .argv = argv }, &reply, error);

    if (status == KVC_OK)
        status = kvc_check_reply(&reply, error);
    if (status == KVC_OK) {
        pthread_mutex_lock(&c->lock);
        status = kvc_node_table_load(c->nodes, reply, node->host, error);
        pthread_mutex_unlock(&c->lock);
    }
    kvc_reply_free(reply);
    return status;
}

static void refresh_from(cluster *c, const kvc_node *node)
{
    if (!begin_refresh(c, false))
        return;
    load_from(c, node, NULL);
    sweep(c);
    end_refresh(c);
}

/* A node does not answer: the others are asked, until one does. */
static void refresh_without(cluster *c, kvc_node *lost, int64_t deadline_ms)
{
    kvc_node *node = NULL;
    kvc_status status = KVC_ECONNECT;
    size_t tries;

    if (!begin_refresh(c, true))
        return;
    pthread_mutex_lock(&c->lock);
    tries = kvc_node_table_count(c->nodes);
    pthread_mutex_unlock(&c->lock);
    for (kvc_node *before = lost; tries-- > 0 && status != KVC_OK && kvc_now_ms() < deadline_ms;
         before = node) {
        kvc_node *next = take_after(c, before);

        if (node)
            put_node(c, node);
        node = next;
        if (!node)
            break;
        if (node != lost)
            status = load_from(c, node, NULL);
    }
    if (node)
        put_node(c, node);
    sweep(c);
    end_refresh(c);
}

/* ---- the course of one command, or of one transaction ---- */

typedef struct course {
    cluster *c;
    int slot; /* -1: any node */
    kvc_node *node;
    bool asking;
    uint32_t redirects, tries;
    int64_t deadline_ms;
} course;

static kvc_status course_begin(course *way, cluster *c, int slot, kvc_error *error)
{
    way->c = c;
    way->slot = slot;
    way->deadline_ms = kvc_deadline(c->options->command_timeout_ms);
    way->node = take_owner(c, slot);
    return way->node ? KVC_OK : kvc_fail_nomem(error);
}

static void course_end(course *way)
{
    if (way->node)
        put_node(way->c, way->node);
    way->node = NULL;
}

static kvc_status go_to(course *way, kvc_node *node, kvc_error *error)
{
    bool full;

    course_end(way);
    way->node = node;
    if (node)
        return KVC_OK;
    pthread_mutex_lock(&way->c->lock);
    full = kvc_node_table_count(way->c->nodes) == KVC_NODES_MAX;
    pthread_mutex_unlock(&way->c->lock);
    return full ? kvc_fail(error, KVC_EREDIRECT, "the cluster names more than %d nodes", KVC_NODES_MAX)
                : kvc_fail_nomem(error);
}

/* Waits a random time, longer with every number; false: the time would be up. */
static bool pause_way(course *way, uint32_t number)
{
    cluster *c = way->c;
    struct timespec until;
    int64_t until_ms;

    pthread_mutex_lock(&c->lock);
    until_ms = kvc_now_ms() +
               kvc_backoff_ms(&c->seed, number, c->options->backoff_min_ms, c->options->backoff_max_ms);
    pthread_mutex_unlock(&c->lock);
    if (until_ms >= way->deadline_ms)
        return false;
    until = (struct timespec){ .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    return true;
}

/* Before the next try; false: there were enough, or the time is up. */
static bool wait_for_try(course *way)
{
    return way->tries < TRIES_MAX && pause_way(way, way->tries++);
}

/* MOVED, ASK. Nodes that disagree for a moment send a command to and fro; from the third time on it takes its time. */
static kvc_status follow_elsewhere(course *way, const kvc_redirect *redirect, kvc_slice text,
                                   kvc_error *error)
{
    uint32_t most = way->c->options->max_redirects;

    if (way->redirects >= most || (way->redirects >= 2 && !pause_way(way, way->redirects - 2)))
        return kvc_fail(error, KVC_EREDIRECT, "redirected %u times (max_redirects is %u); last: %.*s",
                        way->redirects + 1, most, (int)(text.len < 128 ? text.len : 128), text.data);
    way->redirects++;
    if (redirect->kind == KVC_REDIRECT_MOVED)
        refresh_from(way->c, way->node); /* first: what the answer says is newer */
    way->asking = redirect->kind == KVC_REDIRECT_ASK;
    return go_to(way, take_redirected(way->c, way->node, redirect), error);
}

/* What an answer asks for. KVC_OK: again, at way->node. KVC_NIL: the answer stands. KVC_EREDIRECT: it leads nowhere. */
static kvc_status follow(course *way, const kvc_reply *answer, bool may_ask, kvc_error *error)
{
    kvc_redirect redirect = kvc_redirect_of(answer);

    if (redirect.kind == KVC_REDIRECT_NONE)
        return KVC_NIL;
    if (redirect.kind == KVC_REDIRECT_MOVED || (redirect.kind == KVC_REDIRECT_ASK && may_ask))
        return follow_elsewhere(way, &redirect, kvc_reply_text(answer), error);
    if (!wait_for_try(way))
        return KVC_NIL;
    if (redirect.kind == KVC_REDIRECT_DOWN)
        refresh_from(way->c, way->node);
    way->asking = false;
    return go_to(way, take_owner(way->c, way->slot), error);
}

/* The node could not be reached, and nothing was sent: KVC_OK: again, at way->node. */
static kvc_status go_round(course *way, const kvc_error *failure, kvc_error *error)
{
    bool lost = failure->status == KVC_ECONNECT || failure->status == KVC_ETIMEOUT ||
                failure->status == KVC_ECLOSED || failure->status == KVC_EIO ||
                failure->status == KVC_ERESOLVE;

    if (!lost || failure->sent || way->c->options->retry == KVC_RETRY_NEVER || !wait_for_try(way)) {
        if (error)
            *error = *failure;
        return failure->status;
    }
    refresh_without(way->c, way->node, way->deadline_ms);
    way->asking = false;
    if (way->slot < 0)
        return go_to(way, take_after(way->c, way->node), error);
    return go_to(way, take_owner(way->c, way->slot), error);
}

static int slot_of(size_t argc, const kvc_slice *argv)
{
    size_t first_key = kvc_command_facts_of(argc, argv).first_key;

    return first_key ? (int)kvc_key_slot(argv[first_key]) : -1;
}

static kvc_status check_process(const cluster *c, kvc_error *error)
{
    return c->pid == getpid()
               ? KVC_OK
               : kvc_fail(error, KVC_ESTATE, "this process is a fork of the one that opened the client");
}

/* ---- one command ---- */

/* Runs along the course until an answer stands. */
static kvc_status call_along(course *way, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                             kvc_error *error)
{
    kvc_status status;

    do {
        kvc_request request = { .argc = argc, .argv = argv, .asking = way->asking };
        kvc_error failure;

        status = kvc_pool_call(pool_of(way->node), &request, ret_reply, &failure);
        if (status == KVC_OK) {
            status = follow(way, *ret_reply, true, error);
            if (status == KVC_NIL)
                return KVC_OK;
            kvc_reply_free(*ret_reply);
            *ret_reply = NULL;
        } else {
            status = go_round(way, &failure, error);
        }
    } while (status == KVC_OK);
    return status;
}

static kvc_status cluster_call(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                               kvc_error *error)
{
    cluster *c = (cluster *)client;
    course way = { .node = NULL };
    kvc_status status = check_process(c, error);

    *ret_reply = NULL;
    if (status == KVC_OK)
        status = course_begin(&way, c, slot_of(argc, argv), error);
    if (status == KVC_OK)
        status = call_along(&way, argc, argv, ret_reply, error);
    course_end(&way);
    return status;
}

static bool cluster_find_node(kvc_client *client, size_t *node)
{
    cluster *c = (cluster *)client;
    bool found;

    pthread_mutex_lock(&c->lock);
    found = kvc_node_table_find(c->nodes, node);
    pthread_mutex_unlock(&c->lock);
    return found;
}

static kvc_status cluster_call_node(kvc_client *client, size_t place, size_t argc, const kvc_slice *argv,
                                    kvc_reply **ret_reply, kvc_error *error)
{
    cluster *c = (cluster *)client;
    kvc_status status = check_process(c, error);
    kvc_node *node;

    *ret_reply = NULL;
    if (status != KVC_OK)
        return status;
    pthread_mutex_lock(&c->lock);
    node = kvc_node_table_at(c->nodes, place);
    if (!node)
        status = kvc_fail(error, KVC_ESTATE, "a node has left the cluster meanwhile");
    else if (!use_node(c, node))
        status = kvc_fail_nomem(error);
    pthread_mutex_unlock(&c->lock);
    if (status != KVC_OK)
        return status;
    status = kvc_pool_call(pool_of(node), &(kvc_request){ .argc = argc, .argv = argv }, ret_reply, error);
    put_node(c, node);
    return status;
}

/* ---- transactions ---- */

/* The one slot of all commands with a key. */
static kvc_status common_slot(const kvc_batch *batch, int *ret_slot, kvc_error *error)
{
    *ret_slot = -1;
    for (size_t i = 0; i < batch->n; i++) {
        int slot = slot_of(batch->commands[i].argc, batch->commands[i].argv);

        if (slot >= 0 && *ret_slot >= 0 && slot != *ret_slot)
            return kvc_fail(
                error, KVC_EARG,
                "command %zu of the transaction is of slot %d, one before it of %d: in a cluster its keys "
                "must share a slot",
                i + 1, slot, *ret_slot);
        if (slot >= 0)
            *ret_slot = slot;
    }
    return KVC_OK;
}

/* A transaction that was refused for its slot was not executed; error says why as the server said it. */
static kvc_status follow_failure(course *way, const kvc_error *failure, kvc_error *error)
{
    kvc_reply *answer;
    kvc_status status;

    if (failure->status != KVC_EREPLY)
        return go_round(way, failure, error);
    answer = kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str(failure->message));
    if (!answer)
        return kvc_fail_nomem(error);
    status =
        follow(way, answer, false, error); /* ASKING would be needed before each of its commands: later */
    kvc_reply_free(answer);
    if (status == KVC_NIL) {
        if (error)
            *error = *failure;
        return failure->status;
    }
    return status;
}

static kvc_status run_transaction(cluster *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                  kvc_error *error)
{
    course way = { .node = NULL };
    kvc_error failure;
    int slot;
    kvc_status status = common_slot(batch, &slot, error);

    if (status == KVC_OK)
        status = course_begin(&way, c, slot, error);
    while (status == KVC_OK) {
        status = kvc_pool_run(pool_of(way.node), batch, NULL, ret_replies, &failure);
        if (status >= 0)
            break;
        status = follow_failure(&way, &failure, error);
    }
    course_end(&way);
    return status;
}

/* ---- pipelines ---- */

typedef struct part_run {
    cluster *c;
    const kvc_batch *batch;
    kvc_reply **replies; /* by command; NULL: to be run */
    bool executed;       /* something was */
} part_run;

/* The commands without a reply that go to the same node as the first of them; their places in ret_places. */
static size_t pick_part(const part_run *run, kvc_node **ret_node, struct kvc_batch_command *ret_commands,
                        size_t *ret_places)
{
    size_t n = 0;

    *ret_node = NULL;
    for (size_t i = 0; i < run->batch->n; i++) {
        const struct kvc_batch_command *command = &run->batch->commands[i];
        kvc_node *node;

        if (run->replies[i])
            continue;
        node = take_owner(run->c, slot_of(command->argc, command->argv));
        if (!*ret_node && node) {
            *ret_node = node; /* stays taken */
        } else if (node) {
            put_node(run->c, node);
        }
        if (!node || node != *ret_node)
            continue;
        ret_commands[n] = *command;
        ret_places[n++] = i;
    }
    return n;
}

/* A command of a part that was sent elsewhere goes on alone. */
static kvc_status finish_alone(part_run *run, const kvc_node *node, size_t place, kvc_reply *answer,
                               kvc_error *error)
{
    const struct kvc_batch_command *command = &run->batch->commands[place];
    course way = { .node = NULL };
    kvc_status status = course_begin(&way, run->c, slot_of(command->argc, command->argv), error);

    if (status == KVC_OK && way.node != node) { /* the answer is about that node */
        pthread_mutex_lock(&run->c->lock);
        ((kvc_node *)node)->users++;
        pthread_mutex_unlock(&run->c->lock);
        status = go_to(&way, (kvc_node *)node, error);
    }
    if (status == KVC_OK)
        status = follow(&way, answer, true, error);
    if (status == KVC_NIL)
        run->replies[place] = answer;
    else
        kvc_reply_free(answer);
    if (status == KVC_OK)
        status = call_along(&way, command->argc, command->argv, &run->replies[place], error);
    course_end(&way);
    return status < 0 ? status : KVC_OK;
}

static kvc_status take_replies(part_run *run, const kvc_node *node, size_t n, const size_t *places,
                               kvc_reply *replies, kvc_error *error)
{
    kvc_status status = KVC_OK;

    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        kvc_reply *answer = replies->is.elements.items[i];

        replies->is.elements.items[i] = NULL;
        if (kvc_redirect_of(answer).kind == KVC_REDIRECT_NONE)
            run->replies[places[i]] = answer;
        else
            status = finish_alone(run, node, places[i], answer, error);
    }
    return status;
}

/* Runs the next part. */
static kvc_status run_part(part_run *run, struct kvc_batch_command *commands, size_t *places, course *lost,
                           kvc_error *error)
{
    kvc_batch part = { .mode = KVC_PIPELINE, .commands = commands };
    kvc_reply *replies = NULL;
    kvc_error failure;
    kvc_node *node;
    kvc_status status;

    part.n = pick_part(run, &node, commands, places);
    if (!node)
        return kvc_fail_nomem(error);
    status = kvc_pool_run(pool_of(node), &part, NULL, &replies, &failure);
    if (status == KVC_OK) {
        run->executed = true;
        status = take_replies(run, node, part.n, places, replies, error);
        put_node(run->c, node);
    } else {
        course_end(lost);
        lost->node = node; /* put by it */
        lost->slot = slot_of(part.commands[0].argc, part.commands[0].argv);
        status = go_round(lost, &failure, error);
    }
    kvc_reply_free(replies);
    return status;
}

static bool is_complete(const part_run *run)
{
    for (size_t i = 0; i < run->batch->n; i++)
        if (!run->replies[i])
            return false;
    return true;
}

/* The replies as one; they are taken over on success. */
static kvc_status join_replies(part_run *run, kvc_reply **ret_replies, kvc_error *error)
{
    kvc_reply *list = kvc_reply_new(KVC_TYPE_ARRAY);

    for (size_t i = 0; i < run->batch->n; i++) {
        if (!list || !kvc_reply_add(list, run->replies[i])) {
            kvc_reply_free(list);
            return kvc_fail_nomem(error);
        }
        run->replies[i] = NULL;
    }
    *ret_replies = list;
    return list ? KVC_OK : kvc_fail_nomem(error);
}

static kvc_status run_pipeline(cluster *c, const kvc_batch *batch, kvc_reply **ret_replies, kvc_error *error)
{
    part_run run = { .c = c, .batch = batch, .replies = calloc(batch->n, sizeof *run.replies) };
    struct kvc_batch_command *commands = calloc(batch->n, sizeof *commands);
    size_t *places = calloc(batch->n, sizeof *places);
    course lost = { .c = c, .deadline_ms = kvc_deadline(c->options->command_timeout_ms) };
    kvc_status status = run.replies && commands && places ? KVC_OK : kvc_fail_nomem(error);

    while (status == KVC_OK && !is_complete(&run))
        status = run_part(&run, commands, places, &lost, error);
    if (status == KVC_OK)
        status = join_replies(&run, ret_replies, error);
    else if (run.executed && error)
        error->sent = true;
    course_end(&lost);
    for (size_t i = 0; run.replies && i < batch->n; i++)
        kvc_reply_free(run.replies[i]);
    free(run.replies);
    free(commands);
    free(places);
    return status;
}

static kvc_status cluster_run(kvc_client *client, const kvc_batch *batch, kvc_connection *connection,
                              kvc_reply **ret_replies, kvc_error *error)
{
    cluster *c = (cluster *)client;
    kvc_status status = check_process(c, error);

    *ret_replies = NULL;
    if (status != KVC_OK)
        return status;
    if (connection)
        return kvc_pool_run(kvc_connection_pool(connection), batch, connection, ret_replies, error);
    return batch->mode == KVC_TRANSACTION ? run_transaction(c, batch, ret_replies, error)
                                          : run_pipeline(c, batch, ret_replies, error);
}

/* ---- leases ---- */

static kvc_status cluster_lease(kvc_client *client, const kvc_slice *key, uint32_t wait_ms,
                                kvc_connection **ret_connection, kvc_error *error)
{
    cluster *c = (cluster *)client;
    kvc_status status = check_process(c, error);
    kvc_node *node;

    if (status != KVC_OK)
        return status;
    node = take_owner(c, key ? (int)kvc_key_slot(*key) : -1);
    if (!node)
        return kvc_fail_nomem(error);
    status = kvc_pool_take(pool_of(node), wait_ms, ret_connection, error);
    if (status != KVC_OK)
        put_node(c, node); /* else it stays taken for good */
    return status;
}

static bool cluster_learn(kvc_client *client, const kvc_reply *answer)
{
    cluster *c = (cluster *)client;
    kvc_redirect redirect = kvc_redirect_of(answer);
    kvc_node *teller, *node;

    if (redirect.kind != KVC_REDIRECT_MOVED)
        return false;
    teller = take_owner(c, (int)redirect.slot);
    if (!teller)
        return false;
    refresh_from(c, teller);
    node = take_redirected(c, teller, &redirect);
    put_node(c, teller);
    if (node)
        put_node(c, node);
    return node != NULL;
}

static kvc_status cluster_settings(kvc_client *client, const kvc_options **ret_options, kvc_tls **ret_tls,
                                   kvc_error *error)
{
    cluster *c = (cluster *)client;

    *ret_options = c->options;
    *ret_tls = c->tls;
    return check_process(c, error);
}

/* ---- opening and closing ---- */

static void cluster_close(kvc_client *client)
{
    cluster *c = (cluster *)client;
    void *peer;

    while (c->nodes && kvc_node_table_take_peer(c->nodes, &peer))
        node_pool_free(peer);
    kvc_node_table_free(c->nodes);
    kvc_tls_free(c->tls);
    kvc_options_free(c->options);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static const kvc_client_ops cluster_ops = {
    .call = cluster_call,
    .find_node = cluster_find_node,
    .call_node = cluster_call_node,
    .run = cluster_run,
    .lease = cluster_lease,
    .learn = cluster_learn,
    .settings = cluster_settings,
    .close = cluster_close,
};

/* The first connection, and the map; a server that is no cluster has none and is never left. */
static kvc_status connect_first(cluster *c, kvc_error *error)
{
    kvc_node *first = take_owner(c, -1);
    kvc_error failure;
    kvc_status status;

    if (!first)
        return kvc_fail_nomem(error);
    status = load_from(c, first, &failure);
    put_node(c, first);
    if (status == KVC_OK || status == KVC_EREPLY)
        return KVC_OK;
    if (error)
        *error = failure;
    return status;
}

kvc_status kvc_cluster_open(kvc_options *options, kvc_tls *tls, kvc_client **ret_client, kvc_error *error)
{
    cluster *c = calloc(1, sizeof *c);
    kvc_status status;

    if (!c)
        return kvc_fail_nomem(error);
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return kvc_fail_nomem(error);
    }
    c->client.ops = &cluster_ops;
    c->pid = getpid();
    c->seed = kvc_backoff_seed();
    c->options = options;
    c->tls = tls;
    c->nodes = kvc_node_table_new(options->host, options->port);
    status = c->nodes ? connect_first(c, error) : kvc_fail_nomem(error);
    if (status != KVC_OK) {
        c->options = NULL; /* both are still the caller's */
        c->tls = NULL;
        cluster_close(&c->client);
        return status;
    }
    *ret_client = &c->client;
    return KVC_OK;
}
