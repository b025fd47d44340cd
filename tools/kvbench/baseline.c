/* baseline.c - see baseline.h.
 *
 *     index   a word per 16 bytes, as many as keys: what the buckets of a map take
 *     blocks  64 bytes for each key: an entry of 16 + 32 bytes with its header
 *
 * The words of the index name blocks in a random order. Both lie in memory that asks for huge pages, as the map's
 * does, and is touched beforehand. SPDX-License-Identifier: MIT */
#include "baseline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE  ((size_t)2 << 20)
#define WORD_BYTES 16u /* of the index for each key */
#define BLOCK      64u

struct baseline {
    uint64_t keys;
    size_t index_bytes, block_bytes;
    uint64_t *index;
    char *blocks;
};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline uint64_t below(uint64_t random, uint64_t n)
{
    return (random >> 32) * n >> 32;
}

static void *memory_of(size_t *bytes)
{
    *bytes = (*bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    void *memory = aligned_alloc(HUGE_PAGE, *bytes);

    if (memory) {
        madvise(memory, *bytes, MADV_HUGEPAGE); /* a wish, as it is the map's */
        memset(memory, 0, *bytes);
    }
    return memory;
}

baseline *baseline_new(uint64_t keys, fault *f)
{
    baseline *b = calloc(1, sizeof *b);

    if (!b)
        goto fail;
    b->keys = keys;
    b->index_bytes = keys * WORD_BYTES;
    b->block_bytes = keys * BLOCK;
    b->index = memory_of(&b->index_bytes);
    b->blocks = memory_of(&b->block_bytes);
    if (!b->index || !b->blocks)
        goto fail;
    for (uint64_t i = 0; i < keys; i++)
        b->index[i * WORD_BYTES / sizeof *b->index] = below(mix(i), keys);
    return b;
fail:
    baseline_free(b);
    fault_set(f, "out of memory");
    return NULL;
}

void baseline_free(baseline *b)
{
    if (!b)
        return;
    free(b->index);
    free(b->blocks);
    free(b);
}

uint64_t baseline_lookups(const baseline *b, uint64_t position, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t block = b->index[below(position, b->keys) * WORD_BYTES / sizeof *b->index], found;

        memcpy(&found, b->blocks + block * BLOCK, sizeof found); /* 0, which only we know */
        position = mix(position + found + 0x9e3779b97f4a7c15);
    }
    return position;
}

uint64_t baseline_lookups_ahead(const baseline *b, uint64_t position, unsigned n)
{
    const uint64_t *words[BASELINE_AHEAD];
    const char *blocks[BASELINE_AHEAD];
    uint64_t sum = 0, found;

    for (unsigned i = 0; i < n; i++) {
        position = mix(position + 0x9e3779b97f4a7c15);
        words[i] = &b->index[below(position, b->keys) * WORD_BYTES / sizeof *b->index];
        __builtin_prefetch(words[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        blocks[i] = b->blocks + *words[i] * BLOCK;
        __builtin_prefetch(blocks[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(&found, blocks[i], sizeof found); /* 0, which only we know */
        sum += found;
    }
    return position + sum;
}

uint64_t baseline_arithmetic(uint64_t number, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        number = mix(number + 0x9e3779b97f4a7c15);
    return number;
}

const char *baseline_hot_line(const baseline *b)
{
    return b->blocks;
}
