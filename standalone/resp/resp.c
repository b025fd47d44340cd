/* resp.c - the request parser.
 *
 * The problem: requests arrive cut at any byte, may be announced as huge, and are on the hottest path
 * of the server. The idea: two parsers that agree.
 *
 *   resp_parse_small  knows one form only, "*d CRLF" then "$dddd CRLF bytes CRLF" d times, all of it in
 *                     the buffer. It keeps no state, so that a request is either taken or not looked at.
 *   resp_parse        is the state machine for everything else: cut requests, long ones, inline ones,
 *                     errors. What it learned of a cut request it remembers, so that a request which
 *                     arrives in n pieces costs O(bytes + n), and not O(bytes * n).
 *
 *      between requests --'*'--> multi-bulk header --> bulk header --> bulk body --> ... --> request
 *            |                                             ^______________|
 *            '--other--> inline line ----------------------------------------------> request
 *
 * Invariants
 *   1. position never passes a byte that was not there: each step is taken only when it is complete.
 *   2. argv[0 .. argc) lie inside base[0 .. position), but for those in owned. When the buffer has moved since the last
 *      call (base differs), they are moved by the same distance first.
 *   3. resp_parser_reset is the only place where a request ends; nothing of one request can leak into the next.
 *   4. argv grows with arguments received (6 bytes each at least), doubling: an announced "*1000000"
 *      allocates nothing.
 *   5. While an argument is received into memory of its own, none of it stands in the buffer: position is where the next one
 *      begins.
 *   6. What resp_parse_small accepts, resp_parse accepts with the same result (tests/fuzz/fuzz_resp.c).
 *
 * Like Redis, the two bytes behind a bulk are skipped without being looked at, and so is the one behind
 * the CR of a header line. Error texts are Redis's.
 *
 * Cost: resp_parse_small takes about 20 instructions an argument.
 *
 * SPDX-License-Identifier: MIT */
#include "resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- the fast form ---- */

char *resp_small_header(char *p, size_t *ret_len)
{
    unsigned first = (unsigned char)p[1] - '0';
    size_t value = first;
    int digits = 1;

    if (p[0] != '$' || first > 9)
        return NULL;
    while (p[1 + digits] != '\r') {
        unsigned digit = (unsigned char)p[1 + digits] - '0';

        if (digit > 9 || first == 0 || ++digits > 4)
            return NULL;
        value = value * 10 + digit;
    }
    *ret_len = value;
    return p + digits + 3;
}

int resp_parse_small(char *data, size_t len, kv_slice argv[RESP_SMALL_ARGS], size_t *ret_used)
{
    char *end;
    int argc;

    if (len < 4 || data[0] != '*' || data[2] != '\r' || data[1] < '1' || data[1] > '9')
        return 0;
    argc = data[1] - '0';
    end = resp_parse_small_arguments(data + 4, data + len, argv, argc);
    if (!end)
        return 0;
    *ret_used = (size_t)(end - data);
    return argc;
}

/* ---- the state machine ---- */

/* Ends a request: the next byte begins a new one. argv stays: it is the caller's until the next call. */
void resp_parser_reset(resp_parser *parser)
{
    parser->announced = 0;
    parser->in_bulk = false;
    parser->bulk_len = 0;
    parser->position = 0;
    parser->base = NULL;
    kv_bytes_unref(parser->growing);
    parser->growing = NULL;
    parser->grown = 0;
}

void resp_parser_repeat(resp_parser *parser, const char *data, size_t bytes)
{
    parser->announced = parser->argc;
    parser->position = bytes;
    parser->base = data;
}

void resp_parser_done(resp_parser *parser)
{
    resp_parser_reset(parser);
    resp_drop_own(parser);
    free(parser->owned.bytes);
    free(parser->owned_at);
    free(parser->argv);
    memset(parser, 0, sizeof *parser);
}

static resp_status fail(resp_parser *parser, const char *reason)
{
    snprintf(parser->error, sizeof parser->error, "Protocol error: %s", reason);
    resp_parser_reset(parser);
    resp_drop_own(parser);
    parser->argc = 0;
    parser->argument_bytes = 0;
    return RESP_ERROR;
}

bool resp_push_argument(resp_parser *parser, kv_slice argument)
{
    if ((size_t)parser->argc == parser->capacity) {
        size_t capacity = parser->capacity ? parser->capacity * 2 : 16;
        kv_slice *argv = realloc(parser->argv, capacity * sizeof *argv);

        if (!argv)
            return false;
        parser->argv = argv;
        parser->capacity = capacity;
    }
    parser->argv[parser->argc++] = argument;
    parser->argument_bytes += argument.len;
    return true;
}

