/* number.h - decimal fractions as text, in the extended precision that INCRBYFLOAT keeps.
 *
 * The locale of the program does not matter: the decimal point is a point.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_NUMBER_H
#define KV_COMMANDS_NUMBER_H

#include "kvstore/kvstore.h"

/* Room for the longest text: LDBL_MAX has 4,933 digits before the point; 17 follow it. */
#define NUMBER_TEXT_MAX 5120

/* What strtold takes, the whole of text and no space before it: decimal or hexadecimal digits, an exponent,
 * "inf". False for anything else, for a NaN, for a number out of range, and from NUMBER_TEXT_MAX bytes on. */
bool number_parse(kv_slice text, long double *ret_value);
/* Writes value with up to 17 digits after the point and no trailing zeros, nor an exponent. False when it is not finite. */
bool number_format(long double value, char buffer[NUMBER_TEXT_MAX], kv_slice *ret_text);

#endif
