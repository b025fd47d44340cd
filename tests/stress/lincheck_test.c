/* lincheck_test.c - the checker against all permutations; the shrinker; histories as text.
 *
 * The judge of the random histories knows nothing of the checker: it keeps a string, executes commands on it,
 * and tries every order that time and the processes permit.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "format.h"
#include "shrink.h"

#define OPS_MAX 7

/* ---- a server of one key, as simple as can be ------------------------------------------- */

typedef struct cell {
    bool present;
    char text[64];
} cell;

typedef struct deed {
    enum { GET, SET, SETNX, CAS, INCR, APPEND, DEL, GETDEL, DEEDS } what;
    char arg[8], expect[8];
    unsigned process;
    int64_t call, ret;
    bool open;
    char reply[64]; /* "?" unknown, "nil", "OK", "=text", ":number" */
} deed;

static void execute(cell *c, const deed *d, char reply[64])
{
    bool held = true;

    switch (d->what) {
    case GET:
    case GETDEL:
        snprintf(reply, 64, "%s%.60s", c->present ? "=" : "nil", c->present ? c->text : "");
        if (d->what == GETDEL)
            c->present = false;
        return;
    case SET:
    case SETNX:
    case CAS:
        if (d->what == SETNX)
            held = !c->present;
        if (d->what == CAS)
            held = c->present && strcmp(c->text, d->expect) == 0;
        strcpy(reply, held ? "OK" : "nil");
        if (!held)
            return;
        c->present = true;
        strcpy(c->text, d->arg);
        return;
    case INCR:
        snprintf(c->text, sizeof c->text, "%d", (c->present ? atoi(c->text) : 0) + 1);
        c->present = true;
        snprintf(reply, 64, ":%.60s", c->text);
        return;
    case APPEND:
        if (!c->present)
            c->text[0] = '\0';
        c->present = true;
        strcat(c->text, d->arg);
        snprintf(reply, 64, ":%zu", strlen(c->text));
        return;
    default:
        snprintf(reply, 64, ":%d", c->present);
        c->present = false;
    }
}

/* Tries every order of those not in done. */
static bool some_order(const deed deeds[], unsigned n, unsigned done, cell c)
{
    bool all = true;

    for (unsigned i = 0; i < n; i++)
        all = all && (done >> i & 1 || deeds[i].open);
    if (all)
        return true;
    for (unsigned i = 0; i < n; i++) {
        bool may = !(done >> i & 1);
        cell after = c;
        char reply[64];

        for (unsigned j = 0; j < n && may; j++)
            if (j != i && !(done >> j & 1))
                may = !(deeds[j].ret < deeds[i].call && !deeds[j].open) &&
                      !(j < i && deeds[j].process == deeds[i].process && !deeds[j].open);
        if (!may)
            continue;
        execute(&after, &deeds[i], reply);
        if (!deeds[i].open && strcmp(reply, deeds[i].reply) != 0)
            continue;
        if (some_order(deeds, n, done | 1u << i, after))
            return true;
    }
    return false;
}

/* ---- random histories ------------------------------------------------------------------- */

static uint64_t seed = 20260101;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 33) % n);
}

/* Deeds of one kind of key, executed at random moments in their intervals: linearizable. */
static unsigned make(deed deeds[], bool counter)
{
    unsigned n = 2 + below(OPS_MAX - 1), processes = 2 + below(3), order[OPS_MAX];
    int64_t moment[OPS_MAX], busy[8] = { 0 };
    cell c = { false, "" };

    for (unsigned i = 0; i < n; i++) {
        deed *d = &deeds[i];

        memset(d, 0, sizeof *d);
        d->what = counter ? (below(2) ? INCR : below(3) ? GET : DEL) : (int)below(DEEDS);
        if (!counter && d->what == INCR)
            d->what = GET;
        snprintf(d->arg, sizeof d->arg, "%c", 'a' + below(3));
        snprintf(d->expect, sizeof d->expect, "%c", 'a' + below(3));
        d->process = below(processes);
        d->call = (below(3) ? busy[d->process] : busy[d->process] - (int64_t)below(8)) + below(10);
        moment[i] = d->call > busy[d->process] ? d->call : busy[d->process]; /* the order of a process */
        moment[i] += below(20);
        d->ret = moment[i] + below(20);
        busy[d->process] = moment[i] + 1;
        order[i] = i;
    }
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = i + 1; j < n; j++)
            if (moment[order[j]] < moment[order[i]] ||
                (moment[order[j]] == moment[order[i]] && order[j] < order[i])) {
                unsigned swap = order[i];

                order[i] = order[j];
                order[j] = swap;
            }
    for (unsigned i = 0; i < n; i++)
        execute(&c, &deeds[order[i]], deeds[order[i]].reply);
    return n;
}

