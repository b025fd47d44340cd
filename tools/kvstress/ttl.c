/* ttl.c - the check "ttl": nothing is served after its deadline, and nothing vanishes before.
 *
 * A thing is a key that lives once: it is written with a deadline, read at random moments and at many just before and
 * after the deadline, perhaps given another deadline or none, and, once it is gone, read again, and taken by a command that
 * tells what it found (SETNX, INCR, APPEND). Only one write is under way on it at a time, and no read meanwhile, so
 * what must hold is known exactly, up to when the server looked at its clock:
 *
 *     written by a call c that returned at r, to live for t:   it ends in [clock(c) + t, r + t]
 *     a read that returned before that:                        must find it
 *     a read whose clock was read after that:                  must not
 *     a read that was called after another found it gone:      must not
 *
 * clock(c) is the earliest time at which the server can have read the clock that it used for c: see lane.h. Both
 * ends are widened by --ttl-slack.
 *
 * SPDX-License-Identifier: MIT */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#define NEVER       INT64_MAX
#define LIFE_MIN_MS 10
#define LIFE_MAX_MS 400
#define READS_MAX   4u /* under way on one thing */
#define LATE_READS  8u /* after its end */
#define EVENTS      6u
#define ACTIVE_MIN  8u
#define LATE_NS     (20 * NS_PER_MS) /* behind what was planned: there are too many things */

typedef enum write_kind {
    BEAR_PX,     /* SET k v PX ms */
    BEAR_EX,     /* SET k v EX 1 */
    BEAR_PSETEX, /* PSETEX k ms v */
    BEAR_EXPIRE, /* SET k v, then PEXPIRE k ms in the same pipeline */
    CHANGE_EXPIRE,
    CHANGE_PERSIST,
    CHANGE_SET, /* plain SET: no deadline any more */
    CHANGE_KEEPTTL,
    CHANGE_GETEX, /* GETEX k PX ms */
    REVIVE_SETNX,
    REVIVE_INCR,
    REVIVE_APPEND,
    BURY, /* DEL */
} write_kind;

typedef enum read_kind {
    LOOK_GET,
    LOOK_EXISTS,
    LOOK_PTTL,
    LOOK_STRLEN,
    LOOK_MGET,
    LOOK_TTL,
    LOOKS
} read_kind;

static const char *const LOOK_NAMES[] = { "GET", "EXISTS", "PTTL", "STRLEN", "MGET", "TTL" };
static const struct {
    const char *shown, *name;
    unsigned words;
    command_used use;
} WRITES[] = {
    [BEAR_PX] = { "SET v PX", "SET", 5, USE_SET_PX },
    [BEAR_EX] = { "SET v EX", "SET", 5, USE_SET_EX },
    [BEAR_PSETEX] = { "PSETEX", "PSETEX", 4, USE_PSETEX },
    [CHANGE_EXPIRE] = { "PEXPIRE", "PEXPIRE", 3, USE_PEXPIRE },
    [CHANGE_PERSIST] = { "PERSIST", "PERSIST", 2, USE_PERSIST },
    [CHANGE_SET] = { "SET", "SET", 3, COMMANDS_USED },
    [CHANGE_KEEPTTL] = { "SET KEEPTTL", "SET", 4, USE_SET_KEEPTTL },
    [CHANGE_GETEX] = { "GETEX PX", "GETEX", 4, USE_GETEX },
    [REVIVE_SETNX] = { "SETNX", "SETNX", 3, USE_SETNX },
    [REVIVE_INCR] = { "INCR", "INCR", 2, USE_INCR },
    [REVIVE_APPEND] = { "APPEND", "APPEND", 3, USE_APPEND },
    [BURY] = { "DEL", "DEL", 2, USE_DEL },
};

typedef struct event_seen {
    uint32_t process;
    int64_t call, ret;
    char command[64], answer[24];
} event_seen;

typedef struct thing {
    uint32_t serial;
    bool born, present, writing, changed;
    bool gone;        /* seen gone: it stays so until it is written */
    int64_t gone_at;  /* when the read returned that saw it */
    int64_t from, to; /* ns: when it ends, without slack; NEVER */
    int64_t next;     /* ns: when to do something */
    char content[24]; /* its value */
    unsigned reads_open, late_reads;
    event_seen events[EVENTS];
    unsigned event_count;
} thing;

typedef struct ttl {
    worker *worker;
    thing *things;
    unsigned count;
    unsigned active; /* of them: only as many as can be looked at in time */
    uint32_t serials;
    int64_t slack_ns;
} ttl;

