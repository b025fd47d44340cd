/* pipe_scan.c - SPDX-License-Identifier: MIT */
#include "pipe_scan.h"

/* The number on the line that begins behind a type byte; false: no number, or beyond most. */
static bool read_number(const char *at, const char *end, long long most, long long *ret)
{
    bool negative = at < end && *at == '-';
    long long n = 0;

    at += negative;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9' || n > most)
            return false;
        n = n * 10 + (*at - '0');
    }
    *ret = negative ? -n : n;
    return n <= most;
}

static bool is_blank_line(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at == end;
}

/* A whole line, without its LF. */
static void take_line(pipe_scan *scan, const char *at, const char *end, size_t *commands)
{
    bool crlf = end > at && end[-1] == '\r';
    long long n;

    if (scan->arguments > 0) {
        if (*at != '$' || !crlf || !read_number(at + 1, end - 1, PIPE_BULK_MAX, &n) || n < 0)
            scan->wrong = "\"$\", a length and CRLF were expected";
        else
            scan->bulk = (size_t)n + 2;
    } else if (*at == '*') {
        if (!crlf || !read_number(at + 1, end - 1, PIPE_ARGUMENTS_MAX, &n))
            scan->wrong = "\"*\", a number of arguments and CRLF were expected";
        else
            scan->arguments = n > 0 ? (long)n : 0;
    } else {
        *commands += !is_blank_line(at, end);
    }
}

size_t pipe_scan_feed(pipe_scan *scan, kvc_slice bytes, size_t *ret_commands)
{
    const char *at = bytes.data, *all = bytes.data + bytes.len;

    *ret_commands = 0;
    while (at < all && !scan->wrong) {
        const char *end;

        if (scan->bulk) {
            size_t take = scan->bulk < (size_t)(all - at) ? scan->bulk : (size_t)(all - at);

            at += take;
            scan->bulk -= take;
            if (scan->bulk == 0 && --scan->arguments == 0)
                ++*ret_commands;
            continue;
        }
        end = memchr(at, '\n', (size_t)(all - at));
        if ((size_t)((end ? end : all) - at) > PIPE_LINE_MAX)
            scan->wrong = "a line is longer than 64 KiB";
        if (!end || scan->wrong)
            break;
        take_line(scan, at, end, ret_commands);
        if (!scan->wrong)
            at = end + 1;
    }
    return (size_t)(at - bytes.data);
}

bool pipe_scan_is_open(const pipe_scan *scan)
{
    return scan->arguments > 0;
}