/* Something is not as it was: a reply, a time, an outcome. */
static void mutate(deed deeds[], unsigned n)
{
    deed *d = &deeds[below(n)], *other = &deeds[below(n)];

    switch (below(4)) {
    case 0:
        if (other != d)
            strcpy(d->reply, other->what == d->what ? other->reply : "=a");
        break;
    case 1:
        d->ret = d->call + (d->ret - d->call) / 4;
        break;
    case 2:
        strcpy(d->arg, "b");
        break;
    default:
        if (d->reply[0] == ':')
            snprintf(d->reply, sizeof d->reply, ":%d", atoi(d->reply + 1) + 1 - 2 * (int)below(2));
        else
            strcpy(d->reply, d->reply[0] == 'n' ? "=a" : "nil");
    }
    if (below(4) == 0)
        deeds[below(n)].open = true;
}

static void translate(const deed deeds[], unsigned n, history *h)
{
    static const op_kind kinds[] = { OP_GET, OP_SET, OP_SET, OP_SET, OP_ADD, OP_APPEND, OP_DEL, OP_GETDEL };

    history_init(h, MODEL_KEY, "k");
    for (unsigned i = 0; i < n; i++) {
        const deed *d = &deeds[i];
        op o = { .process = d->process, .call = d->call, .ret = d->open ? HISTORY_OPEN : d->ret };

        o.kind = (uint8_t)kinds[d->what];
        o.cond = d->what == SETNX ? COND_NX : d->what == CAS ? COND_IFEQ : COND_NONE;
        o.number = d->what == INCR;
        history_text(h, d->arg, strlen(d->arg), &o.arg);
        history_text(h, d->expect, strlen(d->expect), &o.expect);
        if (d->reply[0] == '=')
            history_text(h, d->reply + 1, strlen(d->reply + 1), &o.seen);
        o.reply_number = d->reply[0] == ':' ? atoi(d->reply + 1) : 0;
        o.reply = d->open              ? REPLY_UNKNOWN
                  : d->reply[0] == '=' ? REPLY_VALUE
                  : d->reply[0] == ':' ? REPLY_NUMBER
                  : d->reply[0] == 'n' ? REPLY_NIL
                                       : REPLY_OK;
        if (d->open && op_is_read(&o))
            continue;
        assert_int_equal(history_add(h, &o), 0);
    }
}

static char *written(const history *h)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    history_write(h, out);
    fclose(out);
    return text;
}

static void the_checker_agrees_with_all_permutations(void **state)
{
    checker *c = checker_new();
    unsigned ok = 0, violations = 0;

    (void)state;
    for (unsigned round = 0; round < 40000; round++) {
        deed deeds[OPS_MAX];
        unsigned n = make(deeds, round & 1), mutations = round % 4;
        bool expected;
        history h;
        verdict v;

        for (unsigned i = 0; i < mutations; i++)
            mutate(deeds, n);
        expected = some_order(deeds, n, 0, (cell){ false, "" });
        assert_true(mutations || expected);
        translate(deeds, n, &h);
        v = checker_run(c, &h, CHECKER_BUDGET);
        if (v != (expected ? VERDICT_OK : VERDICT_VIOLATION)) {
            char *text = written(&h);

            fail_msg("round %u: verdict %d of\n%s", round, (int)v, text);
        }
        *(expected ? &ok : &violations) += 1;
        history_done(&h);
    }
    assert_true(ok > 10000 && violations > 5000);
    checker_free(c);
}

