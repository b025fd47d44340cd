/* cluster_batch.c - transactions, which have one slot, and pipelines, which are cut into a part for each node.
 *
 * SPDX-License-Identifier: MIT */
#include "cluster_internal.h"

#include <stdlib.h>

#include "clock.h"
#include "failure.h"
#include "reply.h"

/* ---- transactions ---- */

/* The one slot of all commands with a key. */
static kvc_status common_slot(const kvc_batch *batch, int *ret_slot, kvc_error *error)
{
    *ret_slot = -1;
    for (size_t i = 0; i < batch->n; i++) {
        int slot = kvc_cluster_slot_of(batch->commands[i].argc, batch->commands[i].argv);

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
static kvc_status follow_failure(kvc_course *way, const kvc_error *failure, kvc_error *error)
{
    kvc_reply *answer;
    kvc_status status;

    if (failure->status != KVC_EREPLY)
        return kvc_course_go_round(way, failure, error);
    answer = kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str(failure->message));
    if (!answer)
        return kvc_fail_nomem(error);
    status = kvc_course_follow(way, answer, false,
                               error); /* ASKING would be needed before each of its commands: later */
    kvc_reply_free(answer);
    if (status == KVC_NIL) {
        if (error)
            *error = *failure;
        return failure->status;
    }
    return status;
}

kvc_status kvc_cluster_run_transaction(kvc_cluster *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                       kvc_error *error)
{
    kvc_course way = { .node = NULL };
    kvc_error failure;
    int slot;
    kvc_status status = common_slot(batch, &slot, error);

    if (status == KVC_OK)
        status = kvc_course_begin(&way, c, slot, error);
    while (status == KVC_OK) {
        status = kvc_pool_run(kvc_cluster_pool_of(way.node), batch, NULL, ret_replies, &failure);
        if (status >= 0)
            break;
        status = follow_failure(&way, &failure, error);
    }
    kvc_course_end(&way);
    return status;
}

/* ---- pipelines ---- */

typedef struct part_run {
    kvc_cluster *c;
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
        node = kvc_cluster_take_owner(run->c, kvc_cluster_slot_of(command->argc, command->argv));
        if (!*ret_node && node) {
            *ret_node = node; /* stays taken */
        } else if (node) {
            kvc_cluster_put(run->c, node);
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
    kvc_course way = { .node = NULL };
    kvc_status status =
        kvc_course_begin(&way, run->c, kvc_cluster_slot_of(command->argc, command->argv), error);

    if (status == KVC_OK && way.node != node) { /* the answer is about that node */
        pthread_mutex_lock(&run->c->lock);
        ((kvc_node *)node)->users++;
        pthread_mutex_unlock(&run->c->lock);
        status = kvc_course_go_to(&way, (kvc_node *)node, error);
    }
    if (status == KVC_OK)
        status = kvc_course_follow(&way, answer, true, error);
    if (status == KVC_NIL)
        run->replies[place] = answer;
    else
        kvc_reply_free(answer);
    if (status == KVC_OK)
        status = kvc_course_call(&way, command->argc, command->argv, &run->replies[place], error);
    kvc_course_end(&way);
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
static kvc_status run_part(part_run *run, struct kvc_batch_command *commands, size_t *places,
                           kvc_course *lost, kvc_error *error)
{
    kvc_batch part = { .mode = KVC_PIPELINE, .commands = commands };
    kvc_reply *replies = NULL;
    kvc_error failure;
    kvc_node *node;
    kvc_status status;

    part.n = pick_part(run, &node, commands, places);
    if (!node)
        return kvc_fail_nomem(error);
    status = kvc_pool_run(kvc_cluster_pool_of(node), &part, NULL, &replies, &failure);
    if (status == KVC_OK) {
        run->executed = true;
        status = take_replies(run, node, part.n, places, replies, error);
        kvc_cluster_put(run->c, node);
    } else {
        kvc_course_end(lost);
        lost->node = node; /* put by it */
        lost->slot = kvc_cluster_slot_of(part.commands[0].argc, part.commands[0].argv);
        status = kvc_course_go_round(lost, &failure, error);
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

kvc_status kvc_cluster_run_pipeline(kvc_cluster *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                    kvc_error *error)
{
    part_run run = { .c = c, .batch = batch, .replies = calloc(batch->n, sizeof *run.replies) };
    struct kvc_batch_command *commands = calloc(batch->n, sizeof *commands);
    size_t *places = calloc(batch->n, sizeof *places);
    kvc_course lost = { .c = c, .deadline_ms = kvc_deadline(c->options->command_timeout_ms) };
    kvc_status status = run.replies && commands && places ? KVC_OK : kvc_fail_nomem(error);

    while (status == KVC_OK && !is_complete(&run))
        status = run_part(&run, commands, places, &lost, error);
    if (status == KVC_OK)
        status = join_replies(&run, ret_replies, error);
    else if (run.executed && error)
        error->sent = true;
    kvc_course_end(&lost);
    for (size_t i = 0; run.replies && i < batch->n; i++)
        kvc_reply_free(run.replies[i]);
    free(run.replies);
    free(commands);
    free(places);
    return status;
}
