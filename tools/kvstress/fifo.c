/* fifo.c - the check "fifo": a connection's pipeline is executed, and answered, in its order.
 *
 * Each connection (and the one that follows it when it is closed on purpose) has keys of its own, which nobody else uses, and tells every reply beforehand: a counter, a register,
 * a token that the server only sends back, a transaction of all. A reply that is another's, that comes too early or is
 * missing shifts all that follow, which cannot be overlooked. A transaction that watches such a key must succeed,
 * because nobody changed it.
 *
 * SPDX-License-Identifier: MIT */
#include "parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum ask_kind {
    ASK_PING,
    ASK_ECHO,
    ASK_INCR,
    ASK_SET,
    ASK_GET,    /* expects items[0], present in items[1] */
    ASK_GETSET, /* the same */
    ASK_DEL,
    ASK_EXEC,
} ask_kind;

static const char *const NAMES[] = {
    "PING", "ECHO", "INCR c", "SET n", "GET n", "GETSET n", "DEL n", "EXEC"
};

/* What the names of this connection's keys begin with; of the module's key, too, since nobody else may change it. */
static void make_store(const lane *l, char out[64])
{
    snprintf(out, 64, "%sf%u.%u.%u", l->worker->run->prefix, l->worker->index,
             (unsigned)(l - l->worker->lanes), l->fifo.generation);
}

static void put_name(lane *l, char letter)
{
    char store[64], name[72];

    make_store(l, store);
    wire_arg(&l->out, name, (size_t)snprintf(name, sizeof name, "%s.%c", store, letter));
}

static size_t make_token(const lane *l, int64_t number, char out[48])
{
    return (size_t)snprintf(out, 48, "%" PRIu32 ":%" PRId64, l->process, number);
}

/* ---- being answered --------------------------------------------------------------------- */

static bool is_number(const reply *r, int64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, number);

    return r->type == REPLY_IS_STRING && r->len == (size_t)len && memcmp(r->text, text, r->len) == 0;
}

static bool as_expected(const lane *l, const call *c, const reply *r)
{
    char token[48];
    int64_t expected = (int64_t)c->items[0];
    bool present = c->items[1];

    switch ((ask_kind)c->kind) {
    case ASK_PING:
        return reply_is_status(r, "PONG");
    case ASK_ECHO:
        return r->type == REPLY_IS_STRING && r->len == make_token(l, expected, token) &&
               memcmp(r->text, token, r->len) == 0;
    case ASK_INCR:
    case ASK_DEL:
        return r->type == REPLY_IS_INTEGER && r->integer == expected;
    case ASK_SET:
        return reply_is_status(r, "OK");
    case ASK_GET:
    case ASK_GETSET:
        return present ? is_number(r, expected) : r->type == REPLY_IS_NIL;
    default: /* EXEC of SET n, INCR c, GET n */
        return r->type == REPLY_IS_ARRAY && r->count == 3 && reply_is_status(r->elements[0], "OK") &&
               r->elements[1]->type == REPLY_IS_INTEGER && r->elements[1]->integer == expected &&
               is_number(r->elements[2], (int64_t)c->items[2]);
    }
}

static void print_expected(const lane *l, unsigned kind, int64_t expected, bool present, char out[64])
{
    switch ((ask_kind)kind) {
    case ASK_PING:
        strcpy(out, "PONG");
        break;
    case ASK_ECHO:
        make_token(l, expected, out);
        break;
    case ASK_SET:
        strcpy(out, "OK");
        break;
    case ASK_EXEC:
        snprintf(out, 64, "[OK %" PRId64 " ...]", expected);
        break;
    default:
        if (present)
            snprintf(out, 64, "%" PRId64, expected);
        else
            strcpy(out, "nil");
    }
}

static void accuse(lane *l, const call *c, const reply *r)
{
    lane_fifo *own = &l->fifo;
    unsigned kept = sizeof own->recent / sizeof *own->recent;
    char *shown = NULL, expected[64];
    size_t size;
    FILE *out = open_memstream(&shown, &size);
    evidence e;

    if (!out)
        return;
    reply_print(r, out);
    fclose(out);
    evidence_init(&e, "fifo", "connection %u is not answered in the order in which it asked", l->process);
    for (unsigned i = own->recent_count < kept ? 0 : own->recent_count - kept; i < own->recent_count; i++) {
        print_expected(l, own->recent[i % kept].kind, own->recent[i % kept].expected, true, expected);
        evidence_row(&e, l->process, own->recent[i % kept].call, own->recent[i % kept].ret,
                     NAMES[own->recent[i % kept].kind], expected);
    }
    evidence_row(&e, l->process, c->sent, l->worker->now, NAMES[c->kind], shown)->guilty = true;
    print_expected(l, c->kind, (int64_t)c->items[0],
                   c->kind != ASK_GET && c->kind != ASK_GETSET ? true : c->items[1], expected);
    snprintf(e.note, sizeof e.note, "No other connection uses these keys. Expected: %s.", expected);
    run_violation(l->worker->run, &e);
    free(shown);
}

