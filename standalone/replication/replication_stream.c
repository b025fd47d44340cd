/* replication_stream.c - see replication_stream.h.
 *
 *     bytes --resp_parse--> command --row of the table--> the row's function, as for any client
 *
 * The stream is a client's requests without replies: effects, in the order in which the primary had them. So there is no
 * parser and no execution of its own; the sink drops replies and notes errors. MULTI ... EXEC is gathered, then run with all of
 * its shards locked, so that nobody sees half of it; one that is larger than client-query-buffer-limit is run in parts,
 * which is better than not at all, and said in the log.
 *
 * Time. A replica removes no key because it has expired (worker.c leaves that out), but for what its own
 * clients have written (local_keys.c); its primary does, and says DEL. Until then
 * readers do not see it. But INCR, from before the primary's clock passed the deadline, means the value that was there: so a
 * command that names a key which has expired here runs at a time before all deadlines.
 *
 * What is not replicated. Types and commands that the table does not have. They are passed over, counted, and named in INFO
 * and in the log. Where such a command replaces a key of ours (SUNIONSTORE to what was a string), the key is deleted, since
 * the primary has something else there; likewise the destination of a RENAME whose source we do not have. No value is
 * ever there that the primary does not have.
 *
 * With --sharing actor, a piece of the stream is one message to the state thread, which applies it.
 *
 * Invariant  offset is at the end of a command, outside of a transaction: a link that is lost goes on there.
 *
 * SPDX-License-Identifier: MIT */
#include "replication_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "actor.h"
#include "args.h"
#include "pubsub.h"
#include "resp.h"
#include "server.h"

#define COMMANDS_PER_CALL 64
#define CHUNK_BYTES       ((size_t)64 * 1024)
#define KEYS_LOOKED_AT    64

/* Arguments of queued commands. */
typedef struct stream_chunk {
    struct stream_chunk *next;
    size_t used, size;
    char bytes[];
} stream_chunk;

/* Drops replies, but for the first error of a command. */
typedef struct stream_sink {
    kv_reply base;
    char error[128];
} stream_sink;

struct replication_stream {
    struct server *server;
    kv_call call;
    stream_sink sink;
    resp_parser parser;
    uint64_t rng;
    notices notices;
    stats stats;
    store_hold *hold;
    int db; /* -1: one that we do not have */
    const kv_command *last;
    int64_t offset, received;
    bool question, out_of_memory, inexact;
    char error[160];

    /* The transaction that is being received. */
    bool in_multi, in_parts;
    int multi_db; /* selected when it began */
    queued_command *queue;
    size_t count, capacity, bytes;
    stream_chunk *chunks;

    pthread_mutex_t gaps_lock; /* guards the next */
    stream_gaps gaps;
};

/* ---- the sink ---- */

static void drop_null(kv_reply *r)
{
    (void)r;
}

static void drop_integer(kv_reply *r, int64_t value)
{
    (void)r;
    (void)value;
}

static void drop_real(kv_reply *r, double value)
{
    (void)r;
    (void)value;
}

static void drop_boolean(kv_reply *r, bool value)
{
    (void)r;
    (void)value;
}

static void drop_simple(kv_reply *r, kv_slice text)
{
    (void)r;
    (void)text;
}

static void note_error(kv_reply *r, kv_slice text)
{
    stream_sink *sink = (stream_sink *)r;

    if (!sink->error[0])
        snprintf(sink->error, sizeof sink->error, "%.*s", (int)(text.len < 120 ? text.len : 120), text.data);
}

static void drop_bulk(kv_reply *r, kv_slice data, kv_bytes *owner)
{
    (void)r;
    (void)data;
    (void)owner;
}

static void drop_verbatim(kv_reply *r, kv_slice text, const char format[4])
{
    (void)r;
    (void)text;
    (void)format;
}

static void drop_count(kv_reply *r, size_t count)
{
    (void)r;
    (void)count;
}

static const kv_reply_ops sink_ops = {
    .null = drop_null,
    .null_array = drop_null,
    .integer = drop_integer,
    .real = drop_real,
    .boolean = drop_boolean,
    .simple = drop_simple,
    .error = note_error,
    .bulk = drop_bulk,
    .verbatim = drop_verbatim,
    .array = drop_count,
    .map = drop_count,
    .set = drop_count,
    .push = drop_count,
};

/* ---- gaps ---- */

