/* reply.c - see reply.h. The server itself turns maps, sets and booleans into what RESP2 has; where it is too old to
 * know them, we do. SPDX-License-Identifier: MIT */
#include "reply.h"

#define TEXT_MAX 512u /* bytes of an error or a simple string */

static rm_ctx *ctx_of(kv_reply *reply)
{
    return ((module_reply *)reply)->ctx;
}

static void reply_null(kv_reply *reply)
{
    rm.ReplyWithNull(ctx_of(reply));
}

static void reply_null_array(kv_reply *reply)
{
    rm.ReplyWithNullArray(ctx_of(reply));
}

static void reply_integer(kv_reply *reply, int64_t value)
{
    rm.ReplyWithLongLong(ctx_of(reply), value);
}

static void reply_real(kv_reply *reply, double value)
{
    rm.ReplyWithDouble(ctx_of(reply), value);
}

static void reply_boolean(kv_reply *reply, bool value)
{
    if (rm.ReplyWithBool)
        rm.ReplyWithBool(ctx_of(reply), value);
    else
        rm.ReplyWithLongLong(ctx_of(reply), value);
}

/* The server takes C strings: the text up to its first NUL or line end. */
static const char *text_of(char buffer[TEXT_MAX], kv_slice text)
{
    size_t len = 0;

    while (len < text.len && len < TEXT_MAX - 1 && text.data[len] && !strchr("\r\n", text.data[len])) {
        buffer[len] = text.data[len];
        len++;
    }
    buffer[len] = '\0';
    return buffer;
}

static void reply_simple(kv_reply *reply, kv_slice text)
{
    char buffer[TEXT_MAX];

    rm.ReplyWithSimpleString(ctx_of(reply), text_of(buffer, text));
}

static void reply_error(kv_reply *reply, kv_slice text)
{
    char buffer[TEXT_MAX];

    rm.ReplyWithError(ctx_of(reply), text_of(buffer, text));
}

static void reply_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    (void)owner;
    rm.ReplyWithStringBuffer(ctx_of(reply), data.len ? data.data : "", data.len);
}

static void reply_verbatim(kv_reply *reply, kv_slice text, const char format[4])
{
    if (rm.ReplyWithVerbatimStringType)
        rm.ReplyWithVerbatimStringType(ctx_of(reply), text.data, text.len, format);
    else
        reply_bulk(reply, text, NULL);
}

static void reply_array(kv_reply *reply, size_t count)
{
    rm.ReplyWithArray(ctx_of(reply), (long)count);
}

static void reply_map(kv_reply *reply, size_t pairs)
{
    if (rm.ReplyWithMap)
        rm.ReplyWithMap(ctx_of(reply), (long)pairs);
    else
        reply_array(reply, 2 * pairs);
}

static void reply_set(kv_reply *reply, size_t count)
{
    if (rm.ReplyWithSet)
        rm.ReplyWithSet(ctx_of(reply), (long)count);
    else
        reply_array(reply, count);
}

static const kv_reply_ops module_reply_ops = {
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
    .set = reply_set,
    .push = reply_array,
};

void module_reply_init(module_reply *reply, rm_ctx *ctx, bool fast)
{
    bool resp3 = !fast && (rm.GetContextFlags(ctx) & RM_RESP3);

    *reply = (module_reply){ .reply = { .ops = &module_reply_ops, .protocol = resp3 ? 3 : 2 }, .ctx = ctx };
}
