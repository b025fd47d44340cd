/* link.c - the session state machine: what was asked, what is still to be answered, and what state that leaves.
 *
 * Replies come in the order of the commands, with two exceptions that a driver must not count as answers: RESP3's pushes, and
 * in RESP2 the messages of a connection that subscribed. And some commands bring another number of replies than one. So
 * the link keeps a queue of what it expects. A run is a number of replies to commands of the same effect; a pipeline of a
 * million ordinary commands is one run, so that the queue stays short whatever is sent.
 *
 *     appended:   GET  GET  MULTI  SET  EXEC  SUBSCRIBE a b
 *     runs:       NONE*2    MULTI  NONE EXEC  SUBSCRIBE*2
 *
 * The state changes when the reply comes, because only then is it known: a MULTI that failed opened nothing. CLIENT REPLY
 * is the exception, as there is no reply to wait for.
 *
 * The handshake is a list of runs, too (STEP_...), sent in one write:
 *
 *     HELLO 3 AUTH user pass SETNAME name | CLIENT SETINFO LIB-NAME | CLIENT SETINFO LIB-VER | SELECT db
 *
 * If HELLO is not known, or not allowed before AUTH, or not in that version, a second write follows when the first is answered:
 * AUTH, CLIENT SETNAME, CLIENT SETINFO, SELECT. Errors of SETINFO mean nothing: it is new in Redis 7.2.
 *
 * SPDX-License-Identifier: MIT */
#include "link.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "buffer.h"
#include "command_effect.h"
#include "failure.h"
#include "reader.h"
#include "reply.h"

/* What a reply will mean: an effect, or a step of the handshake. */
enum {
    STEP_HELLO = 100,
    STEP_AUTH,
    STEP_SETNAME,
    STEP_SETINFO,
    STEP_SELECT,
};

typedef struct run {
    int meaning;
    size_t replies;
    int64_t db; /* SELECT */
} run;

typedef enum link_state { LINK_IDLE, LINK_HANDSHAKE, LINK_READY, LINK_FAILED } link_state;

struct kvc_link {
    const kvc_options *options; /* borrowed */
    char *address;
    kvc_reader *reader; /* NULL until begin */
    kvc_buffer out;
    uint64_t sent; /* bytes since begin */

    run *runs; /* a queue: n of them from first on */
    size_t first, n, capacity;
    size_t pending;

    link_state state;
    kvc_error failure; /* FAILED: what feed and next say */
    bool fall_back;    /* HELLO was refused: there will be a second write */
    int protocol;
    kvc_reply *hello;

    /* The session, as replies told. */
    int64_t db;
    int64_t channels, shard_channels; /* subscribed to; patterns are counted among channels */
    bool in_multi, watching, monitoring;
    bool reply_off, reply_skip; /* CLIENT REPLY: none from here on; none to the next command */
    bool asking;                /* the next command is about a slot that is being moved */
    bool changed;               /* in a way that is not followed */
};

kvc_link *kvc_link_new(const kvc_options *options, const char *address)
{
    kvc_link *link = calloc(1, sizeof *link);

    if (!link)
        return NULL;
    link->options = options;
    link->address = strdup(address);
    if (!link->address) {
        free(link);
        return NULL;
    }
    return link;
}

/* Back to what kvc_link_new made. */
static void forget(kvc_link *link)
{
    kvc_reader_free(link->reader);
    kvc_buffer_done(&link->out);
    kvc_reply_free(link->hello);
    free(link->runs);
    *link = (kvc_link){ .options = link->options, .address = link->address };
}

void kvc_link_free(kvc_link *link)
{
    if (!link)
        return;
    forget(link);
    free(link->address);
    free(link);
}

const char *kvc_link_address(const kvc_link *link)
{
    return link->address;
}

bool kvc_link_ready(const kvc_link *link)
{
    return link->state == LINK_READY;
}

int kvc_link_protocol(const kvc_link *link)
{
    return link->protocol;
}

const kvc_reply *kvc_link_hello(const kvc_link *link)
{
    return link->hello;
}

bool kvc_link_dirty(const kvc_link *link)
{
    return link->state != LINK_READY || link->pending || kvc_buffer_slice(&link->out).len ||
           !kvc_reader_idle(link->reader) || link->db != link->options->db || link->channels ||
           link->shard_channels || link->in_multi || link->watching || link->monitoring || link->reply_off ||
           link->reply_skip || link->asking || link->changed;
}

/* ---- the queue of runs ---- */

