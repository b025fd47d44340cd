/* args.h - reading the arguments of a command.
 *
 * Words of options are compared without case; numbers are strict (decimal.h). What replies an error says so.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_ARGS_H
#define KV_COMMANDS_ARGS_H

#include "command.h"
#include "decimal.h"

/* ASCII only, whatever the locale. */
static inline char kv_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}
static inline char kv_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

/* Whether arg is word, which is in lower case; arg may be in any. */
bool kv_word_is(kv_slice arg, const char *word);

static inline bool kv_parse_int(kv_slice text, int64_t *ret_value)
{
    return decimal_parse(text, ret_value);
}
/* How much of a stranger's word an error repeats: up to its first NUL, and no more than max bytes. */
#define KV_ECHO_MAX 128
static inline int kv_echo_len(kv_slice word, size_t max)
{
    return (int)strnlen(word.data, word.len < max ? word.len : max);
}

/* An unsigned number, as versions and cursors are: digits only. */
bool kv_parse_uint(kv_slice text, uint64_t *ret_value);

/* The argument as an integer, or KV_ENOTINT; ret_value is then untouched. */
int kv_arg_int(const kv_call *call, int index, int64_t *ret_value);
/* As an index of databases (NULL: there is one). KV_ENOTINT; KV_ERANGE: no int; KV_EDB: there is none of that number. */
int kv_parse_db(kv_slice text, const kv_databases *databases, int *ret_db);
/* The same of an argument; false: an error was replied. */
bool kv_arg_db(kv_call *call, int index, int *ret_db);

/* A reference to the bytes that the argument is the whole of, to be stored instead of a copy; NULL: there are none. */
static inline kv_bytes *kv_arg_bytes(const kv_call *call, kv_slice arg)
{
    return kv_bytes_ref(kv_owner_of(call->owned, arg));
}

/* The key at argv[index], hashed unless the host has done so. */
static inline store_key kv_arg_key(const kv_call *call, int index)
{
    if (call->key_hashed && index == call->command->keys.first)
        return (store_key){ call->argv[index], call->key_hash, call->key_hint };
    return store_key_of(call->store, call->argv[index]);
}

#endif
