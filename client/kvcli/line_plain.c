/* line_plain.c - lines as the terminal gives them, for builds without libedit. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "exit_status.h"
#include "interrupt.h"
#include "line.h"

struct line_editor {
    char *line;
    size_t size;
};

line_editor *line_editor_new(const line_calls *calls)
{
    (void)calls;
    return must_have(calloc(1, sizeof(line_editor)));
}

line_state line_editor_read(line_editor *editor, const char *prompt, kvc_slice *ret_line)
{
    ssize_t len;

    for (; *prompt; prompt++) {
        if (*prompt != 1)
            fputc(*prompt, stdout);
    }
    fflush(stdout);
    errno = 0;
    len = getline(&editor->line, &editor->size, stdin);
    if (len < 0) {
        bool interrupted = errno == EINTR && interrupt_happened();

        clearerr(stdin);
        return interrupted ? LINE_INTERRUPTED : LINE_END;
    }
    len -= len && editor->line[len - 1] == '\n';
    *ret_line = kvc_bytes(editor->line, (size_t)len);
    return LINE_READ;
}

void line_editor_add(line_editor *editor, const char *line)
{
    (void)editor;
    (void)line;
}

void line_editor_free(line_editor *editor)
{
    if (editor)
        free(editor->line);
    free(editor);
}
