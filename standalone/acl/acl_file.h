/* acl_file.h - users in files: aclfile, and the user lines of the configuration.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_FILE_H
#define KV_STANDALONE_ACL_FILE_H

#include "acl.h"

/* Reads the users of aclfile, all or nothing: *ret_users, for acl_replace. False: *ret_errors says, in Redis's words, what is
 * wrong and in which lines; to be freed; NULL: memory is out. */
bool acl_file_read(acl *a, const char *path, acl_users *ret_users, char **ret_errors)
    KV_EXCLUDES(kv_shard_held);
/* The same, and puts them in the place of all. False: as above. */
bool acl_file_load(acl *a, const char *path, char **ret_errors) KV_EXCLUDES(kv_shard_held);
/* Writes all users: a temporary file beside path, which only its owner may read, synced, then renamed over it. -1 with the
 * reason. */
int acl_file_write(acl *a, const char *path, config_error *ret_error) KV_EXCLUDES(kv_shard_held);

/* Writes "user ..." lines of all; quoted: as the grammar of configurations wants them. False: memory is out. */
bool acl_write_lines(acl *a, FILE *out, bool quoted);
/* The user lines that CONFIG REWRITE writes: none when there is an aclfile, or when nothing is to be said that requirepass does
 * not say. A new string; NULL: memory is out. */
char *acl_config_lines(acl *a, config *c, size_t *ret_len);

/* At the start: takes the users from aclfile, or from the lines of the configuration; not from both. -1 with the reason. */
int acl_load_at_start(acl *a, config *c, config_error *ret_error) KV_EXCLUDES(kv_shard_held);

#endif
