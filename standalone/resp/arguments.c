/* arguments.c - see arguments.h. SPDX-License-Identifier: MIT */
#include "arguments.h"

#include <string.h>

void arguments_measure(const kv_owned *owned, int argc, const kv_slice argv[], arguments_sizes *sizes)
{
    for (int i = 0; i < argc; i++) {
        kv_bytes *owner = kv_owner_of(owned, argv[i]);

        sizes->owners += owner != NULL;
        sizes->owned_bytes += owner ? kv_bytes_size(owner) : 0;
        sizes->bytes += owner ? 0 : argv[i].len;
    }
}

char *arguments_keep(const kv_owned *owned, int argc, const kv_slice argv[], kv_slice copy[], char *to,
                     kv_owned *kept)
{
    for (int i = 0; i < argc; i++) {
        kv_bytes *owner = kv_owner_of(owned, argv[i]);
        size_t len = argv[i].len;

        if (owner) {
            kept->bytes[kept->count++] = kv_bytes_ref(owner);
            copy[i] = argv[i];
            continue;
        }
        if (len)
            memcpy(to, argv[i].data, len);
        copy[i] = kv_slice_of(to, len);
        to += len;
    }
    return to;
}

void arguments_drop(kv_owned *kept)
{
    while (kept->count)
        kv_bytes_unref(kept->bytes[--kept->count]);
}
