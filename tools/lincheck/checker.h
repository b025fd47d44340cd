/* checker.h - whether a history is linearizable: can its operations be put in one order, each at a moment
 * between its call and its return, in which a correct server would have given these replies?
 *
 *     checker *c = checker_new();
 *     switch (checker_run(c, &history, CHECKER_BUDGET)) ...
 *     checker_free(c);
 *
 * The search is that of Wing and Gong (1993) with Lowe's cache of configurations (2017); checker.c tells how.
 *
 * Threads    A checker belongs to one thread at a time; it keeps its memory from one history to the next.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_CHECKER_H
#define LINCHECK_CHECKER_H

#include "model.h"

typedef enum verdict {
    VERDICT_OK,
    VERDICT_VIOLATION,
    VERDICT_UNDECIDED, /* the budget was spent, or memory is out: not ok */
} verdict;

/* Configurations looked at before the checker gives up: some seconds, and some hundred MB at worst. */
#define CHECKER_BUDGET 2000000u

typedef struct checker checker;

checker *checker_new(void);
void checker_free(checker *c);
verdict checker_run(checker *c, const history *h, size_t budget);
/* The state at the end of the order that was found, after VERDICT_OK. */
const model_state *checker_state(const checker *c);
/* Configurations that the last run looked at. */
size_t checker_steps(const checker *c);

#endif
