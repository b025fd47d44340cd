/* rdb_format.c - lengths, integers and the names of types. SPDX-License-Identifier: MIT */
#include "rdb_format.h"

#include "lzf.h"

const char *rdb_type_name(unsigned type)
{
    static const char *const names[] = {
        [RDB_TYPE_STRING] = "string",
        [RDB_TYPE_LIST] = "list",
        [RDB_TYPE_SET] = "set",
        [RDB_TYPE_ZSET] = "zset",
        [RDB_TYPE_HASH] = "hash",
        [RDB_TYPE_ZSET_2] = "zset",
        [RDB_TYPE_MODULE_EARLY] = "value of a module",
        [RDB_TYPE_MODULE] = "value of a module",
        [RDB_TYPE_HASH_ZIPMAP] = "hash",
        [RDB_TYPE_LIST_ZIPLIST] = "list",
        [RDB_TYPE_SET_INTSET] = "set",
        [RDB_TYPE_ZSET_ZIPLIST] = "zset",
        [RDB_TYPE_HASH_ZIPLIST] = "hash",
        [RDB_TYPE_LIST_QUICKLIST] = "list",
        [RDB_TYPE_STREAM] = "stream",
        [RDB_TYPE_HASH_LISTPACK] = "hash",
        [RDB_TYPE_ZSET_LISTPACK] = "zset",
        [RDB_TYPE_LIST_QUICKLIST_2] = "list",
        [RDB_TYPE_STREAM_2] = "stream",
        [RDB_TYPE_SET_LISTPACK] = "set",
        [RDB_TYPE_STREAM_3] = "stream",
        [RDB_TYPE_HASH_FIELD_TTL] = "hash",
        [RDB_TYPE_HASH_LISTPACK_TTL] = "hash",
    };

    return type < sizeof names / sizeof names[0] ? names[type] : NULL;
}

static void put_big(unsigned char *into, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        into[i] = (unsigned char)(number >> 8 * (bytes - 1 - i));
}

size_t rdb_put_length(unsigned char *into, uint64_t length)
{
    if (length < 64) {
        into[0] = (unsigned char)length;
        return 1;
    }
    if (length < 16384) {
        into[0] = (unsigned char)(0x40 | length >> 8);
        into[1] = (unsigned char)length;
        return 2;
    }
    into[0] = length <= UINT32_MAX ? 0x80 : 0x81;
    put_big(into + 1, length, length <= UINT32_MAX ? 4 : 8);
    return length <= UINT32_MAX ? 5 : 9;
}

/* A number of at most 11 characters, as it would be printed; false: it is none. */
static bool read_int(kv_slice text, int64_t *ret_number)
{
    size_t i = 0;
    int64_t number = 0;

    if (text.len == 0 || text.len > 11)
        return false;
    if (text.data[0] == '-')
        i = 1;
    if (i == text.len || (text.data[i] == '0' && text.len > 1))
        return false;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    *ret_number = text.data[0] == '-' ? -number : number;
    return true;
}

size_t rdb_put_int(unsigned char *into, kv_slice text)
{
    int64_t number;
    size_t bytes;

    if (!read_int(text, &number) || number < INT32_MIN || number > INT32_MAX)
        return 0;
    bytes = number == (int8_t)number ? 1 : number == (int16_t)number ? 2 : 4;
    into[0] = (unsigned char)(bytes == 1 ? RDB_CODE_INT8 : bytes == 2 ? RDB_CODE_INT16 : RDB_CODE_INT32);
    for (size_t i = 0; i < bytes; i++)
        into[1 + i] = (unsigned char)((uint64_t)number >> 8 * i);
    return 1 + bytes;
}

/* 0: packing it saves nothing. */
static size_t put_packed(unsigned char *into, kv_slice text, lzf_table *table)
{
    unsigned char *packed = into + 1 + 2 * 5; /* behind two lengths of at most 32 bits */
    size_t len = lzf_compress(table, text.data, text.len, packed, text.len - 4), used = 1;

    if (len == 0)
        return 0;
    into[0] = RDB_CODE_LZF;
    used += rdb_put_length(into + used, len);
    used += rdb_put_length(into + used, text.len);
    memmove(into + used, packed, len);
    return used + len;
}

size_t rdb_put_string(unsigned char *into, kv_slice text, lzf_table *table)
{
    size_t len = rdb_put_int(into, text);

    if (len == 0 && table && text.len >= RDB_PACK_MIN)
        len = put_packed(into, text, table);
    if (len > 0)
        return len;
    len = rdb_put_length(into, text.len);
    if (text.len > 0)
        memcpy(into + len, text.data, text.len);
    return len + text.len;
}

void rdb_put_u64(unsigned char *into, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++)
        into[i] = (unsigned char)(number >> 8 * i);
}

uint64_t rdb_get_little(const unsigned char *from, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = bytes; i-- > 0;)
        number = number << 8 | from[i];
    return number;
}

uint64_t rdb_get_big(const unsigned char *from, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | from[i];
    return number;
}
