/* pattern_fuzz.c - the pattern matcher against another one that is easier to believe.
 *
 * Input: a byte for the case, a byte for the length of the pattern, the pattern, the text. The other matcher is
 * the textbook's table: row i, column j says whether the first i tokens of the pattern match the first j bytes.
 *
 * SPDX-License-Identifier: MIT */
#include "pattern.h"

#include <string.h>

#include "fuzz.h"

enum { pattern_max = 100, text_max = 300 };

typedef struct token {
    enum { STAR, SET } kind;
    bool matches[256]; /* SET: which bytes */
} token;

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static void add_byte(token *t, unsigned char byte, bool ignore_case)
{
    for (int c = 0; c < 256; c++)
        if (c == byte || (ignore_case && lower((unsigned char)c) == lower(byte)))
            t->matches[c] = true;
}

static void add_range(token *t, unsigned char from, unsigned char to, bool ignore_case)
{
    if (ignore_case) {
        from = lower(from);
        to = lower(to);
    }
    if (from > to) {
        unsigned char swap = from;

        from = to;
        to = swap;
    }
    for (int c = 0; c < 256; c++) {
        unsigned char folded = ignore_case ? lower((unsigned char)c) : (unsigned char)c;

        if (folded >= from && folded <= to)
            t->matches[c] = true;
    }
}

/* A bracket whose '[' was read: what it says, and where it ends. */
static size_t read_bracket(token *t, const unsigned char *p, size_t len, bool ignore_case)
{
    size_t i = 0;
    bool not = len && p[0] == '^';

    i += not ;
    while (i < len && p[i] != ']') {
        if (p[i] == '\\' && i + 1 < len) {
            add_byte(t, p[i + 1], ignore_case);
            i += 2;
        } else if (i + 2 < len && p[i + 1] == '-') {
            add_range(t, p[i], p[i + 2], ignore_case);
            i += 3;
        } else {
            add_byte(t, p[i], ignore_case);
            i++;
        }
    }
    if (not )
        for (int c = 0; c < 256; c++)
            t->matches[c] = !t->matches[c];
    return i < len ? i + 1 : i;
}

static size_t read_tokens(token *tokens, const unsigned char *p, size_t len, bool ignore_case)
{
    size_t n = 0;

    for (size_t i = 0; i < len; n++) {
        token *t = &tokens[n];
        unsigned char c = p[i++];

        memset(t, 0, sizeof *t);
        t->kind = c == '*' ? STAR : SET;
        if (c == '?')
            memset(t->matches, true, sizeof t->matches);
        else if (c == '[')
            i += read_bracket(t, p + i, len - i, ignore_case);
        else if (c == '\\' && i < len)
            add_byte(t, p[i++], ignore_case);
        else if (c != '*')
            add_byte(t, c, ignore_case);
    }
    return n;
}

static bool matches(const unsigned char *pattern, size_t pattern_len, const unsigned char *text, size_t len,
                    bool ignore_case)
{
    static token tokens[pattern_max];
    static bool table[pattern_max + 1][text_max + 1];
    size_t n = read_tokens(tokens, pattern, pattern_len, ignore_case);

    memset(table[0], 0, sizeof table[0]);
    table[0][0] = true;
    for (size_t i = 0; i < n; i++) {
        bool star = tokens[i].kind == STAR;

        table[i + 1][0] = star && table[i][0];
        for (size_t j = 0; j < len; j++)
            table[i + 1][j + 1] =
                star ? table[i][j + 1] || table[i + 1][j] : table[i][j] && tokens[i].matches[text[j]];
    }
    return table[n][len];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *text;
    size_t pattern_len, len;
    bool ignore_case;

    if (size < 2)
        return 0;
    ignore_case = data[0] & 1;
    pattern_len = data[1] % (pattern_max + 1);
    if (pattern_len > size - 2)
        pattern_len = size - 2;
    text = data + 2 + pattern_len;
    len = size - 2 - pattern_len;
    if (len > text_max)
        len = text_max;
    must(pattern_match(kv_slice_of(data + 2, pattern_len), kv_slice_of(text, len), ignore_case) ==
         matches(data + 2, pattern_len, text, len, ignore_case));
    return 0;
}
