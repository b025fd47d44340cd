/* format.c - SPDX-License-Identifier: MIT */
#include "format.h"

#include "json.h"

static bool is_aggregate(kvc_type type)
{
    return type == KVC_TYPE_ARRAY || type == KVC_TYPE_MAP || type == KVC_TYPE_SET || type == KVC_TYPE_PUSH;
}

/* ---- raw ---- */

static void add_raw(const format *f, const kvc_reply *reply, text *out)
{
    kvc_type type = kvc_reply_type(reply);
    size_t count = kvc_reply_count(reply);

    switch (type) {
    case KVC_TYPE_NIL:
        break;
    case KVC_TYPE_INT:
        text_printf(out, "%lld", (long long)kvc_reply_int(reply));
        break;
    case KVC_TYPE_BOOL:
        text_add_str(out, kvc_reply_int(reply) ? "(true)" : "(false)");
        break;
    case KVC_TYPE_ERROR:
        text_add_slice(out, kvc_reply_text(reply));
        text_add_char(out, '\n');
        break;
    case KVC_TYPE_ARRAY:
    case KVC_TYPE_SET:
    case KVC_TYPE_PUSH:
    case KVC_TYPE_MAP:
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                text_add_str(out, type == KVC_TYPE_MAP && i % 2 ? " " : f->element_delimiter);
            add_raw(f, kvc_reply_at(reply, i), out);
        }
        break;
    default:
        text_add_slice(out, kvc_reply_text(reply));
    }
}

/* ---- for a terminal ---- */

enum color { COLOR_NONE, COLOR_ERROR, COLOR_NUMBER, COLOR_FAINT, COLOR_STRING };

static void add_color(const format *f, enum color color, text *out)
{
    static const char *const codes[] = { "\x1b[0m", "\x1b[31m", "\x1b[36m", "\x1b[2m", "\x1b[32m" };

    if (f->colors)
        text_add_str(out, codes[color]);
}

static void add_string(const format *f, kvc_slice string, text *out)
{
    add_color(f, COLOR_STRING, out);
    if (f->utf8)
        text_quoted_utf8(out, string);
    else
        text_quoted(out, string);
    add_color(f, COLOR_NONE, out);
}

static void add_scalar(const format *f, const kvc_reply *reply, text *out)
{
    kvc_slice string = kvc_reply_text(reply);
    kvc_type type = kvc_reply_type(reply);

    if (type == KVC_TYPE_STRING) {
        add_string(f, string, out);
        return;
    }
    add_color(f,
              type == KVC_TYPE_ERROR                                 ? COLOR_ERROR
              : type == KVC_TYPE_NIL                                 ? COLOR_FAINT
              : type == KVC_TYPE_SIMPLE || type == KVC_TYPE_VERBATIM ? COLOR_NONE
                                                                     : COLOR_NUMBER,
              out);
    if (type == KVC_TYPE_NIL)
        text_add_str(out, "(nil)");
    else if (type == KVC_TYPE_INT)
        text_printf(out, "(integer) %lld", (long long)kvc_reply_int(reply));
    else if (type == KVC_TYPE_BOOL)
        text_add_str(out, kvc_reply_int(reply) ? "(true)" : "(false)");
    else {
        text_add_str(out, type == KVC_TYPE_ERROR    ? "(error) "
                          : type == KVC_TYPE_DOUBLE ? "(double) "
                          : type == KVC_TYPE_BIGNUM ? "(big number) "
                                                    : "");
        text_add_slice(out, string);
    }
    add_color(f, COLOR_NONE, out);
}

static int digits(size_t n)
{
    int count = 1;

    while (n /= 10)
        count++;
    return count;
}

/* Of a map's values; a set is shown behind its key. */
static bool begins_a_line(const kvc_reply *value)
{
    kvc_type type = kvc_reply_type(value);

    return (type == KVC_TYPE_ARRAY || type == KVC_TYPE_MAP) && kvc_reply_count(value);
}

