/* sha256_plain.c - SHA-256 as FIPS 180-4 writes it down (sections 4.1.2, 4.2.2, 5.1.1, 5.3.3, 6.2), made for reading: it
 * hashes passwords, of which there are few. The schedule and what is left of the message are wiped, since they are the
 * password. SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "secret.h"
#include "sha256.h"

#define BLOCK 64

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void write_word(unsigned char to[4], uint32_t word)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(word >> (24 - 8 * i));
}

static void make_schedule(uint32_t w[64], const unsigned char block[BLOCK])
{
    for (int t = 0; t < 16; t++, block += 4)
        w[t] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate_right(w[t - 15], 7) ^ rotate_right(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate_right(w[t - 2], 17) ^ rotate_right(w[t - 2], 19) ^ w[t - 2] >> 10;

        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
}

static void take_block(uint32_t hash[8], const unsigned char block[BLOCK])
{
    uint32_t w[64], v[8]; /* v: a b c d e f g h of the standard */

    make_schedule(w, block);
    memcpy(v, hash, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t s1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t t1 = v[7] + s1 + choice + constants[t] + w[t];
        uint32_t s0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + s0 + majority;
    }
    for (int i = 0; i < 8; i++)
        hash[i] += v[i];
    secret_wipe(w, sizeof w);
    secret_wipe(v, sizeof v);
}

/* The end of the message, a one bit, zeros, and its length in bits: one block or two. */
static void take_end(uint32_t hash[8], const unsigned char *rest, size_t rest_len, uint64_t len)
{
    unsigned char end[2 * BLOCK] = { 0 };
    size_t size = rest_len + 9 <= BLOCK ? BLOCK : 2 * BLOCK;

    if (rest_len)
        memcpy(end, rest, rest_len);
    end[rest_len] = 0x80;
    write_word(end + size - 8, (uint32_t)(len * 8 >> 32));
    write_word(end + size - 4, (uint32_t)(len * 8));
    for (size_t at = 0; at < size; at += BLOCK)
        take_block(hash, end + at);
    secret_wipe(end, sizeof end);
}

void sha256_plain(const void *data, size_t len, unsigned char ret_digest[SHA256_BYTES])
{
    uint32_t hash[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    const unsigned char *at = data;
    size_t left = len;

    for (; left >= BLOCK; left -= BLOCK, at += BLOCK)
        take_block(hash, at);
    take_end(hash, at, left, len);
    for (int i = 0; i < 8; i++)
        write_word(ret_digest + 4 * i, hash[i]);
}
