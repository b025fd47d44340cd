/* renames.c - see renames.h.
 *
 * A handful at most, so the new names stand in a list; whether a row has lost its own name is a flag of its id. Without
 * renames, which is nearly always, the host has no kv_renames and pays a test for NULL.
 *
 * SPDX-License-Identifier: MIT */
#include "renames.h"

#include <stdlib.h>
#include <strings.h>

typedef struct new_name {
    const kv_command *row;
    char *text;
    size_t len;
} new_name;

struct kv_renames {
    new_name *names;
    size_t count;
    bool moved[KV_COMMAND_COUNT]; /* not called by its own name any more */
};

kv_renames *kv_renames_new(void)
{
    return calloc(1, sizeof(kv_renames));
}

void kv_renames_free(kv_renames *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->names[i].text);
    free(r->names);
    free(r);
}

/* The new name that is so spelt, or NULL. */
static new_name *find_new(const kv_renames *r, kv_slice name)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->names[i].len == name.len && strncasecmp(r->names[i].text, name.data, name.len) == 0)
            return &r->names[i];
    return NULL;
}

static kv_rename_error add_name(kv_renames *r, const kv_command *row, kv_slice to)
{
    new_name *names;
    char *text;

    if (r->count == KV_RENAMES_MAX)
        return KV_RENAME_FULL;
    names = realloc(r->names, (r->count + 1) * sizeof *names);
    text = strndup(to.data, to.len);
    if (names)
        r->names = names;
    if (!names || !text) {
        free(text);
        return KV_RENAME_ENOMEM;
    }
    names[r->count++] = (new_name){ row, text, to.len };
    return KV_RENAME_OK;
}

kv_rename_error kv_renames_add(kv_renames *r, kv_slice from, kv_slice to)
{
    const kv_command *row = kv_renames_find(r, from);
    new_name *old = row ? find_new(r, from) : NULL;
    kv_rename_error err = KV_RENAME_OK;

    if (!row)
        return KV_RENAME_UNKNOWN;
    if (to.len && kv_renames_find(r, to))
        return KV_RENAME_TAKEN;
    if (to.len)
        err = add_name(r, row, to);
    if (err)
        return err;
    if (old) { /* it moves on: the last takes its place */
        old = find_new(r, from);
        free(old->text);
        *old = r->names[--r->count];
    }
    r->moved[row->id] = true;
    return KV_RENAME_OK;
}

const kv_command *kv_renames_find(const kv_renames *r, kv_slice name)
{
    const kv_command *row = kv_command_find(name);
    const new_name *found;

    if (!r || (row && !r->moved[row->id]))
        return row;
    found = find_new(r, name);
    return found ? found->row : NULL;
}

const kv_command *kv_renames_find_full(const kv_renames *r, kv_slice name)
{
    const char *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    const kv_command *row;
    size_t len;

    if (!bar)
        return kv_renames_find(r, name);
    len = (size_t)(bar - name.data);
    row = kv_renames_find(r, kv_slice_of(name.data, len));
    return row ? kv_command_find_sub(row, kv_slice_of(bar + 1, name.len - len - 1)) : NULL;
}

bool kv_renames_has(const kv_renames *r, const kv_command *row)
{
    const kv_command *top = row->container ? kv_command_find(kv_str(row->container)) : row;

    if (!r || !r->moved[top->id])
        return true;
    for (size_t i = 0; i < r->count; i++)
        if (r->names[i].row == top)
            return true;
    return false;
}
