/* crc32c.h - the checksum of log batches: CRC-32C (Castagnoli), as iSCSI, ext4 and RocksDB use it.
 *
 *     crc = crc32c(0, bytes, len); crc = crc32c(crc, more, more_len);
 *
 * Of "123456789" it is e3069283. By instructions of the processor where it has them, see crc32c.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_CRC32C_H
#define KV_PERSIST_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The ways without any, and without wide multiplications; for tests. */
uint32_t crc32c_plain(uint32_t crc, const void *bytes, size_t len);
uint32_t crc32c_narrow(uint32_t crc, const void *bytes, size_t len);

#endif
