/* checker.c - see checker.h.
 *
 *     timeline    call 0, call 1, return 0, call 2, return 2, return 1      a doubly linked list, by time
 *     candidates  the calls before the first return
 *
 * Depth first: a candidate that the model allows is linearized, which means that its call and its return are
 * lifted out of the list (O(1), and O(1) to put them back), and the search begins again at the head. When a return
 * is met, no candidate is left, and the last choice is taken back. An empty list of returns is success.
 *
 *  1. A configuration is the set of operations linearized so far and the state they lead to. What follows depends
 *     on nothing else, so none is explored twice (Lowe): the cache holds those that were entered.
 *  2. An operation of which the reply tells that it changed nothing (a read, a condition that did not hold) is
 *     linearized for good as soon as it is a candidate that fits: any order that has it later is as good with it
 *     now. So only writes are tried in more than one order, and what reads add to the search is linear.
 *  3. Operations of one process happen in their order: one whose predecessor is still in the list is no candidate.
 *  4. An operation of unknown outcome has a call and no return: it may be linearized, and need not be. Those after
 *     it in its process do not wait for it.
 *  5. Operations of unknown outcome that do the same thing are interchangeable; they are linearized in the order
 *     of their calls only, which leaves n of 2^n sets. (The shrinker makes many of them.)
 *
 * Rejected: a graph of partial orders in memory, as Knossos' linear: more memory, and slower where histories are
 * short and of little concurrency, as ours are made to be.
 *
 * Cost: n + (configurations) steps of about 100 ns; exponential in the number of concurrent writes at worst.
 *
 * SPDX-License-Identifier: MIT */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Node 2 * i is the call of operation i, 2 * i + 1 its return; the last node is the list's head. */
typedef struct node {
    uint32_t next, before;
} node;

typedef struct frame {
    model_state state; /* before the operation */
    uint32_t op;
    uint8_t branch; /* the next one to try */
    bool final;     /* of invariant 2: there is nothing else to try */
} frame;

/* A configuration in the cache; its set and state are in the checker's store. */
typedef struct slot {
    uint64_t hash;
    uint32_t run; /* of which run: older ones are empty */
    uint32_t index;
} slot;

struct checker {
    const history *history;
    size_t budget, steps;
    uint32_t run;
    bool no_memory;

    node *nodes;
    uint32_t *order;   /* nodes by time, while the list is made */
    uint32_t *after;   /* the operation that must come first, or NONE */
    uint64_t *weights; /* of the operations, for the hash of a set */
    uint64_t *done;    /* the set of linearized operations, a bit each */
    frame *frames;
    uint32_t room, head, depth, returns;
    uint64_t set_hash;
    model_state state;

    slot *slots;
    size_t slot_count; /* a power of two */
    char *entries;     /* sets and states */
    size_t entry_size, entry_count, entry_room, set_words;
};

checker *checker_new(void)
{
    return calloc(1, sizeof(checker));
}

void checker_free(checker *c)
{
    if (!c)
        return;
    free(c->nodes);
    free(c->order);
    free(c->after);
    free(c->weights);
    free(c->done);
    free(c->frames);
    free(c->slots);
    free(c->entries);
    free(c);
}

const model_state *checker_state(const checker *c)
{
    return &c->state;
}

size_t checker_steps(const checker *c)
{
    return c->steps;
}

