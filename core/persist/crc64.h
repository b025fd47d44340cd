/* crc64.h - the checksum at the end of RDB files and DUMP payloads.
 *
 *     crc = crc64(0, bytes, len); crc = crc64(crc, more, more_len);
 *
 * The polynomial of David T. Jones (0xad93d23594c935a9), reflected, nothing added or inverted at the ends: of
 * "123456789" it is e9c6d914c4b8d9ca. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_CRC64_H
#define KV_PERSIST_CRC64_H

#include <stddef.h>
#include <stdint.h>

uint64_t crc64(uint64_t crc, const void *bytes, size_t len);

#endif
