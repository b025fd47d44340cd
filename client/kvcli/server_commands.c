/* server_commands.c - SPDX-License-Identifier: MIT */
#include "server_commands.h"

#include <stdlib.h>

#include "syntax.h"

enum { NAME_LEN_MAX = 64, ARGUMENTS_SHOWN_MAX = 16 };

void server_commands_load(server_commands *known, conversation *c)
{
    static const char *const list[] = { "COMMAND", "LIST", NULL };
    kvc_reply *reply = NULL;
    kvc_error error;

    if (!c->connection || conversation_ask_strings(c, list, &reply, &error) != KVC_OK)
        return;
    for (size_t i = 0; i < kvc_reply_count(reply); i++) {
        kvc_slice name = kvc_reply_text(kvc_reply_at(reply, i));
        size_t name_words;

        if (name.len && name.len < NAME_LEN_MAX && !memchr(name.data, '|', name.len) &&
            !command_find(1, &name, &name_words))
            words_add(&known->names, name);
    }
    kvc_reply_free(reply);
    if (known->names.n)
        known->about = must_have(calloc(known->names.n, sizeof *known->about));
}

/* [[name, arity, [flags], first key, last key, step, ...]] */
static void ask(server_command *about, conversation *c, const char *name)
{
    const char *const info[] = { "COMMAND", "INFO", name, NULL };
    kvc_reply *reply = NULL;
    kvc_error error;

    about->asked = true;
    if (conversation_ask_strings(c, info, &reply, &error) == KVC_OK) {
        const kvc_reply *row = kvc_reply_at(reply, 0);

        about->arity = (long)kvc_reply_int(kvc_reply_at(row, 1));
        about->first_key = (long)kvc_reply_int(kvc_reply_at(row, 3));
        about->last_key = (long)kvc_reply_int(kvc_reply_at(row, 4));
        about->key_step = (long)kvc_reply_int(kvc_reply_at(row, 5));
    }
    kvc_reply_free(reply);
}

static bool is_key(const server_command *about, long position)
{
    return about->first_key > 0 && about->key_step > 0 && position >= about->first_key &&
           (about->last_key < 0 || position <= about->last_key) &&
           (position - about->first_key) % about->key_step == 0;
}

void server_command_print(const server_command *about, size_t typed, text *out)
{
    long most = labs(about->arity);
    const char *between = "";

    for (long i = (long)typed; i < most && i < ARGUMENTS_SHOWN_MAX; i++) {
        text_printf(out, "%s%s", between, is_key(about, i) ? "key" : "arg");
        between = " ";
    }
    if (about->arity < 0)
        text_printf(out, "%s[%s ...]", between, is_key(about, most) && about->key_step == 1 ? "key" : "arg");
}

void server_commands_hint(server_commands *known, conversation *c, kvc_slice line, text *out)
{
    words typed = { 0 };
    bool readable = words_split(line, &typed) == NULL;

    for (size_t i = 0; readable && typed.n && i < known->names.n; i++) {
        server_command *about = &known->about[i];

        if (!slice_is_word(typed.items[0], known->names.items[i].data))
            continue;
        if (!about->asked && c->connection && !c->in_transaction && !c->subscriptions &&
            !conversation_is_dead(c))
            ask(about, c, known->names.items[i].data);
        if (about->arity) {
            text rest = { 0 };

            server_command_print(about, typed.n, &rest);
            if (rest.len && line.data[line.len - 1] != ' ')
                text_add_char(out, ' ');
            text_add_slice(out, text_slice(&rest));
            text_done(&rest);
        }
        break;
    }
    words_done(&typed);
}

void server_commands_done(server_commands *known)
{
    words_done(&known->names);
    free(known->about);
}
