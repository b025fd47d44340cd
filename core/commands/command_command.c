/* command_command.c - COMMAND: the table, as clients, proxies and redis-cli read it.
 *
 * The shapes are those of Redis 7.0: a row is an array of ten, flags and categories are sets of simple
 * strings, a key spec is a map. Everything is derived from the row; nothing here names a command.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "category.h"
#include "parts.h"
#include "pattern.h"
#include "read.h"
#include "renames.h"

#define NAMES_AT_ONCE 256 /* commands that are told of before others have their turn */

/* ---- sets of words ---- */

struct word {
    unsigned flag;
    const char *word;
};

/* In the order in which Redis lists them. */
static const struct word command_flags[] = {
    { KV_CMD_WRITE, "write" },
    { KV_CMD_READONLY, "readonly" },
    { KV_CMD_DENYOOM, "denyoom" },
    { KV_CMD_ADMIN, "admin" },
    { KV_CMD_PUBSUB, "pubsub" },
    { KV_CMD_NOSCRIPT, "noscript" },
    { KV_CMD_BLOCKING, "blocking" },
    { KV_CMD_LOADING, "loading" },
    { KV_CMD_STALE, "stale" },
    { KV_CMD_SKIP_MONITOR, "skip_monitor" },
    { KV_CMD_SKIP_SLOWLOG, "skip_slowlog" },
    { KV_CMD_FAST, "fast" },
    { KV_CMD_NO_AUTH, "no_auth" },
    { KV_CMD_NO_ASYNC_LOADING, "no_async_loading" },
    { KV_CMD_NO_MULTI, "no_multi" },
    { KV_CMD_ALLOW_BUSY, "allow_busy" },
    { KV_CMD_MOVABLEKEYS, "movablekeys" },
};

static const struct word key_flags[] = {
    { KV_KEY_RO, "RO" },
    { KV_KEY_RW, "RW" },
    { KV_KEY_OW, "OW" },
    { KV_KEY_RM, "RM" },
    { KV_KEY_ACCESS, "access" },
    { KV_KEY_UPDATE, "update" },
    { KV_KEY_INSERT, "insert" },
    { KV_KEY_DELETE, "delete" },
    { KV_KEY_NOT_KEY, "not_key" },
    { KV_KEY_VARIABLE, "variable_flags" },
    { KV_KEY_INCOMPLETE, "incomplete" },
};

