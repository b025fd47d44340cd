/* format.c - see format.h. SPDX-License-Identifier: MIT */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

/* ---- writing ---------------------------------------------------------------------------- */

static void print_text(const history *h, excerpt t, FILE *out)
{
    const char *bytes = history_bytes(h, t);

    fputc('"', out);
    for (uint32_t i = 0; i < t.value.len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c > '~')
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_condition(const history *h, const op *o, FILE *out)
{
    switch ((op_cond)o->cond) {
    case COND_NX:
        fputs(" NX", out);
        break;
    case COND_XX:
        fputs(" XX", out);
        break;
    case COND_IFEQ:
        fputs(" IFEQ ", out);
        print_text(h, o->expect, out);
        break;
    case COND_IFVER:
        fprintf(out, " IFVER %" PRId64, o->version);
        break;
    default:
        break;
    }
}

static void print_set(const history *h, const op *o, FILE *out)
{
    fputs("SET ", out);
    print_text(h, o->arg, out);
    print_condition(h, o, out);
    if (o->number)
        fprintf(out, " PX %" PRId64, o->number);
    if (o->keep_ttl)
        fputs(" KEEPTTL", out);
    if (o->give_old)
        fputs(" GET", out);
}

void op_print_command(const history *h, const op *o, FILE *out)
{
    static const char *const names[] = {
        [OP_GET] = "GET",         [OP_GETDEL] = "GETDEL", [OP_STRLEN] = "STRLEN", [OP_EXISTS] = "EXISTS",
        [OP_PERSIST] = "PERSIST", [OP_PTTL] = "PTTL",     [OP_GETV] = "GETV",     [OP_READ] = "READ",
    };

    switch ((op_kind)o->kind) {
    case OP_SET:
        print_set(h, o, out);
        break;
    case OP_DEL:
        fputs("DEL", out);
        print_condition(h, o, out);
        break;
    case OP_ADD:
        fprintf(out, "INCRBY %" PRId64, o->number);
        break;
    case OP_APPEND:
        fputs("APPEND ", out);
        print_text(h, o->arg, out);
        break;
    case OP_EXPIRE:
        fprintf(out, "PEXPIRE %" PRId64, o->number);
        break;
    case OP_MOVE:
        fprintf(out, "MOVE %u %u %" PRId64, o->a, o->b, o->number);
        break;
    case OP_ADD_AT:
        fprintf(out, "ADD %u %" PRId64, o->a, o->number);
        break;
    case OP_READ_AT:
        fprintf(out, "READ %u", o->a);
        break;
    case OP_PUT:
        fprintf(out, "PUT %u %" PRId64 " %" PRId64 " %u %" PRId64 " %" PRId64, o->a, o->list[0], o->list[1],
                o->b, o->list[2], o->list[3]);
        break;
    default:
        fputs(names[o->kind], out);
    }
}

void op_print_reply(const history *h, const op *o, FILE *out)
{
    unsigned n = o->kind == OP_READ ? h->accounts : 2;

    switch ((reply_kind)o->reply) {
    case REPLY_OK:
        fputs("OK", out);
        break;
    case REPLY_NIL:
        fputs("nil", out);
        break;
    case REPLY_VALUE:
        print_text(h, o->seen, out);
        if (o->kind == OP_GETV)
            fprintf(out, " %" PRId64, o->reply_number);
        break;
    case REPLY_NUMBER:
        fprintf(out, "%" PRId64, o->reply_number);
        break;
    case REPLY_LIST:
        for (unsigned i = 0; i < n; i++)
            fprintf(out, "%s%" PRId64, i ? " " : "[", o->list[i]);
        fputc(']', out);
        break;
    case REPLY_TORN:
        fputs("torn ", out);
        print_text(h, o->seen, out);
        break;
    default:
        fputc('?', out);
    }
}

void history_write(const history *h, FILE *out)
{
    fprintf(out, "history %s %s", h->name, h->model == MODEL_BANK ? "bank" : "key");
    for (unsigned i = 0; i < h->accounts; i++)
        fprintf(out, " %" PRId64, h->initial[i]);
    if (h->slack_ns)
        fprintf(out, " slack %" PRId64, h->slack_ns);
    fputc('\n', out);
    for (unsigned i = 0; i < h->count; i++) {
        const op *o = &h->ops[i];

        fprintf(out, "%" PRIu32 " %" PRId64 " ", o->process, o->call);
        if (o->ret == HISTORY_OPEN)
            fputs("- ", out);
        else
            fprintf(out, "%" PRId64 " ", o->ret);
        op_print_command(h, o, out);
        fputs(" => ", out);
        op_print_reply(h, o, out);
        fputc('\n', out);
    }
    fputs("end\n", out);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct word {
    char *bytes;
    size_t len;
    bool quoted;
} word;

typedef struct words {
    word list[WORDS_MAX];
    unsigned count, next;
    history_reader *reader;
    history *history;
} words;

static int wrong(history_reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int wrong(history_reader *reader, const char *format, ...)
{
    va_list args;
    int len = snprintf(reader->error, sizeof reader->error, "line %u: ", reader->line);

    va_start(args, format);
    vsnprintf(reader->error + len, sizeof reader->error - (size_t)len, format, args);
    va_end(args);
    return -1;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A quoted text at *at, decoded in place. */
static int cut_text(words *w, char **at)
{
    word *to = &w->list[w->count];
    char *from = *at + 1, *end = from;

    to->bytes = from;
    to->quoted = true;
    for (; *from && *from != '"'; from++) {
        if (*from == '\\' && from[1] == 'x' && hex(from[2]) >= 0 && hex(from[3]) >= 0) {
            *end++ = (char)(hex(from[2]) << 4 | hex(from[3]));
            from += 3;
        } else if (*from == '\\' && (from[1] == '"' || from[1] == '\\')) {
            *end++ = *++from;
        } else if (*from == '\\') {
            return wrong(w->reader, "\\ stands only before \", \\ and xHH");
        } else {
            *end++ = *from;
        }
    }
    if (*from != '"')
        return wrong(w->reader, "a text has no end");
    to->len = (size_t)(end - to->bytes);
    w->count++;
    *at = from + 1;
    return 0;
}

/* The words of a line; [ and ] are words of their own. The line is written over. */
static int cut(words *w, char *line)
{
    w->count = w->next = 0;
    for (char *at = line; *(at += strspn(at, " \t\r\n"));) {
        size_t len = *at == '[' || *at == ']' ? 1 : strcspn(at, " \t\r\n[]");

        if (w->count == WORDS_MAX)
            return wrong(w->reader, "more than %d words", WORDS_MAX);
        if (*at == '"') {
            if (cut_text(w, &at))
                return -1;
            continue;
        }
        w->list[w->count++] = (word){ .bytes = at, .len = len };
        at += len;
    }
    return 0;
}

static bool next_is(words *w, const char *name)
{
    const word *first = &w->list[w->next];

    if (w->next == w->count || first->quoted || first->len != strlen(name) ||
        memcmp(first->bytes, name, first->len) != 0)
        return false;
    w->next++;
    return true;
}

static int take_number(words *w, const char *what, int64_t *ret)
{
    const word *next = &w->list[w->next];
    value v = { 0 };

    if (w->next < w->count && !next->quoted)
        v = value_of(next->bytes, next->len);
    if (!v.is_number)
        return wrong(w->reader, "word %u: expected a number (%s)", w->next + 1, what);
    *ret = v.number;
    w->next++;
    return 0;
}

static int take_account(words *w, uint8_t *ret)
{
    int64_t n = 0;

    if (take_number(w, "an account", &n))
        return -1;
    if (n < 0 || n >= w->history->accounts)
        return wrong(w->reader, "there is no account %" PRId64 " of %u", n, w->history->accounts);
    *ret = (uint8_t)n;
    return 0;
}

static int take_text(words *w, excerpt *ret)
{
    const word *next = &w->list[w->next];

    if (w->next == w->count || !next->quoted)
        return wrong(w->reader, "word %u: expected a text in quotes", w->next + 1);
    if (history_text(w->history, next->bytes, next->len, ret))
        return wrong(w->reader, "out of memory");
    w->next++;
    return 0;
}

static int take_condition(words *w, op *o)
{
    if (next_is(w, "IFEQ")) {
        o->cond = COND_IFEQ;
        return take_text(w, &o->expect);
    }
    if (next_is(w, "IFVER")) {
        o->cond = COND_IFVER;
        return take_number(w, "a version", &o->version);
    }
    return 0;
}

static int take_set(words *w, op *o)
{
    if (take_text(w, &o->arg) || take_condition(w, o))
        return -1;
    if (o->cond == COND_NONE && next_is(w, "NX"))
        o->cond = COND_NX;
    if (o->cond == COND_NONE && next_is(w, "XX"))
        o->cond = COND_XX;
    if (next_is(w, "PX") && take_number(w, "milliseconds", &o->number))
        return -1;
    o->keep_ttl = next_is(w, "KEEPTTL");
    o->give_old = next_is(w, "GET");
    return 0;
}

static int take_put(words *w, op *o)
{
    if (take_account(w, &o->a) || take_number(w, "the old balance", &o->list[0]) ||
        take_number(w, "the new balance", &o->list[1]) || take_account(w, &o->b) ||
        take_number(w, "the old balance", &o->list[2]) || take_number(w, "the new balance", &o->list[3]))
        return -1;
    return 0;
}

static int take_key_command(words *w, op *o)
{
    static const struct {
        const char *name;
        op_kind kind;
    } plain[] = { { "GET", OP_GET },       { "GETDEL", OP_GETDEL },   { "STRLEN", OP_STRLEN },
                  { "EXISTS", OP_EXISTS }, { "PERSIST", OP_PERSIST }, { "PTTL", OP_PTTL },
                  { "GETV", OP_GETV } };

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (next_is(w, plain[i].name)) {
            o->kind = (uint8_t)plain[i].kind;
            return 0;
        }
    if (next_is(w, "SET")) {
        o->kind = OP_SET;
        return take_set(w, o);
    }
    if (next_is(w, "DEL")) {
        o->kind = OP_DEL;
        return take_condition(w, o);
    }
    if (next_is(w, "INCRBY")) {
        o->kind = OP_ADD;
        return take_number(w, "the increment", &o->number);
    }
    if (next_is(w, "APPEND")) {
        o->kind = OP_APPEND;
        return take_text(w, &o->arg);
    }
    if (next_is(w, "PEXPIRE")) {
        o->kind = OP_EXPIRE;
        return take_number(w, "milliseconds", &o->number);
    }
    return wrong(w->reader, "word %u: not a command of a key", w->next + 1);
}

static int take_bank_command(words *w, op *o)
{
    if (next_is(w, "MOVE")) {
        o->kind = OP_MOVE;
        return take_account(w, &o->a) || take_account(w, &o->b) || take_number(w, "the amount", &o->number)
                   ? -1
                   : 0;
    }
    if (next_is(w, "ADD")) {
        o->kind = OP_ADD_AT;
        return take_account(w, &o->a) || take_number(w, "the amount", &o->number) ? -1 : 0;
    }
    if (next_is(w, "PUT")) {
        o->kind = OP_PUT;
        return take_put(w, o);
    }
    if (next_is(w, "READ")) {
        o->kind = OP_READ;
        if (next_is(w, "=>")) {
            w->next--;
            return 0;
        }
        o->kind = OP_READ_AT;
        return take_account(w, &o->a);
    }
    return wrong(w->reader, "word %u: not a command of a bank", w->next + 1);
}

static int take_list(words *w, op *o)
{
    unsigned n = 0, wanted = o->kind == OP_READ ? w->history->accounts : 2;

    o->reply = REPLY_LIST;
    if (w->history->model != MODEL_BANK || (o->kind != OP_READ && o->kind != OP_MOVE))
        return wrong(w->reader, "only MOVE and READ of a bank give a list");
    while (!next_is(w, "]")) {
        if (n == wanted)
            return wrong(w->reader, "more than %u numbers in a list", wanted);
        if (take_number(w, "a balance", &o->list[n++]))
            return -1;
    }
    return n == wanted ? 0 : wrong(w->reader, "fewer than %u numbers in a list", wanted);
}

/* 1: the operation is part of the history; 0: it is not (an error; a read without a reply). */
static int take_reply(words *w, op *o)
{
    if (next_is(w, "error"))
        return 0;
    if (next_is(w, "?")) {
        o->ret = HISTORY_OPEN;
        return !op_is_read(o);
    }
    if (o->ret == HISTORY_OPEN)
        return wrong(w->reader, "an operation without a return has the reply ?");
    if (next_is(w, "OK"))
        o->reply = REPLY_OK;
    else if (next_is(w, "nil"))
        o->reply = REPLY_NIL;
    else if (next_is(w, "["))
        return take_list(w, o) ? -1 : 1;
    else if (w->history->model == MODEL_KEY && next_is(w, "torn"))
        return o->reply = REPLY_TORN, take_text(w, &o->seen) ? -1 : 1;
    else if (w->history->model == MODEL_KEY && w->next < w->count && w->list[w->next].quoted)
        o->reply = REPLY_VALUE;
    else
        o->reply = REPLY_NUMBER;
    if (o->reply == REPLY_VALUE && take_text(w, &o->seen))
        return -1;
    if ((o->reply == REPLY_NUMBER || (o->reply == REPLY_VALUE && o->kind == OP_GETV)) &&
        take_number(w, "the reply", &o->reply_number))
        return -1;
    return 1;
}

static int take_op(words *w)
{
    op o = { .ret = HISTORY_OPEN };
    int64_t process = 0;
    int kept;

    if (take_number(w, "the process", &process) || take_number(w, "the call", &o.call))
        return -1;
    if (process < 0 || process > UINT32_MAX)
        return wrong(w->reader, "a process is a number from 0 to %u", UINT32_MAX);
    if (!next_is(w, "-") && take_number(w, "the return", &o.ret))
        return -1;
    if (o.ret < o.call)
        return wrong(w->reader, "it returns before it is called");
    o.process = (uint32_t)process;
    if (w->history->model == MODEL_BANK ? take_bank_command(w, &o) : take_key_command(w, &o))
        return -1;
    if (!next_is(w, "=>"))
        return wrong(w->reader, "word %u: expected =>", w->next + 1);
    kept = take_reply(w, &o);
    if (kept < 0)
        return -1;
    if (kept && w->next != w->count)
        return wrong(w->reader, "word %u: expected the end of the line", w->next + 1);
    return kept && history_add(w->history, &o) ? wrong(w->reader, "out of memory") : 0;
}

static int take_head(words *w)
{
    history *h = w->history;

    if (!next_is(w, "history"))
        return wrong(w->reader, "expected: history <name> key, or history <name> bank <balance> ...");
    if (w->next == w->count || w->list[w->next].len > HISTORY_NAME_MAX)
        return wrong(w->reader, "word 2: expected a name of at most %d bytes", HISTORY_NAME_MAX);
    memcpy(h->name, w->list[w->next].bytes, w->list[w->next].len);
    w->next++;
    if (next_is(w, "bank"))
        h->model = MODEL_BANK;
    else if (!next_is(w, "key"))
        return wrong(w->reader, "word 3: expected key or bank");
    while (w->next < w->count) {
        if (next_is(w, "slack")) {
            if (take_number(w, "nanoseconds", &h->slack_ns))
                return -1;
        } else if (h->model != MODEL_BANK || h->accounts == HISTORY_ACCOUNTS) {
            return wrong(w->reader, "word %u: a bank has up to %d balances, a key none", w->next + 1,
                         HISTORY_ACCOUNTS);
        } else if (take_number(w, "a balance", &h->initial[h->accounts++])) {
            return -1;
        }
    }
    return h->slack_ns < 0 ? wrong(w->reader, "the slack is negative") : 0;
}

int history_read(history_reader *reader, history *ret)
{
    words w = { .reader = reader, .history = ret };
    char *line = NULL;
    size_t room = 0;
    bool open = false;
    int err = 0;

    history_init(ret, MODEL_KEY, "");
    while (!err && getline(&line, &room, reader->in) >= 0) {
        reader->line++;
        err = cut(&w, line);
        if (err || w.count == 0 || w.list[0].bytes[0] == '#')
            continue;
        if (open && next_is(&w, "end")) {
            free(line);
            return 1;
        }
        err = open ? take_op(&w) : take_head(&w);
        open = true;
    }
    if (!err && ferror(reader->in))
        err = wrong(reader, "%s", strerror(errno));
    else if (!err && open)
        err = wrong(reader, "the history of %s has no end", ret->name);
    free(line);
    history_done(ret);
    return err;
}