static run *last_run(kvc_link *link)
{
    return link->n ? &link->runs[link->first + link->n - 1] : NULL;
}

static run *first_run(kvc_link *link)
{
    return link->n ? &link->runs[link->first] : NULL;
}

/* Makes room for one more. */
static bool reserve_run(kvc_link *link)
{
    size_t capacity = link->capacity ? link->capacity * 2 : 8;
    run *runs;

    if (link->first + link->n < link->capacity)
        return true;
    if (link->first > link->capacity / 2) {
        memmove(link->runs, link->runs + link->first, link->n * sizeof *runs);
        link->first = 0;
        return true;
    }
    runs = realloc(link->runs, capacity * sizeof *runs);
    if (!runs)
        return false;
    link->runs = runs;
    link->capacity = capacity;
    return true;
}

/* There is room. Only ordinary replies are alike enough to share a run. */
static void expect(kvc_link *link, int meaning, size_t replies, int64_t db)
{
    run *last = last_run(link);

    if (replies == 0)
        return;
    link->pending += replies;
    if (last && last->meaning == KVC_EFFECT_NONE && meaning == KVC_EFFECT_NONE) {
        last->replies += replies;
        return;
    }
    link->runs[link->first + link->n++] = (run){ .meaning = meaning, .replies = replies, .db = db };
}

/* replies of the first run have come. */
static void answered(kvc_link *link, size_t replies)
{
    run *front = first_run(link);

    link->pending -= replies;
    front->replies -= replies;
    if (front->replies)
        return;
    link->n--;
    link->first = link->n ? link->first + 1 : 0;
}

/* ---- out ---- */

static kvc_status check_argv(size_t argc, const kvc_slice *argv, kvc_error *error)
{
    if (argc == 0 || argc > INT_MAX)
        return kvc_fail(error, KVC_EARG, "a command has 1 to %d words, not %zu", INT_MAX, argc);
    if (argv[0].len == 0)
        return kvc_fail(error, KVC_EARG, "the command's name is empty");
    return KVC_OK;
}

/* Queues a command that is answered in this way; what the caller holds of the session stays unchanged on failure. */
static kvc_status queue(kvc_link *link, int meaning, size_t replies, int64_t db, size_t argc,
                        const kvc_slice *argv, kvc_error *error)
{
    if (!reserve_run(link) || !kvc_buffer_append_command(&link->out, argc, argv))
        return kvc_fail_nomem(error);
    expect(link, meaning, replies, db);
    return KVC_OK;
}

/* The number that SELECT names, or one that no server has. */
static int64_t selected_db(size_t argc, const kvc_slice *argv)
{
    char digits[24], *end;
    long long db;

    if (argc != 2 || argv[1].len == 0 || argv[1].len >= sizeof digits)
        return -1;
    memcpy(digits, argv[1].data, argv[1].len);
    digits[argv[1].len] = '\0';
    db = strtoll(digits, &end, 10);
    return *end ? -1 : db;
}

static kvc_status not_ready(const kvc_link *link, kvc_error *error)
{
    if (link->state == LINK_FAILED) {
        if (error)
            *error = link->failure;
        return link->failure.status;
    }
    return kvc_fail(error, KVC_ESTATE, "the session with %s has not begun", link->address);
}

kvc_status kvc_link_append(kvc_link *link, size_t argc, const kvc_slice *argv, kvc_error *error)
{
    kvc_effect effect;
    size_t replies = 1;
    kvc_status status;

    if (link->state != LINK_READY)
        return not_ready(link, error);
    status = check_argv(argc, argv, error);
    if (status != KVC_OK)
        return status;
    effect = kvc_command_effect(argc, argv);
    if (effect == KVC_EFFECT_SUBSCRIBE && argc > 2)
        replies = argc - 1;
    if (((link->reply_off || link->reply_skip) && effect != KVC_EFFECT_REPLY_ON) ||
        effect == KVC_EFFECT_REPLY_OFF || effect == KVC_EFFECT_REPLY_SKIP)
        replies = 0;
    status = queue(link, effect, replies, effect == KVC_EFFECT_SELECT ? selected_db(argc, argv) : 0, argc,
                   argv, error);
    if (status != KVC_OK)
        return status;
    link->reply_skip = effect == KVC_EFFECT_REPLY_SKIP;
    link->asking = effect == KVC_EFFECT_ASKING;
    if (effect == KVC_EFFECT_REPLY_OFF)
        link->reply_off = true;
    if (effect == KVC_EFFECT_REPLY_ON)
        link->reply_off = false;
    if (effect == KVC_EFFECT_OTHER || (replies == 0 && effect != KVC_EFFECT_NONE))
        link->changed = true;
    return KVC_OK;
}

