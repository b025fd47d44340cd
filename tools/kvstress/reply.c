/* reply.c - see reply.h. SPDX-License-Identifier: MIT */
#include "reply.h"

#include <hiredis/hiredis.h>

#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE  (16u << 10)
#define SHOWN_MAX   64u
#define SHOWN_ITEMS 16u

/* ---- memory ----------------------------------------------------------------------------- */

static void *allot(reply_reader *r, size_t size)
{
    reply_block *b = r->blocks;

    size = (size + 15) & ~(size_t)15;
    if (!b || b->size - r->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

        b = malloc(sizeof *b + room);
        if (!b)
            return NULL;
        *b = (reply_block){ .next = r->blocks, .size = room };
        r->blocks = b;
        r->used = 0;
    }
    r->used += size;
    return (char *)(b + 1) + r->used - size;
}

/* Keeps one block, of the usual size. */
static void forget(reply_reader *r)
{
    reply_block *kept = NULL, *next;

    for (reply_block *b = r->blocks; b; b = next) {
        next = b->next;
        if (!kept && b->size == BLOCK_SIZE)
            kept = b;
        else
            free(b);
    }
    if (kept)
        kept->next = NULL;
    r->blocks = kept;
    r->used = 0;
}

/* ---- what hiredis calls ----------------------------------------------------------------- */

static reply *make(const redisReadTask *task, reply_type type)
{
    reply *new = allot(task->privdata, sizeof *new);

    if (!new)
        return NULL;
    *new = (reply){ .type = type };
    if (task->parent)
        ((reply *)task->parent->obj)->elements[task->idx] = new;
    return new;
}

static reply_type type_of(const redisReadTask *task)
{
    switch (task->type) {
    case REDIS_REPLY_STRING:
        return REPLY_IS_STRING;
    case REDIS_REPLY_STATUS:
        return REPLY_IS_STATUS;
    case REDIS_REPLY_ERROR:
        return REPLY_IS_ERROR;
    default:
        return REPLY_IS_OTHER;
    }
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len)
{
    reply *new = make(task, type_of(task));

    if (!new)
        return NULL;
    new->text = allot(task->privdata, len + 1);
    if (!new->text)
        return NULL;
    memcpy(new->text, bytes, len);
    new->text[len] = '\0';
    new->len = len;
    return new;
}

static void *make_integer(const redisReadTask *task, long long integer)
{
    reply *new = make(task, REPLY_IS_INTEGER);

    if (new)
        new->integer = integer;
    return new;
}

static void *make_nil(const redisReadTask *task)
{
    return make(task, REPLY_IS_NIL);
}

static void *make_elements(const redisReadTask *task, size_t count)
{
    reply *new = make(task, task->type == REDIS_REPLY_ARRAY ? REPLY_IS_ARRAY : REPLY_IS_OTHER);

    if (!new || count > SIZE_MAX / sizeof *new->elements / 2)
        return NULL;
    new->count = count;
    new->elements = allot(task->privdata, (count + 1) * sizeof *new->elements);
    if (!new->elements)
        return NULL;
    memset(new->elements, 0, (count + 1) * sizeof *new->elements);
    return new;
}

#if HIREDIS_MAJOR >= 1
static void *make_array(const redisReadTask *task, size_t count)
{
    return make_elements(task, count);
}

static void *make_double(const redisReadTask *task, double value, char *bytes, size_t len)
{
    (void)value;
    return make_string(task, bytes, len);
}

static void *make_bool(const redisReadTask *task, int value)
{
    reply *new = make(task, REPLY_IS_OTHER);

    if (new)
        new->integer = value;
    return new;
}
#else
static void *make_array(const redisReadTask *task, int count)
{
    return make_elements(task, (size_t)count);
}
#endif

static void free_nothing(void *object)
{
    (void)object; /* forget() does it */
}

static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_bool,
#endif
    .createNil = make_nil,
    .freeObject = free_nothing,
};

/* ---- reading ---------------------------------------------------------------------------- */

int reply_reader_init(reply_reader *r)
{
    memset(r, 0, sizeof *r);
    r->codec = redisReaderCreateWithFunctions(&functions);
    if (!r->codec)
        return -1;
    r->codec->privdata = r;
    r->codec->maxbuf = 0; /* keep the buffer */
    return 0;
}

void reply_reader_done(reply_reader *r)
{
    reply_block *next;

    if (r->codec)
        redisReaderFree(r->codec);
    for (reply_block *b = r->blocks; b; b = next) {
        next = b->next;
        free(b);
    }
    memset(r, 0, sizeof *r);
}

int reply_feed(reply_reader *r, const char *bytes, size_t len)
{
    return redisReaderFeed(r->codec, bytes, len) == REDIS_OK ? 0 : -1;
}

int reply_next(reply_reader *r, const reply **ret)
{
    void *object = NULL;

    if (r->whole && r->blocks && r->blocks->next)
        forget(r);
    else if (r->whole)
        r->used = 0;
    r->whole = false;
    if (redisReaderGetReply(r->codec, &object) != REDIS_OK)
        return -1;
    if (!object)
        return 0;
    r->whole = true;
    *ret = object;
    return 1;
}

const char *reply_trouble(const reply_reader *r)
{
    return r->codec->errstr;
}

/* ---- printing --------------------------------------------------------------------------- */

static void print_text(const reply *r, FILE *out)
{
    size_t shown = r->len < SHOWN_MAX ? r->len : SHOWN_MAX;

    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)r->text[i];

        if (c < ' ' || c > '~')
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    if (shown < r->len)
        fprintf(out, "... (%zu bytes)", r->len);
}

void reply_print(const reply *r, FILE *out)
{
    switch (r->type) {
    case REPLY_IS_INTEGER:
        fprintf(out, "%lld", r->integer);
        break;
    case REPLY_IS_NIL:
        fputs("nil", out);
        break;
    case REPLY_IS_STRING:
        fputc('"', out);
        print_text(r, out);
        fputc('"', out);
        break;
    case REPLY_IS_ARRAY:
        fputc('[', out);
        for (size_t i = 0; i < r->count && i < SHOWN_ITEMS; i++) {
            if (i)
                fputc(' ', out);
            reply_print(r->elements[i], out);
        }
        fputs(r->count > SHOWN_ITEMS ? " ...]" : "]", out);
        break;
    case REPLY_IS_OTHER:
        fputs("(a type of RESP3)", out);
        break;
    default:
        if (r->type == REPLY_IS_ERROR)
            fputs("error ", out);
        print_text(r, out);
    }
}
