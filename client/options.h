/* options.h - options as the library keeps them: checked, complete, its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_OPTIONS_H
#define KVC_OPTIONS_H

#include "kvclient.h"

/* Copies options with their strings, fills in defaults, and says what is wrong with them. kvc_options_free it. */
kvc_status kvc_options_copy(const kvc_options *options, kvc_options **ret_copy, kvc_error *error);
/* The same options for another server (a node of a cluster). */
kvc_status kvc_options_copy_for(const kvc_options *options, const char *host, int port,
                                kvc_options **ret_copy, kvc_error *error);
void kvc_options_free(kvc_options *copy);

/* "host:port", "[::1]:6379" or a unix socket's path, as messages name the server. */
enum { kvc_address_size = 300 };
void kvc_options_address(const kvc_options *options, char address[kvc_address_size]);

#endif