/* New keys: what the old ones hold is not known any more. */
static void begin_anew(lane *l)
{
    l->fifo.generation++;
    l->fifo.counter = l->fifo.number = 0;
    l->fifo.present = false;
}

static void answered(lane *l, const call *c, const reply *r)
{
    lane_fifo *own = &l->fifo;
    unsigned at = own->recent_count % (sizeof own->recent / sizeof *own->recent);

    if (c->small != own->generation)
        return;
    if (!r || r->type == REPLY_IS_ERROR) {
        begin_anew(l);
        return;
    }
    worker_checked(l->worker, CHECK_FIFO);
    if (!as_expected(l, c, r)) {
        accuse(l, c, r);
        begin_anew(l);
        return;
    }
    own->recent[at].kind = c->kind;
    own->recent[at].expected = (int64_t)c->items[0];
    own->recent[at].call = c->sent;
    own->recent[at].ret = l->worker->now;
    own->recent_count++;
}

/* ---- asking ----------------------------------------------------------------------------- */

static call *ask(lane *l, ask_kind kind, int64_t expected, bool present)
{
    call *c = lane_call(l, answered);

    c->kind = (uint8_t)kind;
    c->small = l->fifo.generation;
    c->items[0] = (uint64_t)expected;
    c->items[1] = present;
    return c;
}

static void put(lane *l, const char *name, char key, unsigned more_words)
{
    char store[64];

    make_store(l, store);
    lane_command(l, 2 + more_words, name, store);
    put_name(l, key);
}

static void put_word(lane *l, const char *name)
{
    wire_command(&l->out, 1);
    wire_text(&l->out, name);
}

static void ask_exec(lane *l)
{
    lane_fifo *own = &l->fifo;
    char store[64];
    call *c;

    worker_tidy(l);
    make_store(l, store);
    if (lane_watch(l, 1, store))
        put_name(l, 'n');
    c = ask(l, ASK_EXEC, ++own->counter, true);
    c->steps = 4;
    c->items[2] = (uint64_t)++own->number;
    own->present = true;
    put_word(l, "MULTI");
    put(l, "SET", 'n', 1);
    wire_number(&l->out, own->number);
    put(l, "INCR", 'c', 0);
    put(l, "GET", 'n', 0);
    put_word(l, "EXEC");
}

static ask_kind choose(worker *w)
{
    ask_kind k = (ask_kind)worker_random(w, ASK_DEL + 1);

    if ((k == ASK_ECHO && !worker_knows(w, USE_ECHO)) || (k == ASK_INCR && !worker_knows(w, USE_INCR)) ||
        (k == ASK_GETSET && !worker_knows(w, USE_GETSET)) || (k == ASK_DEL && !worker_knows(w, USE_DEL)))
        return worker_chance(w, 50) ? ASK_GET : ASK_SET;
    return k;
}

static void ask_one(lane *l)
{
    lane_fifo *own = &l->fifo;
    char token[48];

    switch (choose(l->worker)) {
    case ASK_PING:
        ask(l, ASK_PING, 0, true);
        put_word(l, "PING");
        break;
    case ASK_ECHO:
        ask(l, ASK_ECHO, ++own->sent, true);
        wire_command(&l->out, 2);
        wire_text(&l->out, "ECHO");
        wire_arg(&l->out, token, make_token(l, own->sent, token));
        break;
    case ASK_INCR:
        ask(l, ASK_INCR, ++own->counter, true);
        put(l, "INCR", 'c', 0);
        break;
    case ASK_SET:
        ask(l, ASK_SET, ++own->number, true);
        own->present = true;
        put(l, "SET", 'n', 1);
        wire_number(&l->out, own->number);
        break;
    case ASK_GETSET:
        ask(l, ASK_GETSET, own->number, own->present);
        own->number++;
        own->present = true;
        put(l, "GETSET", 'n', 1);
        wire_number(&l->out, own->number);
        break;
    case ASK_DEL:
        ask(l, ASK_DEL, own->present, true);
        own->present = false;
        put(l, "DEL", 'n', 0);
        break;
    default:
        ask(l, ASK_GET, own->number, own->present);
        put(l, "GET", 'n', 0);
    }
}

/* Two to six at a time. */
static bool issue(worker *w, lane *l)
{
    unsigned count = 2 + worker_random(w, 5);

    if (w->run->target.transactions && worker_knows(w, USE_INCR) && !l->watching && worker_chance(w, 15)) {
        ask_exec(l);
        return true;
    }
    while (count-- && lane_open_calls(l) < l->depth)
        ask_one(l);
    return true;
}

static int begin(worker *w)
{
    w->states[PART_FIFO] = w;
    return 0;
}

static bool finish(worker *w)
{
    for (unsigned i = 0; i < w->data_lanes; i++) {
        lane *l = &w->lanes[i];

        if (l->state != LANE_OPEN || !worker_knows(w, USE_DEL))
            continue;
        worker_tidy(l);
        put(l, "DEL", 'n', 1);
        put_name(l, 'c');
    }
    return true;
}

static void end(worker *w)
{
    (void)w;
}

const part PART_OF_FIFO = {
    .check = CHECK_FIFO, .weight = 6, .begin = begin, .issue = issue, .finish = finish, .end = end
};
