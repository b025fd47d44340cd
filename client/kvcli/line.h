/* line.h - reads lines from a terminal: edited with libedit where the build found it, plainly otherwise.
 *
 *     line_editor *editor = line_editor_new(&calls);
 *     while (line_editor_read(editor, "127.0.0.1:6379> ", &line) != LINE_END)
 *         ...
 *     line_editor_free(editor);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_LINE_H
#define KVCLI_LINE_H

#include "completion.h"
#include "text.h"

typedef struct line_editor line_editor;

/* Who knows what may stand on the line. */
typedef struct line_calls {
    void (*complete)(void *arg, kvc_slice line, completion *c);
    void (*hint)(void *arg, kvc_slice line, text *out);
    void *arg;
} line_calls;

typedef enum line_state { LINE_READ, LINE_END, LINE_INTERRUPTED } line_state;

/* NULL: stdin is no terminal that could be edited on. */
line_editor *line_editor_new(const line_calls *calls);
/* The prompt may hold colour codes between \1 and \1. *ret_line, without its newline, lives until the next call. */
line_state line_editor_read(line_editor *editor, const char *prompt, kvc_slice *ret_line);
/* Into the lines that the up arrow and Ctrl-R find. */
void line_editor_add(line_editor *editor, const char *line);
void line_editor_free(line_editor *editor);

#endif
