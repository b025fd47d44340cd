/* rdb_fetch.c - see rdb_fetch.h.
 *
 * kvcli plays a replica that asks for a data set and leaves: REPLCONF capa eof (the server may send while it writes) and
 * rdb-only (no stream of commands afterwards), then SYNC. What comes is
 *
 *     empty lines, as long as the server prepares it
 *     "$length" and so many bytes, or "$EOF:" with a mark of 40 bytes, the data set, and the mark again
 *
 * It goes to a temporary file beside the one that is wanted, which takes its name when the data set was whole and its
 * checksum right: under the name that was asked for there is never half of one. SPDX-License-Identifier: MIT */
#include "rdb_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "progress.h"
#include "rdb_check.h"

enum { MARK_LEN = 40, BUFFER_BYTES = 64 * 1024, HEADER_MAX = 1024 };

typedef struct fetch {
    conversation *c;
    int out;
    char *temporary; /* NULL: stdout */
    char buffer[BUFFER_BYTES];
    size_t start, len; /* of what was received and not yet taken */
    bool known;        /* left is the length; else mark ends it */
    unsigned long long left, written;
    char mark[MARK_LEN];
    rdb_check check;
    progress progress;
} fetch;

/* ---- from the server ---- */

static exit_status failed(const kvc_error *error)
{
    if (interrupt_happened())
        return EXIT_INTERRUPTED;
    return complain(exit_status_of(error), "%s", error->message);
}

/* Behind what is there. */
static exit_status receive(fetch *f)
{
    kvc_error error;
    size_t n;

    if (f->start) {
        memmove(f->buffer, f->buffer + f->start, f->len);
        f->start = 0;
    }
    if (kvc_connection_read(f->c->connection, f->buffer + f->len, sizeof f->buffer - f->len, 0, &n, &error) !=
        KVC_OK)
        return failed(&error);
    f->len += n;
    return interrupt_happened() ? EXIT_INTERRUPTED : EXIT_FINE;
}

/* Takes the first line that is not empty; it is valid until the next receive. */
static exit_status read_line(fetch *f, kvc_slice *ret_line)
{
    exit_status status = EXIT_FINE;

    while (status == EXIT_FINE) {
        char *from = f->buffer + f->start, *end = memchr(from, '\n', f->len);

        if (end) {
            size_t len = (size_t)(end - from);

            f->start += len + 1;
            f->len -= len + 1;
            *ret_line = kvc_bytes(from, len && from[len - 1] == '\r' ? len - 1 : len);
            if (ret_line->len)
                return EXIT_FINE;
        } else if (f->len > HEADER_MAX) {
            return complain(EXIT_IO, "the server does not answer SYNC as servers do");
        } else {
            status = receive(f);
        }
    }
    return status;
}

static exit_status read_header(fetch *f)
{
    kvc_slice line = kvc_bytes("", 0);
    exit_status status = read_line(f, &line);
    char *end, digits[24];

    if (status != EXIT_FINE)
        return status;
    if (line.data[0] == '-')
        return complain(EXIT_SERVER, "%.*s", (int)(line.len - 1), line.data + 1);
    if (line.len == 5 + MARK_LEN && memcmp(line.data, "$EOF:", 5) == 0) {
        memcpy(f->mark, line.data + 5, MARK_LEN);
        return EXIT_FINE;
    }
    f->known = true;
    if (line.data[0] == '$' && line.len > 1 && line.len <= 20 && line.data[1] >= '0' && line.data[1] <= '9') {
        memcpy(digits, line.data + 1, line.len - 1);
        digits[line.len - 1] = '\0';
        errno = 0;
        f->left = strtoull(digits, &end, 10);
        if (!*end && !errno && f->left > 0)
            return EXIT_FINE;
    }
    return complain(EXIT_IO, "the server does not answer SYNC as servers do");
}

/* ---- to the file ---- */

