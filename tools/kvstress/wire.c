/* wire.c - see wire.h. SPDX-License-Identifier: MIT */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 24u /* "$", a length, CRLF, and the CRLF after the bytes */

static size_t print_count(char *out, char type, size_t count)
{
    char digits[20];
    size_t n = 0, len = 0;

    out[len++] = type;
    do
        digits[n++] = (char)('0' + count % 10);
    while (count /= 10);
    while (n)
        out[len++] = digits[--n];
    out[len++] = '\r';
    out[len++] = '\n';
    return len;
}

static bool make_room(wire *w, size_t len)
{
    char *bigger;
    size_t room;

    if (w->room - w->len >= len)
        return true;
    room = 2 * w->room + len;
    bigger = realloc(w->bytes, room);
    if (!bigger) {
        w->failed = true;
        return false;
    }
    w->bytes = bigger;
    w->room = room;
    return true;
}

void wire_command(wire *w, unsigned words)
{
    if (make_room(w, HEAD_MAX))
        w->len += print_count(w->bytes + w->len, '*', words);
}

char *wire_space(wire *w, size_t len)
{
    char *space;

    if (!make_room(w, len + 2 * HEAD_MAX))
        return NULL;
    w->len += print_count(w->bytes + w->len, '$', len);
    space = w->bytes + w->len;
    w->len += len;
    w->bytes[w->len++] = '\r';
    w->bytes[w->len++] = '\n';
    return space;
}

void wire_arg(wire *w, const char *bytes, size_t len)
{
    char *space = wire_space(w, len);

    if (space && len)
        memcpy(space, bytes, len);
}

void wire_text(wire *w, const char *text)
{
    wire_arg(w, text, strlen(text));
}

void wire_number(wire *w, int64_t number)
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char text[24], *at = text + sizeof text;

    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--at = '-';
    wire_arg(w, at, (size_t)(text + sizeof text - at));
}

void wire_compact(wire *w)
{
    if (w->sent == w->len) {
        w->len = w->sent = 0;
    } else if (w->sent > w->room / 2) {
        memmove(w->bytes, w->bytes + w->sent, w->len - w->sent);
        w->len -= w->sent;
        w->sent = 0;
    }
}

void wire_done(wire *w)
{
    free(w->bytes);
    memset(w, 0, sizeof *w);
}
