/* visibility.c - the check "visibility": what one connection wrote and was acknowledged, every other one sees.
 *
 * A board of registers that all workers share and that live as long as the run. Each has one writer at a time, who
 * numbers the versions, so that linearizability is two comparisons (Lamport 1986, the atomic register of one
 * writer): a read sees
 *
 *     no version below the floor at its call:    the last that was acknowledged, or seen by any read, before
 *     none above the ceiling at its return:      the last that was sent
 *
 * and raises the floor to what it saw. A version is a value that tells its number, with a filler that follows from it,
 * or the absence of the key. Readers prefer what was written last, and connections are closed and opened all the time
 * (worker.c), so that a version is read by connections older and younger than it.
 *
 * When the outcome of a write is unknown, its register is given up for another with a new key.
 *
 * Threads    A cell's fields are guarded by its lock, which is held for some loads and stores.
 *
 * SPDX-License-Identifier: MIT */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#define FRESH      256u /* cells written last; a power of two */
#define MGET_CELLS 4u
#define FACTS      4u
#define HEAD_MAX   64u
#define LAST_LOOKS 16u /* at a time, in the end */

typedef enum write_kind { WRITE_SET, WRITE_DEL, WRITE_GETSET, WRITE_PSETEX } write_kind;
typedef enum read_kind { READ_GET, READ_GETRANGE, READ_EXISTS, READ_MGET } read_kind;

/* That a version was in place: who wrote or saw it, and when. */
typedef struct fact {
    uint64_t version;
    uint32_t process;
    bool wrote, absent;
    int64_t call, ret;
} fact;

typedef struct cell {
    pthread_mutex_t lock;
    uint32_t generation; /* of the key */
    bool writing;
    bool present;    /* after the last write that was answered */
    uint64_t issued; /* the last version that was sent */
    uint64_t floor;
    uint64_t absent; /* bit v % 64: version v, of the last 64, is the absence of the key */
    fact facts[FACTS];
    unsigned fact_count;
} cell;

struct board {
    uint32_t count;
    size_t size_min, size_max;
    atomic_uint fresh_count;
    atomic_uint fresh[FRESH];
    cell cells[];
};

board *board_new(const run *r)
{
    uint32_t count = (uint32_t)r->options->keys;
    board *b = calloc(1, sizeof *b + count * sizeof b->cells[0]);

    if (!b)
        return NULL;
    b->count = count;
    b->size_min = r->options->value_size_min;
    b->size_max = r->options->value_size_max;
    for (uint32_t i = 0; i < count; i++) {
        pthread_mutex_init(&b->cells[i].lock, NULL);
        b->cells[i].absent = 1;
    }
    return b;
}

void board_free(board *b)
{
    for (uint32_t i = 0; b && i < b->count; i++)
        pthread_mutex_destroy(&b->cells[i].lock);
    free(b);
}

static board *board_of(const lane *l)
{
    return l->worker->run->board;
}

static void put_key(const lane *l, uint32_t at, uint32_t generation, wire *out)
{
    char name[64];
    int len = snprintf(name, sizeof name, "%sv%u.%u", l->worker->run->prefix, at, generation);

    wire_arg(out, name, (size_t)len);
}

/* Begins a command of so many words, its name included, on registers: one key of the module for all, since
 * MGET reads some at once. */
static void put_command(lane *l, unsigned words, const char *name)
{
    char store[40];

    snprintf(store, sizeof store, "%sv", l->worker->run->prefix);
    lane_command(l, words, name, run_store(l->worker->run, store));
}

/* ---- values ----------------------------------------------------------------------------- */

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static size_t value_size(const board *b, uint32_t at, uint64_t version)
{
    size_t range = b->size_max - b->size_min + 1;
    uint64_t draw = mix(at * UINT64_C(0x10001) + version);

    /* small ones are more frequent: the product of two draws */
    return b->size_min + (size_t)((draw & 0xffff) * (draw >> 16 & 0xffff) * range >> 32);
}

