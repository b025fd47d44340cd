/* words.c - SPDX-License-Identifier: MIT */
#include "words.h"

#include <ctype.h>
#include <stdlib.h>

#include "exit_status.h"
#include "text.h"

static kvc_slice copy(kvc_slice word)
{
    char *data = must_have(malloc(word.len + 1));

    if (word.len)
        memcpy(data, word.data, word.len);
    data[word.len] = 0;
    return kvc_bytes(data, word.len);
}

void words_add(words *w, kvc_slice word)
{
    if (w->n == w->capacity) {
        w->capacity = w->capacity ? w->capacity * 2 : 8;
        w->items = must_have(realloc(w->items, w->capacity * sizeof *w->items));
    }
    w->items[w->n++] = copy(word);
}

void words_add_str(words *w, const char *word)
{
    words_add(w, kvc_str(word));
}

void words_set(words *w, size_t i, kvc_slice word)
{
    kvc_slice old = w->items[i];

    w->items[i] = copy(word);
    free((char *)old.data);
}

void words_remove_first(words *w)
{
    free((char *)w->items[0].data);
    memmove(w->items, w->items + 1, --w->n * sizeof *w->items);
}

void words_done(words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free((char *)w->items[i].data);
    free(w->items);
    *w = (words){ 0 };
}

bool words_at_is(const words *w, size_t i, const char *word)
{
    return i < w->n && slice_is_word(w->items[i], word);
}

/* ---- a line to words ---- */

typedef struct line_reader {
    const char *at, *end;
} line_reader;

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0;
}

static int hex_digit(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* After a backslash in double quotes. */
static void read_escape(line_reader *r, text *word)
{
    static const char letters[] = "nrtba", bytes[] = "\n\r\t\b\a";
    const char *letter;

    if (r->end - r->at >= 3 && *r->at == 'x' && hex_digit(r->at[1]) >= 0 && hex_digit(r->at[2]) >= 0) {
        text_add_char(word, (char)(hex_digit(r->at[1]) << 4 | hex_digit(r->at[2])));
        r->at += 3;
        return;
    }
    letter = *r->at ? strchr(letters, *r->at) : NULL;
    text_add_char(word, letter ? bytes[letter - letters] : *r->at);
    r->at++;
}

/* After the opening quote; up to and with the closing one. */
static const char *read_quoted(line_reader *r, char quote, text *word)
{
    while (r->at < r->end && *r->at != quote) {
        bool escaped = *r->at == '\\' && r->end - r->at >= 2;

        if (escaped && quote == '"') {
            r->at++;
            read_escape(r, word);
        } else {
            if (escaped && r->at[1] == '\'')
                r->at++;
            text_add_char(word, *r->at++);
        }
    }
    if (r->at == r->end)
        return quote == '"' ? "a closing \" is missing" : "a closing ' is missing";
    r->at++;
    return r->at == r->end || is_blank(*r->at) ? NULL : "a closing quote must be followed by a blank";
}

static const char *read_word(line_reader *r, text *word)
{
    while (r->at < r->end && !is_blank(*r->at)) {
        char c = *r->at++;

        if (c == '"' || c == '\'')
            return read_quoted(r, c, word);
        text_add_char(word, c);
    }
    return NULL;
}

const char *words_split(kvc_slice line, words *ret_words)
{
    line_reader r = { line.data, line.data + line.len };
    words found = { 0 };
    const char *wrong = NULL;
    text word = { 0 };

    for (;;) {
        while (r.at < r.end && is_blank(*r.at))
            r.at++;
        if (r.at == r.end)
            break;
        text_clear(&word);
        wrong = read_word(&r, &word);
        if (wrong)
            break;
        words_add(&found, text_slice(&word));
    }
    for (size_t i = 0; !wrong && i < found.n; i++)
        words_add(ret_words, found.items[i]);
    words_done(&found);
    text_done(&word);
    return wrong;
}
