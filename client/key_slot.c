/* key_slot.c - CRC16, four bits at a time: a table of 16 entries serves keys of some tens of bytes well enough.
 *
 * SPDX-License-Identifier: MIT */
#include "key_slot.h"

/* crc[n] is the CRC of the four bits n: n shifted through the polynomial x^16 + x^12 + x^5 + 1. */
static const uint16_t crc[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

static kvc_slice hashed_part(kvc_slice key)
{
    const char *open = key.len ? memchr(key.data, '{', key.len) : NULL;
    const char *close;

    if (!open)
        return key;
    close = memchr(open + 1, '}', (size_t)(key.data + key.len - (open + 1)));
    if (!close || close == open + 1)
        return key;
    return kvc_bytes(open + 1, (size_t)(close - (open + 1)));
}

unsigned kvc_key_slot(kvc_slice key)
{
    kvc_slice part = hashed_part(key);
    unsigned sum = 0;

    for (size_t i = 0; i < part.len; i++) {
        unsigned byte = (unsigned char)part.data[i];

        sum = (sum << 4 & 0xffff) ^ crc[sum >> 12 ^ byte >> 4];
        sum = (sum << 4 & 0xffff) ^ crc[sum >> 12 ^ (byte & 15)];
    }
    return sum % KVC_SLOT_COUNT;
}
