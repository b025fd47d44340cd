/* args.c - see args.h. SPDX-License-Identifier: MIT */
#include "args.h"

bool kv_word_is(kv_slice arg, const char *word)
{
    for (size_t i = 0; i < arg.len; i++)
        if (word[i] == '\0' || kv_lower(arg.data[i]) != word[i])
            return false;
    return word[arg.len] == '\0';
}

bool kv_parse_uint(kv_slice text, uint64_t *ret_value)
{
    uint64_t sum = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    *ret_value = sum;
    return true;
}

int kv_arg_int(const kv_call *call, int index, int64_t *ret_value)
{
    return kv_parse_int(call->argv[index], ret_value) ? 0 : KV_ENOTINT;
}

int kv_parse_db(kv_slice text, const kv_databases *databases, int *ret_db)
{
    int64_t db;

    if (!kv_parse_int(text, &db))
        return KV_ENOTINT;
    if (db < INT_MIN || db > INT_MAX)
        return KV_ERANGE;
    if (db < 0 || db >= (databases ? databases->count : 1))
        return KV_EDB;
    *ret_db = (int)db;
    return 0;
}

bool kv_arg_db(kv_call *call, int index, int *ret_db)
{
    int err = kv_parse_db(call->argv[index], call->databases, ret_db);

    if (err == KV_ERANGE)
        kv_reply_errorf(call->reply, "ERR value is out of range, value must between %d and %d", INT_MIN,
                        INT_MAX);
    else if (err)
        kv_reply_error(call->reply, err);
    return err == 0;
}
