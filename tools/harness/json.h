/* json.h - the one thing about writing JSON that is easily got wrong. SPDX-License-Identifier: MIT */
#ifndef HARNESS_JSON_H
#define HARNESS_JSON_H

#include <stdio.h>

/* A JSON string with its quotes. */
void json_string(const char *text, FILE *out);

#endif