static size_t value_head(uint32_t at, uint32_t generation, uint64_t version, char out[HEAD_MAX])
{
    return (size_t)snprintf(out, HEAD_MAX, "%llu:%u.%u:", (unsigned long long)version, at, generation);
}

/* The bytes of a version, at least as many as tell which it is. Returns their number; out may be NULL. */
static size_t value_make(const board *b, uint32_t at, uint32_t generation, uint64_t version, char *out)
{
    char head[HEAD_MAX];
    size_t len = value_head(at, generation, version, head), size = value_size(b, at, version);
    uint64_t filler = mix(version + at);

    if (size < len)
        size = len;
    if (!out)
        return size;
    memcpy(out, head, len);
    for (; len < size; len++, filler = filler >> 4 | filler << 60)
        out[len] = (char)('a' + (filler & 15));
    return size;
}

/* The version that text is, or -1 when it is none of this cell's. */
static int64_t value_version(const board *b, uint32_t at, uint32_t generation, const char *text, size_t len)
{
    char head[HEAD_MAX];
    char *end;
    uint64_t version = strtoull(text, &end, 10), filler = mix(version + at);
    size_t head_len = value_head(at, generation, version, head);

    if (len != value_make(b, at, generation, version, NULL) || memcmp(text, head, head_len) != 0)
        return -1;
    for (size_t i = head_len; i < len; i++, filler = filler >> 4 | filler << 60)
        if (text[i] != (char)('a' + (filler & 15)))
            return -1;
    return (int64_t)version;
}

/* ---- what is known of a cell (its lock is held) ----------------------------------------- */

static bool may_be_absent(const cell *c, uint64_t version)
{
    return c->issued - version >= 64 || (c->absent >> version % 64 & 1);
}

static void remember(cell *c, fact f)
{
    c->facts[c->fact_count++ % FACTS] = f;
    if (f.version > c->floor)
        c->floor = f.version;
}

/* Begins anew with another key: an outcome is unknown. */
static void give_up(cell *c)
{
    c->generation++;
    c->writing = c->present = false;
    c->issued = c->floor = 0;
    c->absent = 1;
    c->fact_count = 0;
}

/* ---- violations ------------------------------------------------------------------------- */

static void describe(const cell *c, uint32_t at, evidence *e)
{
    unsigned known = c->fact_count < FACTS ? c->fact_count : FACTS;

    for (unsigned i = 0; i < known; i++) {
        const fact *f = &c->facts[(c->fact_count - known + i) % FACTS];
        char command[80], answer[80];

        snprintf(command, sizeof command,
                 f->wrote && f->absent ? "DEL v%u (version %llu)"
                 : f->wrote            ? "SET v%u version %llu"
                                       : "GET v%u",
                 at, (unsigned long long)f->version);
        snprintf(answer, sizeof answer,
                 f->wrote    ? "acknowledged"
                 : f->absent ? "nil"
                             : "version %llu",
                 (unsigned long long)f->version);
        evidence_row(e, f->process, f->call, f->ret, command, answer);
    }
}

/* What a read saw is not what it may see. */
static void accuse(lane *l, const cell *c, const call *asked, uint32_t at, uint64_t floor,
                   const char *command, const reply *r, int64_t version)
{
    char *shown = NULL;
    size_t size;
    FILE *out = open_memstream(&shown, &size);
    evidence e;

    if (!out)
        return;
    if (r->type == REPLY_IS_STRING && version >= 0)
        fprintf(out, "version %lld (%zu bytes)", (long long)version, r->len);
    else
        reply_print(r, out);
    fclose(out);
    if (r->type == REPLY_IS_STRING && version < 0)
        evidence_init(&e, "visibility", "a value that nobody wrote");
    else if (version >= 0 && (uint64_t)version > c->issued)
        evidence_init(&e, "visibility", "a version that was not written yet");
    else
        evidence_init(&e, "visibility",
                      "connection %u does not see what was written and acknowledged, or seen, before",
                      l->process);
    describe(c, at, &e);
    evidence_sort(&e);
    evidence_row(&e, l->process, asked->sent, l->worker->now, command, shown)->guilty = true;
    snprintf(e.note, sizeof e.note,
             "The key v%u held version %llu when this was called, and at most version %llu when "
             "it returned.",
             at, (unsigned long long)floor, (unsigned long long)c->issued);
    run_violation(l->worker->run, &e);
    free(shown);
}

