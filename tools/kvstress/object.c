/* object.c - see object.h. SPDX-License-Identifier: MIT */
#include "object.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "jury.h"
#include "parts.h"

#define UNKNOWN_MAX 3u /* operations of unknown outcome in a history: each doubles the work of the checker */
#define PARKED_MAX  4000u /* histories per worker and check that wait for a crash */
#define DROPPED     UINT8_MAX

/* ---- life ------------------------------------------------------------------------------- */

void object_renew(object *o)
{
    pool *p = o->pool;
    history h = o->history;
    char name[HISTORY_NAME_MAX + 1];

    memset(o, 0, sizeof *o);
    o->pool = p;
    o->serial = ++p->serials;
    o->keys = 1;
    o->ready = true;
    snprintf(name, sizeof name, "%s%c%u.%u", p->worker->run->prefix, p->letter, p->worker->index, o->serial);
    o->history = h;
    history_clear(&o->history);
    o->history.model = MODEL_KEY;
    o->history.accounts = 0;
    o->history.slack_ns = 0;
    memcpy(o->history.name, name, sizeof name);
    p->renew(o);
}

int pool_init(pool *p, worker *w, check_id check, char letter, unsigned count, void (*renew)(object *o),
              void (*read)(object *o, lane *l))
{
    *p =
        (pool){ .worker = w, .check = check, .letter = letter, .count = count, .renew = renew, .read = read };
    p->objects = calloc(count, sizeof *p->objects);
    if (!p->objects)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        p->objects[i].pool = p;
        object_renew(&p->objects[i]);
    }
    return 0;
}

void pool_done(pool *p)
{
    for (unsigned i = 0; i < p->count; i++)
        history_done(&p->objects[i].history);
    for (unsigned i = 0; i < p->parked_count; i++) {
        history_done(&p->parked[i]->history);
        free(p->parked[i]);
    }
    free(p->parked);
    free(p->objects);
}

static void out_of_memory(run *r)
{
    fault f;

    fault_set(&f, "out of memory");
    run_fail(r, &f);
}

static void hand_in(object *o, check_id check)
{
    history *h = &o->history;
    unsigned kept = 0;

    for (unsigned i = 0; i < h->count; i++)
        if (h->ops[i].kind != DROPPED)
            h->ops[kept++] = h->ops[i];
    h->count = kept;
    if (h->slack_ns)
        h->slack_ns += o->lag_ns;
    if (kept)
        jury_submit(o->pool->worker->run->jury, check, h);
}

/* Removes its keys from the server. */
static void remove_keys(const object *o, lane *l)
{
    if (!l || l->state != LANE_OPEN || !worker_knows(l->worker, USE_DEL))
        return;
    worker_tidy(l);
    object_begin(o, l, 1u + o->keys, "DEL");
    for (unsigned i = 0; i < o->keys; i++)
        object_key(o, i, &l->out);
}

/* Keeps a copy until the next crash: true. */
static bool park(object *o)
{
    pool *p = o->pool;
    object *copy;

    if (p->parked_count == PARKED_MAX)
        return false;
    if (p->parked_count == p->parked_room) {
        unsigned room = p->parked_room ? 2 * p->parked_room : 64;
        object **bigger = realloc(p->parked, room * sizeof *bigger);

        if (!bigger)
            return false;
        p->parked = bigger;
        p->parked_room = room;
    }
    copy = malloc(sizeof *copy);
    if (!copy)
        return false;
    *copy = *o;
    memset(&o->history, 0, sizeof o->history);
    p->parked[p->parked_count++] = copy;
    return true;
}

/* Nothing is under way on an object that is closing. */
static void complete(object *o, lane *l)
{
    phase now = atomic_load(&o->pool->worker->run->phase);

    if (now == PHASE_VERIFY || o->verified)
        return; /* parts_verified takes it */
    if (now == PHASE_CRASH && park(o)) {
        object_renew(o);
        return;
    }
    remove_keys(o, l);
    hand_in(o, o->pool->check);
    object_renew(o);
}

void object_hold(object *o)
{
    o->open++;
}

void object_release(object *o, lane *l)
{
    o->open--;
    if (o->closing && o->open == 0)
        complete(o, l);
}

bool pool_finish(pool *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        object *o = &p->objects[i];
        lane *l = worker_other_lane(p->worker, NULL);

        if (o->finished)
            continue;
        if (o->open || (!l && p->worker->open_calls))
            return false;
        remove_keys(o, l);
        hand_in(o, p->check);
        o->finished = true;
    }
    for (unsigned i = 0; i < p->parked_count; i++)
        hand_in(p->parked[i], p->check);
    return true;
}

/* ---- after a crash ---------------------------------------------------------------------- */

static bool verify_one(pool *p, object *o, lane *l)
{
    if (o->verified || o->open || !o->ready || o->history.count == 0)
        return false;
    o->verified = true;
    p->read(o, l);
    return true;
}