static void what_is_shrunk_is_a_violation_of_which_nothing_can_be_spared(void **state)
{
    checker *c = checker_new();
    unsigned before = 0, after = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        deed deeds[OPS_MAX];
        unsigned n = make(deeds, round & 1);
        history h, small;

        mutate(deeds, n);
        mutate(deeds, n);
        translate(deeds, n, &h);
        if (checker_run(c, &h, CHECKER_BUDGET) == VERDICT_VIOLATION) {
            assert_int_equal(shrink(c, &h, &small, NULL), 0);
            assert_int_equal(checker_run(c, &small, CHECKER_BUDGET), VERDICT_VIOLATION);
            before += h.count;
            after += small.count;
            history_done(&small);
        }
        history_done(&h);
    }
    assert_true(after < before * 2 / 3);
    checker_free(c);
}

/* ---- by hand ---------------------------------------------------------------------------- */

/* The verdict on the history that text describes (all but its first line and its end). */
static verdict judge(const char *head, const char *text)
{
    char *whole = NULL;
    checker *c = checker_new();
    history_reader reader = { 0 };
    history h, end;
    verdict v;

    assert_true(asprintf(&whole, "# by hand\nhistory %s\n%send\n", head, text) > 0);
    reader.in = fmemopen(whole, strlen(whole), "r");
    if (history_read(&reader, &h) != 1)
        fail_msg("%s", reader.error);
    assert_int_equal(history_read(&reader, &end), 0);
    fclose(reader.in);
    v = checker_run(c, &h, CHECKER_BUDGET);
    history_done(&h);
    checker_free(c);
    free(whole);
    return v;
}

#define ok(head, text)        assert_int_equal(judge(head, text), VERDICT_OK)
#define violation(head, text) assert_int_equal(judge(head, text), VERDICT_VIOLATION)

static void a_read_sees_the_latest_write_that_returned(void **state)
{
    (void)state;
    ok("k key", "0 1 2 SET \"a\" => OK\n1 3 4 GET => \"a\"\n");
    violation("k key", "0 1 2 SET \"a\" => OK\n1 3 4 GET => nil\n");
    ok("k key", "0 1 4 SET \"a\" => OK\n1 3 5 GET => nil\n1 6 7 GET => \"a\"\n");
    violation("k key", "0 1 9 SET \"a\" => OK\n1 3 5 GET => \"a\"\n1 6 7 GET => nil\n");
}

static void an_unknown_outcome_may_come_late_or_never(void **state)
{
    (void)state;
    ok("k key", "0 1 - SET \"a\" => ?\n1 3 4 GET => nil\n1 50 60 GET => \"a\"\n");
    ok("k key", "0 1 - SET \"a\" => ?\n1 3 4 GET => nil\n");
    violation("k key", "0 1 - SET \"a\" => ?\n1 3 4 GET => \"a\"\n1 5 6 GET => nil\n");
    violation("k key", "1 3 4 GET => \"a\"\n0 5 - SET \"a\" => ?\n");
}

static void a_pipeline_is_executed_in_order(void **state)
{
    (void)state;
    ok("k key", "0 1 9 SET \"a\" => OK\n0 1 9 GET => \"a\"\n");
    violation("k key", "0 1 9 SET \"a\" => OK\n0 1 9 GET => nil\n");
    ok("k key", "0 1 9 SET \"a\" => OK\n1 1 9 GET => nil\n");
}

static void versions_never_repeat(void **state)
{
    (void)state;
    ok("k key", "0 1 2 SET \"a\" => OK\n0 3 4 GETV => \"a\" 7\n0 5 6 SET \"b\" IFVER 7 => OK\n"
                "0 7 8 GETV => \"b\" 9\n");
    violation("k key", "0 1 2 SET \"a\" => OK\n0 3 4 GETV => \"a\" 7\n0 5 6 SET \"b\" => OK\n"
                       "0 7 8 GETV => \"b\" 7\n");
    violation("k key", "0 1 2 SET \"a\" => OK\n0 3 4 GETV => \"a\" 7\n0 5 6 SET \"b\" => OK\n"
                       "0 7 8 SET \"c\" IFVER 7 => OK\n");
    violation("k key", "0 1 2 SET \"a\" => OK\n0 3 4 GETV => \"a\" 7\n0 5 9 SET \"b\" IFVER 7 => OK\n"
                       "1 5 9 SET \"c\" IFVER 7 => OK\n");
}