/* Begins a command of so many words, its name and the key included. */
static void put_command(const ttl *t, const thing *x, lane *l, unsigned words, const char *command)
{
    char name[64];

    snprintf(name, sizeof name, "%st%u.%u", t->worker->run->prefix, t->worker->index, x->serial);
    lane_command(l, words, command, run_store(t->worker->run, name));
    wire_text(&l->out, name);
}

static void renew(ttl *t, thing *x)
{
    memset(x, 0, sizeof *x);
    x->serial = ++t->serials;
    x->from = x->to = NEVER;
    x->next = t->worker->now + random_below(&t->worker->random, 20) * NS_PER_MS;
}

static int64_t clock_of(const call *c)
{
    return (int64_t)c->b;
}

/* ---- violations ------------------------------------------------------------------------- */

static void note(thing *x, const lane *l, const call *c, const char *command, const char *answer)
{
    event_seen *e = &x->events[x->event_count++ % EVENTS];

    *e = (event_seen){ .process = l->process, .call = c->sent, .ret = l->worker->now };
    snprintf(e->command, sizeof e->command, "%.63s", command);
    snprintf(e->answer, sizeof e->answer, "%s", answer);
}

/* Whether the clock of the day was set while we ran: then deadlines mean nothing. */
static bool clock_was_set(const ttl *t)
{
    struct timespec wall;
    int64_t moved;

    clock_gettime(CLOCK_REALTIME, &wall);
    moved = (int64_t)wall.tv_sec * NS_PER_S + wall.tv_nsec - clock_ns() - t->worker->run->wall_offset_ns;
    return moved > t->slack_ns / 2 || moved < -t->slack_ns / 2;
}

static void accuse(ttl *t, thing *x, lane *l, const call *c, const char *command, const reply *r,
                   const char *what)
{
    unsigned known = x->event_count < EVENTS ? x->event_count : EVENTS;
    char *shown = NULL;
    size_t size, len;
    FILE *out;
    evidence e;

    if (clock_was_set(t))
        return;
    out = open_memstream(&shown, &size);
    if (!out)
        return;
    reply_print(r, out);
    fclose(out);
    evidence_init(&e, "ttl", "%s", what);
    for (unsigned i = x->event_count - known; i < x->event_count; i++) {
        const event_seen *s = &x->events[i % EVENTS];

        evidence_row(&e, s->process, s->call, s->ret, s->command, s->answer);
    }
    evidence_sort(&e);
    evidence_row(&e, l->process, c->sent, l->worker->now, command, shown)->guilty = true;
    len = (size_t)snprintf(e.note, sizeof e.note, "The key t%u ", x->serial);
    if (x->from == NEVER)
        snprintf(e.note + len, sizeof e.note - len, x->present ? "has no deadline." : "is not there.");
    else
        snprintf(e.note + len, sizeof e.note - len, "ends between %.3f and %.3f us (slack: %lld us).",
                 (double)(x->from - t->worker->run->start_ns) / 1000.0,
                 (double)(x->to - t->worker->run->start_ns) / 1000.0, (long long)(t->slack_ns / NS_PER_US));
    run_violation(l->worker->run, &e);
    free(shown);
}

/* ---- reads ------------------------------------------------------------------------------ */

static bool must_be_there(const ttl *t, const thing *x, int64_t ret)
{
    return x->present && (x->from == NEVER || ret < x->from - t->slack_ns);
}

static bool must_be_gone(const ttl *t, const thing *x, const call *c)
{
    return !x->present || (x->gone && x->gone_at < c->sent) ||
           (x->to != NEVER && clock_of(c) > x->to + t->slack_ns);
}

/* What a read says: 1 there, 0 gone, -1 nonsense. */
static int found(const thing *x, read_kind k, const reply *r)
{
    if (k == LOOK_MGET && r->type == REPLY_IS_ARRAY && r->count == 1)
        r = r->elements[0];
    if (k == LOOK_GET || k == LOOK_MGET) {
        if (r->type == REPLY_IS_NIL)
            return 0;
        if (r->type != REPLY_IS_STRING)
            return -1;
        return r->len == strlen(x->content) && memcmp(r->text, x->content, r->len) == 0 ? 1 : -1;
    }
    if (r->type != REPLY_IS_INTEGER)
        return -1;
    if (k == LOOK_PTTL || k == LOOK_TTL)
        return r->integer != -2;
    return k == LOOK_STRLEN ? (r->integer == 0                               ? 0
                               : r->integer == (long long)strlen(x->content) ? 1
                                                                             : -1)
                            : (r->integer == 0 || r->integer == 1 ? (int)r->integer : -1);
}

