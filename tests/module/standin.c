/* standin.c - see standin.h: loading, commands and their replies, blocked clients, timers, events, settings.
 *
 * A reply is written as RESP2 while the command runs; a length that is told late is put in front of its elements. What a
 * thread of the module writes, it writes into the buffer of its call alone, which the main thread reads after
 * UnblockClient: that is the only thing here that has a lock.
 *
 * SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "standin_private.h"

enum { commands_max = 256, events_max = 32, configs_max = 32, depth_max = 8, timers_max = 8 };

typedef int get_function(const char *name, void *ret_function);

struct rm_ctx {
    get_function *get; /* first: the module looks its functions up through it */
    int db;
    standin_call *call; /* NULL: a timer's, an event's */
    bool of_thread;
};

typedef struct postponed {
    size_t at; /* in the reply */
    char type;
} postponed;

struct standin_call {
    text answer;
    postponed open[depth_max];
    unsigned depth;
    rm_blocked *blocked; /* NULL: it was answered at once */
    bool answered, gone;
};

struct rm_blocked {
    rm_blocked *next; /* of those that are done */
    standin_call *call;
    rm_free_private *free_private;
    rm_disconnect_fn *disconnect;
    void *private_data;
};

struct rm_command {
    standin_command told;
};

typedef struct timer {
    int64_t due_ms;
    rm_timer_fn *fn;
    void *arg;
} timer;

typedef struct config {
    const char *name;
    long long min, max;
    rm_get_number *get;
    rm_set_number *set;
    rm_apply *apply;
    void *arg;
} config;

standin standin_self = { .flags = RM_IS_PRIMARY };
_Atomic int64_t standin_now = 1700000000000;

static struct rm_command commands[commands_max];
static size_t command_count;
static timer timers[timers_max];
static size_t timer_count;
static rm_event_fn *events[events_max];
static config configs[configs_max];
static size_t config_count;

static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;
static rm_blocked *done;

/* ---- loading ---- */

static bool old; /* knows only what the module cannot do without */

