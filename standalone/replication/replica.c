/* replica.c - see replica.h.
 *
 *     REPLCONF listening-port, capa eof ...
 *     SYNC | PSYNC ? -1 ------> a data set (data_set.c) ----+--> rdb-only: closed
 *                               joins the stream meanwhile  '--> REPLCONF ACK --.
 *     PSYNC id offset --------> +CONTINUE, if that is in the backlog -----------+--> the stream (feed.c), as the socket takes it
 *
 * The stream does not begin before the first ACK: redis-server looks for the end mark of a data set at the end of what it has
 * received, and would not find one that something follows. Behind a data set whose length was told (to who has not said capa eof) it
 * begins at once, as redis-server's does: many who say a bare SYNC never acknowledge anything.
 *
 * From SYNC on the connection is sent nothing else: replies to what it asks are dropped (as with CLIENT REPLY OFF), and dispatch.c
 * refuses everything but what replicas say. Its own output holds no more than some pieces at a time; what it has not taken stays in the
 * backlog, where the limit is.
 *
 * SPDX-License-Identifier: MIT */
#include "replica.h"

#include <stdlib.h>

#include "aof.h"
#include "blocking.h"
#include "peer.h"
#include "replication.h"
#include "session.h"

/* Lazily made; NULL when memory is out. */
static replica *replica_of(connection *c)
{
    if (!c->replica)
        c->replica = calloc(1, sizeof *c->replica);
    return c->replica;
}

/* ---- the stream ---- */

#define PIECES     32
#define PULL_BYTES ((size_t)256 * 1024)
#define PULLS      4 /* in one go, of what the socket takes at once: others have their turn */

static server *server_of(const connection *c)
{
    return c->owner->server;
}

/* Puts the next pieces behind what is pending; false: there are none. */
static bool queue_pieces(connection *c)
{
    feed_piece pieces[PIECES];
    size_t n = feed_take(server_of(c), &c->replica->reader, pieces, PIECES, PULL_BYTES);

    for (size_t i = 0; i < n; i++) {
        connection_queue_bytes(c, pieces[i].owner, pieces[i].bytes);
        kv_bytes_unref(pieces[i].owner);
    }
    return n > 0;
}

/* Sends what there is, as long as the socket takes it; connection_flush calls back when it has taken all. */
static void pull(connection *c)
{
    replica *r = c->replica;
    int pulls = 0;

    if (r->pulls || r->greets)
        return;
    r->pulls = true;
    while (pulls < PULLS && !c->pending && !(c->flags & CONNECTION_CLOSING) && queue_pieces(c)) {
        connection_flush(c);
        pulls++;
    }
    r->pulls = false;
    if (pulls == PULLS && !c->pending && !(c->flags & CONNECTION_CLOSING))
        feed_look_again(server_of(c), &r->reader);
}

static void greet(connection *c)
{
    feed_figures f;
    char line[80];
    kv_bytes *bytes;

    c->replica->greets = false;
    feed_read_figures(server_of(c), &f);
    bytes = kv_bytes_new(kv_slice_of(
        line, (size_t)snprintf(line, sizeof line, c->replica->takes_id ? "+CONTINUE %s\r\n" : "+CONTINUE\r\n",
                               f.id)));
    if (bytes)
        connection_send_bytes(c, bytes, kv_bytes_slice(bytes));
    else
        connection_close(c);
    kv_bytes_unref(bytes);
}

/* There is something for it: pieces, or its end. */
static void hear(worker *w, worker_message *message)
{
    feed_reader *reader = (feed_reader *)message;
    connection *c = reader->c;
    const char *lost = feed_hear(w->server, reader);

    if (c->flags & CONNECTION_CLOSING) {
        c->in_flight--;
        return;
    }
    if (lost) {
        log_write(&w->server->log, CONFIG_LOG_WARNING, "The link to the replica %s:%d is closed: %s",
                  reader->address, reader->port, lost);
        connection_close(c);
        return;
    }
    if (c->replica->greets)
        greet(c);
    if (!(c->flags & CONNECTION_CLOSING))
        pull(c);
}

/* ---- what becomes of the connection ---- */

void replica_heard(connection *c)
{
    if (c->replica->reader.entered)
        feed_heard(server_of(c), &c->replica->reader);
}

void replica_drained(connection *c)
{
    if (c->replica->transfer)
        transfer_drained(c->replica->transfer);
    else if (c->replica->served)
        pull(c);
}

void replica_closed(connection *c)
{
    replica *r = c->replica;

    if (r->transfer)
        transfer_forget(r->transfer);
    r->transfer = NULL;
    if (r->served)
        atomic_fetch_sub_explicit(&server_of(c)->replica_count, 1, memory_order_relaxed);
    feed_leave(server_of(c), &r->reader);
}

void replica_free(connection *c)
{
    free(c->replica);
    c->replica = NULL;
}

void replica_ended(connection *c, bool whole)
{
    c->replica->transfer = NULL;
    if (whole && c->replica->reader.entered && !c->owner->draining)
        feed_loaded(server_of(c), &c->replica->reader, !c->replica->takes_mark);
    else
        connection_close(c);
}

