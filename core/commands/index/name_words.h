/* name_words.h - a command's name as two machine words, case folded away: what the index hashes and compares.
 *
 * Folding sets bit 5 of every byte, so that 'G' and 'g' are one. It also makes strangers meet ('[' and '{',
 * NUL and space), but none of them meets a letter: a name that consists of letters is found by its letters
 * only. The generator of the index insists on such names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_NAME_WORDS_H
#define KV_COMMANDS_NAME_WORDS_H

#include <stdint.h>
#include <string.h>

#define NAME_WORDS_MAX 16 /* the longest name of a command, in bytes */

/* Names of equal length with equal words are equal. */
typedef struct name_words {
    uint64_t lo, hi;
} name_words;

/* len: 1..NAME_WORDS_MAX. Short names are read in overlapping pieces, so that nothing behind them is. */
static inline name_words name_words_of(const char *name, size_t len)
{
    name_words w = { 0, 0 };

    if (len >= 8) {
        memcpy(&w.lo, name, 8);
        memcpy(&w.hi, name + len - 8, 8);
    } else if (len >= 4) {
        uint32_t first, last;

        memcpy(&first, name, 4);
        memcpy(&last, name + len - 4, 4);
        w.lo = first;
        w.hi = last;
    } else {
        w.lo = (uint64_t)(unsigned char)name[0] | (uint64_t)(unsigned char)name[len / 2] << 8 |
               (uint64_t)(unsigned char)name[len - 1] << 16;
    }
    w.lo |= 0x2020202020202020u;
    w.hi |= 0x2020202020202020u;
    return w;
}

/* The slot, in a table of 2^bits, of a name with these words. */
static inline unsigned name_words_slot(name_words w, size_t len, uint64_t multiplier, unsigned bits)
{
    return (unsigned)(((w.lo ^ (w.hi << 7 | w.hi >> 57) ^ len) * multiplier) >> (64 - bits));
}

#endif
