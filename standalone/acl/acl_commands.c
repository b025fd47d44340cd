/* acl_commands.c - ACL and its subcommands. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/random.h>

#include "acl.h"
#include "acl_file.h"
#include "acl_session.h"
#include "category.h"
#include "renames.h"
#include "secret.h"
#include "session.h"

#define GENPASS_BITS     256
#define GENPASS_BITS_MAX 4096
#define LOG_COUNT        10

static acl *users_of(const kv_call *call)
{
    return session_server(call)->acl;
}

/* ---- SETUSER, DELUSER ---- */

static void reply_failure(kv_call *call, const acl_failure *failure)
{
    if (failure->unmatched)
        kv_reply_errorf(call->reply, "ERR Unmatched parenthesis in acl selector starting at '%s'.",
                        failure->word);
    else
        kv_reply_errorf(call->reply, "ERR Error in ACL SETUSER modifier '%s': %s", failure->word,
                        acl_error_text(failure->error));
}

/* What the user is now, or a new one: to be changed. */
static acl_user *user_to_change(acl *a, kv_slice name)
{
    acl_user *old = acl_find(a, name), *u = old ? acl_user_copy(old) : acl_make(a, name);

    acl_user_unref(old);
    return u;
}

/* ACL SETUSER username [rule ...]. One at a time: who changes a copy puts it back before another is made. */
void session_acl_setuser(kv_call *call)
{
    server *s = session_server(call);
    acl_options options = acl_options_now(s->acl);
    acl_failure failure = { .error = ACL_OK };
    acl_error err = ACL_OK;
    bool full = false, ok = false;
    acl_user *u;

    if (!acl_name_ok(call->argv[2])) {
        kv_reply_errorf(call->reply, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    pthread_mutex_lock(&s->acl_lock);
    u = user_to_change(s->acl, call->argv[2]);
    if (u) {
        ok = acl_user_apply_all(u, call->argc - 3, call->argv + 3, &options, &failure);
        if (ok)
            err = acl_put(s->acl, u, &full);
        else
            acl_user_unref(u);
    }
    pthread_mutex_unlock(&s->acl_lock);
    for (int i = 3; i < call->argc; i++)
        if (call->argv[i].len && strchr("><", call->argv[i].data[0]))
            secret_wipe_argument(call->argv[i]);
    if (!u)
        kv_reply_error(call->reply, KV_ENOMEM);
    else if (!ok)
        reply_failure(call, &failure);
    else if (full)
        kv_reply_errorf(call->reply, "ERR There are as many users as acl-max-users allows");
    else if (err)
        kv_reply_errorf(call->reply, "ERR %s", acl_error_text(err));
    else
        acl_session_spread(call, -1);
}

/* ACL DELUSER username [username ...] */
void session_acl_deluser(kv_call *call)
{
    server *s = session_server(call);
    int64_t deleted = 0;

    for (int i = 2; i < call->argc; i++)
        if (kv_slice_equal(call->argv[i], KV_STR("default"))) {
            kv_reply_errorf(call->reply, "ERR The 'default' user cannot be removed");
            return;
        }
    pthread_mutex_lock(&s->acl_lock);
    for (int i = 2; i < call->argc; i++)
        deleted += acl_delete(s->acl, call->argv[i]);
    pthread_mutex_unlock(&s->acl_lock);
    acl_session_spread(call, deleted);
}

/* ---- GETUSER, LIST, USERS, WHOAMI ---- */

typedef void describe_fn(FILE *out, const acl_selector *s);

static void reply_part(kv_reply *r, const char *name, describe_fn *describe, const acl_selector *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out)
        describe(out, s);
    kv_reply_bulk(r, kv_str(name));
    if (out && fclose(out) == 0)
        kv_reply_bulk(r, kv_slice_of(text, len));
    else
        kv_reply_error(r, KV_ENOMEM);
    free(text);
}

static void reply_selector(kv_reply *r, const acl_selector *s)
{
    reply_part(r, "commands", acl_describe_commands, s);
    reply_part(r, "keys", acl_describe_keys, s);
    reply_part(r, "channels", acl_describe_channels, s);
}

static void reply_flags(kv_reply *r, const acl_user *u)
{
    kv_reply_bulk(r, KV_STR("flags"));
    r->ops->set(r, 1u + u->nopass + (u->sanitize != ACL_SANITIZE_DEFAULT));
    kv_reply_bulk(r, kv_str(u->on ? "on" : "off"));
    if (u->nopass)
        kv_reply_bulk(r, KV_STR("nopass"));
    if (u->sanitize != ACL_SANITIZE_DEFAULT)
        kv_reply_bulk(r, kv_str(u->sanitize == ACL_SANITIZE ? "sanitize-payload" : "skip-sanitize-payload"));
}

static void reply_user(kv_reply *r, const acl_user *u)
{
    char hash[2 * SHA256_BYTES + 1];

    r->ops->map(r, 6);
    reply_flags(r, u);
    kv_reply_bulk(r, KV_STR("passwords"));
    kv_reply_array(r, u->password_count);
    for (size_t i = 0; i < u->password_count; i++) {
        acl_write_hash(u->passwords[i], hash);
        kv_reply_bulk(r, kv_str(hash));
    }
    reply_selector(r, &u->selectors[0]);
    kv_reply_bulk(r, KV_STR("selectors"));
    kv_reply_array(r, u->selector_count - 1);
    for (size_t i = 1; i < u->selector_count; i++) {
        r->ops->map(r, 3);
        reply_selector(r, &u->selectors[i]);
    }
}

/* ACL GETUSER username */
void session_acl_getuser(kv_call *call)
{
    acl_user *u = acl_find(users_of(call), call->argv[2]);

    if (u)
        reply_user(call->reply, u);
    else
        kv_reply_null(call->reply);
    acl_user_unref(u);
}

static void reply_line(kv_reply *r, const acl_user *u)
{
    size_t len = 0;
    char *line = acl_describe(u, &len), *whole = line ? malloc(len + 5) : NULL;

    if (whole) {
        memcpy(whole, "user ", 5);
        memcpy(whole + 5, line, len);
        kv_reply_bulk(r, kv_slice_of(whole, len + 5));
    } else {
        kv_reply_error(r, KV_ENOMEM);
    }
    free(line);
    free(whole);
}

static void reply_name(kv_reply *reply, const acl_user *user)
{
    kv_reply_bulk(reply, acl_user_name(user));
}

/* An array of what each says of a user. */
static void reply_users(kv_call *call, void (*each)(kv_reply *reply, const acl_user *user))
{
    acl_users users;

    if (!acl_list(users_of(call), &users)) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    kv_reply_array(call->reply, users.count);
    for (size_t i = 0; i < users.count; i++)
        each(call->reply, users.list[i]);
    acl_users_free(&users);
}

/* ACL LIST */
void session_acl_list(kv_call *call)
{
    reply_users(call, reply_line);
}

/* ACL USERS */
void session_acl_users(kv_call *call)
{
    reply_users(call, reply_name);
}

/* ACL WHOAMI */
void session_acl_whoami(kv_call *call)
{
    kv_reply_bulk(call->reply, acl_user_name(session_connection(call)->user));
}

/* ---- CAT, DRYRUN, LOG, GENPASS ---- */

static void reply_category(kv_reply *r, unsigned category)
{
    char name[KV_COMMAND_NAME_MAX];
    size_t count = 0;

    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        count += (kv_category_of(&kv_command_table[id]) & category) != 0;
    kv_reply_array(r, count);
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        if (kv_category_of(&kv_command_table[id]) & category)
            kv_reply_bulk(r, kv_command_name(&kv_command_table[id], name));
}

static void reply_usage(kv_call *call)
{
    kv_reply_errorf(call->reply,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
                    kv_echo_len(call->argv[1], KV_ECHO_MAX), call->argv[1].data);
}

/* ACL CAT [category] */
void session_acl_cat(kv_call *call)
{
    unsigned category = call->argc == 3 ? kv_category_find(call->argv[2]) : 0;

    if (call->argc > 3) {
        reply_usage(call);
    } else if (call->argc == 2) {
        kv_reply_array(call->reply, KV_CATEGORY_COUNT);
        for (int i = 0; i < KV_CATEGORY_COUNT; i++)
            kv_reply_bulk(call->reply, kv_str(kv_category_name(i)));
    } else if (category) {
        reply_category(call->reply, category);
    } else {
        kv_reply_errorf(call->reply, "ERR Unknown category '%.*s'", kv_echo_len(call->argv[2], KV_ECHO_MAX),
                        call->argv[2].data);
    }
}

static void reply_verdict(kv_call *call, acl_verdict verdict, const kv_command *row, kv_slice denied)
{
    char text[512], name[KV_COMMAND_NAME_MAX];

    if (verdict == ACL_ALLOWED) {
        kv_reply_ok(call->reply);
        return;
    }
    kv_command_name(row, name);
    if (verdict == ACL_DENIED_COMMAND)
        snprintf(text, sizeof text, "This user has no permissions to run the '%s' command", name);
    else
        snprintf(text, sizeof text, "This user has no permissions to access the '%.*s' %s",
                 kv_echo_len(denied, 400), denied.data, verdict == ACL_DENIED_KEY ? "key" : "channel");
    kv_reply_bulk(call->reply, kv_str(text));
}

static void dry_run(kv_call *call, const acl_user *u, int argc, const kv_slice argv[])
{
    const kv_command *row = kv_renames_find(call->renames, argv[0]);
    char name[KV_COMMAND_NAME_MAX];
    size_t subcommands = 0;
    int position;
    acl_verdict verdict;

    if (row)
        kv_command_subcommands(row, &subcommands);
    if (subcommands && argc > 1)
        row = kv_command_find_sub(row, argv[1]);
    if (!row) {
        kv_reply_errorf(call->reply, "ERR Command '%.*s' not found", kv_echo_len(argv[0], KV_ECHO_MAX),
                        argv[0].data);
    } else if (!kv_command_arity_ok(row, argc)) {
        kv_command_name(row, name);
        kv_reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", name);
    } else {
        verdict = acl_check(u, row, argc, argv, &position);
        reply_verdict(call, verdict, row, argv[position]);
    }
}

/* ACL DRYRUN username command [arg ...] */
void session_acl_dryrun(kv_call *call)
{
    acl_user *u = acl_find(users_of(call), call->argv[2]);

    if (u)
        dry_run(call, u, call->argc - 3, call->argv + 3);
    else
        kv_reply_errorf(call->reply, "ERR User '%.*s' not found", kv_echo_len(call->argv[2], KV_ECHO_MAX),
                        call->argv[2].data);
    acl_user_unref(u);
}

/* ACL LOG [count | RESET] */
void session_acl_log(kv_call *call)
{
    acl_log *entries = &session_server(call)->acl_log;
    int64_t count = LOG_COUNT;

    if (call->argc > 3) {
        reply_usage(call);
    } else if (call->argc == 3 && kv_word_is(call->argv[2], "reset")) {
        acl_log_reset(entries);
        kv_reply_ok(call->reply);
    } else if (call->argc == 3 && !kv_parse_int(call->argv[2], &count)) {
        kv_reply_error(call->reply, KV_ENOTINT);
    } else {
        acl_log_reply(entries, call->reply, count < 0 ? 0 : (size_t)count, call->now_ms);
    }
}

/* ACL GENPASS [bits] */
void session_acl_genpass(kv_call *call)
{
    unsigned char bytes[GENPASS_BITS_MAX / 8];
    char text[GENPASS_BITS_MAX / 4 + 1];
    int64_t bits = GENPASS_BITS;

    if (call->argc > 3) {
        reply_usage(call);
        return;
    }
    if (call->argc == 3 && !kv_parse_int(call->argv[2], &bits)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return;
    }
    if (bits <= 0 || bits > GENPASS_BITS_MAX) {
        kv_reply_errorf(
            call->reply,
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
            "number up to %d",
            GENPASS_BITS_MAX);
        return;
    }
    for (size_t got = 0; got < sizeof bytes;) {
        ssize_t n = getrandom(bytes + got, sizeof bytes - got, 0);

        if (n > 0)
            got += (size_t)n;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    kv_reply_bulk(call->reply, kv_slice_of(text, (size_t)(bits + 3) / 4));
}

/* ---- LOAD, SAVE, HELP ---- */

/* The path of aclfile, to be freed; NULL: an error was replied. */
static char *acl_path(kv_call *call)
{
    char *path = config_text(session_server(call)->config, CONFIG_ID_aclfile);

    if (path && *path)
        return path;
    free(path);
    kv_reply_errorf(
        call->reply,
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users "
        "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
        "configuration file set) in order to store users in the Redis configuration.");
    return NULL;
}

/* A reply has room for the first of many errors, the log has them all. */
static void refuse_file(kv_call *call, const char *errors)
{
    char *text = NULL;

    log_write(&session_server(call)->log, CONFIG_LOG_WARNING, "%s", errors);
    if (asprintf(&text, "ERR %s", errors) < 0)
        kv_reply_error(call->reply, KV_ENOMEM);
    else
        call->reply->ops->error(call->reply, kv_str(text));
    free(text);
}

/* ACL LOAD. As in Redis 7.0 all users but "default" are new ones then, and connections of the old ones are closed. */
void session_acl_load(kv_call *call)
{
    server *s = session_server(call);
    char *path = acl_path(call), *errors = NULL;
    bool ok;

    if (!path)
        return;
    pthread_mutex_lock(&s->acl_lock);
    ok = acl_file_load(s->acl, path, &errors);
    pthread_mutex_unlock(&s->acl_lock);
    if (ok)
        acl_session_spread(call, -1);
    else
        refuse_file(call, errors ? errors : "out of memory");
    free(errors);
    free(path);
}

/* ACL SAVE */
void session_acl_save(kv_call *call)
{
    server *s = session_server(call);
    char *path = acl_path(call);
    config_error error;
    int result;

    if (!path)
        return;
    pthread_mutex_lock(&s->acl_lock);
    result = acl_file_write(s->acl, path, &error);
    pthread_mutex_unlock(&s->acl_lock);
    free(path);
    if (result == 0) {
        kv_reply_ok(call->reply);
        return;
    }
    log_write(&s->log, CONFIG_LOG_WARNING, "%s", error.text);
    kv_reply_errorf(call->reply,
                    "ERR There was an error trying to save the ACLs. Please check the server logs for more "
                    "information");
}

/* ACL HELP */
void session_acl_help(kv_call *call)
{
    static const char *const lines[] = {
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    The commands of a category, or all categories.",
        "DELUSER <username> [<username> ...]",
        "    Delete users; their connections are closed.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Tell whether a user may run a command, without running it.",
        "GETUSER <username>",
        "    What a user may do.",
        "GENPASS [<bits>]",
        "    A random password, of 256 bits or so many.",
        "LIST",
        "    All users, as lines of a file.",
        "LOAD",
        "    Read the users from the ACL file.",
        "LOG [<count> | RESET]",
        "    What was denied, the newest first.",
        "SAVE",
        "    Write the users to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Make or change a user.",
        "USERS",
        "    The names of all users.",
        "WHOAMI",
        "    The name of the connection's user.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
