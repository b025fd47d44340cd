/* push_oracle.c - the same random conversation of several clients with redis-server and with kvserver: subscriptions, messages,
 * keyspace notifications, client-side caching and transactions. What each client is sent must be the same, byte by byte.
 *
 *     push_oracle [--seed n] [--steps n] [--right program] [--events-apart yes] [--option server-option ...]
 *
 * Four clients of each server, two of which begin in RESP2 and two in RESP3. A step is one request of one client; after it
 * every client, but those who are in a transaction, sends PING with a word of its own, and what it reads up to the answer is what the
 * step has sent to it: replies and pushes, in their order. Client ids, which differ, are written as "id0" ... "id3" in steps.
 *
 * One message that several patterns match comes once for each, in an order that redis-server leaves to chance: those are
 * sorted. Messages and invalidations are compared each by itself, together with the replies, since how the two mix is no promise.
 * (In RESP2 they look alike: there, those of one step are sorted, too.)
 *
 * With --events-apart, keyspace events are compared among themselves: a state thread (--sharing actor) tells of them on a way of its
 * own, so that they come before or after the replies, as it happens.
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

#include "push_side.h"

enum { part_steps = 400, shrink_seconds = 60 };

typedef enum outcome { SAME, DIFFERENT, BROKEN } outcome;

typedef struct match {
    push_side left, right;
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
            if ((i == what->client && step_is(what, "HELLO")) || kv_slice_equal(left, right))
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
    if (!push_side_begin(&m->left) || !push_side_begin(&m->right))
        return BROKEN;
    for (size_t i = 0; i < count; i++) {
        bool left = push_side_step(&m->left, steps[i], (unsigned)i);
        bool right = push_side_step(&m->right, steps[i], (unsigned)i);
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
    bool apart;
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
        else if (strcmp(argv[i], "--events-apart") == 0)
            o->apart = strcmp(argv[i + 1], "yes") == 0;
        else if (strcmp(argv[i], "--right") == 0)
            o->right = argv[i + 1];
        else if (strcmp(argv[i], "--option") == 0 && o->server_options_count < 15)
            o->server_options[o->server_options_count++] = argv[i + 1];
        else
            return false;
    }
    return true;
}

/* In parts, each from an empty server. */
static outcome run_parts(match *m, const options *o)
{
    static step steps[part_steps];
    const step *order[part_steps];

    for (size_t done = 0; done < o->steps; done += part_steps) {
        size_t at = 0;
        outcome is;

        push_plan_draw(o->seed + done / part_steps, o->apart, steps, part_steps);
        for (int i = 0; i < part_steps; i++)
            order[i] = &steps[i];
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
        fprintf(stderr,
                "usage: %s [--seed n] [--steps n] [--right program] [--events-apart yes] [--option "
                "server-option] ...\n",
                argv[0]);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)o.seed);
    if (!push_side_open(&m.left, "redis-server", NULL) ||
        !push_side_open(&m.right, o.right, o.server_options))
        return 2;
    m.left.events_apart = m.right.events_apart = o.apart;
    is = run_parts(&m, &o);
    if (is == SAME)
        printf("%zu times somebody was sent something, always the same\n", m.compared);
    push_side_end(&m.left);
    push_side_end(&m.right);
    stopped = server_stop(m.left.server);
    stopped = server_stop(m.right.server) && stopped;
    return is == SAME && stopped ? 0 : is == DIFFERENT ? 1 : 2;
}