static void a_key_ends_at_its_deadline(void **state)
{
    (void)state;
    /* 5 ms from a call at 0 that returned at 1 ms; the clocks may differ by 1 ms: gone between 4 and 7 ms */
    ok("k key slack 1000000", "0 0 1000000 SET \"a\" PX 5 => OK\n1 6500000 6600000 GET => \"a\"\n");
    violation("k key slack 1000000", "0 0 1000000 SET \"a\" PX 5 => OK\n1 7100000 7200000 GET => \"a\"\n");
    ok("k key slack 1000000", "0 0 1000000 SET \"a\" PX 5 => OK\n1 3500000 4100000 GET => nil\n");
    violation("k key slack 1000000", "0 0 1000000 SET \"a\" PX 5 => OK\n1 3500000 3900000 GET => nil\n");
    violation("k key slack 1000000", "0 0 1000000 SET \"a\" PX 5 => OK\n1 4000000 4500000 GET => nil\n"
                                     "1 4600000 4700000 GET => \"a\"\n");
    ok("k key", "0 0 1000000 SET \"5\" PX 5 => OK\n1 7000000 7100000 INCRBY 1 => 1\n");
    violation("k key", "0 0 1000000 SET \"5\" PX 5 => OK\n1 7000000 7100000 INCRBY 1 => 6\n");
    ok("k key", "0 0 1000000 SET \"5\" PX 5 => OK\n1 2000000 2100000 PERSIST => 1\n"
                "1 9000000 9000001 GET => \"5\"\n");
    ok("k key", "0 0 1000000 SET \"5\" PX 5 => OK\n1 2000000 2100000 SET \"6\" KEEPTTL => OK\n"
                "1 9000000 9000001 GET => nil\n");
    violation("k key", "0 0 1000000 SET \"5\" PX 5 => OK\n1 2000000 2100000 SET \"6\" => OK\n"
                       "1 9000000 9000001 GET => nil\n");
    violation("k key", "0 0 1000000 SET \"5\" PX 500 => OK\n1 2000000 2100000 PTTL => 400\n");
    ok("k key", "0 0 1000000 SET \"5\" PX 500 => OK\n1 2000000 2100000 PTTL => 498\n");
}

static void a_bank_moves_money_in_one_act(void **state)
{
    (void)state;
    ok("b bank 10 10", "0 1 9 MOVE 0 1 3 => [7 13]\n1 1 9 READ => [10 10]\n1 10 11 READ => [7 13]\n");
    violation("b bank 10 10", "0 1 9 MOVE 0 1 3 => [7 13]\n1 1 9 READ => [7 10]\n");
    violation("b bank 10 10", "0 1 9 PUT 0 10 5 1 10 15 => OK\n1 1 9 PUT 0 10 4 1 10 16 => OK\n");
    violation("b bank 10 10", "0 1 9 MOVE 0 1 3 => [7 13]\n1 1 9 READ 0 => 7\n1 1 9 READ 1 => 10\n");
    ok("b bank 1", "0 1 2 ADD 0 5 => 6\n0 3 4 READ => [6]\n");
}

static void a_torn_read_is_never_right(void **state)
{
    (void)state;
    violation("g key", "0 1 9 SET \"a\" => OK\n1 1 9 GET => torn \"a nil\"\n");
}