/* Whether PTTL and TTL tell what is left. */
static bool left_fits(const ttl *t, const thing *x, const call *c, int64_t ret, long long left)
{
    int64_t unit = c->kind == LOOK_TTL ? NS_PER_S : NS_PER_MS;
    int64_t rounding = c->kind == LOOK_TTL ? NS_PER_S : 2 * NS_PER_MS;

    if (x->from == NEVER)
        return left == -1;
    return left >= 0 && left * unit >= x->from - ret - t->slack_ns - rounding &&
           left * unit <= x->to - clock_of(c) + t->slack_ns + rounding;
}

static void looked(lane *l, const call *c, const reply *r)
{
    ttl *t = l->worker->states[PART_TTL];
    thing *x = c->object;
    int64_t now = l->worker->now;
    char command[64];
    int there;

    x->reads_open--;
    if (!r || r->type == REPLY_IS_ERROR)
        return;
    worker_checked(l->worker, CHECK_TTL);
    there = found(x, (read_kind)c->kind, r);
    snprintf(command, sizeof command, "%s t%u", LOOK_NAMES[c->kind], x->serial);
    if (there < 0)
        accuse(t, x, l, c, command, r, "a reply that is none of this key's");
    else if (there && must_be_gone(t, x, c))
        accuse(t, x, l, c, command, r,
               x->gone && x->gone_at < c->sent ? "a key that was gone is back"
                                               : "a key is served after its deadline");
    else if (!there && must_be_there(t, x, now))
        accuse(t, x, l, c, command, r, "a key has vanished before its deadline");
    else if (there && (c->kind == LOOK_PTTL || c->kind == LOOK_TTL) && !left_fits(t, x, c, now, r->integer))
        accuse(t, x, l, c, command, r, "a key has another time to live than it was given");
    if (there == 0 && !x->gone) {
        x->gone = true;
        x->gone_at = now;
        note(x, l, c, command, c->kind == LOOK_PTTL || c->kind == LOOK_TTL ? "-2" : "gone");
    }
}

static void look(ttl *t, thing *x, lane *l)
{
    static const command_used uses[LOOKS] = { COMMANDS_USED, USE_EXISTS, USE_PTTL,
                                              USE_STRLEN,    USE_MGET,   USE_TTL };
    unsigned draw = random_below(&l->worker->random, 2 * LOOKS);
    read_kind k =
        draw > 0 && draw < LOOKS && worker_knows(l->worker, uses[draw]) ? (read_kind)draw : LOOK_GET;
    call *c = lane_call(l, looked);

    c->kind = (uint8_t)k;
    c->object = x;
    c->b = (uint64_t)l->clock_after;
    x->reads_open++;
    put_command(t, x, l, 2, LOOK_NAMES[k]);
}

/* ---- writes ----------------------------------------------------------------------------- */

/* Whether the key may have ended before this change of a living key was executed. */
static bool may_be_late(const ttl *t, const thing *x, const call *c, int64_t ret)
{
    return c->kind >= CHANGE_EXPIRE && c->kind < REVIVE_SETNX && x->from != NEVER &&
           ret >= x->from - t->slack_ns;
}

static bool found_nothing(const reply *r)
{
    return r->type == REPLY_IS_NIL || (r->type == REPLY_IS_INTEGER && r->integer == 0);
}

static bool write_fits(const thing *x, const call *c, const reply *r)
{
    bool there = c->items[1]; /* must be: 1; must not: 0 */

    switch ((write_kind)c->kind) {
    case BEAR_PX:
    case BEAR_EX:
    case BEAR_PSETEX:
    case CHANGE_SET:
    case CHANGE_KEEPTTL:
        return reply_is_status(r, "OK");
    case CHANGE_GETEX:
        return r->type == REPLY_IS_STRING && strcmp(r->text, x->content) == 0;
    case REVIVE_APPEND:
        return r->type == REPLY_IS_INTEGER && r->integer == 1;
    case BURY:
        return r->type == REPLY_IS_INTEGER && r->integer == there;
    default:
        return r->type == REPLY_IS_INTEGER && r->integer == 1;
    }
}

static void set_content(const ttl *t, thing *x, write_kind k)
{
    if (k == REVIVE_INCR || k == REVIVE_APPEND)
        strcpy(x->content, "1");
    else if (k != CHANGE_EXPIRE && k != CHANGE_PERSIST && k != CHANGE_GETEX && k != BEAR_EXPIRE)
        snprintf(x->content, sizeof x->content, "%u.%u", x->serial, random_below(&t->worker->random, 1000));
}

