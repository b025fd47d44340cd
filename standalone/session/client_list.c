/* client_list.c - CLIENT LIST and CLIENT KILL: one question to the connections of all workers (round.h). Each worker
 * notes what it found among its own; the asking one gathers that.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "peer.h"
#include "replica.h"
#include "replication.h"
#include "round.h"
#include "session.h"

/* TYPE's words. 0 is no type. */
enum { TYPE_NORMAL = 1, TYPE_PUBSUB, TYPE_REPLICA, TYPE_PRIMARY };

/* Which connections are meant. */
typedef struct client_filter {
    uint64_t *ids; /* any of them, ascending; NULL: all */
    size_t id_count;
    char *address, *local_address; /* NULL: any */
    int type;                      /* 0: any; see parse_type */
    acl_user *user;                /* of that name; NULL: any */
    int64_t max_age_s;             /* connected at least that long; 0: any */
    uint64_t skip_id;              /* not this one; 0: none */
    bool old_form;                 /* CLIENT KILL addr */
} client_filter;

/* One line of a list. */
typedef struct client_line {
    uint64_t id;
    char *text;
} client_line;

/* What one worker found. */
typedef struct findings {
    client_line *lines;
    size_t count, capacity;
    int64_t killed;
    bool out_of_memory;
} findings;

typedef struct survey {
    round round; /* first */
    bool kill, kills_asker;
    client_filter filter;
    int worker_count;
    findings found[];
} survey;

/* ---- looking ---- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool matches_id(const client_filter *f, uint64_t id)
{
    return !f->ids || bsearch(&id, f->ids, f->id_count, sizeof id, compare_ids);
}

static int type_of(const connection *c)
{
    if (replica_is_served(c))
        return TYPE_REPLICA;
    return c->flags & CONNECTION_SUBSCRIBED ? TYPE_PUBSUB : TYPE_NORMAL;
}

static bool matches(const client_filter *f, const connection *c)
{
    char address[CONNECTION_ADDRESS_MAX];

    if (!matches_id(f, c->id) || c->id == f->skip_id)
        return false;
    if (f->user && !kv_slice_equal(acl_user_name(c->user), acl_user_name(f->user)))
        return false;
    if (f->type && f->type != type_of(c))
        return false;
    if (f->max_age_s && c->owner->now_ms - c->created_ms < f->max_age_s * 1000)
        return false;
    if (f->address) {
        connection_address(c, address);
        if (strcmp(address, f->address) != 0)
            return false;
    }
    if (f->local_address) {
        connection_local_address(c, address);
        if (strcmp(address, f->local_address) != 0)
            return false;
    }
    return true;
}

/* Takes text over; NULL: memory is out. */
static void note_line(findings *f, uint64_t id, char *text)
{
    if (f->count == f->capacity) {
        size_t capacity = f->capacity ? f->capacity * 2 : 64;
        client_line *lines = realloc(f->lines, capacity * sizeof *lines);

        if (!lines) {
            f->out_of_memory = true;
            free(text);
            return;
        }
        f->lines = lines;
        f->capacity = capacity;
    }
    f->out_of_memory |= !text;
    if (text)
        f->lines[f->count++] = (client_line){ id, text };
}

/* The asker itself goes once its reply is sent. */
static void kill_client(survey *s, findings *f, connection *c)
{
    f->killed++;
    if (c == s->round.asker)
        s->kills_asker = true;
    else
        connection_close(c);
}

static bool link_matches(const client_filter *f, const replication_link *link)
{
    if (!matches_id(f, link->id) || f->user || (f->type && f->type != TYPE_PRIMARY))
        return false;
    if (f->max_age_s && peer_clock_ms() - link->created_ms < f->max_age_s * 1000)
        return false;
    return (!f->address || strcmp(link->address, f->address) == 0) &&
           (!f->local_address || strcmp(link->local_address, f->local_address) == 0);
}

/* The primary is a client, too, though no worker's. */
static void look_at_link(const survey *s, findings *f)
{
    server *of = s->round.asker->owner->server;
    replication_link link;

    if (!replication_read_link(of, &link) || !link_matches(&s->filter, &link))
        return;
    if (s->kill) {
        f->killed++;
        replication_end_link(of, link.id);
    } else {
        note_line(f, link.id, replication_describe_link(&link));
    }
}