/* ---- reads ------------------------------------------------------------------------------ */

/* Judges what a read of a cell saw: text, nil, or for EXISTS an integer. */
static void judge(lane *l, const call *asked, uint32_t at, uint32_t generation, uint64_t floor,
                  const char *name, const reply *r)
{
    board *b = board_of(l);
    cell *c = &b->cells[at];
    char command[64];
    bool nil = r->type == REPLY_IS_NIL || (r->type == REPLY_IS_INTEGER && r->integer == 0);
    bool right = false;
    int64_t version = -1;

    snprintf(command, sizeof command, "%s v%u", name, at);
    if (r->type == REPLY_IS_STRING && asked->kind == READ_GETRANGE && r->len == 0)
        nil = true;
    else if (r->type == REPLY_IS_STRING)
        version = value_version(b, at, generation, r->text, r->len);
    else if (r->type != REPLY_IS_NIL && (r->type != REPLY_IS_INTEGER || asked->kind != READ_EXISTS)) {
        worker_misfit(l, asked, CHECK_VISIBILITY, command, r);
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (generation != c->generation) {
        pthread_mutex_unlock(&c->lock);
        return;
    }
    if (version >= 0) {
        right = (uint64_t)version >= floor && (uint64_t)version <= c->issued &&
                !(c->issued - (uint64_t)version < 64 && (c->absent >> version % 64 & 1));
    } else if (r->type != REPLY_IS_STRING || nil) {
        /* the lowest version it can have been */
        for (version = (int64_t)floor; (uint64_t)version <= c->issued && !right; version++)
            right = c->issued - (uint64_t)version >= 64 || may_be_absent(c, (uint64_t)version) == nil;
        version--;
    }
    if (!right)
        accuse(l, c, asked, at, floor, command, r, r->type == REPLY_IS_STRING ? version : 0);
    else if ((uint64_t)version > c->floor || c->fact_count == 0)
        remember(c, (fact){ (uint64_t)version, l->process, false, nil, asked->sent, l->worker->now });
    pthread_mutex_unlock(&c->lock);
}

static void read_done(lane *l, const call *c, const reply *r)
{
    static const char *const names[] = { "GET", "GETRANGE", "EXISTS" };

    if (!r || r->type == REPLY_IS_ERROR)
        return;
    worker_checked(l->worker, CHECK_VISIBILITY);
    judge(l, c, c->small, (uint32_t)c->a, c->b, names[c->kind], r);
}

static void mget_done(lane *l, const call *c, const reply *r)
{
    if (!r || r->type == REPLY_IS_ERROR)
        return;
    worker_checked(l->worker, CHECK_VISIBILITY);
    if (r->type != REPLY_IS_ARRAY || r->count != c->count) {
        worker_misfit(l, c, CHECK_VISIBILITY, "MGET ...", r);
        return;
    }
    for (unsigned i = 0; i < c->count; i++)
        judge(l, c, (uint32_t)(c->items[2 * i] >> 32), (uint32_t)c->items[2 * i], c->items[2 * i + 1], "MGET",
              r->elements[i]);
}

/* A cell to read: two times in three, one of those written last. */
static uint32_t choose_to_read(worker *w)
{
    board *b = w->run->board;
    unsigned count = atomic_load_explicit(&b->fresh_count, memory_order_relaxed);

    if (count && random_below(&w->random, 3))
        return atomic_load_explicit(
            &b->fresh[(count - 1 - random_below(&w->random, count < 8 ? count : 8)) % FRESH],
            memory_order_relaxed);
    return run_pick(w->run, &w->random, b->count);
}

static void look_up(cell *c, uint32_t *ret_generation, uint64_t *ret_floor)
{
    pthread_mutex_lock(&c->lock);
    *ret_generation = c->generation;
    *ret_floor = c->floor;
    pthread_mutex_unlock(&c->lock);
}

static void ask_read(worker *w, lane *l)
{
    board *b = w->run->board;
    unsigned draw = worker_random(w, 100);
    read_kind kind = draw < 85 ? READ_GET : draw < 93 ? READ_GETRANGE : READ_EXISTS;
    uint32_t at = choose_to_read(w), generation;
    uint64_t floor;
    call *c = lane_call(l, read_done);

    if ((kind == READ_GETRANGE && !worker_knows(w, USE_GETRANGE)) ||
        (kind == READ_EXISTS && !worker_knows(w, USE_EXISTS)))
        kind = READ_GET;
    look_up(&b->cells[at], &generation, &floor);
    c->kind = (uint8_t)kind;
    c->small = at;
    c->a = generation;
    c->b = floor;
    put_command(l, kind == READ_GETRANGE ? 4 : 2,
                kind == READ_GET        ? "GET"
                : kind == READ_GETRANGE ? "GETRANGE"
                                        : "EXISTS");
    put_key(l, at, generation, &l->out);
    if (kind == READ_GETRANGE) {
        wire_text(&l->out, "0");
        wire_text(&l->out, "-1");
    }
}

static void ask_mget(worker *w, lane *l)
{
    board *b = w->run->board;
    call *c = lane_call(l, mget_done);

    c->kind = READ_MGET;
    c->count = (uint8_t)(2 + worker_random(w, MGET_CELLS - 1));
    put_command(l, 1u + c->count, "MGET");
    for (unsigned i = 0; i < c->count; i++) {
        uint32_t at = choose_to_read(w), generation;

        look_up(&b->cells[at], &generation, &c->items[2 * i + 1]);
        c->items[2 * i] = (uint64_t)at << 32 | generation;
        put_key(l, at, generation, &l->out);
    }
}

/* ---- writes ----------------------------------------------------------------------------- */

static bool reply_fits(const lane *l, const cell *c, const call *asked, const reply *r)
{
    uint32_t at = asked->small, generation = (uint32_t)asked->a;

    switch ((write_kind)asked->kind) {
    case WRITE_DEL:
        return r->type == REPLY_IS_INTEGER && r->integer == c->present;
    case WRITE_GETSET: /* the only writer knows what it replaces */
        if (!c->present)
            return r->type == REPLY_IS_NIL;
        return r->type == REPLY_IS_STRING &&
               value_version(board_of(l), at, generation, r->text, r->len) == (int64_t)asked->items[0];
    default:
        return reply_is_status(r, "OK");
    }
}

static void write_done(lane *l, const call *asked, const reply *r)
{
    static const char *const names[] = { "SET", "DEL", "GETSET", "PSETEX" };
    board *b = board_of(l);
    cell *c = &b->cells[asked->small];
    bool absent = asked->kind == WRITE_DEL;
    char command[64];

    pthread_mutex_lock(&c->lock);
    if (!r) {
        give_up(c);
    } else if (r->type == REPLY_IS_ERROR) { /* it did not happen: the version is as the one before */
        c->writing = false;
        c->absent = (c->absent & ~(UINT64_C(1) << asked->b % 64)) | (uint64_t)!c->present << asked->b % 64;
    } else {
        worker_checked(l->worker, CHECK_VISIBILITY);
        snprintf(command, sizeof command, "%s v%u version %llu", names[asked->kind], asked->small,
                 (unsigned long long)asked->b);
        if (!reply_fits(l, c, asked, r))
            accuse(l, c, asked, asked->small, c->floor, command, r, 0);
        c->writing = false;
        c->present = !absent;
        remember(c, (fact){ asked->b, l->process, true, absent, asked->sent, l->worker->now });
        atomic_store_explicit(
            &b->fresh[atomic_fetch_add_explicit(&b->fresh_count, 1, memory_order_relaxed) % FRESH],
            asked->small, memory_order_relaxed);
    }
    pthread_mutex_unlock(&c->lock);
}

static void put_write(lane *l, const call *asked)
{
    static const char *const names[] = { "SET", "DEL", "GETSET", "PSETEX" };
    static const unsigned words[] = { 3, 2, 3, 4 };
    board *b = board_of(l);
    uint32_t at = asked->small, generation = (uint32_t)asked->a;
    char *space;

    put_command(l, words[asked->kind], names[asked->kind]);
    put_key(l, at, generation, &l->out);
    if (asked->kind == WRITE_PSETEX)
        wire_text(&l->out, "100000000"); /* far away: it must not show */
    if (asked->kind == WRITE_DEL)
        return;
    space = wire_space(&l->out, value_make(b, at, generation, asked->b, NULL));
    if (space)
        value_make(b, at, generation, asked->b, space);
}

/* false: somebody writes that cell already. */
static bool ask_write(worker *w, lane *l)
{
    board *b = w->run->board;
    uint32_t at = run_pick(w->run, &w->random, b->count), draw = worker_random(w, 100);
    write_kind kind = draw < 68 ? WRITE_SET : draw < 80 ? WRITE_DEL : draw < 95 ? WRITE_GETSET : WRITE_PSETEX;
    cell *c = &b->cells[at];
    call *asked;

    if ((kind == WRITE_DEL && !worker_knows(w, USE_DEL)) ||
        (kind == WRITE_GETSET && !worker_knows(w, USE_GETSET)) ||
        (kind == WRITE_PSETEX && !worker_knows(w, USE_PSETEX)))
        kind = WRITE_SET;
    pthread_mutex_lock(&c->lock);
    if (c->writing) {
        pthread_mutex_unlock(&c->lock);
        return false;
    }
    c->writing = true;
    c->issued++;
    c->absent = (c->absent & ~(UINT64_C(1) << c->issued % 64)) | (uint64_t)(kind == WRITE_DEL)
                                                                     << c->issued % 64;
    asked = lane_call(l, write_done);
    asked->kind = (uint8_t)kind;
    asked->small = at;
    asked->a = c->generation;
    asked->b = c->issued;
    asked->items[0] = c->issued - 1;
    pthread_mutex_unlock(&c->lock);
    put_write(l, asked);
    return true;
}

/* ---- the part --------------------------------------------------------------------------- */

static bool issue(worker *w, lane *l)
{
    unsigned draw = worker_random(w, 100);

    if (draw < 30 && ask_write(w, l))
        return true;
    if (draw < 90 || !worker_knows(w, USE_MGET))
        ask_read(w, l);
    else
        ask_mget(w, l);
    return true;
}

static int begin(worker *w)
{
    w->states[PART_VISIBILITY] = w->run->board;
    return 0;
}

/* A last look at a register, after which its key is removed. */
static void look_and_remove(lane *l, uint32_t at)
{
    call *c = lane_call(l, read_done);
    uint32_t generation;

    look_up(&board_of(l)->cells[at], &generation, &c->b);
    c->kind = READ_GET;
    c->small = at;
    c->a = generation;
    put_command(l, 2, "GET");
    put_key(l, at, generation, &l->out);
    if (!worker_knows(l->worker, USE_DEL))
        return;
    worker_tidy(l);
    put_command(l, 2, "DEL");
    put_key(l, at, generation, &l->out);
}

/* Does so with this worker's part of them, some at a time. */
static bool finish(worker *w)
{
    board *b = w->run->board;
    lane *l = worker_other_lane(w, NULL);
    unsigned threads = (unsigned)w->run->options->threads, sent = 0;

    for (; w->last_look < b->count && sent < LAST_LOOKS; w->last_look++) {
        cell *c = &b->cells[w->last_look];
        bool used;

        if (w->last_look % threads != w->index)
            continue;
        pthread_mutex_lock(&c->lock);
        used = c->issued != 0;
        pthread_mutex_unlock(&c->lock);
        if (!used)
            continue;
        if (!l)
            return w->open_calls == 0; /* later, or never: there is no connection */
        look_and_remove(l, w->last_look);
        sent++;
    }
    return w->last_look == b->count;
}

static void end(worker *w)
{
    (void)w;
}

const part PART_OF_VISIBILITY = {
    .check = CHECK_VISIBILITY, .weight = 25, .begin = begin, .issue = issue, .finish = finish, .end = end
};