/* The elements, each on a line of its own; the first stands where the cursor is. */
static void add_elements(const format *f, const kvc_reply *reply, int indent, text *out)
{
    kvc_type type = kvc_reply_type(reply);
    size_t step = type == KVC_TYPE_MAP ? 2 : 1;
    size_t n = kvc_reply_count(reply) / step;
    int width = digits(n);

    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            text_printf(out, "\n%*s", indent, "");
        add_color(f, COLOR_FAINT, out);
        text_printf(out, "%*zu%s ", width, i + 1,
                    type == KVC_TYPE_MAP   ? "#"
                    : type == KVC_TYPE_SET ? "~"
                                           : ")");
        add_color(f, COLOR_NONE, out);
        format_indented(f, kvc_reply_at(reply, i * step), indent + width + 2, out);
        if (step == 2) {
            const kvc_reply *value = kvc_reply_at(reply, i * step + 1);

            text_add_str(out, " => ");
            if (begins_a_line(value))
                text_printf(out, "\n%*s", indent + width + 2, "");
            format_indented(f, value, indent + width + 2, out);
        }
    }
}

void format_indented(const format *f, const kvc_reply *reply, int indent, text *out)
{
    kvc_type type = kvc_reply_type(reply);

    if (!is_aggregate(type)) {
        add_scalar(f, reply, out);
    } else if (kvc_reply_count(reply) == 0) {
        add_color(f, COLOR_FAINT, out);
        text_add_str(out, type == KVC_TYPE_MAP    ? "(empty hash)"
                          : type == KVC_TYPE_SET  ? "(empty set)"
                          : type == KVC_TYPE_PUSH ? "(empty push)"
                                                  : "(empty array)");
        add_color(f, COLOR_NONE, out);
    } else {
        add_elements(f, reply, indent, out);
    }
}

/* ---- CSV ---- */

static void add_csv(const kvc_reply *reply, text *out)
{
    size_t count = kvc_reply_count(reply);

    switch (kvc_reply_type(reply)) {
    case KVC_TYPE_NIL:
        text_add_str(out, "NULL");
        break;
    case KVC_TYPE_INT:
        text_printf(out, "%lld", (long long)kvc_reply_int(reply));
        break;
    case KVC_TYPE_BOOL:
        text_add_str(out, kvc_reply_int(reply) ? "true" : "false");
        break;
    case KVC_TYPE_DOUBLE:
    case KVC_TYPE_BIGNUM:
        text_add_slice(out, kvc_reply_text(reply));
        break;
    case KVC_TYPE_ARRAY:
    case KVC_TYPE_SET:
    case KVC_TYPE_PUSH:
    case KVC_TYPE_MAP:
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                text_add_char(out, ',');
            add_csv(kvc_reply_at(reply, i), out);
        }
        break;
    case KVC_TYPE_ERROR:
        text_add_str(out, "ERROR,");
        text_quoted(out, kvc_reply_text(reply));
        break;
    default:
        text_quoted(out, kvc_reply_text(reply));
    }
}

/* ---- any ---- */

void format_reply(const format *f, const kvc_reply *reply, text *out)
{
    if (f->kind == FORMAT_JSON || f->kind == FORMAT_JSON_ASCII) {
        json_reply(reply, f->kind == FORMAT_JSON_ASCII, out);
        text_add_char(out, '\n');
    } else if (f->verbatim) {
        add_raw(f, reply, out);
    } else if (f->kind == FORMAT_RAW) {
        add_raw(f, reply, out);
        text_add_str(out, f->reply_delimiter);
    } else if (f->kind == FORMAT_CSV) {
        add_csv(reply, out);
        text_add_char(out, '\n');
    } else {
        format_indented(f, reply, 0, out);
        text_add_char(out, '\n');
    }
}

bool format_is_verbatim(size_t argc, const kvc_slice *argv)
{
    static const char *const commands[][2] = {
        { "info", NULL },
        { "lolwut", NULL },
        { "client", "list" },
        { "client", "info" },
        { "memory", "doctor" },
        { "cluster", "nodes" },
        { "memory", "malloc-stats" },
        { "cluster", "info" },
        { "latency", "doctor" },
        { "latency", "graph" },
        { "debug", "htstats" },
        { "debug", "htstats-key" },
    };

    for (size_t i = 0; argc && i < sizeof commands / sizeof *commands; i++) {
        if (slice_is_word(argv[0], commands[i][0]) &&
            (!commands[i][1] || (argc > 1 && slice_is_word(argv[1], commands[i][1]))))
            return true;
    }
    return false;
}
