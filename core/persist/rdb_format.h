/* rdb_format.h - the numbers of the RDB format, and its two smallest pieces: lengths, and integers that stand for strings.
 *
 *     length   00LLLLLL | 01LLLLLL LLLLLLLL | 10000000 and 4 bytes, high one first | 10000001 and 8 bytes
 *     11000000 n8 | 11000001 n16 | 11000010 n32, low byte first | 11000011 LZF: packed length, length, bytes
 *
 * Private to core/persist. Source: Redis's documentation of the format, and files of redis-server 7.0.
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RDB_FORMAT_H
#define KV_PERSIST_RDB_FORMAT_H

#include "kvstore/kvstore.h"

struct lzf_table;

enum rdb_opcode {
    RDB_OP_SLOT_INFO = 244,
    RDB_OP_FUNCTION = 245,
    RDB_OP_FUNCTION_EARLY = 246, /* of release candidates of 7.0 */
    RDB_OP_MODULE_AUX = 247,
    RDB_OP_IDLE = 248,
    RDB_OP_FREQ = 249,
    RDB_OP_AUX = 250,
    RDB_OP_RESIZE = 251,
    RDB_OP_EXPIRE_MS = 252,
    RDB_OP_EXPIRE_S = 253,
    RDB_OP_DB = 254,
    RDB_OP_END = 255,
};

enum rdb_type {
    RDB_TYPE_STRING,
    RDB_TYPE_LIST,
    RDB_TYPE_SET,
    RDB_TYPE_ZSET,
    RDB_TYPE_HASH,
    RDB_TYPE_ZSET_2,
    RDB_TYPE_MODULE_EARLY,
    RDB_TYPE_MODULE,
    RDB_TYPE_HASH_ZIPMAP = 9,
    RDB_TYPE_LIST_ZIPLIST,
    RDB_TYPE_SET_INTSET,
    RDB_TYPE_ZSET_ZIPLIST,
    RDB_TYPE_HASH_ZIPLIST,
    RDB_TYPE_LIST_QUICKLIST,
    RDB_TYPE_STREAM,
    RDB_TYPE_HASH_LISTPACK,
    RDB_TYPE_ZSET_LISTPACK,
    RDB_TYPE_LIST_QUICKLIST_2,
    RDB_TYPE_STREAM_2,
    RDB_TYPE_SET_LISTPACK,
    RDB_TYPE_STREAM_3,
    RDB_TYPE_HASH_FIELD_TTL = 24,
    RDB_TYPE_HASH_LISTPACK_TTL,
};

#define RDB_LENGTH_MAX 9   /* bytes of an encoded length */
#define RDB_INT_MAX    5   /* and of an encoded integer */
#define RDB_PACK_MIN   21u /* shorter strings are not worth packing */
#define RDB_CODE_INT8  0xc0u
#define RDB_CODE_INT16 0xc1u
#define RDB_CODE_INT32 0xc2u
#define RDB_CODE_LZF   0xc3u

/* The name of a type as TYPE says it ("list", ...), or NULL: there is no such type. */
const char *rdb_type_name(unsigned type);

/* Writes a length; returns how many bytes it took. */
size_t rdb_put_length(unsigned char *into, uint64_t length);
/* Writes text as an integer; 0: it is none that fits into 32 bits and reads back as the same text. */
size_t rdb_put_int(unsigned char *into, kv_slice text);

/* The longest form of a string of len bytes. */
#define RDB_STRING_MAX(len) ((len) + RDB_LENGTH_MAX)
/* Writes a string in its shortest form; returns how many bytes it took. table: for packing long ones; NULL: they are not
 * packed. */
size_t rdb_put_string(unsigned char *into, kv_slice text, struct lzf_table *table);

/* Low byte first. */
void rdb_put_u64(unsigned char *into, uint64_t number);
uint64_t rdb_get_little(const unsigned char *from, size_t bytes);
uint64_t rdb_get_big(const unsigned char *from, size_t bytes);

#endif
