/* exec_reply.c - see exec_reply.h.
 *
 * The reply arrives in order, an aggregate's count before its elements, so each aggregate takes its elements as
 * one array from an arena, and a short stack remembers where the next value goes:
 *
 *     first chunk   [chunk][exec_reply: domain, chunks, root value][texts and small arrays ...]
 *     more chunks   [chunk][...]                                     as needed, at least twice the size each
 *
 * SPDX-License-Identifier: MIT */
#include "exec_reply.h"

#define FIRST_CHUNK_BYTES 2048u

struct chunk {
    struct chunk *next;
    size_t size_bytes, used_bytes; /* of the whole block */
};

typedef struct chunk chunk;

/* ---- the arena ---- */

static chunk *chunk_new(kv_domain *domain, size_t size_bytes, chunk *next)
{
    chunk *c = domain_alloc(domain, size_bytes, 16);

    if (c)
        *c = (chunk){ next, size_bytes, sizeof *c };
    return c;
}

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

void *exec_reply_alloc(exec_reply *result, size_t size_bytes)
{
    chunk *c = result->chunks;
    size_t at = round_up(c->used_bytes);

    if (size_bytes > SIZE_MAX / 4)
        return NULL;
    if (at > c->size_bytes || c->size_bytes - at < size_bytes) {
        size_t need = round_up(sizeof *c) + size_bytes;

        c = chunk_new(result->domain, need > 2 * c->size_bytes ? need : 2 * c->size_bytes, c);
        if (!c)
            return NULL;
        result->chunks = c;
        at = round_up(c->used_bytes);
    }
    c->used_bytes = at + size_bytes;
    return (char *)c + at;
}

bool exec_reply_reserve(exec_reply *result, size_t size_bytes)
{
    size_t before = result->chunks->used_bytes;
    chunk *c = result->chunks;

    if (!exec_reply_alloc(result, size_bytes))
        return false;
    if (result->chunks == c)
        c->used_bytes = before;
    else
        result->chunks->used_bytes = sizeof *c;
    return true;
}

exec_reply *exec_reply_new(kv_domain *domain)
{
    chunk *c = chunk_new(domain, FIRST_CHUNK_BYTES, NULL);
    exec_reply *result;

    if (!c)
        return NULL;
    result = (exec_reply *)((char *)c + round_up(sizeof *c));
    c->used_bytes = round_up(sizeof *c) + sizeof *result;
    *result = (exec_reply){ .domain = kv_domain_ref(domain), .chunks = c };
    return result;
}

void kv_value_free(kv_value *value)
{
    exec_reply *result;
    kv_domain *domain;
    chunk *c;

    if (!value)
        return;
    result = (exec_reply *)((char *)value - offsetof(exec_reply, root));
    domain = result->domain;
    c = result->chunks;
    while (c) { /* the last one holds result itself */
        chunk *next = c->next;

        domain_free(domain, c, c->size_bytes);
        c = next;
    }
    kv_domain_unref(domain);
}

/* ---- the sink ---- */

/* Where the next value goes. */
static kv_value *sink_next(exec_sink *sink, kv_reply_type type)
{
    kv_value *value = &sink->result->root;

    while (sink->depth > 0 && sink->frames[sink->depth - 1].left == 0)
        sink->depth--;
    if (sink->failed) {
        value = &sink->nowhere;
    } else if (sink->depth > 0) {
        value = sink->frames[sink->depth - 1].next++;
        sink->frames[sink->depth - 1].left--;
    }
    *value = (kv_value){ .type = type };
    return value;
}

static void sink_text(kv_reply *reply, kv_reply_type type, kv_slice text)
{
    exec_sink *sink = (exec_sink *)reply;
    kv_value *value = sink_next(sink, type);
    char *copy = sink->failed ? NULL : exec_reply_alloc(sink->result, text.len + 1);

    if (!copy) {
        sink->failed = true;
        return;
    }
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    value->text = kv_slice_of(copy, text.len);
}

static void sink_aggregate(kv_reply *reply, kv_reply_type type, size_t count)
{
    exec_sink *sink = (exec_sink *)reply;
    kv_value *value = sink_next(sink, type);

    if (sink->failed || count == 0)
        return;
    if (sink->depth == EXEC_DEPTH_MAX || count > SIZE_MAX / sizeof *value) {
        sink->failed = true;
        return;
    }
    value->elements = exec_reply_alloc(sink->result, count * sizeof *value);
    if (!value->elements) {
        sink->failed = true;
        return;
    }
    value->count = count;
    sink->frames[sink->depth++] = (struct frame){ value->elements, count };
}

static void sink_null(kv_reply *reply)
{
    sink_next((exec_sink *)reply, KV_REPLY_NULL);
}

static void sink_integer(kv_reply *reply, int64_t integer)
{
    sink_next((exec_sink *)reply, KV_REPLY_INT)->integer = integer;
}

static void sink_real(kv_reply *reply, double number)
{
    sink_next((exec_sink *)reply, KV_REPLY_DOUBLE)->number = number;
}

static void sink_boolean(kv_reply *reply, bool boolean)
{
    sink_next((exec_sink *)reply, KV_REPLY_BOOL)->integer = boolean;
}

static void sink_simple(kv_reply *reply, kv_slice text)
{
    sink_text(reply, KV_REPLY_SIMPLE, text);
}

static void sink_error(kv_reply *reply, kv_slice text)
{
    sink_text(reply, KV_REPLY_ERROR, text);
}

static void sink_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    (void)owner; /* a text ends with a NUL, which the owner's bytes do not */
    sink_text(reply, KV_REPLY_BULK, data);
}

static void sink_verbatim(kv_reply *reply, kv_slice text, const char format[4])
{
    (void)format;
    sink_text(reply, KV_REPLY_BULK, text);
}

static void sink_array(kv_reply *reply, size_t count)
{
    sink_aggregate(reply, KV_REPLY_ARRAY, count);
}

static void sink_map(kv_reply *reply, size_t pairs)
{
    sink_aggregate(reply, KV_REPLY_MAP, 2 * pairs);
}

static void sink_set(kv_reply *reply, size_t count)
{
    sink_aggregate(reply, KV_REPLY_SET, count);
}

static const kv_reply_ops sink_ops = {
    .null = sink_null,
    .null_array = sink_null,
    .integer = sink_integer,
    .real = sink_real,
    .boolean = sink_boolean,
    .simple = sink_simple,
    .error = sink_error,
    .bulk = sink_bulk,
    .verbatim = sink_verbatim,
    .array = sink_array,
    .map = sink_map,
    .set = sink_set,
    .push = sink_array,
};

void exec_sink_init(exec_sink *sink, exec_reply *result)
{
    *sink = (exec_sink){ .reply = { .ops = &sink_ops, .protocol = 3 }, .result = result };
}

void exec_sink_give_up(exec_sink *sink, size_t index)
{
    kv_value *root = &sink->result->root;

    root->elements[index] = (kv_value){ .type = KV_REPLY_ERROR, .text = kv_str(kv_error_text(KV_ENOMEM)) };
    sink->frames[0] = (struct frame){ &root->elements[index + 1], root->count - index - 1 };
    sink->depth = 1;
    sink->failed = false;
}