static void look(round *r, worker *w)
{
    survey *s = (survey *)r;
    findings *f = &s->found[w->index];

    for (connection *c = w->connections, *next; c; c = next) {
        next = c->next;
        if (!matches(&s->filter, c))
            continue;
        if (s->kill)
            kill_client(s, f, c);
        else
            note_line(f, c->id, session_describe_client(c, c == s->round.asker ? &c->owner->call : NULL));
    }
    if (w == s->round.asker->owner)
        look_at_link(s, f);
}

/* ---- answering ---- */

static void free_survey(round *r)
{
    survey *s = (survey *)r;

    for (int i = 0; i < s->worker_count; i++) {
        for (size_t j = 0; j < s->found[i].count; j++)
            free(s->found[i].lines[j].text);
        free(s->found[i].lines);
    }
    free(s->filter.ids);
    free(s->filter.address);
    free(s->filter.local_address);
    acl_user_unref(s->filter.user);
    free(s);
}

static int by_id(const void *a, const void *b)
{
    const client_line *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static void reply_lines(kv_reply *reply, const client_line *lines, size_t count)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (size_t i = 0; out && i < count; i++)
        fprintf(out, "%s\n", lines[i].text);
    if (out && fclose(out) == 0)
        reply->ops->verbatim(reply, kv_slice_of(text, len), "txt");
    else
        kv_reply_error(reply, KV_ENOMEM);
    free(text);
}

static void reply_list(survey *s, kv_reply *reply)
{
    size_t count = 0, at = 0;
    bool out_of_memory = false;
    client_line *lines;

    for (int i = 0; i < s->worker_count; i++) {
        count += s->found[i].count;
        out_of_memory |= s->found[i].out_of_memory;
    }
    lines = malloc((count ? count : 1) * sizeof *lines);
    if (!lines || out_of_memory) {
        kv_reply_error(reply, KV_ENOMEM);
        free(lines);
        return;
    }
    for (int i = 0; i < s->worker_count; i++) {
        if (s->found[i].count)
            memcpy(lines + at, s->found[i].lines, s->found[i].count * sizeof *lines);
        at += s->found[i].count;
    }
    qsort(lines, count, sizeof *lines, by_id);
    reply_lines(reply, lines, count);
    free(lines);
}

static void reply_killed(survey *s, kv_reply *reply)
{
    int64_t killed = 0;

    for (int i = 0; i < s->worker_count; i++)
        killed += s->found[i].killed;
    if (!s->filter.old_form)
        kv_reply_int(reply, killed);
    else if (killed)
        kv_reply_ok(reply);
    else
        kv_reply_errorf(reply, "ERR No such client");
}

static void answer(round *r, kv_reply *reply)
{
    survey *s = (survey *)r;

    if (s->kill)
        reply_killed(s, reply);
    else
        reply_list(s, reply);
    if (s->kills_asker)
        r->asker->flags |= CONNECTION_CLOSE_AFTER;
}

/* Takes over what filter owns. */
static void start_survey(kv_call *call, const client_filter *filter, bool kill)
{
    int n = session_server(call)->worker_count;
    survey *s = calloc(1, sizeof *s + (size_t)n * sizeof *s->found);

    if (!s) {
        free(filter->ids);
        free(filter->address);
        free(filter->local_address);
        acl_user_unref(filter->user);
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    s->round = (round){ .visit = look, .answer = answer, .end = free_survey };
    s->kill = kill;
    s->filter = *filter;
    s->worker_count = n;
    round_start(&s->round, call);
}

/* ---- arguments ---- */

static int parse_type(kv_slice word)
{
    if (kv_word_is(word, "normal"))
        return TYPE_NORMAL;
    if (kv_word_is(word, "pubsub"))
        return TYPE_PUBSUB;
    if (kv_word_is(word, "slave") || kv_word_is(word, "replica"))
        return TYPE_REPLICA;
    if (kv_word_is(word, "master"))
        return TYPE_PRIMARY;
    return 0;
}

static bool reply_unknown_type(kv_call *call, kv_slice type)
{
    kv_reply_errorf(call->reply, "ERR Unknown client type '%.*s'", (int)(type.len > 128 ? 128 : type.len),
                    type.data);
    return false;
}

static bool set_id(client_filter *f, uint64_t id)
{
    if (!f->ids)
        f->ids = malloc(sizeof *f->ids);
    if (!f->ids)
        return false;
    f->ids[0] = id;
    f->id_count = 1;
    return true;
}

static bool parse_ids(kv_call *call, client_filter *f)
{
    f->ids = malloc((size_t)(call->argc - 3) * sizeof *f->ids);
    if (!f->ids) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return false;
    }
    for (int i = 3; i < call->argc; i++) {
        int64_t id;

        if (!kv_parse_int(call->argv[i], &id)) {
            kv_reply_errorf(call->reply, "ERR Invalid client ID");
            return false;
        }
        f->ids[f->id_count++] = (uint64_t)id;
    }
    qsort(f->ids, f->id_count, sizeof *f->ids, compare_ids);
    return true;
}

