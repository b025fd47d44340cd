/* watch.c - SPDX-License-Identifier: MIT */
#include "watch.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "interrupt.h"
#include "print.h"

/* The line at the beginning of *rest, which moves behind it. */
static kvc_slice take_line(kvc_slice *rest)
{
    const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    kvc_slice line = kvc_bytes(rest->data, end ? (size_t)(end - rest->data) : rest->len);
    size_t taken = line.len + (end != NULL);

    *rest = kvc_bytes(rest->data ? rest->data + taken : NULL, rest->len - taken);
    return line;
}

static bool is_word_byte(char c)
{
    return c != ' ' && c != '=' && c != ',' && c != ':';
}

/* The word at the beginning of *rest, or the one byte between words. */
static kvc_slice take_word(kvc_slice *rest)
{
    size_t len = 0;
    kvc_slice word;

    while (len < rest->len && is_word_byte(rest->data[len]))
        len++;
    word = kvc_bytes(rest->data, len || !rest->len ? len : 1);
    *rest = kvc_bytes(rest->data ? rest->data + word.len : NULL, rest->len - word.len);
    return word;
}

static void mark_line(kvc_slice before, kvc_slice now, text *out)
{
    while (now.len) {
        kvc_slice old = take_word(&before), word = take_word(&now);
        bool same = old.len == word.len && memcmp(old.data, word.data, word.len) == 0;

        text_add_str(out, same ? "" : "\x1b[7m");
        text_add_slice(out, word);
        text_add_str(out, same ? "" : "\x1b[27m");
    }
}

void watch_mark(kvc_slice before, kvc_slice now, text *out)
{
    while (now.len) {
        bool ends = memchr(now.data, '\n', now.len) != NULL;
        kvc_slice old = take_line(&before), line = take_line(&now);

        mark_line(old, line, out);
        if (ends)
            text_add_char(out, '\n');
    }
}

/* As many lines as the screen has below the heading. */
static kvc_slice on_screen(kvc_slice t)
{
    struct winsize size = { 0 };
    size_t lines = 0,
           rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 3 ? size.ws_row - 3u : 1000;

    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] == '\n' && ++lines == rows)
            return kvc_bytes(t.data, i + 1);
    }
    return t;
}

static void add_heading(const settings *s, double pause, text *out)
{
    char time_text[32];
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    strftime(time_text, sizeof time_text, "%H:%M:%S", &local);
    text_printf(out, "Every %.1f s, at %s:", pause, time_text);
    for (size_t i = 0; i < s->command.n; i++) {
        text_add_char(out, ' ');
        text_add_slice(out, s->command.items[i]);
    }
    text_add_str(out, "\n\n");
}

static exit_status show(conversation *c, double pause, text *before, kvc_error *error)
{
    const settings *s = c->settings;
    kvc_reply *reply = NULL;
    exit_status status;
    format f = s->format;
    text now = { 0 }, out = { 0 };

    if (conversation_ask(c, s->command.n, s->command.items, &reply, error) != KVC_OK)
        return exit_status_of(error);
    error->status = KVC_OK;
    status = print_status_of(reply);
    f.verbatim = format_is_verbatim(s->command.n, s->command.items);
    f.colors = false;
    format_reply(&f, reply, &now);
    kvc_reply_free(reply);
    if (s->stdout_is_terminal) {
        text_add_str(&out, "\x1b[H\x1b[2J");
        add_heading(s, pause, &out);
        if (before->len)
            watch_mark(text_slice(before), on_screen(text_slice(&now)), &out);
        else
            text_add_slice(&out, on_screen(text_slice(&now)));
    } else {
        text_add_slice(&out, text_slice(&now));
    }
    fwrite(out.data, 1, out.len, stdout);
    text_clear(before);
    text_add_slice(before, text_slice(&now));
    text_done(&now);
    text_done(&out);
    return status;
}

exit_status watch_run(conversation *c)
{
    const settings *s = c->settings;
    double pause = s->interval > 0 ? s->interval : 2;
    exit_status status = EXIT_FINE;
    text before = { 0 };

    for (long n = 0; !s->count || n < s->count; n++) {
        kvc_error error = { .status = KVC_OK };

        if (n > 0 && !interrupt_sleep(pause))
            break;
        status = exit_status_first(status, show(c, pause, &before, &error));
        if (interrupt_happened())
            break;
        if (error.status != KVC_OK) {
            status = complain(exit_status_of(&error), "%s", error.message);
            break;
        }
        if (print_flush() != EXIT_FINE) {
            status = EXIT_IO;
            break;
        }
    }
    text_done(&before);
    return interrupt_happened() && !s->stdout_is_terminal ? EXIT_INTERRUPTED : status;
}
