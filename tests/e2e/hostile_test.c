/* hostile_test.c - 20,000 requests by somebody who means no good.
 *
 * Each is a valid pipeline with bytes changed, cut out, doubled or thrown in, or nothing but noise, sent over a
 * connection of its own that is then half closed. Whatever comes back must be whole RESP replies and then the end; afterwards the server
 * must be well and of no greater size. The seed is printed, and may be given as the argument.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "e2e.h"

enum { requests = 20000, bytes_max = 4096 };

static uint64_t random_state;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return (size_t)(next() % n);
}

static const kv_slice seeds[] = {
#define SEED(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }
    SEED("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    SEED("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nEX\r\n$6\r\n100000\r\n"),
    SEED("*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$3\r\n\r\n\r\r\n*-1\r\n*0\r\n"),
    SEED("SET k v\r\nGET k\r\nECHO \"a\\x00b 'c'\"\r\n"),
    SEED("*4\r\n$8\r\nGETRANGE\r\n$1\r\nk\r\n$2\r\n-5\r\n$2\r\n-1\r\n"),
    SEED("*4\r\n$8\r\nSETRANGE\r\n$1\r\nk\r\n$3\r\n100\r\n$1\r\nx\r\n"),
    SEED("*6\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n$9\r\n*[a-z]?\\*\r\n$5\r\nCOUNT\r\n$3\r\n100\r\n"),
    SEED("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$7\r\nCOMMAND\r\n$"
         "4\r\nDOCS\r\n"),
    SEED("*3\r\n$11\r\nINCRBYFLOAT\r\n$1\r\nf\r\n$6\r\n1.5e10\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"),
    SEED("*7\r\n$6\r\nMSETEX\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$2\r\nNX\r\n"),
    SEED("*6\r\n$3\r\nLCS\r\n$1\r\na\r\n$1\r\nb\r\n$3\r\nIDX\r\n$11\r\nMINMATCHLEN\r\n$1\r\n1\r\n"),
    SEED("*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n"),
    SEED("*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$1\r\n*\r\n*2\r\n$4\r\nINFO\r\n$10\r\neverything\r\n"),
    SEED("*5\r\n$7\r\nCOMMAND\r\n$7\r\nGETKEYS\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n"),
    SEED("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$5\r\nIFDEQ\r\n$16\r\n0123456789abcdef\r\n"),
    SEED("*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n*1\r\n$"
         "6\r\nDBSIZE\r\n"),
    SEED("SET k \"a'b\\\"c'd\\x41\\\\\" 'e\"f\\'g\"h'\r\nGET 'k'\r\nECHO ''\r\nECHO \"\"\r\n"),
    SEED("*3\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n*-7\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"),
#undef SEED
};

static const kv_slice spice[] = {
#define SPICE(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }
    SPICE("\r\n"),
    SPICE("\n"),
    SPICE("\0"),
    SPICE("*"),
    SPICE("$"),
    SPICE("-1"),
    SPICE("0"),
    SPICE("\"\\x"),
    SPICE("*1\r\n"),
    SPICE("$0\r\n\r\n"),
    SPICE("536870912"),
    SPICE("9223372036854775807"),
    SPICE("*1048577\r\n"),
    SPICE("*2147483648\r\n"),
    SPICE("*2147483647\r\n"),
    SPICE("$536870912\r\n"),
    SPICE("\xff\xfe"),
    SPICE("'"),
    SPICE("99999999999999999999"),
    SPICE("%1\r\n"),
    SPICE("_\r\n"),
    SPICE(" "),
    SPICE("\\"),
    SPICE("[^"),
    SPICE("nan"),
    SPICE("-0"),
    SPICE("1e999"),
    SPICE("$-1\r\n"),
    SPICE("*-2147483648\r\n"),
    SPICE("$-9223372036854775808\r\n"),
    SPICE("\0\0\0\0\r\n"),
    SPICE("\"'\"'\"'\"'\\\"\\'"),
    SPICE("*1000000\r\n$1\r\nx\r\n$1\r\n"),
#undef SPICE
};

typedef struct text {
    char bytes[bytes_max];
    size_t len;
} text;

/* Puts what in place of cut bytes at at. */
static void splice(text *t, size_t at, size_t cut, kv_slice what)
{
    if (at + cut > t->len)
        cut = t->len - at;
    if (t->len - cut + what.len > bytes_max)
        return;
    memmove(t->bytes + at + what.len, t->bytes + at + cut, t->len - at - cut);
    memcpy(t->bytes + at, what.data, what.len);
    t->len = t->len - cut + what.len;
}

