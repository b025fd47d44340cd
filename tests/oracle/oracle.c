/* oracle.c - the same random commands to redis-server and to kvserver; the replies must be the same.
 *
 *     oracle [--seed n] [--commands n] [--left program] [--right program] [--option server-option ...]
 *
 * Left (redis-server) is right by definition; what differs is a defect of the other. Four connections to each
 * server take turns, two in RESP2 and two in RESP3; pipelines go out in one write. Since a turn ends when all
 * its replies have come, the order of execution is the same on both sides, whatever their threads.
 *
 * A difference is shrunk before it is shown: parts of the stream are left out, ever smaller ones, as long as
 * the last reply still differs in the same way (delta debugging, Zeller 1999). What is printed can be typed
 * into redis-cli.
 *
 * Exit status: 0 the same, 1 different, 2 something else went wrong, 77 redis-server is not installed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crc64.h"
#include "payload.h"
#include "resp.h"
#include "server.h"
#include "side.h"
#include "stream.h"

enum { pipeline_max = 64, shrink_seconds = 60, part_size = 20000 };

typedef struct side {
    const char *name;
    server *server;
    conn *clients[stream_clients];
    char *text; /* the compact form of the reply that differed */
} side;

typedef struct match {
    side left, right;
    reply *payloads[stream_payloads]; /* the last ones, in turn; NULL: none yet */
    size_t payload_count;
    bool may_hold_expired; /* since the last FLUSHALL */
    size_t compared;
} match;

typedef enum outcome { SAME, DIFFERENT, BROKEN } outcome;

/* ---- connections ------------------------------------------------------------------------ */

static bool told(conn *c, const char *wanted, const char *const args[])
{
    char *text = c ? conn_ask_text(c, args) : NULL;
    bool as_wanted = text && strncmp(text, wanted, strlen(wanted)) == 0;

    free(text);
    return as_wanted;
}

/* New connections to an empty server. */
static bool side_begin(side *s)
{
    for (int i = 0; i < stream_clients; i++) {
        conn_close(s->clients[i]);
        s->clients[i] = conn_open_unix(server_socket(s->server));
        if (!s->clients[i])
            return false;
        if (i % 2 && !told(s->clients[i], "%", (const char *const[]){ "HELLO", "3", NULL }))
            return false;
    }
    return told(s->clients[0], "+OK", (const char *const[]){ "FLUSHALL", NULL });
}

static void side_end(side *s)
{
    for (int i = 0; i < stream_clients; i++)
        conn_close(s->clients[i]);
    free(s->text);
}

static void forget_payloads(match *m)
{
    for (size_t i = 0; i < stream_payloads; i++) {
        reply_free(m->payloads[i]);
        m->payloads[i] = NULL;
    }
    m->payload_count = 0;
}

static bool match_begin(match *m)
{
    forget_payloads(m);
    m->may_hold_expired = false;
    return side_begin(&m->left) && side_begin(&m->right);
}

/* ---- comparing -------------------------------------------------------------------------- */

static void sort_deeply(reply *r)
{
    for (size_t i = 0; i < r->count; i++)
        sort_deeply(&r->elements[i]);
    reply_sort(r);
}

static bool same_text(match *m, const reply *left, const reply *right)
{
    free(m->left.text);
    free(m->right.text);
    m->left.text = left ? reply_text(left) : strdup(conn_trouble(m->left.clients[0]));
    m->right.text = right ? reply_text(right) : strdup("(no reply)");
    return left && right && strcmp(m->left.text, m->right.text) == 0;
}

static bool both(const reply *left, const reply *right, char type)
{
    return left->type == type && right->type == type;
}

enum { payload_foot = 10, packed_at_least = 20, packed = 0xc3 };

static bool is_packed(const reply *r)
{
    return r->len > packed_at_least && (unsigned char)r->text[1] == packed;
}

/* Two strings of which at least one is packed. */
static bool hold_the_same(const reply *left, const reply *right)
{
    char *one = NULL, *other = NULL;
    kv_slice value, its_value;
    bool same = (is_packed(left) || is_packed(right)) &&
                payload_decode(kv_slice_of(left->text, left->len), &value, &one, NULL) == 0 &&
                payload_decode(kv_slice_of(right->text, right->len), &its_value, &other, NULL) == 0 &&
                kv_slice_equal(value, its_value);

    free(one);
    free(other);
    return same;
}

