/* payload.h - what DUMP replies and RESTORE takes: one value, by itself.
 *
 *     type 1 | value as in RDB | RDB version, 2 bytes, low one first | CRC64 of all before, 8 bytes, low one first
 *
 * Nothing in a payload is believed before its checksum is right, and nothing after it without its length.
 *
 * Threads    Any. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_PAYLOAD_H
#define KV_PERSIST_PAYLOAD_H

#include "kvstore/kvstore.h"

/* The payload of a string: len bytes at *ret_payload, which the caller frees with free(). KV_ENOMEM. */
int payload_encode(kv_slice value, bool compress, char **ret_payload, size_t *ret_len);

enum payload_error {
    PAYLOAD_ECHECKSUM = -1101,    /* version or checksum are wrong */
    PAYLOAD_EDAMAGED = -1102,     /* the checksum is right, the value is not */
    PAYLOAD_EUNSUPPORTED = -1103, /* a value of a type that is not supported */
};

/* Checks a payload and gives its value: *ret_value is part of the payload or of *ret_memory, which the caller frees with
 * free() (it may be NULL). ret_type (may be NULL): "string", "list", ..., also with PAYLOAD_EUNSUPPORTED. PAYLOAD_E...,
 * KV_ENOMEM. */
int payload_decode(kv_slice payload, kv_slice *ret_value, char **ret_memory, const char **ret_type);

#endif
