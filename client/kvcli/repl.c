/* repl.c - the prompt: a line, a command, its reply, again.
 *
 * A connection that was lost while the user thought is seen before a command is sent, so nothing is sent into the void. It is
 * replaced, what the session had (user, database, name, protocol) is had again, and what cannot be had again (a transaction, watched
 * keys, subscriptions) is named. One that is lost while a command runs is replaced too, but the command is run again only when it
 * changes nothing or was never sent: otherwise nobody knows whether it was executed, and that is said.
 *
 * SPDX-License-Identifier: MIT */
#include "repl.h"

#include <stdio.h>

#include "commands.h"
#include "help.h"
#include "hints.h"
#include "history_file.h"
#include "interrupt.h"
#include "line.h"
#include "peek.h"
#include "print.h"
#include "server_commands.h"
#include "stopwatch.h"
#include "stream.h"

enum { KEYS_OFFERED = 50, KEY_SEARCH_MS = 20 };

typedef struct repl {
    conversation *c;
    line_editor *editor;
    history_file history;
    server_commands server; /* commands that the table does not have */
    bool over;
} repl;

/* ---- the connection ---- */

static void say_connected(conversation *c, const text *lost)
{
    fprintf(stderr, "kvcli: connected again to %s", text_str(&c->address));
    if (c->db)
        fprintf(stderr, ", database %d", c->db);
    if (lost->len)
        fprintf(stderr, "; lost: %s", text_str(lost));
    fputc('\n', stderr);
}

/* A new connection; false after a message. */
static bool replace_connection(conversation *c, bool quietly)
{
    text lost = { 0 };
    kvc_error error;
    bool fine;

    conversation_lost(c, &lost);
    conversation_close(c);
    fine = conversation_open(c, &error) == KVC_OK;
    if (!fine)
        complain(EXIT_CONNECT, "%s", error.message);
    else if (!quietly)
        say_connected(c, &lost);
    text_done(&lost);
    return fine;
}

/* The connection there is, or a new one. */
static bool ensure_connection(conversation *c, bool quietly)
{
    return !conversation_is_dead(c) || replace_connection(c, quietly);
}

/* ---- running ---- */

static void show_duration(const conversation *c, double started)
{
    double seconds = stopwatch_seconds() - started;

    /* Messages that were read until Ctrl-C took no time. */
    if (seconds >= 0.5 && c->settings->stdout_is_terminal && c->connection && !c->subscriptions)
        printf("(%.2fs)\n", seconds);
}

/* After a failure: what became of the command, and of the connection. True: run it again. */
static bool recover(conversation *c, size_t argc, const kvc_slice *argv, const kvc_error *error)
{
    bool again = !error->sent || command_is_readonly(argc, argv), in_transaction = c->in_transaction;

    if (interrupt_happened()) {
        fprintf(stderr, "kvcli: interrupted; the command may still run in the server\n");
        again = false;
    } else {
        complain(EXIT_IO, "%s%s", error->message,
                 again ? "" : " (the command may or may not have been executed)");
        again = again && !in_transaction && (error->status == KVC_ECLOSED || error->status == KVC_EIO) &&
                !c->subscriptions;
    }
    interrupt_clear();
    return replace_connection(c, false) && again;
}

static void run_times(repl *r, const words *argv, long times)
{
    conversation *c = r->c;

    for (long i = 0; i < times && !interrupt_happened(); i++) {
        double started = stopwatch_seconds();
        kvc_error error;

        if (i > 0 && c->settings->interval > 0 && !interrupt_sleep(c->settings->interval))
            break;
        if (!ensure_connection(c, false))
            break;
        command_run(c, argv->n, argv->items, &error);
        if (error.status != KVC_OK && recover(c, argv->n, argv->items, &error))
            command_run(c, argv->n, argv->items, &error);
        else if (error.status == KVC_OK)
            show_duration(c, started);
        if (error.status != KVC_OK)
            break;
    }
    if (interrupt_happened() && !c->connection)
        ensure_connection(c, true);
    interrupt_clear();
}

/* ---- words of the prompt's own ---- */

static void run_help(repl *r, const words *argv)
{
    text out = { 0 };

    if (help_on(argv->n - 1, argv->items + 1, r->c->settings->colors, &out))
        print_text(r->c->settings, text_slice(&out));
    else
        printf("There is no help on this; \"help\" lists the groups of commands.\n");
    text_done(&out);
}

static void run_set(repl *r, const words *argv)
{
    settings *s = r->c->settings;

    if (words_at_is(argv, 1, "hints"))
        s->hints = true;
    else if (words_at_is(argv, 1, "nohints"))
        s->hints = false;
    else if (words_at_is(argv, 1, "pager"))
        s->pager = true;
    else if (words_at_is(argv, 1, "nopager"))
        s->pager = false;
    else
        printf(":set takes hints, nohints, pager or nopager\n");
}

static void run_connect(repl *r, const words *argv)
{
    settings *s = r->c->settings;
    const char *why = NULL;

    if (argv->n != 3) {
        printf("connect needs a host and a port\n");
        return;
    }
    why = settings_apply(s, "port", argv->items[2].data);
    if (!why)
        why = settings_apply(s, "host", argv->items[1].data);
    if (why) {
        printf("connect: %s\n", why);
        return;
    }
    replace_connection(r->c, true);
}

