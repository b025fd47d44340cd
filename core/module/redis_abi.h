/* redis_abi.h - the part of the module interface of redis-server and valkey-server that we use, declared by ourselves.
 *
 *     if (rm_bind(ctx) != 0)                       // in RedisModule_OnLoad, first of all
 *         return RM_ERR;
 *     rm.ReplyWithLongLong(ctx, 1);
 *     if (rm.SetCommandACLCategories)              // an optional function: ask for the pointer, not for a version
 *         rm.SetCommandACLCategories(command, "read fast");
 *
 * No package ships the servers' own header, and nothing of it is needed: a module is bound by name. The first
 * word of the context that the server hands to RedisModule_OnLoad is a function that gives the address of each
 * "RedisModule_<name>". Names, types and numbers below are the servers'; the layout of the structures is what 64-bit
 * redis-server 7.0 to 8.0 and valkey-server 8.1 read. Valkey answers to these names as well.
 *
 * Threads    rm is written once, before the module has a second thread. Of the functions, any thread may call the
 *            memory functions, Milliseconds, UnblockClient, and Reply... on a context of GetThreadSafeContext. All
 *            others belong to the server's main thread, or to who holds ThreadSafeContextLock.
 * Forked     A child process (rdb_save, aof_rewrite) calls only the functions of persistence.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_REDIS_ABI_H
#define KV_MODULE_REDIS_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rm_ctx rm_ctx;
typedef struct rm_str rm_str; /* its reference count is not atomic: main thread only */
typedef struct rm_key rm_key;
typedef struct rm_io rm_io;
typedef struct rm_type rm_type;
typedef struct rm_digest rm_digest;
typedef struct rm_blocked rm_blocked;
typedef struct rm_info rm_info;
typedef struct rm_command rm_command;
typedef struct rm_names rm_names; /* what the *2 callbacks know of key and database */

typedef int rm_command_fn(rm_ctx *ctx, rm_str **argv, int argc);

enum { RM_OK = 0, RM_ERR = 1 };
enum { RM_API_VERSION = 1 };
enum { RM_READ = 1, RM_WRITE = 2, RM_NO_TOUCH = 1 << 16 };
enum { RM_KEY_EMPTY = 0, RM_KEY_MODULE = 6 };
enum { RM_POSTPONED = -1 };

enum rm_option {
    RM_HANDLE_IO_ERRORS = 1 << 0,
    RM_NO_IMPLICIT_SIGNAL = 1 << 1,
    RM_ASYNC_REPLICA_LOAD = 1 << 2,
};

enum rm_context_flag {
    RM_IN_LUA = 1 << 0,
    RM_IN_MULTI = 1 << 1,
    RM_IS_PRIMARY = 1 << 2,
    RM_IS_REPLICA = 1 << 3,
    RM_IS_REPLICATED = 1 << 12, /* the command is the primary's */
    RM_IS_LOADING = 1 << 13,
    RM_ACTIVE_CHILD = 1 << 18,
    RM_IS_CHILD = 1 << 20,
    RM_DENY_BLOCKING = 1 << 21,
    RM_RESP3 = 1 << 22,
    RM_ASYNC_LOADING = 1 << 23,
};

enum rm_notify_class { RM_NOTIFY_GENERIC = 1 << 2, RM_NOTIFY_EXPIRED = 1 << 8, RM_NOTIFY_MODULE = 1 << 13 };

enum rm_config_flag { RM_CONFIG_DEFAULT = 0, RM_CONFIG_IMMUTABLE = 1 << 0 };

/* Passed by value. */
typedef struct rm_event {
    uint64_t id;
    uint64_t data_version; /* 1 */
} rm_event;

enum rm_event_id {
    RM_EVENT_ROLE = 0,
    RM_EVENT_FLUSH = 2,
    RM_EVENT_SHUTDOWN = 5,
    RM_EVENT_SWAPDB = 11,
    RM_EVENT_ASYNC_REPLICA_LOAD = 14,
};
enum { RM_FLUSH_START = 0, RM_FLUSH_END = 1 }; /* what follows RM_EVENT_FLUSH */

typedef int rm_key_event_fn(rm_ctx *ctx, int class, const char *event, rm_str *key);
typedef void rm_event_fn(rm_ctx *ctx, rm_event event, uint64_t subevent, void *data);

