/* sha1.c - see sha1.h. SPDX-License-Identifier: MIT */
#include "sha1.h"

#define BLOCK 64

static uint32_t rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The function and the constant of a round: RFC 3174, section 5. */
static uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d)
{
    if (round < 20)
        return ((b & c) | (~b & d)) + 0x5a827999u;
    if (round < 40)
        return (b ^ c ^ d) + 0x6ed9eba1u;
    if (round < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu;
    return (b ^ c ^ d) + 0xca62c1d6u;
}

static void add_block(uint32_t state[5], const unsigned char block[BLOCK])
{
    uint32_t w[80], v[5];

    for (int i = 0; i < 16; i++)
        w[i] = load32(block + 4 * (size_t)i);
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 80; i++) {
        uint32_t next = rotate(v[0], 5) + mix(i, v[1], v[2], v[3]) + v[4] + w[i];

        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (int i = 0; i < 5; i++)
        state[i] += v[i];
}

void sha1(kv_slice data, unsigned char ret_hash[SHA1_BYTES])
{
    uint32_t state[5] = { 0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u };
    unsigned char last[2 * BLOCK] = { 0 };
    size_t whole = data.len / BLOCK * BLOCK, rest = data.len - whole;
    size_t last_len = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)data.len * 8;

    for (size_t at = 0; at < whole; at += BLOCK)
        add_block(state, (const unsigned char *)data.data + at);
    if (rest)
        memcpy(last, data.data + whole, rest);
    last[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[last_len - 1 - i] = (unsigned char)(bits >> (8 * i));
    for (size_t at = 0; at < last_len; at += BLOCK)
        add_block(state, last + at);
    for (size_t i = 0; i < SHA1_BYTES; i++)
        ret_hash[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}
