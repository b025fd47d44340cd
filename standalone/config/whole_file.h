/* whole_file.h - small files, read and replaced as a whole: configuration, users.
 *
 * Errors     -1 with errno.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_WHOLE_FILE_H
#define KV_STANDALONE_WHOLE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "kvstore/capability.h"

/* All that fd has left, in a new buffer; EFBIG: it is more than max bytes. */
int whole_file_read(int fd, size_t max, char **ret_text, size_t *ret_len) KV_EXCLUDES(kv_shard_held);
/* Puts text in the place of the file: a temporary one beside it, which nobody else may read meanwhile, synced, renamed over it,
 * and the directory synced. A crash leaves the old file or the new one; a failure the old one. */
int whole_file_replace(const char *path, mode_t mode, const char *text, size_t len)
    KV_EXCLUDES(kv_shard_held);

#endif