/* ---- the cache -------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9; /* splitmix64 (Steele, Lea, Flood 2014) */
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t hash_configuration(const checker *c, const model_state *state)
{
    uint64_t words[sizeof *state / 8], hash = c->set_hash;

    memcpy(words, state, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15 + (hash >> 29);
    return mix(hash);
}

static bool grow_slots(checker *c)
{
    size_t count = c->slot_count ? 4 * c->slot_count : 1024;
    slot *bigger = calloc(count, sizeof *bigger);

    if (!bigger)
        return false;
    for (size_t i = 0; i < c->slot_count; i++) {
        size_t at = c->slots[i].hash & (count - 1);

        if (c->slots[i].run != c->run)
            continue;
        while (bigger[at].run)
            at = (at + 1) & (count - 1);
        bigger[at] = c->slots[i];
    }
    free(c->slots);
    c->slots = bigger;
    c->slot_count = count;
    return true;
}

static bool grow_entries(checker *c)
{
    size_t room = c->entry_room ? 2 * c->entry_room : 65536;
    char *bigger = realloc(c->entries, room);

    if (!bigger)
        return false;
    c->entries = bigger;
    c->entry_room = room;
    return true;
}

static bool same_configuration(const checker *c, const slot *s, uint64_t hash, const model_state *state)
{
    const char *entry = c->entries + s->index * c->entry_size;

    return s->hash == hash && memcmp(entry, c->done, c->set_words * 8) == 0 &&
           memcmp(entry + c->set_words * 8, state, sizeof *state) == 0;
}

/* Whether the configuration is new; then it is remembered. */
static bool remember(checker *c, const model_state *state)
{
    uint64_t hash = hash_configuration(c, state);
    size_t at;

    if ((c->entry_count + 1) * 2 > c->slot_count && !grow_slots(c))
        c->no_memory = true;
    while (!c->no_memory && (c->entry_count + 1) * c->entry_size > c->entry_room)
        c->no_memory = !grow_entries(c);
    if (c->no_memory)
        return false;
    for (at = hash & (c->slot_count - 1); c->slots[at].run == c->run; at = (at + 1) & (c->slot_count - 1))
        if (same_configuration(c, &c->slots[at], hash, state))
            return false;
    c->slots[at] = (slot){ .hash = hash, .run = c->run, .index = (uint32_t)c->entry_count };

    char *entry = c->entries + c->entry_count++ * c->entry_size;

    memcpy(entry, c->done, c->set_words * 8);
    memcpy(entry + c->set_words * 8, state, sizeof *state);
    c->steps++;
    return true;
}

/* ---- the list --------------------------------------------------------------------------- */

static void unlink_node(checker *c, uint32_t n)
{
    c->nodes[c->nodes[n].before].next = c->nodes[n].next;
    c->nodes[c->nodes[n].next].before = c->nodes[n].before;
}

static void link_node(checker *c, uint32_t n)
{
    c->nodes[c->nodes[n].before].next = n;
    c->nodes[c->nodes[n].next].before = n;
}

static bool is_open(const checker *c, uint32_t i)
{
    return c->history->ops[i].ret == HISTORY_OPEN;
}

static void lift(checker *c, uint32_t i)
{
    unlink_node(c, 2 * i);
    if (!is_open(c, i)) {
        unlink_node(c, 2 * i + 1);
        c->returns--;
    }
    c->done[i / 64] |= UINT64_C(1) << i % 64;
    c->set_hash ^= c->weights[i];
}

static void unlift(checker *c, uint32_t i)
{
    c->set_hash ^= c->weights[i];
    c->done[i / 64] &= ~(UINT64_C(1) << i % 64);
    if (!is_open(c, i)) {
        link_node(c, 2 * i + 1);
        c->returns++;
    }
    link_node(c, 2 * i);
}

static int64_t time_of(const history *h, uint32_t n)
{
    const op *o = &h->ops[n / 2];

    return n & 1 ? o->ret : o->any_time ? INT64_MIN : o->call;
}

/* Calls before returns at the same time: they overlap then. */
static int compare_nodes(const void *left, const void *right, void *arg)
{
    const history *h = arg;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    int64_t x = time_of(h, a), y = time_of(h, b);

    if (x != y)
        return x < y ? -1 : 1;
    if ((a & 1) != (b & 1))
        return a & 1 ? 1 : -1;
    return a < b ? -1 : a > b;
}

/* What an operation of unknown outcome does, if it is what others do as well. */
static bool same_deed(const op *a, const op *b)
{
    if (a->kind != b->kind || a->cond != b->cond || a->number != b->number)
        return false;
    switch ((op_kind)a->kind) {
    case OP_ADD:
        return true;
    case OP_DEL:
        return a->cond == COND_NONE;
    case OP_GETDEL:
        return true;
    case OP_SET:
        return a->cond == COND_NONE && a->number == 0 && a->keep_ttl == b->keep_ttl &&
               value_equal(a->arg.value, b->arg.value);
    case OP_ADD_AT:
        return a->a == b->a;
    case OP_MOVE:
        return a->a == b->a && a->b == b->b;
    default:
        return false;
    }
}

/* The latest earlier operation of the same process, or, where any order will do, the latest that does the same. */
static uint32_t find_after(const history *h, uint32_t i)
{
    const op *o = &h->ops[i];

    for (uint32_t j = i; j-- > 0;) {
        const op *earlier = &h->ops[j];

        if (o->any_time ? earlier->any_time && same_deed(o, earlier)
                        : earlier->ret != HISTORY_OPEN && earlier->process == o->process)
            return j;
    }
    return NONE;
}

static bool make_room(checker *c, uint32_t n)
{
    if (n <= c->room)
        return true;
    free(c->nodes);
    free(c->order);
    free(c->after);
    free(c->weights);
    free(c->done);
    free(c->frames);
    c->room = n;
    c->nodes = malloc((2 * (size_t)n + 1) * sizeof *c->nodes);
    c->order = malloc(2 * (size_t)n * sizeof *c->order);
    c->after = malloc(n * sizeof *c->after);
    c->weights = malloc(n * sizeof *c->weights);
    c->done = malloc((n + 63) / 64 * sizeof *c->done);
    c->frames = malloc(n * sizeof *c->frames);
    if (c->nodes && c->order && c->after && c->weights && c->done && c->frames)
        return true;
    c->room = 0;
    return false;
}

static void make_list(checker *c)
{
    const history *h = c->history;
    uint32_t count = 0, last;

    for (uint32_t i = 0; i < h->count; i++) {
        c->order[count++] = 2 * i;
        if (!is_open(c, i))
            c->order[count++] = 2 * i + 1;
        c->after[i] = find_after(h, i);
        c->weights[i] = mix(i + 1);
    }
    c->returns = 0;
    qsort_r(c->order, count, sizeof *c->order, compare_nodes, (void *)h);
    c->head = last = 2 * h->count;
    for (uint32_t i = 0; i < count; i++) {
        c->nodes[last].next = c->order[i];
        c->nodes[c->order[i]].before = last;
        last = c->order[i];
        c->returns += c->order[i] & 1;
    }
    c->nodes[last].next = c->head;
    c->nodes[c->head].before = last;
}

static bool prepare(checker *c, const history *h, size_t budget)
{
    c->history = h;
    c->budget = budget;
    c->steps = 0;
    c->no_memory = false;
    c->depth = 0;
    c->set_hash = 0;
    c->entry_count = 0;
    if (h->count > UINT32_MAX / 4 || !make_room(c, h->count + 1))
        return false;
    if (++c->run == 0) { /* after 2^32 runs the slots' numbers begin again */
        free(c->slots);
        c->slots = NULL;
        c->slot_count = 0;
        c->run = 1;
    }
    c->set_words = (h->count + 63) / 64;
    c->entry_size = c->set_words * 8 + sizeof(model_state);
    memset(c->done, 0, c->set_words * 8);
    make_list(c);
    return true;
}

/* ---- the search ------------------------------------------------------------------------- */

static bool may_come_now(const checker *c, uint32_t i)
{
    uint32_t first = c->after[i];

    return first == NONE || (c->done[first / 64] >> first % 64 & 1);
}

/* Linearizes operation i by the first branch, from the given one on, that leads somewhere new. */
static bool take(checker *c, uint32_t i, unsigned branch)
{
    model_state *state = &c->state;
    model_state out[MODEL_BRANCHES];
    unsigned n = model_step(c->history, &c->history->ops[i], state, out);
    frame *f = &c->frames[c->depth];

    if (branch >= n)
        return false;
    if (n == 1 && op_changed_nothing(&c->history->ops[i]) && memcmp(&out[0], state, sizeof *state) == 0) {
        *f = (frame){ .state = *state, .op = i, .final = true };
        lift(c, i);
        c->depth++;
        return true;
    }
    lift(c, i);
    for (; branch < n; branch++)
        if (remember(c, &out[branch])) {
            *f = (frame){ .state = *state, .op = i, .branch = (uint8_t)(branch + 1) };
            *state = out[branch];
            c->depth++;
            return true;
        }
    unlift(c, i);
    return false;
}

/* Takes the last choices back until there is another to make: the node to go on from, or NONE. */
static uint32_t retreat(checker *c)
{
    while (c->depth) {
        frame f = c->frames[--c->depth];

        c->state = f.state;
        unlift(c, f.op);
        if (f.final)
            continue;
        if (take(c, f.op, f.branch))
            return c->nodes[c->head].next;
        return c->nodes[2 * f.op].next;
    }
    return NONE;
}

verdict checker_run(checker *c, const history *h, size_t budget)
{
    uint32_t at;

    if (!prepare(c, h, budget))
        return VERDICT_UNDECIDED;
    model_begin(h, &c->state);
    at = c->nodes[c->head].next;
    while (c->returns) {
        if (c->no_memory || c->steps > c->budget)
            return VERDICT_UNDECIDED;
        if (at & 1) {
            at = retreat(c);
            if (at == NONE)
                return c->no_memory ? VERDICT_UNDECIDED : VERDICT_VIOLATION;
        } else if (may_come_now(c, at / 2) && take(c, at / 2, 0)) {
            at = c->nodes[c->head].next;
        } else {
            at = c->nodes[at].next;
        }
    }
    return VERDICT_OK;
}
