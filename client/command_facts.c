/* command_facts.c - see command_facts.h.
 *
 * Two sorted lists, searched in turn: the rows that the build took from the command table (command_rows.h), and Redis's
 * commands that the table lacks and whose first key is not argv[1]. A name is at most NAME_SIZE bytes; a longer one
 * is in no list.
 *
 * SPDX-License-Identifier: MIT */
#include "command_facts.h"

#include <stdlib.h>
#include <strings.h>

#define NAME_SIZE 64

typedef struct command_row {
    const char *name; /* lower case; of a subcommand "object|encoding" */
    int first_key;    /* 0: none; AFTER_STREAMS */
    int numkeys;      /* when not 0: argv[numkeys] counts the keys, and "0" means none */
    unsigned flags;
} command_row;

#define AFTER_STREAMS (-1) /* XREAD ... STREAMS key */

#include "command_rows.h"

/* Redis's own. What has its key at argv[1] needs no row. */
static const command_row redis_rows[] = {
    { "acl", 0, 0, 0 },
    { "bgrewriteaof", 0, 0, 0 },
    { "bgsave", 0, 0, 0 },
    { "bitop", 2, 0, KVC_FACT_WRITE },
    { "blmpop", 3, 2, KVC_FACT_WRITE | KVC_FACT_BLOCKING },
    { "bzmpop", 3, 2, KVC_FACT_WRITE | KVC_FACT_BLOCKING },
    { "cluster", 0, 0, 0 },
    { "debug", 0, 0, KVC_FACT_CONTAINER },
    { "debug|object", 2, 0, 0 },
    { "eval", 3, 2, 0 },
    { "eval_ro", 3, 2, KVC_FACT_READONLY },
    { "evalsha", 3, 2, 0 },
    { "evalsha_ro", 3, 2, KVC_FACT_READONLY },
    { "failover", 0, 0, 0 },
    { "fcall", 3, 2, 0 },
    { "fcall_ro", 3, 2, KVC_FACT_READONLY },
    { "lastsave", 0, 0, KVC_FACT_READONLY },
    { "latency", 0, 0, 0 },
    { "lmpop", 2, 1, KVC_FACT_WRITE },
    { "memory", 0, 0, KVC_FACT_CONTAINER },
    { "memory|usage", 2, 0, KVC_FACT_READONLY },
    { "migrate", 3, 0, KVC_FACT_WRITE },
    { "module", 0, 0, 0 },
    { "psubscribe", 0, 0, 0 },
    { "psync", 0, 0, 0 },
    { "publish", 0, 0, 0 },
    { "pubsub", 0, 0, KVC_FACT_READONLY },
    { "punsubscribe", 0, 0, 0 },
    { "replicaof", 0, 0, 0 },
    { "role", 0, 0, KVC_FACT_READONLY },
    { "save", 0, 0, 0 },
    { "script", 0, 0, 0 },
    { "sintercard", 2, 1, KVC_FACT_READONLY },
    { "slaveof", 0, 0, 0 },
    { "slowlog", 0, 0, 0 },
    { "subscribe", 0, 0, 0 },
    { "unsubscribe", 0, 0, 0 },
    { "wait", 0, 0, KVC_FACT_BLOCKING },
    { "waitaof", 0, 0, KVC_FACT_BLOCKING },
    { "xgroup", 2, 0, KVC_FACT_WRITE },
    { "xinfo", 2, 0, KVC_FACT_READONLY },
    { "xread", AFTER_STREAMS, 0, KVC_FACT_READONLY | KVC_FACT_BLOCKING },
    { "xreadgroup", AFTER_STREAMS, 0, KVC_FACT_WRITE | KVC_FACT_BLOCKING },
    { "zdiff", 2, 1, KVC_FACT_READONLY },
    { "zinter", 2, 1, KVC_FACT_READONLY },
    { "zintercard", 2, 1, KVC_FACT_READONLY },
    { "zmpop", 2, 1, KVC_FACT_WRITE },
    { "zunion", 2, 1, KVC_FACT_READONLY },
};

static int compare_row(const void *name, const void *row)
{
    return strcasecmp(name, ((const command_row *)row)->name);
}

#define FIND(rows, name) bsearch((name), (rows), sizeof(rows) / sizeof *(rows), sizeof *(rows), compare_row)

/* Puts "name" or "container|name" into text; false: it is no name that could stand in a list. */
static bool name_text(char text[NAME_SIZE], size_t words, const kvc_slice *argv)
{
    size_t at = 0;

    for (size_t i = 0; i < words; i++) {
        if (argv[i].len == 0 || argv[i].len >= NAME_SIZE - at - 1 || memchr(argv[i].data, '\0', argv[i].len))
            return false;
        if (i > 0)
            text[at++] = '|';
        memcpy(text + at, argv[i].data, argv[i].len);
        at += argv[i].len;
    }
    text[at] = '\0';
    return true;
}

/* The row of a command of the table or of Redis; of its subcommand where it has some. */
static const command_row *find_row(size_t argc, const kvc_slice *argv)
{
    char name[NAME_SIZE];
    const command_row *row, *sub;

    if (!name_text(name, 1, argv))
        return NULL;
    row = FIND(command_rows, name);
    if (!row)
        row = FIND(redis_rows, name);
    if (!row || !(row->flags & KVC_FACT_CONTAINER) || argc < 2 || !name_text(name, 2, argv))
        return row;
    sub = FIND(command_rows, name);
    if (!sub)
        sub = FIND(redis_rows, name);
    return sub ? sub : row;
}

/* The position behind the word STREAMS, or 0. */
static size_t after_streams(size_t argc, const kvc_slice *argv)
{
    for (size_t i = 1; i + 1 < argc; i++)
        if (argv[i].len == 7 && strncasecmp(argv[i].data, "streams", 7) == 0)
            return i + 1;
    return 0;
}

static size_t row_first_key(const command_row *row, size_t argc, const kvc_slice *argv)
{
    size_t first = (size_t)row->first_key, numkeys = (size_t)row->numkeys;

    if (row->first_key == AFTER_STREAMS)
        return after_streams(argc, argv);
    if (first >= argc || (numkeys && argv[numkeys].len == 1 && argv[numkeys].data[0] == '0'))
        return 0;
    return first;
}

static bool is_module_command(kvc_slice name)
{
    return name.len > 3 && strncasecmp(name.data, "kv.", 3) == 0;
}

kvc_command_facts kvc_command_facts_of(size_t argc, const kvc_slice *argv)
{
    kvc_command_facts facts = { 0 };
    const command_row *row;

    if (argc == 0)
        return facts;
    if (is_module_command(argv[0])) { /* KV.GET key field: GET's row, but the key is always the first */
        kvc_slice inner = kvc_bytes(argv[0].data + 3, argv[0].len - 3);

        row = find_row(1, &inner);
        facts.flags = row ? row->flags & (KVC_FACT_READONLY | KVC_FACT_WRITE) : 0;
        facts.first_key = argc > 1 ? 1 : 0;
        return facts;
    }
    row = find_row(argc, argv);
    if (row) {
        facts.flags = row->flags & ~(unsigned)KVC_FACT_CONTAINER;
        facts.first_key = row_first_key(row, argc, argv);
    } else {
        facts.first_key = argc > 1 ? 1 : 0;
    }
    return facts;
}