static bool verify_some(pool *p, lane *l)
{
    for (unsigned i = 0; i < p->count; i++)
        if (verify_one(p, &p->objects[i], l))
            return true;
    for (unsigned i = 0; i < p->parked_count; i++)
        if (verify_one(p, p->parked[i], l))
            return true;
    return false;
}

bool parts_verify(worker *w, lane *l)
{
    return (w->states[PART_LINEAR] && verify_some(w->states[PART_LINEAR], l)) ||
           (w->states[PART_MULTIKEY] && verify_some(w->states[PART_MULTIKEY], l));
}

static bool all_verified(const pool *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->objects[i].ready && p->objects[i].history.count && !p->objects[i].verified)
            return false;
    for (unsigned i = 0; i < p->parked_count; i++)
        if (!p->parked[i]->verified)
            return false;
    return true;
}

static void hand_all_in(pool *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        hand_in(&p->objects[i], CHECK_CRASH);
        object_renew(&p->objects[i]);
    }
    for (unsigned i = 0; i < p->parked_count; i++) {
        hand_in(p->parked[i], CHECK_CRASH);
        history_done(&p->parked[i]->history);
        free(p->parked[i]);
    }
    p->parked_count = 0;
}

bool parts_verified(worker *w)
{
    pool *pools[] = { w->states[PART_LINEAR], w->states[PART_MULTIKEY] };

    for (unsigned i = 0; i < 2; i++)
        if (pools[i] && !all_verified(pools[i]))
            return false;
    for (unsigned i = 0; i < 2; i++)
        if (pools[i])
            hand_all_in(pools[i]);
    return true;
}

/* ---- asking ----------------------------------------------------------------------------- */

object *pool_pick(pool *p)
{
    worker *w = p->worker;
    uint32_t at = run_pick(w->run, &w->random, p->count);

    for (unsigned tried = 0; tried < 8; tried++, at = (at + 1) % p->count) {
        object *o = &p->objects[at];

        if (o->ready && !o->closing && o->open < w->run->options->overlap && o->not_before <= w->now)
            return o;
    }
    return NULL;
}

void object_key(const object *o, unsigned i, wire *out)
{
    char name[HISTORY_NAME_MAX + 16];
    int len = o->keys > 1 ? snprintf(name, sizeof name, "%s.%u", o->history.name, i)
                          : snprintf(name, sizeof name, "%s", o->history.name);

    wire_arg(out, name, (size_t)len);
}

const char *object_store(const object *o)
{
    return run_store(o->pool->worker->run, o->history.name);
}

void object_begin(const object *o, lane *l, unsigned words, const char *name)
{
    lane_command(l, words, name, object_store(o));
}

void object_command(const object *o, lane *l, const char *name)
{
    object_begin(o, l, 2, name);
    object_key(o, 0, &l->out);
}

size_t object_new_text(const object *o, char out[24])
{
    return value_print(o->history.count + 1000, out);
}

void object_excerpt(object *o, const char *bytes, size_t len, excerpt *ret)
{
    if (history_text(&o->history, bytes, len, ret))
        out_of_memory(o->pool->worker->run);
}

/* ---- being answered --------------------------------------------------------------------- */

static bool take_text(object *o, op *p, const reply *r)
{
    p->reply = r->type == REPLY_IS_NIL ? REPLY_NIL : REPLY_VALUE;
    if (r->type == REPLY_IS_NIL) {
        o->last_present = false;
        return true;
    }
    if (r->type != REPLY_IS_STRING)
        return false;
    object_excerpt(o, r->text, r->len, &p->seen);
    o->last_present = r->len <= OBJECT_LAST;
    if (o->last_present) {
        memcpy(o->last, r->text, r->len);
        o->last_len = (uint8_t)r->len;
    }
    return true;
}

static bool take_integer(op *p, const reply *r)
{
    p->reply = REPLY_NUMBER;
    p->reply_number = r->integer;
    return r->type == REPLY_IS_INTEGER;
}

static bool same_reply(const reply *a, const reply *b)
{
    return a->type == b->type && a->len == b->len && (a->len == 0 || memcmp(a->text, b->text, a->len) == 0);
}

/* An array of what a group's members hold, which must be the same. */
static bool take_members(object *o, op *p, const reply *r)
{
    if (r->type != REPLY_IS_ARRAY || r->count != o->keys)
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (r->elements[i]->type != REPLY_IS_STRING && r->elements[i]->type != REPLY_IS_NIL)
            return false;
    for (size_t i = 1; i < r->count; i++)
        if (!same_reply(r->elements[0], r->elements[i])) {
            char *shown = NULL;
            size_t size = 0;
            FILE *out = open_memstream(&shown, &size);

            if (!out)
                return true;
            reply_print(r, out);
            fclose(out);
            p->reply = REPLY_TORN;
            object_excerpt(o, shown, size, &p->seen);
            free(shown);
            return true;
        }
    return take_text(o, p, r->elements[0]);
}