void replica_drain(connection *c)
{
    if (c->replica->transfer)
        return; /* it ends, too */
    feed_turn_ends(server_of(c));
    pull(c);
    if (!c->pending)
        connection_close(c);
    else
        c->flags |= CONNECTION_CLOSE_AFTER;
}

/* ---- REPLCONF ---- */

/* Those that WAIT on other workers look, too. */
static void tell_waiting(server *s)
{
    for (int i = 0; i < s->worker_count; i++) {
        worker *w = &s->workers[i];

        if (atomic_load_explicit(&w->blocked_count, memory_order_relaxed) &&
            !atomic_exchange(&w->acknowledged_posted, true))
            worker_post(w, &w->acknowledged);
    }
}

void replica_look_at_waits(worker *w, worker_message *message)
{
    (void)message;
    atomic_store(&w->acknowledged_posted, false);
    wait_look(w);
    waitaof_look(w);
}

/* REPLCONF ACK offset [FACK offset], of one that follows. */
static void acknowledge(connection *c, int argc, const kv_slice argv[])
{
    int64_t offset, durable = -1;

    if (!replica_is_served(c) || !c->replica->reader.entered || !kv_parse_int(argv[0], &offset))
        return;
    if (argc < 3 || !kv_word_is(argv[1], "fack") || !kv_parse_int(argv[2], &durable))
        durable = -1;
    feed_acknowledge(server_of(c), &c->replica->reader, offset, durable);
    tell_waiting(server_of(c));
}

/* One option and its value. False: an error was replied. */
static bool take_option(kv_call *call, replica *r, kv_slice name, kv_slice value)
{
    int64_t number;

    if (kv_word_is(name, "listening-port") || kv_word_is(name, "rdb-only")) {
        bool port = kv_word_is(name, "listening-port");

        if (!kv_parse_int(value, &number)) {
            kv_reply_error(call->reply, KV_ENOTINT);
            return false;
        }
        if (!port && (number < 0 || number > 1)) {
            kv_reply_errorf(call->reply, "ERR value is out of range, value must between 0 and 1");
            return false;
        }
        if (port)
            r->reader.port = number < 0 || number > 65535 ? 0 : (int)number;
        else
            r->data_set_only = number != 0;
    } else if (kv_word_is(name, "capa")) {
        r->takes_mark |= kv_word_is(value, "eof");
        r->takes_id |= kv_word_is(value, "psync2");
    } else if (kv_word_is(name, "ip-address")) {
        snprintf(r->reader.address, sizeof r->reader.address, "%.*s",
                 (int)(value.len < sizeof r->reader.address ? value.len : 0), value.data);
    } else {
        kv_reply_errorf(call->reply, "ERR Unrecognized REPLCONF option: %.*s",
                        (int)(name.len > 128 ? 128 : name.len), name.data);
        return false;
    }
    return true;
}

/* REPLCONF [option value ...]: what replicas say before they ask for the data set, and while they follow (ACK). */
void session_replconf(kv_call *call)
{
    replica *r = replica_of(session_connection(call));

    if (!r || call->argc % 2 == 0) {
        kv_reply_error(call->reply, r ? KV_ESYNTAX : KV_ENOMEM);
        return;
    }
    for (int i = 1; i < call->argc; i += 2) {
        if (kv_word_is(call->argv[i], "ack"))
            acknowledge(session_connection(call), call->argc - i - 1, call->argv + i + 1);
        if (kv_word_is(call->argv[i], "ack") || kv_word_is(call->argv[i], "getack"))
            return; /* they are never replied to */
        if (!take_option(call, r, call->argv[i], call->argv[i + 1]))
            return;
    }
    kv_reply_ok(call->reply);
}

/* ---- SYNC, PSYNC ---- */

/* Why c is not sent the data set now; NULL: it is. */
static const char *refusal(kv_call *call)
{
    replication_figures f;

    replication_read_figures(session_server(call), &f);
    if (f.state != REPLICATION_NONE && f.state != REPLICATION_CONNECTED)
        return "NOMASTERLINK Can't SYNC while not connected with my master";
    return NULL;
}

/* An address as it may stand in INFO: of what the connection comes from, unless it has told another. */
static void name_address(connection *c)
{
    feed_reader *reader = &c->replica->reader;
    char address[CONNECTION_ADDRESS_MAX], *colon;

    for (char *at = reader->address; *at; at++)
        if (*at <= ' ' || *at == ',' || *at == 127)
            reader->address[0] = '\0';
    if (reader->address[0])
        return;
    connection_address(c, address);
    colon = strrchr(address, ':');
    if (colon)
        *colon = '\0';
    snprintf(reader->address, sizeof reader->address, "%.*s", FEED_ADDRESS_MAX - 1, address);
}

/* From here on c is sent what it follows. */
static void serve(connection *c)
{
    c->replica->served = true;
    atomic_fetch_add_explicit(&server_of(c)->replica_count, 1, memory_order_relaxed);
    c->flags |= CONNECTION_REPLY_OFF;
}

static void enter(connection *c)
{
    feed_reader *reader = &c->replica->reader;

    name_address(c);
    reader->c = c;
    reader->look.run = hear;
    feed_enter(server_of(c), reader);
}

