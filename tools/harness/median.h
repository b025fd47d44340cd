/* median.h - of figures of several rounds. SPDX-License-Identifier: MIT */
#ifndef HARNESS_MEDIAN_H
#define HARNESS_MEDIAN_H

#include <stddef.h>

/* Sorts values; n is at least 1. */
double median(double values[], size_t n);

#endif
