/* peek.c - SPDX-License-Identifier: MIT */
#include "peek.h"

#include <stdio.h>

#include "print.h"

enum { ELEMENTS_SHOWN = 10, BYTES_SHOWN = 512 };

/* How each type tells its size and its beginning; NULL words end a command, "" stands for the key. */
static const struct peek_type {
    const char *type, *unit;
    const char *size[3], *begin[6];
    bool scan;  /* begin is a SCAN-like command: the elements are in the second element of its reply */
    size_t per; /* reply elements for each element shown */
} types[] = {
    { "string", "bytes", { "STRLEN", "" }, { "GETRANGE", "", "0", "511" }, false, 0 },
    { "list", "items", { "LLEN", "" }, { "LRANGE", "", "0", "9" }, false, 1 },
    { "set", "members", { "SCARD", "" }, { "SSCAN", "", "0", "COUNT", "10" }, true, 1 },
    { "hash", "fields", { "HLEN", "" }, { "HSCAN", "", "0", "COUNT", "10" }, true, 2 },
    { "zset", "members", { "ZCARD", "" }, { "ZRANGE", "", "0", "9", "WITHSCORES" }, false, 2 },
    { "stream", "entries", { "XLEN", "" }, { "XREVRANGE", "", "+", "-", "COUNT" }, false, 1 },
};

static kvc_reply *ask(conversation *c, const char *const *command, kvc_slice key, kvc_error *error)
{
    kvc_reply *reply = NULL;
    words w = { 0 };

    for (size_t i = 0; command[i]; i++)
        words_add(&w, *command[i] ? kvc_str(command[i]) : key);
    if (words_at_is(&w, 0, "XREVRANGE"))
        words_add_str(&w, "10");
    if (error->status == KVC_OK && conversation_ask(c, w.n, w.items, &reply, error) == KVC_OK)
        error->status = KVC_OK;
    words_done(&w);
    return reply;
}

static bool is_error(const kvc_reply *reply)
{
    return kvc_reply_type(reply) == KVC_TYPE_ERROR;
}

/* The beginning of what is inside, by type. */
static void add_content(const settings *s, const struct peek_type *t, const kvc_reply *reply, text *out)
{
    const kvc_reply *list = t->scan ? kvc_reply_at(reply, 1) : reply;
    size_t n = kvc_reply_count(list), per = t->per;
    format f = s->format;

    f.kind = FORMAT_TERMINAL;
    f.utf8 = true;
    if (per == 0) {
        format_reply(&f, reply, out);
        return;
    }
    if (t->per == 2 && kvc_reply_type(kvc_reply_at(list, 0)) == KVC_TYPE_ARRAY)
        per = 1; /* RESP3 gives pairs */
    for (size_t i = 0; i + per <= n && i / per < ELEMENTS_SHOWN; i += per) {
        text_add_str(out, "  ");
        format_indented(&f, kvc_reply_at(list, i), 2, out);
        if (per == 2) {
            text_add_str(out, " = ");
            format_indented(&f, kvc_reply_at(list, i + 1), 2, out);
        }
        text_add_char(out, '\n');
    }
}

static void add_deadline(const kvc_reply *pttl, text *out)
{
    long long ms = kvc_reply_int(pttl);

    if (is_error(pttl) || kvc_reply_type(pttl) != KVC_TYPE_INT)
        return;
    if (ms < 0)
        text_add_str(out, "expires:  never\n");
    else
        text_printf(out, "expires:  in %lld.%03lld s\n", ms / 1000, ms % 1000);
}

static void add_line(const char *name, const kvc_reply *reply, const char *unit, text *out)
{
    if (!reply || is_error(reply) || kvc_reply_type(reply) == KVC_TYPE_NIL)
        return;
    text_printf(out, "%-9s ", name);
    if (kvc_reply_type(reply) == KVC_TYPE_INT)
        text_printf(out, "%lld", (long long)kvc_reply_int(reply));
    else
        text_add_slice(out, kvc_reply_text(reply));
    text_printf(out, "%s%s\n", *unit ? " " : "", unit);
}

static void add_facts(conversation *c, kvc_slice key, kvc_error *error, text *out)
{
    static const char *const encoding[] = { "OBJECT", "ENCODING", "", NULL },
                             *const memory[] = { "MEMORY", "USAGE", "", NULL },
                             *const pttl[] = { "PTTL", "", NULL };
    kvc_reply *replies[] = { ask(c, encoding, key, error), ask(c, memory, key, error),
                             ask(c, pttl, key, error) };

    add_line("encoding:", replies[0], "", out);
    add_line("memory:", replies[1], "bytes", out);
    add_deadline(replies[2], out);
    for (size_t i = 0; i < 3; i++)
        kvc_reply_free(replies[i]);
}

/* kvserver's strings have a version. */
static void add_version(conversation *c, kvc_slice key, kvc_error *error, text *out)
{
    static const char *const getv[] = { "GETV", "", NULL };
    kvc_reply *reply = ask(c, getv, key, error);

    if (kvc_reply_count(reply) == 3)
        add_line("version:", kvc_reply_at(reply, 1), "", out);
    kvc_reply_free(reply);
}

static exit_status show_type(conversation *c, kvc_slice key, const char *name, kvc_error *error, text *out)
{
    const struct peek_type *t = NULL;
    kvc_reply *size = NULL, *begin = NULL;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].type, name) == 0)
            t = &types[i];
    }
    if (t)
        size = ask(c, t->size, key, error);
    add_line("size:", size, t ? t->unit : "", out);
    add_facts(c, key, error, out);
    /* GETV gives the value too: not of a large one. */
    if (t && strcmp(name, "string") == 0 && kvc_reply_int(size) <= BYTES_SHOWN)
        add_version(c, key, error, out);
    if (t) {
        begin = ask(c, t->begin, key, error);
        if (begin)
            add_content(c->settings, t, begin, out);
        if (kvc_reply_int(size) > (t->per ? ELEMENTS_SHOWN : BYTES_SHOWN))
            text_printf(out, "  ... (%lld %s in all)\n", (long long)kvc_reply_int(size), t->unit);
    }
    kvc_reply_free(size);
    kvc_reply_free(begin);
    return error->status == KVC_OK ? EXIT_FINE : exit_status_of(error);
}

exit_status peek_show(conversation *c, kvc_slice key)
{
    static const char *const type[] = { "TYPE", "", NULL };
    kvc_error error = { .status = KVC_OK };
    kvc_reply *reply = ask(c, type, key, &error);
    exit_status status = EXIT_FINE;
    text out = { 0 };

    if (reply && is_error(reply)) {
        status = print_reply(c->settings, 0, NULL, reply);
    } else if (reply && slice_is_word(kvc_reply_text(reply), "none")) {
        status = complain(EXIT_SERVER, "there is no such key");
    } else if (reply) {
        add_line("type:", reply, "", &out);
        status = show_type(c, key, kvc_reply_text(reply).data, &error, &out);
    }
    if (error.status != KVC_OK)
        status = complain(exit_status_of(&error), "%s", error.message);
    else
        print_text(c->settings, text_slice(&out));
    kvc_reply_free(reply);
    text_done(&out);
    return status;
}
