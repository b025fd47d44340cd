/* linear.c - the check "linear": operations of all kinds on single keys, judged by their histories.
 *
 * An object is of one kind: a register, a counter, one that is compared and set, one that is appended to, one of
 * everything, or one with deadlines. Its values tell which operation wrote them, so that what is read points to one write.
 * Compare-and-set is done with IFEQ and IFVER where the server has them, and with WATCH; the comparison is with
 * what was seen last, so that several connections want to replace the same value at the same time.
 *
 * SPDX-License-Identifier: MIT */
#include "object.h"
#include "parts.h"

#include <stdlib.h>
#include <string.h>

typedef enum kind {
    KIND_REGISTER,
    KIND_COUNTER,
    KIND_SWAP,
    KIND_APPEND,
    KIND_MIXED,
    KIND_DEADLINE,
    KINDS
} kind;

#define DEADLINE_MIN_MS 5
#define DEADLINE_MAX_MS 60

/* ---- the commands ----------------------------------------------------------------------- */

static void ask_read(object *o, lane *l, op_kind k, const char *name, form f)
{
    if (object_ask(o, l, k, f, NULL))
        object_command(o, l, name);
}

static void ask_get(object *o, lane *l)
{
    if (worker_knows(l->worker, USE_GETV) && o->kind == KIND_SWAP && worker_chance(l->worker, 50))
        ask_read(o, l, OP_GETV, "GETV", FORM_VERSION);
    else
        ask_read(o, l, OP_GET, "GET", FORM_VALUE);
}

/* The next operation, if the server knows its command; else NULL, and GET is asked instead. */
static op *ask_known(object *o, lane *l, command_used use, op_kind k, form f)
{
    if (worker_knows(l->worker, use))
        return object_ask(o, l, k, f, NULL);
    ask_get(o, l);
    return NULL;
}

static void ask_known_read(object *o, lane *l, command_used use, op_kind k, const char *name, form f)
{
    if (ask_known(o, l, use, k, f))
        object_command(o, l, name);
}

/* SET with a new value, unless the caller adds more words. */
static op *begin_set(object *o, lane *l, unsigned more_words)
{
    char text[24];
    size_t len = object_new_text(o, text);
    op *p = object_ask(o, l, OP_SET, FORM_STATUS, NULL);

    if (!p)
        return NULL;
    object_excerpt(o, text, len, &p->arg);
    object_begin(o, l, 3 + more_words, "SET");
    object_key(o, 0, &l->out);
    wire_arg(&l->out, text, len);
    return p;
}

static void ask_set(object *o, lane *l)
{
    begin_set(o, l, 0);
}

/* SET with further words, if the server knows that form; else NULL, and GET is asked instead. */
static op *begin_set_form(object *o, lane *l, command_used use, unsigned more_words)
{
    if (worker_knows(l->worker, use))
        return begin_set(o, l, more_words);
    ask_get(o, l);
    return NULL;
}

static void ask_set_nx(object *o, lane *l)
{
    char text[24];
    size_t len = object_new_text(o, text);
    op *p = ask_known(o, l, USE_SETNX, OP_SET, FORM_FLAG);

    if (!p)
        return;
    p->cond = COND_NX;
    object_excerpt(o, text, len, &p->arg);
    object_begin(o, l, 3, "SETNX");
    object_key(o, 0, &l->out);
    wire_arg(&l->out, text, len);
}

static void ask_set_xx(object *o, lane *l)
{
    op *p = begin_set_form(o, l, USE_SET_XX, 1);

    if (!p)
        return;
    p->cond = COND_XX;
    wire_text(&l->out, "XX");
}

static void ask_getset(object *o, lane *l)
{
    char text[24];
    size_t len = object_new_text(o, text);
    op *p = ask_known(o, l, USE_GETSET, OP_SET, FORM_VALUE);

    if (!p)
        return;
    p->give_old = true;
    object_excerpt(o, text, len, &p->arg);
    object_begin(o, l, 3, "GETSET");
    object_key(o, 0, &l->out);
    wire_arg(&l->out, text, len);
}

static void ask_add(object *o, lane *l)
{
    static const char *const names[] = { "INCR", "DECR", "INCRBY", "DECRBY" };
    static const command_used uses[] = { USE_INCR, USE_DECR, USE_INCRBY, USE_DECRBY };
    unsigned which = worker_random(l->worker, 4);
    int64_t by = which < 2 ? 1 : 1 + worker_random(l->worker, 100);
    op *p = ask_known(o, l, uses[which], OP_ADD, FORM_NUMBER);

    if (!p)
        return;
    p->number = which & 1 ? -by : by;
    object_begin(o, l, which < 2 ? 2 : 3, names[which]);
    object_key(o, 0, &l->out);
    if (which >= 2)
        wire_number(&l->out, by);
}

static void ask_append(object *o, lane *l)
{
    char text[24];
    size_t len;
    op *p = ask_known(o, l, USE_APPEND, OP_APPEND, FORM_NUMBER);

    if (!p)
        return;
    len = value_print(o->history.count, text);
    text[len++] = ',';
    object_excerpt(o, text, len, &p->arg);
    object_begin(o, l, 3, "APPEND");
    object_key(o, 0, &l->out);
    wire_arg(&l->out, text, len);
}

