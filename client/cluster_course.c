/* cluster_course.c - from node to node, until an answer stands. See cluster_internal.h.
 *
 * SPDX-License-Identifier: MIT */
#include "cluster_internal.h"

#include <errno.h>
#include <time.h>

#include "backoff.h"
#include "clock.h"
#include "command_facts.h"
#include "failure.h"
#include "reply.h"

#define TRIES_MAX 16 /* of one command, after "later" or a lost node */

kvc_status kvc_course_begin(kvc_course *way, kvc_cluster *c, int slot, kvc_error *error)
{
    way->c = c;
    way->slot = slot;
    way->deadline_ms = kvc_deadline(c->options->command_timeout_ms);
    way->node = kvc_cluster_take_owner(c, slot);
    return way->node ? KVC_OK : kvc_fail_nomem(error);
}

void kvc_course_end(kvc_course *way)
{
    if (way->node)
        kvc_cluster_put(way->c, way->node);
    way->node = NULL;
}

kvc_status kvc_course_go_to(kvc_course *way, kvc_node *node, kvc_error *error)
{
    bool full;

    kvc_course_end(way);
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
static bool pause_way(kvc_course *way, uint32_t number)
{
    kvc_cluster *c = way->c;
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
static bool wait_for_try(kvc_course *way)
{
    return way->tries < TRIES_MAX && pause_way(way, way->tries++);
}

/* MOVED, ASK. Nodes that disagree for a moment send a command to and fro; from the third time on it takes its time. */
static kvc_status follow_elsewhere(kvc_course *way, const kvc_redirect *redirect, kvc_slice text,
                                   kvc_error *error)
{
    uint32_t most = way->c->options->max_redirects;

    if (way->redirects >= most || (way->redirects >= 2 && !pause_way(way, way->redirects - 2)))
        return kvc_fail(error, KVC_EREDIRECT, "redirected %u times (max_redirects is %u); last: %.*s",
                        way->redirects + 1, most, (int)(text.len < 128 ? text.len : 128), text.data);
    way->redirects++;
    if (redirect->kind == KVC_REDIRECT_MOVED)
        kvc_cluster_refresh_from(way->c, way->node); /* first: what the answer says is newer */
    way->asking = redirect->kind == KVC_REDIRECT_ASK;
    return kvc_course_go_to(way, kvc_cluster_take_redirected(way->c, way->node, redirect), error);
}

kvc_status kvc_course_follow(kvc_course *way, const kvc_reply *answer, bool may_ask, kvc_error *error)
{
    kvc_redirect redirect = kvc_redirect_of(answer);

    if (redirect.kind == KVC_REDIRECT_NONE)
        return KVC_NIL;
    if (redirect.kind == KVC_REDIRECT_MOVED || (redirect.kind == KVC_REDIRECT_ASK && may_ask))
        return follow_elsewhere(way, &redirect, kvc_reply_text(answer), error);
    if (!wait_for_try(way))
        return KVC_NIL;
    if (redirect.kind == KVC_REDIRECT_DOWN)
        kvc_cluster_refresh_from(way->c, way->node);
    way->asking = false;
    return kvc_course_go_to(way, kvc_cluster_take_owner(way->c, way->slot), error);
}

kvc_status kvc_course_go_round(kvc_course *way, const kvc_error *failure, kvc_error *error)
{
    bool lost = failure->status == KVC_ECONNECT || failure->status == KVC_ETIMEOUT ||
                failure->status == KVC_ECLOSED || failure->status == KVC_EIO ||
                failure->status == KVC_ERESOLVE;

    if (!lost || failure->sent || way->c->options->retry == KVC_RETRY_NEVER || !wait_for_try(way)) {
        if (error)
            *error = *failure;
        return failure->status;
    }
    kvc_cluster_refresh_without(way->c, way->node, way->deadline_ms);
    way->asking = false;
    if (way->slot < 0)
        return kvc_course_go_to(way, kvc_cluster_take_after(way->c, way->node), error);
    return kvc_course_go_to(way, kvc_cluster_take_owner(way->c, way->slot), error);
}

int kvc_cluster_slot_of(size_t argc, const kvc_slice *argv)
{
    size_t first_key = kvc_command_facts_of(argc, argv).first_key;

    return first_key ? (int)kvc_key_slot(argv[first_key]) : -1;
}

kvc_status kvc_course_call(kvc_course *way, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                           kvc_error *error)
{
    kvc_status status;

    do {
        kvc_request request = { .argc = argc, .argv = argv, .asking = way->asking };
        kvc_error failure;

        status = kvc_pool_call(kvc_cluster_pool_of(way->node), &request, ret_reply, &failure);
        if (status == KVC_OK) {
            status = kvc_course_follow(way, *ret_reply, true, error);
            if (status == KVC_NIL)
                return KVC_OK;
            kvc_reply_free(*ret_reply);
            *ret_reply = NULL;
        } else {
            status = kvc_course_go_round(way, &failure, error);
        }
    } while (status == KVC_OK);
    return status;
}