/* How replies that came over the stream compare; left and right are not NULL. */
static bool alike(match *m, const step *s, reply *left, kv_slice left_raw, reply *right, kv_slice right_raw)
{
    bool same = same_text(m, left, right);

    switch (s->how) {
    case COMPARE_TIME:
        if (both(left, right, ':') && left->integer > 0 && right->integer > 0)
            return llabs(left->integer - right->integer) <= s->tolerance;
        break;
    case COMPARE_SET:
        reply_sort(left);
        reply_sort(right);
        return same_text(m, left, right);
    case COMPARE_DEEP:
        sort_deeply(left);
        sort_deeply(right);
        return same_text(m, left, right);
    case COMPARE_KEYS:
        if (m->may_hold_expired)
            return both(left, right, ':');
        break;
    case COMPARE_TYPE:
        return left->type == right->type;
    case COMPARE_DUMP:
        if (both(left, right, '$') && hold_the_same(left, right))
            return true;
        break;
    default:
        break;
    }
    return same && kv_slice_equal(left_raw, right_raw);
}

/* ---- payloads --------------------------------------------------------------------------- */

/* Takes over what one of the two has replied, in turns, when it is a payload. */
static void remember_payload(match *m, const step *s, reply **left, reply **right)
{
    reply **place = &m->payloads[m->payload_count % stream_payloads],
          **from = m->payload_count % 2 ? right : left;

    if (s->how != COMPARE_DUMP || (*from)->type != '$' || (*from)->len <= payload_foot)
        return;
    reply_free(*place);
    *place = *from;
    *from = NULL;
    m->payload_count++;
}

static void sign(char *bytes, size_t len)
{
    uint64_t crc = crc64(0, bytes, len - 8);

    for (size_t i = 0; i < 8; i++)
        bytes[len - 8 + i] = (char)(crc >> 8 * i);
}

/* bytes have room for one more; returns how many they are. */
static size_t change_payload(const step *s, char *bytes, size_t len)
{
    size_t lacking = len;

    switch (s->change) {
    case PAYLOAD_FLIP:
        bytes[s->where / 8 % len] ^= (char)(1 << s->where % 8);
        return len;
    case PAYLOAD_CUT:
        return s->where % len;
    case PAYLOAD_GROW:
        bytes[len] = (char)s->where;
        return len + 1;
    case PAYLOAD_SHORTER:
        if (len <= 2 * payload_foot + 2) /* Redis would read on, into the version */
            return 0;
        lacking = payload_foot + 1 + s->where % (len - 2 * payload_foot - 2);
        memmove(bytes + len - payload_foot - lacking, bytes + len - payload_foot, payload_foot);
        sign(bytes, len - lacking);
        return len - lacking;
    case PAYLOAD_NEWER:
        bytes[len - payload_foot] = (char)(20 + s->where % 200);
        sign(bytes, len);
        return len;
    default:
        return len;
    }
}

/* Gives s the payload that it asks for, if there is one. */
static void put_payload(const match *m, step *s)
{
    const reply *from = m->payloads[s->which];
    char *bytes;

    if (!s->payload || !from)
        return;
    bytes = malloc(from->len + 1);
    if (!bytes)
        abort();
    memcpy(bytes, from->text, from->len);
    free((char *)s->argv[s->payload].data);
    s->argv[s->payload] = kv_slice_of(bytes, change_payload(s, bytes, from->len));
}

/* ---- steps that are more than one request ----------------------------------------------- */

/* The whole iteration, sorted, as one array; an error as itself. NULL: the connection broke. */
static reply *scan_all(conn *c, const step *s)
{
    kv_slice argv[16];
    reply *all = calloc(1, sizeof *all), *page = NULL;
    char cursor[32] = "0";

    if (!all)
        abort();
    all->type = '*';
    memcpy(argv, s->argv, (s->argc < 16 ? s->argc : 16) * sizeof *argv);
    do {
        reply_free(page);
        argv[1] = kv_str(cursor);
        page = conn_ask(c, s->argc, argv);
        if (!page || page->type != '*' || page->count != 2 || page->elements[0].len >= sizeof cursor) {
            reply_free(all);
            return page;
        }
        strcpy(cursor, page->elements[0].text);
        for (size_t i = 0; i < page->elements[1].count; i++) {
            all->elements = realloc(all->elements, (all->count + 1) * sizeof *all->elements);
            if (!all->elements)
                abort();
            all->elements[all->count++] = page->elements[1].elements[i];
        }
        page->elements[1].count = 0; /* they moved */
    } while (strcmp(cursor, "0") != 0);
    reply_free(page);
    reply_sort(all);
    return all;
}

