/* pack.c - see pack.h. SPDX-License-Identifier: MIT */
#include "pack.h"

#include <assert.h>

#include "redis_abi.h"

#define PACK_DEADLINE 1u /* in flags */

/* ---- numbers ---- */

static size_t number_size(uint64_t number)
{
    size_t size = 1;

    while (number >>= 7)
        size++;
    return size;
}

static unsigned char *number_put(unsigned char *p, uint64_t number)
{
    while (number > 127) {
        *p++ = (unsigned char)(number | 128);
        number >>= 7;
    }
    *p++ = (unsigned char)number;
    return p;
}

static const unsigned char *number_get(const unsigned char *p, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (unsigned shift = 0;; shift += 7) {
        number |= (uint64_t)(*p & 127) << shift;
        if (!(*p++ & 128))
            break;
    }
    *ret_number = number;
    return p;
}

/* ---- records ---- */

pack_field pack_field_of(const entry *e)
{
    return (pack_field){
        .name = entry_key(e),
        .value = entry_value(e, NULL),
        .deadline_ms = entry_deadline(e),
        .version = e->version,
    };
}

static size_t record_size(const pack_field *f, uint64_t version)
{
    return 1 + number_size(f->name.len) + number_size(f->value.len) + number_size(version - f->version) +
           (f->deadline_ms != KV_FOREVER ? sizeof f->deadline_ms : 0) + f->name.len + f->value.len;
}

static unsigned char *copy_slice(unsigned char *p, kv_slice from)
{
    if (from.len)
        memcpy(p, from.data, from.len);
    return p + from.len;
}

static unsigned char *record_put(unsigned char *p, const pack_field *f, uint64_t version)
{
    bool deadline = f->deadline_ms != KV_FOREVER;

    *p++ = deadline ? PACK_DEADLINE : 0;
    p = number_put(p, f->name.len);
    p = number_put(p, f->value.len);
    p = number_put(p, version - f->version);
    if (deadline) {
        memcpy(p, &f->deadline_ms, sizeof f->deadline_ms);
        p += sizeof f->deadline_ms;
    }
    return copy_slice(copy_slice(p, f->name), f->value);
}

bool pack_next(const pack *p, size_t *at, pack_field *ret_field)
{
    const unsigned char *r = p->records + *at;
    uint64_t name_len, value_len, age;

    if (*at >= p->bytes)
        return false;
    unsigned flags = *r++;
    r = number_get(r, &name_len);
    r = number_get(r, &value_len);
    r = number_get(r, &age);
    ret_field->deadline_ms = KV_FOREVER;
    if (flags & PACK_DEADLINE) {
        memcpy(&ret_field->deadline_ms, r, sizeof ret_field->deadline_ms);
        r += sizeof ret_field->deadline_ms;
    }
    ret_field->version = p->version - age;
    ret_field->name = kv_slice_of(r, name_len);
    ret_field->value = kv_slice_of(r + name_len, value_len);
    *at = (size_t)(r + name_len + value_len - p->records);
    return true;
}

/* ---- life ---- */

size_t pack_size(const pack *p)
{
    return sizeof *p + p->bytes;
}

int pack_new(const pack_field fields[], size_t n, uint64_t version, pack **ret_pack)
{
    size_t bytes = 0;

    assert(n <= PACK_FIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (fields[i].name.len > PACK_BYTES_MAX || fields[i].value.len > PACK_BYTES_MAX)
            return KV_ETOOBIG;
        bytes += record_size(&fields[i], version);
    }
    if (bytes > PACK_BYTES_MAX)
        return KV_ETOOBIG;
    pack *p = rm_alloc(sizeof *p + bytes);

    if (!p)
        return KV_ENOMEM;
    *p = (pack){ version, KV_FOREVER, (uint16_t)bytes, (uint16_t)n };
    unsigned char *r = p->records;

    for (size_t i = 0; i < n; i++) {
        r = record_put(r, &fields[i], version);
        if (fields[i].deadline_ms < p->next_deadline_ms)
            p->next_deadline_ms = fields[i].deadline_ms;
    }
    *ret_pack = p;
    return 0;
}

pack *pack_copy(const pack *p)
{
    pack *copy = rm_alloc(pack_size(p));

    if (copy)
        memcpy(copy, p, pack_size(p));
    return copy;
}

void pack_free(pack *p)
{
    rm.Free(p);
}
