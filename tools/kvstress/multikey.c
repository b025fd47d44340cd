/* multikey.c - the check "multikey": what is done to several keys at once is done at once.
 *
 * A group is two to twenty keys that are only written together, with the same value: by MSET, by MULTI/EXEC, by MSETNX,
 * and by DEL of all. So it is one register, and its history that of one key; each read of one member is a read of
 * it, and a read of all whose members do not agree fits into no history. That also finds what no single MGET shows: the
 * new value in one member, and then the old one in another.
 *
 * A bank is two to six accounts, between which transactions move money: without conditions (DECRBY and INCRBY), or
 * with WATCH, as two SETs. Reads of all accounts must show what the transfers in some order left.
 *
 * SPDX-License-Identifier: MIT */
#include "object.h"
#include "parts.h"

#include <stdlib.h>
#include <string.h>

enum { KIND_GROUP, KIND_BANK };

#define OPENING_BALANCE 1000
#define GROUP_MAX       20u

static void put_word(lane *l, const char *name)
{
    wire_command(&l->out, 1);
    wire_text(&l->out, name);
}

static void put_all_keys(const object *o, lane *l, const char *name)
{
    object_begin(o, l, 1u + o->keys, name);
    for (unsigned i = 0; i < o->keys; i++)
        object_key(o, i, &l->out);
}

static void put_key(const object *o, unsigned i, lane *l, const char *name, unsigned more_words)
{
    object_begin(o, l, 2 + more_words, name);
    object_key(o, i, &l->out);
}

/* ---- groups ----------------------------------------------------------------------------- */

static void ask_mset(object *o, lane *l, bool nx)
{
    char text[24];
    size_t len = object_new_text(o, text);
    op *p = object_ask(o, l, OP_SET, nx ? FORM_FLAG : FORM_STATUS, NULL);

    if (!p)
        return;
    p->cond = nx ? COND_NX : COND_NONE;
    object_excerpt(o, text, len, &p->arg);
    object_begin(o, l, 1u + 2u * o->keys, nx ? "MSETNX" : "MSET");
    for (unsigned i = 0; i < o->keys; i++) {
        object_key(o, i, &l->out);
        wire_arg(&l->out, text, len);
    }
}

static void ask_exec_sets(object *o, lane *l)
{
    char text[24];
    size_t len = object_new_text(o, text);
    call *exec;
    op *p = object_ask(o, l, OP_SET, FORM_EXEC_OKS, &exec);

    if (!p)
        return;
    object_excerpt(o, text, len, &p->arg);
    exec->steps = 1u + o->keys;
    put_word(l, "MULTI");
    for (unsigned i = 0; i < o->keys; i++) {
        put_key(o, i, l, "SET", 1);
        wire_arg(&l->out, text, len);
    }
    put_word(l, "EXEC");
}

static void put_exec_gets(object *o, lane *l, call *exec)
{
    exec->steps = 1u + o->keys;
    put_word(l, "MULTI");
    for (unsigned i = 0; i < o->keys; i++)
        put_key(o, i, l, "GET", 0);
    put_word(l, "EXEC");
}

static void ask_mget(object *o, lane *l)
{
    if (object_ask(o, l, OP_GET, FORM_ALL, NULL))
        put_all_keys(o, l, "MGET");
}

static void ask_exec_gets(object *o, lane *l)
{
    call *exec;

    if (object_ask(o, l, OP_GET, FORM_EXEC_ALL, &exec))
        put_exec_gets(o, l, exec);
}

static void ask_member(object *o, lane *l)
{
    if (object_ask(o, l, OP_GET, FORM_VALUE, NULL))
        put_key(o, worker_random(l->worker, o->keys), l, "GET", 0);
}

static void ask_group(object *o, lane *l)
{
    worker *w = l->worker;
    unsigned at = worker_random(w, 100);
    bool transactions = w->run->target.transactions && !l->watching;

    if (at < 30)
        ask_mget(o, l);
    else if (at < 52)
        ask_member(o, l);
    else if (at < 62 && transactions)
        ask_exec_gets(o, l);
    else if (at < 78 && transactions)
        ask_exec_sets(o, l);
    else if (at < 82 && worker_knows(w, USE_MSETNX))
        ask_mset(o, l, true);
    else if (at < 86 && worker_knows(w, USE_DEL) && object_ask(o, l, OP_DEL, FORM_COUNT, NULL))
        put_all_keys(o, l, "DEL");
    else if (at < 88 && worker_knows(w, USE_EXISTS) && object_ask(o, l, OP_EXISTS, FORM_COUNT, NULL))
        put_all_keys(o, l, "EXISTS");
    else
        ask_mset(o, l, false);
}

