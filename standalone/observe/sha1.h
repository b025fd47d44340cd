/* sha1.h - SHA-1 (RFC 3174), for DEBUG DIGEST, which must be that of redis-server. It protects nothing.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SHA1_H
#define KV_STANDALONE_SHA1_H

#include "kvstore/kvstore.h"

#define SHA1_BYTES 20

void sha1(kv_slice data, unsigned char ret_hash[SHA1_BYTES]);

#endif
