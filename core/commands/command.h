/* command.h - the table of all commands: the one list that dispatch, COMMAND, ACL categories, kvcli and the
 * module read.
 *
 *     const kv_command *row = kv_command_resolve(argc, argv, reply);
 *     if (row && row->run)
 *         row->run(&call);                        // a data command: call.command = row
 *     else if (row)
 *         run_session_command(row->id, &call);    // KV_COMMAND_hello, KV_COMMAND_client_kill, ...
 *
 * A row is data (commands.def). Data commands name a function of this folder, kv_cmd_<id>; session commands
 * (HELLO, CLIENT, CONFIG, ...) have none here: the host runs them by their id.
 *
 * Threads    The table is constant; the functions keep nothing.
 * Errors     kv_command_resolve replies them, in Redis's words.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_COMMAND_H
#define KV_COMMANDS_COMMAND_H

#include "call.h"

/* Runs the command and replies exactly once, errors included. The caller is inside an epoch of the stores'
 * domain and holds no shard (declared with each function below: the analysis does not look through pointers). */
typedef void kv_command_fn(kv_call *call);

/* As COMMAND INFO names them. */
enum kv_command_flag {
    KV_CMD_WRITE = 1 << 0,
    KV_CMD_READONLY = 1 << 1,
    KV_CMD_DENYOOM = 1 << 2,
    KV_CMD_FAST = 1 << 3,
    KV_CMD_ADMIN = 1 << 4,
    KV_CMD_PUBSUB = 1 << 5,
    KV_CMD_NOSCRIPT = 1 << 6,
    KV_CMD_LOADING = 1 << 7,
    KV_CMD_STALE = 1 << 8,
    KV_CMD_NO_AUTH = 1 << 9,
    KV_CMD_SKIP_MONITOR = 1 << 10,
    KV_CMD_SKIP_SLOWLOG = 1 << 11,
    KV_CMD_BLOCKING = 1 << 12,
    KV_CMD_ALLOW_BUSY = 1 << 13,
    KV_CMD_NO_MULTI = 1 << 14,
    KV_CMD_NO_ASYNC_LOADING = 1 << 15,
    KV_CMD_MOVABLEKEYS = 1 << 16,
    KV_CMD_TOUCHES_ARBITRARY_KEYS = 1 << 17,
    KV_CMD_KEYSPACE = 1 << 18, /* only an ACL category from here on */
    KV_CMD_CONNECTION = 1 << 19,
    KV_CMD_DANGEROUS = 1 << 20,
    KV_CMD_ADMIN_CATEGORY = 1 << 24,
    KV_CMD_SESSION = 1 << 21,    /* run by the host */
    KV_CMD_ALL_STORES = 1 << 22, /* touches other databases than the selected one */
    KV_CMD_PROTECTED =
        1 << 23, /* runs only where the configuration allows it: enable-debug-command and the like */
};

/* Where the keys stand in argv. */
typedef struct kv_key_spec {
    int first; /* 0: no keys */
    int last;  /* counted from the end when negative */
    int step;
    int numkeys; /* when not 0: argv[numkeys] counts the keys, which begin right after it, step apart */
    const char *keyword; /* when not NULL: the keys follow this word, if it is there; first is only not 0 */
    int keyword_from;    /* where COMMAND INFO says that it is searched */
    unsigned flags;      /* KV_KEY_... */
    const char *notes;   /* COMMAND INFO's remark about the flags, or NULL */
} kv_key_spec;

/* COMMAND INFO's key-spec flags. */
enum kv_key_flag {
    KV_KEY_RO = 1,
    KV_KEY_RW = 2,
    KV_KEY_OW = 4,
    KV_KEY_RM = 8,
    KV_KEY_ACCESS = 16,
    KV_KEY_UPDATE = 32,
    KV_KEY_INSERT = 64,
    KV_KEY_DELETE = 128,
    KV_KEY_NOT_KEY = 512,     /* clusters route by it, but it names no key */
    KV_KEY_INCOMPLETE = 1024, /* there may be more keys than the spec tells */
    KV_KEY_VARIABLE = 256,    /* the options decide which of the flags apply */
};

/* An argument as COMMAND DOCS describes it. */
typedef enum kv_arg_type {
    KV_ARG_KEY,
    KV_ARG_STRING,
    KV_ARG_INT,
    KV_ARG_DOUBLE,
    KV_ARG_PATTERN,
    KV_ARG_UNIX_TIME,
    KV_ARG_TOKEN,
    KV_ARG_ONEOF,
    KV_ARG_BLOCK,
} kv_arg_type;

typedef struct kv_arg {
    const char *name;
    kv_arg_type type;
    const char *token;        /* the word that introduces it, or NULL */
    unsigned flags;           /* KV_ARG_OPTIONAL ... */
    const char *since;        /* when newer than the command */
    int key_spec;             /* of a KEY: 0 is keys, 1 is keys2 */
    const struct kv_arg *sub; /* ONEOF, BLOCK: ends with a NULL name */
} kv_arg;

enum kv_arg_flag { KV_ARG_OPTIONAL = 1, KV_ARG_MULTIPLE = 2, KV_ARG_MULTIPLE_TOKEN = 4 };

typedef struct kv_history {
    const char *since, *change;
} kv_history;