typedef struct rm_flush_data {
    uint64_t version;
    int32_t sync, db; /* db -1: all */
} rm_flush_data;

typedef struct rm_swapdb_data {
    uint64_t version;
    int32_t first, second;
} rm_swapdb_data;

/* What a data type does; 5 is the newest version of it that all servers agree on, each reads the groups it knows. */
enum { RM_TYPE_METHODS_VERSION = 5 };

typedef struct rm_type_methods {
    uint64_t version;
    void *(*rdb_load)(rm_io *io, int encoding_version); /* NULL: refused */
    void (*rdb_save)(rm_io *io, void *value);
    void (*aof_rewrite)(rm_io *io, rm_str *key, void *value); /* must not be NULL */
    size_t (*mem_usage)(const void *value);
    void (*digest)(rm_digest *digest, void *value);
    void (*free)(void *value); /* on any thread */
    int (*aux_load)(rm_io *io, int encoding_version, int when);
    void (*aux_save)(rm_io *io, int when);
    int aux_save_triggers;
    size_t (*free_effort)(rm_str *key, const void *value);
    void (*unlink)(rm_str *key, const void *value); /* also on RENAME: the value lives on */
    void *(*copy)(rm_str *from, rm_str *to, const void *value);
    int (*defrag)(void *ctx, rm_str *key, void **value);
    size_t (*mem_usage2)(rm_names *names, const void *value, size_t samples);
    size_t (*free_effort2)(rm_names *names, const void *value);
    void (*unlink2)(rm_names *names, const void *value);
    void *(*copy2)(rm_names *names, const void *value);
    void (*aux_save2)(rm_io *io, int when);
} rm_type_methods;

_Static_assert(sizeof(rm_type_methods) == 152, "as the servers lay it out");

/* What COMMAND says of a command. The sizes let an older server skip what it does not know. */
typedef struct rm_command_info_version {
    int version; /* 1 */
    size_t history_size, key_spec_size, argument_size;
} rm_command_info_version;

enum rm_key_spec_begin { RM_BEGIN_END = 0, RM_BEGIN_INDEX = 2 };
enum rm_key_spec_find { RM_FIND_RANGE = 2 };
enum rm_key_spec_flag {
    RM_KEY_RO = 1,
    RM_KEY_RW = 2,
    RM_KEY_ACCESS = 16,
    RM_KEY_UPDATE = 32,
};

typedef struct rm_key_spec {
    const char *notes;
    uint64_t flags;
    int begin;
    union {
        int position;
        struct {
            const char *word;
            int from;
        } keyword;
    } at;
    int find;
    struct {
        int last, step, limit;
    } range;
} rm_key_spec;

typedef struct rm_argument {
    const char *name;
    int type, key_spec;
    const char *token, *summary, *since;
    int flags;
    const char *deprecated_since;
    struct rm_argument *sub;
    const char *display;
} rm_argument;

typedef struct rm_command_info {
    const rm_command_info_version *version;
    const char *summary, *complexity, *since;
    const void *history;
    const char *tips;
    int arity;
    rm_key_spec *key_specs;
    rm_argument *arguments;
} rm_command_info;

_Static_assert(sizeof(rm_command_info_version) == 32 && sizeof(rm_command_info) == 72,
               "as the servers lay it out");
_Static_assert(sizeof(rm_key_spec) == 56 && sizeof(rm_argument) == 72, "as the servers lay it out");

typedef long long rm_get_number(const char *name, void *arg);
typedef int rm_set_number(const char *name, long long value, void *arg, rm_str **ret_error);
typedef int rm_apply(rm_ctx *ctx, void *arg, rm_str **ret_error);
typedef void rm_timer_fn(rm_ctx *ctx, void *arg);
typedef void rm_free_private(rm_ctx *ctx, void *arg);
typedef void rm_disconnect_fn(rm_ctx *ctx, rm_blocked *blocked);

/* REQUIRED(type of the result, name, arguments): the module does not load without it. OPTIONAL: NULL where the
 * server has no such thing. */
