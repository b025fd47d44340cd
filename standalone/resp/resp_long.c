/* resp_long.c - long arguments, received into memory of their own.
 *
 * The problem: a value of some hundred megabytes that lies in the input as a whole has to be copied out of it by one command, which
 * holds its worker for a good part of a second. The idea: it never lies there. From its header on its bytes go where the store will
 * keep them, some of them with each read, and the command that stores it takes that over.
 *
 *     buffer   *3 $3 SET $1 k $400000000 | *2 $3 GET ...      the header; what follows the value
 *     growing                            `-> kv_bytes: value CR LF
 *
 * The two bytes behind it go there as well, into spare room. The memory grows as bytes arrive, to twice of what is there but not
 * beyond the end; for large blocks realloc moves pages and not bytes.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "resp.h"

#define FIRST_BYTES KV_OWNED_MIN
#define CRLF        2

static size_t size_of(const kv_bytes *bytes)
{
    return kv_bytes_slice(bytes).len;
}

/* Bytes that there is room for. */
static size_t room_of(const resp_parser *parser)
{
    size_t size = size_of(parser->growing);

    return size == parser->bulk_len ? size + CRLF : size;
}

/* Makes room for `more` bytes and, as a rule, for as many as there are: the whole, once that is near. */
static bool grow(resp_parser *parser, account *from, size_t more)
{
    size_t size = parser->grown > more ? parser->grown : more, spare = 0;
    kv_bytes *grown;

    size += parser->grown;
    if (size < FIRST_BYTES)
        size = FIRST_BYTES;
    if (size >= parser->bulk_len) {
        size = parser->bulk_len;
        spare = CRLF;
    }
    grown =
        parser->growing ? kv_bytes_resize(parser->growing, size, spare) : kv_bytes_room(from, size, spare);
    if (!grown)
        return false;
    parser->growing = grown;
    return true;
}

char *resp_long_room(resp_parser *parser, account *from, size_t most, size_t *ret_room)
{
    size_t missing = parser->bulk_len + CRLF - parser->grown;

    if ((!parser->growing || parser->grown == room_of(parser)) && !grow(parser, from, 1))
        return NULL;
    *ret_room = room_of(parser) - parser->grown;
    if (*ret_room > missing)
        *ret_room = missing;
    if (*ret_room > most)
        *ret_room = most;
    return kv_bytes_data(parser->growing) + parser->grown;
}

/* The argument is whole. */
static bool own(resp_parser *parser)
{
    if (parser->owned.count == parser->owned_capacity) {
        size_t capacity = parser->owned_capacity ? 2 * parser->owned_capacity : 2;
        kv_bytes **bytes = realloc(parser->owned.bytes, capacity * sizeof(kv_bytes *));
        int *at;

        if (!bytes)
            return false;
        parser->owned.bytes = bytes;
        at = realloc(parser->owned_at, capacity * sizeof *at);
        if (!at)
            return false;
        parser->owned_at = at;
        parser->owned_capacity = capacity;
    }
    parser->owned_at[parser->owned.count] = parser->argc;
    if (!resp_push_argument(parser, kv_bytes_slice(parser->growing)))
        return false;
    parser->owned.bytes[parser->owned.count++] = parser->growing;
    parser->growing = NULL;
    parser->grown = 0;
    parser->in_bulk = false;
    return true;
}

bool resp_long_received(resp_parser *parser, size_t n)
{
    parser->grown += n;
    return parser->grown < parser->bulk_len + CRLF || own(parser);
}

ptrdiff_t resp_long_absorb(resp_parser *parser, account *from, const char *data, size_t len)
{
    size_t missing = parser->bulk_len + CRLF - parser->grown, n = len < missing ? len : missing;

    if ((!parser->growing || room_of(parser) - parser->grown < n) && !grow(parser, from, n))
        return -1;
    if (n)
        memcpy(kv_bytes_data(parser->growing) + parser->grown, data, n);
    return resp_long_received(parser, n) ? (ptrdiff_t)n : -1;
}

void resp_drop_own(resp_parser *parser)
{
    while (parser->owned.count)
        kv_bytes_unref(parser->owned.bytes[--parser->owned.count]);
}

static size_t owned_bytes(const resp_parser *parser)
{
    size_t bytes = 0;

    for (size_t i = 0; i < parser->owned.count; i++)
        bytes += kv_bytes_size(parser->owned.bytes[i]);
    return bytes;
}

size_t resp_own_bytes(const resp_parser *parser)
{
    return owned_bytes(parser) + (parser->growing ? kv_bytes_size(parser->growing) : 0);
}

size_t resp_own_arrived(const resp_parser *parser)
{
    return owned_bytes(parser) + parser->grown;
}