/* A name as it may stand in INFO: what a stranger sent is not trusted to be one. */
static void copy_name(char to[24], kv_slice name)
{
    size_t n = name.len < 23 ? name.len : 23;

    for (size_t i = 0; i < n; i++) {
        char c = kv_lower(name.data[i]);

        to[i] =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ? c : '?';
    }
    to[n] = '\0';
}

static void note_unknown(replication_stream *st, kv_slice name)
{
    stream_gaps *gaps = &st->gaps;
    char text[24];
    int i = 0;

    st->inexact = true;
    copy_name(text, name);
    pthread_mutex_lock(&st->gaps_lock);
    gaps->unknown++;
    while (i < gaps->name_count && strcmp(gaps->names[i], text) != 0)
        i++;
    if (i == gaps->name_count && i < STREAM_NAMES_MAX)
        memcpy(gaps->names[gaps->name_count++], text, sizeof text);
    pthread_mutex_unlock(&st->gaps_lock);
    log_limited(
        &st->server->log, LOG_REPLICATION, CONFIG_LOG_WARNING,
        "The primary's command '%s' is not replicated: this server does not have it. Its key is missing here",
        text);
}

static void note_database(replication_stream *st)
{
    st->inexact = true;
    pthread_mutex_lock(&st->gaps_lock);
    st->gaps.database++;
    pthread_mutex_unlock(&st->gaps_lock);
    log_limited(&st->server->log, LOG_REPLICATION, CONFIG_LOG_WARNING,
                "The primary writes to a database that this server does not have: set 'databases' higher");
}

static void note_failure(replication_stream *st, const kv_command *row)
{
    pthread_mutex_lock(&st->gaps_lock);
    st->gaps.failed++;
    pthread_mutex_unlock(&st->gaps_lock);
    stats_error(&st->stats, kv_str(st->sink.error));
    stats_add(&st->stats.failed_calls[row->id], 1);
    log_limited(&st->server->log, LOG_REPLICATION, CONFIG_LOG_WARNING,
                "A command '%s' of the primary failed here: %s", row->name, st->sink.error);
}

void stream_read_gaps(replication_stream *st, stream_gaps *ret_gaps)
{
    pthread_mutex_lock(&st->gaps_lock);
    *ret_gaps = st->gaps;
    pthread_mutex_unlock(&st->gaps_lock);
}

/* ---- time ---- */

/* Whether the command gives a key a deadline that has passed: it is kept, until the primary's DEL. */
static bool gives_past_deadline(const kv_call *call, int64_t now_ms)
{
    bool seconds = call->command->id == KV_COMMAND_expireat;
    int64_t at;

    if ((!seconds && call->command->id != KV_COMMAND_pexpireat) || call->argc < 3 ||
        !kv_parse_int(call->argv[2], &at) || at <= 0)
        return false;
    return at <= (seconds ? now_ms / 1000 : now_ms);
}

/* When the command runs: now, or, when it names a key that has expired here, before all deadlines. */
KV_REQUIRES(kv_epoch_held) static int64_t time_for(const kv_call *call, int64_t now_ms)
{
    int positions[KEYS_LOOKED_AT];
    int n = kv_command_keys(call->command, call->argc, call->argv, positions, KEYS_LOOKED_AT);

    if (gives_past_deadline(call, now_ms))
        return INT64_MIN;
    for (int i = 0; i < n && i < KEYS_LOOKED_AT; i++) {
        store_key key = store_key_of(call->store, call->argv[positions[i]]);
        const entry *e = store_find(call->store, key, INT64_MIN);

        if (e && entry_deadline(e) <= now_ms)
            return INT64_MIN;
    }
    return now_ms;
}

