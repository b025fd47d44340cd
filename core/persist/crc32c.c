/* crc32c.c - see crc32c.h. The table has a row for each half byte: 64 bytes, which stay in the cache beside what is
 * summed, instead of 1 KiB. SPDX-License-Identifier: MIT */
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
__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const void *bytes,
                                                                     size_t len)
{
    const unsigned char *at = bytes;
    uint64_t sum = (uint32_t)~crc, word;

    for (; len >= 8; len -= 8, at += 8) {
        memcpy(&word, at, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    for (; len; len--)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *at++);
    return ~(uint32_t)sum;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_instruction(crc, bytes, len)
                                            : crc32c_plain(crc, bytes, len);
}
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t word;

    crc = ~crc;
    for (; len >= 8; len -= 8, at += 8) {
        memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    for (; len; len--)
        crc = __crc32cb(crc, *at++);
    return ~crc;
}
#else
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return crc32c_plain(crc, bytes, len);
}
#endif
