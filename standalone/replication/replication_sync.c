/* replication_sync.c - the handshake with a primary, and what it says to PSYNC.
 *
 *     PING                                   +PONG, or an error that only wants a password
 *     AUTH [masteruser] masterauth           when there is one
 *     REPLCONF listening-port, ip-address    for its INFO; errors do not matter
 *     REPLCONF capa eof capa psync2          "$EOF:" transfers, +CONTINUE with a new id
 *     PSYNC id offset | PSYNC ? -1    --+--> +FULLRESYNC id offset   then the data set, then the stream
 *                                       +--> +CONTINUE [id]          then the stream, from that offset on
 *                                       +--> -NOMASTERLINK -LOADING  not now
 *                                       +--> another error           a primary without PSYNC: SYNC
 *
 * While it prepares the data set it sends empty lines, which only say that it is there.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "args.h"
#include "feed.h"
#include "replication_internal.h"
#include "secret.h"

#define ARGS_MAX 5

/* ---- one question ---- */

static int tell(replication *r, const char *what, int argc, const kv_slice argv[])
{
    return peer_send_command(&r->link, argc, argv, replication_deadline(r)) == PEER_OK
               ? 0
               : replication_fail_link(r, what);
}

/* The next line that is not empty. It lives until something else is received. */
static int hear(replication *r, const char *what, kv_slice *ret_line)
{
    do {
        if (peer_line(&r->link, PEER_LINE_MAX, ret_line, replication_deadline(r)) != PEER_OK)
            return replication_fail_link(r, what);
        replication_note_heard(r);
    } while (ret_line->len == 0);
    return 0;
}

#define ask(r, ret_line, ...) ask_words(r, ret_line, (const char *const[]){ __VA_ARGS__, NULL })
static int ask_words(replication *r, kv_slice *ret_line, const char *const words[])
{
    kv_slice argv[ARGS_MAX];
    int argc = 0;

    for (; words[argc]; argc++)
        argv[argc] = kv_str(words[argc]);
    return tell(r, words[0], argc, argv) == 0 ? hear(r, words[0], ret_line) : -1;
}

static bool starts_with(kv_slice line, const char *prefix)
{
    size_t len = strlen(prefix);

    return line.len >= len && memcmp(line.data, prefix, len) == 0;
}

static int fail_said(replication *r, const char *what, kv_slice line)
{
    return replication_fail(r, "%s: it says '%.*s'", what, (int)(line.len < 120 ? line.len : 120), line.data);
}

/* ---- the handshake ---- */

static int ping(replication *r)
{
    kv_slice line;

    if (ask(r, &line, "PING") != 0)
        return -1;
    if (line.data[0] == '+' || starts_with(line, "-NOAUTH") || starts_with(line, "-NOPERM") ||
        starts_with(line, "-ERR operation not permitted"))
        return 0;
    return fail_said(r, "PING", line);
}

static int authenticate(replication *r)
{
    config *c = r->server->config;
    size_t user_len = 0, len = 0;
    char *user = config_copy(c, CONFIG_ID_masteruser, &user_len),
         *password = config_copy(c, CONFIG_ID_masterauth, &len);
    kv_slice argv[3] = { KV_STR("AUTH") }, line = { 0 };
    int argc = 1, result = 0;

    if (user_len)
        argv[argc++] = kv_slice_of(user, user_len);
    argv[argc++] = kv_slice_of(password, len);
    if (!user || !password)
        result = replication_fail(r, "out of memory");
    else if (len && (tell(r, "AUTH", argc, argv) != 0 || hear(r, "AUTH", &line) != 0))
        result = -1;
    else if (len && line.data[0] != '+')
        result = fail_said(r, "Unable to AUTH to MASTER", line);
    if (password)
        secret_wipe(password, len);
    free(user);
    free(password);
    return result;
}

static int introduce(replication *r)
{
    config *c = r->server->config;
    int64_t announced = config_number(c, CONFIG_ID_replica_announce_port);
    enum config_id own = config_number(c, CONFIG_ID_tls_replication) ? CONFIG_ID_tls_port : CONFIG_ID_port;
    char port[24], *address = config_text(c, CONFIG_ID_replica_announce_ip);
    kv_slice line;
    int result;

    snprintf(port, sizeof port, "%lld", (long long)(announced ? announced : config_number(c, own)));
    result = ask(r, &line, "REPLCONF", "listening-port", port);
    if (result == 0 && address && *address)
        result = ask(r, &line, "REPLCONF", "ip-address", address);
    if (result == 0)
        result = ask(r, &line, "REPLCONF", "capa", "eof", "capa", "psync2");
    free(address);
    return result;
}

