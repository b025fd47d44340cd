/* SPDX-License-Identifier: MIT */
#include "flawed_store.h"

#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static char *copy_bytes(const char *bytes, size_t len)
{
    char *copy = must(malloc(len + 1));

    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

entry *store_entry(store *s, const char *key, size_t len)
{
    uint64_t hash = 1469598103934665603u; /* FNV-1a */
    entry **bucket, *e;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)key[i]) * 1099511628211u;
    bucket = &s->buckets[(hash ^ hash >> 32) % (sizeof s->buckets / sizeof *s->buckets)];
    for (entry **link = bucket; (e = *link);) {
        if (e->key_len == len && memcmp(e->key, key, len) == 0)
            return e;
        link = &e->next;
    }
    e = must(calloc(1, sizeof *e));
    e->key = copy_bytes(key, len);
    e->key_len = len;
    e->next = *bucket;
    *bucket = e;
    return e;
}

content content_copy(const content *c)
{
    content copy = *c;

    if (c->bytes)
        copy.bytes = copy_bytes(c->bytes, c->len);
    return copy;
}

void content_free(content *c)
{
    free(c->bytes);
    *c = (content){ .bytes = NULL };
}

static void change(entry *e, content new, unsigned writer, int64_t now_us)
{
    content_free(&e->before);
    e->before = e->now;
    e->now = new;
    e->writer = writer;
    e->changed_us = now_us;
    e->version++;
}

void entry_write(entry *e, const char *bytes, size_t len, int64_t deadline_ms, unsigned writer,
                 int64_t now_us)
{
    change(e, (content){ copy_bytes(bytes, len), len, deadline_ms }, writer, now_us);
}

void entry_clear(entry *e, unsigned writer, int64_t now_us)
{
    change(e, (content){ .bytes = NULL }, writer, now_us);
}

void store_free(store *s)
{
    for (size_t i = 0; i < sizeof s->buckets / sizeof *s->buckets; i++)
        for (entry *e = s->buckets[i], *next; e; e = next) {
            next = e->next;
            content_free(&e->now);
            content_free(&e->before);
            free(e->key);
            free(e);
        }
    free(s);
}
