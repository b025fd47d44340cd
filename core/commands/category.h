/* category.h - the ACL categories: sets of commands that follow from a row's flags and group.
 *
 *     kv_category_of(row) & kv_category_find(KV_STR("dangerous"))
 *
 * A set of categories is a word of bits; bit i is the category that kv_category_name(i) names, in the order of ACL CAT.
 *
 * Threads    Everything here is constant.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_CATEGORY_H
#define KV_COMMANDS_CATEGORY_H

#include "command.h"

enum kv_category {
    KV_CATEGORY_KEYSPACE = 1 << 0,
    KV_CATEGORY_READ = 1 << 1,
    KV_CATEGORY_WRITE = 1 << 2,
    KV_CATEGORY_SET = 1 << 3,
    KV_CATEGORY_SORTEDSET = 1 << 4,
    KV_CATEGORY_LIST = 1 << 5,
    KV_CATEGORY_HASH = 1 << 6,
    KV_CATEGORY_STRING = 1 << 7,
    KV_CATEGORY_BITMAP = 1 << 8,
    KV_CATEGORY_HYPERLOGLOG = 1 << 9,
    KV_CATEGORY_GEO = 1 << 10,
    KV_CATEGORY_STREAM = 1 << 11,
    KV_CATEGORY_PUBSUB = 1 << 12,
    KV_CATEGORY_ADMIN = 1 << 13,
    KV_CATEGORY_FAST = 1 << 14,
    KV_CATEGORY_SLOW = 1 << 15,
    KV_CATEGORY_BLOCKING = 1 << 16,
    KV_CATEGORY_DANGEROUS = 1 << 17,
    KV_CATEGORY_CONNECTION = 1 << 18,
    KV_CATEGORY_TRANSACTION = 1 << 19,
    KV_CATEGORY_SCRIPTING = 1 << 20,
};
#define KV_CATEGORY_COUNT 21

/* The categories that a row is in. */
unsigned kv_category_of(const kv_command *row);
/* "keyspace", "read", ...: index is below KV_CATEGORY_COUNT. */
const char *kv_category_name(int index);
/* The bit of a category's name, without regard to case; 0: there is none. */
unsigned kv_category_find(kv_slice name);

#endif