kvc_status kvc_link_append_raw(kvc_link *link, kvc_slice bytes, size_t replies, kvc_error *error)
{
    if (link->state != LINK_READY)
        return not_ready(link, error);
    if (!reserve_run(link) || !kvc_buffer_append(&link->out, bytes))
        return kvc_fail_nomem(error);
    expect(link, KVC_EFFECT_NONE, replies, 0);
    link->changed = true;
    return KVC_OK;
}

kvc_slice kvc_link_output(const kvc_link *link)
{
    return kvc_buffer_slice(&link->out);
}

void kvc_link_sent(kvc_link *link, size_t n)
{
    kvc_buffer_consume(&link->out, n);
    link->sent += n;
}

uint64_t kvc_link_queued(const kvc_link *link)
{
    return link->sent + kvc_buffer_slice(&link->out).len;
}

uint64_t kvc_link_sent_total(const kvc_link *link)
{
    return link->sent;
}

/* ---- the handshake ---- */

static bool has_credentials(const kvc_options *options)
{
    return options->user || options->password;
}

static kvc_status queue_step(kvc_link *link, int step, size_t argc, const kvc_slice *argv, kvc_error *error)
{
    return queue(link, step, 1, 0, argc, argv, error);
}

/* CLIENT SETINFO and SELECT, which end either form of the handshake. */
static kvc_status queue_common_steps(kvc_link *link, kvc_error *error)
{
    const kvc_slice name[] = { kvc_str("CLIENT"), kvc_str("SETINFO"), kvc_str("LIB-NAME"),
                               kvc_str("libkvclient") };
    const kvc_slice version[] = { kvc_str("CLIENT"), kvc_str("SETINFO"), kvc_str("LIB-VER"),
                                  kvc_str(KVC_VERSION) };
    char db[16];
    const kvc_slice select[] = { kvc_str("SELECT"),
                                 kvc_bytes(db, (size_t)snprintf(db, sizeof db, "%d", link->options->db)) };
    kvc_status status = queue_step(link, STEP_SETINFO, 4, name, error);

    if (status == KVC_OK)
        status = queue_step(link, STEP_SETINFO, 4, version, error);
    if (status == KVC_OK && link->options->db != 0)
        status = queue_step(link, STEP_SELECT, 2, select, error);
    return status;
}

static kvc_status queue_hello(kvc_link *link, kvc_error *error)
{
    const kvc_options *options = link->options;
    kvc_slice argv[7] = { kvc_str("HELLO"), kvc_str(link->protocol == 3 ? "3" : "2") };
    size_t argc = 2;

    if (has_credentials(options)) {
        argv[argc++] = kvc_str("AUTH");
        argv[argc++] = kvc_str(options->user ? options->user : "default");
        argv[argc++] = kvc_str(options->password ? options->password : "");
    }
    if (options->client_name) {
        argv[argc++] = kvc_str("SETNAME");
        argv[argc++] = kvc_str(options->client_name);
    }
    return queue_step(link, STEP_HELLO, argc, argv, error);
}

/* What HELLO could not do. */
static kvc_status queue_fallback(kvc_link *link, kvc_error *error)
{
    const kvc_options *options = link->options;
    kvc_slice auth[3] = { kvc_str("AUTH") };
    const kvc_slice setname[] = { kvc_str("CLIENT"), kvc_str("SETNAME"),
                                  kvc_str(options->client_name ? options->client_name : "") };
    size_t argc = 1;
    kvc_status status = KVC_OK;

    if (has_credentials(options)) {
        if (options->user)
            auth[argc++] = kvc_str(options->user);
        auth[argc++] = kvc_str(options->password ? options->password : "");
        status = queue_step(link, STEP_AUTH, argc, auth, error);
    }
    if (status == KVC_OK && options->client_name)
        status = queue_step(link, STEP_SETNAME, 3, setname, error);
    return status == KVC_OK ? queue_common_steps(link, error) : status;
}

