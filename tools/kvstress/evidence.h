/* evidence.h - what is shown of a violation: a table of operations, and what is wrong with them.
 *
 *     evidence e;
 *     evidence_init(&e, "visibility", "connection 7 reads what connection 3 had replaced");
 *     evidence_row(&e, 3, call, ret, "SET a 2", "OK");
 *     evidence_row(&e, 7, call, ret, "GET a", "1")->guilty = true;
 *     run_violation(run, &e);         // takes it
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_EVIDENCE_H
#define KVSTRESS_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define EVIDENCE_TEXT 200 /* bytes of a command or a reply; longer ones are cut, with dots */

typedef struct evidence_op {
    uint32_t process;  /* 0: no connection */
    int64_t call, ret; /* ns; ret INT64_MAX: it did not return */
    char command[EVIDENCE_TEXT], reply[EVIDENCE_TEXT];
    bool guilty;
} evidence_op;

typedef struct evidence {
    const char *check;
    char title[400];
    char note[400]; /* below the table; may be empty */
    evidence_op *ops;
    unsigned count, room;
    unsigned dropped; /* rows there was no memory for */
} evidence;

void evidence_init(evidence *e, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void evidence_done(evidence *e);
/* The new row, never NULL; its texts may be filled in later. */
evidence_op *evidence_row(evidence *e, uint32_t process, int64_t call, int64_t ret, const char *command,
                          const char *reply);
/* Rows in the order of their calls. */
void evidence_sort(evidence *e);
void evidence_print(const evidence *e, int64_t start_ns, FILE *out);
void evidence_print_json(const evidence *e, int64_t start_ns, FILE *out);

#endif
