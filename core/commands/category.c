/* category.c - see category.h. SPDX-License-Identifier: MIT */
#include "category.h"

#include "args.h"

/* In the order of the bits. group: the group of rows that are in the category; NULL: the flags alone decide. */
static const struct {
    const char *name, *group;
} categories[KV_CATEGORY_COUNT] = {
    { "keyspace", NULL },
    { "read", NULL },
    { "write", NULL },
    { "set", "set" },
    { "sortedset", "sorted-set" },
    { "list", "list" },
    { "hash", "hash" },
    { "string", "string" },
    { "bitmap", "bitmap" },
    { "hyperloglog", "hyperloglog" },
    { "geo", "geo" },
    { "stream", "stream" },
    { "pubsub", NULL },
    { "admin", NULL },
    { "fast", NULL },
    { "slow", NULL },
    { "blocking", NULL },
    { "dangerous", NULL },
    { "connection", NULL },
    { "transaction", "transactions" },
    { "scripting", "scripting" },
};

/* A group may be a category, too; containers are in neither. */
static unsigned group_category(const kv_command *row)
{
    if (!row->run && !(row->flags & KV_CMD_SESSION))
        return 0;
    for (int i = 0; i < KV_CATEGORY_COUNT; i++)
        if (categories[i].group && strcmp(row->group, categories[i].group) == 0)
            return 1u << i;
    return 0;
}

unsigned kv_category_of(const kv_command *row)
{
    unsigned f = row->flags, of_group = group_category(row);
    bool reads = (f & KV_CMD_READONLY) && of_group != KV_CATEGORY_SCRIPTING;

    return of_group | (f & KV_CMD_KEYSPACE ? KV_CATEGORY_KEYSPACE : 0u) | (reads ? KV_CATEGORY_READ : 0u) |
           (f & KV_CMD_WRITE ? KV_CATEGORY_WRITE : 0u) | (f & KV_CMD_PUBSUB ? KV_CATEGORY_PUBSUB : 0u) |
           (f & (KV_CMD_ADMIN | KV_CMD_ADMIN_CATEGORY) ? KV_CATEGORY_ADMIN : 0u) |
           (f & KV_CMD_FAST ? KV_CATEGORY_FAST : KV_CATEGORY_SLOW) |
           (f & KV_CMD_BLOCKING ? KV_CATEGORY_BLOCKING : 0u) |
           (f & (KV_CMD_DANGEROUS | KV_CMD_ADMIN) ? KV_CATEGORY_DANGEROUS : 0u) |
           (f & KV_CMD_CONNECTION ? KV_CATEGORY_CONNECTION : 0u);
}

const char *kv_category_name(int index)
{
    return categories[index].name;
}

unsigned kv_category_find(kv_slice name)
{
    for (int i = 0; i < KV_CATEGORY_COUNT; i++)
        if (kv_word_is(name, categories[i].name))
            return 1u << i;
    return 0;
}