static bool key_exists(conn *c, const reply *key)
{
    kv_slice argv[] = { KV_STR("EXISTS"), kv_slice_of(key->text, key->len) };
    reply *r = conn_ask(c, 2, argv);
    bool yes = r && r->type == ':' && r->integer == 1;

    reply_free(r);
    return yes;
}

static outcome run_special(match *m, const step *s)
{
    conn *l = m->left.clients[s->client], *r = m->right.clients[s->client];
    reply *left = s->how == COMPARE_SCAN ? scan_all(l, s) : conn_ask(l, s->argc, s->argv);
    reply *right = s->how == COMPARE_SCAN ? scan_all(r, s) : conn_ask(r, s->argc, s->argv);
    bool same = same_text(m, left, right);

    if (s->how == COMPARE_RANDOM && left && right && both(left, right, '$'))
        same = key_exists(l, left) && key_exists(r, right);
    reply_free(left);
    reply_free(right);
    m->compared++;
    return same ? SAME : left ? DIFFERENT : BROKEN;
}

/* ---- running ---------------------------------------------------------------------------- */

static bool is_special(const step *s)
{
    return s->how == COMPARE_SCAN || s->how == COMPARE_RANDOM;
}

static bool send_steps(conn *c, step *const steps[], size_t n)
{
    char *all = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&all, &size);
    bool sent;

    if (!out)
        abort();
    for (size_t i = 0; i < n; i++) {
        size_t len;
        char *bytes = request_bytes(steps[i]->argc, steps[i]->argv, &len);

        fwrite(bytes, 1, len, out);
        free(bytes);
    }
    fclose(out);
    sent = conn_send(c, kv_slice_of(all, size));
    free(all);
    return sent;
}

static outcome compare_next(match *m, const step *s)
{
    kv_slice left_raw, right_raw;
    reply *left = conn_read_raw(m->left.clients[s->client], &left_raw);
    reply *right = conn_read_raw(m->right.clients[s->client], &right_raw);
    outcome is = BROKEN;

    if (s->leaves_expired)
        m->may_hold_expired = true;
    if (s->clears)
        m->may_hold_expired = false;
    if (left && right)
        is = alike(m, s, left, left_raw, right, right_raw) ? SAME : DIFFERENT;
    else if (left)
        is = same_text(m, left, NULL) ? SAME : DIFFERENT;
    if (left && !right) {
        free(m->right.text);
        m->right.text = strdup(conn_trouble(m->right.clients[s->client]));
    }
    if (is == SAME)
        remember_payload(m, s, &left, &right);
    reply_free(left);
    reply_free(right);
    m->compared++;
    return is;
}

/* Runs the steps from the beginning; *ret_at is where it stopped. */
static outcome run(match *m, step *const steps[], size_t count, size_t *ret_at)
{
    size_t i = 0;

    if (!match_begin(m))
        return BROKEN;
    while (i < count) {
        size_t n = 1;
        outcome is = SAME;

        if (is_special(steps[i])) {
            is = run_special(m, steps[i]);
        } else {
            while (i + n < count && n < pipeline_max && steps[i + n]->pipelined &&
                   !is_special(steps[i + n]) && steps[i + n]->client == steps[i]->client)
                n++;
            for (size_t k = 0; k < n; k++)
                put_payload(m, steps[i + k]);
            if (!send_steps(m->left.clients[steps[i]->client], steps + i, n))
                return BROKEN;
            if (!send_steps(m->right.clients[steps[i]->client], steps + i, n))
                is = DIFFERENT;
        }
        for (size_t k = 0; k < n; k++) {
            if (!is_special(steps[i]))
                is = compare_next(m, steps[i + k]);
            if (is != SAME) {
                *ret_at = i + k;
                return is;
            }
        }
        i += n;
    }
    return SAME;
}

/* ---- shrinking -------------------------------------------------------------------------- */

/* Leaves out steps of failing[0 .. *count), whose last one differs, while it differs in the same way. */
static void shrink(match *m, step **failing, size_t *count)
{
    char *left = strdup(m->left.text), *right = strdup(m->right.text);
    step **trial = malloc(*count * sizeof *trial);
    time_t until = time(NULL) + shrink_seconds;

    if (!left || !right || !trial)
        abort();
    for (size_t part = (*count + 1) / 2; part && time(NULL) < until; part = part == 1 ? 0 : (part + 1) / 2) {
        for (size_t from = 0; from + 1 < *count && time(NULL) < until;) {
            size_t to = from + part < *count - 1 ? from + part : *count - 1, n = *count - (to - from), at = 0;

            memcpy(trial, failing, from * sizeof *trial);
            memcpy(trial + from, failing + to, (*count - to) * sizeof *trial);
            if (run(m, trial, n, &at) == DIFFERENT && at == n - 1 && strcmp(m->left.text, left) == 0 &&
                strcmp(m->right.text, right) == 0) {
                memcpy(failing, trial, n * sizeof *trial);
                *count = n;
            } else {
                from = to;
            }
        }
    }
    free(m->left.text);
    free(m->right.text);
    m->left.text = left;
    m->right.text = right;
    free(trial);
}

