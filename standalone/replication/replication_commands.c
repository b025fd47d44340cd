/* replication_commands.c - REPLICAOF SLAVEOF ROLE, and INFO replication. SPDX-License-Identifier: MIT */
#include "replication_commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "actor.h"
#include "peer.h"
#include "replica.h"
#include "replica_guard.h"
#include "replication.h"
#include "round.h"
#include "session.h"

/* ---- REPLICAOF ---- */

/* A batch that began before has ended when its worker is visited. */
static void visit(round *r, worker *w)
{
    (void)r;
    (void)w;
}

static void do_nothing(actor_message *message)
{
    (void)message;
}

/* No write that was accepted before is under way any more. */
static void begin(round *r, kv_reply *reply)
{
    server *s = r->asker->owner->server;
    actor_message last = { .run = do_nothing };

    if (s->actor)
        actor_call(s->actor, &last);
    replication_begin(s);
    kv_reply_ok(reply);
}

static void end(round *r)
{
    free(r);
}

static void follow(kv_call *call, int port)
{
    round *r = calloc(1, sizeof *r);
    int err = r ? replication_follow(session_server(call), call->argv[1], port) : KV_ENOMEM;

    if (err == 0) {
        *r = (round){ .visit = visit, .answer = begin, .end = end };
        round_start(r, call);
        return;
    }
    free(r);
    if (err == 1)
        call->reply->ops->simple(call->reply, KV_STR("OK Already connected to specified master"));
    else if (err == KV_EINVAL)
        kv_reply_errorf(call->reply, "ERR Invalid master host");
    else
        kv_reply_error(call->reply, err);
}

/* REPLICAOF host port | NO ONE, SLAVEOF */
void session_replicaof(kv_call *call)
{
    int64_t port;

    if (kv_word_is(call->argv[1], "no") && kv_word_is(call->argv[2], "one")) {
        replication_leave(session_server(call));
        kv_reply_ok(call->reply);
    } else if (!kv_parse_int(call->argv[2], &port) || port < 0 || port > 65535) {
        kv_reply_errorf(call->reply, "ERR Invalid master port");
    } else {
        follow(call, (int)port);
    }
}

/* ---- ROLE ---- */

static const char *state_name(replication_state state)
{
    switch (state) {
    case REPLICATION_CONNECT:
        return "connect";
    case REPLICATION_CONNECTING:
        return "connecting";
    case REPLICATION_SYNC:
        return "sync";
    case REPLICATION_CONNECTED:
        return "connected";
    default:
        return "none";
    }
}

/* ROLE */
void session_role(kv_call *call)
{
    replication_figures f;

    replication_read_figures(session_server(call), &f);
    if (f.state == REPLICATION_NONE) {
        kv_reply_array(call->reply, 3);
        kv_reply_bulk(call->reply, KV_STR("master"));
        kv_reply_int(call->reply, feed_position(session_server(call)));
        replica_reply_list(session_server(call), call->reply);
        return;
    }
    kv_reply_array(call->reply, 5);
    kv_reply_bulk(call->reply, KV_STR("slave"));
    kv_reply_bulk(call->reply, kv_str(f.host));
    kv_reply_int(call->reply, f.port);
    kv_reply_bulk(call->reply, kv_str(state_name(f.state)));
    kv_reply_int(call->reply, f.state == REPLICATION_CONNECTED ? f.offset : -1);
}

/* ---- INFO replication ---- */

