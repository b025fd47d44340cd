/* push_oracle.c - the same random conversation of several clients with redis-server and with kvserver: subscriptions, messages,
 * keyspace notifications, client-side caching and transactions. What each client is sent must be the same, byte by byte.
 *
 *     push_oracle [--seed n] [--steps n] [--right program] [--option server-option ...]
 *
 * Four clients of each server, two of which begin in RESP2 and two in RESP3. A step is one request of one client; after it
 * every client, but those who are in a transaction, sends PING with a word of its own, and what it reads up to the answer is what the
 * step has sent to it: replies and pushes, in their order. Client ids, which differ, are written as "id0" ... "id3" in steps.
 *
 * One message that several patterns match comes once for each, in an order that redis-server leaves to chance: those are
 * sorted. Messages and invalidations are compared each by itself, together with the replies, since how the two mix is no promise;
 * and those of one step are sorted, too.
 *
 * What differs is shown with the fewest steps that lead there, and as bytes.
 *
 * Exit status: 0 the same, 1 different, 2 something else went wrong, 77 redis-server is not installed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "resp.h"
#include "server.h"
#include "side.h"

enum {
    clients = 4,
    told_client = 3,
    words_max = 10,
    part_steps = 400,
    shrink_seconds = 60,
    same_message_max = 16
};

typedef struct step {
    int client;
    int count;
    char words[words_max][32];
} step;

/* ---- drawing ----------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

#define PICK(list) list[draw(sizeof list / sizeof *list)]

static const char *const channels[] = { "a", "b", "news", "__redis__:invalidate", "__keyevent@0__:set" };
static const char *const patterns[] = { "*", "a*", "?", "[ab]", "__keyspace@0__:*", "__keyevent*" };
static const char *const keys[] = { "k", "k1", "k2", "key", "x" };
static const char *const values[] = { "1", "2", "v", "" };

/* Templates: C channel, P pattern, K key, V value, I a client's id; a '?' in front of a letter: or nothing. */
static const char *const requests[] = {
    "SUBSCRIBE C",
    "SUBSCRIBE C ?C ?C",
    "SUBSCRIBE C",
    "UNSUBSCRIBE C ?C",
    "PSUBSCRIBE P ?P",
    "PSUBSCRIBE P",
    "PUNSUBSCRIBE P ?P",
    "SSUBSCRIBE C ?C",
    "SUNSUBSCRIBE C",
    "PUBLISH C V",
    "PUBLISH C V",
    "PUBLISH C V",
    "SPUBLISH C V",
    "PUBSUB NUMSUB a b news",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDNUMSUB a b",
    "PUBSUB CHANNELS a",
    "PING",
    "PING V",
    "SET K V",
    "SET K V",
    "SET K V",
    "SET K V GET",
    "SET K V NX",
    "SET K V XX",
    "SETNX K V",
    "MSET K V K V K V",
    "MSETNX K V K V",
    "GETSET K V",
    "APPEND K V",
    "INCR K",
    "INCRBYFLOAT K 1.5",
    "SETRANGE K 1 V",
    "DEL K ?K ?K",
    "UNLINK K ?K",
    "GETDEL K",
    "GETEX K PERSIST",
    "GETEX K EXAT 9999999999",
    "EXPIREAT K 9999999999",
    "EXPIREAT K 1",
    "PERSIST K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "MOVE K 1",
    "GET K",
    "GET K",
    "GET K",
    "MGET K K ?K",
    "STRLEN K",
    "EXISTS K ?K",
    "TTL K",
    "TYPE K",
    "TOUCH K",
    "OBJECT ENCODING K",
    "SELECT 0",
    "SELECT 1",
    "SELECT 0",
    "SELECT 0",
    "FLUSHDB",
    "FLUSHALL",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON BCAST PREFIX k",
    "CLIENT TRACKING ON BCAST PREFIX k1 PREFIX x NOLOOP",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON OPTOUT NOLOOP",
    "CLIENT TRACKING ON REDIRECT I",
    "CLIENT TRACKING ON REDIRECT I BCAST",
    "CLIENT TRACKING ON REDIRECT I BCAST PREFIX k",
    "CLIENT TRACKING ON REDIRECT I NOLOOP",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "MULTI",
    "MULTI",
    "WATCH K",
    "WATCH K K",
    "UNWATCH",
    "EXEC",
    "DISCARD",
    "NOSUCHCOMMAND K",
    "GET",
    "HELLO 3",
    "HELLO 2",
    "RESET",
    "RESET",
};