/* Runs up to n calls of one command, in order, each replying once. call is set up for the first; the arguments of
 * the next ones follow in argv, argc each; hashes and hints are those of their first keys. The same as running
 * one after the other, without what those have in common. Returns how many it ran: at least one, and fewer than n
 * when the sink has asked for that (kv_reply.many). */
typedef size_t kv_command_run_fn(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[]);

typedef struct kv_command {
    const char *name;            /* lower case; of a subcommand its own word: "encoding" */
    const char *container;       /* "object" for OBJECT ENCODING, else NULL */
    kv_command_fn *run;          /* NULL: a session command or a container */
    kv_command_run_fn *run_many; /* NULL: has no such form */
    int id;                      /* enum kv_command_id */
    int arity;                   /* argc, or -(at least); of a subcommand counted with the container's name */
    unsigned flags;
    kv_key_spec keys;
    kv_key_spec keys2; /* a second key spec (RENAME, COPY), or first 0 */
    const char *group, *since, *complexity, *summary;
    const kv_arg *args; /* ends with a NULL name; NULL: none */
    const char *tips;   /* COMMAND INFO's command tips, separated by spaces, or NULL */
    const char *deprecated_since, *replaced_by; /* or NULL */
    const kv_history
        *history; /* what later versions of Redis changed; ends with a NULL since; NULL: nothing */
} kv_command;

/* The ids: KV_COMMAND_get, KV_COMMAND_object_encoding, ... */
enum kv_command_id {
#define COMMAND(id, ...)                             KV_COMMAND_##id,
#define SESSION_COMMAND(id, ...)                     KV_COMMAND_##id,
#define CONTAINER(id, ...)                           KV_COMMAND_##id,
#define SUBCOMMAND(container, id, name, ...)         KV_COMMAND_##container##_##id,
#define SESSION_SUBCOMMAND(container, id, name, ...) KV_COMMAND_##container##_##id,
#include "commands.def"
    KV_COMMAND_COUNT
};

/* The functions: kv_cmd_get, kv_cmd_object_encoding, ... */
#define KV_COMMAND_FN(name) void name(kv_call *call) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
#define COMMAND(id, ...)    KV_COMMAND_FN(kv_cmd_##id)
#define SESSION_COMMAND(id, ...)
#define CONTAINER(id, ...)
#define SUBCOMMAND(container, id, name, ...) KV_COMMAND_FN(kv_cmd_##container##_##id)
#define SESSION_SUBCOMMAND(container, id, name, ...)
#include "commands.def"

/* Their forms for many calls. */
#define KV_COMMAND_RUN_FN(name)                                                           \
    size_t name(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[]) \
        KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
KV_COMMAND_RUN_FN(kv_run_get);
KV_COMMAND_RUN_FN(kv_run_set);

/* All rows, by id. */
extern const kv_command kv_command_table[KV_COMMAND_COUNT];

/* The row of a command (not of a subcommand), or NULL. Case does not matter. A handful of instructions: on
 * the hot path. */
const kv_command *kv_command_find(kv_slice name);
/* The rows of a command's subcommands: the *ret_count that follow it in the table. */
const kv_command *kv_command_subcommands(const kv_command *row, size_t *ret_count);
/* The row of a subcommand, or NULL. Case does not matter. */
const kv_command *kv_command_find_sub(const kv_command *row, kv_slice name);
/* The row of "get" or "config|get", or NULL. Case does not matter. */
const kv_command *kv_command_find_full(kv_slice name);
/* "get", "client|kill": as errors and COMMAND name a row. */
#define KV_COMMAND_NAME_MAX 64
kv_slice kv_command_name(const kv_command *row, char buffer[KV_COMMAND_NAME_MAX]);
/* The row that argv runs: the subcommand's where the command is a container. On NULL an error was replied: unknown
 * command, unknown subcommand, or wrong number of arguments. */
const kv_command *kv_command_resolve(int argc, const kv_slice argv[], kv_reply *reply);
/* The same with the row of argv[0], which the caller has found; NULL: there is none. */
const kv_command *kv_command_resolve_from(const kv_command *row, int argc, const kv_slice argv[],
                                          kv_reply *reply);
/* Whether argc fits the row's arity. */
static inline bool kv_command_arity_ok(const kv_command *row, int argc)
{
    return row->arity >= 0 ? argc == row->arity : argc >= -row->arity;
}
/* Writes the positions of the keys into positions (room for max) and returns how many there are, which may
 * be more than max; KV_EINVAL: the arguments do not say. argc must fit the arity. */
int kv_command_keys(const kv_command *row, int argc, const kv_slice argv[], int positions[], int max);

/* The specs of a row as they apply to argv: a keyword is replaced by where it stands, and first is 0 where there are no keys. */
void kv_command_key_specs(const kv_command *row, int argc, const kv_slice argv[], kv_key_spec ret_specs[2]);
/* The keys of one such spec stand at first, first + step, ... up to *ret_last, which is -1 when there are none. KV_EINVAL as
 * above. */
int kv_command_key_range(const kv_key_spec *spec, int argc, const kv_slice argv[], int *ret_last);
/* The KV_KEY_... that apply to the keys of a spec, given the options in argv. */
unsigned kv_command_key_use(const kv_key_spec *spec, int argc, const kv_slice argv[]);

#endif
