/* rdb_check.c - see rdb_check.h. SPDX-License-Identifier: MIT */
#include "rdb_check.h"

#include <string.h>

#define POLYNOMIAL 0x95ac9329ac4bc9b5u /* 0xad93d23594c935a9, bits reversed */
#define OPCODE_END 0xff

void rdb_check_begin(rdb_check *c)
{
    memset(c, 0, sizeof *c);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        c->table[i] = crc;
    }
}

static void keep_tail(rdb_check *c, const unsigned char *data, size_t len)
{
    if (len >= RDB_CHECK_TAIL) {
        memcpy(c->tail, data + len - RDB_CHECK_TAIL, RDB_CHECK_TAIL);
    } else {
        memmove(c->tail, c->tail + len, RDB_CHECK_TAIL - len);
        memcpy(c->tail + RDB_CHECK_TAIL - len, data, len);
    }
}

void rdb_check_add(rdb_check *c, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint64_t crc = c->crc;

    if (c->total < RDB_CHECK_HEAD) {
        size_t missing = RDB_CHECK_HEAD - (size_t)c->total;

        memcpy(c->head + c->total, bytes, len < missing ? len : missing);
    }
    for (size_t i = 0; i < len; i++)
        crc = c->table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    c->crc = crc;
    c->total += len;
    keep_tail(c, bytes, len);
}

const char *rdb_check_end(const rdb_check *c)
{
    static const unsigned char none[8];
    int version = 0;

    if (c->total < RDB_CHECK_HEAD || memcmp(c->head, "REDIS", 5) != 0)
        return "it does not begin as an RDB file does";
    for (int i = 5; i < RDB_CHECK_HEAD; i++)
        version = version * 10 + (c->head[i] - '0');
    if (version < 5) /* they had no checksum */
        return c->tail[RDB_CHECK_TAIL - 1] == OPCODE_END ? NULL : "it ends too early";
    if (c->tail[0] != OPCODE_END)
        return "it ends too early";
    if (c->crc != 0 && memcmp(c->tail + 1, none, sizeof none) != 0)
        return "its checksum is wrong";
    return NULL;
}
