/* pack.h - a handful of fields in one block of memory: what a key of five short fields is kept as.
 *
 *     for (size_t at = 0; pack_next(pack, &at, &field);)
 *         use(field.name, field.value);
 *
 * A store costs some 600 bytes before its first field: nothing to a key of a thousand fields, four times the
 * data of a key of five. So small keys are packs, which only the server's main thread (or its fork) touches;
 * commands run on a store that is filled from the pack, and what they leave is packed again (keyed.h).
 *
 *     pack     [header][record][record]...                          one allocation
 *     record   flags 1 | name length | value length | age | [deadline 8] | name | value
 *
 * The numbers are base-128, low digits first. A record's version is the pack's minus its age, so it usually takes a
 * byte.
 *
 * Threads    None of its own: who holds the key.
 * Ownership  A pack is freed by pack_free; names and values point into it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_PACK_H
#define KV_MODULE_PACK_H

#include "store.h"

#define PACK_FIELDS_MAX 16u   /* more fields, */
#define PACK_BYTES_MAX  1024u /* or more bytes of records: a store */

typedef struct pack {
    uint64_t version;         /* the newest that this key has given out */
    int64_t next_deadline_ms; /* the earliest of its fields, or KV_FOREVER */
    uint16_t bytes, count;    /* of the records */
    unsigned char records[];
} pack;

typedef struct pack_field {
    kv_slice name, value;
    int64_t deadline_ms;
    uint64_t version;
} pack_field;

/* A field of an entry, borrowed. */
pack_field pack_field_of(const entry *e);

/* The field at *at (0 at first), and steps on; false at the end. */
bool pack_next(const pack *p, size_t *at, pack_field *ret_field);

/* Packs n fields, at most PACK_FIELDS_MAX. KV_ETOOBIG: more than PACK_BYTES_MAX; KV_ENOMEM. version is not
 * older than any of theirs. */
int pack_new(const pack_field fields[], size_t n, uint64_t version, pack **ret_pack);
pack *pack_copy(const pack *p);
void pack_free(pack *p);
/* As allocated. */
size_t pack_size(const pack *p);

#endif
