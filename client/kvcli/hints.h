/* hints.h - what may still follow on a line that begins with a command. SPDX-License-Identifier: MIT */
#ifndef KVCLI_HINTS_H
#define KVCLI_HINTS_H

#include "syntax.h"
#include "words.h"

/* Where a walk along the words of a command stands in its syntax. */
typedef struct syntax_walk {
    const syntax *arguments; /* NULL: unknown, or none */
    const syntax *pending;   /* the rest of an option or block that was begun; NULL: none */
    bool pending_one;        /* of pending only the first */
    size_t next;             /* the first argument that was not used up */
    uint64_t used;           /* of the first 64: was used */
} syntax_walk;

/* Walks along argv, which begins behind the command's name. */
void syntax_walk_along(syntax_walk *walk, const syntax *arguments, size_t argc, const kvc_slice *argv);
/* The argument expected next, if that is one value; NULL: an option, or nothing. */
const syntax *syntax_walk_expects(const syntax_walk *walk);
/* Calls visit with each option word that may stand next. */
typedef void syntax_word_fn(void *arg, const char *word);
void syntax_walk_words(const syntax_walk *walk, syntax_word_fn *visit, void *arg);

/* Adds what is to be shown behind line, beginning with a blank if line does not end with one; nothing when the command is
 * unknown, complete, or quoted in a way that is not finished. */
void hint_for(kvc_slice line, text *out);

#endif
