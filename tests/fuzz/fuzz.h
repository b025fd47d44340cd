/* fuzz.h - what a fuzz target is.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Feeds data to what is tested; does not return when that misbehaves. The result is always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant that holds whatever the input. */
#define must(condition)                                                             \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#endif
