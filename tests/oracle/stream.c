/* stream.c - commands drawn from a table of shapes.
 *
 * A shape is a command's name and one letter per argument:
 *
 *     k key          K one to four keys      P one to three pairs of key and value
 *     v value        i integer               f decimal fraction           o offset
 *     s seconds      m milliseconds from now a seconds  A ms since 1970   d database
 *     p pattern      S options of SET        G of GETEX                   E of EXPIRE
 *     L of LCS       C of COPY               F of FLUSHALL                N of SCAN
 *     c a command's name (COMMAND INFO)      q a whole command (COMMAND GETKEYS)
 *     D what an earlier DUMP replied         T R ttl and options of RESTORE
 *
 * Every tenth command is then damaged: an argument is lost, doubled, added, or replaced by junk. No junk is
 * a small positive number, lest a deadline come near.
 *
 * SPDX-License-Identifier: MIT */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>

enum { args_max = 24 };

/* ---- drawing ---------------------------------------------------------------------------- */

typedef struct draw {
    uint64_t state;
    step *step; /* being filled */
    bool in_transaction[stream_clients];
} draw;

static uint64_t next(draw *d) /* splitmix64 */
{
    uint64_t z = d->state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(draw *d, size_t n)
{
    return (size_t)(next(d) % n);
}

static bool once_in(draw *d, size_t n)
{
    return below(d, n) == 0;
}

static void *room(void *memory, size_t size)
{
    memory = realloc(memory, size ? size : 1);
    if (!memory)
        abort();
    return memory;
}

static void add(draw *d, kv_slice arg)
{
    step *s = d->step;
    char *copy = room(NULL, arg.len);

    if (s->argc == args_max) {
        free(copy);
        return;
    }
    if (arg.len)
        memcpy(copy, arg.data, arg.len);
    s->argv[s->argc++] = kv_slice_of(copy, arg.len);
}

static void add_text(draw *d, const char *text)
{
    add(d, kv_str(text));
}

static void add_number(draw *d, long long n)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", n);
    add_text(d, text);
}

#define add_one_of(d, list) add(d, (list)[below(d, sizeof(list) / sizeof *(list))])

/* ---- arguments -------------------------------------------------------------------------- */