static void a_spent_budget_is_no_verdict(void **state)
{
    checker *c = checker_new();
    history h;

    (void)state;
    history_init(&h, MODEL_KEY, "k");
    for (unsigned i = 0; i < 24; i++) {
        op o = { .kind = OP_SET, .process = i, .call = 1, .ret = 100, .reply = REPLY_OK };
        char text[8];

        snprintf(text, sizeof text, "%u", i);
        history_text(&h, text, strlen(text), &o.arg);
        history_add(&h, &o);
    }
    op o = { .kind = OP_GET, .process = 99, .call = 200, .ret = 300, .reply = REPLY_NIL };
    history_add(&h, &o);
    assert_int_equal(checker_run(c, &h, 1000), VERDICT_UNDECIDED);
    assert_in_range(checker_steps(c), 1000, 1100);
    history_done(&h);
    checker_free(c);
}

/* A history of a bank that is executed one after the other, with some overlap in time; wrong: which reply is not. */
static void make_bank(history *h, unsigned count, unsigned wrong)
{
    int64_t balances[4] = { 100, 100, 100, 100 };

    history_init(h, MODEL_BANK, "bank");
    h->accounts = 4;
    memcpy(h->initial, balances, sizeof balances);
    for (unsigned i = 0; i < count; i++) {
        op o = { .process = i % 3, .call = i * 10, .ret = i * 10 + 15, .reply = REPLY_LIST };

        o.number = 1 + below(20);
        o.a = (uint8_t)below(4);
        o.b = (uint8_t)((o.a + 1 + below(3)) % 4);
        o.kind = below(3) ? OP_MOVE : OP_READ;
        if (o.kind == OP_MOVE) {
            balances[o.a] -= o.number;
            balances[o.b] += o.number;
            o.list[0] = balances[o.a];
            o.list[1] = balances[o.b];
        } else {
            memcpy(o.list, balances, sizeof balances);
        }
        if (i == wrong)
            o.list[below(2)]++;
        assert_int_equal(history_add(h, &o), 0);
    }
}

static void a_bank_is_shown_by_few_transfers_of_few_accounts(void **state)
{
    checker *c = checker_new();
    unsigned shown = 0, rounds = 300;

    (void)state;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned accounts;
        history h, small;

        make_bank(&h, 60, UINT32_MAX);
        assert_int_equal(checker_run(c, &h, CHECKER_BUDGET), VERDICT_OK);
        history_done(&h);
        make_bank(&h, 60, 5 + below(50));
        assert_int_equal(checker_run(c, &h, CHECKER_BUDGET), VERDICT_VIOLATION);
        assert_int_equal(shrink(c, &h, &small, &accounts), 0);
        assert_int_equal(checker_run(c, &small, CHECKER_BUDGET), VERDICT_VIOLATION);
        assert_int_equal(small.accounts, __builtin_popcount(accounts));
        shown += small.count;
        history_done(&small);
        history_done(&h);
    }
    assert_true(shown < 6 * rounds);
    checker_free(c);
}

static void a_lost_update_is_shown_by_the_two_that_saw_the_same(void **state)
{
    checker *c = checker_new();
    history h, small;
    char *text;

    (void)state;
    history_init(&h, MODEL_KEY, "visits");
    for (unsigned i = 0; i < 60; i++) {
        op o = { .kind = OP_ADD, .number = 1, .process = i % 5, .call = i * 10, .ret = i * 10 + 45 };

        o.reply = REPLY_NUMBER;
        o.reply_number = i < 40 ? i + 1 : i;
        history_add(&h, &o);
    }
    assert_int_equal(checker_run(c, &h, CHECKER_BUDGET), VERDICT_VIOLATION);
    assert_int_equal(shrink(c, &h, &small, NULL), 0);
    text = written(&small);
    assert_string_equal(text,
                        "history visits key\n4 390 435 INCRBY 1 => 40\n0 400 445 INCRBY 1 => 40\nend\n");
    free(text);
    history_done(&small);
    history_done(&h);
    checker_free(c);
}