static int get(const char *name, void *ret_function)
{
#define FIND(type, function, arguments)                \
    if (strcmp(name, "RedisModule_" #function) == 0) { \
        type(*found) arguments = standin_##function;   \
        memcpy(ret_function, &found, sizeof found);    \
        return RM_OK;                                  \
    }
#define FIND_UNLESS_OLD(type, function, arguments) \
    if (!old)                                      \
    FIND(type, function, arguments)
    RM_FUNCTIONS(FIND, FIND_UNLESS_OLD)
#undef FIND
#undef FIND_UNLESS_OLD
    return RM_ERR;
}

static rm_ctx main_context(standin_call *call)
{
    return (rm_ctx){ .get = get, .call = call };
}

void standin_load(const char *path)
{
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library ? dlsym(library, "RedisModule_OnLoad") : NULL;
    int (*load)(rm_ctx *, rm_str **, int);
    rm_ctx ctx = main_context(NULL);

    if (!symbol)
        fail_msg("%s", path ? dlerror() : "there is no module");
    memcpy(&load, &symbol, sizeof load);
    assert_int_equal(load(&ctx, NULL, 0), RM_OK);
}

void standin_load_as_old(const char *path)
{
    old = true;
    standin_load(path);
}

void standin_shutdown(void)
{
    standin_fire(RM_EVENT_SHUTDOWN, 0, NULL);
    standin_flush(false);
    for (size_t i = 0; i < command_count; i++) {
        free(commands[i].told.name);
        free(commands[i].told.flags);
    }
    text_done(&standin_self.replicated);
}

void standin_SetModuleAttribs(rm_ctx *ctx, const char *name, int version, int api_version)
{
    (void)ctx;
    (void)version;
    assert_string_equal(name, "kv");
    assert_int_equal(api_version, RM_API_VERSION);
}

int standin_IsModuleNameBusy(const char *name)
{
    (void)name;
    return 0;
}

void standin_SetModuleOptions(rm_ctx *ctx, int options)
{
    (void)ctx;
    (void)options;
}

int standin_CreateCommand(rm_ctx *ctx, const char *name, rm_command_fn *run, const char *flags, int first,
                          int last, int step)
{
    (void)ctx;
    assert_true(command_count < commands_max);
    assert_true(first == 1 && last == 1 && step == 1);
    commands[command_count++].told = (standin_command){ strdup(name), strdup(flags), run, 0 };
    return RM_OK;
}

static struct rm_command *command_find(const char *name)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcasecmp(commands[i].told.name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

rm_command *standin_GetCommand(rm_ctx *ctx, const char *name)
{
    (void)ctx;
    return command_find(name);
}

int standin_SetCommandInfo(rm_command *command, const rm_command_info *info)
{
    command->told.arity = info->arity;
    assert_int_equal(info->key_specs[0].at.position, 1);
    return RM_OK;
}

int standin_SetCommandACLCategories(rm_command *command, const char *categories)
{
    (void)command;
    assert_non_null(categories);
    return RM_OK;
}

int standin_AddACLCategory(rm_ctx *ctx, const char *name)
{
    (void)ctx;
    assert_string_equal(name, "kv");
    return RM_OK;
}

void standin_commands(void (*visit)(void *arg, const standin_command *c), void *arg)
{
    for (size_t i = 0; i < command_count; i++)
        visit(arg, &commands[i].told);
}

/* ---- settings ---- */

int standin_RegisterNumericConfig(rm_ctx *ctx, const char *name, long long standard, unsigned flags,
                                  long long min, long long max, rm_get_number *get_it, rm_set_number *set,
                                  rm_apply *apply, void *arg)
{
    (void)ctx;
    (void)flags;
    assert_true(config_count < configs_max && standard >= min && standard <= max);
    configs[config_count++] = (config){ name, min, max, get_it, set, apply, arg };
    return RM_OK;
}

int standin_LoadConfigs(rm_ctx *ctx)
{
    (void)ctx;
    return RM_OK;
}

bool standin_config(const char *name, long long value)
{
    rm_ctx ctx = main_context(NULL);
    rm_str *error = NULL;

    for (size_t i = 0; i < config_count; i++) {
        config *c = &configs[i];

        if (strcmp(c->name, name) != 0)
            continue;
        if (value < c->min || value > c->max)
            return false;
        if (c->set(name, value, c->arg, &error) == RM_OK &&
            (!c->apply || c->apply(&ctx, c->arg, &error) == RM_OK))
            return c->get(name, c->arg) == value;
        string_unref(error);
        return false;
    }
    fail_msg("no setting %s", name);
    return false;
}

void standin_names(void (*visit)(void *arg, const char *name), void *arg)
{
    char name[64];

    for (size_t i = 0; i < config_count; i++) {
        snprintf(name, sizeof name, "kv.%s", configs[i].name);
        visit(arg, name);
    }
    figures_each(visit, arg);
}

/* ---- commands ---- */

standin_call *standin_ask(size_t argc, const kv_slice argv[])
{
    standin_call *call = calloc(1, sizeof *call);
    rm_ctx ctx = main_context(call);
    rm_str **words = calloc(argc, sizeof(rm_str *));
    char name[64];
    rm_command *command;

    if (!call || !words)
        abort();
    snprintf(name, sizeof name, "%.*s", (int)argv[0].len, argv[0].data);
    command = command_find(name);
    if (!command)
        fail_msg("no command %s", name);
    for (size_t i = 0; i < argc; i++)
        words[i] = string_new(argv[i].data, argv[i].len);
    command->told.run(&ctx, words, (int)argc);
    for (size_t i = 0; i < argc; i++)
        string_unref(words[i]);
    free(words);
    if (!call->blocked)
        call->answered = true;
    return call;
}

bool standin_answered(const standin_call *call)
{
    return call->answered;
}

static void call_free(standin_call *call)
{
    text_done(&call->answer);
    free(call);
}

reply *standin_reply(standin_call *call)
{
    const struct timespec moment = { .tv_nsec = 100 * 1000 };
    const char *why = NULL;
    reply *r = NULL;
    size_t used = 0;

    while (!call->answered) {
        standin_turn();
        nanosleep(&moment, NULL);
    }
    assert_int_equal(call->depth, 0);
    if (reply_parse(kv_slice_of(call->answer.bytes, call->answer.len), &r, &used, &why) != REPLY_WHOLE)
        fail_msg("no reply: %s", why ? why : "it is cut short");
    assert_int_equal(used, call->answer.len); /* one reply, no more */
    call_free(call);
    return r;
}

void standin_hang_up(standin_call *call)
{
    rm_ctx ctx = main_context(NULL);

    if (call->answered) {
        call_free(call);
        return;
    }
    call->gone = true;
    if (call->blocked->disconnect)
        call->blocked->disconnect(&ctx, call->blocked);
}

char *standin_say_args(const char *const args[])
{
    kv_slice argv[64];
    size_t n = 0;
    reply *r;
    char *said;

    while (args[n] && n < 64) {
        argv[n] = kv_str(args[n]);
        n++;
    }
    r = standin_reply(standin_ask(n, argv));
    said = reply_text(r);
    reply_free(r);
    return said;
}

void standin_expect_args(const char *file, int line, const char *wanted, const char *const args[])
{
    char *got = standin_say_args(args);
    size_t len = strlen(wanted);
    bool begins = len > 3 && strcmp(wanted + len - 3, "...") == 0;

    if (begins ? strncmp(wanted, got, len - 3) != 0 : strcmp(wanted, got) != 0) {
        print_error("%s:%d: %s: expected %s\n  got %.500s\n", file, line, args[0], wanted, got);
        _fail(file, line);
    }
    free(got);
}

void standin_flags(int flags)
{
    standin_self.flags = flags & RM_IS_REPLICA ? flags : flags | RM_IS_PRIMARY;
}

int standin_GetContextFlags(rm_ctx *ctx)
{
    (void)ctx;
    return standin_self.flags;
}

int standin_GetSelectedDb(rm_ctx *ctx)
{
    return ctx->db;
}

int standin_SelectDb(rm_ctx *ctx, int db)
{
    ctx->db = db;
    return RM_OK;
}

/* ---- replies ---- */

static int tell(rm_ctx *ctx, const char *line)
{
    text_print(&ctx->call->answer, "%s\r\n", line);
    return RM_OK;
}

int standin_WrongArity(rm_ctx *ctx)
{
    assert_false(ctx->of_thread);
    return tell(ctx, "-ERR wrong number of arguments");
}

int standin_ReplyWithLongLong(rm_ctx *ctx, long long number)
{
    text_print(&ctx->call->answer, ":%lld\r\n", number);
    return RM_OK;
}

int standin_ReplyWithError(rm_ctx *ctx, const char *error)
{
    text_print(&ctx->call->answer, "-%s\r\n", error);
    return RM_OK;
}

int standin_ReplyWithSimpleString(rm_ctx *ctx, const char *simple)
{
    text_print(&ctx->call->answer, "+%s\r\n", simple);
    return RM_OK;
}

/* An array of so many elements, or of as many as is told later. */
static int begin_array(rm_ctx *ctx, long count, long words)
{
    standin_call *call = ctx->call;

    if (count == RM_POSTPONED) {
        assert_true(call->depth < depth_max);
        call->open[call->depth++] = (postponed){ call->answer.len, '*' };
    } else {
        text_print(&call->answer, "*%ld\r\n", count * words);
    }
    return RM_OK;
}

static void end_array(rm_ctx *ctx, long count)
{
    standin_call *call = ctx->call;
    char head[32];
    int len = snprintf(head, sizeof head, "*%ld\r\n", count);

    assert_true(call->depth > 0);
    text_insert(&call->answer, call->open[--call->depth].at, head, (size_t)len);
}

int standin_ReplyWithArray(rm_ctx *ctx, long count)
{
    return begin_array(ctx, count, 1);
}

int standin_ReplyWithMap(rm_ctx *ctx, long pairs)
{
    return begin_array(ctx, pairs, 2);
}

int standin_ReplyWithSet(rm_ctx *ctx, long count)
{
    return begin_array(ctx, count, 1);
}

void standin_ReplySetArrayLength(rm_ctx *ctx, long count)
{
    end_array(ctx, count);
}

void standin_ReplySetMapLength(rm_ctx *ctx, long pairs)
{
    end_array(ctx, 2 * pairs);
}

int standin_ReplyWithBool(rm_ctx *ctx, int value)
{
    return standin_ReplyWithLongLong(ctx, value);
}

int standin_ReplyWithNull(rm_ctx *ctx)
{
    return tell(ctx, "$-1");
}

int standin_ReplyWithNullArray(rm_ctx *ctx)
{
    return tell(ctx, "*-1");
}

int standin_ReplyWithStringBuffer(rm_ctx *ctx, const char *data, size_t len)
{
    text *answer = &ctx->call->answer;

    text_print(answer, "$%zu\r\n", len);
    text_add(answer, data, len);
    text_add(answer, "\r\n", 2);
    return RM_OK;
}

int standin_ReplyWithDouble(rm_ctx *ctx, double value)
{
    char number[64];
    int len = snprintf(number, sizeof number, "%.17g", value);

    return standin_ReplyWithStringBuffer(ctx, number, (size_t)len);
}

int standin_ReplyWithVerbatimStringType(rm_ctx *ctx, const char *data, size_t len, const char *format)
{
    (void)format;
    return standin_ReplyWithStringBuffer(ctx, data, len);
}

/* ---- clients that wait for a thread ---- */

rm_blocked *standin_BlockClient(rm_ctx *ctx, rm_command_fn *on_reply, rm_command_fn *on_timeout,
                                rm_free_private *free_private, long long timeout_ms)
{
    rm_blocked *blocked = calloc(1, sizeof *blocked);

    assert_false(standin_self.flags & (RM_DENY_BLOCKING | RM_IN_MULTI | RM_IN_LUA));
    assert_true(!on_reply && !on_timeout && timeout_ms == 0 && blocked);
    blocked->call = ctx->call;
    blocked->free_private = free_private;
    ctx->call->blocked = blocked;
    return blocked;
}

void standin_SetDisconnectCallback(rm_blocked *blocked, rm_disconnect_fn *disconnect)
{
    blocked->disconnect = disconnect;
}

rm_ctx *standin_GetThreadSafeContext(rm_blocked *blocked)
{
    rm_ctx *ctx = calloc(1, sizeof *ctx);

    if (!ctx)
        abort();
    *ctx = (rm_ctx){ .get = get, .call = blocked->call, .of_thread = true };
    return ctx;
}

void standin_FreeThreadSafeContext(rm_ctx *ctx)
{
    assert_true(ctx->of_thread);
    free(ctx);
}

int standin_UnblockClient(rm_blocked *blocked, void *arg)
{
    blocked->private_data = arg;
    pthread_mutex_lock(&done_lock);
    blocked->next = done;
    done = blocked;
    pthread_mutex_unlock(&done_lock);
    return RM_OK;
}

static void finish(rm_blocked *blocked)
{
    standin_call *call = blocked->call;
    rm_ctx ctx = main_context(NULL);

    if (blocked->free_private)
        blocked->free_private(&ctx, blocked->private_data);
    call->blocked = NULL;
    call->answered = true;
    if (call->gone)
        call_free(call);
    free(blocked);
}

/* ---- turns ---- */

uint64_t standin_CreateTimer(rm_ctx *ctx, long long period_ms, rm_timer_fn *fn, void *arg)
{
    (void)ctx;
    assert_true(timer_count < timers_max);
    timers[timer_count++] = (timer){ standin_Milliseconds() + period_ms, fn, arg };
    return 1;
}

static void run_timers(void)
{
    rm_ctx ctx = main_context(NULL);

    for (size_t i = 0; i < timer_count;) {
        timer due = timers[i];

        if (due.due_ms > standin_Milliseconds()) {
            i++;
            continue;
        }
        timers[i] = timers[--timer_count];
        due.fn(&ctx, due.arg);
    }
}

void standin_turn(void)
{
    rm_blocked *all, *next;

    pthread_mutex_lock(&done_lock);
    all = done;
    done = NULL;
    pthread_mutex_unlock(&done_lock);
    for (; all; all = next) {
        next = all->next;
        finish(all);
    }
    run_timers();
}

long long standin_Milliseconds(void)
{
    return atomic_load(&standin_now);
}

int standin_AvoidReplicaTraffic(void)
{
    return 0;
}

void standin_Log(rm_ctx *ctx, const char *level, const char *format, ...)
{
    (void)ctx;
    (void)level;
    assert_non_null(format);
}

/* ---- events ---- */

int standin_SubscribeToServerEvent(rm_ctx *ctx, rm_event event, rm_event_fn *fn)
{
    (void)ctx;
    assert_true(event.id < events_max && event.data_version == 1);
    events[event.id] = fn;
    return RM_OK;
}

static rm_key_event_fn *key_event;

int standin_SubscribeToKeyspaceEvents(rm_ctx *ctx, int classes, rm_key_event_fn *fn)
{
    (void)ctx;
    assert_int_equal(classes, RM_NOTIFY_GENERIC);
    key_event = fn;
    return RM_OK;
}

void standin_tell_key(const char *event, rm_str *key)
{
    rm_ctx ctx = main_context(NULL);

    if (key_event)
        key_event(&ctx, RM_NOTIFY_GENERIC, event, key);
}

void standin_fire(uint64_t event, uint64_t subevent, void *data)
{
    rm_ctx ctx = main_context(NULL);

    if (events[event])
        events[event](&ctx, (rm_event){ event, 1 }, subevent, data);
}