static bool take_count(object *o, op *p, const reply *r)
{
    p->reply = REPLY_NUMBER;
    p->reply_number = r->integer == o->keys ? 1 : r->integer; /* neither all nor none: no state gives it */
    if (r->integer == 1 && o->keys > 1)
        p->reply_number = -1;
    return r->type == REPLY_IS_INTEGER;
}

static bool take_version(object *o, op *p, const reply *r)
{
    if (r->type == REPLY_IS_NIL)
        return take_text(o, p, r);
    if (r->type != REPLY_IS_ARRAY || r->count < 2 || r->elements[1]->type != REPLY_IS_INTEGER)
        return false;
    p->reply_number = o->last_version = r->elements[1]->integer;
    return take_text(o, p, r->elements[0]);
}

static bool all_ok(const reply *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (!reply_is_status(r->elements[i], "OK"))
            return false;
    return r->type == REPLY_IS_ARRAY;
}

static bool take_balance(const reply *r, int64_t *ret)
{
    value v;

    if (r->type == REPLY_IS_INTEGER) {
        *ret = r->integer;
        return true;
    }
    if (r->type != REPLY_IS_STRING)
        return false;
    v = value_of(r->text, r->len);
    *ret = v.number;
    return v.is_number;
}

static bool take_list(object *o, op *p, const reply *r)
{
    unsigned n = p->kind == OP_READ ? o->keys : 2;

    p->reply = REPLY_LIST;
    if (r->type != REPLY_IS_ARRAY || r->count != n)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!take_balance(r->elements[i], &p->list[i]))
            p->list[i] = INT64_MIN; /* an account that is gone: no state gives it */
    return true;
}

static bool take_reply(object *o, op *p, form f, const reply *r)
{
    switch (f) {
    case FORM_VALUE:
        return take_text(o, p, r);
    case FORM_STATUS:
        p->reply = r->type == REPLY_IS_NIL ? REPLY_NIL : REPLY_OK;
        return r->type == REPLY_IS_NIL || reply_is_status(r, "OK");
    case FORM_FLAG:
        p->reply = r->integer ? REPLY_OK : REPLY_NIL;
        return r->type == REPLY_IS_INTEGER && (r->integer == 0 || r->integer == 1);
    case FORM_NUMBER:
        return take_integer(p, r);
    case FORM_VERSION:
        return take_version(o, p, r);
    case FORM_ALL:
    case FORM_EXEC_ALL:
        return take_members(o, p, r);
    case FORM_COUNT:
        return take_count(o, p, r);
    case FORM_EXEC_OKS:
        p->reply = REPLY_OK;
        if (r->type == REPLY_IS_NIL)
            p->kind = DROPPED;
        return r->type == REPLY_IS_NIL || all_ok(r);
    case FORM_BALANCE:
        p->reply = REPLY_NUMBER;
        if (!take_balance(r, &p->reply_number))
            p->reply_number = INT64_MIN;
        return r->type == REPLY_IS_STRING || r->type == REPLY_IS_NIL;
    default:
        return take_list(o, p, r);
    }
}

static void misfit(object *o, lane *l, const call *c, const reply *r)
{
    char *command = NULL;
    size_t size;
    FILE *out = open_memstream(&command, &size);

    if (!out)
        return;
    op_print_command(&o->history, &o->history.ops[c->a], out);
    fclose(out);
    worker_misfit(l, c, o->pool->check, command, r);
    free(command);
}

static void answered(lane *l, const call *c, const reply *r)
{
    object *o = c->object;
    worker *w = l->worker;
    op *p = &o->history.ops[c->a];

    if (!r) {
        if (op_is_read(p))
            p->kind = DROPPED;
        else if (++o->unknown > UNKNOWN_MAX && atomic_load(&w->run->phase) == PHASE_WORK)
            o->closing = true;
    } else if (r->type == REPLY_IS_ERROR) {
        p->kind = DROPPED;
    } else {
        p->ret = w->now;
        if (!take_reply(o, p, (form)c->kind, r)) {
            misfit(o, l, c, r);
            p->kind = DROPPED;
        }
        worker_checked(w, o->pool->check);
    }
    object_release(o, l);
}

op *object_ask(object *o, lane *l, op_kind kind, form f, call **ret_call)
{
    worker *w = l->worker;
    op *p = history_new_op(&o->history);
    call *c;

    if (!p) {
        out_of_memory(w->run);
        return NULL;
    }
    c = lane_call(l, answered);
    c->object = o;
    c->a = o->history.count - 1;
    c->kind = (uint8_t)f;
    p->kind = (uint8_t)kind;
    p->process = l->process;
    p->call = c->sent;
    p->ret = HISTORY_OPEN;
    o->open++;
    if (c->sent - l->clock_after > o->lag_ns)
        o->lag_ns = c->sent - l->clock_after;
    if (o->history.count >= w->run->options->history)
        o->closing = true;
    if (ret_call)
        *ret_call = c;
    return p;
}
