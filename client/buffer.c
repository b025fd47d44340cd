/* buffer.c - one growing block. Its front moves when bytes leave; what remains is moved to the beginning when more must fit.
 *
 * SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <stdlib.h>

enum { first_capacity = 512, kept_capacity = 64 * 1024 };

/* Makes room for n more bytes. */
static bool reserve(kvc_buffer *buffer, size_t n)
{
    size_t used = buffer->end - buffer->start, capacity = buffer->capacity;
    char *data;

    if (n <= buffer->capacity - buffer->end)
        return true;
    if (n > SIZE_MAX / 2 - used)
        return false;
    /* Moving what is there pays only when most of the block is free: else each append could move it again. */
    if (used + n <= capacity && used <= capacity / 2) {
        memmove(buffer->data, buffer->data + buffer->start, used);
    } else {
        if (capacity < first_capacity)
            capacity = first_capacity;
        while (capacity < used + n)
            capacity *= 2;
        data = malloc(capacity);
        if (!data)
            return false;
        if (used)
            memcpy(data, buffer->data + buffer->start, used);
        free(buffer->data);
        buffer->data = data;
        buffer->capacity = capacity;
    }
    buffer->start = 0;
    buffer->end = used;
    return true;
}

static void put(kvc_buffer *buffer, const char *data, size_t len)
{
    if (len)
        memcpy(buffer->data + buffer->end, data, len);
    buffer->end += len;
}

bool kvc_buffer_append(kvc_buffer *buffer, kvc_slice bytes)
{
    if (!reserve(buffer, bytes.len))
        return false;
    put(buffer, bytes.data, bytes.len);
    return true;
}

/* "$5\r\n": at most a letter, 20 digits and the end of the line. */
enum { header_size = 24 };

static void put_header(kvc_buffer *buffer, char type, size_t number)
{
    char text[header_size], *c = text + sizeof text;

    *--c = '\n';
    *--c = '\r';
    do
        *--c = (char)('0' + number % 10);
    while (number /= 10);
    *--c = type;
    put(buffer, c, (size_t)(text + sizeof text - c));
}

bool kvc_buffer_append_command(kvc_buffer *buffer, size_t argc, const kvc_slice *argv)
{
    size_t size = header_size;

    for (size_t i = 0; i < argc; i++)
        if (__builtin_add_overflow(size, argv[i].len, &size) ||
            __builtin_add_overflow(size, header_size + 2, &size))
            return false;
    if (!reserve(buffer, size))
        return false;
    put_header(buffer, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        put_header(buffer, '$', argv[i].len);
        put(buffer, argv[i].data, argv[i].len);
        put(buffer, "\r\n", 2);
    }
    return true;
}

kvc_slice kvc_buffer_slice(const kvc_buffer *buffer)
{
    return buffer->data ? kvc_bytes(buffer->data + buffer->start, buffer->end - buffer->start)
                        : kvc_bytes("", 0);
}

void kvc_buffer_consume(kvc_buffer *buffer, size_t n)
{
    buffer->start += n;
    if (buffer->start < buffer->end)
        return;
    buffer->start = buffer->end = 0;
    if (buffer->capacity > kept_capacity)
        kvc_buffer_done(buffer);
}

void kvc_buffer_done(kvc_buffer *buffer)
{
    free(buffer->data);
    *buffer = (kvc_buffer){ 0 };
}
