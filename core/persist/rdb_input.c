/* rdb_input.c - the window on the source, and the pieces of which everything in an RDB file consists.
 *
 * No length is believed: what it announces must first arrive. The window grows by doubling as bytes come, so a file that
 * promises half a gigabyte and ends after ten bytes has cost its 256 KiB; and an unpacked string is given room only if
 * the packed bytes that are there could make so much.
 *
 * SPDX-License-Identifier: MIT */
#include "rdb_input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "crc64.h"
#include "lzf.h"
#include "rdb_format.h"

#define WINDOW     (256u << 10)
#define ENCODED    1 /* read_length: it is no length but a code */
#define PASS_PIECE (64u << 10)

void rdb_input_init(rdb_input *in, rdb_source_fn *source, void *arg)
{
    memset(in, 0, sizeof *in);
    in->source = source;
    in->arg = arg;
}

void rdb_input_init_memory(rdb_input *in, kv_slice bytes)
{
    memset(in, 0, sizeof *in);
    in->buffer = (unsigned char *)bytes.data;
    in->size = in->end = bytes.len;
}

void rdb_input_done(rdb_input *in)
{
    if (in->source)
        free(in->buffer);
}

int rdb_input_fail(rdb_input *in, int error, const char *format, ...)
{
    va_list args;

    if (in->error)
        return in->error;
    in->error = error;
    va_start(args, format);
    vsnprintf(in->reason, sizeof in->reason, format, args);
    va_end(args);
    return error;
}

uint64_t rdb_input_offset(const rdb_input *in)
{
    return in->before + in->at;
}

void rdb_input_mark(rdb_input *in)
{
    in->mark = in->at;
}

static void sum_up_to(rdb_input *in, size_t end)
{
    if (in->summed < end) {
        in->crc = crc64(in->crc, in->buffer + in->summed, end - in->summed);
        in->summed = end;
    }
}

uint64_t rdb_input_crc(rdb_input *in)
{
    sum_up_to(in, in->at);
    return in->crc;
}

/* ---- filling the window ---- */

/* Moves the record at hand to the front. */
static void close_up(rdb_input *in)
{
    sum_up_to(in, in->mark);
    memmove(in->buffer, in->buffer + in->mark, in->end - in->mark);
    in->before += in->mark;
    in->end -= in->mark;
    in->at -= in->mark;
    in->summed -= in->mark;
    in->mark = 0;
}

static int widen(rdb_input *in)
{
    size_t size = in->size ? in->size * 2 : WINDOW;
    unsigned char *wider = realloc(in->buffer, size);

    if (!wider)
        return rdb_input_fail(in, RDB_ENOMEM, "memory is out");
    in->buffer = wider;
    in->size = size;
    return 0;
}

/* Gets more bytes, as many as there is room for. */
static int fill(rdb_input *in)
{
    if (in->source && in->mark > 0 && in->size - in->end < in->size / 2)
        close_up(in);
    if (in->source && in->end == in->size && widen(in))
        return in->error;
    ssize_t got = in->source ? in->source(in->arg, in->buffer + in->end, in->size - in->end) : 0;

    if (got < 0)
        return rdb_input_fail(in, RDB_EIO, "reading failed: %s", strerror((int)-got));
    if (got == 0)
        return rdb_input_fail(in, RDB_EDAMAGED, "it ends in the middle");
    in->end += (size_t)got;
    return 0;
}

static int need(rdb_input *in, size_t n)
{
    while (in->end - in->at < n)
        if (fill(in))
            return in->error;
    return 0;
}

int rdb_input_take(rdb_input *in, size_t n, const unsigned char **ret_bytes)
{
    int err = in->error ? in->error : need(in, n);

    if (err)
        return err;
    *ret_bytes = in->buffer + in->at;
    in->at += n;
    return 0;
}

int rdb_input_byte(rdb_input *in, unsigned *ret_byte)
{
    const unsigned char *bytes;
    int err = rdb_input_take(in, 1, &bytes);

    if (!err)
        *ret_byte = *bytes;
    return err;
}

int rdb_input_pass(rdb_input *in, uint64_t n)
{
    while (n > 0) {
        size_t some = n < PASS_PIECE ? (size_t)n : PASS_PIECE;
        const unsigned char *bytes;

        if (rdb_input_take(in, some, &bytes))
            return in->error;
        rdb_input_mark(in);
        n -= some;
    }
    return in->error;
}

/* ---- lengths ---- */

/* 0: *ret_length; ENCODED: *ret_length is the code 0xc0...; or the error. */
static int read_length(rdb_input *in, uint64_t *ret_length)
{
    const unsigned char *more;
    unsigned first;

    if (rdb_input_byte(in, &first))
        return in->error;
    if (first < 0x40) {
        *ret_length = first;
        return 0;
    }
    if (first < 0x80) {
        if (rdb_input_take(in, 1, &more))
            return in->error;
        *ret_length = (uint64_t)(first & 0x3f) << 8 | more[0];
        return 0;
    }
    if (first >= 0xc0) {
        *ret_length = first;
        return ENCODED;
    }
    if (first > 0x81)
        return rdb_input_fail(in, RDB_EDAMAGED, "a length begins with 0x%02x, which none does", first);
    size_t bytes = first == 0x80 ? 4 : 8;

    if (rdb_input_take(in, bytes, &more))
        return in->error;
    *ret_length = rdb_get_big(more, bytes);
    return 0;
}

