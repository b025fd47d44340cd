/* password.h - where the password comes from, and what must not be kept because it holds one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_PASSWORD_H
#define KVCLI_PASSWORD_H

#include "settings.h"

/* Fills in s->server.password: --askpass, the command line, --pass-file, KVCLI_AUTH, REDISCLI_AUTH; the first there is. False: kvcli
 * is to end with *ret_status, all has been said. */
bool password_find(settings *s, exit_status *ret_status);
/* The command carries a password or another secret (AUTH, HELLO ... AUTH, CONFIG SET requirepass, ...). */
bool password_is_in(size_t argc, const kvc_slice *argv);

#endif
