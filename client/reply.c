/* reply.c - the tree a reply is, and how to read it.
 *
 * SPDX-License-Identifier: MIT */
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

static bool type_has_text(kvc_type type)
{
    switch (type) {
    case KVC_TYPE_STRING:
    case KVC_TYPE_SIMPLE:
    case KVC_TYPE_ERROR:
    case KVC_TYPE_DOUBLE:
    case KVC_TYPE_BIGNUM:
    case KVC_TYPE_VERBATIM:
        return true;
    default:
        return false;
    }
}

bool kvc_type_is_aggregate(kvc_type type)
{
    return type == KVC_TYPE_ARRAY || type == KVC_TYPE_MAP || type == KVC_TYPE_SET || type == KVC_TYPE_PUSH;
}

/* ---- building ---- */

kvc_reply *kvc_reply_new(kvc_type type)
{
    kvc_reply *reply = calloc(1, sizeof *reply + 1);

    if (reply)
        reply->type = type;
    return reply;
}

kvc_reply *kvc_reply_new_text(kvc_type type, kvc_slice text)
{
    kvc_reply *reply;

    if (text.len > SIZE_MAX - sizeof *reply - 1)
        return NULL;
    reply = malloc(sizeof *reply + text.len + 1);
    if (!reply)
        return NULL;
    *reply = (kvc_reply){ .type = type, .n = text.len };
    if (text.len)
        memcpy(reply->text, text.data, text.len);
    reply->text[text.len] = '\0';
    return reply;
}

kvc_reply *kvc_reply_new_int(kvc_type type, int64_t integer)
{
    kvc_reply *reply = kvc_reply_new(type);

    if (reply)
        reply->is.integer = integer;
    return reply;
}

kvc_reply *kvc_reply_new_double(double number, kvc_slice text)
{
    kvc_reply *reply = kvc_reply_new_text(KVC_TYPE_DOUBLE, text);

    if (reply)
        reply->is.number = number;
    return reply;
}

bool kvc_reply_add(kvc_reply *list, kvc_reply *element)
{
    if (list->n == list->is.elements.capacity) {
        size_t capacity = list->n ? list->n * 2 : 4;
        kvc_reply **items;

        if (capacity > SIZE_MAX / sizeof *items)
            return false;
        items = realloc(list->is.elements.items, capacity * sizeof *items);
        if (!items)
            return false;
        list->is.elements.items = items;
        list->is.elements.capacity = capacity;
    }
    list->is.elements.items[list->n++] = element;
    return true;
}

/* The depth is bounded by the reader. */
void kvc_reply_free(kvc_reply *reply)
{
    if (!reply)
        return;
    if (kvc_type_is_aggregate(reply->type)) {
        for (size_t i = 0; i < reply->n; i++)
            kvc_reply_free(reply->is.elements.items[i]);
        free(reply->is.elements.items);
    }
    free(reply);
}

/* ---- reading ---- */

kvc_type kvc_reply_type(const kvc_reply *reply)
{
    return reply ? reply->type : KVC_TYPE_NIL;
}

kvc_slice kvc_reply_text(const kvc_reply *reply)
{
    return reply && type_has_text(reply->type) ? kvc_bytes(reply->text, reply->n) : kvc_bytes("", 0);
}

/* Text that strtoll and strtod would read otherwise than a server writes it: none, or with space before it. */
static bool is_number_text(const kvc_reply *reply)
{
    return type_has_text(reply->type) && reply->n > 0 && reply->text[0] > ' ';
}

int64_t kvc_reply_int(const kvc_reply *reply)
{
    long long value;
    char *end;

    if (!reply)
        return 0;
    if (reply->type == KVC_TYPE_INT || reply->type == KVC_TYPE_BOOL)
        return reply->is.integer;
    if (!is_number_text(reply))
        return 0;
    errno = 0;
    value = strtoll(reply->text, &end, 10);
    return errno || end != reply->text + reply->n ? 0 : value;
}

double kvc_reply_double(const kvc_reply *reply)
{
    double value;
    char *end;

    if (!reply)
        return 0;
    if (reply->type == KVC_TYPE_DOUBLE)
        return reply->is.number;
    if (reply->type == KVC_TYPE_INT || reply->type == KVC_TYPE_BOOL)
        return (double)reply->is.integer;
    if (!is_number_text(reply))
        return 0;
    value = strtod(reply->text, &end);
    return end != reply->text + reply->n ? 0 : value;
}

size_t kvc_reply_count(const kvc_reply *reply)
{
    return reply && kvc_type_is_aggregate(reply->type) ? reply->n : 0;
}

const kvc_reply *kvc_reply_at(const kvc_reply *reply, size_t i)
{
    return i < kvc_reply_count(reply) ? reply->is.elements.items[i] : NULL;
}

const kvc_reply *kvc_reply_find(const kvc_reply *map, const char *key)
{
    size_t count = kvc_reply_count(map), len = strlen(key);

    for (size_t i = 0; i + 1 < count; i += 2) {
        kvc_slice name = kvc_reply_text(kvc_reply_at(map, i));

        if (name.len == len && memcmp(name.data, key, len) == 0)
            return kvc_reply_at(map, i + 1);
    }
    return NULL;
}

bool kvc_reply_is_word(const kvc_reply *reply, const char *word)
{
    kvc_slice text = kvc_reply_text(reply);

    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}
