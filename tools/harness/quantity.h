/* quantity.h - numbers as options have them: 500, 10k, 2M, 1G; seconds with a fraction.
 *
 * Threads    Any; nothing is kept. Errors: -1, and the caller says what was expected.
 *
 * SPDX-License-Identifier: MIT */
#ifndef HARNESS_QUANTITY_H
#define HARNESS_QUANTITY_H

#include <stddef.h>
#include <stdint.h>

/* The len bytes at text as a number from min to max; k, M or G at the end are thousands, millions, milliards. */
int quantity_count(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret);
/* More than 0 and at most max seconds. */
int quantity_seconds(const char *text, double max, double *ret);

#endif
