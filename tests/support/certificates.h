/* certificates.h - an authority, and certificates that it vouches for, made by the openssl program.
 *
 *     if (!certificates_make(directory))
 *         return 77;                                    // there is no openssl
 *     certificate_path(directory, "server.key")         // lives until the eighth call after it
 *
 * In the directory then lie ca.crt, server.crt and server.key (for localhost and 127.0.0.1), client.crt and client.key, another
 * authority's other.crt and other.key, and locked.key, which is server.key under the password "open sesame".
 *
 * Threads    One at a time. SPDX-License-Identifier: MIT */
#ifndef TESTS_CERTIFICATES_H
#define TESTS_CERTIFICATES_H

#include <stdbool.h>

/* False: openssl is not there, or its complaint was printed. */
bool certificates_make(const char *directory);
const char *certificate_path(const char *directory, const char *name);

#endif
