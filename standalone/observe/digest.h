/* digest.h - a hash of values, and of all that the databases hold: DEBUG DIGEST, DEBUG DIGEST-VALUE.
 *
 * The same content gives the same digest as in redis-server, whatever the order in which it came there: so suites compare
 * two servers, or one before and after a restart.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_DIGEST_H
#define KV_STANDALONE_DIGEST_H

#include "call.h"
#include "sha1.h"

typedef struct digest {
    unsigned char bytes[SHA1_BYTES];
} digest;

#define DIGEST_TEXT 41
void digest_write(const digest *d, char text[DIGEST_TEXT]);

/* Of the value of an entry and whether it has a deadline; all zero for none (NULL). */
void digest_value(const entry *e, digest *ret_digest) KV_REQUIRES(kv_epoch_held);
/* Of all databases, each as of one moment. KV_ENOMEM. */
int digest_databases(const kv_databases *databases, int64_t now_ms, digest *ret_digest)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

#endif
