/* sha256.c - see sha256.h. SPDX-License-Identifier: MIT */
#include "sha256.h"

#ifdef KV_HAVE_LIBCRYPTO
#include <openssl/sha.h>

void sha256(const void *data, size_t len, unsigned char ret_digest[SHA256_BYTES])
{
    SHA256(data, len, ret_digest);
}
#else
void sha256(const void *data, size_t len, unsigned char ret_digest[SHA256_BYTES])
{
    sha256_plain(data, len, ret_digest);
}
#endif