/* True: the line was one of these. */
static bool run_own_word(repl *r, const words *argv)
{
    if (words_at_is(argv, 0, "quit") || words_at_is(argv, 0, "exit"))
        r->over = true;
    else if (words_at_is(argv, 0, "help") || words_at_is(argv, 0, "?"))
        run_help(r, argv);
    else if (words_at_is(argv, 0, "clear") && argv->n == 1)
        printf("\x1b[H\x1b[2J");
    else if (words_at_is(argv, 0, "connect"))
        run_connect(r, argv);
    else if (words_at_is(argv, 0, ":set"))
        run_set(r, argv);
    else if (words_at_is(argv, 0, ":peek") && argv->n == 2)
        (void)(ensure_connection(r->c, false) && peek_show(r->c, argv->items[1]));
    else
        return false;
    return true;
}

static void run_line(repl *r, kvc_slice line)
{
    exit_status status;
    words argv = { 0 };
    long times;

    if (commands_read_line(line, &argv, &times, &status) && !run_own_word(r, &argv))
        run_times(r, &argv, times);
    words_done(&argv);
}

/* ---- the line ---- */

static void make_prompt(const conversation *c, text *prompt)
{
    bool colors = c->settings->colors;

    text_clear(prompt);
    if (!c->connection) {
        text_add_str(prompt, "not connected> ");
        return;
    }
    text_printf(prompt, "%s%s%s", colors ? "\1\x1b[1m\1" : "", text_str(&c->address),
                colors ? "\1\x1b[0m\1" : "");
    if (c->db)
        text_printf(prompt, "[%d]", c->db);
    if (c->in_transaction)
        text_add_str(prompt, "(TX)");
    if (c->subscriptions > 0)
        text_add_str(prompt, "(subscribed)");
    text_add_str(prompt, "> ");
}

static void on_hint(void *arg, kvc_slice line, text *out)
{
    repl *r = arg;

    if (!r->c->settings->hints)
        return;
    hint_for(line, out);
    if (!out->len)
        server_commands_hint(&r->server, r->c, line, out);
}

/* Keys that begin with what is there: a few round trips of SCAN at most, and never longer than KEY_SEARCH_MS. */
static void complete_keys(repl *r, kvc_slice prefix, completion *c)
{
    double until = stopwatch_seconds() + KEY_SEARCH_MS / 1000.0;
    text pattern = { 0 }, cursor = { 0 };

    for (size_t i = 0; i < prefix.len; i++) {
        if (strchr("*?[]\\", prefix.data[i]))
            text_add_char(&pattern, '\\');
        text_add_char(&pattern, prefix.data[i]);
    }
    text_add_char(&pattern, '*');
    text_add_char(&cursor, '0');
    do {
        const char *const scan[] = { "SCAN", text_str(&cursor), "MATCH", text_str(&pattern), "COUNT", "100",
                                     NULL };
        kvc_reply *reply = NULL;
        kvc_error error;

        if (conversation_ask_strings(r->c, scan, &reply, &error) != KVC_OK || kvc_reply_count(reply) != 2) {
            kvc_reply_free(reply);
            break;
        }
        for (size_t i = 0; i < kvc_reply_count(kvc_reply_at(reply, 1)) && c->words.n < KEYS_OFFERED; i++) {
            kvc_slice key = kvc_reply_text(kvc_reply_at(kvc_reply_at(reply, 1), i));

            /* A key that would have to be quoted is not offered. */
            if (key.len && !memchr(key.data, 0, key.len) && strcspn(key.data, " \t\r\n\"'\\") == key.len)
                words_add(&c->words, key);
        }
        text_clear(&cursor);
        text_add_slice(&cursor, kvc_reply_text(kvc_reply_at(reply, 0)));
        kvc_reply_free(reply);
    } while (strcmp(text_str(&cursor), "0") != 0 && stopwatch_seconds() < until && c->words.n < KEYS_OFFERED);
    text_done(&pattern);
    text_done(&cursor);
}

static void on_complete(void *arg, kvc_slice line, completion *c)
{
    repl *r = arg;

    c->more = &r->server.names;
    complete(line, c);
    if (c->key && !conversation_is_dead(r->c) && !r->c->in_transaction && !r->c->subscriptions &&
        !memchr(line.data + c->from, '"', line.len - c->from)) {
        complete_keys(r, kvc_bytes(line.data + c->from, line.len - c->from), c);
        completion_sort(c);
    }
}

/* Enter at the prompt of a subscription: back to its messages. */
static void read_on(conversation *c)
{
    kvc_error error;

    stream_run(c, &error);
    if (error.status != KVC_OK)
        recover(c, 0, NULL, &error);
    else if (!c->connection)
        ensure_connection(c, true);
}

static void loop(repl *r)
{
    text prompt = { 0 };
    kvc_slice line;

    while (!r->over) {
        line_state state;

        make_prompt(r->c, &prompt);
        fflush(stdout);
        interrupt_clear();
        state = line_editor_read(r->editor, text_str(&prompt), &line);
        if (state == LINE_END)
            break;
        if (state == LINE_INTERRUPTED) {
            printf("^C\n");
            continue;
        }
        if (history_file_add(&r->history, line))
            line_editor_add(r->editor, r->history.lines.items[r->history.lines.n - 1].data);
        if (line.len)
            run_line(r, line);
        else if (r->c->connection && r->c->subscriptions > 0)
            read_on(r->c);
    }
    text_done(&prompt);
}

exit_status repl_run(conversation *c)
{
    repl r = { .c = c };
    line_calls calls = { on_complete, on_hint, &r };

    c->patient = true;
    interrupt_catch();
    r.editor = line_editor_new(&calls);
    if (!r.editor)
        return complain(EXIT_IO, "the terminal cannot be edited on");
    history_file_open(&r.history);
    for (size_t i = 0; i < r.history.lines.n; i++)
        line_editor_add(r.editor, r.history.lines.items[i].data);
    server_commands_load(&r.server, c);
    loop(&r);
    line_editor_free(r.editor);
    history_file_done(&r.history);
    server_commands_done(&r.server);
    return EXIT_FINE;
}