/* ---- running a command ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void delete_key(replication_stream *st, kv_slice key)
{
    size_t removed;

    if (store_delete_many(st->call.store, 1, &key, &removed, INT64_MIN) != 0)
        st->out_of_memory = true;
}

/* It has failed. Where the primary has something that we do not have, we have nothing. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void make_up_for(replication_stream *st, const kv_call *call)
{
    st->inexact = true;
    switch (call->command->id) {
    case KV_COMMAND_rename:
        delete_key(st, call->argv[2]);
        return;
    default:
        note_failure(st, call->command);
    }
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void run(replication_stream *st, const queued_command *q)
{
    kv_call *call = &st->call;
    int64_t now_ms = clock_ms();

    call->command = q->row;
    call->argv = q->argv;
    call->argc = q->argc;
    call->db = st->db;
    call->store = call->databases->stores[st->db];
    call->now_ms = time_for(call, now_ms);
    call->access = server_access(st->server, now_ms);
    st->sink.error[0] = '\0';
    stats_add(&st->stats.commands, 1);
    stats_add(&st->stats.calls[q->row->id], 1);
    q->row->run(call);
    if (!st->sink.error[0])
        return;
    if (strcmp(st->sink.error, kv_error_text(KV_ENOMEM)) == 0)
        st->out_of_memory = st->inexact = true;
    else
        make_up_for(st, call);
}

static void publish(replication_stream *st, const queued_command *q)
{
    bool crowded;

    pubsub_publish(st->server, NULL, q->row->id == KV_COMMAND_spublish ? TOPIC_SHARD : TOPIC_CHANNEL,
                   q->argv[1], q->argv[2], &crowded);
}

/* SELECT: what follows is for that database. */
static void select_db(replication_stream *st, const queued_command *q)
{
    if (kv_parse_db(q->argv[1], st->call.databases, &st->db) != 0)
        st->db = -1;
}

/* ---- what the table does not have ---- */

/* Commands of other types that replace the key at this position by their result. */
static int replaced_key(int argc, const kv_slice argv[])
{
    static const struct {
        const char *name;
        int key;
    } replacing[] = {
        { "sinterstore", 1 }, { "sunionstore", 1 }, { "sdiffstore", 1 },  { "zinterstore", 1 },
        { "zunionstore", 1 }, { "zdiffstore", 1 },  { "zrangestore", 1 }, { "geosearchstore", 1 },
        { "bitop", 2 },       { "pfmerge", 1 },     { "restore", 1 },     { "restore-asking", 1 },
    };

    for (size_t i = 0; i < sizeof replacing / sizeof replacing[0]; i++)
        if (kv_word_is(argv[0], replacing[i].name) && replacing[i].key < argc)
            return replacing[i].key;
    for (int i = 2; kv_word_is(argv[0], "sort") && i + 1 < argc; i++)
        if (kv_word_is(argv[i], "store"))
            return i + 1;
    return 0;
}

/* Makes q what is done instead, with two arguments in instead: DEL of what is replaced. False: nothing. */
static bool replace_unknown(replication_stream *st, queued_command *q, kv_slice instead[2])
{
    int key = replaced_key(q->argc, q->argv);

    note_unknown(st, q->argv[0]);
    if (!key)
        return false;
    instead[0] = KV_STR("DEL");
    instead[1] = q->argv[key];
    q->row = &kv_command_table[KV_COMMAND_del];
    q->argc = 2;
    q->argv = instead;
    return true;
}

/* ---- transactions ---- */

