/* secret.c - see secret.h. SPDX-License-Identifier: MIT */
#include "secret.h"

#include "args.h"
#include "config.h"

/* The words behind AUTH of HELLO are a name and a password. */
static bool follows_auth(int argc, const kv_slice argv[], int index)
{
    for (int i = 2; i < argc && i < index; i++)
        if (kv_word_is(argv[i], "auth")) {
            if (index - i <= 2)
                return true;
            i += 2;
        }
    return false;
}

/* MIGRATE has AUTH with a password, and AUTH2 with a name and a password. */
static bool follows_migrate_auth(int argc, const kv_slice argv[], int index)
{
    for (int i = 6; i < argc && i < index; i++) {
        int words = kv_word_is(argv[i], "auth") ? 1 : kv_word_is(argv[i], "auth2") ? 2 : 0;

        if (index <= i + words)
            return true;
        i += words;
    }
    return false;
}

/* A value of CONFIG SET name value ... */
static bool is_secret_value(const kv_slice argv[], int index)
{
    int id;

    if (index < 3 || index % 2 == 0)
        return false;
    id = config_find(argv[index - 1]);
    return id >= 0 && (config_directives[id].flags & CONFIG_SECRET);
}

bool secret_argument(const kv_command *row, int argc, const kv_slice argv[], int index)
{
    switch (row->id) {
    case KV_COMMAND_auth:
        return index >= 1;
    case KV_COMMAND_acl_deluser:
    case KV_COMMAND_acl_getuser:
    case KV_COMMAND_acl_setuser:
        return index >= 2;
    case KV_COMMAND_hello:
        return follows_auth(argc, argv, index);
    case KV_COMMAND_migrate:
        return follows_migrate_auth(argc, argv, index);
    case KV_COMMAND_config_set:
        return is_secret_value(argv, index);
    default:
        return false;
    }
}

void secret_wipe(void *bytes, size_t size)
{
    explicit_bzero(bytes, size);
}

void secret_wipe_argument(kv_slice argument)
{
    if (argument.len)
        secret_wipe((void *)(uintptr_t)argument.data, argument.len);
}

bool secret_equal(const void *a, const void *b, size_t size)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned difference = 0;

    for (size_t i = 0; i < size; i++)
        difference |= (unsigned)(x[i] ^ y[i]);
    return difference == 0;
}
