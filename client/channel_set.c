/* channel_set.c - a sorted array: looked through often, changed seldom.
 *
 * SPDX-License-Identifier: MIT */
#include "channel_set.h"

#include <stdlib.h>

static int compare(const kvc_channel_name *item, kvc_channel_kind kind, kvc_slice name)
{
    size_t len = item->len < name.len ? item->len : name.len;
    int order;

    if (item->kind != kind)
        return item->kind < kind ? -1 : 1;
    order = len ? memcmp(item->name, name.data, len) : 0;
    if (order)
        return order;
    return (item->len > name.len) - (item->len < name.len);
}

/* The place of the first item that is not less. */
static size_t find(const kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name, bool *ret_there)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(set->items[middle], kind, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = low < set->n && compare(set->items[low], kind, name) == 0;
    return low;
}

static bool make_room(kvc_channel_set *set)
{
    size_t capacity = set->capacity ? 2 * set->capacity : 8;
    kvc_channel_name **items;

    if (set->n < set->capacity)
        return true;
    items = realloc(set->items, capacity * sizeof *items);
    if (!items)
        return false;
    set->items = items;
    set->capacity = capacity;
    return true;
}

kvc_status kvc_channel_set_add(kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name)
{
    kvc_channel_name *item;
    bool there;
    size_t at = find(set, kind, name, &there);

    if (there)
        return KVC_NIL;
    item = name.len < SIZE_MAX / 2 ? malloc(sizeof *item + name.len + 1) : NULL;
    if (!item || !make_room(set)) {
        free(item);
        return KVC_ENOMEM;
    }
    item->kind = kind;
    item->told = false;
    item->len = name.len;
    if (name.len)
        memcpy(item->name, name.data, name.len);
    item->name[name.len] = '\0';
    memmove(set->items + at + 1, set->items + at, (set->n - at) * sizeof *set->items);
    set->items[at] = item;
    set->n++;
    return KVC_OK;
}

bool kvc_channel_set_remove(kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name)
{
    bool there;
    size_t at = find(set, kind, name, &there);

    if (!there)
        return false;
    free(set->items[at]);
    set->n--;
    memmove(set->items + at, set->items + at + 1, (set->n - at) * sizeof *set->items);
    return true;
}

kvc_channel_name *kvc_channel_set_find(const kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name)
{
    bool there;
    size_t at = find(set, kind, name, &there);

    return there ? set->items[at] : NULL;
}

void kvc_channel_set_done(kvc_channel_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        free(set->items[i]);
    free(set->items);
    *set = (kvc_channel_set){ 0 };
}
