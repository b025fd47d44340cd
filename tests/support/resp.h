/* resp.h - a strict RESP2 and RESP3 client for the tests.
 *
 *     conn *c = conn_open_unix("/run/kv.sock");
 *     conn_send(c, KV_STR("PING\r\n"));
 *     reply *r = conn_read(c);              // NULL: conn_trouble(c) says why
 *     char *text = reply_text(r);           // "+PONG"
 *     free(text);
 *     reply_free(r);
 *     conn_close(c);
 *
 * Threads    A conn belongs to one thread at a time.
 * Ownership  What is returned is yours: conn_close, reply_free, free. All take NULL.
 * Errors     NULL or false, and conn_trouble(c) tells the reason. Out of memory aborts: this is a test.
 * Time       Every wait ends after conn_patience_ms at the latest.
 *
 * Strict means: a length with a leading zero, a bare LF, an unknown type, bytes after CRLF that begin no
 * reply: all of that is malformed, and the connection is of no further use.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_RESP_H
#define TESTS_RESP_H

#include <stdbool.h>
#include <stddef.h>

#include "kvstore/kvstore.h"

enum { conn_patience_ms = 60000 };

/* ---- replies ---------------------------------------------------------------------------- */

/* One reply, as it came. type is RESP's own letter: + - : $ * % ~ > , # ( = and _ for every null. */
typedef struct reply {
    char type;
    char null_of;      /* type '_': '$' or '*' for RESP2's two nulls, '_' for RESP3's */
    long long integer; /* ':' and '#' */
    char *text;        /* + - $ ( , = : the bytes, and a NUL that len does not count */
    size_t len;
    size_t count; /* * ~ > : elements; % : keys and values, alternating */
    struct reply *elements;
} reply;

typedef enum reply_state { REPLY_WHOLE, REPLY_PARTIAL, REPLY_MALFORMED } reply_state;

/* Reads one reply from the front of data. REPLY_WHOLE: *ret_reply is yours and *ret_used bytes belong to
 * it. REPLY_MALFORMED: *ret_why, a constant text. */
reply_state reply_parse(kv_slice data, reply **ret_reply, size_t *ret_used, const char **ret_why);
void reply_free(reply *r);

/* The compact form of expectations: +OK -ERR text :1 $bytes _ (null) *_ (RESP2's null array)
 * ,1.5 #t (bignum =txt:bytes, and "*2 $a :1", "%1 $key $value", "~0", ">1 $x" for aggregates. Bytes that
 * do not print, and the backslash, are \xHH; inside an aggregate, text with a space or quote, or none at
 * all, is quoted: *2 $"a b" $"". */
char *reply_text(const reply *r);

/* Sorts the elements by their compact form: for replies whose order means nothing. Maps keep their pairs. */
void reply_sort(reply *r);

/* ---- requests --------------------------------------------------------------------------- */

/* The request as an array of bulk strings; *ret_len bytes, yours to free. */
char *request_bytes(size_t argc, const kv_slice argv[], size_t *ret_len);

/* ---- connections ------------------------------------------------------------------------ */

typedef struct conn conn;

conn *conn_open_unix(const char *path);
conn *conn_open_tcp(const char *host, int port);
/* Closes without a word to the server. */
void conn_close(conn *c);
int conn_fd(const conn *c);
const char *conn_trouble(const conn *c);

/* Sends all of data; false when the server closed or took none of it in time. */
bool conn_send(conn *c, kv_slice data);
/* Sends data in two writes, cut before byte at. */
bool conn_send_split(conn *c, kv_slice data, size_t at);
bool conn_send_args(conn *c, size_t argc, const kv_slice argv[]);
/* The next reply, waiting for it. */
reply *conn_read(conn *c);
/* As conn_read; *ret_raw borrows the reply's bytes until the next call on c. */
reply *conn_read_raw(conn *c, kv_slice *ret_raw);
/* conn_send_args and conn_read. */
reply *conn_ask(conn *c, size_t argc, const kv_slice argv[]);
/* True when the server closed the connection, having sent nothing more; waits for it. */
bool conn_ended(conn *c);
/* Reads to the end without looking at what it reads; false when the end does not come in time. */
bool conn_drain(conn *c, long long *ret_bytes);
/* True when nothing arrives within wait_ms: for what must not be answered. */
bool conn_silent(conn *c, int wait_ms);

/* Compact form of the reply to a command of C strings, yours; NULL when the connection failed. */
#define ask(c, ...) conn_ask_text((c), (const char *const[]){ __VA_ARGS__, NULL })
char *conn_ask_text(conn *c, const char *const args[]);

#endif
