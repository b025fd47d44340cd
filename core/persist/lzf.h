/* lzf.h - the compression of strings in RDB files: the format of Marc Lehmann's LibLZF.
 *
 *     literals   000LLLLL, then L + 1 bytes
 *     match      LLLooooo oooooooo            L 1..6: L + 2 bytes from o + 1 bytes back
 *                111ooooo LLLLLLLL oooooooo   L + 9 bytes
 *
 * Both directions are ours: they are short, and a file is then the same wherever it was written.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_LZF_H
#define KV_PERSIST_LZF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No input becomes more than this many times longer when it is unpacked. */
#define LZF_RATIO_MAX 88u

/* Where sequences of three bytes were seen last: one per compressing thread. base is 0 at first; nothing else need
 * be set, and nothing between two calls. */
typedef struct lzf_table {
    uint32_t base; /* positions below are of earlier calls */
    uint32_t last[1 << 12];
} lzf_table;

/* Compresses len bytes into at most max; returns how many it took, or 0: it does not fit. */
size_t lzf_compress(lzf_table *table, const void *from, size_t len, void *into, size_t max);

/* Unpacks len bytes, which must make exactly want. False: they do not, or are no such stream; never writes past
 * into + want. */
bool lzf_decompress(const void *from, size_t len, void *into, size_t want);

#endif