/* ---- PSYNC ---- */

/* "+FULLRESYNC id offset" */
static bool parse_full(kv_slice line, char id[REPLICATION_ID_LEN + 1], int64_t *ret_offset)
{
    size_t at = strlen("+FULLRESYNC ");

    if (line.len < at + REPLICATION_ID_LEN + 2 || line.data[at + REPLICATION_ID_LEN] != ' ')
        return false;
    memcpy(id, line.data + at, REPLICATION_ID_LEN);
    id[REPLICATION_ID_LEN] = '\0';
    at += REPLICATION_ID_LEN + 1;
    return kv_parse_int(kv_slice_of(line.data + at, line.len - at), ret_offset) && *ret_offset >= 0 &&
           strspn(id, "0123456789abcdefABCDEF") == REPLICATION_ID_LEN;
}

static void show_history(replication *r, bool full)
{
    pthread_mutex_lock(&r->figures_lock);
    memcpy(r->figures.id, r->id, sizeof r->id);
    r->figures.offset = stream_offset(r->stream);
    r->figures.received_offset = stream_received(r->stream);
    r->figures.full_syncs += full;
    r->figures.partial_syncs += !full;
    pthread_mutex_unlock(&r->figures_lock);
}

/* "+CONTINUE [id]": the primary's history may have got another name, when it was a replica itself. */
static int go_on(replication *r, kv_slice line)
{
    size_t at = strlen("+CONTINUE ");

    if (!r->has_history)
        return fail_said(r, "PSYNC", line);
    if (line.len == at + REPLICATION_ID_LEN)
        memcpy(r->id, line.data + at, REPLICATION_ID_LEN);
    feed_relay_rename(r->server, r->id);
    show_history(r, false);
    log_write(&r->server->log, CONFIG_LOG_NOTICE, "Goes on with %s:%d at offset %lld, without a new data set",
              r->to_host, r->to_port, (long long)stream_offset(r->stream));
    return 0;
}

/* The header of the data set: "$length", or "$EOF:" and a mark; then the data set. */
static int take_data_set(replication *r, int64_t offset)
{
    char mark[REPLICATION_ID_LEN];
    int64_t bytes = -1;
    kv_slice line;

    replication_set_state(r, REPLICATION_SYNC);
    if (hear(r, "waiting for its data set", &line) != 0)
        return -1;
    if (line.len == strlen("$EOF:") + sizeof mark && starts_with(line, "$EOF:"))
        memcpy(mark, line.data + strlen("$EOF:"), sizeof mark);
    else if (line.data[0] != '$' || !kv_parse_int(kv_slice_of(line.data + 1, line.len - 1), &bytes) ||
             bytes <= 0)
        return fail_said(r, "instead of a data set", line);
    if (replication_load(r, bytes, mark, offset) != 0)
        return -1;
    show_history(r, true);
    return 0;
}

static int take_everything(replication *r, kv_slice line)
{
    int64_t offset;

    if (!parse_full(line, r->id, &offset))
        return fail_said(r, "PSYNC", line);
    r->silent = false;
    log_write(&r->server->log, CONFIG_LOG_NOTICE, "Takes the whole data set of %s:%d, which is at %s:%lld",
              r->to_host, r->to_port, r->id, (long long)offset);
    return take_data_set(r, offset);
}

/* From a primary older than Redis 2.8. Its history has no name, so every lost link costs a new data set. */
static int take_everything_by_sync(replication *r)
{
    r->silent = true;
    r->id[0] = '\0';
    log_write(&r->server->log, CONFIG_LOG_NOTICE, "%s:%d has no PSYNC: takes its whole data set by SYNC",
              r->to_host, r->to_port);
    if (tell(r, "SYNC", 1, &(kv_slice){ "SYNC", 4 }) != 0 || take_data_set(r, 0) != 0)
        return -1;
    r->has_history = false;
    return 0;
}

static int synchronize(replication *r)
{
    char offset[32];
    kv_slice line;

    snprintf(offset, sizeof offset, "%lld", (long long)stream_offset(r->stream) + 1);
    if (ask(r, &line, "PSYNC", r->has_history ? r->id : "?", r->has_history ? offset : "-1") != 0)
        return -1;
    if (starts_with(line, "+FULLRESYNC "))
        return take_everything(r, line);
    if (starts_with(line, "+CONTINUE"))
        return go_on(r, line);
    if (starts_with(line, "-ERR"))
        return take_everything_by_sync(r);
    return fail_said(r, "PSYNC", line);
}

int replication_synchronize(replication *r)
{
    if (ping(r) != 0 || authenticate(r) != 0 || introduce(r) != 0)
        return -1;
    return synchronize(r);
}
