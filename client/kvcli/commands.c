/* commands.c - SPDX-License-Identifier: MIT */
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "confirm.h"
#include "interrupt.h"
#include "print.h"
#include "stream.h"

enum { KEYS_WITHOUT_QUESTION = 10000 };

/* ---- one command ---- */

/* Commands after which the connection speaks what kvcli does not understand. */
static const char *refusal(const kvc_slice *argv, size_t argc)
{
    if (slice_is_word(argv[0], "sync") || slice_is_word(argv[0], "psync"))
        return "SYNC and PSYNC would make this connection a replica's, which kvcli is not";
    if (slice_is_word(argv[0], "hello") && argc > 1 && slice_is_word(argv[1], "3") &&
        !kvc_build_info()->resp3)
        return "HELLO 3: this build's hiredis cannot read RESP3";
    return NULL;
}

/* Few keys: KEYS is no danger. */
static bool has_few_keys(conversation *c)
{
    const char *const dbsize[] = { "DBSIZE", NULL };
    kvc_reply *reply = NULL;
    kvc_error error;
    bool few = false;

    if (!c->in_transaction && conversation_ask_strings(c, dbsize, &reply, &error) == KVC_OK)
        few = kvc_reply_type(reply) == KVC_TYPE_INT && kvc_reply_int(reply) <= KEYS_WITHOUT_QUESTION;
    kvc_reply_free(reply);
    return few;
}

static bool may_run(conversation *c, size_t argc, const kvc_slice *argv)
{
    if (c->settings->yes || !c->settings->stdin_is_terminal || !c->settings->stdout_is_terminal)
        return true;
    if (slice_is_word(argv[0], "keys") && has_few_keys(c))
        return true;
    return confirm(c->settings, argc, argv);
}

/* A server that stops, or that was told to let go, closes the connection: that is the answer. */
static bool is_farewell(const kvc_slice *argv, const kvc_error *error)
{
    return (error->status == KVC_ECLOSED || error->status == KVC_EIO) &&
           (slice_is_word(argv[0], "shutdown") || slice_is_word(argv[0], "quit"));
}

static void print_push(void *arg, const kvc_reply *push)
{
    const conversation *c = arg;

    if (c->settings->show_pushes)
        print_reply(c->settings, 0, NULL, push);
}

/* Of SUBSCRIBE and its kin more than one comes. */
static exit_status print_replies(conversation *c, size_t argc, const kvc_slice *argv, kvc_reply *reply,
                                 kvc_error *error)
{
    exit_status status = EXIT_FINE;

    while (reply) {
        status = exit_status_first(status, print_reply(c->settings, argc, argv, reply));
        kvc_reply_free(reply);
        reply = NULL;
        if (kvc_connection_pending(c->connection) > 0 &&
            conversation_next(c, UINT32_MAX, &reply, error) != KVC_OK)
            break;
    }
    return status;
}

exit_status command_run(conversation *c, size_t argc, const kvc_slice *argv, kvc_error *ret_error)
{
    const char *refused = refusal(argv, argc);
    exit_status status = EXIT_FINE;
    kvc_reply *reply = NULL;

    *ret_error = (kvc_error){ .status = KVC_OK };
    c->on_push = print_push;
    c->push_arg = c;
    if (refused)
        return complain(EXIT_USAGE, "%s", refused);
    if (!may_run(c, argc, argv))
        return EXIT_FINE;
    if (conversation_ask(c, argc, argv, &reply, ret_error) == KVC_OK) {
        ret_error->status = KVC_OK;
        status = print_replies(c, argc, argv, reply, ret_error);
        if (ret_error->status == KVC_OK && (c->subscriptions > 0 || c->monitoring))
            status = exit_status_first(status, stream_run(c, ret_error));
    }
    if (is_farewell(argv, ret_error)) {
        conversation_close(c);
        *ret_error = (kvc_error){ .status = KVC_OK };
    }
    return ret_error->status == KVC_OK ? status : exit_status_of(ret_error);
}

/* ---- the command line ---- */

exit_status read_all_stdin(text *out)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    char buffer[16384];
    ssize_t n;

    while ((n = interrupt_poll(&in, 1) < 0 ? -1 : read(STDIN_FILENO, buffer, sizeof buffer)) != 0) {
        if (n < 0 && errno == EINTR && !interrupt_happened())
            continue;
        if (n < 0)
            return interrupt_happened() ? EXIT_INTERRUPTED
                                        : complain(EXIT_IO, "standard input: %s", strerror(errno));
        text_add(out, buffer, (size_t)n);
    }
    return EXIT_FINE;
}

static exit_status read_file(const char *path, text *out)
{
    FILE *file = fopen(path, "re");
    char buffer[16384];
    size_t n;
    int failed;

    if (!file)
        return complain(EXIT_USAGE, "--eval %s: %s", path, strerror(errno));
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0)
        text_add(out, buffer, n);
    failed = ferror(file);
    fclose(file);
    return failed ? complain(EXIT_USAGE, "--eval %s: cannot be read", path) : EXIT_FINE;
}

