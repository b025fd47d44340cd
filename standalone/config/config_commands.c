/* config_commands.c - CONFIG GET, SET, REWRITE, RESETSTAT.
 *
 * SET is all or nothing. Everything is checked for form first (names, duplicates, what may be changed at all);
 * then the values are stored one by one, then made effective; at the first that fails, all that were stored get
 * their old values back. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "acl_file.h"
#include "dispatch.h"
#include "memory.h"
#include "pattern.h"
#include "persistence.h"
#include "protect.h"
#include "session.h"
#include "tls_reload.h"

/* ---- GET ---- */

#define CHOICE_MAX     1024 /* bytes of a pattern; names are short */
#define CHOSEN_AT_ONCE 256  /* patterns, after which others have their turn */

/* Which names a CONFIG GET shows, each once: in the spelling of the client that named it first, or in ours when a
 * pattern chose it. NULL data: not chosen. */
typedef struct chosen {
    kv_slice name[CONFIG_COUNT], alias[CONFIG_COUNT];
    size_t count;
} chosen;

static bool has_wildcard(kv_slice pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (strchr("*?[", pattern.data[i]))
            return true;
    return false;
}

static void choose_name(chosen *c, kv_slice *spelling, const char *name, kv_slice pattern, bool hidden)
{
    bool exact = !has_wildcard(pattern);

    if (spelling->data || !name || (hidden && !exact) || !pattern_match(pattern, kv_str(name), true))
        return;
    *spelling = exact ? pattern : kv_str(name);
    c->count++;
}

static void choose(chosen *c, kv_slice pattern)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const config_directive *row = &config_directives[id];
        bool hidden = row->flags & CONFIG_HIDDEN;

        choose_name(c, &c->name[id], row->name, pattern, hidden);
        choose_name(c, &c->alias[id], row->alias, pattern, hidden);
    }
}

static void reply_value(kv_call *call, kv_slice name, enum config_id id)
{
    size_t len = 0;
    char *text = config_copy(session_server(call)->config, id, &len);
    char threads[16];

    kv_reply_bulk(call->reply, name);
    if (id == CONFIG_ID_threads) {
        snprintf(threads, sizeof threads, "%d", session_server(call)->worker_count);
        kv_reply_bulk(call->reply, kv_str(threads));
    } else
        kv_reply_bulk(call->reply, text ? kv_slice_of(text, len) : KV_STR(""));
    free(text);
}

/* A CONFIG GET under way. */
typedef struct choice {
    kv_rest rest;
    chosen chosen;
    int next; /* argument */
} choice;

static void free_choice(kv_rest *rest)
{
    free(rest);
}

static void reply_chosen(kv_call *call, const chosen *c)
{
    call->reply->ops->map(call->reply, c->count);
    for (int id = 0; id < CONFIG_COUNT; id++) {
        if (c->name[id].data)
            reply_value(call, c->name[id], (enum config_id)id);
        if (c->alias[id].data)
            reply_value(call, c->alias[id], (enum config_id)id);
    }
}

/* The next part of it. */
static bool choose_some(kv_rest *rest, kv_call *call)
{
    choice *c = (choice *)rest;

    for (int n = 0; n < CHOSEN_AT_ONCE && c->next < call->argc; n++)
        choose(&c->chosen, call->argv[c->next++]);
    if (c->next < call->argc)
        return false;
    reply_chosen(call, &c->chosen);
    return true;
}

/* CONFIG GET pattern [pattern ...] */
void session_config_get(kv_call *call)
{
    choice *c;

    for (int i = 2; i < call->argc; i++) {
        if (call->argv[i].len > CHOICE_MAX) {
            kv_reply_errorf(call->reply, "ERR the pattern is too long");
            return;
        }
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    c->rest = (kv_rest){ choose_some, free_choice };
    c->next = 2;
    if (call->argc - 2 > CHOSEN_AT_ONCE && call->put_off && call->put_off(call, &c->rest))
        return;
    while (!choose_some(&c->rest, call))
        ;
    free(c);
}

/* ---- SET ---- */

/* One name and value of a CONFIG SET. */
typedef struct change {
    int id;
    kv_slice value;
    char *old; /* NULL: not stored yet */
    size_t old_len;
} change;

/* Why a directive must not be changed, or NULL. What is ours and keeps its value is no change, so that a client
 * may write back what it has read. */
static const char *refusal(kv_call *call, const change *ch)
{
    server *s = session_server(call);
    unsigned flags = config_directives[ch->id].flags;
    char *text;
    bool same;

    if ((flags & CONFIG_IMMUTABLE) && (flags & CONFIG_OURS)) {
        text = config_text(s->config, (enum config_id)ch->id);
        same = text && kv_slice_equal(kv_str(text), ch->value);
        free(text);
        if (ch->id == CONFIG_ID_threads) {
            int64_t threads;

            same = kv_parse_int(ch->value, &threads) && threads == s->worker_count;
        }
        return same ? NULL : "can't set immutable config";
    }
    if (flags & CONFIG_IMMUTABLE)
        return "can't set immutable config";
    if ((flags & CONFIG_PROTECTED) &&
        !protect_allows(session_connection(call), CONFIG_ID_enable_protected_configs))
        return "can't set protected config";
    return NULL;
}

static void reply_failure(kv_call *call, kv_slice name, const char *reason)
{
    kv_reply_errorf(call->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                    (int)(name.len > 128 ? 128 : name.len), name.data, reason);
}

static kv_slice name_of(const kv_call *call, int i)
{
    return call->argv[2 + 2 * i];
}

/* A name and its alias may both be set, one after the other. */
static bool same_name(kv_slice a, kv_slice b)
{
    return a.len == b.len && strncasecmp(a.data, b.data, a.len) == 0;
}

/* Fills changes from argv and checks their form. False: an error was replied. */
static bool check_changes(kv_call *call, change changes[], int count)
{
    for (int i = 0; i < count; i++) {
        kv_slice name = name_of(call, i);
        const char *reason;

        changes[i] = (change){ .id = config_find(name), .value = call->argv[3 + 2 * i] };
        if (changes[i].id < 0) {
            kv_reply_errorf(call->reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                            (int)(name.len > 128 ? 128 : name.len), name.data);
            return false;
        }
        if ((config_directives[changes[i].id].flags & CONFIG_AT_REST) &&
            persistence_is_loading(session_server(call)->persistence)) {
            kv_reply_errorf(call->reply, "LOADING Failed to set the specified config while loading");
            return false;
        }
        reason = refusal(call, &changes[i]);
        for (int j = 0; j < i && !reason; j++)
            if (changes[j].id == changes[i].id && same_name(name, name_of(call, j)))
                reason = "duplicate parameter";
        if (reason) {
            reply_failure(call, name, reason);
            return false;
        }
    }
    return true;
}

static bool store_change(server *s, change *ch, config_error *error)
{
    enum config_id id = (enum config_id)ch->id;

    if (config_directives[id].flags & CONFIG_OURS && config_directives[id].flags & CONFIG_IMMUTABLE)
        return true;
    ch->old = config_copy(s->config, id, &ch->old_len);
    if (!ch->old) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return false;
    }
    return config_set(s->config, id, 1, &ch->value, false, error) == 0;
}

