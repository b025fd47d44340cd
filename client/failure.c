/* failure.c - statuses and errors. The essay is in kvclient.h.
 *
 * SPDX-License-Identifier: MIT */
#include "failure.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

const char *kvc_status_name(kvc_status status)
{
    switch (status) {
#define KVC_STATUS_NAME(name, number, text) \
    case name:                              \
        return #name;
        KVC_STATUSES(KVC_STATUS_NAME)
#undef KVC_STATUS_NAME
    }
    return "KVC_?";
}

const char *kvc_status_text(kvc_status status)
{
    switch (status) {
#define KVC_STATUS_TEXT(name, number, text) \
    case name:                              \
        return text;
        KVC_STATUSES(KVC_STATUS_TEXT)
#undef KVC_STATUS_TEXT
    }
    return "unknown status";
}

bool kvc_is_lasting(kvc_status status)
{
    switch (status) {
    case KVC_EAUTH:
    case KVC_ETLS:
    case KVC_EREPLY:
    case KVC_ENOTSUP:
    case KVC_EARG:
        return true;
    default:
        return false;
    }
}

void kvc_error_clear(kvc_error *error)
{
    if (error)
        *error = (kvc_error){ .status = KVC_OK };
}

/* A message is one line: what a server or a user wrote must not forge a second one in a log. */
static void make_one_line(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = ' ';
}

/* needed is what snprintf wanted to write. */
static void mark_cut(char *text, size_t size, int needed)
{
    if (needed >= (int)size)
        memcpy(text + size - 4, "...", 4);
}

__attribute__((format(printf, 2, 0))) static void write_message(kvc_error *error, const char *format,
                                                                va_list args)
{
    int needed = vsnprintf(error->message, sizeof error->message, format, args);

    mark_cut(error->message, sizeof error->message, needed);
    make_one_line(error->message, strlen(error->message));
}

/* Bytes that may hold anything. */
static void copy_line(char *line, size_t size, kvc_slice bytes)
{
    size_t len = bytes.len < size ? bytes.len : size - 1;

    memcpy(line, bytes.data, len);
    line[len] = '\0';
    mark_cut(line, size, bytes.len < INT_MAX ? (int)bytes.len : INT_MAX);
    make_one_line(line, len);
}

kvc_status kvc_fail(kvc_error *error, kvc_status status, const char *format, ...)
{
    va_list args;

    if (!error)
        return status;
    kvc_error_clear(error);
    error->status = status;
    va_start(args, format);
    write_message(error, format, args);
    va_end(args);
    return status;
}

kvc_status kvc_fail_errno(kvc_error *error, kvc_status status, int sys_errno, const char *format, ...)
{
    va_list args;
    char reason[96];
    size_t used;

    if (!error)
        return status;
    kvc_error_clear(error);
    error->status = status;
    error->sys_errno = sys_errno;
    va_start(args, format);
    write_message(error, format, args);
    va_end(args);
    used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s",
             strerror_r(sys_errno, reason, sizeof reason));
    return status;
}

kvc_status kvc_fail_io(kvc_error *error, int sys_errno, const char *doing)
{
    bool closed = sys_errno == ECONNRESET || sys_errno == EPIPE;

    return kvc_fail_errno(error, closed ? KVC_ECLOSED : KVC_EIO, sys_errno, "%s", doing);
}

kvc_status kvc_fail_reply(kvc_error *error, kvc_status status, kvc_slice text)
{
    size_t word = 0;

    kvc_fail(error, status, "an error reply without text");
    if (!error || text.len == 0)
        return status;
    copy_line(error->message, sizeof error->message, text);
    while (word < text.len && text.data[word] != ' ')
        word++;
    if (word < sizeof error->code)
        copy_line(error->code, sizeof error->code, kvc_bytes(text.data, word));
    return status;
}

kvc_status kvc_fail_nomem(kvc_error *error)
{
    return kvc_fail(error, KVC_ENOMEM, "out of memory");
}