int rdb_input_length(rdb_input *in, uint64_t *ret_length)
{
    int err = read_length(in, ret_length);

    if (err == ENCODED)
        return rdb_input_fail(in, RDB_EDAMAGED, "a string stands where a length should");
    return err;
}

/* ---- strings ---- */

/* The bytes of an integer that stands for a string; 0: it is no such code. */
static size_t int_bytes(uint64_t code)
{
    return code == RDB_CODE_INT8 ? 1 : code == RDB_CODE_INT16 ? 2 : code == RDB_CODE_INT32 ? 4 : 0;
}

static int read_digits(rdb_input *in, size_t bytes, rdb_text *text)
{
    const unsigned char *from;

    if (rdb_input_take(in, bytes, &from))
        return in->error;
    uint64_t number = rdb_get_little(from, bytes);
    int64_t value = bytes == 1 ? (int8_t)number : bytes == 2 ? (int16_t)number : (int32_t)number;

    text->where = RDB_DIGITS;
    text->len = (size_t)snprintf(text->digits, sizeof text->digits, "%d", (int)value);
    return 0;
}

static int check_size(rdb_input *in, uint64_t len)
{
    if (len > KV_VALUE_MAX)
        return rdb_input_fail(in, RDB_EDAMAGED, "a string of %llu bytes is longer than the longest one",
                              (unsigned long long)len);
    return 0;
}

/* The two lengths of a packed string, whose packed bytes are there then. */
static int read_packed_head(rdb_input *in, size_t *ret_packed, size_t *ret_len)
{
    uint64_t packed, len;

    if (rdb_input_length(in, &packed) || rdb_input_length(in, &len) || check_size(in, packed) ||
        check_size(in, len))
        return in->error;
    if (len / LZF_RATIO_MAX > packed)
        return rdb_input_fail(in, RDB_EDAMAGED, "%llu packed bytes cannot make %llu",
                              (unsigned long long)packed, (unsigned long long)len);
    *ret_packed = (size_t)packed;
    *ret_len = (size_t)len;
    return need(in, *ret_packed);
}

static int read_packed(rdb_input *in, rdb_text *text)
{
    size_t packed = 0, len = 0;
    int err = read_packed_head(in, &packed, &len);

    if (err)
        return err;
    if (text->unpacked_size < len || !text->unpacked) {
        free(text->unpacked);
        text->unpacked = malloc(len ? len : 1);
        text->unpacked_size = text->unpacked ? len : 0;
        if (!text->unpacked)
            return rdb_input_fail(in, RDB_ENOMEM, "memory is out");
    }
    if (!lzf_decompress(in->buffer + in->at, packed, text->unpacked, len))
        return rdb_input_fail(in, RDB_EDAMAGED, "a packed string does not unpack");
    in->at += packed;
    text->where = RDB_UNPACKED;
    text->len = len;
    return 0;
}

int rdb_input_text(rdb_input *in, rdb_text *text)
{
    uint64_t length;
    int err = read_length(in, &length);

    if (err == ENCODED && length == RDB_CODE_LZF)
        return read_packed(in, text);
    if (err == ENCODED && int_bytes(length))
        return read_digits(in, int_bytes(length), text);
    if (err == ENCODED)
        return rdb_input_fail(in, RDB_EDAMAGED, "a string begins with 0x%02x, which none does",
                              (unsigned)length);
    if (err || check_size(in, length) || need(in, (size_t)length))
        return in->error;
    text->where = RDB_IN_BUFFER;
    text->offset = in->at - in->mark;
    text->len = (size_t)length;
    in->at += (size_t)length;
    return 0;
}

int rdb_input_pass_text(rdb_input *in)
{
    uint64_t length, packed;
    int err = read_length(in, &length);

    if (err == ENCODED && length == RDB_CODE_LZF) {
        if (rdb_input_length(in, &packed) || rdb_input_length(in, &length))
            return in->error;
        return rdb_input_pass(in, packed);
    }
    if (err == ENCODED && int_bytes(length))
        return rdb_input_pass(in, int_bytes(length));
    if (err == ENCODED)
        return rdb_input_fail(in, RDB_EDAMAGED, "a string begins with 0x%02x, which none does",
                              (unsigned)length);
    return err ? err : rdb_input_pass(in, length);
}

int rdb_input_pass_texts(rdb_input *in, uint64_t n)
{
    while (n-- > 0)
        if (rdb_input_pass_text(in))
            return in->error;
    return 0;
}

kv_slice rdb_text_slice(const rdb_input *in, const rdb_text *text)
{
    const char *data = text->where == RDB_IN_BUFFER  ? (const char *)in->buffer + in->mark + text->offset
                       : text->where == RDB_UNPACKED ? text->unpacked
                                                     : text->digits;

    return kv_slice_of(data, text->len);
}

void rdb_text_done(rdb_text *text)
{
    free(text->unpacked);
}