static void ask_del(object *o, lane *l)
{
    ask_known_read(o, l, USE_DEL, OP_DEL, "DEL", FORM_NUMBER);
}

static void ask_getdel(object *o, lane *l)
{
    ask_known_read(o, l, USE_GETDEL, OP_GETDEL, "GETDEL", FORM_VALUE);
}

static void ask_look(object *o, lane *l)
{
    if (worker_chance(l->worker, 50))
        ask_known_read(o, l, USE_STRLEN, OP_STRLEN, "STRLEN", FORM_NUMBER);
    else
        ask_known_read(o, l, USE_EXISTS, OP_EXISTS, "EXISTS", FORM_NUMBER);
}

/* ---- compare and set -------------------------------------------------------------------- */

static void ask_ifeq(object *o, lane *l)
{
    op *p = begin_set_form(o, l, USE_SET_IFEQ, 2);

    if (!p)
        return;
    p->cond = COND_IFEQ;
    object_excerpt(o, o->last, o->last_len, &p->expect);
    wire_text(&l->out, "IFEQ");
    wire_arg(&l->out, o->last, o->last_len);
}

static void ask_ifver(object *o, lane *l)
{
    op *p = begin_set_form(o, l, USE_GETV, 2);

    if (!p)
        return;
    p->cond = COND_IFVER;
    p->version = o->last_version;
    wire_text(&l->out, "IFVER");
    wire_number(&l->out, o->last_version);
}

/* WATCH and GET have been answered: MULTI, SET, EXEC, which is a SET on the condition that the value is that. */
static void watched(lane *l, const call *c, const reply *r)
{
    object *o = c->object;
    char text[24];
    size_t len = object_new_text(o, text);
    call *exec;
    op *p = NULL;

    l->watching = false;
    if (r && (r->type == REPLY_IS_STRING || r->type == REPLY_IS_NIL) && !o->closing)
        p = object_ask(o, l, OP_SET, FORM_EXEC_OKS, &exec);
    if (p) {
        p->cond = r->type == REPLY_IS_NIL ? COND_NX : COND_IFEQ;
        if (r->type == REPLY_IS_STRING)
            object_excerpt(o, r->text, r->len, &p->expect);
        object_excerpt(o, text, len, &p->arg);
        exec->steps = 2;
        wire_command(&l->out, 1);
        wire_text(&l->out, "MULTI");
        object_begin(o, l, 3, "SET");
        object_key(o, 0, &l->out);
        wire_arg(&l->out, text, len);
        wire_command(&l->out, 1);
        wire_text(&l->out, "EXEC");
    } else if (r) {
        worker_tidy(l);
        wire_command(&l->out, 1);
        wire_text(&l->out, "UNWATCH");
    }
    object_release(o, l);
}

static void ask_watch(object *o, lane *l)
{
    call *c;

    worker_tidy(l);
    if (lane_watch(l, 1, object_store(o)))
        object_key(o, 0, &l->out);
    c = lane_call(l, watched);
    c->object = o;
    object_command(o, l, "GET");
    object_hold(o);
    l->watching = true;
}

static void ask_swap(object *o, lane *l)
{
    worker *w = l->worker;
    bool ifeq = worker_knows(w, USE_SET_IFEQ);

    if (w->run->target.transactions && !l->watching && worker_chance(w, ifeq ? 20 : 50))
        ask_watch(o, l);
    else if (worker_chance(w, ifeq ? 20 : 70))
        ask_set_nx(o, l);
    else if (worker_knows(w, USE_GETV) && o->last_version && worker_chance(w, 50))
        ask_ifver(o, l);
    else if (ifeq && o->last_present)
        ask_ifeq(o, l);
    else
        ask_getset(o, l);
}

/* ---- deadlines -------------------------------------------------------------------------- */

static int64_t some_ms(lane *l)
{
    return DEADLINE_MIN_MS + worker_random(l->worker, DEADLINE_MAX_MS - DEADLINE_MIN_MS);
}

static void ask_set_px(object *o, lane *l)
{
    op *p = begin_set_form(o, l, USE_SET_PX, 2);

    if (!p)
        return;
    p->number = some_ms(l);
    wire_text(&l->out, "PX");
    wire_number(&l->out, p->number);
}

static void ask_expire(object *o, lane *l)
{
    op *p = ask_known(o, l, USE_PEXPIRE, OP_EXPIRE, FORM_NUMBER);

    if (!p)
        return;
    p->number = some_ms(l);
    object_begin(o, l, 3, "PEXPIRE");
    object_key(o, 0, &l->out);
    wire_number(&l->out, p->number);
}

static void ask_keep_ttl(object *o, lane *l)
{
    op *p = begin_set_form(o, l, USE_SET_KEEPTTL, 1);

    if (!p)
        return;
    p->keep_ttl = true;
    wire_text(&l->out, "KEEPTTL");
}