/* Gives the first stored changes their old values back, and makes these effective. */
static void undo(server *s, change changes[], int stored)
{
    config_error ignored;

    for (int i = stored - 1; i >= 0; i--)
        if (changes[i].old && config_restore(s->config, (enum config_id)changes[i].id,
                                             kv_slice_of(changes[i].old, changes[i].old_len)) == 0)
            server_apply(s, (enum config_id)changes[i].id, &ignored);
}

/* Makes the stored changes effective. Returns the index of the first that cannot be, or count: then new connections
 * have the certificates from before. */
static int apply_changes(server *s, const change changes[], int count, config_error *error)
{
    tls_context *other = NULL;
    int tls = 0, i = 0;

    while (tls < count && !tls_reload_concerns((enum config_id)changes[tls].id))
        tls++;
    if (tls < count) {
        if (tls_reload_prepare(s, &other, error) != 0)
            return tls;
        other = tls_reload_adopt(s, other);
    }
    for (; i < count; i++)
        if (changes[i].old && server_apply(s, (enum config_id)changes[i].id, error) != 0)
            break;
    if (i < count && tls < count)
        other = tls_reload_adopt(s, other);
    tls_context_unref(other);
    return i;
}

static void set_changes(kv_call *call, change changes[], int count)
{
    server *s = session_server(call);
    config_error error;
    int i;

    for (i = 0; i < count; i++)
        if (!store_change(s, &changes[i], &error))
            break;
    if (i == count)
        i = apply_changes(s, changes, count, &error);
    if (i == count) {
        kv_reply_ok(call->reply);
    } else {
        undo(s, changes, count);
        reply_failure(call, name_of(call, i), error.text);
    }
}

/* CONFIG SET name value [name value ...] */
void session_config_set(kv_call *call)
{
    server *s = session_server(call);
    int count = (call->argc - 2) / 2;
    change changes[2 * CONFIG_COUNT];

    if (call->argc % 2) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    if (count > 2 * CONFIG_COUNT) /* more than there are: some name stands twice, or is unknown */
        count = 2 * CONFIG_COUNT;
    if (!check_changes(call, changes, count))
        return;
    pthread_mutex_lock(&s->config_lock);
    set_changes(call, changes, count);
    pthread_mutex_unlock(&s->config_lock);
    slow_ask_anew(&session_connection(call)->owner->stats, call->now_ms);
    if (!(session_connection(call)->flags & CONNECTION_MULTI)) {    /* not in EXEC, under its locks */
        dispatch_settings_changed(session_connection(call)->owner); /* keys may be evicted */
        memory_shed_clients(session_connection(call)->owner);       /* who looks next finds them gone */
    }
    for (int i = 0; i < count; i++)
        free(changes[i].old);
}

/* ---- the rest ---- */

int session_rewrite_config(server *s, config_rewriting *rewrite, config_error *ret_error)
{
    size_t len = 0;
    char *users;
    int err = -1;

    pthread_mutex_lock(&s->config_lock);
    users = acl_config_lines(s->acl, s->config, &len);
    if (users)
        err = rewrite(s->config, kv_slice_of(users, len), ret_error);
    else
        snprintf(ret_error->text, sizeof ret_error->text, "out of memory");
    pthread_mutex_unlock(&s->config_lock);
    free(users);
    return err;
}

/* CONFIG REWRITE */
void session_config_rewrite(kv_call *call)
{
    server *s = session_server(call);
    config_error error;

    if (session_rewrite_config(s, config_rewrite, &error) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "CONFIG REWRITE failed: %s", error.text);
        kv_reply_errorf(call->reply, "ERR %s", error.text);
    } else {
        log_write(&s->log, CONFIG_LOG_NOTICE, "CONFIG REWRITE executed with success.");
        kv_reply_ok(call->reply);
    }
}

/* CONFIG RESETSTAT */
void session_config_resetstat(kv_call *call)
{
    server_reset_stats(session_server(call));
    slow_ask_anew(&session_connection(call)->owner->stats, call->now_ms);
    kv_reply_ok(call->reply);
}

/* CONFIG HELP */
void session_config_help(kv_call *call)
{
    static const char *const lines[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> [<pattern> ...]",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Set the configuration <directive> to <value>, all of them or none.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