/* ---- banks ------------------------------------------------------------------------------ */

/* Two different accounts. */
static void choose_two(object *o, lane *l, uint8_t *a, uint8_t *b)
{
    *a = (uint8_t)worker_random(l->worker, o->keys);
    *b = (uint8_t)((*a + 1 + worker_random(l->worker, o->keys - 1u)) % o->keys);
}

static void ask_move(object *o, lane *l)
{
    call *exec;
    op *p = object_ask(o, l, OP_MOVE, FORM_EXEC_MOVE, &exec);

    if (!p)
        return;
    choose_two(o, l, &p->a, &p->b);
    p->number = 1 + worker_random(l->worker, 50);
    exec->steps = 3;
    put_word(l, "MULTI");
    put_key(o, p->a, l, "DECRBY", 1);
    wire_number(&l->out, p->number);
    put_key(o, p->b, l, "INCRBY", 1);
    wire_number(&l->out, p->number);
    put_word(l, "EXEC");
}

static void put_transfer(object *o, lane *l, const op *p)
{
    put_word(l, "MULTI");
    put_key(o, p->a, l, "SET", 1);
    wire_number(&l->out, p->list[1]);
    put_key(o, p->b, l, "SET", 1);
    wire_number(&l->out, p->list[3]);
    put_word(l, "EXEC");
}

static bool take_two(const reply *r, int64_t *a, int64_t *b)
{
    value x, y;

    if (!r || r->type != REPLY_IS_ARRAY || r->count != 2 || r->elements[0]->type != REPLY_IS_STRING ||
        r->elements[1]->type != REPLY_IS_STRING)
        return false;
    x = value_of(r->elements[0]->text, r->elements[0]->len);
    y = value_of(r->elements[1]->text, r->elements[1]->len);
    *a = x.number;
    *b = y.number;
    return x.is_number && y.is_number;
}

/* WATCH and MGET of two accounts have been answered: writes both, if nobody did meanwhile. */
static void watched(lane *l, const call *c, const reply *r)
{
    object *o = c->object;
    int64_t a, b, amount = 1 + worker_random(l->worker, 50);
    call *exec;
    op *p = NULL;

    l->watching = false;
    if (take_two(r, &a, &b) && !o->closing)
        p = object_ask(o, l, OP_PUT, FORM_EXEC_OKS, &exec);
    if (p) {
        p->a = (uint8_t)c->a;
        p->b = (uint8_t)c->b;
        p->list[0] = a;
        p->list[1] = a - amount;
        p->list[2] = b;
        p->list[3] = b + amount;
        exec->steps = 3;
        put_transfer(o, l, p);
    } else if (r) {
        worker_tidy(l);
        put_word(l, "UNWATCH");
    }
    object_release(o, l);
}

static void ask_put(object *o, lane *l)
{
    uint8_t a, b;
    call *c;

    choose_two(o, l, &a, &b);
    worker_tidy(l);
    if (lane_watch(l, 2, object_store(o))) {
        object_key(o, a, &l->out);
        object_key(o, b, &l->out);
    }
    c = lane_call(l, watched);
    c->object = o;
    c->a = a;
    c->b = b;
    put_key(o, a, l, "MGET", 1);
    object_key(o, b, &l->out);
    object_hold(o);
    l->watching = true;
}

static void ask_add_at(object *o, lane *l)
{
    op *p = object_ask(o, l, OP_ADD_AT, FORM_NUMBER, NULL);

    if (!p)
        return;
    p->a = (uint8_t)worker_random(l->worker, o->keys);
    p->number = 1 + worker_random(l->worker, 50);
    put_key(o, p->a, l, "INCRBY", 1);
    wire_number(&l->out, p->number);
}

