/* error_words.h - how often each kind of error was replied, by its first word, for those that stats.h has no counter for.
 *
 * Any thread; bounded: ERROR_WORDS_MAX words, whatever comes then counts as ERRORSTATS_OVERFLOW.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ERROR_WORDS_H
#define KV_STANDALONE_ERROR_WORDS_H

#include <pthread.h>

#include "kvstore/kvstore.h"

#define ERROR_WORDS_MAX  128
#define ERROR_WORD_MAX   30 /* bytes; what is longer is no word of an error's kind */
#define ERROR_WORDS_REST "ERRORSTATS_OVERFLOW"

typedef struct error_word {
    char text[ERROR_WORD_MAX + 1];
    uint64_t count;
} error_word;

typedef struct error_words {
    pthread_mutex_t lock;
    int used;
    error_word words[ERROR_WORDS_MAX + 1]; /* one more for the rest */
} error_words;

void error_words_init(error_words *w);
void error_words_done(error_words *w);
/* Counts one; bytes that INFO's lines cannot hold are written as '_'. word has 1 to ERROR_WORD_MAX bytes. */
void error_words_add(error_words *w, kv_slice word);
/* Forgets all of them. */
void error_words_reset(error_words *w);
/* Copies them out, in no order; returns how many. */
int error_words_read(error_words *w, error_word ret_words[ERROR_WORDS_MAX + 1]);

#endif