/* EVAL script number key ... argument ...; the given words are key ... , argument ... */
static exit_status make_eval(const settings *s, words *ret)
{
    const words *given = &s->command;
    text script = { 0 }, number = { 0 };
    exit_status status = read_file(s->eval_file, &script);
    size_t keys = 0;

    while (keys < given->n && strcmp(given->items[keys].data, ",") != 0)
        keys++;
    text_printf(&number, "%zu", keys);
    words_add_str(ret, "EVAL");
    words_add(ret, text_slice(&script));
    words_add(ret, text_slice(&number));
    for (size_t i = 0; i < given->n; i++) {
        if (i != keys)
            words_add(ret, given->items[i]);
    }
    text_done(&script);
    text_done(&number);
    return status;
}

/* -x and -X. */
static exit_status add_stdin(const settings *s, words *argv)
{
    text input = { 0 };
    exit_status status;
    bool placed = false;

    if (s->stdin_use == STDIN_COMMANDS)
        return EXIT_FINE;
    status = read_all_stdin(&input);
    if (s->stdin_use == STDIN_LAST_ARGUMENT) {
        words_add(argv, text_slice(&input));
        placed = true;
    }
    for (size_t i = 0; !placed && i < argv->n; i++) {
        placed = strcmp(argv->items[i].data, s->stdin_tag) == 0;
        if (placed)
            words_set(argv, i, text_slice(&input));
    }
    text_done(&input);
    if (status == EXIT_FINE && !placed)
        status = complain(EXIT_USAGE, "-X %s: no argument of the command is this word", s->stdin_tag);
    return status;
}

static exit_status repeat(conversation *c, const words *argv)
{
    const settings *s = c->settings;
    exit_status status = EXIT_FINE;

    for (long i = 0; s->repeat < 0 || i < s->repeat; i++) {
        kvc_error error;

        if (i > 0 && s->interval > 0 && !interrupt_sleep(s->interval))
            return EXIT_INTERRUPTED;
        status = exit_status_first(status, command_run(c, argv->n, argv->items, &error));
        if (interrupt_happened())
            return EXIT_INTERRUPTED;
        if (error.status != KVC_OK)
            return complain(exit_status_of(&error), "%s", error.message);
        if (!c->connection && (s->repeat < 0 || i + 1 < s->repeat))
            return exit_status_first(status, complain(EXIT_IO, "the connection has ended"));
        if (fflush(stdout) != 0)
            break;
    }
    return status;
}

exit_status commands_run_given(conversation *c)
{
    words argv = { 0 };
    exit_status status = EXIT_FINE;

    if (c->settings->eval_file) {
        status = make_eval(c->settings, &argv);
    } else {
        for (size_t i = 0; i < c->settings->command.n; i++)
            words_add(&argv, c->settings->command.items[i]);
    }
    if (status == EXIT_FINE)
        status = add_stdin(c->settings, &argv);
    if (status == EXIT_FINE)
        status = repeat(c, &argv);
    words_done(&argv);
    return status;
}

/* ---- lines ---- */

bool commands_read_line(kvc_slice line, words *ret_words, long *ret_times, exit_status *ret_status)
{
    const char *wrong = words_split(line, ret_words);
    char *end;

    *ret_times = 1;
    *ret_status = EXIT_FINE;
    if (wrong) {
        *ret_status = complain(EXIT_USAGE, "%s", wrong);
        return false;
    }
    if (ret_words->n > 1) {
        errno = 0;
        *ret_times = strtol(ret_words->items[0].data, &end, 10);
        if (!errno && end != ret_words->items[0].data && !*end && *ret_times > 0)
            words_remove_first(ret_words);
        else
            *ret_times = 1;
    }
    return ret_words->n > 0;
}

static exit_status run_line(conversation *c, kvc_slice line, kvc_error *error)
{
    exit_status status;
    words argv = { 0 };
    long times;

    *error = (kvc_error){ .status = KVC_OK };
    if (commands_read_line(line, &argv, &times, &status)) {
        for (long i = 0; i < times && error->status == KVC_OK && c->connection && !interrupt_happened(); i++)
            status = exit_status_first(status, command_run(c, argv.n, argv.items, error));
    }
    words_done(&argv);
    return status;
}

exit_status commands_run_stdin(conversation *c)
{
    exit_status status = EXIT_FINE;
    kvc_error error = { .status = KVC_OK };
    char *line = NULL;
    size_t size = 0, number = 0;
    ssize_t len;

    while (c->connection && !interrupt_happened() && (len = getline(&line, &size, stdin)) >= 0) {
        number++;
        status = exit_status_first(status, run_line(c, kvc_bytes(line, (size_t)len), &error));
        if (error.status != KVC_OK) {
            status = complain(exit_status_of(&error), "line %zu: %s", number, error.message);
            break;
        }
    }
    free(line);
    return interrupt_happened() ? EXIT_INTERRUPTED : status;
}