static void drop_queue(replication_stream *st)
{
    for (stream_chunk *c = st->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(st->queue);
    st->queue = NULL;
    st->chunks = NULL;
    st->count = st->capacity = st->bytes = 0;
}

static void *take(replication_stream *st, size_t bytes)
{
    stream_chunk *c = st->chunks;
    char *taken;

    bytes = (bytes + 7) & ~(size_t)7;
    if (!c || c->size - c->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

        c = malloc(sizeof *c + size);
        if (!c)
            return NULL;
        *c = (stream_chunk){ .next = st->chunks, .size = size };
        st->chunks = c;
        st->bytes += sizeof *c + size;
    }
    taken = c->bytes + c->used;
    c->used += bytes;
    return taken;
}

static bool enlarge_queue(replication_stream *st)
{
    size_t capacity = st->capacity ? st->capacity * 2 : 16;
    queued_command *queue = realloc(st->queue, capacity * sizeof *queue);

    if (!queue)
        return false;
    st->bytes += (capacity - st->capacity) * sizeof *queue;
    st->queue = queue;
    st->capacity = capacity;
    return true;
}

/* Appends a copy. False: memory is out. */
static bool queue_command(replication_stream *st, const queued_command *q)
{
    kv_slice *argv = take(st, (size_t)q->argc * sizeof *argv);
    size_t bytes = 0;
    char *to;

    for (int i = 0; i < q->argc; i++)
        bytes += q->argv[i].len;
    to = take(st, bytes);
    if (!argv || !to || (st->count == st->capacity && !enlarge_queue(st)))
        return false;
    for (int i = 0; i < q->argc; i++) {
        if (q->argv[i].len)
            memcpy(to, q->argv[i].data, q->argv[i].len);
        argv[i] = kv_slice_of(to, q->argv[i].len);
        to += q->argv[i].len;
    }
    st->queue[st->count++] = (queued_command){ .row = q->row, .argv = argv, .argc = q->argc };
    return true;
}

static bool publishes(const kv_command *row)
{
    return row->id == KV_COMMAND_publish || row->id == KV_COMMAND_spublish;
}

/* What is locked already is run. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void run_queued(replication_stream *st)
{
    st->db = st->multi_db;
    for (size_t i = 0; i < st->count; i++) {
        const queued_command *q = &st->queue[i];

        if (q->row->id == KV_COMMAND_select)
            select_db(st, q);
        else if (publishes(q->row))
            continue;
        else if (st->db < 0)
            note_database(st);
        else
            run(st, q);
    }
}

/* Runs what was gathered as one act. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void run_transaction(replication_stream *st)
{
    transaction t = {
        .databases = st->call.databases,
        .db = st->multi_db < 0 ? 0 : st->multi_db,
        .commands = st->queue,
        .count = st->count,
    };

    transaction_lock(&t, st->hold);
    run_queued(st);
    store_hold_release(st->hold);
    for (size_t i = 0; i < st->count; i++)
        if (publishes(st->queue[i].row))
            publish(st, &st->queue[i]);
    drop_queue(st);
    st->multi_db = st->db;
}

/* Gathers a command of a transaction. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void gather(replication_stream *st, const queued_command *q)
{
    if (!queue_command(st, q))
        st->out_of_memory = st->inexact = true;
    if (st->bytes <= (size_t)config_number(st->server->config, CONFIG_ID_client_query_buffer_limit))
        return;
    if (!st->in_parts)
        log_write(
            &st->server->log, CONFIG_LOG_WARNING,
            "A transaction of the primary is larger than client-query-buffer-limit: it is applied in parts");
    st->in_parts = st->inexact = true;
    run_transaction(st);
}

/* ---- one command of the stream ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held)
static void run_alone(replication_stream *st, const queued_command *q)
{
    if (q->row->id == KV_COMMAND_select)
        select_db(st, q);
    else if (publishes(q->row))
        publish(st, q);
    else if (st->db < 0)
        note_database(st);
    else
        run(st, q);
}

/* MULTI, EXEC, PING and REPLCONF; false: it is none of them. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held)
static bool is_about_the_stream(replication_stream *st, int argc, const kv_slice argv[])
{
    if (kv_word_is(argv[0], "multi")) {
        st->in_multi = true;
        st->in_parts = false;
        st->multi_db = st->db;
    } else if (kv_word_is(argv[0], "exec")) {
        if (st->in_multi)
            run_transaction(st);
        st->in_multi = false;
    } else if (kv_word_is(argv[0], "replconf")) {
        st->question |= argc >= 2 && kv_word_is(argv[1], "getack");
    } else {
        return kv_word_is(argv[0], "ping");
    }
    return true;
}

/* Whether a row does something here that a primary may tell of. */
static bool is_applicable(const kv_command *row)
{
    return (row->run && (row->flags & KV_CMD_WRITE)) || row->id == KV_COMMAND_select || publishes(row);
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held)
static void apply_one(replication_stream *st, int argc, const kv_slice argv[])
{
    queued_command q = { .row = kv_command_find(argv[0]), .argv = argv, .argc = argc };
    kv_slice instead[2];

    st->last = q.row;
    if (is_about_the_stream(st, argc, argv))
        return;
    if (!q.row || !is_applicable(q.row) || !kv_command_arity_ok(q.row, argc)) {
        if (!replace_unknown(st, &q, instead))
            return;
    }
    if (st->in_multi)
        gather(st, &q);
    else
        run_alone(st, &q);
}

/* ---- a piece of the stream ---- */

typedef struct apply_message {
    actor_message message;
    replication_stream *stream;
    char *data;
    size_t len, used;
    stream_status status;
} apply_message;

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held)
static stream_status apply_some(replication_stream *st, char *data, size_t len, size_t *used)
{
    resp_limits limits = { .bulk_max = config_number(st->server->config, CONFIG_ID_proto_max_bulk_len),
                           .authenticated = true };

    for (int n = 0; n < COMMANDS_PER_CALL; n++) {
        size_t taken = 0;
        resp_status status = resp_parse(&st->parser, &limits, data + *used, len - *used, &taken);

        st->inexact |= taken && data[*used] != '*'; /* inline: it may have been decoded */
        *used += taken;
        st->received += (int64_t)taken;
        if (status == RESP_REQUEST)
            apply_one(st, st->parser.argc, st->parser.argv);
        if (!st->in_multi || (st->in_parts && st->count == 0))
            st->offset = st->received;
        if (status == RESP_MORE)
            return STREAM_MORE;
        if (status == RESP_ERROR) {
            snprintf(st->error, sizeof st->error, "%s", st->parser.error);
            return STREAM_BAD;
        }
        if (status == RESP_NOMEM || st->out_of_memory) {
            snprintf(st->error, sizeof st->error, "out of memory");
            return STREAM_NOMEM;
        }
    }
    return STREAM_AGAIN;
}