static const char ramp[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ!?";

/* len bytes that begin like others of their length. */
static void add_long(draw *d, size_t len)
{
    char *text = room(NULL, len);

    for (size_t i = 0; i < len; i++)
        text[i] = ramp[(i * 7 + len) % (sizeof ramp - 1)];
    if (len && once_in(d, 3))
        text[below(d, len)] = (char)below(d, 256);
    add(d, kv_slice_of(text, len));
    free(text);
}

static void add_key(draw *d)
{
    static const kv_slice keys[] = {
        { "a", 1 },     { "b", 1 },     { "c", 1 },    { "d", 1 },       { "key:1", 5 },
        { "key:2", 5 }, { "key:3", 5 }, { "", 0 },     { "a\0b", 3 },    { "\r\n", 2 },
        { "k*y", 3 },   { "EX", 2 },    { "\xff", 1 }, { "counter", 7 }, { "counter2", 8 },
    };
    char name[300];

    if (once_in(d, 40)) { /* longer than any inline length */
        memset(name, 'k', sizeof name);
        add(d, kv_slice_of(name, once_in(d, 2) ? 255 : 300));
        return;
    }
    add_one_of(d, keys);
}

static void add_value(draw *d)
{
    static const kv_slice values[] = {
        { "0", 1 },
        { "1", 1 },
        { "-1", 2 },
        { "10", 2 },
        { "99999", 5 },
        { "3.14", 4 },
        { "-0.5", 4 },
        { "1e3", 3 },
        { "abc", 3 },
        { "v", 1 },
        { "", 0 },
        { "\0\r\n\xff", 4 },
        { "007", 3 },
        { " 1", 2 },
        { "+1", 2 },
        { "value", 5 },
        { "9223372036854775807", 19 },
        { "-9223372036854775808", 20 },
        { "9223372036854775808", 19 },
        { "ohmytext", 8 },
        { "mynewtext", 9 },
    };
    static const size_t lengths[] = { 20, 43, 44, 45, 46, 100, 255, 256, 1000, 1023, 1024, 1025, 1100, 2000 };

    if (once_in(d, 6))
        add_long(d, lengths[below(d, sizeof lengths / sizeof *lengths)]);
    else
        add_one_of(d, values);
}

static void add_integer(draw *d)
{
    static const kv_slice integers[] = {
        { "1", 1 },
        { "-1", 2 },
        { "0", 1 },
        { "2", 1 },
        { "10", 2 },
        { "-7", 2 },
        { "100000", 6 },
        { "9223372036854775807", 19 },
        { "-9223372036854775808", 20 },
        { "-9223372036854775807", 20 },
        { "9223372036854775806", 19 },
        { "4294967296", 10 },
        { "-2147483648", 11 },
    };

    add_one_of(d, integers);
}

static void add_fraction(draw *d)
{
    static const kv_slice fractions[] = {
        { "1", 1 },      { "0.1", 3 },     { "-0.1", 4 },
        { "1.5", 3 },    { "3.0e3", 5 },   { "1e10", 4 },
        { "-1e-5", 5 },  { "0", 1 },       { "-0", 2 },
        { ".5", 2 },     { "5.", 2 },      { "inf", 3 },
        { "nan", 3 },    { "0x10", 4 },    { "1e20", 4 },
        { "1e400", 5 },  { "-inf", 4 },    { "1e-400", 6 },
        { "2.5", 3 },    { "1000000", 7 }, { "123456789.123456789", 19 },
        { "1e5000", 6 },
    };

    add_one_of(d, fractions);
}

static void add_offset(draw *d)
{
    static const long long offsets[] = { 0,   1,   2,         3,          5,         10,       43,   44,
                                         64,  255, -1,        -2,         -3,        -5,       -100, 100,
                                         300, 999, 536870912, 1000000000, INT64_MAX, INT64_MIN };

    add_number(d, offsets[below(d, sizeof offsets / sizeof *offsets)]);
}

/* From weeks to years. */
static long long far_seconds(draw *d)
{
    return 1000000 + (long long)below(d, 100000000);
}

static void add_seconds(draw *d)
{
    static const long long odd[] = { 0, -1, -1000, INT64_MAX, INT64_MIN, 9223372036854775, 9223372036854776 };

    add_number(d, once_in(d, 8) ? odd[below(d, sizeof odd / sizeof *odd)] : far_seconds(d));
}

static void add_milliseconds(draw *d)
{
    static const long long odd[] = { 0, -1, -1000, INT64_MAX, INT64_MIN };

    add_number(d, once_in(d, 8) ? odd[below(d, sizeof odd / sizeof *odd)] : far_seconds(d) * 1000 + 7);
}

/* Seconds or milliseconds (unit 1 or 1000) since 1970, in the 31st century, or in the past. */
static void add_moment(draw *d, long long unit)
{
    static const long long odd[] = { 0, -1, INT64_MAX, INT64_MIN, 9223372036854775, 9223372036854776 };

    if (once_in(d, 20)) {
        add_number(d, 100000 + (long long)below(d, 1000) * unit);
        d->step->leaves_expired = true;
    } else if (once_in(d, 12)) {
        add_number(d, odd[below(d, sizeof odd / sizeof *odd)]);
    } else {
        add_number(d, (33177117420 + far_seconds(d)) * unit + (unit == 1000 ? (long long)below(d, 1000) : 0));
    }
}

static void add_database(draw *d)
{
    static const long long odd[] = { -1, 16, 15, 2147483647, 2147483648, INT64_MAX };

    add_number(d, once_in(d, 8) ? odd[below(d, sizeof odd / sizeof *odd)] : (long long)below(d, 4) * 5);
}

static void add_pattern(draw *d)
{
    static const kv_slice patterns[] = {
        { "*", 1 },        { "", 0 },      { "a*", 2 },    { "key:?", 5 }, { "key:[12]", 8 },
        { "key:[^1]", 8 }, { "[a-c]", 5 }, { "[c-a]", 5 }, { "k\\*y", 4 }, { "*\\", 2 },
        { "[", 1 },        { "[a", 2 },    { "*[^", 3 },   { "?", 1 },     { "counter*", 8 },
        { "*\0*", 3 },     { "**a**", 5 }, { "*e*:*", 5 }, { "[\\a]", 4 }, { "[]a]", 4 },
        { "key:[1-", 7 },  { "[a-]", 4 },  { "k[*]y", 5 }, { "?\0b", 3 },
    };

    add_one_of(d, patterns);
}

/* A word, in one of its cases. */
static void add_word(draw *d, const char *word)
{
    char text[32];
    size_t i, mode = below(d, 4);

    for (i = 0; word[i] && i < sizeof text - 1; i++)
        text[i] = mode == 0 || (mode == 1 && i % 2) ? (char)(word[i] | 32) : word[i];
    text[i] = 0;
    add_text(d, text);
}

/* ---- options ---------------------------------------------------------------------------- */

typedef void add_fn(draw *d);

static void add_seconds_at(draw *d)
{
    add_moment(d, 1);
}

static void add_milliseconds_at(draw *d)
{
    add_moment(d, 1000);
}

static void add_count(draw *d)
{
    static const long long counts[] = { 1, 2, 10, 1000, 0, -1, INT64_MAX };

    add_number(d, counts[below(d, sizeof counts / sizeof *counts)]);
}

static void add_type(draw *d)
{
    add_word(d, once_in(d, 3) ? "HASH" : "STRING");
}

static void add_idle(draw *d)
{
    static const long long idle[] = { 0, 1, 1000, 4000000000, -1, INT64_MAX };

    add_number(d, idle[below(d, sizeof idle / sizeof *idle)]);
}

static void add_frequency(draw *d)
{
    static const long long frequencies[] = { 0, 1, 255, 256, -1, INT64_MAX };

    add_number(d, frequencies[below(d, sizeof frequencies / sizeof *frequencies)]);
}

/* For ever, or as long as it may be: as a moment since 1970, which ABSTTL makes of it, it is in the past, or far away. */
static void add_ttl(draw *d)
{
    if (once_in(d, 10))
        add_number(d, -1);
    else if (once_in(d, 2))
        add_text(d, "0");
    else if (once_in(d, 2))
        add_number(d, 1000000000 + (long long)below(d, 1000000000));
    else
        add_number(d, 33177117420000 + far_seconds(d));
}

/* What stands there is put in place of it as soon as there is a payload. */
static void add_payload(draw *d)
{
    d->step->payload = (int)d->step->argc;
    d->step->which = below(d, stream_payloads);
    d->step->change = once_in(d, 3) ? (payload_change)below(d, PAYLOAD_CHANGES) : PAYLOAD_AS_IT_IS;
    d->step->where = below(d, 1 << 20);
    add_text(d, "no payload");
}

typedef struct option {
    const char *word;
    add_fn *value; /* or NULL */
} option;

/* Mostly one option or none, now and then more, whatever they make together. */
static void add_options(draw *d, const option *options, size_t count)
{
    size_t n = below(d, 10);

    n = n < 4 ? 0 : n < 8 ? 1 : n - 6;
    while (n--) {
        const option *o = &options[below(d, count)];

        add_word(d, o->word);
        if (o->value)
            o->value(d);
    }
}
#define add_some_of(d, list) add_options(d, list, sizeof(list) / sizeof *(list))

static const option set_options[] = { { "NX", NULL },
                                      { "XX", NULL },
                                      { "GET", NULL },
                                      { "KEEPTTL", NULL },
                                      { "EX", add_seconds },
                                      { "PX", add_milliseconds },
                                      { "EXAT", add_seconds_at },
                                      { "PXAT", add_milliseconds_at } };
static const option getex_options[] = { { "PERSIST", NULL },
                                        { "EX", add_seconds },
                                        { "PX", add_milliseconds },
                                        { "EXAT", add_seconds_at },
                                        { "PXAT", add_milliseconds_at } };
static const option expire_options[] = { { "NX", NULL }, { "XX", NULL }, { "GT", NULL }, { "LT", NULL } };
static const option lcs_options[] = {
    { "LEN", NULL }, { "IDX", NULL }, { "WITHMATCHLEN", NULL }, { "MINMATCHLEN", add_offset }, { "IDX", NULL }
};
static const option copy_options[] = { { "REPLACE", NULL }, { "DB", add_database } };
static const option restore_options[] = { { "REPLACE", NULL },      { "REPLACE", NULL },
                                          { "REPLACE", NULL },      { "REPLACE", NULL },
                                          { "ABSTTL", NULL },       { "ABSTTL", NULL },
                                          { "IDLETIME", add_idle }, { "FREQ", add_frequency } };
static const option flush_options[] = { { "SYNC", NULL }, { "ASYNC", NULL } };
static const option scan_options[] = { { "MATCH", add_pattern },
                                       { "COUNT", add_count },
                                       { "TYPE", add_type } };

/* ---- shapes ----------------------------------------------------------------------------- */

typedef struct shape {
    const char *name;
    const char *arguments;
    int weight;
    comparison how;
    long long tolerance;
} shape;

static const shape shapes[] = {
    { "SET", "kvS", 60, COMPARE_BYTES, 0 },        { "GET", "k", 30, COMPARE_BYTES, 0 },
    { "SETNX", "kv", 8, COMPARE_BYTES, 0 },        { "SETEX", "ksv", 8, COMPARE_BYTES, 0 },
    { "PSETEX", "kmv", 6, COMPARE_BYTES, 0 },      { "GETSET", "kv", 8, COMPARE_BYTES, 0 },
    { "GETDEL", "k", 6, COMPARE_BYTES, 0 },        { "GETEX", "kG", 14, COMPARE_BYTES, 0 },
    { "APPEND", "kv", 16, COMPARE_BYTES, 0 },      { "STRLEN", "k", 8, COMPARE_BYTES, 0 },
    { "GETRANGE", "koo", 12, COMPARE_BYTES, 0 },   { "SUBSTR", "koo", 4, COMPARE_BYTES, 0 },
    { "SETRANGE", "kov", 14, COMPARE_BYTES, 0 },   { "MGET", "K", 12, COMPARE_BYTES, 0 },
    { "MSET", "P", 10, COMPARE_BYTES, 0 },         { "MSETNX", "P", 8, COMPARE_BYTES, 0 },
    { "INCR", "k", 12, COMPARE_BYTES, 0 },         { "DECR", "k", 8, COMPARE_BYTES, 0 },
    { "INCRBY", "ki", 14, COMPARE_BYTES, 0 },      { "DECRBY", "ki", 10, COMPARE_BYTES, 0 },
    { "INCRBYFLOAT", "kf", 14, COMPARE_BYTES, 0 }, { "LCS", "kkL", 4, COMPARE_BYTES, 0 },
    { "DUMP", "k", 12, COMPARE_DUMP, 0 },          { "RESTORE", "kTDR", 16, COMPARE_BYTES, 0 },
    { "DEL", "K", 10, COMPARE_BYTES, 0 },          { "UNLINK", "K", 6, COMPARE_BYTES, 0 },
    { "EXISTS", "K", 8, COMPARE_BYTES, 0 },        { "TOUCH", "K", 4, COMPARE_BYTES, 0 },
    { "TYPE", "k", 6, COMPARE_BYTES, 0 },          { "EXPIRE", "ksE", 14, COMPARE_BYTES, 0 },
    { "PEXPIRE", "kmE", 10, COMPARE_BYTES, 0 },    { "EXPIREAT", "kaE", 10, COMPARE_BYTES, 0 },
    { "PEXPIREAT", "kAE", 14, COMPARE_BYTES, 0 },  { "TTL", "k", 8, COMPARE_TIME, 5 },
    { "PTTL", "k", 8, COMPARE_TIME, 5000 },        { "EXPIRETIME", "k", 8, COMPARE_TIME, 5 },
    { "PEXPIRETIME", "k", 8, COMPARE_TIME, 5000 }, { "PERSIST", "k", 8, COMPARE_BYTES, 0 },
    { "RENAME", "kk", 10, COMPARE_BYTES, 0 },      { "RENAMENX", "kk", 8, COMPARE_BYTES, 0 },
    { "COPY", "kkC", 14, COMPARE_BYTES, 0 },       { "MOVE", "kd", 8, COMPARE_BYTES, 0 },
    { "SELECT", "d", 10, COMPARE_BYTES, 0 },       { "SWAPDB", "dd", 2, COMPARE_BYTES, 0 },
    { "OBJECT", "kO", 14, COMPARE_BYTES, 0 },      { "KEYS", "p", 10, COMPARE_SET, 0 },
    { "SCAN", "N", 3, COMPARE_SCAN, 0 },           { "RANDOMKEY", "", 3, COMPARE_RANDOM, 0 },
    { "DBSIZE", "", 10, COMPARE_KEYS, 0 },         { "FLUSHDB", "F", 1, COMPARE_BYTES, 0 },
    { "FLUSHALL", "F", 2, COMPARE_BYTES, 0 },      { "MULTI", "", 12, COMPARE_BYTES, 0 },
    { "WATCH", "K", 14, COMPARE_BYTES, 0 },        { "UNWATCH", "", 1, COMPARE_BYTES, 0 },
    { "EXEC", "", 1, COMPARE_BYTES, 0 },           { "DISCARD", "", 1, COMPARE_BYTES, 0 },
    { "PING", "", 1, COMPARE_BYTES, 0 },           { "PING", "v", 1, COMPARE_BYTES, 0 },
    { "ECHO", "v", 2, COMPARE_BYTES, 0 },          { "COMMAND", "c", 2, COMPARE_DEEP, 0 },
    { "COMMAND", "q", 4, COMPARE_BYTES, 0 },       { "NOSUCHCOMMAND", "vv", 2, COMPARE_BYTES, 0 },
};
enum { shapes_count = sizeof shapes / sizeof *shapes };

static const shape *draw_shape(draw *d)
{
    int total = 0, at;
    const shape *s;

    for (s = shapes; s < shapes + shapes_count; s++)
        total += s->weight;
    at = (int)below(d, (size_t)total);
    for (s = shapes; at >= s->weight; s++)
        at -= s->weight;
    return s;
}

/* Any but that one. */
static const shape *draw_another(draw *d, const char *not_this)
{
    const shape *s;

    do
        s = draw_shape(d);
    while (strcmp(s->name, not_this) == 0);
    return s;
}

static void add_argument(draw *d, char letter);

static void add_repeated(draw *d, size_t most, const char *letters)
{
    for (size_t n = 1 + below(d, most); n; n--)
        for (const char *at = letters; *at; at++)
            add_argument(d, *at);
}

static void add_object_subcommand(draw *d)
{
    static const char *const words[] = { "ENCODING", "ENCODING", "ENCODING", "REFCOUNT",
                                         "IDLETIME", "FREQ",     "NOPE" };
    const char *word = words[below(d, sizeof words / sizeof *words)];
    step *s = d->step;
    kv_slice key = s->argv[--s->argc]; /* the subcommand comes before the key */

    add_word(d, word);
    s->argv[s->argc++] = key;
    if (strcmp(word, "REFCOUNT") == 0 || strcmp(word, "IDLETIME") == 0)
        s->how = COMPARE_TYPE;
}

static void add_command_getkeys(draw *d)
{
    const shape *inner;

    do
        inner = draw_shape(d);
    while (strcmp(inner->name, "COMMAND") == 0 || strcmp(inner->name, "OBJECT") == 0);
    add_word(d, "GETKEYS");
    add_text(d, inner->name);
    for (const char *at = inner->arguments; *at; at++)
        add_argument(d, *at);
    d->step->leaves_expired = false;
}

static void add_argument(draw *d, char letter)
{
    switch (letter) {
    case 'k':
        add_key(d);
        break;
    case 'K':
        add_repeated(d, 4, "k");
        break;
    case 'P':
        add_repeated(d, 3, "kv");
        break;
    case 'v':
        add_value(d);
        break;
    case 'i':
        add_integer(d);
        break;
    case 'f':
        add_fraction(d);
        break;
    case 'o':
        add_offset(d);
        break;
    case 's':
        add_seconds(d);
        break;
    case 'm':
        add_milliseconds(d);
        break;
    case 'a':
        add_moment(d, 1);
        break;
    case 'A':
        add_moment(d, 1000);
        break;
    case 'd':
        add_database(d);
        break;
    case 'p':
        add_pattern(d);
        break;
    case 'S':
        add_some_of(d, set_options);
        break;
    case 'G':
        add_some_of(d, getex_options);
        break;
    case 'E':
        add_some_of(d, expire_options);
        break;
    case 'L':
        add_some_of(d, lcs_options);
        break;
    case 'C':
        add_some_of(d, copy_options);
        break;
    case 'F':
        add_some_of(d, flush_options);
        break;
    case 'T':
        add_ttl(d);
        break;
    case 'D':
        add_payload(d);
        break;
    case 'R':
        add_some_of(d, restore_options);
        break;
    case 'N':
        add_text(d, "0");
        add_some_of(d, scan_options);
        break;
    case 'O':
        add_object_subcommand(d);
        break;
    case 'c':
        add_word(d, "INFO");
        add_text(d, draw_another(d, "EXEC")->name); /* our EXEC takes conditions */
        break;
    case 'q':
        add_command_getkeys(d);
        break;
    default:
        abort();
    }
}

/* ---- damage ----------------------------------------------------------------------------- */

static void add_junk(draw *d)
{
    static const kv_slice junk[] = {
        { "", 0 },    { "x", 1 },           { "-1", 2 },      { "0", 1 },
        { "1.5", 3 }, { " 1", 2 },          { "NX", 2 },      { "EX", 2 },
        { "\0", 1 },  { "\r\n+OK\r\n", 7 }, { "GET", 3 },     { "99999999999999999999", 20 },
        { "*", 1 },   { "-0", 2 },          { "REPLACE", 7 }, { "\x80\xfe", 2 }
    };

    add_one_of(d, junk);
}

static void remove_arg(step *s, size_t at)
{
    free((char *)s->argv[at].data);
    memmove(&s->argv[at], &s->argv[at + 1], (s->argc - at - 1) * sizeof *s->argv);
    s->argc--;
}

static void damage(draw *d)
{
    step *s = d->step;
    size_t at = below(d, s->argc);

    switch (below(d, 4)) {
    case 0:
        if (s->argc > 1)
            remove_arg(s, at ? at : 1);
        break;
    case 1:
        if (s->argv[at].len <
            100) /* errors repeat strange words; how much of a long one is a matter of taste */
            add(d, s->argv[at]);
        break;
    case 2:
        add_junk(d);
        break;
    default:
        if (at && s->argc < args_max) {
            kv_slice old = s->argv[at];

            add_junk(d);
            s->argv[at] = s->argv[--s->argc];
            free((char *)old.data);
        }
    }
}

/* ---- the stream ------------------------------------------------------------------------- */

static bool is_word(kv_slice arg, const char *word)
{
    return kv_slice_equal(arg, kv_str(word));
}

/* What damage may have changed: how the reply is to be compared. */
static void settle(step *s)
{
    if (s->how == COMPARE_SCAN && s->argc < 2)
        s->how = COMPARE_BYTES;
    if (s->how == COMPARE_SCAN && !is_word(s->argv[1], "0")) { /* Redis takes "" and "-0" for 0; we do not */
        free((char *)s->argv[1].data);
        s->argv[1] = kv_slice_of(strdup("x1"), 2);
        s->how = COMPARE_BYTES;
    }
    if (s->how == COMPARE_RANDOM && s->argc > 1)
        s->how = COMPARE_BYTES;
    if (s->how == COMPARE_KEYS && s->argc > 1)
        s->how = COMPARE_BYTES;
    if (s->how == COMPARE_DEEP && s->argc < 3)
        s->how = COMPARE_TYPE; /* all commands: the servers have not the same */
    s->clears = is_word(s->argv[0], "FLUSHALL") && s->argc == 1;
    if (s->payload && (s->argc <= (size_t)s->payload || !is_word(s->argv[s->payload], "no payload")))
        s->payload = 0;
}

static const shape *shape_named(const char *name)
{
    const shape *s = shapes;

    while (strcmp(s->name, name) != 0)
        s++;
    return s;
}

/* In a transaction: what always answers the same, for EXEC gives it all in one reply; and its end. */
static const shape *draw_queued_shape(draw *d)
{
    const shape *s;

    if (once_in(d, 8))
        return shape_named(once_in(d, 8) ? "DISCARD" : "EXEC");
    do
        s = draw_shape(d);
    while (s->how != COMPARE_BYTES || strcmp(s->name, "COMMAND") == 0 || strcmp(s->name, "OBJECT") == 0 ||
           strcmp(s->name, "EXEC") == 0 || strcmp(s->name, "DISCARD") == 0);
    return s;
}

/* Whether the shape begins, ends or watches over a transaction: those are not damaged, or we would not know who is in one. */
static bool is_about_transactions(const shape *s)
{
    static const char *const names[] = { "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(s->name, names[i]) == 0)
            return true;
    return false;
}

static void draw_step(draw *d, step *s, int client)
{
    bool queued = d->in_transaction[client];
    const shape *drawn = queued ? draw_queued_shape(d) : draw_shape(d);

    d->step = s;
    s->argv = room(NULL, args_max * sizeof *s->argv);
    s->client = client;
    s->how = drawn->how;
    s->tolerance = drawn->tolerance;
    add_word(d, drawn->name);
    if (once_in(d, 2)) { /* clean spelling, so that is_word() recognises it */
        free((char *)s->argv[0].data);
        s->argc = 0;
        add_text(d, drawn->name);
    }
    for (const char *at = drawn->arguments; *at; at++)
        add_argument(d, *at);
    if (once_in(d, 10) && strcmp(drawn->name, "NOSUCHCOMMAND") != 0 && !is_about_transactions(drawn))
        damage(d);
    settle(s);
    s->clears = s->clears && !queued;
    if (is_about_transactions(drawn) && strstr(drawn->name, "WATCH") == NULL)
        d->in_transaction[client] = strcmp(drawn->name, "MULTI") == 0;
}

stream *stream_new(uint64_t seed, size_t count)
{
    draw d = { .state = seed };
    stream *s = room(NULL, sizeof *s);
    size_t run = 0; /* steps left that go with the one before */

    s->count = count;
    s->steps = room(NULL, count * sizeof *s->steps);
    memset(s->steps, 0, count * sizeof *s->steps);
    for (size_t i = 0; i < count; i++) {
        s->steps[i].pipelined = i && run;
        draw_step(&d, &s->steps[i], i && run ? s->steps[i - 1].client : (int)below(&d, stream_clients));
        if (i && run) {
            run--;
        } else {
            run = once_in(&d, 3) ? 0 : below(&d, 30);
        }
    }
    return s;
}

void stream_free(stream *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++) {
        for (size_t n = 0; n < s->steps[i].argc; n++)
            free((char *)s->steps[i].argv[n].data);
        free(s->steps[i].argv);
    }
    free(s->steps);
    free(s);
}