static void ask_balance(object *o, lane *l)
{
    op *p = object_ask(o, l, OP_READ_AT, FORM_BALANCE, NULL);

    if (!p)
        return;
    p->a = (uint8_t)worker_random(l->worker, o->keys);
    put_key(o, p->a, l, "GET", 0);
}

static void ask_balances(object *o, lane *l)
{
    call *exec;

    if (l->worker->run->target.transactions && !l->watching && worker_chance(l->worker, 30)) {
        if (object_ask(o, l, OP_READ, FORM_EXEC_LIST, &exec))
            put_exec_gets(o, l, exec);
    } else if (object_ask(o, l, OP_READ, FORM_LIST, NULL)) {
        put_all_keys(o, l, "MGET");
    }
}

static void ask_bank(object *o, lane *l)
{
    worker *w = l->worker;
    unsigned at = worker_random(w, 100);
    bool transactions = w->run->target.transactions && !l->watching;
    bool adds = worker_knows(w, USE_INCRBY), moves = adds && worker_knows(w, USE_DECRBY);

    if (at < 40)
        ask_balances(o, l);
    else if (at < 48)
        ask_balance(o, l);
    else if (at < 72 && transactions && moves)
        ask_move(o, l);
    else if (at < 92 && transactions)
        ask_put(o, l);
    else if (adds)
        ask_add_at(o, l);
    else
        ask_balance(o, l);
}

/* MSET of the first balances has been answered. */
static void funded(lane *l, const call *c, const reply *r)
{
    object *o = c->object;

    o->open--;
    if (r && reply_is_status(r, "OK"))
        o->ready = true;
    else
        object_renew(o);
    (void)l;
}

static void fund(object *o, lane *l)
{
    call *c = lane_call(l, funded);

    c->object = o;
    o->open++;
    object_begin(o, l, 1u + 2u * o->keys, "MSET");
    for (unsigned i = 0; i < o->keys; i++) {
        object_key(o, i, &l->out);
        wire_number(&l->out, OPENING_BALANCE);
    }
}

/* ---- both ------------------------------------------------------------------------------- */

static void renew(object *o)
{
    worker *w = o->pool->worker;

    o->kind = worker_chance(w, 40) ? KIND_BANK : KIND_GROUP;
    o->keys = (uint8_t)(2 + worker_random(w, 5));
    if (o->kind == KIND_GROUP && worker_chance(w, 25))
        o->keys = (uint8_t)(7 + worker_random(w, GROUP_MAX - 6));
    if (o->kind == KIND_GROUP)
        return;
    o->ready = false;
    o->history.model = MODEL_BANK;
    o->history.accounts = o->keys;
    for (unsigned i = 0; i < o->keys; i++)
        o->history.initial[i] = OPENING_BALANCE;
}

static bool issue(worker *w, lane *l)
{
    pool *p = w->states[PART_MULTIKEY];
    object *o = &p->objects[worker_random(w, p->count)];

    if (!o->ready && o->open == 0) {
        fund(o, l);
        return true;
    }
    o = pool_pick(p);
    if (!o)
        return false;
    if (o->kind == KIND_GROUP)
        ask_group(o, l);
    else
        ask_bank(o, l);
    return true;
}

static void read_again(object *o, lane *l)
{
    if (o->kind == KIND_GROUP)
        ask_mget(o, l);
    else if (object_ask(o, l, OP_READ, FORM_LIST, NULL))
        put_all_keys(o, l, "MGET");
}

static int begin(worker *w)
{
    unsigned count = (unsigned)(w->run->options->keys / 80 / w->run->options->threads);
    pool *p = malloc(sizeof *p);

    w->states[PART_MULTIKEY] = p;
    return p ? pool_init(p, w, CHECK_MULTIKEY, 'g', count < 4 ? 4 : count, renew, read_again) : -1;
}

static bool finish(worker *w)
{
    return pool_finish(w->states[PART_MULTIKEY]);
}

static void end(worker *w)
{
    pool_done(w->states[PART_MULTIKEY]);
    free(w->states[PART_MULTIKEY]);
}

const part PART_OF_MULTIKEY = {
    .check = CHECK_MULTIKEY, .weight = 20, .begin = begin, .issue = issue, .finish = finish, .end = end
};
