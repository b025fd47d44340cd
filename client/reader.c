/* reader.c - hiredis parses; this builds our replies and says where it must stop.
 *
 * The server may be anybody. What it can make us spend is bounded before it is spent:
 *
 *   depth      counted when an aggregate opens (hiredis 0.14 stops at 7 by itself);
 *   elements   counted when an aggregate announces them; room for them is made only as they come (reply.h);
 *   bytes      counted for each node, text and struct; and a string's announced length is looked at as soon as its
 *              header is there, not when hiredis has buffered all of it;
 *   lines      hiredis looks for the end of a line from its beginning each time more arrives, which is quadratic for a line that
 *              never ends: so a line may be line_max long, and a length header_max.
 *
 * hiredis' position in its buffer stands behind the first byte of the item it could not read to its end, so that one look at
 * that place after each attempt finds both of the last two (check_front).
 *
 * Memory: hiredis 0.14 asserts that a small allocation succeeds when it gives up a large idle buffer; so that is turned
 * off (maxbuf 0), and the whole reader is replaced instead (shrink). Otherwise it reports what it cannot allocate.
 *
 * RESP3: hiredis 1.0 and later; none of them reads attributes, which servers send only when a client asked for them.
 *
 * SPDX-License-Identifier: MIT */
#include "reader.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "failure.h"
#include "reply.h"

enum {
    line_max = 1024 * 1024, /* bytes of +OK, -ERR ... */
    header_max = 64,        /* bytes of $6\r\n */
    idle_buffer_max = 64 * 1024,
};

struct kvc_reader {
    redisReader *hiredis;
    kvc_limits limits;
    size_t peak; /* most bytes that hiredis' buffer held */

    /* Of the reply being built. */
    size_t bytes, elements;
    const char *exceeded; /* the limit that was exceeded, or NULL */
};

/* ---- building: what hiredis calls ---- */

static bool spend(kvc_reader *reader, size_t bytes)
{
    if (bytes > reader->limits.bytes || reader->bytes > reader->limits.bytes - bytes) {
        reader->exceeded = "max_reply_bytes";
        return false;
    }
    reader->bytes += bytes;
    return true;
}

/* A reply or an element of one begins; text_len bytes will be copied for it. */
static bool begin_node(const redisReadTask *task, size_t text_len)
{
    kvc_reader *reader = task->privdata;

    return spend(reader, sizeof(kvc_reply) + sizeof(kvc_reply *)) && spend(reader, text_len);
}

/* Puts a new node (NULL: out of memory) where it belongs. */
static void *attach(const redisReadTask *task, kvc_reply *node)
{
    if (!node || !task->parent)
        return node;
    if (kvc_reply_add(task->parent->obj, node))
        return node;
    kvc_reply_free(node);
    return NULL;
}

static kvc_type type_of(const redisReadTask *task)
{
    switch (task->type) {
    case REDIS_REPLY_STATUS:
        return KVC_TYPE_SIMPLE;
    case REDIS_REPLY_ERROR:
        return KVC_TYPE_ERROR;
    case REDIS_REPLY_ARRAY:
        return KVC_TYPE_ARRAY;
#ifdef KVC_HIREDIS_RESP3
    case REDIS_REPLY_MAP:
        return KVC_TYPE_MAP;
    case REDIS_REPLY_SET:
        return KVC_TYPE_SET;
    case REDIS_REPLY_PUSH:
        return KVC_TYPE_PUSH;
    case REDIS_REPLY_VERB:
        return KVC_TYPE_VERBATIM;
#ifdef REDIS_REPLY_BIGNUM
    case REDIS_REPLY_BIGNUM:
        return KVC_TYPE_BIGNUM;
#endif
#endif
    default:
        return KVC_TYPE_STRING;
    }
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    kvc_type type = type_of(task);

    if (type == KVC_TYPE_VERBATIM && len >= 4) { /* "txt:" */
        text += 4;
        len -= 4;
    }
    return begin_node(task, len) ? attach(task, kvc_reply_new_text(type, kvc_bytes(text, len))) : NULL;
}

