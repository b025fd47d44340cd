/* acl_text.c - see acl_text.h. SPDX-License-Identifier: MIT */
#include "acl_text.h"

#include <stdlib.h>
#include <string.h>

static size_t literal_bytes(kv_slice pattern)
{
    size_t n = 0;

    while (n < pattern.len && !memchr("*?[\\", pattern.data[n], 4))
        n++;
    return n;
}

bool acl_texts_add(acl_texts *texts, kv_slice text, unsigned about)
{
    acl_text *list = realloc(texts->list, (texts->count + 1) * sizeof *list);
    char *copy = malloc(text.len ? text.len : 1);

    if (list)
        texts->list = list;
    if (!list || !copy) {
        free(copy);
        return false;
    }
    if (text.len)
        memcpy(copy, text.data, text.len);
    list[texts->count++] = (acl_text){ copy, text.len, literal_bytes(text), about };
    return true;
}

void acl_texts_clear(acl_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->list[i].data);
    free(texts->list);
    *texts = (acl_texts){ NULL, 0 };
}

bool acl_texts_copy(acl_texts *to, const acl_texts *from)
{
    for (size_t i = 0; i < from->count; i++)
        if (!acl_texts_add(to, kv_slice_of(from->list[i].data, from->list[i].len), from->list[i].about))
            return false;
    return true;
}

acl_text *acl_texts_find(const acl_texts *texts, kv_slice text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (kv_slice_equal(kv_slice_of(texts->list[i].data, texts->list[i].len), text))
            return &texts->list[i];
    return NULL;
}
