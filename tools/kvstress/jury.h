/* jury.h - judges histories while the next are made. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_JURY_H
#define KVSTRESS_JURY_H

#include "checker.h"
#include "run.h"

typedef struct jury_result {
    uint64_t histories, operations, undecided;
    char undecided_name[HISTORY_NAME_MAX + 1]; /* of the first */
} jury_result;

/* Starts the thread. record may be NULL. */
jury *jury_new(run *r, FILE *record);
/* Waits for the verdicts on all that was handed in; the result of all. */
void jury_end(jury *j, jury_result *ret);
void jury_free(jury *j);
/* Any thread: hands a history in and takes it over; waits while too many are pending. Its times are the clock's. */
void jury_submit(jury *j, check_id check, history *h);

/* What is to be shown of a violation: shrinks it. Also of histories that were read from a file. */
void jury_show(checker *c, const history *h, check_id check, evidence *e);

#endif
