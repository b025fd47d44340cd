/* line_edit.c - libedit: history, Ctrl-R, completion, and hints that libedit itself does not know.
 *
 * A hint is printed just before the editor waits for the next byte: when the cursor is at the end of the line, the hint follows in
 * faint letters and the cursor goes back (ESC 7, ESC 8); as soon as a byte has come, what is right of the cursor is erased. So
 * libedit never learns of it. It is left out when it would not fit on the line.
 *
 * For that the editor's read function is ours, which must then assemble characters from bytes.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "exit_status.h"
#include "history_file.h"
#include "interrupt.h"
#include "line.h"

enum { HINT_ROOM_MIN = 8 };

struct line_editor {
    EditLine *el;
    History *history;
    line_calls calls;
    const char *prompt;
    bool interrupted, hint_shown;
};

static int screen_width(void)
{
    struct winsize size = { 0 };

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* Columns, taking a character beyond ASCII for one; what stands between \1 takes none. */
static int width_of(kvc_slice s)
{
    int width = 0;
    bool code = false;

    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == 1)
            code = !code;
        else if (!code && ((unsigned char)s.data[i] & 0xc0) != 0x80)
            width++;
    }
    return width;
}

/* ---- hints ---- */

static void show_hint(line_editor *editor)
{
    const LineInfo *info = el_line(editor->el);
    kvc_slice line = kvc_bytes(info->buffer, (size_t)(info->lastchar - info->buffer));
    int room = screen_width() - width_of(kvc_str(editor->prompt)) - width_of(line) - 1;
    text hint = { 0 };

    if (!line.len || info->cursor != info->lastchar)
        return;
    editor->calls.hint(editor->calls.arg, line, &hint);
    if (hint.len && room > HINT_ROOM_MIN) {
        /* Hints are ASCII: as many bytes as columns. A longer one would move the cursor to the next line. */
        printf("\x1b[K\x1b"
               "7\x1b[90m%.*s%s\x1b[0m\x1b"
               "8",
               (int)hint.len <= room ? room : room - 3, text_str(&hint), (int)hint.len <= room ? "" : "...");
        fflush(stdout);
        editor->hint_shown = true;
    }
    text_done(&hint);
}

static void hide_hint(line_editor *editor)
{
    if (editor->hint_shown) {
        fputs("\x1b[K", stdout);
        fflush(stdout);
    }
    editor->hint_shown = false;
}

/* ---- reading ---- */

/* The next character of the terminal: 1, or -1 at its end, on Ctrl-C, and on an error. */
static int read_character(EditLine *el, wchar_t *ret)
{
    line_editor *editor;
    mbstate_t state = { 0 };
    char byte;

    el_get(el, EL_CLIENTDATA, &editor);
    show_hint(editor);
    for (;;) {
        struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
        ssize_t n = interrupt_poll(&keys, 1) < 0 ? -1 : read(STDIN_FILENO, &byte, 1);
        size_t used;

        hide_hint(editor);
        if (n < 0 && errno == EINTR && !interrupt_happened())
            continue;
        if (n <= 0) {
            editor->interrupted = n < 0 && errno == EINTR;
            return n < 0 ? -1 : 0;
        }
        used = mbrtowc(ret, &byte, 1, &state);
        if (used == (size_t)-2)
            continue;
        if (used == (size_t)-1)
            *ret = (unsigned char)byte;
        return 1;
    }
}

static char *give_prompt(EditLine *el)
{
    line_editor *editor;

    el_get(el, EL_CLIENTDATA, &editor);
    return (char *)editor->prompt;
}

/* ---- completion ---- */

static void list_candidates(const completion *c)
{
    int widest = 0, columns;

    for (size_t i = 0; i < c->words.n; i++) {
        int width = width_of(c->words.items[i]);

        widest = width > widest ? width : widest;
    }
    columns = screen_width() / (widest + 2);
    if (columns < 1)
        columns = 1;
    for (size_t i = 0; i < c->words.n; i++)
        printf("%s%-*s", i % (size_t)columns ? "  " : "\n", widest, c->words.items[i].data);
    putchar('\n');
    fflush(stdout);
}

