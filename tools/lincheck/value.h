/* value.h - the bytes of a key as the models see them: a fingerprint, a length, and a number if they are one.
 *
 *     value v = value_of("12", 2);
 *     value w = value_joined(v, value_of("3", 1));     // what "123" gives
 *
 * A model's state must be small, compared and copied millions of times a second, and APPEND must not need the
 * bytes: the fingerprint is a polynomial over GF(2^61 - 1) at a fixed random point (Karp and Rabin 1987), for
 * which the fingerprint of two texts, one after the other, follows from theirs. Two different texts of n bytes
 * have the same one with a probability of n / 2^61.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_VALUE_H
#define LINCHECK_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct value {
    uint64_t hash;
    int64_t number; /* what INCR would see, if is_number */
    uint32_t len;
    bool is_number; /* the shortest decimal form of a signed 64-bit number */
} value;

value value_of(const char *bytes, size_t len);
value value_of_number(int64_t number);
value value_joined(value first, value second);

static inline bool value_equal(value a, value b)
{
    return a.hash == b.hash && a.len == b.len;
}

/* Writes number in decimal: at most 20 bytes, no NUL; returns how many. */
size_t value_print(int64_t number, char out[20]);

#endif
