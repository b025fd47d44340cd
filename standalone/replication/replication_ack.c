/* replication_ack.c - what a replica tells its primary: REPLCONF ACK applied FACK durable.
 *
 * applied   the databases are the primary's up to this offset, and every reader here sees that. It is no promise for the time after a crash.
 * durable   so far the log of this server has it on disk (fsync has returned): a crash, or a power cut, does not take it back. Told only
 *           with appendonly yes. WAITAOF of the primary counts it, WAIT counts the first.
 *
 * Offsets of the stream and positions in the log are different numbers. Of their relation one pair at a time is remembered: what was told
 * to the log when the databases stood at an offset. Once that much is synced the offset is durable, and the next pair is
 * taken. So durable lags behind by a sync at most, whatever the rate of writes, and needs no list.
 *
 * A primary is told once a second, when it asks, and, after it has asked, again when what it asked for has come to the disk.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "aof.h"
#include "replication_internal.h"

#define ACK_INTERVAL_MS 1000
#define LOOK_MS         10 /* between two looks at the log, for a primary that has asked */

/* Brings what is known to be durable up to date. */
static void look_at_log(replication *r)
{
    ack_state *a = &r->ack;
    int64_t applied = stream_offset(r->stream);

    if (!aof_listens(r->server)) {
        a->is_paired = false;
        a->durable = -1;
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (a->is_paired && aof_is_synced(r->server, a->log_position)) {
            a->durable = a->offset;
            a->is_paired = false;
        }
        if (a->is_paired || a->durable >= applied)
            return;
        a->log_position = aof_position(r->server);
        a->offset = applied;
        a->is_paired = true;
    }
}

void replication_begin_acks(replication *r)
{
    r->ack = (ack_state){ .durable = 0 };
}

static kv_slice spell(char text[32], int64_t number)
{
    return kv_slice_of(text, (size_t)snprintf(text, 32, "%lld", (long long)number));
}

static int send_ack(replication *r)
{
    char applied[32], durable[32];
    kv_slice argv[5] = { KV_STR("REPLCONF"), KV_STR("ACK"), { 0 }, KV_STR("FACK") };
    bool logs;

    if (r->silent)
        return 0;
    look_at_log(r);
    logs = r->ack.durable >= 0;
    argv[2] = spell(applied, stream_offset(r->stream));
    argv[4] = spell(durable, r->ack.durable);
    r->ack.sent_ms = peer_clock_ms();
    return peer_send_command(&r->link, logs ? 5 : 3, argv, replication_deadline(r)) == PEER_OK
               ? 0
               : replication_fail_link(r, "telling the offset");
}

int replication_answer(replication *r)
{
    int result = send_ack(r);

    r->ack.wanted = r->ack.durable >= 0 ? stream_offset(r->stream) : -1;
    r->ack.owes = r->ack.durable < r->ack.wanted;
    return result;
}

int replication_acknowledge(replication *r, int64_t *ret_next_ms)
{
    int64_t now_ms = peer_clock_ms();
    ack_state *a = &r->ack;
    bool due = now_ms >= a->sent_ms + ACK_INTERVAL_MS;

    if (a->owes && !due) {
        look_at_log(r);
        due = a->durable >= a->wanted;
    }
    if (due) {
        a->owes = false;
        if (send_ack(r) != 0)
            return -1;
    }
    *ret_next_ms = a->owes ? now_ms + LOOK_MS : a->sent_ms + ACK_INTERVAL_MS;
    return 0;
}
