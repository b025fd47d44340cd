/* format.h - histories as text, for people and for other checkers.
 *
 *     # comment
 *     history user:1 key slack 2000000
 *     0 1000 5200 SET "a" => OK
 *     1 1400 6000 SET "b" NX PX 50 => nil
 *     1 1400 6100 GET => "a"
 *     0 7000 - INCRBY 5 => ?
 *     end
 *     history accounts bank 100 100
 *     2 10 90 MOVE 0 1 25 => [75 125]
 *     end
 *
 * A line is: process, call, return (- for never), command, =>, reply. Times are nanoseconds. Operations of one
 * process are in its order. Text is quoted, with \" \\ and \xHH.
 *
 * Of a key    GET  SET text [NX | XX | IFEQ text | IFVER n] [PX ms] [KEEPTTL] [GET]  DEL [IFEQ text | IFVER n]
 *             GETDEL  INCRBY n  APPEND text  STRLEN  EXISTS  PEXPIRE ms  PERSIST  PTTL  GETV
 * Of a bank   MOVE from to n    n from one account to the other, in one transaction
 *             PUT a old new b old new    both, because WATCH said that nobody changed them
 *             ADD a n    READ a    READ    (all accounts at once); after bank stand the first balances
 * Replies     OK  nil  "text"  number  [list]  "text" version (of GETV)  torn "text"  ? (unknown)
 *             error (it did not happen: the line is left out)
 *
 * A group of keys that are always written together (MSET) is written as one key; "torn" is the reply of a read
 * whose members did not agree.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_FORMAT_H
#define LINCHECK_FORMAT_H

#include <stdio.h>

#include "history.h"

typedef struct history_reader {
    FILE *in;
    unsigned line;
    char error[256]; /* what is wrong with that line */
} history_reader;

/* The next history of the file, into *ret, which history_done frees: 1; at the end 0; -1 with reader->error. */
int history_read(history_reader *reader, history *ret);
void history_write(const history *h, FILE *out);

/* One operation, without its times. What the history does not know as text is told by its length. */
void op_print_command(const history *h, const op *o, FILE *out);
void op_print_reply(const history *h, const op *o, FILE *out);

#endif
