/* arguments.h - keeping the arguments of a request longer than the input that they stand in.
 *
 *     arguments_measure(owned, argc, argv, &sizes);        // adds up; then get room for bytes, and for so many owners
 *     to = arguments_keep(owned, argc, argv, copy, to, &kept);
 *     arguments_drop(&kept);
 *
 * What lies in memory of its own is not copied: a reference is kept. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ARGUMENTS_H
#define KV_STANDALONE_ARGUMENTS_H

#include "bytes.h"

typedef struct arguments_sizes {
    size_t bytes;       /* to be copied */
    size_t owners;      /* references to be kept, */
    size_t owned_bytes; /* of so much */
} arguments_sizes;

/* owned: of the request; may be NULL. */
void arguments_measure(const kv_owned *owned, int argc, const kv_slice argv[], arguments_sizes *sizes);
/* copy[0 .. argc) become what argv is, out of the room at to, behind which it returns; kept->bytes has room for the references. */
char *arguments_keep(const kv_owned *owned, int argc, const kv_slice argv[], kv_slice copy[], char *to,
                     kv_owned *kept);
/* Gives the references back. */
void arguments_drop(kv_owned *kept);

#endif
