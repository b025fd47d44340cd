/* sha256.h - SHA-256 (FIPS 180-4), for the passwords of users.
 *
 * A hash function is not ours to write where a library has one: with OpenSSL it is libcrypto's. The server must also build
 * without, and neither libc nor libcrypt has the bare digest; sha256_plain.c is for that case, and is tested in all.
 *
 * Threads    Keeps nothing.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SHA256_H
#define KV_STANDALONE_SHA256_H

#include <stddef.h>

#define SHA256_BYTES 32

void sha256(const void *data, size_t len, unsigned char ret_digest[SHA256_BYTES]);
/* Our own, whatever sha256 is. */
void sha256_plain(const void *data, size_t len, unsigned char ret_digest[SHA256_BYTES]);

#endif
