/* port_reply.c - see port_reply.h. SPDX-License-Identifier: MIT */
#include "port_reply.h"

#include <stdio.h>

#include "redis_abi.h"

#define KEPT        4096u /* room that a client keeps from one reply to the next */
#define TROUBLE_MAX 128u  /* room that is kept for the error that takes a reply's place */

static bool reserve(port_reply *out, size_t more)
{
    size_t size = out->size ? out->size : 4096;
    char *bytes;

    if (out->size - out->len >= more)
        return true;
    while (size - out->len < more)
        size *= 2;
    bytes = rm_alloc(size);
    if (!bytes)
        return false;
    if (out->len)
        memcpy(bytes, out->bytes, out->len);
    rm.Free(out->bytes);
    out->bytes = bytes;
    out->size = size;
    return true;
}

static void put(port_reply *out, const char *bytes, size_t len)
{
    if (out->trouble)
        return;
    if (len > out->max || out->len - out->begin > out->max - len) {
        out->trouble = PORT_REPLY_TOO_LARGE;
    } else if (!reserve(out, len + TROUBLE_MAX)) {
        out->trouble = PORT_REPLY_NO_MEMORY;
    } else if (len) {
        memcpy(out->bytes + out->len, bytes, len);
        out->len += len;
    }
}

static port_reply *out_of(kv_reply *reply)
{
    return (port_reply *)reply;
}

static void put_number(kv_reply *reply, char letter, long long number)
{
    char line[32];

    put(out_of(reply), line, (size_t)snprintf(line, sizeof line, "%c%lld\r\n", letter, number));
}

static void reply_null(kv_reply *reply)
{
    put(out_of(reply), "$-1\r\n", 5);
}

static void reply_null_array(kv_reply *reply)
{
    put(out_of(reply), "*-1\r\n", 5);
}

static void reply_integer(kv_reply *reply, int64_t value)
{
    put_number(reply, ':', value);
}

static void reply_boolean(kv_reply *reply, bool value)
{
    put_number(reply, ':', value);
}

static void reply_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    (void)owner;
    put_number(reply, '$', (long long)data.len);
    put(out_of(reply), data.data, data.len);
    put(out_of(reply), "\r\n", 2);
}

static void reply_verbatim(kv_reply *reply, kv_slice text, const char format[4])
{
    (void)format;
    reply_bulk(reply, text, NULL);
}

static void reply_real(kv_reply *reply, double value)
{
    char number[32];

    reply_bulk(reply, kv_slice_of(number, (size_t)snprintf(number, sizeof number, "%.17g", value)), NULL);
}

/* A line; a line end within the text would end it early. */
static void put_line(port_reply *out, char letter, kv_slice text)
{
    put(out, &letter, 1);
    for (size_t i = 0; i < text.len; i++)
        put(out, text.data[i] == '\r' || text.data[i] == '\n' ? " " : &text.data[i], 1);
    put(out, "\r\n", 2);
}

static void reply_simple(kv_reply *reply, kv_slice text)
{
    put_line(out_of(reply), '+', text);
}

static void reply_error(kv_reply *reply, kv_slice text)
{
    put_line(out_of(reply), '-', text);
}

static void reply_array(kv_reply *reply, size_t count)
{
    put_number(reply, '*', (long long)count);
}

static void reply_map(kv_reply *reply, size_t pairs)
{
    put_number(reply, '*', 2 * (long long)pairs);
}

static const kv_reply_ops port_reply_ops = {
    .null = reply_null,
    .null_array = reply_null_array,
    .integer = reply_integer,
    .real = reply_real,
    .boolean = reply_boolean,
    .simple = reply_simple,
    .error = reply_error,
    .bulk = reply_bulk,
    .verbatim = reply_verbatim,
    .array = reply_array,
    .map = reply_map,
    .set = reply_array,
    .push = reply_array,
};

void port_reply_init(port_reply *out)
{
    *out = (port_reply){ .reply = { .ops = &port_reply_ops, .protocol = 2 } };
}

void port_reply_begin(port_reply *out, size_t max)
{
    out->begin = out->len;
    out->max = max;
    out->trouble = PORT_REPLY_FITS;
}

void port_reply_end(port_reply *out)
{
    bool too_large = out->trouble == PORT_REPLY_TOO_LARGE;

    if (!out->trouble)
        return;
    out->len = out->begin; /* TROUBLE_MAX bytes are there, unless nothing could be allocated at all */
    out->max = TROUBLE_MAX;
    out->trouble = PORT_REPLY_FITS;
    put_line(out, '-',
             kv_str(too_large ? "ERR the reply has more bytes than kv.port-max-reply allows"
                              : "OOM out of memory"));
}

void port_reply_error(port_reply *out, const char *text)
{
    port_reply_begin(out, TROUBLE_MAX);
    put_line(out, '-', kv_str(text));
    port_reply_end(out);
}

void port_reply_sent(port_reply *out, size_t n)
{
    out->len -= n;
    if (out->len)
        memmove(out->bytes, out->bytes + n, out->len);
    else if (out->size > KEPT)
        port_reply_done(out);
}

void port_reply_done(port_reply *out)
{
    rm.Free(out->bytes);
    out->bytes = NULL;
    out->len = out->size = 0;
}
