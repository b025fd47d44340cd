/* crc64.c - eight bytes at a time: slicing, after Kounavis and Berry, "A Systematic Approach to Building High
 * Performance Software-Based CRC Generators" (2005). SPDX-License-Identifier: MIT */
#include "crc64.h"

#include <string.h>

#include "crc64_tables.h"

static uint64_t load_little(const unsigned char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

uint64_t crc64(uint64_t crc, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    for (; len >= 8; len -= 8, p += 8) {
        crc ^= load_little(p);
        crc = crc64_table[7][crc & 0xff] ^ crc64_table[6][crc >> 8 & 0xff] ^
              crc64_table[5][crc >> 16 & 0xff] ^ crc64_table[4][crc >> 24 & 0xff] ^
              crc64_table[3][crc >> 32 & 0xff] ^ crc64_table[2][crc >> 40 & 0xff] ^
              crc64_table[1][crc >> 48 & 0xff] ^ crc64_table[0][crc >> 56];
    }
    for (; len > 0; len--)
        crc = crc64_table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
    return crc;
}