/* The write whose value was met again is shown, although it makes no difference when it happened. */
static void a_sum_of_what_had_ended_is_shown_with_its_write(void **state)
{
    static const char expired[] = "history k key\n"
                                  "0 0 10 SET \"1010\" PX 50 => OK\n"
                                  "1 20 30 SET \"7\" XX PX 1 => OK\n"
                                  "0 40 50 SET \"1010\" PX 50 => OK\n"
                                  "1 90000000 90000100 INCRBY 54 => 1064\n"
                                  "end\n";
    checker *c = checker_new();
    history_reader reader = { .in = fmemopen((void *)(uintptr_t)expired, sizeof expired - 1, "r") };
    history h, small;
    char *text;

    (void)state;
    assert_int_equal(history_read(&reader, &h), 1);
    fclose(reader.in);
    assert_int_equal(checker_run(c, &h, CHECKER_BUDGET), VERDICT_VIOLATION);
    assert_int_equal(shrink(c, &h, &small, NULL), 0);
    text = written(&small);
    assert_non_null(strstr(text, "SET \"1010\" PX 50 => OK\n1 90000000 90000100 INCRBY 54 => 1064\nend\n"));
    assert_null(strstr(text, "XX"));
    free(text);
    history_done(&small);
    history_done(&h);
    checker_free(c);
}

/* ---- as text ---------------------------------------------------------------------------- */

static void what_is_written_is_read_again(void **state)
{
    static const char all[] = "history k key slack 5\n"
                              "0 1 2 GET => nil\n"
                              "0 1 2 GET => \"a\\\"\\\\\\x00\\xff \"\n"
                              "4294967295 1 - SET \"a\" => ?\n"
                              "1 1 2 SET \"\" NX PX 50 => nil\n"
                              "1 1 2 SET \"a\" IFEQ \"b\" KEEPTTL GET => \"x\"\n"
                              "1 1 2 SET \"a\" IFVER 12 => OK\n"
                              "1 1 2 SET \"a\" XX => OK\n"
                              "1 1 2 DEL IFEQ \"a\" => 1\n"
                              "1 1 2 GETDEL => \"a\"\n"
                              "1 1 2 INCRBY -9223372036854775808 => -1\n"
                              "1 1 2 APPEND \"x\" => 5\n"
                              "1 1 2 STRLEN => 5\n"
                              "1 1 2 EXISTS => 1\n"
                              "1 1 2 PEXPIRE 10 => 1\n"
                              "1 1 2 PERSIST => 0\n"
                              "1 1 2 PTTL => -1\n"
                              "1 1 2 GETV => \"a\" 17\n"
                              "1 1 2 GET => torn \"a b\"\n"
                              "end\n"
                              "history b bank 10 -20\n"
                              "1 1 2 MOVE 0 1 5 => [5 -15]\n"
                              "1 1 - MOVE 1 0 5 => ?\n"
                              "1 1 2 ADD 1 5 => 3\n"
                              "1 1 2 READ => [1 2]\n"
                              "1 1 2 READ 1 => 2\n"
                              "1 1 2 PUT 0 1 2 1 3 4 => OK\n"
                              "end\n";
    history_reader reader = { .in = fmemopen((void *)all, strlen(all), "r") };
    char *first, *second, *both = NULL;
    history h, g;

    (void)state;
    assert_int_equal(history_read(&reader, &h), 1);
    assert_int_equal(history_read(&reader, &g), 1);
    first = written(&h);
    second = written(&g);
    assert_true(asprintf(&both, "%s%s", first, second) > 0);
    assert_string_equal(both, all);
    history_done(&h);
    assert_int_equal(history_read(&reader, &h), 0);
    free(first);
    free(second);
    free(both);
    history_done(&g);
    fclose(reader.in);
}

