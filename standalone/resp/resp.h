/* resp.h - requests out of a byte stream: RESP multi-bulk and inline commands, parsed in place.
 *
 *     size_t used;
 *     switch (resp_parse(&parser, &limits, data, len, &used)) {
 *     case RESP_REQUEST: run(parser.argc, parser.argv);  // slices of data[0 .. used)
 *     case RESP_MORE:    keep data[used ..], call again with more behind it
 *     case RESP_ERROR:   reply parser.error, close
 *     }
 *
 * Threads    A parser belongs to one thread.
 * Ownership  Nothing is copied: argv points into data and is valid until the next call or until data
 *            changes. data is writable, because quoted inline arguments are decoded where they stand.
 * Memory     Grows with the arguments received, never with a number that was announced.
 *
 * A long argument need not pass through the buffer: once its header was read, the caller may receive the rest of it into
 * memory of its own, which who stores it takes over (resp_long.c):
 *
 *     if (resp_in_long(&parser, min)) {
 *         n = resp_long_absorb(&parser, from, data + position, len - position);   // what has arrived: out of the buffer with it
 *         room = resp_long_room(&parser, from, most, &size);                      // recv(2) writes there
 *         resp_long_received(&parser, n);                                         // the last byte: it is in argv
 *     }
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_RESP_H
#define KV_STANDALONE_RESP_H

#include "bytes.h"

#define RESP_SLACK         16          /* readable bytes that every buffer has behind its data */
#define RESP_SMALL_ARGS    9           /* the most arguments resp_parse_small gives */
#define RESP_ARGS_MAX      INT32_MAX   /* Redis's; client-query-buffer-limit comes first */
#define RESP_LINE_MAX      (64 * 1024) /* an inline request, or the line of a length */
#define RESP_AUTH_ARGS_MAX 10
#define RESP_AUTH_BULK_MAX 16384

typedef enum resp_status {
    RESP_REQUEST, /* argc > 0 */
    RESP_MORE,
    RESP_ERROR,
    RESP_NOMEM,
} resp_status;

typedef struct resp_limits {
    int64_t bulk_max;   /* bytes of one argument */
    bool authenticated; /* otherwise 10 arguments of 16 kB */
} resp_limits;

/* What is known of a request that has not arrived as a whole. All zero is the initial state. */
typedef struct resp_parser {
    kv_slice *argv;  /* the arguments found so far, in the buffer at base */
    size_t capacity; /* of argv */
    int argc;
    int announced; /* arguments of the multi-bulk request; 0: between requests, or inline */
    bool in_bulk;  /* the header of the next argument was read; its length is bulk_len */
    size_t bulk_len;
    size_t argument_bytes; /* of argv */
    size_t position;       /* how much of the request is understood, in bytes */
    const char *base;      /* where the request stood at the last call */
    kv_bytes *growing;     /* the argument under way, in memory of its own; NULL: it is in the buffer */
    size_t grown;          /* bytes of it and of the CRLF behind it */
    kv_owned owned;        /* the arguments in memory of their own: references, in the order of */
    int *owned_at;         /* where in argv they stand */
    size_t owned_capacity;
    char error[64]; /* after RESP_ERROR: "Protocol error: ..." */
} resp_parser;

/* Frees what the parser has allocated and makes it initial. */
void resp_parser_done(resp_parser *parser);
/* Forgets a half parsed request: the next call begins a new one. */
void resp_parser_reset(resp_parser *parser);
/* Behind RESP_REQUEST: the next call, at data, gives the same request once more. bytes: that it takes of the buffer. */
void resp_parser_repeat(resp_parser *parser, const char *data, size_t bytes);

/* Parses one request from data. Bytes 0 .. *ret_used are done with: they are the request, or, with
 * RESP_MORE, empty requests before the unfinished one, which starts at data + *ret_used. The next call
 * must begin there, at whatever address; len may only have grown. Redis's texts and rules. */
resp_status resp_parse(resp_parser *parser, const resp_limits *limits, char *data, size_t len,
                       size_t *ret_used);

/* ---- long arguments ---- */

/* Whether an argument of min bytes or more is under way. What stands behind position is the beginning of it. */
static inline bool resp_in_long(const resp_parser *parser, size_t min)
{
    return parser->base && parser->in_bulk && parser->bulk_len >= min;
}
/* Whether the parser has something that is not in the buffer. */
static inline bool resp_has_own(const resp_parser *parser)
{
    return parser->growing || parser->owned.count;
}
/* In resp_in_long: where its next bytes go, at most `most` of them at once; *ret_room of them, at least 1. Grows as they arrive. NULL:
 * memory is out, nothing has changed. */
char *resp_long_room(resp_parser *parser, account *from, size_t most, size_t *ret_room);
/* So many have been written there. False: memory is out, and the request is lost. */
bool resp_long_received(resp_parser *parser, size_t n);
/* The same with bytes at data; returns how many of them were its own, or -1: memory is out, and the request is lost. */
ptrdiff_t resp_long_absorb(resp_parser *parser, account *from, const char *data, size_t len);
/* What is in memory of its own takes; and what has arrived of it. */
size_t resp_own_bytes(const resp_parser *parser);
size_t resp_own_arrived(const resp_parser *parser);

/* For resp_long.c. */
bool resp_push_argument(resp_parser *parser, kv_slice argument);
void resp_drop_own(resp_parser *parser);

/* The fast way for what most requests are: up to 9 arguments of up to 9999 bytes, complete. Returns argc and
 * sets *ret_used, or 0: let resp_parse look at it. Reads up to RESP_SLACK bytes behind len. Needs no
 * limits, since what it accepts is below all of them but for the arguments before AUTH (10, 16 kB). */
int resp_parse_small(char *data, size_t len, kv_slice argv[RESP_SMALL_ARGS], size_t *ret_used);
/* Reads "$d CRLF" to "$dddd CRLF" at p: the byte after it, or NULL. */
char *resp_small_header(char *p, size_t *ret_len);

/* The part of resp_parse_small that reads count bulks at p. Returns the byte after them, or NULL. A header may be
 * read from the slack, but then the end is passed and nothing is taken. Here to be inlined. */
static inline char *resp_parse_small_arguments(char *p, char *end, kv_slice argv[], int count)
{
    for (int i = 0; i < count; i++) {
        unsigned tens = (unsigned char)p[1] - '0', ones = (unsigned char)p[2] - '0';
        size_t len = tens * 10 + ones;
        char header[4], two_digits[4] = { '$', 0, 0, '\r' };

        memcpy(header, p, 4);
        header[1] = header[2] = 0;
        if (__builtin_expect(memcmp(header, two_digits, 4) == 0 && ones <= 9 && tens - 1 <= 8, 1))
            p += 5; /* most keys */
        else
            p = resp_small_header(p, &len);
        if (!p || end - p < (ptrdiff_t)len + 2)
            return NULL;
        argv[i].data = p;
        argv[i].len = len;
        p += len + 2;
    }
    return p;
}

/* Whether a first argument is that of an HTTP request: a browser that was tricked into speaking to us. */
bool resp_is_http(kv_slice name);

/* Splits a line as inline requests and configuration files are: by spaces, with "quotes" (in which \n \r \t
 * \b \a \xHH and \" are decoded) and 'quotes' (in which \' is). Decodes in place. Returns how many
 * arguments there are, of which the first max stand in argv, or -1: quotes do not match. */
int resp_split_line(char *line, size_t len, kv_slice argv[], int max);

#endif
