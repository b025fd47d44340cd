/* payload.c - one value with its checksum. SPDX-License-Identifier: MIT */
#include "payload.h"

#include <stdlib.h>

#include "crc64.h"
#include "lzf.h"
#include "rdb_format.h"
#include "rdb_input.h"

#define FOOT 10 /* version and checksum */

int payload_encode(kv_slice value, bool compress, char **ret_payload, size_t *ret_len)
{
    unsigned char *payload = malloc(1 + RDB_STRING_MAX(value.len) + FOOT);
    size_t len = 1;
    lzf_table table;

    if (!payload)
        return KV_ENOMEM;
    table.base = 0;
    payload[0] = RDB_TYPE_STRING;
    len += rdb_put_string(payload + len, value, compress ? &table : NULL);
    payload[len++] = RDB_VERSION;
    payload[len++] = 0;
    rdb_put_u64(payload + len, crc64(0, payload, len));
    *ret_payload = (char *)payload;
    *ret_len = len + 8;
    return 0;
}

/* Whether its foot is right. */
static bool foot_is_right(kv_slice payload)
{
    const unsigned char *foot = (const unsigned char *)payload.data + payload.len - FOOT;

    return rdb_get_little(foot, 2) <= RDB_VERSION_READ &&
           rdb_get_little(foot + 2, 8) == crc64(0, payload.data, payload.len - 8);
}

int payload_decode(kv_slice payload, kv_slice *ret_value, char **ret_memory, const char **ret_type)
{
    rdb_input in;
    rdb_text text = { 0 };
    const char *type;
    int err;

    if (payload.len < FOOT || !foot_is_right(payload))
        return PAYLOAD_ECHECKSUM;
    rdb_input_init_memory(&in, kv_slice_of(payload.data, payload.len - FOOT));
    type = in.end > 0 ? rdb_type_name(in.buffer[0]) : NULL;
    if (!type)
        return PAYLOAD_EDAMAGED;
    if (ret_type)
        *ret_type = type;
    if (in.buffer[0] != RDB_TYPE_STRING)
        return PAYLOAD_EUNSUPPORTED;
    in.at = in.mark = 1;
    err = rdb_input_text(&in, &text);
    if (!err && in.at != in.end)
        err = RDB_EDAMAGED;
    if (err) {
        rdb_text_done(&text);
        return err == RDB_ENOMEM ? KV_ENOMEM : PAYLOAD_EDAMAGED;
    }
    *ret_memory = text.unpacked;
    if (text.where == RDB_DIGITS) { /* which live in text */
        *ret_memory = malloc(sizeof text.digits);
        if (!*ret_memory)
            return KV_ENOMEM;
        memcpy(*ret_memory, text.digits, sizeof text.digits);
        *ret_value = kv_slice_of(*ret_memory, text.len);
        return 0;
    }
    *ret_value = rdb_text_slice(&in, &text);
    return 0;
}