/* Puts the first candidate, or what all have in common, in the place of the word before the cursor. */
static bool insert_common(EditLine *el, const completion *c, size_t cursor)
{
    kvc_slice common = completion_common(c);
    text insert = { 0 };
    bool longer = common.len > cursor - c->from || c->words.n == 1;

    if (longer) {
        text_add_slice(&insert, common);
        if (c->words.n == 1)
            text_add_char(&insert, ' ');
        el_deletestr(el, (int)(cursor - c->from));
        el_insertstr(el, text_str(&insert));
    }
    text_done(&insert);
    return longer;
}

static unsigned char on_tab(EditLine *el, int key)
{
    const LineInfo *info = el_line(el);
    kvc_slice before = kvc_bytes(info->buffer, (size_t)(info->cursor - info->buffer));
    completion c = { 0 };
    line_editor *editor;
    unsigned char result = CC_ERROR;

    (void)key;
    el_get(el, EL_CLIENTDATA, &editor);
    editor->calls.complete(editor->calls.arg, before, &c);
    if (c.words.n && insert_common(el, &c, before.len)) {
        result = CC_REFRESH;
    } else if (c.words.n) {
        list_candidates(&c);
        result = CC_REDISPLAY;
    }
    completion_done(&c);
    return result;
}

/* ---- the editor ---- */

static void bind_keys(EditLine *el)
{
    /* The narrow el_set would copy the strings, and never free them. */
    el_wset(el, EL_ADDFN, L"kvcli-complete", L"Completes the word", on_tab);
    el_set(el, EL_BIND, "^I", "kvcli-complete", NULL);
    el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(el, EL_BIND, "\x1b[1;5D", "ed-prev-word", NULL);
    el_set(el, EL_BIND, "\x1b[1;5C", "em-next-word", NULL);
    el_set(el, EL_BIND, "\x1b[H", "ed-move-to-beg", NULL);
    el_set(el, EL_BIND, "\x1b[F", "ed-move-to-end", NULL);
    el_set(el, EL_BIND, "\x1b[3~", "ed-delete-next-char", NULL);
}

line_editor *line_editor_new(const line_calls *calls)
{
    line_editor *editor = must_have(calloc(1, sizeof *editor));
    HistEvent event;

    editor->calls = *calls;
    editor->prompt = "";
    editor->el = el_init("kvcli", stdin, stdout, stderr);
    editor->history = history_init();
    if (!editor->el || !editor->history) {
        line_editor_free(editor);
        return NULL;
    }
    history(editor->history, &event, H_SETSIZE, 2 * HISTORY_LINES_MAX);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->el, EL_CLIENTDATA, editor);
    el_set(editor->el, EL_SIGNAL, 0);
    el_set(editor->el, EL_EDITOR, "emacs");
    el_set(editor->el, EL_PROMPT_ESC, give_prompt, 1);
    el_set(editor->el, EL_HIST, history, editor->history);
    el_set(editor->el, EL_GETCFN, read_character);
    bind_keys(editor->el);
    return editor;
}

line_state line_editor_read(line_editor *editor, const char *prompt, kvc_slice *ret_line)
{
    const char *line;
    int len = 0;

    editor->prompt = prompt;
    editor->interrupted = false;
    line = el_gets(editor->el, &len);
    editor->prompt = "";
    if (!line || len <= 0)
        return editor->interrupted ? LINE_INTERRUPTED : LINE_END;
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    *ret_line = kvc_bytes(line, (size_t)len);
    return LINE_READ;
}

void line_editor_add(line_editor *editor, const char *line)
{
    HistEvent event;

    history(editor->history, &event, H_ENTER, line);
}

void line_editor_free(line_editor *editor)
{
    if (editor && editor->history)
        history_end(editor->history);
    if (editor && editor->el)
        el_end(editor->el);
    free(editor);
}