/* CLIENT LIST [TYPE type | ID id [id ...]] */
void session_client_list(kv_call *call)
{
    client_filter f = { 0 };

    if (call->argc == 4 && kv_word_is(call->argv[2], "type")) {
        f.type = parse_type(call->argv[3]);
        if (!f.type) {
            reply_unknown_type(call, call->argv[3]);
            return;
        }
    } else if (call->argc > 3 && kv_word_is(call->argv[2], "id")) {
        if (!parse_ids(call, &f)) {
            free(f.ids);
            return;
        }
    } else if (call->argc != 2) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    start_survey(call, &f, false);
}

static bool set_copy(char **field, kv_slice text)
{
    free(*field);
    *field = strndup(text.data, text.len);
    return *field != NULL;
}

/* One option of CLIENT KILL and its value. False: an error was replied. */
static bool parse_kill_option(kv_call *call, kv_slice name, kv_slice value, client_filter *f, bool *skip_me)
{
    bool ok = true;
    int64_t number;

    if (kv_word_is(name, "id") || kv_word_is(name, "maxage")) {
        bool is_id = kv_word_is(name, "id");

        if (!kv_parse_int(value, &number) || number < 1) {
            kv_reply_errorf(call->reply, "ERR %s should be greater than 0", is_id ? "client-id" : "maxage");
            return false;
        }
        if (is_id)
            ok = set_id(f, (uint64_t)number);
        else
            f->max_age_s = number;
    } else if (kv_word_is(name, "type")) {
        f->type = parse_type(value);
        return f->type || reply_unknown_type(call, value);
    } else if (kv_word_is(name, "addr")) {
        ok = set_copy(&f->address, value);
    } else if (kv_word_is(name, "laddr")) {
        ok = set_copy(&f->local_address, value);
    } else if (kv_word_is(name, "user")) {
        acl_user_unref(f->user);
        f->user = acl_find(session_server(call)->acl, value);
        if (!f->user) {
            kv_reply_errorf(call->reply, "ERR No such user '%.*s'", (int)(value.len > 128 ? 128 : value.len),
                            value.data);
            return false;
        }
    } else if (kv_word_is(name, "skipme") && (kv_word_is(value, "yes") || kv_word_is(value, "no"))) {
        *skip_me = kv_word_is(value, "yes");
    } else {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return false;
    }
    if (!ok)
        kv_reply_error(call->reply, KV_ENOMEM);
    return ok;
}

static bool parse_kill(kv_call *call, client_filter *f)
{
    bool skip_me = true;

    if (call->argc == 3) {
        f->old_form = true;
        skip_me = false;
        if (!set_copy(&f->address, call->argv[2])) {
            kv_reply_error(call->reply, KV_ENOMEM);
            return false;
        }
    }
    for (int i = 2; call->argc > 3 && i < call->argc; i += 2) {
        if (i + 1 == call->argc) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
        if (!parse_kill_option(call, call->argv[i], call->argv[i + 1], f, &skip_me))
            return false;
    }
    f->skip_id = skip_me ? session_connection(call)->id : 0;
    return true;
}

/* CLIENT KILL addr | option value [option value ...] */
void session_client_kill(kv_call *call)
{
    client_filter f = { 0 };

    if (parse_kill(call, &f)) {
        start_survey(call, &f, true);
    } else {
        free(f.ids);
        free(f.address);
        free(f.local_address);
        acl_user_unref(f.user);
    }
}