static void run_apply(actor_message *message)
{
    apply_message *m = (apply_message *)message;
    replication_stream *st = m->stream;
    server *s = st->server;

    notify_thread(&st->notices);
    if (epoch_enter(s->domain) == 0)
        m->status = apply_some(st, m->data, m->len, &m->used);
    else
        m->status = STREAM_NOMEM;
    epoch_leave(s->domain);
    if (st->notices.some)
        notify_flush(s, NULL, &st->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

stream_status stream_apply(replication_stream *st, char *data, size_t len, size_t *ret_used)
{
    apply_message m = { .message.run = run_apply, .stream = st, .data = data, .len = len };

    st->call.value_max = (size_t)config_number(st->server->config, CONFIG_ID_proto_max_bulk_len);
    if (st->server->actor)
        actor_call(st->server->actor, &m.message);
    else
        run_apply(&m.message);
    *ret_used = m.used;
    return m.status;
}

/* ---- life ---- */

replication_stream *stream_new(server *s)
{
    replication_stream *st = calloc(1, sizeof *st);

    if (!st)
        return NULL;
    st->hold = store_hold_new(s->domain, (size_t)s->databases.count);
    if (!st->hold) {
        free(st);
        return NULL;
    }
    st->server = s;
    st->sink.base = (kv_reply){ .ops = &sink_ops, .protocol = 2 };
    st->call = (kv_call){
        .databases = &s->databases, .reply = &st->sink.base, .counters = &st->stats.keyspace, .rng = &st->rng
    };
    st->notices = (notices){ .server = s, .call = &st->call, .of_primary = true };
    if (getrandom(&st->rng, sizeof st->rng, 0) != sizeof st->rng)
        st->rng = (uint64_t)clock_ms();
    pthread_mutex_init(&st->gaps_lock, NULL);
    return st;
}

void stream_free(replication_stream *st)
{
    if (!st)
        return;
    drop_queue(st);
    resp_parser_done(&st->parser);
    store_hold_free(st->hold);
    pthread_mutex_destroy(&st->gaps_lock);
    free(st);
}

void stream_rewind(replication_stream *st)
{
    if (st->in_multi)
        st->db = st->in_parts ? st->db : st->multi_db;
    st->in_multi = false;
    drop_queue(st);
    resp_parser_reset(&st->parser);
    st->received = st->offset;
    st->question = st->out_of_memory = false;
    st->error[0] = '\0';
}

void stream_reset(replication_stream *st, int db, int64_t offset)
{
    st->db = db;
    st->in_multi = st->inexact = false;
    st->offset = offset;
    stream_rewind(st);
    pthread_mutex_lock(&st->gaps_lock);
    memset(&st->gaps, 0, sizeof st->gaps);
    pthread_mutex_unlock(&st->gaps_lock);
}

int64_t stream_offset(const replication_stream *st)
{
    return st->offset;
}

int64_t stream_received(const replication_stream *st)
{
    return st->received;
}

int stream_db(const replication_stream *st)
{
    return st->db;
}

const kv_command *stream_last_command(const replication_stream *st)
{
    return st->last;
}

bool stream_is_exact(const replication_stream *st)
{
    return !st->inexact;
}

bool stream_take_question(replication_stream *st)
{
    bool asked = st->question;

    st->question = false;
    return asked;
}

const char *stream_error(const replication_stream *st)
{
    return st->error;
}

stats *stream_stats(replication_stream *st)
{
    return &st->stats;
}
