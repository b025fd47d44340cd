/* resp.c - parsing by hand, without mercy: whatever a RESP client might forgive, a test must not.
 *
 * A reply is parsed from the start each time more bytes have come. That is quadratic in the number of
 * reads, not in the size, and a bulk that is not complete yet is recognised from its first line.
 *
 * SPDX-License-Identifier: MIT */
#include "resp.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { depth_max = 32, header_max = 1 << 20 };
static const long long bulk_max = 1LL << 30;

static void *grown(void *memory, size_t size)
{
    void *bigger = realloc(memory, size ? size : 1);

    if (!bigger)
        abort();
    return bigger;
}

/* ---- parsing ---------------------------------------------------------------------------- */

typedef struct cursor {
    const char *data;
    size_t len, at;
    const char *why;
} cursor;

static reply_state malformed(cursor *in, const char *why)
{
    in->why = why;
    return REPLY_MALFORMED;
}

/* The line at the cursor, without CRLF. */
static reply_state take_line(cursor *in, kv_slice *ret_line)
{
    const char *start = in->data + in->at;
    const char *end = memchr(start, '\n', in->len - in->at);

    if (!end)
        return in->len - in->at > header_max ? malformed(in, "a line without end") : REPLY_PARTIAL;
    if (end == start || end[-1] != '\r')
        return malformed(in, "LF without CR");
    *ret_line = kv_slice_of(start, (size_t)(end - 1 - start));
    if (memchr(ret_line->data, '\r', ret_line->len))
        return malformed(in, "CR within a line");
    in->at += ret_line->len + 2;
    return REPLY_WHOLE;
}

/* A decimal in its only spelling: no +, no -0, no leading zeros. */
static bool strict_integer(kv_slice text, long long *ret_value)
{
    char copy[24], again[24], *end;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    errno = 0;
    *ret_value = strtoll(copy, &end, 10);
    if (errno || *end)
        return false;
    snprintf(again, sizeof again, "%lld", *ret_value);
    return strcmp(copy, again) == 0;
}

static void keep_text(reply *r, kv_slice text)
{
    r->text = grown(NULL, text.len + 1);
    memcpy(r->text, text.data, text.len);
    r->text[text.len] = 0;
    r->len = text.len;
}

static reply_state parse_bulk(cursor *in, reply *r, long long len)
{
    size_t size;

    if (len == -1 && r->type == '$') {
        r->type = '_';
        r->null_of = '$';
        return REPLY_WHOLE;
    }
    if (len < 0 || len > bulk_max)
        return malformed(in, "a bulk length out of range");
    size = (size_t)len;
    if (in->len - in->at < size + 2)
        return REPLY_PARTIAL;
    if (memcmp(in->data + in->at + size, "\r\n", 2) != 0)
        return malformed(in, "a bulk without CRLF");
    if (r->type == '=' && (size < 4 || in->data[in->at + 3] != ':'))
        return malformed(in, "a verbatim string without its format");
    keep_text(r, kv_slice_of(in->data + in->at, size));
    in->at += size + 2;
    return REPLY_WHOLE;
}

static reply_state parse_at(cursor *in, reply *r, int depth);

static reply_state parse_elements(cursor *in, reply *r, long long count, int depth)
{
    reply_state state = REPLY_WHOLE;
    size_t i, n;

    if (count == -1 && r->type == '*') {
        r->type = '_';
        r->null_of = '*';
        return REPLY_WHOLE;
    }
    if (count < 0 || count > bulk_max)
        return malformed(in, "a count out of range");
    if (depth == 0)
        return malformed(in, "nested too deeply");
    n = (size_t)count * (r->type == '%' ? 2 : 1);
    if (n > in->len - in->at) /* an element takes more than one byte */
        return REPLY_PARTIAL;
    r->elements = grown(NULL, n * sizeof *r->elements);
    memset(r->elements, 0, n * sizeof *r->elements);
    r->count = n;
    for (i = 0; i < n && state == REPLY_WHOLE; i++)
        state = parse_at(in, &r->elements[i], depth - 1);
    return state;
}