static exit_status write_out(fetch *f, size_t len)
{
    const char *data = f->buffer + f->start;

    rdb_check_add(&f->check, data, len);
    f->start += len;
    f->len -= len;
    f->written += len;
    while (len > 0) {
        ssize_t n = write(f->out, data, len);

        if (n < 0 && errno != EINTR)
            return complain(EXIT_IO, "%s: %s", f->temporary ? f->temporary : "stdout", strerror(errno));
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    progress_set(&f->progress, (double)f->written);
    return EXIT_FINE;
}

static exit_status copy_known(fetch *f)
{
    exit_status status = EXIT_FINE;

    while (f->left > 0 && status == EXIT_FINE) {
        size_t n = f->len < f->left ? f->len : (size_t)f->left;

        f->left -= n;
        status = n ? write_out(f, n) : receive(f);
    }
    return status;
}

/* Everything up to the mark, which may stand anywhere in what comes; what could be its beginning waits for more. */
static exit_status copy_to_mark(fetch *f)
{
    exit_status status = EXIT_FINE;

    while (status == EXIT_FINE) {
        char *from = f->buffer + f->start, *mark = memmem(from, f->len, f->mark, MARK_LEN);

        if (mark)
            return write_out(f, (size_t)(mark - from));
        if (f->len >= MARK_LEN)
            status = write_out(f, f->len - (MARK_LEN - 1));
        if (status == EXIT_FINE)
            status = receive(f);
    }
    return status;
}

static exit_status open_out(fetch *f)
{
    const char *wanted = f->c->settings->rdb_file;
    text name = { 0 };

    f->out = STDOUT_FILENO;
    if (strcmp(wanted, "-") == 0)
        return f->c->settings->stdout_is_terminal ? complain(EXIT_USAGE, "--rdb -: not to a terminal")
                                                  : EXIT_FINE;
    text_printf(&name, "%s.%ld.tmp", wanted, (long)getpid());
    f->out = open(text_str(&name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (f->out < 0) {
        exit_status status = complain(EXIT_IO, "%s: %s", text_str(&name), strerror(errno));

        text_done(&name);
        return status;
    }
    f->temporary = name.data;
    return EXIT_FINE;
}

/* Gives the file its name, or removes it. */
static exit_status close_out(fetch *f, exit_status status)
{
    const char *wanted = f->c->settings->rdb_file;

    if (!f->temporary)
        return status;
    if (status == EXIT_FINE && fsync(f->out) != 0 && errno != EINVAL)
        status = complain(EXIT_IO, "%s: %s", f->temporary, strerror(errno));
    if (close(f->out) != 0 && status == EXIT_FINE)
        status = complain(EXIT_IO, "%s: %s", f->temporary, strerror(errno));
    if (status == EXIT_FINE && rename(f->temporary, wanted) != 0)
        status = complain(EXIT_IO, "%s: %s", wanted, strerror(errno));
    if (status != EXIT_FINE)
        unlink(f->temporary);
    free(f->temporary);
    return status;
}

/* ---- all of it ---- */

/* Older servers do not know these, which does not matter. */
static exit_status introduce(fetch *f)
{
    static const char *const asked[][4] = { { "REPLCONF", "capa", "eof", NULL },
                                            { "REPLCONF", "rdb-only", "1", NULL } };
    kvc_reply *reply = NULL;
    kvc_error error;

    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        if (conversation_ask_strings(f->c, asked[i], &reply, &error) != KVC_OK)
            return failed(&error);
        kvc_reply_free(reply);
    }
    if (kvc_connection_append_raw(f->c->connection, kvc_str("*1\r\n$4\r\nSYNC\r\n"), 0, &error) != KVC_OK ||
        kvc_connection_flush(f->c->connection, &error) != KVC_OK)
        return failed(&error);
    return EXIT_FINE;
}

static exit_status copy(fetch *f)
{
    exit_status status = introduce(f);
    const char *wrong;

    if (status == EXIT_FINE)
        status = read_header(f);
    if (status != EXIT_FINE)
        return status;
    progress_begin(&f->progress, f->c->settings, "bytes", f->known ? (double)f->left : 0);
    status = f->known ? copy_known(f) : copy_to_mark(f);
    progress_end(&f->progress);
    if (status != EXIT_FINE)
        return status;
    wrong = rdb_check_end(&f->check);
    return wrong ? complain(EXIT_IO, "the data set is damaged: %s", wrong) : EXIT_FINE;
}

exit_status rdb_fetch_run(conversation *c)
{
    fetch *f = must_have(calloc(1, sizeof *f));
    exit_status status;

    f->c = c;
    rdb_check_begin(&f->check);
    interrupt_watch(c->connection);
    status = open_out(f);
    if (status == EXIT_FINE)
        status = close_out(f, copy(f));
    interrupt_watch(NULL);
    if (status == EXIT_FINE && (c->settings->verbose || c->settings->stderr_is_terminal))
        fprintf(stderr, "%llu bytes, the checksum is right\n", f->written);
    conversation_close(c);
    free(f);
    return status;
}
