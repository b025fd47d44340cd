/* pipe.c - stdin to the server in large pieces, replies counted as they come.
 *
 * What is read is sent as it is: the scan (pipe_scan.c) only finds out how many commands it holds, so that each reply can be told
 * from which command it came, and the end is known without asking the server for it. Nothing waits for a command to be
 * complete before it is sent, so a value may be as large as it likes. CSV is turned into RESP first (csv.c).
 *
 * Never more than a piece is on its way to the library, which reads replies while it writes: neither side can block the other.
 *
 * SPDX-License-Identifier: MIT */
#include "pipe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv.h"
#include "interrupt.h"
#include "pipe_scan.h"
#include "progress.h"

/* AT_ONCE_MS: what has come already; 0 would mean as long as a command may take. */
enum { PIECE = 256 * 1024, POLL_MS = 1000, AT_ONCE_MS = 1 };

typedef struct piping {
    conversation *c;
    text input; /* read, and not yet used up */
    bool at_end;
    double read_bytes, sent_commands, replies, errors;
    pipe_scan scan;
    csv_record record;
    csv_template template;
    bool template_read;
    text encoded; /* commands made of CSV */
    size_t encoded_commands;
    size_t enough; /* of input before CSV is looked for in it */
    double records;
    progress progress;
    bool by_bytes; /* the size of the input is known */
    exit_status wrong;
} piping;

/* ---- in ---- */

/* One read; at_end, or *wrong, may be set. */
static void read_piece(piping *p)
{
    ssize_t n;

    if (p->input.size < p->input.len + PIECE + 1) {
        p->input.size = 2 * p->input.size + PIECE + 1;
        p->input.data = must_have(realloc(p->input.data, p->input.size));
    }
    n = read(STDIN_FILENO, p->input.data + p->input.len, PIECE);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        p->wrong = complain(EXIT_IO, "standard input: %s", strerror(errno));
    p->at_end = n == 0;
    if (n > 0) {
        p->input.len += (size_t)n;
        p->read_bytes += (double)n;
    }
}

static void use_up(piping *p, size_t used)
{
    memmove(p->input.data, p->input.data + used, p->input.len - used);
    p->input.len -= used;
}

/* ---- replies ---- */

static void take_reply(piping *p, const kvc_reply *reply)
{
    if (kvc_reply_type(reply) == KVC_TYPE_PUSH)
        return;
    p->replies++;
    if (kvc_reply_type(reply) != KVC_TYPE_ERROR)
        return;
    if (p->errors++ < (double)p->c->settings->errors_shown) {
        progress_wipe(&p->progress);
        fprintf(stderr, "%s %.0f: %s\n", p->c->settings->csv_template ? "record" : "command", p->replies,
                kvc_reply_text(reply).data);
    }
}

static void show_progress(piping *p)
{
    progress_set(&p->progress, p->by_bytes ? p->read_bytes - (double)p->input.len : p->replies);
}

/* Takes what has come, waiting up to timeout_ms for the first. */
static kvc_status take_replies(piping *p, uint32_t timeout_ms, kvc_error *error)
{
    kvc_status status = KVC_OK;

    while (status == KVC_OK && kvc_connection_pending(p->c->connection) > 0) {
        kvc_reply *reply = NULL;

        status = kvc_connection_next(p->c->connection, timeout_ms, &reply, error);
        if (status == KVC_OK)
            take_reply(p, reply);
        kvc_reply_free(reply);
        timeout_ms = AT_ONCE_MS;
    }
    show_progress(p);
    return status == KVC_ETIMEOUT ? KVC_OK : status;
}

static kvc_status send_bytes(piping *p, kvc_slice bytes, size_t commands, kvc_error *error)
{
    kvc_status status = kvc_connection_append_raw(p->c->connection, bytes, commands, error);

    if (status == KVC_OK)
        status = kvc_connection_flush(p->c->connection, error);
    p->sent_commands += (double)commands;
    return status == KVC_OK ? take_replies(p, AT_ONCE_MS, error) : status;
}

/* ---- RESP and lines ---- */

static kvc_status send_input(piping *p, kvc_error *error)
{
    size_t commands, used;
    kvc_status status = KVC_OK;

    if (p->at_end && p->input.len && !pipe_scan_is_open(&p->scan))
        text_add(&p->input, "\r\n", 2); /* a last line without an end */
    used = pipe_scan_feed(&p->scan, text_slice(&p->input), &commands);
    if (used)
        status = send_bytes(p, kvc_bytes(p->input.data, used), commands, error);
    use_up(p, used);
    if (status == KVC_OK && p->scan.wrong)
        p->wrong = complain(EXIT_USAGE, "byte %.0f, behind command %.0f: %s",
                            p->read_bytes - (double)p->input.len, p->sent_commands, p->scan.wrong);
    else if (status == KVC_OK && p->at_end && pipe_scan_is_open(&p->scan))
        p->wrong = complain(EXIT_USAGE, "the input ends in the middle of command %.0f", p->sent_commands + 1);
    return status;
}

/* ---- CSV ---- */

/* The first record, when it names the columns; then the template. */
static bool read_template(piping *p, const csv_record *header)
{
    const char *why = csv_template_read(&p->template, p->c->settings->csv_template, header);

    p->template_read = true;
    if (why)
        p->wrong = complain(EXIT_USAGE, "--import-csv: %s", why);
    return !why;
}

