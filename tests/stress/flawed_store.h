/* flawed_store.h - the map of the flawed server: simple, correct, and able to remember what a key held before.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FLAWED_STORE_H
#define TESTS_FLAWED_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a key holds: absent if bytes is NULL. */
typedef struct content {
    char *bytes;
    size_t len;
    int64_t deadline_ms; /* 0: none */
} content;

typedef struct entry {
    struct entry *next;
    char *key;
    size_t key_len;
    content now, before; /* before the last write */
    int64_t changed_us;  /* when that was */
    unsigned writer;     /* which connection it was */
    uint64_t version;    /* counts the writes */
} entry;

typedef struct store {
    entry *buckets[16384];
} store;

/* The entry of a key, made if need be: it may hold nothing. Out of memory aborts: this is a test. */
entry *store_entry(store *s, const char *key, size_t len);
/* Replaces what the entry holds; the old content is kept as before. */
void entry_write(entry *e, const char *bytes, size_t len, int64_t deadline_ms, unsigned writer,
                 int64_t now_us);
void entry_clear(entry *e, unsigned writer, int64_t now_us);
content content_copy(const content *c);
void content_free(content *c);
void store_free(store *s);

#endif
