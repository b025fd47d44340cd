/* completion.h - the words that can stand where the cursor is.
 *
 *     completion c = { 0 };
 *     complete(kvc_str("client ki"), &c);      // c.from = 7, c.words = { "kill" }
 *     completion_done(&c);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_COMPLETION_H
#define KVCLI_COMPLETION_H

#include "words.h"

typedef struct completion {
    size_t from; /* where in the line the word begins that these would replace */
    words words; /* sorted, each once, in the case the user types */
    bool key;    /* a key is expected there: ask the server, too */
    words *more; /* names of commands besides the table's, borrowed; may be NULL */
} completion;

void complete(kvc_slice line, completion *c);
/* Sorts and removes doubles, after words were added. */
void completion_sort(completion *c);
/* What all words begin with. */
kvc_slice completion_common(const completion *c);
void completion_done(completion *c);

#endif
