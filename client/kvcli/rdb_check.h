/* rdb_check.h - whether bytes are a whole RDB file, seen as they pass: how it begins, and the checksum at its end.
 *
 *     rdb_check check;
 *     rdb_check_begin(&check);
 *     rdb_check_add(&check, data, len);                    // again and again
 *     const char *wrong = rdb_check_end(&check);           // NULL: it is whole
 *
 * The last 8 bytes are the CRC64 (Jones) of all before, low byte first, so that of all of them it is 0; or they are 0, which
 * stands for none (rdbchecksum no). SPDX-License-Identifier: MIT */
#ifndef KVCLI_RDB_CHECK_H
#define KVCLI_RDB_CHECK_H

#include <stddef.h>
#include <stdint.h>

enum { RDB_CHECK_HEAD = 9, RDB_CHECK_TAIL = 9 };

typedef struct rdb_check {
    uint64_t table[256], crc, total;
    unsigned char head[RDB_CHECK_HEAD],
        tail[RDB_CHECK_TAIL]; /* tail: the last bytes, as far as there are any */
} rdb_check;

void rdb_check_begin(rdb_check *c);
void rdb_check_add(rdb_check *c, const void *data, size_t len);
/* NULL, or what is wrong. */
const char *rdb_check_end(const rdb_check *c);

#endif