static void *create_aggregate(const redisReadTask *task, size_t count)
{
    kvc_reader *reader = task->privdata;
    const kvc_reply *parent = task->parent ? task->parent->obj : NULL;
    uint32_t depth = parent ? parent->depth + 1 : 1;
    kvc_reply *node;

    if (!begin_node(task, 0))
        return NULL;
    if (depth > reader->limits.depth) {
        reader->exceeded = "max_reply_depth";
        return NULL;
    }
    if (count > reader->limits.elements || reader->elements > reader->limits.elements - count) {
        reader->exceeded = "max_reply_elements";
        return NULL;
    }
    reader->elements += count;
    node = kvc_reply_new(type_of(task));
    if (node)
        node->depth = depth;
    return attach(task, node);
}

#ifndef KVC_HIREDIS_RESP3
static void *create_array(const redisReadTask *task, int count)
{
    return create_aggregate(task, (size_t)count);
}
#endif

static void *create_integer(const redisReadTask *task, long long integer)
{
    return begin_node(task, 0) ? attach(task, kvc_reply_new_int(KVC_TYPE_INT, integer)) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    return begin_node(task, 0) ? attach(task, kvc_reply_new(KVC_TYPE_NIL)) : NULL;
}

#ifdef KVC_HIREDIS_RESP3
static void *create_double(const redisReadTask *task, double number, char *text, size_t len)
{
    return begin_node(task, len) ? attach(task, kvc_reply_new_double(number, kvc_bytes(text, len))) : NULL;
}

static void *create_bool(const redisReadTask *task, int truth)
{
    return begin_node(task, 0) ? attach(task, kvc_reply_new_int(KVC_TYPE_BOOL, truth != 0)) : NULL;
}
#endif

static void free_object(void *object)
{
    kvc_reply_free(object);
}

static redisReplyObjectFunctions builders = {
    .createString = create_string,
#ifdef KVC_HIREDIS_RESP3
    .createArray = create_aggregate,
    .createDouble = create_double,
    .createBool = create_bool,
#else
    .createArray = create_array,
#endif
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

/* ---- reading ---- */

static redisReader *hiredis_reader(kvc_reader *reader)
{
    redisReader *hiredis = redisReaderCreateWithFunctions(&builders);

    if (!hiredis)
        return NULL;
    hiredis->maxbuf = 0;
    hiredis->privdata = reader;
    return hiredis;
}

kvc_reader *kvc_reader_new(const kvc_limits *limits)
{
    kvc_reader *reader = calloc(1, sizeof *reader);

    if (!reader)
        return NULL;
    reader->limits = *limits;
#ifndef KVC_HIREDIS_RESP3
    /* hiredis 0.14 counts the bytes of its buffer in an int. */
    if (reader->limits.bytes > INT_MAX - line_max)
        reader->limits.bytes = INT_MAX - line_max;
#endif
    reader->hiredis = hiredis_reader(reader);
    if (!reader->hiredis) {
        free(reader);
        return NULL;
    }
    return reader;
}

void kvc_reader_free(kvc_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->hiredis);
    free(reader);
}

/* What hiredis said, in our words. */
static kvc_status failed(kvc_reader *reader, kvc_error *error)
{
    if (reader->exceeded)
        return kvc_fail(error, KVC_EPROTOCOL, "the reply exceeds %s", reader->exceeded);
    if (reader->hiredis->err == REDIS_ERR_OOM)
        return kvc_fail_nomem(error);
    return kvc_fail(error, KVC_EPROTOCOL, "what the server sent is not RESP: %s", reader->hiredis->errstr);
}