kvc_status kvc_link_begin(kvc_link *link, kvc_error *error)
{
    const kvc_options *options = link->options;
    kvc_status status;

    forget(link);
#ifdef KVC_HIREDIS_RESP3
    link->protocol = options->protocol ? options->protocol : 3;
#else
    if (options->protocol == 3)
        return kvc_fail(error, KVC_ENOTSUP, "RESP3 needs hiredis 1.0 or newer: this build cannot read it");
    link->protocol = 2;
#endif
    link->reader = kvc_reader_new(&(kvc_limits){ .bytes = options->max_reply_bytes,
                                                 .depth = options->max_reply_depth,
                                                 .elements = options->max_reply_elements });
    if (!link->reader)
        return kvc_fail_nomem(error);
    status = queue_hello(link, error);
    if (status == KVC_OK)
        status = queue_common_steps(link, error);
    if (status == KVC_OK)
        link->state = LINK_HANDSHAKE;
    return status;
}

static bool begins(kvc_slice text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

/* HELLO does not exist there, not in this version, or not before AUTH. */
static bool is_hello_unavailable(kvc_slice text)
{
    return begins(text, "NOPROTO") || begins(text, "NOPERM") ||
           (begins(text, "ERR un") && memmem(text.data, text.len, "command", 7));
}

static kvc_status refused(kvc_slice text, kvc_error *error)
{
    bool auth = begins(text, "NOAUTH") || begins(text, "WRONGPASS") || begins(text, "NOPERM") ||
                begins(text, "ERR invalid password") || begins(text, "ERR AUTH");

    return kvc_fail_reply(error, auth ? KVC_EAUTH : KVC_EREPLY, text);
}

static kvc_status hello_answered(kvc_link *link, kvc_reply **reply, kvc_error *error)
{
    kvc_slice text = kvc_reply_text(*reply);

    if (kvc_reply_type(*reply) != KVC_TYPE_ERROR) {
        link->hello = *reply;
        *reply = NULL;
        return KVC_OK;
    }
    if (!is_hello_unavailable(text))
        return refused(text, error);
    if (link->options->protocol == 3)
        return kvc_fail(error, KVC_ENOTSUP, "%s does not speak RESP3: %.*s", link->address,
                        (int)(text.len < 200 ? text.len : 200), text.data);
    link->fall_back = true;
    link->protocol = 2;
    return KVC_OK;
}

/* A reply of the handshake has come; *reply may be taken. */
static kvc_status step_answered(kvc_link *link, kvc_reply **reply, kvc_error *error)
{
    int step = first_run(link)->meaning;
    bool is_error = kvc_reply_type(*reply) == KVC_TYPE_ERROR;
    kvc_status status = KVC_OK;

    answered(link, 1);
    if (step == STEP_HELLO)
        status = hello_answered(link, reply, error);
    else if (step == STEP_AUTH && is_error)
        status = kvc_fail_reply(error, KVC_EAUTH, kvc_reply_text(*reply));
    else if ((step == STEP_SETNAME || (step == STEP_SELECT && !link->fall_back)) && is_error)
        status = refused(kvc_reply_text(*reply), error);
    if (status != KVC_OK || link->n)
        return status;
    if (link->fall_back) {
        link->fall_back = false;
        return queue_fallback(link, error);
    }
    link->state = LINK_READY;
    link->db = link->options->db;
    return KVC_OK;
}

/* ---- in ---- */

static kvc_status broken(kvc_link *link, kvc_status status, const kvc_error *failure, kvc_error *error)
{
    link->state = LINK_FAILED;
    link->failure = *failure;
    if (error)
        *error = *failure;
    return status;
}

kvc_status kvc_link_feed(kvc_link *link, const void *data, size_t len, kvc_error *error)
{
    kvc_error failure;
    kvc_status status;

    if (link->state == LINK_FAILED || link->state == LINK_IDLE)
        return not_ready(link, error);
    status = kvc_reader_feed(link->reader, data, len, &failure);
    return status == KVC_OK ? KVC_OK : broken(link, status, &failure, error);
}

static bool is_one_of(const kvc_reply *word, const char *const words[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (kvc_reply_is_word(word, words[i]))
            return true;
    return false;
}

static bool is_confirmation(const kvc_reply *reply)
{
    static const char *const words[] = { "subscribe",   "psubscribe",   "ssubscribe",
                                         "unsubscribe", "punsubscribe", "sunsubscribe" };

    return kvc_reply_count(reply) == 3 &&
           is_one_of(kvc_reply_at(reply, 0), words, sizeof words / sizeof *words);
}

static bool is_message(const kvc_reply *reply)
{
    static const char *const words[] = { "message", "pmessage", "smessage" };

    return kvc_reply_count(reply) >= 3 &&
           is_one_of(kvc_reply_at(reply, 0), words, sizeof words / sizeof *words);
}

/* What this reply is; RESP2's messages look like any array, and can only be some when the connection subscribed. */
static kvc_link_kind kind_of(kvc_link *link, const kvc_reply *reply)
{
    const run *front = first_run(link);
    bool subscribed = link->channels || link->shard_channels;
    kvc_type type = kvc_reply_type(reply);

    if (type == KVC_TYPE_PUSH)
        return is_confirmation(reply) ? KVC_LINK_CONFIRMATION : KVC_LINK_MESSAGE;
    if (type == KVC_TYPE_ARRAY && link->protocol == 2) {
        if ((subscribed || (front && front->meaning == KVC_EFFECT_SUBSCRIBE)) && is_confirmation(reply))
            return KVC_LINK_CONFIRMATION;
        if (subscribed && is_message(reply))
            return KVC_LINK_MESSAGE;
    }
    if (link->monitoring && type == KVC_TYPE_SIMPLE && reply->n && reply->text[0] >= '0' &&
        reply->text[0] <= '9')
        return KVC_LINK_MESSAGE;
    return front ? KVC_LINK_REPLY : KVC_LINK_MESSAGE;
}

static void confirmed(kvc_link *link, const kvc_reply *reply)
{
    const run *front = first_run(link);
    kvc_slice word = kvc_reply_text(kvc_reply_at(reply, 0));
    int64_t count = kvc_reply_int(kvc_reply_at(reply, 2));

    if (*word.data == 's' && (word.data[1] == 's' || word.len == strlen("sunsubscribe")))
        link->shard_channels = count;
    else
        link->channels = count;
    if (front && front->meaning == KVC_EFFECT_SUBSCRIBE)
        answered(link, 1);
}

/* The reply to the oldest command: now its effect is known. */
static void command_answered(kvc_link *link, const kvc_reply *reply)
{
    run front = *first_run(link);
    bool failed = kvc_reply_type(reply) == KVC_TYPE_ERROR;
    bool queued = link->in_multi && kvc_reply_is_word(reply, "QUEUED");

    answered(link, front.meaning == KVC_EFFECT_SUBSCRIBE ? front.replies : 1);
    if (queued) {
        if (front.meaning == KVC_EFFECT_SELECT || front.meaning == KVC_EFFECT_SUBSCRIBE)
            link->changed = true;
        return;
    }
    if (front.meaning == KVC_EFFECT_EXEC && (!failed || begins(kvc_reply_text(reply), "EXECABORT")))
        link->in_multi = link->watching = false;
    if (failed)
        return;
    switch (front.meaning) {
    case KVC_EFFECT_MULTI:
        link->in_multi = true;
        break;
    case KVC_EFFECT_WATCH:
        link->watching = true;
        break;
    case KVC_EFFECT_UNWATCH:
        link->watching = false;
        break;
    case KVC_EFFECT_SELECT:
        link->db = front.db;
        break;
    case KVC_EFFECT_MONITOR:
        link->monitoring = true;
        break;
    default:
        break;
    }
}

kvc_status kvc_link_next(kvc_link *link, kvc_link_kind *ret_kind, kvc_reply **ret_reply, kvc_error *error)
{
    kvc_error failure;
    kvc_reply *reply;
    kvc_status status;

    *ret_reply = NULL;
    *ret_kind = KVC_LINK_REPLY;
    if (link->state == LINK_FAILED || link->state == LINK_IDLE)
        return not_ready(link, error);
    while ((status = kvc_reader_next(link->reader, &reply, &failure)) == KVC_OK &&
           link->state == LINK_HANDSHAKE) {
        if (kvc_reply_type(reply) != KVC_TYPE_PUSH)
            status = step_answered(link, &reply, &failure);
        kvc_reply_free(reply);
        if (status != KVC_OK)
            break;
    }
    if (status < 0)
        return broken(link, status, &failure, error);
    if (status != KVC_OK)
        return status;
    *ret_kind = kind_of(link, reply);
    if (*ret_kind == KVC_LINK_CONFIRMATION)
        confirmed(link, reply);
    else if (*ret_kind == KVC_LINK_REPLY)
        command_answered(link, reply);
    *ret_reply = reply;
    return KVC_OK;
}

size_t kvc_link_pending(const kvc_link *link)
{
    return link->state == LINK_READY ? link->pending : 0;
}