static void ask_deadline(object *o, lane *l)
{
    unsigned at = worker_random(l->worker, 100);

    o->not_before = l->worker->now + worker_random(l->worker, 3000) * NS_PER_US;
    if (at < 20)
        ask_set_px(o, l);
    else if (at < 30)
        ask_expire(o, l);
    else if (at < 35)
        ask_known_read(o, l, USE_PERSIST, OP_PERSIST, "PERSIST", FORM_NUMBER);
    else if (at < 42)
        ask_add(o, l);
    else if (at < 47)
        ask_set_nx(o, l);
    else if (at < 50)
        ask_keep_ttl(o, l);
    else if (at < 53)
        ask_set(o, l);
    else if (at < 60)
        ask_known_read(o, l, USE_PTTL, OP_PTTL, "PTTL", FORM_NUMBER);
    else if (at < 65)
        ask_look(o, l);
    else
        ask_get(o, l);
}

/* ---- which command ---------------------------------------------------------------------- */

static void ask_register(object *o, lane *l)
{
    unsigned at = worker_random(l->worker, 100);

    if (at < 45)
        ask_get(o, l);
    else if (at < 75)
        ask_set(o, l);
    else if (at < 80)
        ask_getset(o, l);
    else if (at < 85)
        ask_del(o, l);
    else if (at < 89)
        ask_getdel(o, l);
    else if (at < 94)
        ask_set_nx(o, l);
    else if (at < 96)
        ask_set_xx(o, l);
    else
        ask_look(o, l);
}

static void ask_counter(object *o, lane *l)
{
    unsigned at = worker_random(l->worker, 100);

    if (at < 68)
        ask_add(o, l);
    else if (at < 96)
        ask_get(o, l);
    else if (at < 98)
        ask_getset(o, l);
    else
        ask_del(o, l);
}

static void ask_to_swap(object *o, lane *l)
{
    unsigned at = worker_random(l->worker, 100);

    if (at < 65)
        ask_swap(o, l);
    else if (at < 95)
        ask_get(o, l);
    else if (at < 98)
        ask_set(o, l);
    else
        ask_del(o, l);
}

static void ask_appended(object *o, lane *l)
{
    unsigned at = worker_random(l->worker, 100);

    if (at < 50)
        ask_append(o, l);
    else if (at < 88)
        ask_get(o, l);
    else if (at < 96)
        ask_look(o, l);
    else if (at < 98)
        ask_del(o, l);
    else
        ask_getdel(o, l);
}

static void ask_mixed(object *o, lane *l)
{
    switch (worker_random(l->worker, 4)) {
    case 0:
        ask_counter(o, l);
        break;
    case 1:
        ask_to_swap(o, l);
        break;
    default:
        ask_register(o, l);
    }
}

static bool issue(worker *w, lane *l)
{
    static void (*const ask[KINDS])(object * o, lane * l) = {
        [KIND_REGISTER] = ask_register, [KIND_COUNTER] = ask_counter, [KIND_SWAP] = ask_to_swap,
        [KIND_APPEND] = ask_appended,   [KIND_MIXED] = ask_mixed,     [KIND_DEADLINE] = ask_deadline,
    };
    object *o = pool_pick(w->states[PART_LINEAR]);

    if (!o || (o->kind == KIND_DEADLINE && !l->clock_after))
        return false;
    ask[o->kind](o, l);
    return true;
}

/* ---- life ------------------------------------------------------------------------------- */

static void renew(object *o)
{
    static const kind often[] = { KIND_REGISTER, KIND_REGISTER, KIND_COUNTER, KIND_COUNTER,
                                  KIND_SWAP,     KIND_SWAP,     KIND_APPEND,  KIND_MIXED };
    pool *p = o->pool;
    bool crash = atomic_load(&p->worker->run->phase) == PHASE_CRASH;

    o->kind = (uint8_t)often[worker_random(p->worker, sizeof often / sizeof *often)];
    /* One in eight places, and never the first and most popular, is for keys with deadlines, which take their time. */
    if (!crash && (o - p->objects) % 8 == 7)
        o->kind = KIND_DEADLINE;
    if (o->kind == KIND_DEADLINE)
        o->history.slack_ns = (int64_t)p->worker->run->options->slack_ms * NS_PER_MS;
}

static void read_again(object *o, lane *l)
{
    ask_read(o, l, OP_GET, "GET", FORM_VALUE);
}

static int begin(worker *w)
{
    unsigned count = (unsigned)(w->run->options->keys / 16 / w->run->options->threads);
    pool *p = malloc(sizeof *p);

    w->states[PART_LINEAR] = p;
    return p ? pool_init(p, w, CHECK_LINEAR, 'k', count < 4 ? 4 : count, renew, read_again) : -1;
}

static bool finish(worker *w)
{
    return pool_finish(w->states[PART_LINEAR]);
}

static void end(worker *w)
{
    pool_done(w->states[PART_LINEAR]);
    free(w->states[PART_LINEAR]);
}

const part PART_OF_LINEAR = {
    .check = CHECK_LINEAR, .weight = 30, .begin = begin, .issue = issue, .finish = finish, .end = end
};