static bool is_double(kv_slice text)
{
    char copy[64], *end;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (strcmp(copy, "inf") == 0 || strcmp(copy, "-inf") == 0 || strcmp(copy, "nan") == 0)
        return true;
    if (strspn(copy, "0123456789+-.eE") != text.len)
        return false;
    strtod(copy, &end);
    return *end == 0;
}

static bool is_big_number(kv_slice text)
{
    size_t i = text.len > 1 && text.data[0] == '-' ? 1 : 0;

    for (; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return text.len > 0;
}

/* What one line says by itself. */
static reply_state parse_scalar(cursor *in, reply *r, kv_slice line)
{
    switch (r->type) {
    case '+':
    case '-':
        break;
    case ':':
        if (!strict_integer(line, &r->integer))
            return malformed(in, "not an integer");
        return REPLY_WHOLE;
    case '#':
        if (line.len != 1 || (line.data[0] != 't' && line.data[0] != 'f'))
            return malformed(in, "neither #t nor #f");
        r->integer = line.data[0] == 't';
        return REPLY_WHOLE;
    case '_':
        if (line.len)
            return malformed(in, "a null with a text");
        r->null_of = '_';
        return REPLY_WHOLE;
    case ',':
        if (!is_double(line))
            return malformed(in, "not a double");
        break;
    case '(':
        if (!is_big_number(line))
            return malformed(in, "not a big number");
        break;
    default:
        return malformed(in, "an unknown type of reply");
    }
    keep_text(r, line);
    return REPLY_WHOLE;
}

static reply_state parse_at(cursor *in, reply *r, int depth)
{
    reply_state state;
    kv_slice line;
    long long n;

    if (in->at == in->len)
        return REPLY_PARTIAL;
    r->type = in->data[in->at];
    if (!r->type || !strchr("+-:$*%~>,#(=_", r->type))
        return malformed(in, "an unknown type of reply");
    in->at++;
    state = take_line(in, &line);
    if (state != REPLY_WHOLE)
        return state;
    if (!strchr("$=*%~>", r->type))
        return parse_scalar(in, r, line);
    if (!strict_integer(line, &n))
        return malformed(in, "a length that is no integer");
    return r->type == '$' || r->type == '=' ? parse_bulk(in, r, n) : parse_elements(in, r, n, depth);
}

reply_state reply_parse(kv_slice data, reply **ret_reply, size_t *ret_used, const char **ret_why)
{
    cursor in = { .data = data.data, .len = data.len };
    reply *r = grown(NULL, sizeof *r);
    reply_state state;

    memset(r, 0, sizeof *r);
    state = parse_at(&in, r, depth_max);
    if (state == REPLY_WHOLE) {
        *ret_reply = r;
        *ret_used = in.at;
        return state;
    }
    if (state == REPLY_MALFORMED)
        *ret_why = in.why;
    reply_free(r);
    return state;
}

static void reply_done(reply *r)
{
    for (size_t i = 0; i < r->count; i++)
        reply_done(&r->elements[i]);
    free(r->elements);
    free(r->text);
}

void reply_free(reply *r)
{
    if (!r)
        return;
    reply_done(r);
    free(r);
}

/* ---- the compact form ------------------------------------------------------------------- */

static void print_text(FILE *out, const reply *r, bool nested)
{
    bool quoted = nested && (r->len == 0 || memchr(r->text, ' ', r->len) || memchr(r->text, '"', r->len));

    if (quoted)
        fputc('"', out);
    for (size_t i = 0; i < r->len; i++) {
        unsigned char byte = (unsigned char)r->text[i];

        if (byte < ' ' || byte > '~' || byte == '\\')
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
    if (quoted)
        fputc('"', out);
}

static void print_reply(FILE *out, const reply *r, bool nested)
{
    switch (r->type) {
    case '_':
        fputs(r->null_of == '*' ? "*_" : "_", out);
        return;
    case ':':
        fprintf(out, ":%lld", r->integer);
        return;
    case '#':
        fputs(r->integer ? "#t" : "#f", out);
        return;
    case '*':
    case '~':
    case '>':
    case '%':
        fprintf(out, "%c%zu", r->type, r->type == '%' ? r->count / 2 : r->count);
        for (size_t i = 0; i < r->count; i++) {
            fputc(' ', out);
            print_reply(out, &r->elements[i], true);
        }
        return;
    default:
        fputc(r->type, out);
        print_text(out, r, nested);
    }
}

char *reply_text(const reply *r)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        abort();
    print_reply(out, r, false);
    if (fclose(out) != 0)
        abort();
    return text;
}

static int by_text(const void *a, const void *b)
{
    char *left = reply_text(a), *right = reply_text(b);
    int order = strcmp(left, right);

    free(left);
    free(right);
    return order;
}

void reply_sort(reply *r)
{
    if (r->count)
        qsort(r->elements, r->type == '%' ? r->count / 2 : r->count,
              (r->type == '%' ? 2 : 1) * sizeof *r->elements, by_text);
}

/* ---- requests --------------------------------------------------------------------------- */

char *request_bytes(size_t argc, const kv_slice argv[], size_t *ret_len)
{
    char *bytes = NULL;
    FILE *out = open_memstream(&bytes, ret_len);

    if (!out)
        abort();
    fprintf(out, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        fprintf(out, "$%zu\r\n", argv[i].len);
        if (argv[i].len)
            fwrite(argv[i].data, 1, argv[i].len, out);
        fputs("\r\n", out);
    }
    if (fclose(out) != 0)
        abort();
    return bytes;
}

/* ---- connections ------------------------------------------------------------------------ */

struct conn {
    int fd;
    char *data; /* received; [used, len) is not handed out yet */
    size_t used, len, size;
    char trouble[160]; /* why the last call failed */
};

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static conn *conn_over(int fd)
{
    conn *c = grown(NULL, sizeof *c);

    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->size = 16384;
    c->data = grown(NULL, c->size);
    return c;
}

conn *conn_open_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof address.sun_path)
        return NULL;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return NULL;
    }
    return conn_over(fd);
}

