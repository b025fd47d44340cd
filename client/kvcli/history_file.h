/* history_file.h - the lines that were typed, kept in a file of the user's alone.
 *
 *     history_file h;
 *     history_file_open(&h);                          // $KVCLI_HISTFILE, $REDISCLI_HISTFILE, else ~/.kvcli_history
 *     for (size_t i = 0; i < h.lines.n; i++) ...
 *     history_file_add(&h, line);
 *     history_file_done(&h);
 *
 * The file has mode 0600 and never holds a line with a password (password_is_in), nor one that begins with a blank. /dev/null: no
 * history is kept. What cannot be read or written is left alone: a history is a comfort.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_HISTORY_FILE_H
#define KVCLI_HISTORY_FILE_H

#include "text.h"
#include "words.h"

enum { HISTORY_LINES_MAX = 1000 };

typedef struct history_file {
    text path;
    words lines; /* as read from the file, the newest last */
} history_file;

void history_file_open(history_file *h);
/* False: not kept, for it holds a secret or is the same as the line before. */
bool history_file_add(history_file *h, kvc_slice line);
void history_file_done(history_file *h);

/* May this line be kept? */
bool history_file_may_keep(kvc_slice line);

#endif