/* Replies with an error, or sends the data set. */
static void send_data_set(kv_call *call, bool psync)
{
    connection *c = session_connection(call);
    replica *r = c->replica;
    unsigned how = (psync ? DATA_SET_PSYNC : 0U) | (r->takes_mark ? DATA_SET_MARK : 0U);

    r->transfer =
        data_sets_send(session_server(call)->data_sets, c, how, r->data_set_only ? NULL : &r->reader);
    if (r->transfer) {
        serve(c);
        return;
    }
    feed_leave(server_of(c), &r->reader);
    kv_reply_errorf(call->reply, "ERR no thread or no memory can be had for the data set");
}

/* offset: of the next byte that it wants of history id; 0: it has none. */
static void synchronize(kv_call *call, bool psync, kv_slice id, int64_t offset)
{
    connection *c = session_connection(call);
    replica *r = replica_of(c);
    const char *reason = r ? refusal(call) : kv_error_text(KV_ENOMEM);

    if (reason) {
        call->reply->ops->error(call->reply, kv_str(reason));
        return;
    }
    r->reader.mute = !psync && !r->takes_mark;
    if (!r->data_set_only)
        enter(c);
    if (r->reader.entered && feed_resume(server_of(c), &r->reader, id, offset - 1)) {
        r->greets = true;
        serve(c);
    } else {
        send_data_set(call, psync);
    }
}

/* SYNC */
void session_sync(kv_call *call)
{
    synchronize(call, false, KV_STR(""), 0);
}

/* PSYNC replicationid offset */
void session_psync(kv_call *call)
{
    int64_t offset;

    if (!kv_parse_int(call->argv[2], &offset))
        kv_reply_error(call->reply, KV_ENOTINT);
    else if (call->argc > 3 && kv_word_is(call->argv[3], "failover"))
        kv_reply_errorf(call->reply, "ERR PSYNC FAILOVER can't be sent to a master.");
    else
        synchronize(call, true, call->argv[1], offset);
}

/* ---- INFO, ROLE ---- */

static const char *state_name(const feed_reader *r)
{
    switch (r->state) {
    case FEED_WAITS:
        return "wait_bgsave";
    case FEED_LOADS:
        return "send_bulk";
    default:
        return "online";
    }
}

typedef struct list {
    FILE *out;
    int index;
    int64_t now_ms;
} list;

static void write_line(void *arg, const feed_reader *r)
{
    list *l = arg;

    fprintf(l->out, "slave%d:ip=%s,port=%d,state=%s,offset=%lld,lag=%lld\r\n", l->index++, r->address,
            r->port, state_name(r), (long long)r->acknowledged, (long long)(l->now_ms - r->heard_ms) / 1000);
}

void replica_write_list(server *s, FILE *out)
{
    feed_visit(s, write_line, &(list){ .out = out, .now_ms = peer_clock_ms() });
}

typedef struct lagging {
    FILE *out;
    int64_t position, now_ms;
    size_t all, behind;
} lagging;

static void write_lagging(void *arg, const feed_reader *r)
{
    lagging *l = arg;

    l->all++;
    if (r->state == FEED_ONLINE && !r->lost && r->acknowledged >= l->position)
        return;
    l->behind++;
    fprintf(l->out, "Lagging replica %s:%d reported offset %lld behind master, lag=%lld, state=%s.\n",
            r->address, r->port, (long long)(l->position - r->acknowledged),
            (long long)(l->now_ms - r->heard_ms) / 1000, state_name(r));
}

size_t replica_write_lagging(server *s, int64_t position, FILE *out, size_t *ret_all)
{
    lagging l = { .out = out, .position = position, .now_ms = peer_clock_ms() };

    feed_visit(s, write_lagging, &l);
    *ret_all = l.all;
    return l.behind;
}

/* What ROLE tells of those that are online, gathered first: the reply is not made under the lock. */
typedef struct entry_list {
    struct {
        char address[FEED_ADDRESS_MAX];
        int port;
        int64_t acknowledged;
    } of[128];
    size_t count;
} entry_list;

static void note_entry(void *arg, const feed_reader *r)
{
    entry_list *l = arg;

    if (r->state != FEED_ONLINE || l->count == sizeof l->of / sizeof *l->of)
        return;
    memcpy(l->of[l->count].address, r->address, sizeof r->address);
    l->of[l->count].port = r->port;
    l->of[l->count++].acknowledged = r->acknowledged;
}

static void reply_number(kv_reply *reply, int64_t number)
{
    char text[24];

    kv_reply_bulk(reply, kv_slice_of(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number)));
}

void replica_reply_list(server *s, kv_reply *reply)
{
    entry_list l = { .count = 0 };

    feed_visit(s, note_entry, &l);
    kv_reply_array(reply, l.count);
    for (size_t i = 0; i < l.count; i++) {
        kv_reply_array(reply, 3);
        kv_reply_bulk(reply, kv_str(l.of[i].address));
        reply_number(reply, l.of[i].port);
        reply_number(reply, l.of[i].acknowledged);
    }
}
