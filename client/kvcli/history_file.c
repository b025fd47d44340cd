/* history_file.c - SPDX-License-Identifier: MIT */
#include "history_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "password.h"

static void find_file(text *path)
{
    const char *given = getenv("KVCLI_HISTFILE"), *home = getenv("HOME");

    if (!given)
        given = getenv("REDISCLI_HISTFILE");
    if (given)
        text_add_str(path, given);
    else if (home && *home)
        text_printf(path, "%s/.kvcli_history", home);
    if (strcmp(text_str(path), "/dev/null") == 0)
        text_clear(path);
}

/* For writing; never readable by others, whoever made it. */
static FILE *open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file;

    if (fd < 0)
        return NULL;
    if (fchmod(fd, 0600) != 0 || !(file = fdopen(fd, "w"))) {
        close(fd);
        return NULL;
    }
    return file;
}

/* A file that has grown long keeps its end. */
static void shorten(const history_file *h)
{
    text temporary = { 0 };
    FILE *file;

    text_printf(&temporary, "%s.%ld", text_str(&h->path), (long)getpid());
    file = open_file(text_str(&temporary), O_EXCL);
    if (file) {
        for (size_t i = 0; i < h->lines.n; i++)
            fprintf(file, "%s\n", h->lines.items[i].data);
        if (ferror(file) | fclose(file) || rename(text_str(&temporary), text_str(&h->path)) != 0)
            unlink(text_str(&temporary));
    }
    text_done(&temporary);
}

void history_file_open(history_file *h)
{
    FILE *file;
    char *line = NULL;
    size_t size = 0, read_lines = 0;
    ssize_t len;

    *h = (history_file){ 0 };
    find_file(&h->path);
    file = h->path.len ? fopen(text_str(&h->path), "re") : NULL;
    if (!file)
        return;
    while ((len = getline(&line, &size, file)) > 0) {
        len -= line[len - 1] == '\n';
        if (len > 0)
            words_add(&h->lines, kvc_bytes(line, (size_t)len));
        read_lines++;
        if (h->lines.n > 2 * HISTORY_LINES_MAX) {
            for (size_t i = 0; i < HISTORY_LINES_MAX; i++)
                free((char *)h->lines.items[i].data);
            h->lines.n -= HISTORY_LINES_MAX;
            memmove(h->lines.items, h->lines.items + HISTORY_LINES_MAX, h->lines.n * sizeof *h->lines.items);
        }
    }
    free(line);
    fclose(file);
    if (read_lines > 2 * HISTORY_LINES_MAX)
        shorten(h);
}

bool history_file_may_keep(kvc_slice line)
{
    words argv = { 0 };
    bool readable = words_split(line, &argv) == NULL, secret;
    size_t skip = argv.n > 1 && strspn(argv.items[0].data, "0123456789") == argv.items[0].len;

    secret = password_is_in(argv.n - skip, argv.items + skip);
    words_done(&argv);
    if (!readable) {
        /* "auth secr'et": not a command, but a secret all the same. */
        kvc_slice word = line;

        for (size_t i = 0; i < line.len; i++) {
            if (line.data[i] == ' ' || line.data[i] == '\t') {
                word.len = i;
                break;
            }
        }
        secret = slice_is_word(word, "auth") || slice_is_word(word, "acl") || slice_is_word(word, "config") ||
                 slice_is_word(word, "hello") || slice_is_word(word, "migrate") ||
                 slice_is_word(word, "sentinel");
    }
    return line.len && line.data[0] != ' ' && !secret;
}

bool history_file_add(history_file *h, kvc_slice line)
{
    kvc_slice last = h->lines.n ? h->lines.items[h->lines.n - 1] : kvc_bytes("", 0);
    FILE *file;

    if (!history_file_may_keep(line) || (last.len == line.len && memcmp(last.data, line.data, line.len) == 0))
        return false;
    words_add(&h->lines, line);
    file = h->path.len ? open_file(text_str(&h->path), O_APPEND) : NULL;
    if (file) {
        fprintf(file, "%.*s\n", (int)line.len, line.data);
        fclose(file);
    }
    return true;
}

void history_file_done(history_file *h)
{
    text_done(&h->path);
    words_done(&h->lines);
}
