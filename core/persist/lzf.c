/* lzf.c - packing and unpacking the LZF format.
 *
 * Packing is greedy: three bytes are hashed to the last place where they stood; if they still do, within 8 KiB,
 * that is a match, as long as it goes. Places are counted through all calls of a table, so that what an earlier call left
 * there is told by its number, and the table need not be wiped for each string, which would cost more than packing a
 * short one. SPDX-License-Identifier: MIT */
#include "lzf.h"

#include <string.h>

#define LITERALS_MAX 32u
#define DISTANCE_MAX 8192u
#define MATCH_MAX    264u
#define HASH_BITS    12u

_Static_assert(sizeof((lzf_table){ 0 }).last == sizeof(uint32_t) << HASH_BITS, "a slot for each hash");

typedef struct packer {
    lzf_table *table;
    const unsigned char *from;
    size_t len;
    unsigned char *into;
    size_t max, used;
} packer;

static uint32_t *slot_of(const packer *p, size_t at)
{
    uint32_t three = (uint32_t)p->from[at] << 16 | (uint32_t)p->from[at + 1] << 8 | p->from[at + 2];

    return &p->table->last[three * 0x9e3779b1u >> (32 - HASH_BITS)];
}

/* Notes that three bytes stand at; returns where they, or others of that hash, stood before, or at: nowhere. */
static size_t remember(const packer *p, size_t at)
{
    uint32_t *slot = slot_of(p, at), before = *slot;

    *slot = p->table->base + (uint32_t)at;
    return before >= p->table->base ? before - p->table->base : at;
}

static bool put_literals(packer *p, size_t first, size_t end)
{
    while (first < end) {
        size_t n = end - first < LITERALS_MAX ? end - first : LITERALS_MAX;

        if (p->max - p->used < n + 1)
            return false;
        p->into[p->used++] = (unsigned char)(n - 1);
        memcpy(p->into + p->used, p->from + first, n);
        p->used += n;
        first += n;
    }
    return true;
}

static bool put_match(packer *p, size_t distance, size_t len)
{
    size_t back = distance - 1, more = len - 2;

    if (p->max - p->used < 3)
        return false;
    if (more < 7) {
        p->into[p->used++] = (unsigned char)(more << 5 | back >> 8);
    } else {
        p->into[p->used++] = (unsigned char)(7u << 5 | back >> 8);
        p->into[p->used++] = (unsigned char)(more - 7);
    }
    p->into[p->used++] = (unsigned char)back;
    return true;
}

/* How many bytes at two places are equal. */
static size_t match_length(const packer *p, size_t before, size_t at)
{
    size_t most = p->len - at < MATCH_MAX ? p->len - at : MATCH_MAX, len = 0;

    while (len < most && p->from[before + len] == p->from[at + len])
        len++;
    return len;
}

size_t lzf_compress(lzf_table *table, const void *from, size_t len, void *into, size_t max)
{
    packer p = { table, from, len, into, max, 0 };
    size_t literals = 0, at = 0;

    if (len >= UINT32_MAX / 2)
        return 0;
    if (table->base == 0 || UINT32_MAX - table->base <= len) { /* the first call, or numbers run out */
        memset(table->last, 0, sizeof table->last);
        table->base = 1;
    }
    while (at + 2 < len) {
        size_t before = remember(&p, at);
        size_t match = before < at && at - before <= DISTANCE_MAX ? match_length(&p, before, at) : 0;

        if (match < 3) {
            at++;
            continue;
        }
        if (!put_literals(&p, literals, at) || !put_match(&p, at - before, match))
            goto full;
        for (size_t end = at + match; ++at < end;)
            if (at + 2 < len)
                remember(&p, at);
        literals = at;
    }
    if (!put_literals(&p, literals, len))
        goto full;
    table->base += (uint32_t)len;
    return p.used;
full:
    table->base += (uint32_t)len;
    return 0;
}

/* ---- unpacking ---- */

typedef struct unpacker {
    const unsigned char *from;
    size_t len, at;
    unsigned char *into;
    size_t want, have;
} unpacker;

static bool take_literals(unpacker *u, size_t n)
{
    if (u->len - u->at < n || u->want - u->have < n)
        return false;
    memcpy(u->into + u->have, u->from + u->at, n);
    u->at += n;
    u->have += n;
    return true;
}

static bool take_match(unpacker *u, unsigned control)
{
    size_t len = control >> 5, distance = (size_t)(control & 31) << 8;

    if (len == 7) {
        if (u->at == u->len)
            return false;
        len += u->from[u->at++];
    }
    if (u->at == u->len)
        return false;
    distance += u->from[u->at++] + (size_t)1;
    len += 2;
    if (distance > u->have || u->want - u->have < len)
        return false;
    for (; len > 0; len--, u->have++) /* the two may overlap: then it repeats itself */
        u->into[u->have] = u->into[u->have - distance];
    return true;
}

bool lzf_decompress(const void *from, size_t len, void *into, size_t want)
{
    unpacker u = { from, len, 0, into, want, 0 };

    while (u.at < u.len) {
        unsigned control = u.from[u.at++];

        if (!(control < 32 ? take_literals(&u, control + 1u) : take_match(&u, control)))
            return false;
    }
    return u.have == want;
}