/* Lets argv follow a buffer that was moved. The old addresses are numbers by now, not pointers. */
static void follow_buffer(resp_parser *parser, char *data)
{
    uintptr_t old = (uintptr_t)parser->base;
    size_t own = 0;

    if (parser->base && parser->base != data)
        for (int i = 0; i < parser->argc; i++) {
            if (own < parser->owned.count && parser->owned_at[own] == i)
                own++;
            else
                parser->argv[i].data = data + ((uintptr_t)parser->argv[i].data - old);
        }
    parser->base = data;
}

/* Reads the digits of a length as Redis does: an optional minus, no plus, no leading zero, no blank. */
static bool read_length(const char *p, const char *end, int64_t *ret_value)
{
    bool negative = p < end && *p == '-';
    int64_t value = 0;

    if (negative)
        p++;
    if (p == end || end - p > 18)
        return false;
    if (*p == '0') {
        *ret_value = 0;
        return end - p == 1 && !negative;
    }
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = value * 10 + (*p - '0');
    }
    *ret_value = negative ? -value : value;
    return true;
}

/* Finds the line of a length at position. RESP_REQUEST: it is data[position .. *ret_end) and its CRLF is
 * there. */
static resp_status find_line(resp_parser *parser, char *data, size_t len, const char *too_big,
                             size_t *ret_end)
{
    char *cr = memchr(data + parser->position, '\r', len - parser->position);

    if (!cr)
        return len - parser->position > RESP_LINE_MAX ? fail(parser, too_big) : RESP_MORE;
    *ret_end = (size_t)(cr - data);
    return *ret_end + 2 <= len ? RESP_REQUEST : RESP_MORE;
}

/* "*<count>": announced becomes the count; 0 when there is nothing to follow. */
static resp_status parse_multibulk_header(resp_parser *parser, const resp_limits *limits, char *data,
                                          size_t len)
{
    int64_t count;
    size_t end = 0;
    resp_status status = find_line(parser, data, len, "too big mbulk count string", &end);

    if (status != RESP_REQUEST)
        return status;
    if (!read_length(data + 1, data + end, &count) || count > RESP_ARGS_MAX)
        return fail(parser, "invalid multibulk length");
    if (count > RESP_AUTH_ARGS_MAX && !limits->authenticated)
        return fail(parser, "unauthenticated multibulk length");
    parser->position = end + 2;
    parser->announced = count > 0 ? (int)count : 0;
    return RESP_REQUEST;
}

/* "$<length>". */
static resp_status parse_bulk_header(resp_parser *parser, const resp_limits *limits, char *data, size_t len)
{
    int64_t bulk_len;
    size_t end = 0;
    resp_status status = find_line(parser, data, len, "too big bulk count string", &end);

    if (status != RESP_REQUEST)
        return status;
    if (data[parser->position] != '$') {
        char reason[] = "expected '$', got '?'";

        reason[sizeof reason - 3] = data[parser->position];
        return fail(parser, reason);
    }
    if (!read_length(data + parser->position + 1, data + end, &bulk_len) || bulk_len < 0 ||
        bulk_len > limits->bulk_max)
        return fail(parser, "invalid bulk length");
    if (bulk_len > RESP_AUTH_BULK_MAX && !limits->authenticated)
        return fail(parser, "unauthenticated bulk length");
    parser->position = end + 2;
    parser->bulk_len = (size_t)bulk_len;
    parser->in_bulk = true;
    return RESP_REQUEST;
}

static resp_status parse_multibulk(resp_parser *parser, const resp_limits *limits, char *data, size_t len)
{
    resp_status status = RESP_REQUEST;

    if (parser->announced == 0)
        status = parse_multibulk_header(parser, limits, data, len);
    while (status == RESP_REQUEST && parser->argc < parser->announced) {
        if (!parser->in_bulk) {
            status = parse_bulk_header(parser, limits, data, len);
            continue;
        }
        if (parser->growing || len - parser->position < parser->bulk_len + 2)
            return RESP_MORE;
        if (!resp_push_argument(parser, kv_slice_of(data + parser->position, parser->bulk_len)))
            return RESP_NOMEM;
        parser->position += parser->bulk_len + 2;
        parser->in_bulk = false;
    }
    return status;
}

