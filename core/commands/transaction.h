/* transaction.h - several commands as one act, which nobody sees in part: EXEC and kv_exec_many.
 *
 *     transaction t = { .databases = ..., .db = ..., .commands = ..., .count = ... };
 *     transaction_lock(&t, hold, now_ms);                 // waits for what the commands may touch
 *     err = transaction_check(&t, now_ms);                // do watches and conditions hold?
 *     if (!err)
 *         ... run t.commands[0 .. count), each as ever ...
 *     store_hold_release(hold);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_TRANSACTION_H
#define KV_COMMANDS_TRANSACTION_H

#include "condition.h"

/* A command with its arguments, and the hash of its first key if somebody has computed it. */
typedef struct queued_command {
    const kv_command *row;
    const kv_slice *argv;
    int argc;
    bool hashed;
    bool
        alike; /* the one before in the queue has the same row, as many arguments, also a hash, and these stand behind its */
    uint64_t hash;
} queued_command;

/* How many commands from c on, which is not at end, are alike. */
static inline size_t queued_alike(const queued_command *c, const queued_command *end)
{
    const queued_command *next = c + 1;

    while (next < end && next->alike)
        next++;
    return (size_t)(next - c);
}

/* A condition on a key, as EXEC takes them: IFEQ key value, IFNE key value, IFVER key n, NX key, XX key. */
typedef struct key_check {
    key_condition condition;
    kv_slice key;
} key_check;

/* A watched key, in a list. */
typedef struct watched_key {
    struct watched_key *next;
    store_watch watch;
} watched_key;

typedef struct transaction {
    const kv_databases *databases;
    int db; /* selected when it begins; SELECT within it counts */
    const queued_command *commands;
    size_t count;
    const key_check *checks; /* of keys of db */
    size_t check_count;
    watched_key *watched;
} transaction;

/* How many words the condition has with which argv begins, its key being the second; 0: that is none. */
int transaction_check_words(int argc, const kv_slice argv[]);
/* How many conditions argv[0 .. argc) holds, written to checks (room for argc / 2); KV_ESYNTAX, KV_ENOTINT. */
int transaction_parse_checks(int argc, const kv_slice argv[], key_check checks[]);

/* Locks all that the commands, the checks and the watches touch: the shards of the keys; of commands that name none, all of
 * their database; of those that reach into other databases, the same there. hold has room for all databases. */
void transaction_lock(const transaction *t, store_hold *hold) KV_ACQUIRES(kv_hold_held)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* 0: all watched keys are unchanged and all checks hold. KV_ECOND: not so. KV_ETYPE: a check compares the value
 * of something else than a string. */
int transaction_check(const transaction *t, int64_t now_ms) KV_REQUIRES(kv_epoch_held, kv_hold_held);

#endif