static void write_link(FILE *out, const replication_figures *f)
{
    int64_t now_ms = peer_clock_ms();

    fprintf(out, "master_host:%s\r\nmaster_port:%d\r\nmaster_link_status:%s\r\n", f->host, f->port,
            f->state == REPLICATION_CONNECTED ? "up" : "down");
    fprintf(out, "master_last_io_seconds_ago:%lld\r\nmaster_sync_in_progress:%d\r\n",
            f->last_heard_ms && f->state == REPLICATION_CONNECTED
                ? (long long)((now_ms - f->last_heard_ms) / 1000)
                : -1LL,
            f->state == REPLICATION_SYNC);
    fprintf(out, "slave_read_repl_offset:%lld\r\nslave_repl_offset:%lld\r\n",
            (long long)(f->offset < 0 ? 0 : f->received_offset), (long long)(f->offset < 0 ? 0 : f->offset));
    if (f->state == REPLICATION_SYNC) {
        int64_t left = f->sync_total < 0 ? -1 : f->sync_total - f->sync_bytes;

        fprintf(
            out,
            "master_sync_total_bytes:%lld\r\nmaster_sync_read_bytes:%lld\r\nmaster_sync_left_bytes:%lld\r\n"
            "master_sync_perc:%.2f\r\nmaster_sync_last_io_seconds_ago:%lld\r\n",
            (long long)(f->sync_total < 0 ? 0 : f->sync_total), (long long)f->sync_bytes, (long long)left,
            f->sync_total > 0 ? 100.0 * (double)f->sync_bytes / (double)f->sync_total : 0.0,
            (long long)((now_ms - f->last_heard_ms) / 1000));
    }
    if (f->state != REPLICATION_CONNECTED)
        fprintf(out, "master_link_down_since_seconds:%lld\r\nmaster_link_error:%s\r\n",
                f->down_since_ms ? (long long)((now_ms - f->down_since_ms) / 1000) : -1LL, f->error);
}

/* What the primary has and we have not. */
static void write_gaps(FILE *out, const replication_figures *f)
{
    fprintf(out, "not_replicated_keys:%llu\r\nnot_replicated_types:%s\r\nnot_replicated_commands:%llu\r\n",
            (unsigned long long)f->keys_left_out, f->types_left_out,
            (unsigned long long)(f->gaps.unknown + f->gaps.database + f->gaps.failed));
    fprintf(out, "not_replicated_names:");
    for (int i = 0; i < f->gaps.name_count; i++)
        fprintf(out, "%s%s", i ? "," : "", f->gaps.names[i]);
    fprintf(out, "\r\n");
}

void replication_write_info(server *s, FILE *out)
{
    static const char no_id[] = "0000000000000000000000000000000000000000";
    replication_figures f;
    feed_figures stream;

    replication_read_figures(s, &f);
    feed_read_figures(s, &stream);
    fprintf(out, "role:%s\r\n", f.state == REPLICATION_NONE ? "master" : "slave");
    if (f.state != REPLICATION_NONE) {
        write_link(out, &f);
        fprintf(out, "slave_priority:%lld\r\nslave_read_only:%lld\r\nreplica_announced:%lld\r\n",
                (long long)config_number(s->config, CONFIG_ID_replica_priority),
                (long long)config_number(s->config, CONFIG_ID_replica_read_only),
                (long long)config_number(s->config, CONFIG_ID_replica_announced));
        write_gaps(out, &f);
    }
    fprintf(out, "connected_slaves:%zu\r\n", stream.readers);
    replica_guard_write(s, out);
    replica_write_list(s, out);
    fprintf(out,
            "master_failover_state:no-failover\r\nmaster_replid:%s\r\n"
            "master_replid2:%s\r\nmaster_repl_offset:%lld\r\n"
            "second_repl_offset:%lld\r\nrepl_backlog_active:%d\r\nrepl_backlog_size:%lld\r\n"
            "repl_backlog_first_byte_offset:%lld\r\nrepl_backlog_histlen:%zu\r\n",
            f.state != REPLICATION_NONE && f.id[0] ? f.id : stream.id,
            stream.old_id[0] ? stream.old_id : no_id,
            (long long)(f.state == REPLICATION_NONE ? stream.offset
                        : f.offset < 0              ? 0
                                                    : f.offset),
            stream.old_id[0] ? (long long)stream.old_end + 1 : -1LL, stream.open,
            (long long)config_number(s->config, CONFIG_ID_repl_backlog_size),
            (long long)(stream.open ? stream.first_offset + 1 : 0), stream.backlog_bytes);
}