/* Whether the command gives a deadline, or takes it away. */
static bool gives_deadline(write_kind k)
{
    return k == BEAR_PX || k == BEAR_EX || k == BEAR_PSETEX || k == BEAR_EXPIRE || k == CHANGE_EXPIRE ||
           k == CHANGE_GETEX;
}

static bool takes_deadline(write_kind k)
{
    return k == CHANGE_PERSIST || k == CHANGE_SET || k == REVIVE_SETNX || k == REVIVE_INCR ||
           k == REVIVE_APPEND;
}

static void believe(thing *x, const call *c, int64_t ret)
{
    write_kind k = (write_kind)c->kind;
    int64_t life = (int64_t)c->items[0] * NS_PER_MS;

    x->present = k != BURY;
    x->gone = false;
    x->late_reads = 0;
    if (gives_deadline(k)) {
        x->from = (clock_of(c) < c->sent ? clock_of(c) : c->sent) + life;
        x->to = ret + life;
    } else if (takes_deadline(k)) {
        x->from = x->to = NEVER;
    }
}

static void written(lane *l, const call *c, const reply *r)
{
    ttl *t = l->worker->states[PART_TTL];
    thing *x = c->object;
    char command[64];

    x->writing = false;
    if (!r || r->type == REPLY_IS_ERROR) { /* nobody knows what it holds */
        renew(t, x);
        return;
    }
    worker_checked(l->worker, CHECK_TTL);
    snprintf(command, sizeof command, "%s t%u", WRITES[c->kind].shown, x->serial);
    if (gives_deadline((write_kind)c->kind))
        snprintf(command + strlen(command), sizeof command - strlen(command), " %llu ms",
                 (unsigned long long)c->items[0]);
    if (may_be_late(t, x, c, l->worker->now) && (c->kind == CHANGE_KEEPTTL || found_nothing(r))) {
        renew(t, x); /* it was too late, or nobody knows */
        return;
    }
    if (!write_fits(x, c, r))
        accuse(t, x, l, c, command, r,
               c->kind >= REVIVE_SETNX ? "a key is there after its deadline"
                                       : "a key is not there before its deadline");
    believe(x, c, l->worker->now);
    note(x, l, c, command, "done");
    x->born = true;
    if (c->kind == BURY)
        renew(t, x);
}

static void put_write(ttl *t, thing *x, lane *l, write_kind k, uint64_t life)
{
    put_command(t, x, l, WRITES[k].words, WRITES[k].name);
    if (k == BEAR_PSETEX || k == CHANGE_EXPIRE)
        wire_number(&l->out, (int64_t)life);
    if (k == BEAR_PX || k == BEAR_EX || k == BEAR_PSETEX || k == CHANGE_SET || k == CHANGE_KEEPTTL ||
        k == REVIVE_SETNX || k == REVIVE_APPEND)
        wire_text(&l->out, x->content);
    if (k == CHANGE_KEEPTTL)
        wire_text(&l->out, "KEEPTTL");
    if (k == BEAR_PX || k == CHANGE_GETEX) {
        wire_text(&l->out, "PX");
        wire_number(&l->out, (int64_t)life);
    } else if (k == BEAR_EX) {
        wire_text(&l->out, "EX");
        wire_number(&l->out, (int64_t)life / 1000);
    }
}

static void do_write(ttl *t, thing *x, lane *l, write_kind k)
{
    worker *w = l->worker;
    uint64_t life = LIFE_MIN_MS + random_below(&w->random, LIFE_MAX_MS - LIFE_MIN_MS);
    call *c;

    if (k == BEAR_EX)
        life = 1000;
    if (k == BEAR_EXPIRE) { /* two commands, the second of which counts */
        set_content(t, x, CHANGE_SET);
        worker_tidy(l);
        put_write(t, x, l, CHANGE_SET, 0);
        k = CHANGE_EXPIRE;
    }
    c = lane_call(l, written);
    if (!x->born && k == CHANGE_EXPIRE)
        note(x, l, c, "SET, in front of PEXPIRE", "(pipelined)");
    set_content(t, x, k);
    c->kind = (uint8_t)k;
    c->object = x;
    c->b = (uint64_t)l->clock_after;
    c->items[0] = life;
    c->items[1] = x->present;
    x->writing = true;
    put_write(t, x, l, k, life);
}

/* ---- the life of a thing ---------------------------------------------------------------- */