static void add_word(step *s, const char *word)
{
    if (s->count < words_max)
        snprintf(s->words[s->count++], sizeof s->words[0], "%s", word);
}

static void add_drawn(step *s, const char *word)
{
    char id[8];

    if (word[0] == '?') {
        if (draw(2))
            return;
        word++;
    }
    if (strcmp(word, "C") == 0)
        add_word(s, PICK(channels));
    else if (strcmp(word, "P") == 0)
        add_word(s, PICK(patterns));
    else if (strcmp(word, "K") == 0)
        add_word(s, PICK(keys));
    else if (strcmp(word, "V") == 0)
        add_word(s, PICK(values));
    else if (strcmp(word, "I") == 0) {
        snprintf(id, sizeof id, "id%d", told_client);
        add_word(s, id);
    } else
        add_word(s, word);
}

static void draw_words(step *s)
{
    char text[96], *at = text;

    s->count = 0;
    snprintf(text, sizeof text, "%s", PICK(requests));
    for (char *word; (word = strsep(&at, " "));)
        add_drawn(s, word);
}

/* To the client that invalidations are redirected to, those of its own writes come before the reply in redis-server, and after it in
 * kvserver: so that one does not write. And it listens all the time, since kvserver looks for what other workers have for a client before
 * it answers only where the client listens. */
static bool may_be_told(const step *s)
{
    static const char *const names[] = { "PUBLISH", "PUBSUB", "PING",   "GET",   "MGET",
                                         "TTL",     "TYPE",   "CLIENT", "HELLO", "SPUBLISH" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(s->words[0], names[i]) == 0)
            return true;
    return strstr(s->words[0], "SUBSCRIBE") != NULL;
}

/* Who has a prefix and asks for all keys as well is told twice by redis-server, and once by kvserver: so a part of the
 * conversation has the one, or the other. */
static bool has_wrong_prefix(const step *s, bool prefixes)
{
    bool broadcasts = false, has = false;

    for (int i = 0; i < s->count; i++) {
        broadcasts |= strcmp(s->words[i], "BCAST") == 0;
        has |= strcmp(s->words[i], "PREFIX") == 0;
    }
    return broadcasts && has != prefixes;
}

/* Commands that a queue may hold with the same replies on both sides, whatever is on the way. (kvserver publishes after the
 * transaction, and tells once of two that empty a database.) */
static bool may_be_queued(const step *s)
{
    const char *name = s->words[0];

    return !strstr(name, "SUBSCRIBE") && !strstr(name, "PUBLISH") && !strstr(name, "FLUSH") &&
           strcmp(name, "HELLO") != 0 && strcmp(name, "PING") != 0 &&
           !(strcmp(name, "CLIENT") == 0 && strcmp(s->words[1], "TRACKING") == 0);
}

/* What can be told of a client from here. */
typedef struct state {
    bool in_multi;
    bool is_told; /* has subscribed, or tracks */
    bool tracks;
    bool tracked; /* and does no more */
} state;

static bool is_tracking(const step *s, const char *how)
{
    return strcmp(s->words[0], "CLIENT") == 0 && strcmp(s->words[1], "TRACKING") == 0 &&
           strcmp(s->words[2], how) == 0;
}

/* Nobody is told things in a transaction: redis-server says them between the elements of EXEC's reply. Nobody tracks a second time:
 * redis-server remembers what the client read at the first. */
static bool fits(const step *s, const state *of, bool prefixes)
{
    if (of->in_multi && !may_be_queued(s))
        return false;
    if ((of->is_told && strcmp(s->words[0], "MULTI") == 0) || (of->tracked && is_tracking(s, "ON")))
        return false;
    return (s->client != told_client || may_be_told(s)) && !has_wrong_prefix(s, prefixes);
}

