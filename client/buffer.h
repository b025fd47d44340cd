/* buffer.h - bytes on their way out: appended at the end, taken from the front.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_BUFFER_H
#define KVC_BUFFER_H

#include "kvclient.h"

/* Zeroed: empty. */
typedef struct kvc_buffer {
    char *data;
    size_t start, end, capacity;
} kvc_buffer;

/* False: out of memory, and the buffer is as it was. */
bool kvc_buffer_append(kvc_buffer *buffer, kvc_slice bytes);
/* The command as an array of bulk strings, each with its length before it: no byte in it can be taken for another command. */
bool kvc_buffer_append_command(kvc_buffer *buffer, size_t argc, const kvc_slice *argv);
kvc_slice kvc_buffer_slice(const kvc_buffer *buffer);
/* Forgets the first n bytes; a large buffer that is empty then is given back. */
void kvc_buffer_consume(kvc_buffer *buffer, size_t n);
void kvc_buffer_done(kvc_buffer *buffer);

#endif
