/* words.h - a command as a list of words, and how a line of input becomes one.
 *
 *     words command = { 0 };
 *     const char *wrong = words_split(line, &command);
 *     if (wrong)
 *         return complain(EXIT_USAGE, "%s", wrong);
 *     kvc_connection_command(connection, command.n, command.items, ...);
 *     words_done(&command);
 *
 * The syntax is redis-cli's and that of inline commands: words between blanks; "..." with \n \r \t \b \a \\ \" \xHH; '...' with \'
 * only. A closing quote ends the word.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_WORDS_H
#define KVCLI_WORDS_H

#include "kvclient.h"

/* Owned, binary-safe words; each is followed by a NUL. Zeroed: none. */
typedef struct words {
    size_t n, capacity;
    kvc_slice *items;
} words;

void words_add(words *w, kvc_slice word);
void words_add_str(words *w, const char *word);
/* Adds the words of line; NULL, or what is wrong with it (then none were added). */
const char *words_split(kvc_slice line, words *ret_words);
/* Replaces word i. */
void words_set(words *w, size_t i, kvc_slice word);
void words_remove_first(words *w);
void words_done(words *w);
/* Word i, in any case, is this; false when there is no word i. */
bool words_at_is(const words *w, size_t i, const char *word);

#endif
