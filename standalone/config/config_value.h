/* config_value.h - what words of a configuration mean, whatever directive they are of: numbers, memory, choices, lists.
 *
 *     int64_t bytes;
 *
 *     if (!config_parse_memory(kv_str("64mb"), &bytes))
 *         return config_fail(error, "argument must be a memory value");
 *
 * Private to this folder. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CONFIG_VALUE_H
#define KV_STANDALONE_CONFIG_VALUE_H

#include "config.h"

bool config_word_is(kv_slice word, const char *text); /* in any case */

/* Digits of the base, with an optional minus; nothing else, and in base 10 no zero before others. */
bool config_parse_number(kv_slice text, int base, int64_t *ret_value);
/* Digits and k, kb, m, mb, g, gb or b, in any case: bytes. */
bool config_parse_memory(kv_slice text, int64_t *ret_value);
bool config_parse_real(kv_slice word, double *ret_value); /* no NaN */
/* The index of the word among the row's choices; -1 with the sentence that lists them. */
int config_parse_choice(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error);
/* The number that a row of a type which is stored as one means by this word, within its bounds; or -1 with the sentence. */
int config_parse_value(enum config_id id, kv_slice word, int64_t *ret_value, config_error *error);
/* Fails with the list of the words. */
int config_fail_choices(const char *const *words, config_error *error);

/* The words with one blank between, behind prefix, to be freed; NULL when memory is out. */
char *config_join_words(const char *prefix, int argc, const kv_slice argv[], size_t *ret_len);
/* CONFIG SET gives several words as one argument: "normal 1 2 3". Splits a copy of all of them at blanks: the first max
 * go to words, *ret_count counts them all. They point into the copy, which is returned, to be freed; NULL: memory is out. */
char *config_split_words(int argc, const kv_slice argv[], kv_slice words[], int max, int *ret_count);

#endif
