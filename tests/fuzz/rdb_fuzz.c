/* rdb_fuzz.c - the RDB reader and the reader of DUMP payloads, with any bytes.
 *
 * The checksum at the end is not looked at, or nothing would ever get past it; a payload is given the right one. What
 * is read as a string is written again, and read again as the same.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "crc64.h"
#include "fuzz.h"
#include "payload.h"
#include "rdb.h"

static int drop(void *arg, const void *bytes, size_t len)
{
    (void)arg;
    (void)bytes;
    (void)len;
    return 0;
}

static void read_file(kv_slice bytes, bool pass)
{
    rdb_read_options options = { .pass_unsupported = pass, .no_checksum = true };
    rdb_write_options format = { .compress = true };
    rdb_reader *r = rdb_reader_new(&options, rdb_source_slice, &bytes);
    rdb_writer *w = rdb_writer_new(&format, drop, NULL);
    rdb_item item;
    int err = r && w ? 1 : 0;

    while (err > 0 && (err = rdb_read(r, &item)) > 0)
        if (item.kind == RDB_STRING && item.record.value.len < 1 << 20)
            rdb_write_string(w, &item.record);
    if (err < 0 && !*rdb_reader_reason(r))
        abort();
    rdb_writer_free(w);
    rdb_reader_free(r);
}

/* The bytes as the inside of a payload, with the version and the checksum that belong to them. */
static void read_payload(const uint8_t *data, size_t size)
{
    char *payload = malloc(size + 10), *memory = NULL, *again;
    kv_slice value, back;
    uint64_t crc;
    size_t len;

    if (!payload)
        return;
    if (size)
        memcpy(payload, data, size);
    payload[size] = 10;
    payload[size + 1] = 0;
    crc = crc64(0, payload, size + 2);
    for (int i = 0; i < 8; i++)
        payload[size + 2 + (size_t)i] = (char)(crc >> 8 * i);
    if (payload_decode(kv_slice_of(payload, size + 10), &value, &memory, NULL) == 0 && value.len < 1 << 20) {
        char *memory_again = NULL;

        if (payload_encode(value, true, &again, &len) == 0) {
            if (payload_decode(kv_slice_of(again, len), &back, &memory_again, NULL) != 0 ||
                !kv_slice_equal(value, back))
                abort();
            free(again);
        }
        free(memory_again);
    }
    free(memory);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_file(kv_slice_of(data, size), false);
    read_file(kv_slice_of(data, size), true);
    read_payload(data, size);
    return 0;
}
