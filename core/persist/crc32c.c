/* crc32c.c - see crc32c.h.
 *
 * By the instruction where there is one. It takes three cycles, and one can begin in each: so long pieces are summed in three
 * lanes at once, whose sums are put together by multiplication, which costs about as much as a hundred bytes.
 *
 * Without it, a table has a row for each half byte: 64 bytes, which stay in the cache beside what is summed, instead of 1 KiB.
 *
 * SPDX-License-Identifier: MIT */
#include "crc32c.h"

#include <string.h>

uint32_t crc32c_plain(uint32_t crc, const void *bytes, size_t len)
{
    /* The remainders of 0..15 times x^28, for the reflected polynomial 82f63b78. */
    static const uint32_t half[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const unsigned char *at = bytes;

    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ half[crc & 15];
        crc = crc >> 4 ^ half[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
#define WITH_INSTRUCTION    __attribute__((target("sse4.2")))
#define SUM_WORD(sum, word) __builtin_ia32_crc32di(sum, word)
#define SUM_BYTE(sum, byte) __builtin_ia32_crc32qi((uint32_t)(sum), byte)
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define WITH_INSTRUCTION
#define SUM_WORD(sum, word) __crc32cd((uint32_t)(sum), word)
#define SUM_BYTE(sum, byte) __crc32cb((uint32_t)(sum), byte)
#endif

#ifdef WITH_INSTRUCTION
#define LANE_BYTES 2048u
#define LANE_SHIFT 0x0d65762au /* x^(8 * LANE_BYTES) modulo the polynomial */

/* The product of two remainders; bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (; a; a <<= 1) {
        product ^= a >> 31 ? b : 0;
        b = b >> 1 ^ (b & 1 ? 0x82f63b78 : 0);
    }
    return product;
}

/* Three lanes side by side. What stands before n bytes counts x^8n times. */
WITH_INSTRUCTION static uint32_t sum_lanes(uint32_t sum, const unsigned char *at)
{
    uint64_t one = sum, two = 0, three = 0, word;

    for (const unsigned char *end = at + LANE_BYTES; at < end; at += 8) {
        memcpy(&word, at, 8);
        one = SUM_WORD(one, word);
        memcpy(&word, at + LANE_BYTES, 8);
        two = SUM_WORD(two, word);
        memcpy(&word, at + 2 * LANE_BYTES, 8);
        three = SUM_WORD(three, word);
    }
    two ^= multiply((uint32_t)one, LANE_SHIFT);
    return (uint32_t)three ^ multiply((uint32_t)two, LANE_SHIFT);
}

WITH_INSTRUCTION static uint32_t crc32c_instruction(uint32_t crc, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t sum = (uint32_t)~crc, word;

    for (; len >= 3 * LANE_BYTES; len -= 3 * LANE_BYTES, at += 3 * LANE_BYTES)
        sum = sum_lanes((uint32_t)sum, at);
    for (; len >= 8; len -= 8, at += 8) {
        memcpy(&word, at, 8);
        sum = SUM_WORD(sum, word);
    }
    for (; len; len--)
        sum = SUM_BYTE(sum, *at++);
    return ~(uint32_t)sum;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") ? crc32c_instruction(crc, bytes, len)
                                            : crc32c_plain(crc, bytes, len);
#elif defined(WITH_INSTRUCTION)
    return crc32c_instruction(crc, bytes, len);
#else
    return crc32c_plain(crc, bytes, len);
#endif
}
