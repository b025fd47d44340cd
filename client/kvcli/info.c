/* info.c - SPDX-License-Identifier: MIT */
#include "info.h"

#include <stdio.h>
#include <stdlib.h>

kvc_status info_read(info *i, conversation *c, const char *section, kvc_error *error)
{
    const char *const ask[] = { "INFO", section, NULL };
    kvc_reply *reply = NULL;
    kvc_status status = conversation_ask_strings(c, ask, &reply, error);

    text_clear(&i->lines);
    if (status == KVC_OK && kvc_reply_type(reply) == KVC_TYPE_ERROR) {
        *error = (kvc_error){ .status = status = KVC_EREPLY };
        snprintf(error->message, sizeof error->message, "INFO: %s", kvc_reply_text(reply).data);
    } else if (status == KVC_OK) {
        text_add_slice(&i->lines, kvc_reply_text(reply));
    }
    kvc_reply_free(reply);
    return status;
}

void info_done(info *i)
{
    text_done(&i->lines);
}

/* The line that begins at at, without its end; *at moves on. False: there is none. */
static bool next_line(const char **at, kvc_slice *ret_line)
{
    size_t len = strcspn(*at, "\r\n");

    if (!**at)
        return false;
    *ret_line = kvc_bytes(*at, len);
    *at += len;
    *at += strspn(*at, "\r\n");
    return true;
}

kvc_slice info_find(const info *i, const char *name)
{
    const char *at = text_str(&i->lines);
    size_t len = strlen(name);
    kvc_slice line;

    while (next_line(&at, &line)) {
        if (line.len > len && line.data[len] == ':' && memcmp(line.data, name, len) == 0)
            return kvc_bytes(line.data + len + 1, line.len - len - 1);
    }
    return kvc_bytes(NULL, 0);
}

double info_number(const info *i, const char *name, double otherwise)
{
    kvc_slice value = info_find(i, name);
    char *end;
    double n;

    if (!value.data)
        return otherwise;
    n = strtod(value.data, &end);
    return end == value.data ? otherwise : n;
}

void info_text(const info *i, const char *name, const char *otherwise, text *out)
{
    kvc_slice value = info_find(i, name);

    if (value.data)
        text_add_slice(out, value);
    else
        text_add_str(out, otherwise);
}

void info_each(const info *i, const char *prefix, info_line_fn *visit, void *arg)
{
    const char *at = text_str(&i->lines);
    size_t len = strlen(prefix);
    kvc_slice line;

    while (next_line(&at, &line)) {
        const char *colon = memchr(line.data, ':', line.len);

        if (colon && (size_t)(colon - line.data) >= len && memcmp(line.data, prefix, len) == 0)
            visit(arg, kvc_bytes(line.data + len, (size_t)(colon - line.data) - len),
                  kvc_bytes(colon + 1, line.len - (size_t)(colon - line.data) - 1));
    }
}

double info_field(kvc_slice value, const char *field, double otherwise)
{
    size_t len = strlen(field), at = 0;

    while (at < value.len) {
        const char *comma = memchr(value.data + at, ',', value.len - at);
        size_t end = comma ? (size_t)(comma - value.data) : value.len;

        if (end - at > len && value.data[at + len] == '=' && memcmp(value.data + at, field, len) == 0)
            return strtod(value.data + at + len + 1, NULL);
        at = end + 1;
    }
    return otherwise;
}