static void a_bad_file_is_told_by_line_and_word(void **state)
{
    static const char *const bad[][2] = {
        { "hello\n", "line 1: expected: history" },
        { "history k cat\n", "line 1: word 3: expected key or bank" },
        { "history b bank 1 2 3 4 5 6 7 8 9\n", "line 1: word 12: a bank has up to 8" },
        { "history k key 5\n", "line 1: word 4: a bank has" },
        { "history k key\n", "line 1: the history of k has no end" },
        { "history k key\n\nx 1 2 GET => nil\n", "line 3: word 1: expected a number (the process)" },
        { "history k key\n-1 1 2 GET => nil\n", "line 2: a process is a number" },
        { "history k key\n1 2 1 GET => nil\n", "line 2: it returns before it is called" },
        { "history k key\n1 1 2 GRT => nil\n", "line 2: word 4: not a command of a key" },
        { "history k key\n1 1 2 GET nil\n", "line 2: word 5: expected =>" },
        { "history k key\n1 1 2 GET =>\n", "line 2: word 6: expected a number (the reply)" },
        { "history k key\n1 1 2 GET => nil nil\n", "line 2: word 7: expected the end" },
        { "history k key\n1 1 - GET => nil\n", "line 2: an operation without a return" },
        { "history k key\n1 1 2 SET \"a => OK\n", "line 2: a text has no end" },
        { "history k key\n1 1 2 SET \"\\a\" => OK\n", "line 2: \\ stands only before" },
        { "history k key\n1 1 2 SET a => OK\n", "line 2: word 5: expected a text in quotes" },
        { "history k key\n1 1 2 INCRBY 99999999999999999999 => 1\n", "line 2: word 5: expected a number" },
        { "history k key\n1 1 2 GET => [1 2]\n", "line 2: only MOVE and READ" },
        { "history b bank 1 2\n1 1 2 READ 2 => 1\n", "line 2: there is no account 2 of 2" },
        { "history b bank 1 2\n1 1 2 READ => [1]\n", "line 2: fewer than 2" },
        { "history b bank 1 2\n1 1 2 READ => [1 2 3]\n", "line 2: more than 2" },
        { "history b bank 1 2\n1 1 2 GET => nil\n", "line 2: word 4: not a command of a bank" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        history_reader reader = { .in = fmemopen((void *)bad[i][0], strlen(bad[i][0]), "r") };
        history h;

        assert_int_equal(history_read(&reader, &h), -1);
        if (strncmp(reader.error, bad[i][1], strlen(bad[i][1])) != 0)
            fail_msg("of %s: %s, not %s", bad[i][0], reader.error, bad[i][1]);
        fclose(reader.in);
    }
}

static void joined_values_are_the_values_of_joined_texts(void **state)
{
    static const char *const texts[] = { "",         "a", "1", "0", "-5", "12", "007", "9223372036854775807",
                                         "long text" };
    enum { N = sizeof texts / sizeof *texts };

    (void)state;
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            char both[64];
            value v = value_joined(value_of(texts[i], strlen(texts[i])),
                                   value_of(texts[j], strlen(texts[j]))),
                  w;

            snprintf(both, sizeof both, "%s%s", texts[i], texts[j]);
            w = value_of(both, strlen(both));
            assert_true(value_equal(v, w));
            if (strcmp(texts[j], "007") != 0) {
                assert_int_equal(v.is_number, w.is_number);
                assert_true(v.number == w.number);
            }
        }
    assert_true(value_equal(value_of_number(INT64_MIN), value_of("-9223372036854775808", 20)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checker_agrees_with_all_permutations),
        cmocka_unit_test(what_is_shrunk_is_a_violation_of_which_nothing_can_be_spared),
        cmocka_unit_test(a_read_sees_the_latest_write_that_returned),
        cmocka_unit_test(an_unknown_outcome_may_come_late_or_never),
        cmocka_unit_test(a_pipeline_is_executed_in_order),
        cmocka_unit_test(versions_never_repeat),
        cmocka_unit_test(a_key_ends_at_its_deadline),
        cmocka_unit_test(a_bank_moves_money_in_one_act),
        cmocka_unit_test(a_torn_read_is_never_right),
        cmocka_unit_test(a_spent_budget_is_no_verdict),
        cmocka_unit_test(a_bank_is_shown_by_few_transfers_of_few_accounts),
        cmocka_unit_test(a_lost_update_is_shown_by_the_two_that_saw_the_same),
        cmocka_unit_test(a_sum_of_what_had_ended_is_shown_with_its_write),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_bad_file_is_told_by_line_and_word),
        cmocka_unit_test(joined_values_are_the_values_of_joined_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
