/* random_hex.c - see random_hex.h. SPDX-License-Identifier: MIT */
#include "random_hex.h"

#include <string.h>
#include <sys/random.h>

void random_hex(char *text, size_t digits)
{
    unsigned char bytes[32]; /* up to 256 of them come whole (getrandom(2)) */

    for (size_t at = 0; at < digits; at++) {
        size_t of = at % sizeof bytes;

        if (of == 0 && getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            memset(bytes, 0, sizeof bytes);
        text[at] = "0123456789abcdef"[bytes[of] & 15];
    }
    text[digits] = '\0';
}
