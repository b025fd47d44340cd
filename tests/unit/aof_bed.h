/* aof_bed.h - databases that tell what they do, a log of it in a directory, and the state after each batch as text.
 *
 *     bed b;
 *     make_bed(&b);
 *     write_script(&b, false);                  // b.batches batches; b.states[i] is the state after i of them
 *     ... do something to the files ...
 *     assert_loads(&b, 3);                      // what is served is states[3]
 *     end_bed(&b);
 *
 * Everything here fails the running test when it does not succeed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_AOF_BED_H
#define TESTS_AOF_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aof_buffer.h"
#include "aof_log.h"

#define DBS        2
#define PREFIX     "a.aof"
#define MANIFEST   PREFIX ".manifest"
#define INCR       "a.aof.1.incr.aof"
#define STATES_MAX 64

typedef struct bed {
    char directory[64];
    kv_domain *domain;
    kv_store *stores[DBS];
    kv_databases databases;
    aof_buffer buffer;
    aof_writer writer;
    aof_log log;
    aof_file file;
    char *states[STATES_MAX]; /* after so many batches */
    size_t batches;
    char said[2048];  /* the last that the log said */
    uint64_t prepare; /* bytes of filler that the file is prepared with, ahead of each batch; 0: none */
    int threads;      /* that load it beside the calling one, from the first command on */
} bed;

void make_bed(bed *b);
/* Only its databases. */
void open_stores(bed *b);
void close_stores(bed *b);
void end_bed(bed *b);
/* In a buffer that the next call uses again. */
char *path_in(const bed *b, const char *name);

/* ---- writing ---- */

void begin_log(bed *b);
/* Runs a command of the table, without its reply, and makes a batch of it. */
void run(bed *b, int db, const char *words);
/* What was told since the last one becomes a batch. */
void end_batch(bed *b);
/* A log with changes of every kind; with_big: one value is long enough to be retained, not copied. */
void write_script(bed *b, bool with_big);
/* All keys of all databases, sorted; to be freed. */
char *state_of(bed *b);

/* ---- reading ---- */

/* Loads what is in the directory into new databases; *ret_state is theirs. */
aof_log_found load(bed *b, bool cut_tail, char **ret_state, aof_end *ret_end);
void assert_loads(bed *b, size_t batches);
void assert_refused(bed *b, const char *why);
/* Writes the script, and loads it cut at every byte: what is whole is there. */
void assert_cut_anywhere(bed *b);

char *read_all(const char *path, size_t *ret_len);
/* In place: to write a file anew each time would make the file system sync it. */
void write_all(const char *path, const char *bytes, size_t len);
/* Where batch i (from 1) begins; i one too high: the end. */
size_t batch_at(const char *bytes, size_t len, size_t i);

#endif