conn *conn_open_tcp(const char *host, int port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;
    char service[16];
    int fd, on = 1;

    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return NULL;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd < 0)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return conn_over(fd);
}

void conn_close(conn *c)
{
    if (!c)
        return;
    close(c->fd);
    free(c->data);
    free(c);
}

int conn_fd(const conn *c)
{
    return c->fd;
}

const char *conn_trouble(const conn *c)
{
    return c->trouble;
}

/* Waits until fd is ready for events; false after wait_ms. */
static bool ready(conn *c, short events, int64_t until_ms)
{
    struct pollfd p = { .fd = c->fd, .events = events };
    int64_t left = until_ms - monotonic_ms();
    int n;

    do {
        n = poll(&p, 1, left > 0 ? (int)left : 0);
        left = until_ms - monotonic_ms();
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        snprintf(c->trouble, sizeof c->trouble, "no %s in time", events == POLLIN ? "reply" : "room to send");
    return n > 0;
}

bool conn_send(conn *c, kv_slice data)
{
    int64_t until = monotonic_ms() + conn_patience_ms;

    while (data.len) {
        ssize_t n = send(c->fd, data.data, data.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!ready(c, POLLOUT, until))
                return false;
            continue;
        }
        if (n < 0) {
            snprintf(c->trouble, sizeof c->trouble, "send: %s", strerror(errno));
            return false;
        }
        data.data += n;
        data.len -= (size_t)n;
    }
    return true;
}

bool conn_send_split(conn *c, kv_slice data, size_t at)
{
    kv_slice head = kv_slice_of(data.data, at), tail = kv_slice_of(data.data + at, data.len - at);

    return conn_send(c, head) && conn_send(c, tail);
}

