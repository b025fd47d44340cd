/* shrink.c - see shrink.h.
 *
 * A write cannot simply be left out: a read of what it wrote would then look like a violation, though it is none.
 * What may be done without making a violation of what is none:
 *
 *  1. The end is cut off: what returns after a certain time is of unknown outcome, what begins after it is gone.
 *  2. A read is left out, or a write whose reply tells that it changed nothing.
 *  3. A write is weakened: it may have happened at any time, or never, with any reply. If what remains is a violation
 *     even so, the write makes no difference and need not be shown.
 *  4. The beginning of a bank's history is cut off at a time when nothing was under way: transfers add up to the
 *     same balances in whatever order.
 *  5. A bank is looked at through one or two of its accounts: what happened to those alone must be linearizable, too.
 *
 * The search for the end is by bisection (the beginnings of a linearizable history are linearizable); then each
 * operation is tried in turn, twice. A try that the checker cannot decide within a small budget is not made.
 *
 * SPDX-License-Identifier: MIT */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET 50000u
#define PASSES 2

static const excerpt UNSEEN = { .value = { .hash = UINT64_MAX, .len = 0 } };

static bool violates(checker *c, const history *h)
{
    return checker_run(c, h, BUDGET) == VERDICT_VIOLATION;
}

static void forget_outcome(op *o)
{
    o->ret = HISTORY_OPEN;
    o->reply = REPLY_UNKNOWN;
}

/* ---- the end and the beginning ---------------------------------------------------------- */

static void cut_end(const history *from, int64_t end, history *to)
{
    to->count = 0;
    for (unsigned i = 0; i < from->count; i++) {
        op o = from->ops[i];

        if (o.call > end)
            continue;
        if (o.ret > end) {
            if (op_is_read(&o))
                continue;
            forget_outcome(&o);
        }
        to->ops[to->count++] = o;
    }
}

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return a < b ? -1 : a > b;
}

static int find_end(checker *c, const history *from, history *to)
{
    int64_t *ends = malloc((from->count + 1) * sizeof *ends);
    unsigned low = 0, high = 0;

    if (!ends)
        return -1;
    for (unsigned i = 0; i < from->count; i++)
        if (from->ops[i].ret != HISTORY_OPEN)
            ends[high++] = from->ops[i].ret;
    qsort(ends, high, sizeof *ends, compare_times);
    if (high)
        high--;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        cut_end(from, ends[middle], to);
        if (violates(c, to))
            high = middle;
        else
            low = middle + 1;
    }
    cut_end(from, ends[high], to);
    free(ends);
    return 0;
}

/* The last time before which every operation had returned, and after which some were called; or INT64_MIN. */
static int64_t last_pause(const history *h, int64_t before)
{
    int64_t best = INT64_MIN;

    for (unsigned i = 0; i < h->count; i++) {
        int64_t at = h->ops[i].ret;
        bool crossed = at >= before;

        for (unsigned j = 0; j < h->count && !crossed; j++)
            crossed = h->ops[j].call <= at && h->ops[j].ret > at;
        if (!crossed && at > best)
            best = at;
    }
    return best;
}

static void cut_beginning(checker *c, history *h)
{
    history part = *h;
    unsigned kept = 0;
    int64_t pause = INT64_MAX;

    part.ops = malloc((h->count + 1) * sizeof *part.ops);
    if (!part.ops)
        return;
    do {
        pause = last_pause(h, pause);
        cut_end(h, pause, &part);
    } while (pause != INT64_MIN && checker_run(c, &part, BUDGET) != VERDICT_OK);
    free(part.ops);
    if (pause == INT64_MIN)
        return;
    memcpy(h->initial, checker_state(c)->balances, sizeof h->initial);
    for (unsigned i = 0; i < h->count; i++)
        if (h->ops[i].call > pause)
            h->ops[kept++] = h->ops[i];
    h->count = kept;
}

/* ---- some accounts of a bank ------------------------------------------------------------ */

/* The number of account a among those of the mask, or -1. */
static int renumber(unsigned mask, unsigned a)
{
    return mask >> a & 1 ? __builtin_popcount(mask & ((1u << a) - 1)) : -1;
}

/* A transfer of which only one side is looked at. */
static void halve_move(op *o, int a, int b)
{
    op half = *o;

    half.kind = OP_ADD_AT;
    half.number = a >= 0 ? -o->number : o->number;
    half.a = (uint8_t)(a >= 0 ? a : b);
    half.reply = o->reply == REPLY_LIST ? REPLY_NUMBER : o->reply;
    half.reply_number = o->list[a >= 0 ? 0 : 1];
    *o = half;
}

/* What the operation did to the accounts of the mask; false: nothing. */
static bool look_through(op *o, unsigned mask, unsigned accounts)
{
    int a = renumber(mask, o->a), b = renumber(mask, o->b);

    switch ((op_kind)o->kind) {
    case OP_READ:
        for (unsigned from = 0, to = 0; from < accounts; from++)
            if (mask >> from & 1)
                o->list[to++] = o->list[from];
        return true;
    case OP_READ_AT:
    case OP_ADD_AT:
        o->a = (uint8_t)a;
        return a >= 0;
    case OP_MOVE:
    case OP_PUT:
        if (a < 0 && b < 0)
            return false;
        if (o->kind == OP_MOVE && (a < 0 || b < 0)) {
            halve_move(o, a, b);
            return true;
        }
        if (b < 0)
            memcpy(&o->list[2], &o->list[0], 2 * sizeof o->list[0]);
        if (a < 0)
            memcpy(&o->list[0], &o->list[2], 2 * sizeof o->list[0]);
        o->a = (uint8_t)(a < 0 ? b : a);
        o->b = (uint8_t)(b < 0 ? a : b);
        return true;
    default:
        return false;
    }
}

