/* json.c - SPDX-License-Identifier: MIT */
#include "json.h"

static bool is_utf8(kvc_slice s)
{
    size_t len;

    for (; s.len; s = kvc_bytes(s.data + len, s.len - len)) {
        len = utf8_len(s);
        if (!len)
            return false;
    }
    return true;
}

static void add_base64(kvc_slice s, text *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t three = 0;

        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < s.len ? (unsigned char)s.data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            text_add_char(out, i + k <= s.len ? letters[three >> (18 - 6 * k) & 63] : '=');
    }
}

static uint32_t code_point(kvc_slice sequence)
{
    const unsigned char *b = (const unsigned char *)sequence.data;
    uint32_t point = b[0] & (0xff >> (sequence.len + 1));

    for (size_t i = 1; i < sequence.len; i++)
        point = point << 6 | (b[i] & 0x3f);
    return point;
}

/* A character that is not ASCII, as \u escapes: two of them beyond the basic plane. */
static void add_u_escape(uint32_t point, text *out)
{
    if (point < 0x10000)
        text_printf(out, "\\u%04x", point);
    else
        text_printf(out, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10), 0xdc00 + (point & 0x3ff));
}

static void add_ascii(unsigned char c, text *out)
{
    static const char letters[] = "\\\"\n\r\t\b\f", escapes[] = "\\\"nrtbf";
    const char *at = c ? strchr(letters, c) : NULL;

    if (at)
        text_printf(out, "\\%c", escapes[at - letters]);
    else if (c < 0x20 || c == 0x7f)
        text_printf(out, "\\u%04x", c);
    else
        text_add_char(out, (char)c);
}

/* Without quotes; s is UTF-8. */
static void add_characters(kvc_slice s, bool ascii, text *out)
{
    for (size_t i = 0, len; i < s.len; i += len) {
        kvc_slice sequence = kvc_bytes(s.data + i, utf8_len(kvc_bytes(s.data + i, s.len - i)));

        len = sequence.len;
        if (len == 1)
            add_ascii((unsigned char)s.data[i], out);
        else if (ascii)
            add_u_escape(code_point(sequence), out);
        else
            text_add_slice(out, sequence);
    }
}

void json_string(kvc_slice bytes, bool ascii, text *out)
{
    if (!is_utf8(bytes)) {
        text_add_str(out, "{\"base64\":\"");
        add_base64(bytes, out);
        text_add_str(out, "\"}");
        return;
    }
    text_add_char(out, '"');
    add_characters(bytes, ascii, out);
    text_add_char(out, '"');
}

static size_t digits_at(kvc_slice s, size_t at)
{
    size_t n = 0;

    while (at + n < s.len && s.data[at + n] >= '0' && s.data[at + n] <= '9')
        n++;
    return n;
}

/* number = [ "-" ] int [ "." digits ] [ e [ sign ] digits ] */
static bool is_number(kvc_slice s)
{
    size_t at = s.len && s.data[0] == '-', n = digits_at(s, at);

    if (n == 0 || (n > 1 && s.data[at] == '0'))
        return false;
    at += n;
    if (at < s.len && s.data[at] == '.') {
        n = digits_at(s, ++at);
        if (n == 0)
            return false;
        at += n;
    }
    if (at < s.len && (s.data[at] | 0x20) == 'e') {
        at++;
        at += at < s.len && (s.data[at] == '+' || s.data[at] == '-');
        n = digits_at(s, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == s.len;
}

/* A key must be a string. */
static void add_key(const kvc_reply *key, bool ascii, text *out)
{
    kvc_slice bytes = kvc_reply_text(key);
    text inner = { 0 };

    switch (kvc_reply_type(key)) {
    case KVC_TYPE_STRING:
    case KVC_TYPE_SIMPLE:
    case KVC_TYPE_VERBATIM:
        if (is_utf8(bytes)) {
            text_add_slice(&inner, bytes);
        } else {
            text_add_str(&inner, "base64:");
            add_base64(bytes, &inner);
        }
        break;
    default:
        json_reply(key, ascii, &inner);
    }
    json_string(text_slice(&inner), ascii, out);
    text_done(&inner);
}

static void add_map(const kvc_reply *map, bool ascii, text *out)
{
    text_add_char(out, '{');
    for (size_t i = 0; i + 1 < kvc_reply_count(map); i += 2) {
        if (i > 0)
            text_add_char(out, ',');
        add_key(kvc_reply_at(map, i), ascii, out);
        text_add_char(out, ':');
        json_reply(kvc_reply_at(map, i + 1), ascii, out);
    }
    text_add_char(out, '}');
}

static void add_list(const kvc_reply *list, bool ascii, text *out)
{
    text_add_char(out, '[');
    for (size_t i = 0; i < kvc_reply_count(list); i++) {
        if (i > 0)
            text_add_char(out, ',');
        json_reply(kvc_reply_at(list, i), ascii, out);
    }
    text_add_char(out, ']');
}

void json_reply(const kvc_reply *reply, bool ascii, text *out)
{
    kvc_slice bytes = kvc_reply_text(reply);

    switch (kvc_reply_type(reply)) {
    case KVC_TYPE_NIL:
        text_add_str(out, "null");
        break;
    case KVC_TYPE_INT:
        text_printf(out, "%lld", (long long)kvc_reply_int(reply));
        break;
    case KVC_TYPE_BOOL:
        text_add_str(out, kvc_reply_int(reply) ? "true" : "false");
        break;
    case KVC_TYPE_DOUBLE:
    case KVC_TYPE_BIGNUM:
        if (is_number(bytes))
            text_add_slice(out, bytes);
        else
            json_string(bytes, ascii, out);
        break;
    case KVC_TYPE_ERROR:
        text_add_str(out, "{\"error\":");
        json_string(bytes, ascii, out);
        text_add_char(out, '}');
        break;
    case KVC_TYPE_MAP:
        add_map(reply, ascii, out);
        break;
    case KVC_TYPE_ARRAY:
    case KVC_TYPE_SET:
    case KVC_TYPE_PUSH:
        add_list(reply, ascii, out);
        break;
    default:
        json_string(bytes, ascii, out);
    }
}
