/* resp_reply.c - see resp_reply.h.
 *
 * Two tables of functions, one for each protocol; what both write in the same way they share. The hot ones are
 * bulk, null, integer and simple: one check for room, then stores. SPDX-License-Identifier: MIT */
#include "resp_reply.h"

#include <math.h>
#include <stdio.h>

#include "decimal.h"

#define TEXT_MAX 1024 /* of an error or simple string */

static inline output *out_of(kv_reply *reply)
{
    return ((resp_reply *)reply)->out;
}

/* Inlined, so that a constant text is a store or two. */
__attribute__((always_inline)) static inline void write_literal(kv_reply *reply, kv_slice text)
{
    output *out = out_of(reply);
    char *p = output_room(out, text.len);

    if (!p)
        return;
    memcpy(p, text.data, text.len);
    output_commit(out, text.len);
}

/* "<type><number> CRLF" at p, which has room for 32 bytes; returns the end. */
static inline char *put_header(char *p, char type, size_t number)
{
    *p++ = type;
    if (number < 10) {
        *p++ = (char)('0' + number);
    } else if (number < 100) {
        *p++ = (char)('0' + number / 10);
        *p++ = (char)('0' + number % 10);
    } else {
        p += decimal_format(p, (int64_t)number).len;
    }
    p[0] = '\r';
    p[1] = '\n';
    return p + 2;
}

static void write_header(kv_reply *reply, char type, size_t number)
{
    output *out = out_of(reply);
    char *p = output_room(out, 32);

    if (p)
        output_commit(out, (size_t)(put_header(p, type, number) - p));
}

/* ---- what both protocols share ---- */

static void write_integer(kv_reply *reply, int64_t value)
{
    output *out = out_of(reply);
    char *start = output_room(out, 32), *p = start;

    if (!start)
        return;
    *p++ = ':';
    p += decimal_format(p, value).len;
    *p++ = '\r';
    *p++ = '\n';
    output_commit(out, (size_t)(p - start));
}

static void write_bulk_by_reference(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    write_header(reply, '$', data.len);
    output_reference(out_of(reply), owner, data);
    write_literal(reply, KV_STR("\r\n"));
    if (output_unsent(out_of(reply)) >= OUTPUT_ENOUGH)
        reply->many = 0;
}

/* Kept out of write_bulk, which is short without it. */
__attribute__((noinline)) static void write_long_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    output *out = out_of(reply);
    char *start, *p;

    if (owner && data.len >= RESP_REPLY_REFERENCE_MIN) {
        write_bulk_by_reference(reply, data, owner);
        return;
    }
    start = output_room(out, data.len + 40);
    if (!start)
        return;
    p = put_header(start, '$', data.len);
    if (data.len)
        memcpy(p, data.data, data.len);
    p += data.len;
    p[0] = '\r';
    p[1] = '\n';
    output_commit(out, (size_t)(p + 2 - start));
}

/* Copies fewer than SHORT_BULK bytes by moves that overlap, which costs less than a call. */
static inline void copy_short(char *to, const char *from, size_t len)
{
    if (len >= 16) {
        for (size_t i = 0; i + 16 < len; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + len - 16, from + len - 16, 16);
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else {
        for (size_t i = 0; i < len; i++)
            to[i] = from[i];
    }
}

#define SHORT_BULK 100

/* Nearly every reply to a GET. Calls nothing but in rare cases, so that it saves no registers. */
static void write_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    output *out = out_of(reply);
    char *start = out->data + out->len, *p;

    if (data.len >= SHORT_BULK || out->capacity - out->len < SHORT_BULK + 16) {
        write_long_bulk(reply, data, owner);
        return;
    }
    start[0] = '$';
    start[1] = (char)('0' + data.len / 10);
    p = start + 1 + (data.len >= 10);
    p[0] = (char)('0' + data.len % 10);
    p[1] = '\r';
    p[2] = '\n';
    copy_short(p + 3, data.data, data.len);
    p += 3 + data.len;
    p[0] = '\r';
    p[1] = '\n';
    out->len = (size_t)(p + 2 - out->data);
}

static void write_line(kv_reply *reply, char type, kv_slice text)
{
    output *out = out_of(reply);
    size_t len = text.len < TEXT_MAX ? text.len : TEXT_MAX;
    char *p = output_room(out, len + 3);

    if (!p)
        return;
    *p++ = type;
    for (size_t i = 0; i < len; i++)
        *p++ = text.data[i] == '\r' || text.data[i] == '\n' ? ' ' : text.data[i];
    p[0] = '\r';
    p[1] = '\n';
    output_commit(out, len + 3);
}

