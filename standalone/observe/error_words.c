/* error_words.c - see error_words.h.
 *
 * A list, searched from the front under a lock: such errors are made by DEBUG ERROR, and by scripts and modules some day, not by
 * what the server itself is asked millions of times a second; the kinds of those have counters of their own in stats.h.
 *
 * SPDX-License-Identifier: MIT */
#include "error_words.h"

#include <string.h>

void error_words_init(error_words *w)
{
    pthread_mutex_init(&w->lock, NULL);
    w->used = 0;
}

void error_words_done(error_words *w)
{
    pthread_mutex_destroy(&w->lock);
}

static void spell(char text[ERROR_WORD_MAX + 1], kv_slice word)
{
    size_t len = word.len < ERROR_WORD_MAX ? word.len : ERROR_WORD_MAX;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)word.data[i];

        text[i] = c <= ' ' || c == ':' || c == '#' || c == ',' || c == 0x7f ? '_' : word.data[i];
    }
    text[len] = '\0';
}

/* The entry of that name, or a new one; the last place is kept for the rest. */
static error_word *find(error_words *w, const char *text)
{
    for (int i = 0; i < w->used; i++)
        if (strcmp(w->words[i].text, text) == 0)
            return &w->words[i];
    if (w->used == ERROR_WORDS_MAX + 1)
        return &w->words[ERROR_WORDS_MAX];
    w->words[w->used].count = 0;
    strcpy(w->words[w->used].text, w->used == ERROR_WORDS_MAX ? ERROR_WORDS_REST : text);
    return &w->words[w->used++];
}

void error_words_add(error_words *w, kv_slice word)
{
    char text[ERROR_WORD_MAX + 1];

    spell(text, word);
    pthread_mutex_lock(&w->lock);
    find(w, text)->count++;
    pthread_mutex_unlock(&w->lock);
}

void error_words_reset(error_words *w)
{
    pthread_mutex_lock(&w->lock);
    w->used = 0;
    pthread_mutex_unlock(&w->lock);
}

int error_words_read(error_words *w, error_word ret_words[ERROR_WORDS_MAX + 1])
{
    int used;

    pthread_mutex_lock(&w->lock);
    used = w->used;
    memcpy(ret_words, w->words, (size_t)used * sizeof *ret_words);
    pthread_mutex_unlock(&w->lock);
    return used;
}
