/* jury.c - see jury.h.
 *
 * One thread, and a queue between it and the workers: 1024 histories at most, so that memory is bounded; who finds it
 * full waits, which slows the asking down to what can be judged.
 *
 * SPDX-License-Identifier: MIT */
#include "jury.h"

#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "format.h"
#include "shrink.h"

#define PENDING_MAX 1024u

typedef struct brief {
    check_id check;
    history history;
} brief;

struct jury {
    run *run;
    FILE *record; /* NULL: nowhere */
    checker *checker;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    brief pending[PENDING_MAX];
    unsigned first, count;
    bool ending;
    jury_result result;
};

/* ---- what is shown ---------------------------------------------------------------------- */

static void print_row(const history *h, const op *o, evidence *e)
{
    char *command = NULL, *answer = NULL;
    size_t size;
    FILE *out = open_memstream(&command, &size);

    if (out) {
        op_print_command(h, o, out);
        fclose(out);
    }
    out = open_memstream(&answer, &size);
    if (out && o->reply == REPLY_TORN)
        fwrite(history_bytes(h, o->seen), 1, o->seen.value.len, out);
    else if (out)
        op_print_reply(h, o, out);
    if (out)
        fclose(out);
    evidence_row(e, o->process, o->call, o->ret, command ? command : "", answer ? answer : "");
    free(command);
    free(answer);
}

/* What the accounts hold that the shrunk history is about. */
static void note_balances(const history *small, unsigned accounts, evidence *e)
{
    size_t len = strlen(e->note);
    unsigned at = 0;

    for (unsigned i = 0; i < HISTORY_ACCOUNTS && len < sizeof e->note; i++)
        if (accounts >> i & 1)
            len += (size_t)snprintf(e->note + len, sizeof e->note - len, "%s account %u holds %lld",
                                    at ? "," : " Before them", i, (long long)small->initial[at]),
                at++;
}

void jury_show(checker *c, const history *h, check_id check, evidence *e)
{
    unsigned accounts = 0;
    history small;

    evidence_init(e, CHECK_NAMES[check], "these operations on %s fit into no order", h->name);
    if (shrink(c, h, &small, &accounts)) { /* memory is out: all of it */
        for (unsigned i = 0; i < h->count; i++)
            print_row(h, &h->ops[i], e);
        return;
    }
    for (unsigned i = 0; i < small.count; i++)
        print_row(h, &h->ops[small.ops[i].id], e);
    evidence_sort(e);
    snprintf(e->note, sizeof e->note, "%u of the %u operations on it; the others make no difference.",
             small.count, h->count);
    if (h->model == MODEL_BANK)
        note_balances(&small, accounts, e);
    history_done(&small);
}

/* ---- the thread ------------------------------------------------------------------------- */

/* Times from the start of the run, so that they are short; operations that did not happen are left out. */
static void tidy(history *h, int64_t start_ns)
{
    for (unsigned i = 0; i < h->count; i++) {
        h->ops[i].call -= start_ns;
        if (h->ops[i].ret != HISTORY_OPEN)
            h->ops[i].ret -= start_ns;
    }
}

static void judge(jury *j, brief *b)
{
    verdict v;
    evidence e;

    tidy(&b->history, j->run->start_ns);
    if (j->record)
        history_write(&b->history, j->record);
    if (run_over(j->run)) { /* nobody waits for its verdict */
        history_done(&b->history);
        return;
    }
    v = checker_run(j->checker, &b->history, j->run->options->budget);
    pthread_mutex_lock(&j->lock);
    j->result.histories++;
    j->result.operations += b->history.count;
    if (v == VERDICT_UNDECIDED && j->result.undecided++ == 0)
        memcpy(j->result.undecided_name, b->history.name, sizeof b->history.name);
    pthread_mutex_unlock(&j->lock);
    if (v == VERDICT_VIOLATION) {
        jury_show(j->checker, &b->history, b->check, &e);
        for (unsigned i = 0; i < e.count; i++) { /* as the other checks have them */
            e.ops[i].call += j->run->start_ns;
            if (e.ops[i].ret != HISTORY_OPEN)
                e.ops[i].ret += j->run->start_ns;
        }
        if (b->check == CHECK_CRASH)
            evidence_row(&e, 0, j->run->crashed_ns, j->run->crashed_ns, "(kill -9 of the server)", "");
        evidence_sort(&e);
        run_violation(j->run, &e);
    }
    history_done(&b->history);
}

static void *jury_main(void *arg)
{
    jury *j = arg;

    pthread_mutex_lock(&j->lock);
    while (j->count || !j->ending) {
        brief b;

        if (j->count == 0) {
            pthread_cond_wait(&j->changed, &j->lock);
            continue;
        }
        b = j->pending[j->first];
        j->first = (j->first + 1) % PENDING_MAX;
        j->count--;
        pthread_cond_broadcast(&j->changed);
        pthread_mutex_unlock(&j->lock);
        judge(j, &b);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

jury *jury_new(run *r, FILE *record)
{
    jury *j = calloc(1, sizeof *j);

    if (!j)
        return NULL;
    j->run = r;
    j->record = record;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->changed, NULL);
    j->checker = checker_new();
    j->started = j->checker && pthread_create(&j->thread, NULL, jury_main, j) == 0;
    if (j->started)
        return j;
    jury_free(j);
    return NULL;
}

void jury_submit(jury *j, check_id check, history *h)
{
    pthread_mutex_lock(&j->lock);
    while (j->count == PENDING_MAX)
        pthread_cond_wait(&j->changed, &j->lock);
    j->pending[(j->first + j->count++) % PENDING_MAX] = (brief){ .check = check, .history = *h };
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    memset(h, 0, sizeof *h);
}

void jury_end(jury *j, jury_result *ret)
{
    pthread_mutex_lock(&j->lock);
    j->ending = true;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    if (j->started)
        pthread_join(j->thread, NULL);
    j->started = false;
    *ret = j->result;
}

void jury_free(jury *j)
{
    jury_result result;

    if (!j)
        return;
    jury_end(j, &result);
    checker_free(j->checker);
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    free(j);
}