static void follow(state *of, const step *s)
{
    bool resets = strcmp(s->words[0], "RESET") == 0;

    if (strcmp(s->words[0], "MULTI") == 0)
        of->in_multi = true;
    if (strcmp(s->words[0], "EXEC") == 0 || strcmp(s->words[0], "DISCARD") == 0 || resets)
        of->in_multi = false;
    of->tracks |= is_tracking(s, "ON");
    of->is_told |= of->tracks || strstr(s->words[0], "SUBSCRIBE");
    of->tracked |= of->tracks && (resets || is_tracking(s, "OFF"));
    if (resets)
        of->is_told = of->tracks = false;
}

static void draw_step(step *s, state states[], bool prefixes)
{
    s->client = (int)draw(clients);
    do
        draw_words(s);
    while (!fits(s, &states[s->client], prefixes));
    if (states[s->client].in_multi && draw(5) == 0) {
        s->count = 0;
        add_word(s, draw(8) ? "EXEC" : "DISCARD");
    }
    follow(&states[s->client], s);
}

/* ---- a server and its clients -------------------------------------------------------------- */

/* What a client is sent: replies with messages, and replies with invalidations. */
enum { MESSAGES, INVALIDATIONS, STREAMS };

typedef struct side {
    const char *name;
    server *server;
    conn *conns[clients];
    char id[clients][24];
    bool in_multi[clients];
    char *said[clients][STREAMS]; /* since the last step: as it came */
    size_t said_len[clients][STREAMS];
    int same[clients][STREAMS]; /* how many of its last pieces are one message to several patterns, */
    size_t last[clients][STREAMS][same_message_max]; /* and their lengths */
    bool invalidated[clients];                       /* was the last of INVALIDATIONS */
    size_t tail_len[clients];                        /* of that message */
} side;

/* What follows the pattern in a pmessage: channel and message; no data: it is none. */
static kv_slice after_pattern(kv_slice raw)
{
    static const char head[] = "4\r\n$8\r\npmessage\r\n$"; /* behind '*' or '>' */
    const char *end = raw.data + raw.len, *at = raw.data + sizeof head;
    size_t len;

    if (raw.len < 32 || memcmp(raw.data + 1, head, sizeof head - 1) != 0)
        return kv_slice_of(NULL, 0);
    len = strtoul(at, NULL, 10);
    at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1 + len;
    return kv_slice_of(at, (size_t)(end - at));
}

