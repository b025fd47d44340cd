/* aof_command.c - one command in RESP, as it stands in a log: strictly a multi-bulk. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "aof_reader.h"

#define ARGS_MAX   (1024 * 1024)
#define DIGITS_MAX 10

/* A line of a mark and a decimal, "$12 CRLF". Moves *at behind it. */
static aof_parse take_number(const char **at, const char *end, char mark, int64_t max, int64_t *ret_value)
{
    const char *p = *at;
    int64_t value = 0;

    if (p == end)
        return AOF_SHORT;
    if (*p++ != mark)
        return AOF_MALFORMED;
    for (int digits = 0;; digits++, p++) {
        if (p == end)
            return AOF_SHORT;
        if (*p == '\r' && digits > 0)
            break;
        if (*p < '0' || *p > '9' || digits == DIGITS_MAX)
            return AOF_MALFORMED;
        value = value * 10 + (*p - '0');
    }
    if (p + 1 == end)
        return AOF_SHORT;
    if (p[1] != '\n' || value > max)
        return AOF_MALFORMED;
    *at = p + 2;
    *ret_value = value;
    return AOF_WHOLE;
}

/* The same of one or two digits, when all of it is there, as it mostly is. False: it is not that. */
__attribute__((always_inline)) static inline bool take_short_number(const char **at, const char *end,
                                                                    char mark, int64_t *ret_value)
{
    const char *p = *at;
    unsigned first, second;

    if (end - p < 5 || p[0] != mark)
        return false;
    first = (unsigned char)p[1] - (unsigned)'0';
    second = (unsigned char)p[2] - (unsigned)'0';
    if (first <= 9 && p[2] == '\r' && p[3] == '\n') {
        *ret_value = first;
        *at = p + 4;
        return true;
    }
    if (first <= 9 && second <= 9 && p[3] == '\r' && p[4] == '\n') {
        *ret_value = 10 * first + second;
        *at = p + 5;
        return true;
    }
    return false;
}

static aof_parse take_bulk(const char **at, const char *end, kv_slice *ret_bulk)
{
    int64_t len;
    aof_parse found = take_short_number(at, end, '$', &len)
                          ? AOF_WHOLE
                          : take_number(at, end, '$', (int64_t)KV_VALUE_MAX, &len);

    if (found != AOF_WHOLE)
        return found;
    if (end - *at < len + 2)
        return AOF_SHORT;
    if ((*at)[len] != '\r' || (*at)[len + 1] != '\n')
        return AOF_MALFORMED;
    *ret_bulk = kv_slice_of(*at, (size_t)len);
    *at += len + 2;
    return AOF_WHOLE;
}

static bool reserve(aof_command *command, int argc)
{
    int capacity = command->capacity ? 2 * command->capacity : 16;
    kv_slice *argv;

    if (argc <= command->capacity)
        return true;
    argv = realloc(command->argv, (size_t)capacity * sizeof *argv);
    if (!argv)
        return false;
    command->argv = argv;
    command->capacity = capacity;
    return true;
}

aof_parse aof_command_parse(aof_command *command, kv_slice bytes, size_t *ret_used)
{
    const char *at = bytes.data, *end = bytes.data + bytes.len;
    int64_t argc;
    aof_parse found;

    while (at < end && *at == '#') {
        at = memchr(at, '\n', (size_t)(end - at));
        if (!at)
            return AOF_SHORT;
        at++;
    }
    found = take_short_number(&at, end, '*', &argc) ? AOF_WHOLE : take_number(&at, end, '*', ARGS_MAX, &argc);
    if (found == AOF_WHOLE && argc == 0)
        found = AOF_MALFORMED;
    for (command->argc = 0; found == AOF_WHOLE && command->argc < argc; command->argc++) {
        if (!reserve(command, command->argc + 1))
            return AOF_NOMEM;
        found = take_bulk(&at, end, &command->argv[command->argc]);
    }
    *ret_used = (size_t)(at - bytes.data);
    return found;
}

void aof_command_done(aof_command *command)
{
    free(command->argv);
    *command = (aof_command){ 0 };
}
