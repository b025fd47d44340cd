/* failure.h - how the library's functions say what went wrong: they fill the caller's kvc_error and return its status.
 *
 *     if (argc == 0)
 *         return kvc_fail(error, KVC_EARG, "a command has at least one word");
 *     if (connect(...) < 0)
 *         return kvc_fail_errno(error, KVC_ECONNECT, errno, "connecting to %s", address);
 *
 * error may be NULL everywhere. The message becomes one line; what does not fit ends in "...".
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_FAILURE_H
#define KVC_FAILURE_H

#include "kvclient.h"

kvc_status kvc_fail(kvc_error *error, kvc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The message ends with what sys_errno means. */
kvc_status kvc_fail_errno(kvc_error *error, kvc_status status, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Of reading or writing a socket: KVC_ECLOSED when the other side reset or closed it, else KVC_EIO. */
kvc_status kvc_fail_io(kvc_error *error, int sys_errno, const char *doing);
/* An error reply of the server: its word and its text. */
kvc_status kvc_fail_reply(kvc_error *error, kvc_status status, kvc_slice text);
kvc_status kvc_fail_nomem(kvc_error *error);
/* Of connecting: whether another attempt will hardly mend it. */
bool kvc_is_lasting(kvc_status status);
/* Nothing went wrong. */
void kvc_error_clear(kvc_error *error);

#endif