/* A line of words. position remembers how far no newline was seen. */
static resp_status parse_inline(resp_parser *parser, char *data, size_t len)
{
    char *newline = memchr(data + parser->position, '\n', len - parser->position);
    size_t line_len;
    int argc;

    if (!newline) {
        parser->position = len;
        return len > RESP_LINE_MAX ? fail(parser, "too big inline request") : RESP_MORE;
    }
    parser->position = (size_t)(newline - data) + 1;
    line_len = (size_t)(newline - data);
    if (line_len && data[line_len - 1] == '\r')
        line_len--;
    /* Two bytes are the least that an argument takes of a line. */
    while (parser->capacity < line_len / 2 + 1) {
        parser->argc = (int)parser->capacity;
        if (!resp_push_argument(parser, kv_slice_of(NULL, 0)))
            return RESP_NOMEM;
    }
    argc = resp_split_line(data, line_len, parser->argv, (int)parser->capacity);
    if (argc < 0)
        return fail(parser, "unbalanced quotes in request");
    parser->argc = argc;
    return RESP_REQUEST;
}

resp_status resp_parse(resp_parser *parser, const resp_limits *limits, char *data, size_t len,
                       size_t *ret_used)
{
    size_t used = 0;
    resp_status status = RESP_MORE;

    while (used < len) {
        char *request = data + used;

        if (!parser->base) { /* the last request's were the caller's until now */
            parser->argc = 0;
            parser->argument_bytes = 0;
            resp_drop_own(parser);
        }
        follow_buffer(parser, request);
        if (*request == '*')
            status = parse_multibulk(parser, limits, request, len - used);
        else
            status = parse_inline(parser, request, len - used);
        if (status == RESP_REQUEST) {
            used += parser->position;
            resp_parser_reset(parser);
            if (parser->argc > 0)
                break;
            status = RESP_MORE; /* an empty request gets no answer */
        } else
            break;
    }
    *ret_used = used;
    return status;
}

bool resp_is_http(kv_slice name)
{
    return (name.len == 4 && strncasecmp(name.data, "post", 4) == 0) ||
           (name.len == 5 && strncasecmp(name.data, "host:", 5) == 0);
}

/* ---- lines of words ---- */

/* What stands between words, and what ends one: not quite the same in Redis, so not here. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static bool ends_word(char c)
{
    return is_space(c) && c != '\v' && c != '\f';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes the escape behind a backslash at *p, which is moved past it. */
static char decode_escape(const char **p, const char *end)
{
    static const char plain[] = "nrtba", decoded[] = "\n\r\t\b\a";
    char c = *(*p)++;
    const char *found = c ? strchr(plain, c) : NULL;

    if (c == 'x' && end - *p >= 2 && hex_digit((*p)[0]) >= 0 && hex_digit((*p)[1]) >= 0) {
        c = (char)(hex_digit((*p)[0]) * 16 + hex_digit((*p)[1]));
        *p += 2;
        return c;
    }
    return found ? decoded[found - plain] : c;
}

/* Decodes the quoted part that starts after its opening quote, writing to *out. Returns where to go on,
 * behind the closing quote, or NULL: there is none, or it is not the end of the argument. */
static const char *decode_quoted(const char *p, const char *end, char quote, char **out)
{
    while (p < end) {
        if (*p == quote)
            return p + 1 == end || is_space(p[1]) ? p + 1 : NULL;
        if (*p == '\\' && p + 1 < end && (quote == '"' || p[1] == '\'')) {
            p++;
            if (quote == '"')
                *(*out)++ = decode_escape(&p, end);
            else
                *(*out)++ = *p++;
        } else
            *(*out)++ = *p++;
    }
    return NULL;
}

int resp_split_line(char *line, size_t len, kv_slice argv[], int max)
{
    const char *p = line, *end = line + len;
    int argc = 0;

    for (;;) {
        char *out;
        const char *start;

        while (p < end && is_space(*p))
            p++;
        if (p == end)
            return argc;
        /* The decoded argument is never longer than what it is written as. */
        start = out = line + (p - line);
        while (p && p < end && !ends_word(*p)) {
            if (*p == '"' || *p == '\'')
                p = decode_quoted(p + 1, end, *p, &out);
            else
                *out++ = *p++;
        }
        if (!p)
            return -1;
        if (argc < max)
            argv[argc] = kv_slice_of(start, (size_t)(out - start));
        argc++;
    }
}
