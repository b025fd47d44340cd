/* port_request.c - see port_request.h. A request that is not whole yet is read again from its beginning when more has
 * come; its size is limited. SPDX-License-Identifier: MIT */
#include "port_request.h"

#include "decimal.h"
#include "redis_abi.h"

#define LINE_MAX_BYTES 24u /* of a count or a length, with its letter and line end */

/* The number of a line "*3\r\n" at *at, which is moved behind it. */
static request_state take_count(kv_slice in, size_t *at, char letter, int64_t *ret_count)
{
    const char *line = in.data + *at, *end;
    size_t left = in.len - *at;

    if (left == 0)
        return REQUEST_PARTIAL;
    if (*line != letter)
        return REQUEST_WRONG;
    end = memchr(line, '\n', left < LINE_MAX_BYTES ? left : LINE_MAX_BYTES);
    if (!end)
        return left < LINE_MAX_BYTES ? REQUEST_PARTIAL : REQUEST_WRONG;
    if (end - line < 2 || end[-1] != '\r' ||
        !decimal_parse(kv_slice_of(line + 1, (size_t)(end - line) - 2), ret_count))
        return REQUEST_WRONG;
    *at += (size_t)(end - line) + 1;
    return REQUEST_WHOLE;
}

static request_state take_word(kv_slice in, size_t *at, size_t max, kv_slice *ret_word, const char **ret_why)
{
    int64_t len;
    request_state state = take_count(in, at, '$', &len);

    if (state == REQUEST_WRONG || (state == REQUEST_WHOLE && len < 0)) {
        *ret_why = "ERR Protocol error: expected the length of a word";
        return REQUEST_WRONG;
    }
    if (state == REQUEST_PARTIAL)
        return state;
    if ((uint64_t)len > max) {
        *ret_why = "ERR the request has more bytes than kv.port-max-request allows";
        return REQUEST_WRONG;
    }
    if (in.len - *at < (size_t)len + 2)
        return REQUEST_PARTIAL;
    if (memcmp(in.data + *at + len, "\r\n", 2) != 0) {
        *ret_why = "ERR Protocol error: a word is longer than it says";
        return REQUEST_WRONG;
    }
    *ret_word = kv_slice_of(in.data + *at, (size_t)len);
    *at += (size_t)len + 2;
    return REQUEST_WHOLE;
}

/* Room for so many words. */
static bool request_reserve(port_request *request, size_t words)
{
    kv_slice *argv;

    if (words <= request->size)
        return true;
    argv = rm_alloc(words * sizeof *argv);
    if (!argv)
        return false;
    rm.Free(request->argv);
    request->argv = argv;
    request->size = words;
    return true;
}

static request_state take_words(kv_slice in, size_t *at, size_t max, int64_t count, port_request *request,
                                const char **ret_why)
{
    for (int64_t i = 0; i < count; i++) {
        request_state state = take_word(in, at, max, &request->argv[i], ret_why);

        if (state != REQUEST_WHOLE)
            return state;
    }
    request->argc = (int)count;
    return REQUEST_WHOLE;
}

request_state request_parse(kv_slice in, size_t max, port_request *request, size_t *ret_used,
                            const char **ret_why)
{
    int64_t count;
    size_t at = 0;
    request_state state = take_count(in, &at, '*', &count);

    request->argc = 0;
    if (state == REQUEST_WRONG || (state == REQUEST_WHOLE && count < 0)) {
        *ret_why = "ERR Protocol error: expected the number of words";
        return REQUEST_WRONG;
    }
    if (state == REQUEST_WHOLE && (uint64_t)count > max / 6) { /* the shortest word is "$0\r\n\r\n" */
        *ret_why = "ERR the request has more bytes than kv.port-max-request allows";
        return REQUEST_WRONG;
    }
    if (state == REQUEST_WHOLE && !request_reserve(request, (size_t)count)) {
        *ret_why = "ERR out of memory";
        return REQUEST_WRONG;
    }
    if (state == REQUEST_WHOLE)
        state = take_words(in, &at, max, count, request, ret_why);
    if (state == REQUEST_PARTIAL && in.len > max) {
        *ret_why = "ERR the request has more bytes than kv.port-max-request allows";
        return REQUEST_WRONG;
    }
    *ret_used = at;
    return state;
}

void request_done(port_request *request)
{
    rm.Free(request->argv);
    *request = (port_request){ 0 };
}