static void print_step(const step *s)
{
    printf("  %d>", s->client);
    for (size_t i = 0; i < s->argc; i++) {
        printf(" \"");
        for (size_t n = 0; n < s->argv[i].len; n++) {
            unsigned char byte = (unsigned char)s->argv[i].data[n];

            if (byte < ' ' || byte > '~' || byte == '"' || byte == '\\')
                printf("\\x%02x", byte);
            else
                putchar(byte);
        }
        putchar('"');
    }
    putchar('\n');
}

static void report(match *m, step *const steps[], size_t at)
{
    step **failing = malloc((at + 1) * sizeof *failing);
    size_t count = at + 1;

    if (!failing)
        abort();
    memcpy(failing, steps, count * sizeof *failing);
    printf("different after %zu commands; shrinking\n", m->compared);
    shrink(m, failing, &count);
    printf("%zu commands (odd clients speak RESP3):\n", count);
    for (size_t i = 0; i < count; i++)
        print_step(failing[i]);
    printf("%s: %.2000s\n%s: %.2000s\n", m->left.name, m->left.text, m->right.name, m->right.text);
    free(failing);
}

/* ---- main ------------------------------------------------------------------------------- */

typedef struct options {
    uint64_t seed;
    size_t commands;
    const char *left, *right;
    const char *server_options[16]; /* for the right one */
    size_t server_options_count;
} options;

static bool read_option(options *o, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0)
        o->seed = strtoull(value, NULL, 0);
    else if (strcmp(name, "--commands") == 0)
        o->commands = strtoull(value, NULL, 0);
    else if (strcmp(name, "--left") == 0)
        o->left = value;
    else if (strcmp(name, "--right") == 0)
        o->right = value;
    else if (strcmp(name, "--option") == 0 && o->server_options_count < 15)
        o->server_options[o->server_options_count++] = value;
    else
        return false;
    return true;
}

static bool read_options(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !read_option(o, argv[i], argv[i + 1]))
            return false;
    return true;
}

static bool side_open(side *s, const char *name, const char *const server_options[])
{
    s->name = name;
    s->server = side_start(name, server_options);
    return s->server != NULL;
}

/* The stream in parts, each from an empty server, so that a long run shrinks as fast as a short one. */
static outcome run_parts(match *m, const options *o)
{
    for (size_t done = 0; done < o->commands; done += part_size) {
        size_t count = o->commands - done < part_size ? o->commands - done : part_size, at = 0;
        stream *s = stream_new(o->seed + done / part_size, count);
        step **steps = malloc(count * sizeof *steps);
        outcome is;

        if (!steps)
            abort();
        for (size_t i = 0; i < count; i++)
            steps[i] = &s->steps[i];
        is = run(m, steps, count, &at);
        if (is == DIFFERENT) {
            printf("seed %llu\n", (unsigned long long)(o->seed + done / part_size));
            report(m, steps, at);
        } else if (is == BROKEN) {
            printf("seed %llu: %s broke off\n", (unsigned long long)(o->seed + done / part_size),
                   m->left.name);
        }
        free(steps);
        stream_free(s);
        if (is != SAME)
            return is;
    }
    return SAME;
}

int main(int argc, char **argv)
{
    options o = {
        .seed = (uint64_t)time(NULL), .commands = 200000, .left = "redis-server", .right = "kvserver"
    };
    match m = { .compared = 0 };
    outcome is;
    bool stopped;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr,
                "usage: %s [--seed n] [--commands n] [--left program] [--right program] "
                "[--option server-option] ...\n",
                argv[0]);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)o.seed);
    if (!side_open(&m.left, o.left, NULL) || !side_open(&m.right, o.right, o.server_options))
        return 2;
    is = run_parts(&m, &o);
    if (is == SAME)
        printf("%zu replies, all the same\n", m.compared);
    forget_payloads(&m);
    side_end(&m.left);
    side_end(&m.right);
    stopped = server_stop(m.left.server);
    stopped = server_stop(m.right.server) && stopped;
    return is == SAME && stopped ? 0 : is == DIFFERENT ? 1 : 2;
}