#define RM_FUNCTIONS(REQUIRED, OPTIONAL)                                                                     \
    /* memory */                                                                                             \
    REQUIRED(void *, Alloc, (size_t size))                                                                   \
    OPTIONAL(void *, TryAlloc, (size_t size))                                                                \
    REQUIRED(void, Free, (void *memory))                                                                     \
    REQUIRED(size_t, MallocSize, (void *memory))                                                             \
    /* loading */                                                                                            \
    REQUIRED(void, SetModuleAttribs, (rm_ctx *, const char *name, int version, int api_version))             \
    REQUIRED(int, IsModuleNameBusy, (const char *name))                                                      \
    REQUIRED(                                                                                                \
        int, CreateCommand,                                                                                  \
        (rm_ctx *, const char *name, rm_command_fn *, const char *flags, int first, int last, int step))     \
    OPTIONAL(rm_command *, GetCommand, (rm_ctx *, const char *name))                                         \
    OPTIONAL(int, SetCommandInfo, (rm_command *, const rm_command_info *))                                   \
    OPTIONAL(int, SetCommandACLCategories, (rm_command *, const char *categories))                           \
    OPTIONAL(int, AddACLCategory, (rm_ctx *, const char *name))                                              \
    REQUIRED(void, SetModuleOptions, (rm_ctx *, int options))                                                \
    REQUIRED(rm_type *, CreateDataType,                                                                      \
             (rm_ctx *, const char *name, int encoding_version, rm_type_methods *))                          \
    OPTIONAL(int, RegisterNumericConfig,                                                                     \
             (rm_ctx *, const char *name, long long value, unsigned flags, long long min, long long max,     \
              rm_get_number *, rm_set_number *, rm_apply *, void *arg))                                      \
    OPTIONAL(int, LoadConfigs, (rm_ctx *))                                                                   \
    REQUIRED(int, RegisterInfoFunc, (rm_ctx *, void (*)(rm_info *, int for_crash_report)))                   \
    REQUIRED(int, SubscribeToServerEvent, (rm_ctx *, rm_event, rm_event_fn *))                               \
    OPTIONAL(int, SubscribeToKeyspaceEvents, (rm_ctx *, int classes, rm_key_event_fn *))                     \
    /* arguments and strings */                                                                              \
    REQUIRED(const char *, StringPtrLen, (const rm_str *, size_t *ret_len))                                  \
    REQUIRED(rm_str *, CreateString, (rm_ctx *, const char *data, size_t len))                               \
    REQUIRED(void, FreeString, (rm_ctx *, rm_str *))                                                         \
    /* replies */                                                                                            \
    REQUIRED(int, WrongArity, (rm_ctx *))                                                                    \
    REQUIRED(int, ReplyWithLongLong, (rm_ctx *, long long))                                                  \
    REQUIRED(int, ReplyWithError, (rm_ctx *, const char *))                                                  \
    REQUIRED(int, ReplyWithSimpleString, (rm_ctx *, const char *))                                           \
    REQUIRED(int, ReplyWithArray, (rm_ctx *, long count))                                                    \
    OPTIONAL(int, ReplyWithMap, (rm_ctx *, long pairs))                                                      \
    OPTIONAL(int, ReplyWithSet, (rm_ctx *, long count))                                                      \
    OPTIONAL(int, ReplyWithBool, (rm_ctx *, int))                                                            \
    REQUIRED(int, ReplyWithNull, (rm_ctx *))                                                                 \
    REQUIRED(int, ReplyWithNullArray, (rm_ctx *))                                                            \
    REQUIRED(int, ReplyWithStringBuffer, (rm_ctx *, const char *data, size_t len))                           \
    REQUIRED(int, ReplyWithDouble, (rm_ctx *, double))                                                       \
    OPTIONAL(int, ReplyWithVerbatimStringType, (rm_ctx *, const char *data, size_t len, const char *format)) \
    REQUIRED(void, ReplySetArrayLength, (rm_ctx *, long count))                                              \
    OPTIONAL(void, ReplySetMapLength, (rm_ctx *, long pairs))                                                \
    /* keys */                                                                                               \
    REQUIRED(rm_key *, OpenKey, (rm_ctx *, rm_str * name, int mode))                                         \
    REQUIRED(void, CloseKey, (rm_key *))                                                                     \
    REQUIRED(int, KeyType, (rm_key *))                                                                       \
    REQUIRED(int, DeleteKey, (rm_key *))                                                                     \
    REQUIRED(int, ModuleTypeSetValue, (rm_key *, rm_type *, void *value))                                    \
    REQUIRED(rm_type *, ModuleTypeGetType, (rm_key *))                                                       \
    REQUIRED(void *, ModuleTypeGetValue, (rm_key *))                                                         \
    OPTIONAL(long long, GetAbsExpire, (rm_key *)) /* -1: none */                                             \
    REQUIRED(int, SignalModifiedKey, (rm_ctx *, rm_str * name))                                              \
    REQUIRED(int, GetSelectedDb, (rm_ctx *))                                                                 \
    REQUIRED(int, SelectDb, (rm_ctx *, int db))                                                              \
    /* persistence */                                                                                        \
    REQUIRED(void, SaveUnsigned, (rm_io *, uint64_t))                                                        \
    REQUIRED(uint64_t, LoadUnsigned, (rm_io *))                                                              \
    REQUIRED(void, SaveStringBuffer, (rm_io *, const char *data, size_t len))                                \
    REQUIRED(char *, LoadStringBuffer, (rm_io *, size_t * ret_len))                                          \
    REQUIRED(int, IsIOError, (rm_io *))                                                                      \
    REQUIRED(void, LogIOError, (rm_io *, const char *level, const char *format, ...))                        \
    REQUIRED(void, EmitAOF, (rm_io *, const char *command, const char *format, ...))                         \
    REQUIRED(const rm_str *, GetKeyNameFromIO, (rm_io *))                                                    \
    REQUIRED(int, GetDbIdFromIO, (rm_io *))                                                                  \
    OPTIONAL(const rm_str *, GetToKeyNameFromOptCtx, (rm_names *))                                           \
    OPTIONAL(int, GetToDbIdFromOptCtx, (rm_names *))                                                         \
    REQUIRED(void, DigestAddStringBuffer, (rm_digest *, const char *data, size_t len))                       \
    REQUIRED(void, DigestAddLongLong, (rm_digest *, long long))                                              \
    REQUIRED(void, DigestEndSequence, (rm_digest *))                                                         \
    /* replication and notification */                                                                       \
    REQUIRED(int, Replicate, (rm_ctx *, const char *command, const char *format, ...))                       \
    REQUIRED(int, NotifyKeyspaceEvent, (rm_ctx *, int event_class, const char *event, rm_str *key))          \
    /* context */                                                                                            \
    REQUIRED(int, GetContextFlags, (rm_ctx *))                                                               \
    REQUIRED(long long, Milliseconds, (void))                                                                \
    OPTIONAL(int, AvoidReplicaTraffic, (void))                                                               \
    REQUIRED(void, Log, (rm_ctx *, const char *level, const char *format, ...))                              \
    REQUIRED(uint64_t, CreateTimer, (rm_ctx *, long long period_ms, rm_timer_fn *, void *arg))               \
    /* clients that wait for a thread of ours */                                                             \
    REQUIRED(                                                                                                \
        rm_blocked *, BlockClient,                                                                           \
        (rm_ctx *, rm_command_fn * reply, rm_command_fn * timeout, rm_free_private *, long long timeout_ms)) \
    REQUIRED(int, UnblockClient, (rm_blocked *, void *arg))                                                  \
    REQUIRED(void, SetDisconnectCallback, (rm_blocked *, rm_disconnect_fn *))                                \
    REQUIRED(rm_ctx *, GetThreadSafeContext, (rm_blocked *))                                                 \
    REQUIRED(void, FreeThreadSafeContext, (rm_ctx *))                                                        \
    /* INFO */                                                                                               \
    REQUIRED(int, InfoAddSection, (rm_info *, const char *name))                                             \
    REQUIRED(int, InfoAddFieldULongLong, (rm_info *, const char *name, unsigned long long))

/* The functions. */
typedef struct rm_api {
#define RM_MEMBER(type, name, arguments) type(*name) arguments;
    RM_FUNCTIONS(RM_MEMBER, RM_MEMBER)
#undef RM_MEMBER
    bool
        valkey; /* the server answers to Valkey's names as well: what it does differently is said where it matters */
} rm_api;

extern rm_api rm;

/* Memory of the server's allocator. Where that cannot say NULL, the server ends, as it does for its own data. */
static inline void *rm_alloc(size_t size)
{
    return rm.TryAlloc ? rm.TryAlloc(size) : rm.Alloc(size);
}

/* Fills rm. Returns the name of a required function that the server lacks, or NULL: all there. */
const char *rm_bind(rm_ctx *ctx);

#endif
