/* model.c - see model.h.
 *
 * A key with a deadline is the only thing here that changes by itself. Where a deadline lies exactly, only the
 * server knows: a key set to live for 50 ms by a call that began at t0 and returned at t1 ends at some time in
 * [t0 + 50 ms, t1 + 50 ms], widened by the slack of the server's clock. So an operation may find it there if it
 * was called before the end of that interval, and gone if it returned after its beginning: two steps are tried.
 * Having been found gone, it is absent for good.
 *
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#define NS_PER_MS INT64_C(1000000)

typedef struct steps {
    const history *history;
    const op *op;
    model_state *out;
    unsigned count;
} steps;

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;

    if (a == HISTORY_OPEN || __builtin_add_overflow(a, b, &sum))
        return b < 0 && a != HISTORY_OPEN ? INT64_MIN : INT64_MAX;
    return sum;
}

/* Begins another state that may follow: a copy of from. */
static model_state *follow(steps *s, const model_state *from)
{
    model_state *to = &s->out[s->count++];

    *to = *from;
    return to;
}

static void set_deadline(const steps *s, model_state *to, int64_t ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(ms, NS_PER_MS, &ns))
        ns = INT64_MAX;
    to->key.deadline_from = s->op->any_time ? INT64_MIN : plus(s->op->call, ns - s->history->slack_ns);
    to->key.deadline_to = plus(s->op->ret, plus(ns, s->history->slack_ns));
    if (to->key.deadline_from == INT64_MAX)
        to->key.deadline_from--; /* not never */
}

static void never_ends(model_state *to)
{
    to->key.deadline_from = to->key.deadline_to = INT64_MAX;
}

static void make_absent(model_state *to)
{
    int64_t version_max = to->key.version_max;

    memset(to, 0, sizeof *to);
    never_ends(to);
    to->key.version = -1;
    to->key.version_max = version_max;
}

static void make_value(model_state *to, value v)
{
    to->key.present = true;
    memset(&to->key.value, 0, sizeof to->key.value);
    to->key.value.hash = v.hash;
    to->key.value.len = v.len;
    to->key.value.number = v.number;
    to->key.value.is_number = v.is_number;
    to->key.version = -1;
}

/* ---- replies ---------------------------------------------------------------------------- */

static bool replied_value(const op *o, const model_state *state)
{
    if (o->reply == REPLY_UNKNOWN)
        return true;
    if (!state->key.present)
        return o->reply == REPLY_NIL;
    return o->reply == REPLY_VALUE && value_equal(o->seen.value, state->key.value);
}

static bool replied_number(const op *o, int64_t number)
{
    return o->reply == REPLY_UNKNOWN || (o->reply == REPLY_NUMBER && o->reply_number == number);
}

/* ---- commands of a key ------------------------------------------------------------------ */

static void step_read(steps *s, const model_state *state)
{
    if (replied_value(s->op, state))
        follow(s, state);
}

static void step_number(steps *s, const model_state *state, int64_t number)
{
    if (replied_number(s->op, number))
        follow(s, state);
}

/* Remaining ms, give or take what the clocks may differ. */
static void step_pttl(steps *s, const model_state *state)
{
    const op *o = s->op;
    int64_t least, most;

    if (!state->key.present || state->key.deadline_from == INT64_MAX) {
        step_number(s, state, state->key.present ? -1 : -2);
        return;
    }
    least = plus(state->key.deadline_from, -o->ret) / NS_PER_MS - 1;
    most = plus(state->key.deadline_to, -o->call) / NS_PER_MS + 1;
    if (o->reply == REPLY_UNKNOWN ||
        (o->reply == REPLY_NUMBER && o->reply_number >= least && o->reply_number <= most))
        follow(s, state);
}

static void step_getv(steps *s, const model_state *state)
{
    const op *o = s->op;
    model_state *to;

    if (!replied_value(o, state))
        return;
    if (!state->key.present || o->reply == REPLY_UNKNOWN) {
        follow(s, state);
        return;
    }
    if (state->key.version < 0 ? o->reply_number <= state->key.version_max
                               : o->reply_number != state->key.version)
        return;
    to = follow(s, state);
    to->key.version = o->reply_number;
    if (o->reply_number > to->key.version_max)
        to->key.version_max = o->reply_number;
}

/* Whether the condition holds: 1, 0, or -1 when it may or may not. */
static int holds(const op *o, const model_state *state)
{
    switch ((op_cond)o->cond) {
    case COND_NX:
        return !state->key.present;
    case COND_XX:
        return state->key.present;
    case COND_IFEQ:
        return state->key.present && value_equal(o->expect.value, state->key.value);
    case COND_IFVER:
        if (!state->key.present)
            return 0;
        if (state->key.version >= 0)
            return o->version == state->key.version;
        return o->version > state->key.version_max ? -1 : 0;
    default:
        return 1;
    }
}

static void set_value(steps *s, const model_state *state)
{
    const op *o = s->op;
    model_state *to = follow(s, state);

    if (o->cond == COND_IFVER && o->version > to->key.version_max)
        to->key.version_max = o->version;
    make_value(to, o->arg.value);
    if (!o->keep_ttl)
        never_ends(to);
    if (o->number)
        set_deadline(s, to, o->number);
}

static void step_set(steps *s, const model_state *state)
{
    const op *o = s->op;
    int held = holds(o, state);
    bool known = o->reply != REPLY_UNKNOWN;

    if (o->give_old && !replied_value(o, state))
        return;
    if (held != 0 && (o->give_old || !known || o->reply == REPLY_OK))
        set_value(s, state);
    if (held != 1 && (o->give_old || !known || o->reply == REPLY_NIL))
        follow(s, state);
}

