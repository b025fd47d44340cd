/* push_plan.h - the random conversation of push_oracle: which client asks what.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_PUSH_PLAN_H
#define TESTS_PUSH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    clients = 4,     /* of each server; the second half begins in RESP3 */
    told_client = 3, /* whom others redirect their invalidations to */
    words_max = 10,
};

typedef struct step {
    int client;
    int count;
    char words[words_max][32]; /* "id0" ... stand for the ids of clients */
} step;

/* Whether the step's command is name. */
bool step_is(const step *s, const char *name);
/* Draws count steps, which depend on the number alone, and on whether keyspace events are compared apart from all else. */
void push_plan_draw(uint64_t number, bool apart, step steps[], size_t count);

#endif
