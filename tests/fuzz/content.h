/* content.h - databases that an input is loaded into, and a sum of what they hold then.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_CONTENT_H
#define TESTS_FUZZ_CONTENT_H

#include "call.h"

#define CONTENT_STORES 2
#define CONTENT_NOW_MS 1700000000000

typedef struct content {
    kv_domain *domain;
    kv_store *stores[CONTENT_STORES];
    kv_databases databases;
} content;

void content_open(content *c);
/* Of all keys, values and deadlines, in whatever order they lie. */
uint64_t content_sum(const content *c);
void content_close(content *c);

#endif