static void write_simple(kv_reply *reply, kv_slice text)
{
    if (text.len == 2 && text.data[0] == 'O' && text.data[1] == 'K')
        write_literal(reply, KV_STR("+OK\r\n"));
    else
        write_line(reply, '+', text);
}

static void write_error(kv_reply *reply, kv_slice text)
{
    resp_reply *r = (resp_reply *)reply;

    write_line(reply, '-', text);
    if (r->on_error)
        r->on_error(r->arg, text);
}

static void write_array(kv_reply *reply, size_t count)
{
    write_header(reply, '*', count);
}

/* The text of a number as RESP spells it. */
static kv_slice real_text(char buffer[40], double value)
{
    if (isnan(value))
        return KV_STR("nan");
    if (isinf(value))
        return value > 0 ? KV_STR("inf") : KV_STR("-inf");
    return kv_slice_of(buffer, (size_t)snprintf(buffer, 40, "%.17g", value));
}

/* ---- RESP2 ---- */

static void null2(kv_reply *reply)
{
    write_literal(reply, KV_STR("$-1\r\n"));
}

static void null_array2(kv_reply *reply)
{
    write_literal(reply, KV_STR("*-1\r\n"));
}

static void real2(kv_reply *reply, double value)
{
    char buffer[40];

    write_bulk(reply, real_text(buffer, value), NULL);
}

static void boolean2(kv_reply *reply, bool value)
{
    write_integer(reply, value);
}

static void verbatim2(kv_reply *reply, kv_slice text, const char format[4])
{
    (void)format;
    write_bulk(reply, text, NULL);
}

static void map2(kv_reply *reply, size_t pairs)
{
    write_array(reply, 2 * pairs);
}

static const kv_reply_ops resp2_ops = {
    .null = null2,
    .null_array = null_array2,
    .integer = write_integer,
    .real = real2,
    .boolean = boolean2,
    .simple = write_simple,
    .error = write_error,
    .bulk = write_bulk,
    .verbatim = verbatim2,
    .array = write_array,
    .map = map2,
    .set = write_array,
    .push = write_array,
};

/* ---- RESP3 ---- */

static void null3(kv_reply *reply)
{
    write_literal(reply, KV_STR("_\r\n"));
}

static void real3(kv_reply *reply, double value)
{
    char buffer[40];

    write_line(reply, ',', real_text(buffer, value));
}

static void boolean3(kv_reply *reply, bool value)
{
    write_literal(reply, value ? KV_STR("#t\r\n") : KV_STR("#f\r\n"));
}

static void verbatim3(kv_reply *reply, kv_slice text, const char format[4])
{
    char head[4] = { format[0], format[1], format[2], ':' };

    write_header(reply, '=', text.len + sizeof head);
    write_literal(reply, kv_slice_of(head, sizeof head));
    if (text.len)
        write_literal(reply, text);
    write_literal(reply, KV_STR("\r\n"));
}

static void map3(kv_reply *reply, size_t pairs)
{
    write_header(reply, '%', pairs);
}

static void set3(kv_reply *reply, size_t count)
{
    write_header(reply, '~', count);
}

static void push3(kv_reply *reply, size_t count)
{
    write_header(reply, '>', count);
}

static const kv_reply_ops resp3_ops = {
    .null = null3,
    .null_array = null3,
    .integer = write_integer,
    .real = real3,
    .boolean = boolean3,
    .simple = write_simple,
    .error = write_error,
    .bulk = write_bulk,
    .verbatim = verbatim3,
    .array = write_array,
    .map = map3,
    .set = set3,
    .push = push3,
};

/* ---- */

void resp_reply_bignum(kv_reply *reply, kv_slice digits)
{
    if (reply->protocol == 3)
        write_line(reply, '(', digits);
    else
        write_bulk(reply, digits, NULL);
}

bool resp_reply_attribute(kv_reply *reply, size_t pairs)
{
    if (reply->protocol == 3)
        write_header(reply, '|', pairs);
    return reply->protocol == 3;
}

void resp_reply_set_protocol(resp_reply *reply, int protocol)
{
    reply->base.protocol = protocol;
    reply->base.ops = protocol == 3 ? &resp3_ops : &resp2_ops;
}

void resp_reply_init(resp_reply *reply, output *out, int protocol)
{
    reply->out = out;
    reply->on_error = NULL;
    reply->arg = NULL;
    resp_reply_set_protocol(reply, protocol);
}