static int compare_slices(const void *a, const void *b)
{
    const kv_slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Sorts the last n pieces of what a client was sent, which are one message. */
static void sort_last(side *s, int client, int stream, int n)
{
    kv_slice pieces[same_message_max];
    size_t len = 0;
    char *copy, *to;

    for (int i = 0; i < n; i++)
        len += s->last[client][stream][i];
    copy = malloc(len);
    if (!copy)
        abort();
    to = s->said[client][stream] + s->said_len[client][stream] - len;
    memcpy(copy, to, len);
    for (size_t i = 0, at = 0; i < (size_t)n; at += s->last[client][stream][i++])
        pieces[i] = kv_slice_of(copy + at, s->last[client][stream][i]);
    qsort(pieces, (size_t)n, sizeof *pieces, compare_slices);
    for (int i = 0; i < n; to += pieces[i++].len) {
        memcpy(to, pieces[i].data, pieces[i].len);
        s->last[client][stream][i] = pieces[i].len;
    }
    free(copy);
}

/* redis-server writes the null of who has redirected, not of who is told. */
static kv_slice as_meant(kv_slice raw)
{
    if (kv_slice_equal(raw, KV_STR(">2\r\n$10\r\ninvalidate\r\n$-1\r\n")))
        return KV_STR(">2\r\n$10\r\ninvalidate\r\n_\r\n");
    if (kv_slice_equal(raw, KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n_\r\n")))
        return KV_STR("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
    return raw;
}

static void append(side *s, int client, int stream, kv_slice raw)
{
    char **said = &s->said[client][stream];
    size_t *len = &s->said_len[client][stream];

    *said = realloc(*said, *len + raw.len);
    if (!*said)
        abort();
    memcpy(*said + *len, raw.data, raw.len);
    *len += raw.len;
}

static bool begins(kv_slice raw, const char *text)
{
    return raw.len > strlen(text) && memcmp(raw.data + 1, text, strlen(text)) == 0;
}

static bool is_invalidation(kv_slice raw)
{
    return begins(raw, "2\r\n$10\r\ninvalidate\r\n") ||
           begins(raw, "3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
}

/* Appends what belongs together with what was there before (goes_on), in any order, or begins such a group. */
static void append_to_group(side *s, int client, int stream, kv_slice raw, bool goes_on)
{
    int *same = &s->same[client][stream];

    goes_on = goes_on && *same < same_message_max;
    append(s, client, stream, raw);
    *same = goes_on ? *same : 0;
    s->last[client][stream][(*same)++] = raw.len;
    if (goes_on)
        sort_last(s, client, stream, *same);
}

/* A message; one that several patterns match goes to its place among them. */
static void hear_message(side *s, int client, kv_slice raw)
{
    kv_slice tail = after_pattern(raw);
    const char *end = s->said[client][MESSAGES] + s->said_len[client][MESSAGES];
    bool goes_on = tail.data && s->tail_len[client] == tail.len &&
                   s->said_len[client][MESSAGES] >= tail.len &&
                   memcmp(end - tail.len, tail.data, tail.len) == 0;

    s->tail_len[client] = tail.len;
    append_to_group(s, client, MESSAGES, raw, goes_on);
}

/* Keeps one reply or push. */
static void hear(side *s, int client, kv_slice bytes)
{
    kv_slice raw = as_meant(bytes);
    bool is_message = begins(raw, "4\r\n$8\r\npmessage\r\n") || begins(raw, "3\r\n$7\r\nmessage\r\n") ||
                      begins(raw, "3\r\n$8\r\nsmessage\r\n");

    if (is_invalidation(raw)) {
        append_to_group(s, client, INVALIDATIONS, raw, s->invalidated[client]);
        s->invalidated[client] = true;
        return;
    }
    hear_message(s, client, raw);
    if (is_message)
        return;
    append(s, client, INVALIDATIONS, raw);
    s->invalidated[client] = false;
}

static bool is_answer(const reply *r, const char *word)
{
    if (r->type == '*' && r->count == 2 && r->elements[0].text && strcmp(r->elements[0].text, "pong") == 0)
        r = &r->elements[1];
    return r->type == '$' && r->text && strcmp(r->text, word) == 0;
}

/* Reads what a client was sent, up to the answer to its PING. */
static bool listen_until(side *s, int client, const char *word)
{
    bool answered = false;

    while (!answered) {
        kv_slice raw;
        reply *r = conn_read_raw(s->conns[client], &raw);

        if (!r)
            return false;
        answered = is_answer(r, word);
        if (!answered)
            hear(s, client, raw);
        reply_free(r);
    }
    return true;
}

/* Reads up to the reply of a request in a transaction; pushes may come before it. */
static bool listen_for_reply(side *s, int client, reply **ret)
{
    for (;;) {
        kv_slice raw;
        reply *r = conn_read_raw(s->conns[client], &raw);

        if (!r)
            return false;
        hear(s, client, raw);
        if (r->type != '>') {
            *ret = r;
            return true;
        }
        reply_free(r);
    }
}

static bool tell(side *s, const step *what)
{
    kv_slice argv[words_max];

    for (int i = 0; i < what->count; i++) {
        const char *word = what->words[i];
        bool is_id = strncmp(word, "id", 2) == 0 && word[2] >= '0' && word[2] < '0' + clients && !word[3];

        argv[i] = kv_str(is_id ? s->id[word[2] - '0'] : word);
    }
    return conn_send_args(s->conns[what->client], (size_t)what->count, argv);
}

static bool is_named(const step *s, const char *name)
{
    return strcmp(s->words[0], name) == 0;
}

/* Runs a step and collects what everybody was sent. */
static bool side_step(side *s, const step *what, unsigned number)
{
    int c = what->client;
    bool ends = is_named(what, "EXEC") || is_named(what, "DISCARD") || is_named(what, "RESET");
    char word[24];

    memset(s->said_len, 0, sizeof s->said_len);
    memset(s->same, 0, sizeof s->same);
    memset(s->tail_len, 0, sizeof s->tail_len);
    memset(s->invalidated, 0, sizeof s->invalidated);
    if (!tell(s, what))
        return false;
    if (ends)
        s->in_multi[c] = false;
    if (s->in_multi[c] || is_named(what, "MULTI")) {
        reply *r;

        if (!listen_for_reply(s, c, &r))
            return false;
        s->in_multi[c] = s->in_multi[c] || (r->type == '+' && strcmp(r->text, "OK") == 0);
        reply_free(r);
    }
    snprintf(word, sizeof word, "word%u", number);
    for (int n = 0; n <= clients; n++) {
        int i =
            (c + n) %
            clients; /* who has asked is answered first, and at the end again: what is broadcast may come late */

        if (s->in_multi[i])
            continue;
        if (!conn_send_args(s->conns[i], 2, (kv_slice[]){ KV_STR("PING"), kv_str(word) }) ||
            !listen_until(s, i, word))
            return false;
    }
    return true;
}

static bool told(conn *c, const char *wanted, const char *const args[])
{
    char *text = c ? conn_ask_text(c, args) : NULL;
    bool as_wanted = text && strncmp(text, wanted, strlen(wanted)) == 0;

    free(text);
    return as_wanted;
}

/* New clients of an empty server. */
static bool side_begin(side *s)
{
    bool ok = true;

    for (int i = 0; i < clients; i++) {
        conn_close(s->conns[i]);
        s->conns[i] = NULL;
    }
    for (int i = 0; i < clients && ok; i++) {
        char *text;

        s->in_multi[i] = false;
        s->conns[i] = conn_open_unix(server_socket(s->server));
        ok = s->conns[i] != NULL;
        text = ok ? conn_ask_text(s->conns[i], (const char *const[]){ "CLIENT", "ID", NULL }) : NULL;
        ok = text && text[0] == ':';
        if (ok)
            snprintf(s->id[i], sizeof s->id[i], "%s", text + 1);
        free(text);
        if (ok && i >= clients / 2)
            ok = told(s->conns[i], "%", (const char *const[]){ "HELLO", "3", NULL });
        if (ok && i == told_client)
            ok = told(s->conns[i], ">3 $subscribe", (const char *const[]){ "SUBSCRIBE", "told", NULL });
    }
    return ok && told(s->conns[0], "+OK", (const char *const[]){ "FLUSHALL", NULL }) &&
           told(s->conns[0], "+OK",
                (const char *const[]){ "CONFIG", "SET", "notify-keyspace-events", "KEA", NULL });
}

static void side_end(side *s)
{
    for (int i = 0; i < clients; i++) {
        conn_close(s->conns[i]);
        for (int k = 0; k < STREAMS; k++)
            free(s->said[i][k]);
    }
}

/* ---- comparing ----------------------------------------------------------------------------- */

typedef enum outcome { SAME, DIFFERENT, BROKEN } outcome;

typedef struct match {
    side left, right;
    int client, stream; /* who was sent something else */
    size_t compared;
} match;

/* HELLO tells who the server is, which differs. */
static outcome compare(match *m, const step *what)
{
    for (int i = 0; i < clients; i++)
        for (int k = 0; k < STREAMS; k++) {
            kv_slice left = kv_slice_of(m->left.said[i][k], m->left.said_len[i][k]);
            kv_slice right = kv_slice_of(m->right.said[i][k], m->right.said_len[i][k]);

            m->compared += left.len > 0;
            if ((i == what->client && is_named(what, "HELLO")) || kv_slice_equal(left, right))
                continue;
            m->client = i;
            m->stream = k;
            return DIFFERENT;
        }
    return SAME;
}

/* Runs the steps from the beginning; *ret_at is where it stopped. */
static outcome run(match *m, const step *const steps[], size_t count, size_t *ret_at)
{
    if (!side_begin(&m->left) || !side_begin(&m->right))
        return BROKEN;
    for (size_t i = 0; i < count; i++) {
        bool left = side_step(&m->left, steps[i], (unsigned)i);
        bool right = side_step(&m->right, steps[i], (unsigned)i);
        outcome is = !left ? BROKEN : !right ? DIFFERENT : compare(m, steps[i]);

        *ret_at = i;
        if (is != SAME)
            return is;
    }
    return SAME;
}

/* Leaves out steps of failing[0 .. *count), the last of which differs, while it does. */
static void shrink(match *m, const step **failing, size_t *count)
{
    const step **trial = malloc(*count * sizeof *trial);
    time_t until = time(NULL) + shrink_seconds;

    if (!trial)
        abort();
    for (size_t part = (*count + 1) / 2; part && time(NULL) < until; part = part == 1 ? 0 : (part + 1) / 2) {
        for (size_t from = 0; from + 1 < *count && time(NULL) < until;) {
            size_t to = from + part < *count - 1 ? from + part : *count - 1, n = *count - (to - from), at = 0;

            memcpy(trial, failing, from * sizeof *trial);
            memcpy(trial + from, failing + to, (*count - to) * sizeof *trial);
            if (run(m, trial, n, &at) == DIFFERENT) {
                memcpy(failing, trial, (at + 1) * sizeof *trial);
                *count = at + 1;
            } else {
                from = to;
            }
        }
    }
    free(trial);
}

static void print_bytes(const char *name, const char *bytes, size_t len)
{
    printf("%s: ", name);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];

        if (byte == '\n')
            printf("\\n");
        else if (byte != '\r')
            putchar(byte >= ' ' && byte <= '~' ? byte : '?');
    }
    putchar('\n');
}

static void report(match *m, const step *const steps[], size_t at)
{
    const step **failing = malloc((at + 1) * sizeof *failing);
    size_t count = at + 1, last;
    outcome is;

    if (!failing)
        abort();
    memcpy(failing, steps, count * sizeof *failing);
    shrink(m, failing, &count);
    is = run(m, failing, count, &last);
    printf("%zu steps (clients %d and above begin in RESP3):\n", count, clients / 2);
    for (size_t i = 0; i < count; i++) {
        printf("  %d>", failing[i]->client);
        for (int w = 0; w < failing[i]->count; w++)
            printf(" %s", failing[i]->words[w][0] ? failing[i]->words[w] : "\"\"");
        putchar('\n');
    }
    printf("and client %d is sent%s\n", m->client, is == DIFFERENT ? "" : " (at another time)");
    print_bytes(m->left.name, m->left.said[m->client][m->stream], m->left.said_len[m->client][m->stream]);
    print_bytes(m->right.name, m->right.said[m->client][m->stream], m->right.said_len[m->client][m->stream]);
    free(failing);
}

/* ---- main ---------------------------------------------------------------------------------- */

typedef struct options {
    uint64_t seed;
    size_t steps;
    const char *right;
    const char *server_options[16];
    size_t server_options_count;
} options;

static bool read_options(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--steps") == 0)
            o->steps = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--right") == 0)
            o->right = argv[i + 1];
        else if (strcmp(argv[i], "--option") == 0 && o->server_options_count < 15)
            o->server_options[o->server_options_count++] = argv[i + 1];
        else
            return false;
    }
    return true;
}

static bool side_open(side *s, const char *name, const char *const server_options[])
{
    s->name = name;
    s->server = side_start(name, server_options);
    return s->server != NULL;
}

/* In parts, each from an empty server. */
static outcome run_parts(match *m, const options *o)
{
    static step steps[part_steps];
    const step *order[part_steps];

    for (size_t done = 0; done < o->steps; done += part_steps) {
        state states[clients] = { { false } };
        size_t at = 0;
        outcome is;

        random_state = (o->seed + done / part_steps) * 0x9e3779b97f4a7c15u;
        for (int i = 0; i < part_steps; i++) {
            draw_step(&steps[i], states, (o->seed + done / part_steps) % 2 == 0);
            order[i] = &steps[i];
        }
        is = run(m, order, part_steps, &at);
        if (is != SAME)
            printf("seed %llu, step %zu\n", (unsigned long long)(o->seed + done / part_steps), at);
        if (is == DIFFERENT)
            report(m, order, at);
        if (is != SAME)
            return is;
    }
    return SAME;
}

int main(int argc, char **argv)
{
    options o = { .seed = 1, .steps = 20000, .right = "kvserver" };
    match m = { .compared = 0 };
    outcome is;
    bool stopped;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: %s [--seed n] [--steps n] [--right program] [--option server-option] ...\n",
                argv[0]);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)o.seed);
    if (!side_open(&m.left, "redis-server", NULL) || !side_open(&m.right, o.right, o.server_options))
        return 2;
    is = run_parts(&m, &o);
    if (is == SAME)
        printf("%zu times somebody was sent something, always the same\n", m.compared);
    side_end(&m.left);
    side_end(&m.right);
    stopped = server_stop(m.left.server);
    stopped = server_stop(m.right.server) && stopped;
    return is == SAME && stopped ? 0 : is == DIFFERENT ? 1 : 2;
}
