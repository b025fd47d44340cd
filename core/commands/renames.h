/* renames.h - other names for commands, and commands that are gone: rename-command.
 *
 *     kv_renames *r = kv_renames_new();
 *     err = kv_renames_add(r, KV_STR("flushall"), KV_STR(""));        // gone
 *     err = kv_renames_add(r, KV_STR("config"), KV_STR("cfg"));
 *     const kv_command *row = kv_renames_find(r, argv[0]);            // NULL r: the names of the table
 *
 * Rows keep their names in everything that is about commands and not about calling them: ACL rules, COMMAND INFO, statistics.
 *
 * Threads    Written before anybody else reads.
 * Ownership  Texts are copied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_RENAMES_H
#define KV_COMMANDS_RENAMES_H

#include "command.h"

#define KV_RENAMES_MAX 1024 /* of one kv_renames */

typedef struct kv_renames kv_renames;

/* NULL: memory is out. */
kv_renames *kv_renames_new(void);
void kv_renames_free(kv_renames *r);
typedef enum kv_rename_error {
    KV_RENAME_OK,
    KV_RENAME_UNKNOWN, /* from names no command */
    KV_RENAME_TAKEN,   /* to names one */
    KV_RENAME_FULL,    /* there are KV_RENAMES_MAX */
    KV_RENAME_ENOMEM,
} kv_rename_error;
/* Takes the command that from names now, and gives it the name to; "": none. */
kv_rename_error kv_renames_add(kv_renames *r, kv_slice from, kv_slice to);

/* The row that is called so, or NULL. */
const kv_command *kv_renames_find(const kv_renames *r, kv_slice name);
/* The row of "get" or "config|get", or NULL. */
const kv_command *kv_renames_find_full(const kv_renames *r, kv_slice name);
/* Whether the row can be called at all, under whatever name. */
bool kv_renames_has(const kv_renames *r, const kv_command *row);

#endif