static void encode_record(piping *p)
{
    const settings *s = p->c->settings;
    size_t missing;

    p->records++;
    if (!p->template_read && s->csv_header) {
        read_template(p, &p->record);
        p->records--;
    } else if (!p->template_read && !read_template(p, NULL)) {
        return;
    } else if (csv_template_expand(&p->template, &p->record, &p->encoded, &missing)) {
        p->encoded_commands++;
    } else {
        p->wrong = complain(EXIT_USAGE, "record %.0f has no field %zu", p->records, missing);
    }
}

static kvc_status send_records(piping *p, kvc_error *error)
{
    kvc_status status = KVC_OK;
    const char *wrong = NULL;
    size_t used = 0, n;

    /* A long record that is not whole yet is read again only when there is twice as much of it. */
    if (!p->at_end && p->input.len < p->enough)
        return KVC_OK;
    while (!p->wrong && status == KVC_OK &&
           (n = csv_read(&p->record, kvc_bytes(p->input.data + used, p->input.len - used), p->at_end,
                         &wrong)) > 0) {
        used += n;
        encode_record(p);
        if (p->encoded.len >= PIECE || p->wrong) {
            status = send_bytes(p, text_slice(&p->encoded), p->encoded_commands, error);
            text_clear(&p->encoded);
            p->encoded_commands = 0;
        }
    }
    use_up(p, used);
    p->enough = p->input.len > PIECE ? 2 * p->input.len : 0;
    if (status == KVC_OK && p->encoded.len)
        status = send_bytes(p, text_slice(&p->encoded), p->encoded_commands, error);
    text_clear(&p->encoded);
    p->encoded_commands = 0;
    if (status == KVC_OK && wrong && !p->wrong)
        p->wrong = complain(EXIT_USAGE, "record %.0f: %s", p->records + 1, wrong);
    return status;
}

/* ---- the whole ---- */

/* Waits for input; replies that come meanwhile are taken. */
static kvc_status wait_for_input(piping *p, kvc_error *error)
{
    struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                             { .fd = kvc_connection_fd(p->c->connection), .events = POLLIN } };
    nfds_t n = kvc_connection_pending(p->c->connection) > 0 ? 2 : 1;
    kvc_status status = KVC_OK;

    while (status == KVC_OK && !interrupt_happened() && poll(fds, n, POLL_MS) >= 0 && !fds[0].revents) {
        if (n == 2 && fds[1].revents)
            status = take_replies(p, AT_ONCE_MS, error);
        n = kvc_connection_pending(p->c->connection) > 0 ? 2 : 1;
        show_progress(p);
    }
    return status;
}

static kvc_status transfer(piping *p, kvc_error *error)
{
    kvc_status status = KVC_OK;

    while (status == KVC_OK && !p->at_end && !p->wrong && !interrupt_happened()) {
        status = wait_for_input(p, error);
        if (status != KVC_OK || interrupt_happened())
            break;
        read_piece(p);
        if (!p->wrong)
            status = p->c->settings->csv_template ? send_records(p, error) : send_input(p, error);
    }
    return status;
}

static kvc_status finish(piping *p, kvc_error *error)
{
    double timeout = p->c->settings->pipe_timeout;
    uint32_t timeout_ms = timeout > 0 ? (uint32_t)(timeout * 1000) : UINT32_MAX;
    kvc_status status = KVC_OK;

    while (status == KVC_OK && kvc_connection_pending(p->c->connection) > 0 && !interrupt_happened()) {
        double before = p->replies;

        status = take_replies(p, timeout_ms, error);
        if (status == KVC_OK && p->replies == before) {
            *error = (kvc_error){ .status = KVC_ETIMEOUT };
            snprintf(error->message, sizeof error->message, "no replies for %.0f seconds", timeout);
            status = KVC_ETIMEOUT;
        }
    }
    return status;
}

static void begin(piping *p)
{
    struct stat about;
    off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);

    p->by_bytes = at >= 0 && fstat(STDIN_FILENO, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > at;
    progress_begin(&p->progress, p->c->settings, p->by_bytes ? "bytes" : "replies",
                   p->by_bytes ? (double)(about.st_size - at) : 0);
}

static void piping_done(piping *p)
{
    text_done(&p->input);
    text_done(&p->encoded);
    csv_record_done(&p->record);
    csv_template_done(&p->template);
}

exit_status pipe_run(conversation *c)
{
    piping p = { .c = c };
    exit_status result;
    kvc_status status;
    kvc_error error;

    begin(&p);
    interrupt_watch(c->connection);
    status = transfer(&p, &error);
    /* A reader of stdout sees from these lines, which are redis-cli's, how far it is. */
    if (status == KVC_OK && !interrupt_happened()) {
        progress_wipe(&p.progress);
        if (!p.wrong)
            printf("All data transferred. Waiting for the last reply...\n");
        status = finish(&p, &error);
    }
    interrupt_watch(NULL);
    progress_end(&p.progress);
    if (interrupt_happened())
        result = EXIT_INTERRUPTED;
    else if (status != KVC_OK)
        result = complain(exit_status_of(&error), "after %.0f commands: %s", p.sent_commands, error.message);
    else
        result = exit_status_first(p.wrong, p.errors > 0 ? EXIT_SERVER : EXIT_FINE);
    if (status == KVC_OK && !p.wrong && !interrupt_happened())
        printf("Last reply received from server.\n");
    printf("errors: %.0f, replies: %.0f\n", p.errors, p.replies);
    if (p.errors > (double)c->settings->errors_shown)
        fprintf(stderr, "%.0f more errors (--errors shows more)\n",
                p.errors - (double)c->settings->errors_shown);
    piping_done(&p);
    return result;
}