static const struct word arg_flags[] = {
    { KV_ARG_OPTIONAL, "optional" },
    { KV_ARG_MULTIPLE, "multiple" },
    { KV_ARG_MULTIPLE_TOKEN, "multiple_token" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void reply_words(kv_reply *r, unsigned flags, const struct word words[], size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += (flags & words[i].flag) != 0;
    r->ops->set(r, count);
    for (size_t i = 0; i < n; i++)
        if (flags & words[i].flag)
            r->ops->simple(r, kv_str(words[i].word));
}

static void reply_categories(kv_reply *r, const kv_command *row)
{
    unsigned of_row = kv_category_of(row);
    char name[32];

    r->ops->set(r, (size_t)__builtin_popcount(of_row));
    for (int i = 0; i < KV_CATEGORY_COUNT; i++)
        if (of_row & 1u << i) {
            snprintf(name, sizeof name, "@%s", kv_category_name(i));
            r->ops->simple(r, kv_str(name));
        }
}

static void reply_text(kv_reply *r, const char *text)
{
    kv_reply_bulk(r, kv_str(text));
}

static void reply_pair(kv_reply *r, const char *name, const char *text)
{
    reply_text(r, name);
    reply_text(r, text);
}

static void reply_name(kv_reply *r, const kv_command *row)
{
    char name[KV_COMMAND_NAME_MAX];

    kv_reply_bulk(r, kv_command_name(row, name));
}

/* ---- walking the table ---- */

/* Whether the row stands for itself, and can be called. */
static bool is_top(const kv_call *call, const kv_command *row)
{
    return row->container == NULL && kv_renames_has(call->renames, row);
}

static size_t top_count(const kv_call *call)
{
    size_t count = 0;

    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        count += is_top(call, &kv_command_table[i]);
    return count;
}

/* ---- COMMAND, COMMAND INFO ---- */

static void reply_tips(kv_reply *r, const char *tips)
{
    size_t count = tips != NULL;

    for (const char *p = tips; p && *p; p++)
        count += *p == ' ';
    r->ops->set(r, count);
    while (tips) {
        const char *space = strchr(tips, ' ');

        kv_reply_bulk(r, kv_slice_of(tips, space ? (size_t)(space - tips) : strlen(tips)));
        tips = space ? space + 1 : NULL;
    }
}

static void reply_number(kv_reply *r, const char *name, int value)
{
    reply_text(r, name);
    kv_reply_int(r, value);
}

static void reply_key_spec(kv_reply *r, const kv_key_spec *spec)
{
    r->ops->map(r, spec->notes ? 4 : 3);
    if (spec->notes)
        reply_pair(r, "notes", spec->notes);
    reply_text(r, "flags");
    reply_words(r, spec->flags, key_flags, COUNT(key_flags));

    reply_text(r, "begin_search");
    r->ops->map(r, 2);
    reply_pair(r, "type", spec->keyword ? "keyword" : "index");
    reply_text(r, "spec");
    r->ops->map(r, spec->keyword ? 2 : 1);
    if (spec->keyword) {
        reply_pair(r, "keyword", spec->keyword);
        reply_number(r, "startfrom", spec->keyword_from);
    } else {
        reply_number(r, "index", spec->numkeys ? spec->numkeys : spec->first);
    }

    reply_text(r, "find_keys");
    r->ops->map(r, 2);
    reply_pair(r, "type", spec->numkeys ? "keynum" : "range");
    reply_text(r, "spec");
    r->ops->map(r, 3);
    if (spec->numkeys) {
        reply_number(r, "keynumidx", 0);
        reply_number(r, "firstkey", spec->first - spec->numkeys);
        reply_number(r, "keystep", spec->step);
    } else {
        reply_number(r, "lastkey", spec->last < 0 ? spec->last : spec->last - spec->first);
        reply_number(r, "keystep", spec->step);
        reply_number(r, "limit", 0);
    }
}

/* The one range of keys that clients older than key specs understand; zeros when there is none. */
static void reply_legacy_range(kv_reply *r, const kv_command *row)
{
    kv_key_spec range = { .first = 0 };

    if (row->keys.first && !row->keys.numkeys) {
        range = row->keys;
        if (row->keys2.first && row->keys2.first == range.last + 1)
            range.last = row->keys2.last;
    }
    kv_reply_int(r, range.first);
    kv_reply_int(r, range.last);
    kv_reply_int(r, range.step);
}

static void reply_info_row(kv_reply *r, const kv_command *row)
{
    kv_reply_array(r, 10);
    reply_name(r, row);
    kv_reply_int(r, row->arity);
    reply_words(r, row->flags, command_flags, COUNT(command_flags));
    reply_legacy_range(r, row);
    reply_categories(r, row);
    reply_tips(r, row->tips);
    r->ops->set(r, (row->keys.first != 0) + (row->keys2.first != 0));
    if (row->keys.first)
        reply_key_spec(r, &row->keys);
    if (row->keys2.first)
        reply_key_spec(r, &row->keys2);
}

static void reply_info(kv_reply *r, const kv_command *row)
{
    size_t count;
    const kv_command *subs = kv_command_subcommands(row, &count);

    reply_info_row(r, row);
    if (count) /* the list is an array, the absence of one a set: so Redis has it */
        kv_reply_array(r, count);
    else
        r->ops->set(r, 0);
    for (size_t i = 0; i < count; i++) {
        reply_info_row(r, &subs[i]);
        r->ops->set(r, 0);
    }
}

/* COMMAND */
void kv_cmd_command(kv_call *call)
{
    kv_reply_array(call->reply, top_count(call));
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        if (is_top(call, &kv_command_table[i]))
            reply_info(call->reply, &kv_command_table[i]);
}

/* COMMAND COUNT */
void kv_cmd_command_count(kv_call *call)
{
    kv_reply_int(call->reply, (int64_t)top_count(call));
}

static void begin_info(kv_call *call)
{
    kv_reply_array(call->reply, (size_t)call->argc - 2);
}

static void reply_info_of(kv_call *call, int i)
{
    const kv_command *row = kv_renames_find_full(call->renames, call->argv[i]);

    if (row)
        reply_info(call->reply, row);
    else
        kv_reply_null(call->reply);
}

/* COMMAND INFO [name ...] */
void kv_cmd_command_info(kv_call *call)
{
    if (call->argc == 2) {
        kv_cmd_command(call);
        return;
    }
    kv_each_argument(call, 2, NAMES_AT_ONCE, begin_info, reply_info_of);
}

/* ---- COMMAND DOCS ---- */

static const char *arg_type_name(kv_arg_type type)
{
    switch (type) {
    case KV_ARG_KEY:
        return "key";
    case KV_ARG_STRING:
        return "string";
    case KV_ARG_INT:
        return "integer";
    case KV_ARG_DOUBLE:
        return "double";
    case KV_ARG_PATTERN:
        return "pattern";
    case KV_ARG_UNIX_TIME:
        return "unix-time";
    case KV_ARG_TOKEN:
        return "pure-token";
    case KV_ARG_ONEOF:
        return "oneof";
    case KV_ARG_BLOCK:
        return "block";
    }
    return "string";
}

static void reply_args(kv_reply *r, const kv_arg *args);

static void reply_arg(kv_reply *r, const kv_arg *arg)
{
    r->ops->map(r, 2u + (arg->type == KV_ARG_KEY) + (arg->token != NULL) + (arg->since != NULL) +
                       (arg->flags != 0) + (arg->sub != NULL));
    reply_pair(r, "name", arg->name);
    reply_pair(r, "type", arg_type_name(arg->type));
    if (arg->type == KV_ARG_KEY)
        reply_number(r, "key_spec_index", arg->key_spec);
    if (arg->token)
        reply_pair(r, "token", arg->token);
    if (arg->since)
        reply_pair(r, "since", arg->since);
    if (arg->flags) {
        reply_text(r, "flags");
        reply_words(r, arg->flags, arg_flags, COUNT(arg_flags));
    }
    if (arg->sub) {
        reply_text(r, "arguments");
        reply_args(r, arg->sub);
    }
}

static void reply_args(kv_reply *r, const kv_arg *args)
{
    size_t count = 0;

    while (args[count].name)
        count++;
    kv_reply_array(r, count);
    for (size_t i = 0; i < count; i++)
        reply_arg(r, &args[i]);
}

static void reply_history(kv_reply *r, const kv_history *history)
{
    size_t count = 0;

    while (history[count].since)
        count++;
    reply_text(r, "history");
    r->ops->set(r, count);
    for (size_t i = 0; i < count; i++) {
        kv_reply_array(r, 2);
        reply_text(r, history[i].since);
        reply_text(r, history[i].change);
    }
}

/* Name and documentation: two elements of a map. */
static void reply_docs(kv_reply *r, const kv_command *row)
{
    size_t count;
    const kv_command *subs = kv_command_subcommands(row, &count);

    reply_name(r, row);
    r->ops->map(r, 3u + (row->complexity != NULL) + (row->deprecated_since ? 2 : 0) +
                       (row->replaced_by != NULL) + (row->history != NULL) + (row->args != NULL) +
                       (count != 0));
    reply_pair(r, "summary", row->summary);
    reply_pair(r, "since", row->since);
    reply_pair(r, "group", row->group);
    if (row->complexity)
        reply_pair(r, "complexity", row->complexity);
    if (row->deprecated_since) {
        reply_text(r, "doc_flags");
        r->ops->set(r, 1);
        r->ops->simple(r, KV_STR("deprecated"));
        reply_pair(r, "deprecated_since", row->deprecated_since);
    }
    if (row->replaced_by)
        reply_pair(r, "replaced_by", row->replaced_by);
    if (row->history)
        reply_history(r, row->history);
    if (row->args) {
        reply_text(r, "arguments");
        reply_args(r, row->args);
    }
    if (count) {
        reply_text(r, "subcommands");
        r->ops->map(r, count);
        for (size_t i = 0; i < count; i++)
            reply_docs(r, &subs[i]);
    }
}

static void begin_docs(kv_call *call)
{
    size_t known = 0;

    for (int i = 2; i < call->argc; i++)
        known += kv_renames_find_full(call->renames, call->argv[i]) != NULL;
    call->reply->ops->map(call->reply, known);
}

static void reply_docs_of(kv_call *call, int i)
{
    const kv_command *row = kv_renames_find_full(call->renames, call->argv[i]);

    if (row)
        reply_docs(call->reply, row);
}

/* COMMAND DOCS [name ...]; unknown names are left out. */
void kv_cmd_command_docs(kv_call *call)
{
    if (call->argc == 2) {
        call->reply->ops->map(call->reply, top_count(call));
        for (int i = 0; i < KV_COMMAND_COUNT; i++)
            if (is_top(call, &kv_command_table[i]))
                reply_docs(call->reply, &kv_command_table[i]);
        return;
    }
    kv_each_argument(call, 2, NAMES_AT_ONCE, begin_docs, reply_docs_of);
}

/* ---- COMMAND LIST ---- */

typedef enum list_filter { LIST_ALL, LIST_NONE, LIST_CATEGORY, LIST_PATTERN } list_filter;

static bool list_wants(const kv_call *call, const kv_command *row, list_filter filter, unsigned category,
                       kv_slice pattern)
{
    char name[KV_COMMAND_NAME_MAX];

    if (!kv_renames_has(call->renames, row))
        return false;
    switch (filter) {
    case LIST_ALL:
        return true;
    case LIST_NONE:
        return false;
    case LIST_CATEGORY:
        return (kv_category_of(row) & category) != 0;
    case LIST_PATTERN:
        return pattern_match(pattern, kv_command_name(row, name), true);
    }
    return false;
}

static void reply_list(kv_call *call, list_filter filter, unsigned category, kv_slice pattern)
{
    size_t count = 0;

    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        count += list_wants(call, &kv_command_table[i], filter, category, pattern);
    kv_reply_array(call->reply, count);
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        if (list_wants(call, &kv_command_table[i], filter, category, pattern))
            reply_name(call->reply, &kv_command_table[i]);
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern] */
void kv_cmd_command_list(kv_call *call)
{
    kv_slice none = kv_slice_of(NULL, 0);

    if (call->argc == 2) {
        reply_list(call, LIST_ALL, 0, none);
    } else if (call->argc != 5 || !kv_word_is(call->argv[2], "filterby")) {
        kv_reply_error(call->reply, KV_ESYNTAX);
    } else if (kv_word_is(call->argv[3], "module")) {
        reply_list(call, LIST_NONE, 0, none); /* there are no modules */
    } else if (kv_word_is(call->argv[3], "aclcat")) {
        reply_list(call, LIST_CATEGORY, kv_category_find(call->argv[4]), none);
    } else if (kv_word_is(call->argv[3], "pattern")) {
        if (call->argv[4].len > PATTERN_MAX)
            kv_reply_errorf(call->reply, "ERR pattern is too long");
        else
            reply_list(call, LIST_PATTERN, 0, call->argv[4]);
    } else {
        kv_reply_error(call->reply, KV_ESYNTAX);
    }
}

/* ---- COMMAND GETKEYS, GETKEYSANDFLAGS ---- */

/* The row of the command in argv, or NULL after an error. */
static const kv_command *getkeys_row(kv_call *call, int argc, const kv_slice argv[])
{
    const kv_command *row = kv_renames_find(call->renames, argv[0]);
    size_t subcommands;

    if (row)
        kv_command_subcommands(row, &subcommands);
    if (row && subcommands && argc > 1)
        row = kv_command_find_sub(row, argv[1]);
    if (!row) {
        kv_reply_errorf(call->reply, "ERR Invalid command specified");
        return NULL;
    }
    if (!row->keys.first || (row->keys.flags & KV_KEY_NOT_KEY)) {
        kv_reply_errorf(call->reply, "ERR The command has no key arguments");
        return NULL;
    }
    if (!kv_command_arity_ok(row, argc)) {
        kv_reply_errorf(call->reply, "ERR Invalid number of arguments specified for command");
        return NULL;
    }
    return row;
}

static void getkeys(kv_call *call, bool with_flags)
{
    int argc = call->argc - 2, count, first_count, few[16], *positions = few;
    const kv_slice *argv = call->argv + 2;
    const kv_command *row = getkeys_row(call, argc, argv);
    kv_domain *domain = kv_store_domain(call->store);
    size_t room_bytes = (size_t)argc * sizeof positions[0];

    if (!row)
        return;
    if (argc > (int)COUNT(few)) {
        positions = domain_alloc(domain, room_bytes, 16);
        if (!positions) {
            kv_reply_error(call->reply, KV_ENOMEM);
            return;
        }
    }
    count = kv_command_keys(row, argc, argv, positions, argc);
    /* Those of the second spec come last, one each. */
    first_count = row->keys2.first && !row->keys2.keyword ? count - 1 : count;
    if (count < 0)
        kv_reply_errorf(call->reply, "ERR Invalid arguments specified for command");
    else
        kv_reply_array(call->reply, (size_t)count);
    for (int i = 0; i < count; i++) {
        if (with_flags)
            kv_reply_array(call->reply, 2);
        kv_reply_bulk(call->reply, argv[positions[i]]);
        if (with_flags)
            reply_words(call->reply,
                        kv_command_key_use(i < first_count ? &row->keys : &row->keys2, argc, argv), key_flags,
                        COUNT(key_flags));
    }
    if (positions != few)
        domain_free(domain, positions, room_bytes);
}

/* COMMAND GETKEYS command [argument ...] */
void kv_cmd_command_getkeys(kv_call *call)
{
    getkeys(call, false);
}

/* COMMAND GETKEYSANDFLAGS command [argument ...] */
void kv_cmd_command_getkeysandflags(kv_call *call)
{
    getkeys(call, true);
}

/* COMMAND HELP */
void kv_cmd_command_help(kv_call *call)
{
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Describes all commands.",
        "COUNT",
        "    How many commands there are.",
        "DOCS [<command-name> ...]",
        "    Summary, arguments and more of some commands, or of all.",
        "GETKEYS <full-command>",
        "    The keys among the words of a command.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys, and what the command does with each.",
        "HELP",
        "    This text.",
        "INFO [<command-name> ...]",
        "    Describes some commands, or all.",
        "LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]",
        "    The names of all commands, or of some.",
    };

    kv_reply_help(call->reply, lines, COUNT(lines));
}
