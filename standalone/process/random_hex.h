/* random_hex.h - a name that nobody has had before: random digits. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_RANDOM_HEX_H
#define KV_STANDALONE_RANDOM_HEX_H

#include <stddef.h>

/* Writes digits lower case hexadecimal digits, and a NUL behind them: digits + 1 bytes. They are all zeros if
 * the kernel has nothing random to give, which it has on every Linux that starts at all. */
void random_hex(char *text, size_t digits);

#endif