static void project(const history *from, unsigned mask, history *to)
{
    to->accounts = (unsigned)__builtin_popcount(mask);
    to->count = 0;
    for (unsigned i = 0, kept = 0; i < from->accounts; i++)
        if (mask >> i & 1)
            to->initial[kept++] = from->initial[i];
    for (unsigned i = 0; i < from->count; i++) {
        op o = from->ops[i];

        if (look_through(&o, mask, from->accounts))
            to->ops[to->count++] = o;
    }
}

/* The fewest accounts, one or two, that show it; else all. */
static unsigned find_accounts(checker *c, const history *from, history *to)
{
    unsigned all = (1u << from->accounts) - 1;

    for (unsigned size = 1; size <= 2; size++)
        for (unsigned mask = 1; mask < all; mask++) {
            if ((unsigned)__builtin_popcount(mask) != size)
                continue;
            project(from, mask, to);
            if (violates(c, to))
                return mask;
        }
    project(from, all, to);
    return all;
}

/* ---- each operation --------------------------------------------------------------------- */

/* Whether o's reply, or its condition, tells that it found v. */
static bool sees(const op *o, value v)
{
    if (o->kind == OP_ADD && o->reply == REPLY_NUMBER)
        return v.is_number && v.number == o->reply_number - o->number;
    return (o->reply == REPLY_VALUE && value_equal(o->seen.value, v)) ||
           (o->cond == COND_IFEQ && value_equal(o->expect.value, v));
}

static bool is_seen(const history *h, value v)
{
    for (unsigned i = 0; i < h->count; i++)
        if (!h->ops[i].any_time && sees(&h->ops[i], v))
            return true;
    return false;
}

/* Writes of what nobody sees are as good as one another. */
static void merge_unseen(history *h)
{
    for (unsigned i = 0; i < h->count; i++) {
        op *o = &h->ops[i];

        if (h->model == MODEL_KEY && o->any_time && o->kind == OP_SET && o->cond == COND_NONE &&
            !is_seen(h, o->arg.value))
            o->arg = UNSEEN;
    }
}

static void weaken(op *o)
{
    forget_outcome(o);
    o->any_time = true;
}

/* Weakens or removes what makes no difference. tried is memory to try it in. */
static void try_each(checker *c, history *h, history *tried)
{
    for (unsigned i = h->count; i-- > 0;) {
        if (h->ops[i].any_time)
            continue;
        memcpy(tried->ops, h->ops, h->count * sizeof *h->ops);
        memcpy(tried->initial, h->initial, sizeof h->initial);
        tried->count = h->count;
        if (op_changed_nothing(&h->ops[i])) {
            memmove(&tried->ops[i], &tried->ops[i + 1], (h->count - i - 1) * sizeof *h->ops);
            tried->count--;
        } else {
            weaken(&tried->ops[i]);
            merge_unseen(tried);
        }
        if (!violates(c, tried))
            continue;
        memcpy(h->ops, tried->ops, tried->count * sizeof *h->ops);
        h->count = tried->count;
    }
}

/* The result: what was not weakened, and the writes of what that has seen, as they were. */
static void drop_weakened(const history *original, history *h)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < h->count; i++) {
        op o = h->ops[i];

        if (o.any_time) {
            for (unsigned j = 0; j < original->count; j++)
                if (original->ops[j].id == o.id)
                    o = original->ops[j];
            if (h->model != MODEL_KEY || o.kind != OP_SET || !is_seen(h, o.arg.value))
                continue;
        }
        h->ops[kept++] = o;
    }
    h->count = kept;
}

/* The steps, on *ret, which begins as the whole history; base and tried are memory of the same size. */
static int make_small(checker *c, history *ret, history *base, history *tried, unsigned *accounts)
{
    bool bank = ret->model == MODEL_BANK;

    if (bank) {
        *accounts = find_accounts(c, ret, base);
        ret->accounts = tried->accounts = base->accounts;
        memcpy(ret->initial, base->initial, sizeof base->initial);
    }
    if (find_end(c, base, ret))
        return -1;
    if (!violates(c, ret)) /* only if the budget is too small for it */
        cut_end(base, HISTORY_OPEN, ret);
    if (bank)
        cut_beginning(c, ret);
    memcpy(base->ops, ret->ops, ret->count * sizeof *ret->ops);
    base->count = ret->count;
    for (int pass = 0; pass < PASSES; pass++)
        try_each(c, ret, tried);
    drop_weakened(base, ret);
    return 0;
}

int shrink(checker *c, const history *h, history *ret, unsigned *ret_accounts)
{
    history base, tried;
    unsigned accounts = (1u << h->accounts) - 1;
    int err = -1;

    if (history_copy(ret, h))
        return -1;
    for (unsigned i = 0; i < h->count; i++)
        ret->ops[i].id = i;
    if (history_copy(&base, ret)) {
        history_done(ret);
        return -1;
    }
    if (history_copy(&tried, ret) == 0) {
        err = make_small(c, ret, &base, &tried, &accounts);
        history_done(&tried);
    }
    history_done(&base);
    if (err)
        history_done(ret);
    else if (ret_accounts)
        *ret_accounts = accounts;
    return err;
}
