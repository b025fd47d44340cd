/* module.c - RedisModule_OnLoad: everything the server is told about us.
 *
 * Every data command of the table that makes sense on the fields of one key becomes KV.<COMMAND>, with the key in
 * front: a loop over the table's rows, each with a function of its own, since the server hands a command no
 * argument but its words (which rename-command may have changed).
 *
 * SPDX-License-Identifier: MIT */
#include "module.h"

#include <ctype.h>
#include <stdio.h>

#include "allocator.h"
#include "expire.h"
#include "handle.h"
#include "info.h"
#include "keyed.h"
#include "pool.h"
#include "port.h"
#include "run.h"
#include "type.h"
#include "whole.h"

#define MODULE_VERSION 1

#define OFFLOAD_MIN_FIELDS 1000
#define OFFLOAD_THREADS    2
#define REPLY_MAX_FIELDS   10000000
#define PORT_MAX_CLIENTS   64
#define PORT_MAX_HANDLES   10000
#define PORT_MAX_REQUEST   (1024 * 1024)
#define PORT_MAX_REPLY     (64 * 1024 * 1024)

module_state module;

/* ---- the rows ---- */

#define COMMAND(id, ...)                                                     \
    static int row_##id(rm_ctx *ctx, rm_str **argv, int argc)                \
    {                                                                        \
        return run_row(ctx, &kv_command_table[KV_COMMAND_##id], argv, argc); \
    }
#define SESSION_COMMAND(id, ...)
#define CONTAINER(id, ...)
#define SUBCOMMAND(container, id, name, ...)
#define SESSION_SUBCOMMAND(container, id, name, ...)
#include "commands.def"

static rm_command_fn *const row_functions[KV_COMMAND_COUNT] = {
#define COMMAND(id, ...) [KV_COMMAND_##id] = row_##id,
#define SESSION_COMMAND(id, ...)
#define CONTAINER(id, ...)
#define SUBCOMMAND(container, id, name, ...)
#define SESSION_SUBCOMMAND(container, id, name, ...)
#include "commands.def"
};

/* ---- registering ---- */

/* What is told of one command. */
typedef struct command {
    const char *name; /* "KV.SET" */
    rm_command_fn *run;
    bool write, fast, deny_oom;
    int arity; /* the key included */
    const char *summary, *complexity;
} command;

/* What COMMAND and ACL %R~ %W~ make of it; a server without it goes by the positions that CreateCommand was given. */
static void describe(rm_command *created, const command *c)
{
    static const rm_command_info_version version = { 1, 16, sizeof(rm_key_spec), sizeof(rm_argument) };
    rm_key_spec keys[2] = { {
                                .flags = c->write ? RM_KEY_RW | RM_KEY_UPDATE : RM_KEY_RO | RM_KEY_ACCESS,
                                .begin = RM_BEGIN_INDEX,
                                .at.position = 1,
                                .find = RM_FIND_RANGE,
                                .range = { 0, 1, 0 },
                            },
                            { .begin = RM_BEGIN_END } };
    rm_command_info info = {
        .version = &version,
        .summary = c->summary,
        .complexity = c->complexity,
        .since = "1.0.0",
        .arity = c->arity,
        .key_specs = keys,
    };

    if (rm.SetCommandInfo)
        rm.SetCommandInfo(created, &info);
}

static int register_command(rm_ctx *ctx, const command *c)
{
    char flags[64], categories[64];

    snprintf(flags, sizeof flags, "%s%s%s", c->write ? "write" : "readonly", c->deny_oom ? " deny-oom" : "",
             c->fast ? " fast" : "");
    if (rm.CreateCommand(ctx, c->name, c->run, flags, 1, 1, 1) != RM_OK)
        return RM_ERR;
    rm_command *created = rm.GetCommand ? rm.GetCommand(ctx, c->name) : NULL;

    if (!created)
        return RM_OK;
    describe(created, c);
    snprintf(categories, sizeof categories, "%s %s%s", c->write ? "write" : "read", c->fast ? "fast" : "slow",
             rm.AddACLCategory ? " " MODULE_NAME : "");
    if (rm.SetCommandACLCategories)
        rm.SetCommandACLCategories(created, categories);
    return RM_OK;
}

static int register_row(rm_ctx *ctx, const kv_command *row)
{
    char name[KV_COMMAND_NAME_MAX] = "KV.";

    for (size_t i = 0; row->name[i] && i + 4 < sizeof name; i++)
        name[i + 3] = (char)toupper((unsigned char)row->name[i]);
    return register_command(ctx, &(command){
                                     .name = name,
                                     .run = row_functions[row->id],
                                     .write = row->flags & KV_CMD_WRITE,
                                     .fast = row->flags & KV_CMD_FAST,
                                     .deny_oom = row->flags & KV_CMD_DENYOOM,
                                     .arity = row->arity > 0 ? row->arity + 1 : row->arity - 1,
                                     .summary = row->summary,
                                     .complexity = row->complexity,
                                 });
}

static const command own_commands[] = {
    { "KV.ALL", whole_all, .arity = -2, .complexity = "O(N) where N is the number of fields",
      .summary = "Gives the fields of a key with their values; large keys are read by a thread beside the "
                 "server's." },
    { "KV.KEYS", whole_keys, .arity = -2, .complexity = "O(N) where N is the number of fields",
      .summary = "Gives the names of the fields of a key." },
    { "KV.VALUES", whole_values, .arity = -2, .complexity = "O(N) where N is the number of fields",
      .summary = "Gives the values of the fields of a key." },
    { "KV.COUNT", whole_count, .arity = -2, .complexity = "O(N) where N is the number of fields",
      .summary = "Counts the fields of a key, or those that match a pattern." },
    { "KV.LEN", whole_len, .arity = 2, .fast = true, .complexity = "O(1)",
      .summary =
          "Gives the number of fields of a key, those that have expired but are still there included." },
    { "KV.INFO", whole_info, .arity = 2, .fast = true, .complexity = "O(1)", .summary = "Describes a key." },
    { "KV.PUT", record_put, .write = true, .deny_oom = true, .arity = -6,
      .complexity = "O(N) where N is the number of fields",
      .summary =
          "Stores fields with deadlines and versions, unconditionally: what replicas and logs are told." },
    { "KV.REM", record_remove, .write = true, .arity = -3,
      .complexity = "O(N) where N is the number of fields",
      .summary = "Removes fields unconditionally: what replicas and logs are told." },
};

static const command port_commands[] = {
    { "KV.ATTACH", handle_attach, .arity = 2, .complexity = "O(1); O(N) for a small key's first time",
      .summary = "Gives a handle by which the read port (kv.port) reads the fields of a key." },
    { "KV.DETACH", handle_detach, .arity = 2, .fast = true, .complexity = "O(1)",
      .summary = "Makes the handle of a key stale." },
};

static int register_own(rm_ctx *ctx, const command *all, size_t n)
{
    int err = RM_OK;

    for (size_t i = 0; i < n && err == RM_OK; i++)
        err = register_command(ctx, &all[i]);
    return err;
}

static int register_commands(rm_ctx *ctx)
{
    int err = RM_OK;

    if (rm.AddACLCategory)
        rm.AddACLCategory(ctx, MODULE_NAME);
    for (int id = 0; id < KV_COMMAND_COUNT && err == RM_OK; id++) {
        if (run_fits(&kv_command_table[id]))
            err = register_row(ctx, &kv_command_table[id]);
    }
    if (err == RM_OK)
        err = register_own(ctx, own_commands, sizeof own_commands / sizeof *own_commands);
    if (err == RM_OK && handle_supported())
        err = register_own(ctx, port_commands, sizeof port_commands / sizeof *port_commands);
    return err;
}

/* ---- configuration ---- */

static long long config_get(const char *name, void *arg)
{
    (void)name;
    return *(_Atomic long long *)arg;
}

static int config_set(const char *name, long long value, void *arg, rm_str **ret_error)
{
    (void)name;
    (void)ret_error;
    *(_Atomic long long *)arg = value;
    return RM_OK;
}

/* After CONFIG SET; when the port cannot be opened, the server takes the settings back. */
static int config_apply_port(rm_ctx *ctx, void *arg, rm_str **ret_error)
{
    char why[128];

    (void)arg;
    if (port_apply(why, sizeof why))
        return RM_OK;
    *ret_error = rm.CreateString(ctx, why, strlen(why));
    return RM_ERR;
}

typedef struct setting {
    const char *name;
    _Atomic long long *value;
    long long standard, min, max;
    rm_apply *apply;
} setting;

static const setting settings[] = {
    { "offload-min-fields", &module.offload_min_fields, OFFLOAD_MIN_FIELDS, 0, INT64_MAX, NULL },
    { "offload-threads", &module.offload_threads, OFFLOAD_THREADS, 0, 64, NULL },
    { "reply-max-fields", &module.reply_max_fields, REPLY_MAX_FIELDS, 0, INT64_MAX, NULL },
};

static const setting port_settings[] = {
    { "port-max-clients", &module.port_max_clients, PORT_MAX_CLIENTS, 1, 1024, NULL },
    { "port-max-handles", &module.port_max_handles, PORT_MAX_HANDLES, 1, 1000000, NULL },
    { "port-max-request", &module.port_max_request, PORT_MAX_REQUEST, 64, 1 << 30, NULL },
    { "port-max-reply", &module.port_max_reply, PORT_MAX_REPLY, 64, 1 << 30, NULL },
    { "port", &module.port, 0, 0, 65535, config_apply_port },
};

static int register_settings(rm_ctx *ctx, const setting *all, size_t n)
{
    int err = RM_OK;

    for (size_t i = 0; i < n; i++) {
        *all[i].value = all[i].standard;
        if (rm.RegisterNumericConfig && err == RM_OK)
            err = rm.RegisterNumericConfig(ctx, all[i].name, all[i].standard, RM_CONFIG_DEFAULT, all[i].min,
                                           all[i].max, config_get, config_set, all[i].apply, all[i].value);
    }
    return err;
}

static int register_configs(rm_ctx *ctx)
{
    int err = register_settings(ctx, settings, sizeof settings / sizeof *settings);
    char why[128];

    if (!err && handle_supported())
        err = register_settings(ctx, port_settings, sizeof port_settings / sizeof *port_settings);
    if (!err && rm.RegisterNumericConfig && rm.LoadConfigs)
        err = rm.LoadConfigs(ctx);
    if (!err && !port_apply(why, sizeof why)) {
        rm.Log(ctx, "warning", "kv: %s", why);
        err = RM_ERR;
    }
    return err;
}

/* ---- loading ---- */

static void on_swapdb(rm_ctx *ctx, rm_event event, uint64_t subevent, void *data)
{
    const rm_swapdb_data *swap = data;

    (void)ctx;
    (void)event;
    (void)subevent;
    expire_swapped(swap->first, swap->second);
    handle_forget_db(swap->first);
    handle_forget_db(swap->second);
}

static void on_shutdown(rm_ctx *ctx, rm_event event, uint64_t subevent, void *data)
{
    (void)ctx;
    (void)event;
    (void)subevent;
    (void)data;
    port_stop();
    pool_stop();
}

static int start_engine(void)
{
    kv_domain_options options = { .allocator = &module_allocator };

    module.domain = kv_domain_new(&options);
    /* Versions go on from the clock: what was given out before a restart, and deleted, is not given out again. */
    module.scratch = module.domain ? keyed_store_new((uint64_t)module_now_ms() << 12) : NULL;
    module.rng = (uint64_t)module_now_ms();
    effects_clear(&module.effects);
    return module.scratch ? RM_OK : RM_ERR;
}

__attribute__((visibility("default"))) int RedisModule_OnLoad(rm_ctx *ctx, rm_str **argv, int argc);

int RedisModule_OnLoad(rm_ctx *ctx, rm_str **argv, int argc)
{
    const char *missing = rm_bind(ctx);

    (void)argv;
    if (missing || rm.IsModuleNameBusy(MODULE_NAME))
        return RM_ERR;
    rm.SetModuleAttribs(ctx, MODULE_NAME, MODULE_VERSION, RM_API_VERSION);
    if (argc > 0) {
        rm.Log(ctx, "warning",
               "kv: takes no arguments; its settings are kv.offload-threads and others (CONFIG GET kv.*)");
        return RM_ERR;
    }
    rm.SetModuleOptions(ctx, RM_HANDLE_IO_ERRORS | RM_NO_IMPLICIT_SIGNAL | RM_ASYNC_REPLICA_LOAD);
    module.type = type_create(ctx);
    if (!module.type || start_engine() != RM_OK || register_commands(ctx) != RM_OK ||
        register_configs(ctx) != RM_OK)
        return RM_ERR;
    info_register(ctx);
    handle_start(ctx);
    rm.SubscribeToServerEvent(ctx, (rm_event){ RM_EVENT_SWAPDB, 1 }, on_swapdb);
    rm.SubscribeToServerEvent(ctx, (rm_event){ RM_EVENT_SHUTDOWN, 1 }, on_shutdown);
    expire_start(ctx);
    return RM_OK;
}
