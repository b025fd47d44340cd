/* hash.c - the keyed hash of a domain: XXH3 with a secret of 192 random bytes, or SipHash-1-3.
 *
 * Hash flooding needs knowledge of the hash. The secret is drawn per domain, is never stored and never
 * shows (scan cursors tell only the order of entries). XXH3 with a secret is fast and no PRF: who serves
 * keys chosen by an enemy that can time answers selects SipHash, which is one.
 *
 * XXH3_64bits_withSecret is libxxhash's, inlined so that a short key costs some 25 instructions.
 * SipHash-c-d: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012; here c = 1,
 * d = 3, as in Rust's and Python's tables. SPDX-License-Identifier: MIT */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "domain_private.h"

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* Little endian, whatever the machine. */
static inline uint64_t load_le(const unsigned char *p, size_t len)
{
    uint64_t x = 0;

    for (size_t i = 0; i < len; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static uint64_t siphash13(const unsigned char *secret, kv_slice key)
{
    uint64_t k0 = load_le(secret, 8), k1 = load_le(secret + 8, 8);
    uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                      k1 ^ 0x7465646279746573 };
    const unsigned char *p = (const unsigned char *)key.data;
    size_t left = key.len;

    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word = load_le(p, 8);

        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)(key.len & 0xff) << 56 | load_le(p, left);

    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t domain_hash(const kv_domain *domain, kv_slice key)
{
    if (__builtin_expect(domain->siphash, 0))
        return siphash13(domain->secret, key);
    return XXH3_64bits_withSecret(key.data, key.len, domain->secret, SECRET_SIZE);
}