bool conn_send_args(conn *c, size_t argc, const kv_slice argv[])
{
    size_t len;
    char *bytes = request_bytes(argc, argv, &len);
    bool sent = conn_send(c, kv_slice_of(bytes, len));

    free(bytes);
    return sent;
}

/* Receives something more; 0 at the end, -1 on trouble. */
static ssize_t receive_more(conn *c, int64_t until_ms)
{
    ssize_t n;

    if (c->used && c->used == c->len)
        c->used = c->len = 0;
    if (c->len == c->size) {
        if (c->used > c->size / 2) {
            memmove(c->data, c->data + c->used, c->len - c->used);
            c->len -= c->used;
            c->used = 0;
        } else {
            c->size *= 2;
            c->data = grown(c->data, c->size);
        }
    }
    do {
        if (!ready(c, POLLIN, until_ms))
            return -1;
        n = recv(c->fd, c->data + c->len, c->size - c->len, MSG_DONTWAIT);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        snprintf(c->trouble, sizeof c->trouble, "recv: %s", strerror(errno));
    else
        c->len += (size_t)n;
    return n;
}

reply *conn_read_raw(conn *c, kv_slice *ret_raw)
{
    int64_t until = monotonic_ms() + conn_patience_ms;

    for (;;) {
        kv_slice have = kv_slice_of(c->data + c->used, c->len - c->used);
        const char *why = NULL;
        size_t used = 0;
        reply *r = NULL;
        ssize_t n;

        switch (have.len ? reply_parse(have, &r, &used, &why) : REPLY_PARTIAL) {
        case REPLY_WHOLE:
            *ret_raw = kv_slice_of(have.data, used);
            c->used += used;
            return r;
        case REPLY_MALFORMED:
            snprintf(c->trouble, sizeof c->trouble, "malformed reply: %s, at \"%.*s\"", why,
                     (int)(have.len < 60 ? have.len : 60), have.data);
            return NULL;
        case REPLY_PARTIAL:
            break;
        }
        n = receive_more(c, until);
        if (n == 0)
            snprintf(c->trouble, sizeof c->trouble, "closed %s",
                     have.len ? "within a reply" : "by the server");
        if (n <= 0)
            return NULL;
    }
}

reply *conn_read(conn *c)
{
    kv_slice raw;

    return conn_read_raw(c, &raw);
}

reply *conn_ask(conn *c, size_t argc, const kv_slice argv[])
{
    return conn_send_args(c, argc, argv) ? conn_read(c) : NULL;
}

bool conn_ended(conn *c)
{
    int64_t until = monotonic_ms() + conn_patience_ms;
    ssize_t n;

    if (c->used < c->len)
        return false;
    errno = 0;
    n = receive_more(c, until);
    return n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE));
}

bool conn_drain(conn *c, long long *ret_bytes)
{
    ssize_t n;

    *ret_bytes = (long long)(c->len - c->used);
    do {
        c->used = c->len = 0;
        errno = 0;
        n = receive_more(c, monotonic_ms() + conn_patience_ms);
        *ret_bytes += n > 0 ? n : 0;
    } while (n > 0);
    return n == 0 || errno == ECONNRESET || errno == EPIPE;
}

bool conn_silent(conn *c, int wait_ms)
{
    return c->used == c->len && !ready(c, POLLIN, monotonic_ms() + wait_ms);
}

char *conn_ask_text(conn *c, const char *const args[])
{
    kv_slice argv[64];
    size_t argc = 0;
    reply *r;
    char *text;

    while (args[argc] && argc < sizeof argv / sizeof *argv) {
        argv[argc] = kv_str(args[argc]);
        argc++;
    }
    r = conn_ask(c, argc, argv);
    if (!r)
        return NULL;
    text = reply_text(r);
    reply_free(r);
    return text;
}
