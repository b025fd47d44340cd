/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(history *h, model_kind model, const char *name)
{
    memset(h, 0, sizeof *h);
    h->model = model;
    snprintf(h->name, sizeof h->name, "%s", name);
}

void history_done(history *h)
{
    free(h->ops);
    free(h->bytes);
    memset(h, 0, sizeof *h);
}

void history_clear(history *h)
{
    h->count = 0;
    h->byte_count = 0;
}

op *history_new_op(history *h)
{
    if (h->count == h->room) {
        unsigned room = h->room ? 2 * h->room : 32;
        op *bigger = realloc(h->ops, room * sizeof *bigger);

        if (!bigger)
            return NULL;
        h->ops = bigger;
        h->room = room;
    }
    return memset(&h->ops[h->count++], 0, sizeof(op));
}

int history_add(history *h, const op *o)
{
    op *slot = history_new_op(h);

    if (!slot)
        return -1;
    *slot = *o;
    return 0;
}

int history_text(history *h, const char *bytes, size_t len, excerpt *ret)
{
    excerpt t = { .value = value_of(bytes, len), .at = h->byte_count };

    *ret = t;
    if (h->byte_room - h->byte_count < len) {
        size_t room = 2 * (h->byte_room + len) + 64;
        char *bigger = room > UINT32_MAX ? NULL : realloc(h->bytes, room);

        if (!bigger) {
            ret->at = 0;
            ret->value.len = 0;
            return -1;
        }
        h->bytes = bigger;
        h->byte_room = (uint32_t)room;
    }
    if (len)
        memcpy(h->bytes + h->byte_count, bytes, len);
    h->byte_count += (uint32_t)len;
    return 0;
}

int history_copy(history *to, const history *from)
{
    *to = *from;
    to->room = from->count;
    to->byte_room = from->byte_count;
    to->ops = malloc((from->count + 1) * sizeof *to->ops);
    to->bytes = malloc(from->byte_count + 1);
    if (!to->ops || !to->bytes) {
        history_done(to);
        return -1;
    }
    if (from->count)
        memcpy(to->ops, from->ops, from->count * sizeof *to->ops);
    if (from->byte_count)
        memcpy(to->bytes, from->bytes, from->byte_count);
    return 0;
}

bool op_is_read(const op *o)
{
    switch ((op_kind)o->kind) {
    case OP_GET:
    case OP_STRLEN:
    case OP_EXISTS:
    case OP_PTTL:
    case OP_GETV:
    case OP_READ:
    case OP_READ_AT:
        return true;
    default:
        return false;
    }
}

bool op_changed_nothing(const op *o)
{
    switch ((op_kind)o->kind) {
    case OP_SET:
        return o->reply == REPLY_NIL && !o->give_old;
    case OP_GETDEL:
        return o->reply == REPLY_NIL;
    case OP_DEL:
    case OP_EXPIRE:
    case OP_PERSIST:
        return o->reply == REPLY_NUMBER && o->reply_number == 0;
    default:
        return op_is_read(o);
    }
}
