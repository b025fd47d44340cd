/* confirm.c - SPDX-License-Identifier: MIT */
#include "confirm.h"

#include <stdio.h>

const char *confirm_reason(size_t argc, const kvc_slice *argv)
{
    static const struct {
        const char *name, *sub, *reason;
    } dangers[] = {
        { "flushall", NULL, "removes every key of every database" },
        { "flushdb", NULL, "removes every key of the database" },
        { "shutdown", NULL, "stops the server" },
        { "swapdb", NULL, "exchanges two databases for all clients" },
        { "keys", NULL,
          "walks all keys at once; other clients may wait meanwhile (--scan does not do that)" },
        { "debug", NULL, "can block or crash the server" },
        { "failover", NULL, "makes another server the primary" },
        { "replicaof", NULL, "can replace all data with another server's" },
        { "slaveof", NULL, "can replace all data with another server's" },
        { "migrate", NULL, "moves keys to another server" },
        { "cluster", "reset", "makes the node forget its cluster" },
        { "cluster", "flushslots", "makes the node forget its slots" },
        { "config", "resetstat", "forgets the statistics" },
        { "config", "rewrite", "overwrites the configuration file" },
        { "script", "flush", "removes all scripts" },
        { "function", "flush", "removes all functions" },
        { "acl", "deluser", "removes users and closes their connections" },
    };

    for (size_t i = 0; argc && i < sizeof dangers / sizeof *dangers; i++) {
        if (slice_is_word(argv[0], dangers[i].name) &&
            (!dangers[i].sub || (argc > 1 && slice_is_word(argv[1], dangers[i].sub))))
            return dangers[i].reason;
    }
    return NULL;
}

bool confirm(const settings *s, size_t argc, const kvc_slice *argv)
{
    const char *reason = confirm_reason(argc, argv);
    char answer[64];

    if (!reason || s->yes || !s->stdin_is_terminal || !s->stdout_is_terminal)
        return true;
    printf("%.*s %s. Go on? [y/N] ", (int)argv[0].len, argv[0].data, reason);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