/* When to look next: anywhere in its life, or around its end. */
static int64_t next_look(const ttl *t, const thing *x, uint64_t *random, int64_t now)
{
    int64_t end = x->to + t->slack_ns;

    if (x->from == NEVER)
        return now + random_below(random, 30) * NS_PER_MS;
    if (now > end)
        return now + random_below(random, 1u << (2 * (x->late_reads < 9 ? x->late_reads : 9))) * NS_PER_US;
    if (random_below(random, 3) == 0 && now < x->from - 3 * NS_PER_MS)
        return now + (int64_t)random_below(random, (uint32_t)((x->from - now) / NS_PER_US)) * NS_PER_US;
    if (now < x->from - t->slack_ns - 2 * NS_PER_MS)
        return x->from - t->slack_ns - random_below(random, 2000) * NS_PER_US;
    return end + 500 * NS_PER_US;
}

static bool can(const worker *w, write_kind k)
{
    return k == CHANGE_SET || worker_knows(w, WRITES[k == BEAR_EXPIRE ? CHANGE_EXPIRE : k].use);
}

/* One of the kinds from first to last that the server knows; otherwise SET, which takes the deadline away. */
static write_kind choose(worker *w, write_kind first, write_kind last)
{
    for (unsigned tried = 0; tried < 20; tried++) {
        write_kind k = (write_kind)(first + random_below(&w->random, (uint32_t)(last - first) + 1));

        if (can(w, k))
            return k;
    }
    return CHANGE_SET;
}

/* Does the next thing in its life; false when that is to wait. */
static bool live(ttl *t, thing *x, lane *l)
{
    worker *w = l->worker;
    uint64_t *random = &w->random;

    if (x->writing)
        return false;
    if (!x->born) {
        do_write(t, x, l, choose(w, BEAR_PX, BEAR_EXPIRE));
        x->next = w->now;
        return true;
    }
    if (x->reads_open == 0 && !x->changed && x->from != NEVER && random_below(random, 6) == 0 &&
        w->now < x->from - 8 * NS_PER_MS - t->slack_ns) {
        x->changed = true;
        do_write(t, x, l, choose(w, CHANGE_EXPIRE, CHANGE_GETEX));
        return true;
    }
    if (x->late_reads > LATE_READS && x->reads_open == 0) {
        bool alive = x->from == NEVER;

        if (!alive && !x->gone && l->clock_after <= x->to + t->slack_ns)
            return false;

        if (alive && !can(w, BURY))
            renew(t, x);
        else
            do_write(t, x, l, alive ? BURY : choose(w, REVIVE_SETNX, REVIVE_APPEND));
        return true;
    }
    if (x->reads_open == READS_MAX)
        return false;
    look(t, x, l);
    if (x->from == NEVER || w->now > x->to + t->slack_ns)
        x->late_reads++;
    x->next = next_look(t, x, random, w->now);
    return true;
}

static bool issue(worker *w, lane *l)
{
    ttl *t = w->states[PART_TTL];

    if (!l->clock_after)
        return false;
    for (unsigned tried = 0; tried < 8; tried++) {
        thing *x = &t->things[random_below(&w->random, t->active)];
        bool late = x->next < w->now - LATE_NS;

        if (x->next > w->now || !live(t, x, l))
            continue;
        if (late && t->active > ACTIVE_MIN)
            t->active--;
        return true;
    }
    if (t->active < t->count)
        t->active++;
    return false;
}

static int begin(worker *w)
{
    ttl *t = calloc(1, sizeof *t);
    unsigned count = (unsigned)(w->run->options->keys / 8 / w->run->options->threads);

    w->states[PART_TTL] = t;
    if (!t)
        return -1;
    t->worker = w;
    t->count = count < 16 ? 16 : count;
    t->active = ACTIVE_MIN;
    t->slack_ns = (int64_t)w->run->options->slack_ms * NS_PER_MS;
    t->things = calloc(t->count, sizeof *t->things);
    if (!t->things)
        return -1;
    for (unsigned i = 0; i < t->count; i++)
        renew(t, &t->things[i]);
    return 0;
}

/* Removes the keys that have no deadline. */
static bool finish(worker *w)
{
    ttl *t = w->states[PART_TTL];
    lane *l = worker_other_lane(w, NULL);

    for (unsigned i = 0, sent = 0; l && worker_knows(w, USE_DEL) && i < t->count; i++)
        if (t->things[i].present) {
            worker_tidy(l);
            put_command(t, &t->things[i], l, 2, "DEL");
            t->things[i].present = false;
            if (++sent == 16)
                return false;
        }
    return true;
}

static void end(worker *w)
{
    ttl *t = w->states[PART_TTL];

    free(t->things);
    free(t);
}

const part PART_OF_TTL = {
    .check = CHECK_TTL, .weight = 12, .begin = begin, .issue = issue, .finish = finish, .end = end
};