static void step_del(steps *s, const model_state *state)
{
    bool held = state->key.present && holds(s->op, state) == 1;

    if (!replied_number(s->op, held))
        return;
    model_state *to = follow(s, state);

    if (held)
        make_absent(to);
}

static void step_getdel(steps *s, const model_state *state)
{
    if (replied_value(s->op, state))
        make_absent(follow(s, state));
}

static void step_add(steps *s, const model_state *state)
{
    int64_t old = state->key.present ? state->key.value.number : 0, sum;

    if (state->key.present && !state->key.value.is_number)
        return; /* an error, which would not be in the history */
    if (__builtin_add_overflow(old, s->op->number, &sum) || !replied_number(s->op, sum))
        return;
    make_value(follow(s, state), value_of_number(sum));
}

static void step_append(steps *s, const model_state *state)
{
    value joined = s->op->arg.value;

    if (state->key.present)
        joined = value_joined(state->key.value, joined);
    if (replied_number(s->op, joined.len))
        make_value(follow(s, state), joined);
}

static void step_expire(steps *s, const model_state *state)
{
    model_state *to;

    if (!replied_number(s->op, state->key.present))
        return;
    to = follow(s, state);
    if (state->key.present)
        set_deadline(s, to, s->op->number);
}

static void step_persist(steps *s, const model_state *state)
{
    bool had = state->key.present && state->key.deadline_from != INT64_MAX;

    if (replied_number(s->op, had))
        never_ends(follow(s, state));
}

/* The operation on a key that is as state says, deadlines apart. */
static void step_key(steps *s, const model_state *state)
{
    switch ((op_kind)s->op->kind) {
    case OP_GET:
        step_read(s, state);
        break;
    case OP_SET:
        step_set(s, state);
        break;
    case OP_DEL:
        step_del(s, state);
        break;
    case OP_GETDEL:
        step_getdel(s, state);
        break;
    case OP_ADD:
        step_add(s, state);
        break;
    case OP_APPEND:
        step_append(s, state);
        break;
    case OP_STRLEN:
        step_number(s, state, state->key.present ? state->key.value.len : 0);
        break;
    case OP_EXISTS:
        step_number(s, state, state->key.present);
        break;
    case OP_EXPIRE:
        step_expire(s, state);
        break;
    case OP_PERSIST:
        step_persist(s, state);
        break;
    case OP_PTTL:
        step_pttl(s, state);
        break;
    case OP_GETV:
        step_getv(s, state);
        break;
    default:
        break; /* not an operation of a key */
    }
}

static void step_key_in_time(steps *s, const model_state *state)
{
    if (s->op->reply == REPLY_TORN)
        return;
    if (!state->key.present || state->key.deadline_from == INT64_MAX) {
        step_key(s, state);
        return;
    }
    if (s->op->any_time || s->op->call <= state->key.deadline_to)
        step_key(s, state);
    if (s->op->ret >= state->key.deadline_from) {
        model_state gone = *state;

        make_absent(&gone);
        step_key(s, &gone);
    }
}

/* ---- the bank --------------------------------------------------------------------------- */

static bool replied_list(const op *o, const int64_t balances[], unsigned n)
{
    return o->reply == REPLY_UNKNOWN ||
           (o->reply == REPLY_LIST && memcmp(o->list, balances, n * sizeof *balances) == 0);
}

static void step_move(steps *s, const model_state *state)
{
    const op *o = s->op;
    int64_t two[2] = { state->balances[o->a] - o->number, state->balances[o->b] + o->number };
    model_state *to;

    if (!replied_list(o, two, 2))
        return;
    to = follow(s, state);
    to->balances[o->a] = two[0];
    to->balances[o->b] = two[1];
}

static void step_put(steps *s, const model_state *state)
{
    const op *o = s->op;
    bool held = state->balances[o->a] == o->list[0] && state->balances[o->b] == o->list[2];
    model_state *to;

    if (!held && o->reply != REPLY_UNKNOWN)
        return;
    to = follow(s, state);
    if (held) {
        to->balances[o->a] = o->list[1];
        to->balances[o->b] = o->list[3];
    }
}

static void step_bank(steps *s, const model_state *state)
{
    const op *o = s->op;

    switch ((op_kind)o->kind) {
    case OP_MOVE:
        step_move(s, state);
        break;
    case OP_PUT:
        step_put(s, state);
        break;
    case OP_ADD_AT:
        if (replied_number(o, state->balances[o->a] + o->number))
            follow(s, state)->balances[o->a] += o->number;
        break;
    case OP_READ:
        if (replied_list(o, state->balances, s->history->accounts))
            follow(s, state);
        break;
    case OP_READ_AT:
        if (replied_number(o, state->balances[o->a]))
            follow(s, state);
        break;
    default:
        break; /* not an operation of a bank */
    }
}

/* ---- both ------------------------------------------------------------------------------- */

void model_begin(const history *h, model_state *state)
{
    memset(state, 0, sizeof *state);
    if (h->model == MODEL_BANK) {
        memcpy(state->balances, h->initial, sizeof state->balances);
        return;
    }
    never_ends(state);
    state->key.version = state->key.version_max = -1;
}

unsigned model_step(const history *h, const op *o, const model_state *state, model_state out[MODEL_BRANCHES])
{
    steps s = { .history = h, .op = o, .out = out };

    if (h->model == MODEL_BANK)
        step_bank(&s, state);
    else
        step_key_in_time(&s, state);
    return s.count;
}
