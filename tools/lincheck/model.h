/* model.h - what a correct server does: from a state and an operation to the states that may follow.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_MODEL_H
#define LINCHECK_MODEL_H

#include "history.h"

/* What one operation can lead to at most: a key whose deadline is near may be there or not, and a condition on a
 * version that nobody has seen may hold or not. */
#define MODEL_BRANCHES 4

typedef union model_state {
    struct {
        value value;
        int64_t deadline_from, deadline_to; /* ns: when it ends; from INT64_MAX: never */
        int64_t version, version_max;       /* -1: nobody has seen it yet */
        bool present;
    } key;
    int64_t balances[HISTORY_ACCOUNTS];
} model_state;

/* The object before the first operation. Every byte of a state is defined: states are compared as memory. */
void model_begin(const history *h, model_state *state);
/* Writes the states that may follow, if the operation gave the reply that it gave: their number, 0 if it
 * cannot have been executed here. */
unsigned model_step(const history *h, const op *o, const model_state *state, model_state out[MODEL_BRANCHES]);

#endif
