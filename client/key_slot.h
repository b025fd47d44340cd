/* key_slot.h - the hash slot of a key in a Redis Cluster.
 *
 *     kvc_key_slot(kvc_str("{user:1}.name")) == kvc_key_slot(kvc_str("user:1"))
 *
 * CRC16 (XMODEM: polynomial 0x1021, initial value 0) of the key, modulo 16384; of a key that holds "{tag}" with a
 * tag that is not empty, only the first such tag counts. As in the Redis Cluster specification, "Key distribution
 * model" and "Hash tags".
 *
 * Threads    Pure functions.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_KEY_SLOT_H
#define KVC_KEY_SLOT_H

#include "kvclient.h"

enum { KVC_SLOT_COUNT = 16384 };

unsigned kvc_key_slot(kvc_slice key);

#endif