kvc_status kvc_reader_feed(kvc_reader *reader, const void *data, size_t len, kvc_error *error)
{
    redisReader *hiredis = reader->hiredis;

    if (reader->exceeded || redisReaderFeed(hiredis, data, len) != REDIS_OK)
        return failed(reader, error);
    if (hiredis->len > reader->peak)
        reader->peak = hiredis->len;
    return KVC_OK;
}

/* The type of the item that hiredis could not read to its end; -1: it has not seen its first byte. */
static int unfinished_type(const redisReader *hiredis)
{
    if (hiredis->ridx < 0)
        return -1;
#ifdef KVC_HIREDIS_RESP3
    return hiredis->task[hiredis->ridx]->type;
#else
    return hiredis->rstack[hiredis->ridx].type;
#endif
}

static bool is_line(int type)
{
#ifdef KVC_HIREDIS_RESP3
    if (type == REDIS_REPLY_DOUBLE || type == REDIS_REPLY_BIGNUM)
        return true;
#endif
    return type == REDIS_REPLY_STATUS || type == REDIS_REPLY_ERROR;
}

static bool is_string(int type)
{
#ifdef KVC_HIREDIS_RESP3
    if (type == REDIS_REPLY_VERB)
        return true;
#endif
    return type == REDIS_REPLY_STRING;
}

/* The decimal number from text to end; -1 when it is none. */
static int64_t announced(const char *text, const char *end)
{
    int64_t len = 0;

    for (; text < end; text++) {
        if (*text < '0' || *text > '9' || len > INT64_MAX / 10 - 9)
            return -1;
        len = len * 10 + (*text - '0');
    }
    return len;
}

/* Looks at the item that is not complete yet, behind its first byte. */
static kvc_status check_front(kvc_reader *reader, kvc_error *error)
{
    const redisReader *hiredis = reader->hiredis;
    const char *front = hiredis->buf + hiredis->pos, *end;
    size_t available = hiredis->len - hiredis->pos;
    int type = unfinished_type(hiredis);
    int64_t len;

    if (type < 0 || available == 0)
        return KVC_OK;
    if (is_line(type))
        return available <= line_max ? KVC_OK
                                     : kvc_fail(error, KVC_EPROTOCOL, "the server sent a line without end");
    end = memchr(front, '\r', available < header_max ? available : header_max);
    if (!end)
        return available < header_max
                   ? KVC_OK
                   : kvc_fail(error, KVC_EPROTOCOL, "what the server sent is not RESP: a length without end");
    len = is_string(type) ? announced(front, end) : 0;
    if (len <= 0 ||
        ((uint64_t)len <= reader->limits.bytes && reader->bytes <= reader->limits.bytes - (size_t)len))
        return KVC_OK;
    return kvc_fail(error, KVC_EPROTOCOL,
                    "the server announced a string of %" PRId64 " bytes, which exceeds max_reply_bytes", len);
}

bool kvc_reader_idle(const kvc_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;

    return hiredis->pos == hiredis->len && hiredis->ridx <= 0 && unfinished_type(hiredis) < 0;
}

/* Gives back what one long reply made the buffer grow to. */
static void shrink(kvc_reader *reader)
{
    redisReader *fresh;

    if (reader->peak <= idle_buffer_max || !kvc_reader_idle(reader))
        return;
    fresh = hiredis_reader(reader);
    if (!fresh)
        return; /* another time */
    redisReaderFree(reader->hiredis);
    reader->hiredis = fresh;
    reader->peak = 0;
}

kvc_status kvc_reader_next(kvc_reader *reader, kvc_reply **ret_reply, kvc_error *error)
{
    void *reply;
    kvc_status status;

    *ret_reply = NULL;
    if (reader->exceeded || redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK)
        return failed(reader, error);
    if (reply) {
        reader->bytes = reader->elements = 0;
        *ret_reply = reply;
        return KVC_OK;
    }
    status = check_front(reader, error);
    if (status != KVC_OK) {
        if (!reader->exceeded)
            reader->exceeded = "the length of a line";
        return status;
    }
    shrink(reader);
    return KVC_NIL;
}