static void mutate(text *t)
{
    char byte = (char)below(256), copy[64];
    size_t at = below(t->len + 1), n = below(sizeof copy);

    switch (below(6)) {
    case 0:
        splice(t, at, 1, kv_slice_of(&byte, 1));
        break;
    case 1:
        splice(t, at, 1 + below(8), kv_slice_of("", 0));
        break;
    case 2:
        splice(t, at, 0, spice[below(sizeof spice / sizeof *spice)]);
        break;
    case 3:
        splice(t, at, 1 + below(4), spice[below(sizeof spice / sizeof *spice)]);
        break;
    case 4:
        if (at + n > t->len)
            n = t->len - at;
        memcpy(copy, t->bytes + at, n);
        splice(t, below(t->len + 1), 0, kv_slice_of(copy, n));
        break;
    default:
        t->len = at;
    }
}

/* Bytes that mean something to a parser, and all others. */
static void make_noise(text *t)
{
    static const char alphabet[] = "*$:+-_#,(!=%~>\r\n\r\n0123456789 \t\"'\\xGETSet";

    for (t->len = 1 + below(300); t->len > 0 && below(8) == 0;)
        t->len = 1 + below(bytes_max);
    for (size_t i = 0; i < t->len; i++)
        t->bytes[i] = below(4) ? alphabet[below(sizeof alphabet)] : (char)below(256);
}

static void make_request(text *t)
{
    if (below(5) == 0) {
        make_noise(t);
        return;
    }
    t->len = 0;
    for (size_t n = 1 + below(3); n; n--)
        splice(t, t->len, 0, seeds[below(sizeof seeds / sizeof *seeds)]);
    for (size_t n = 1 + below(5); n; n--)
        mutate(t);
}

static void fail_with(const text *t, int number, const char *why)
{
    print_error("request %d: %s\n  ", number, why);
    for (size_t i = 0; i < t->len; i++)
        print_error(t->bytes[i] >= ' ' && t->bytes[i] <= '~' ? "%c" : "\\x%02x", (unsigned char)t->bytes[i]);
    print_error("\n");
    fail();
}

/* A request may ask for something that stops later ones: that is put right, not counted as a defect. */
static void send_one(server *s, const text *t, int number)
{
    conn *c = connect_to(s);
    reply *r;

    if (conn_send(c, kv_slice_of(t->bytes, t->len)))
        shutdown(conn_fd(c), SHUT_WR);
    while ((r = conn_read(c)))
        reply_free(r);
    if (!strstr(conn_trouble(c), "closed by the server") && !strstr(conn_trouble(c), "Connection reset"))
        fail_with(t, number, conn_trouble(c));
    conn_close(c);
}

static void hostile_requests_do_no_harm(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s);
    static text t;
    long long before = 0;

    (void)state;
    says(c, "+OK", "SET", "marker", "untouched");
    for (int i = 0; i < requests; i++) {
        if (i == requests / 10)
            before = resident_bytes(server_pid(s));
        make_request(&t);
        send_one(s, &t, i);
    }
    says(c, "$untouched", "GET", "marker");
    says(c, "*2 $requirepass $", "CONFIG", "GET", "requirepass");
    assert_grown_less(s, before, 64 << 20);
    conn_close(c);
    end(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(hostile_requests_do_no_harm) };

    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 20260101;
    printf("seed %llu\n", (unsigned long long)random_state);
    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
