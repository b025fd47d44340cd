/* digest.c - see digest.h.
 *
 * What is unordered is added by exclusive or, what is ordered by hashing again:
 *
 *     add(d, x)     d ^= SHA1(x)
 *     mix(d, x)     add(d, x), then d = SHA1(d)
 *
 *     value         mix(type as 32 bits, big endian), mix(bytes); with a deadline: add("!!expire!!")
 *     key           mix(name), then its value
 *     everything    for each database that is not empty: mix(its number), and add(digest of key) for all of its keys
 *
 * Redis's types are numbered 0 string, 1 list, 2 set, 3 sorted set, 4 hash, 6 stream.
 *
 * SPDX-License-Identifier: MIT */
#include "digest.h"

#include <stdio.h>

#define TYPE_STRING 0

static void add(digest *d, kv_slice data)
{
    unsigned char hash[SHA1_BYTES];

    sha1(data, hash);
    for (size_t i = 0; i < SHA1_BYTES; i++)
        d->bytes[i] ^= hash[i];
}

static void mix(digest *d, kv_slice data)
{
    unsigned char before[SHA1_BYTES];

    add(d, data);
    memcpy(before, d->bytes, sizeof before);
    sha1(kv_slice_of((const char *)before, sizeof before), d->bytes);
}

static void mix_number(digest *d, uint32_t number)
{
    const char bytes[4] = { (char)(number >> 24), (char)(number >> 16), (char)(number >> 8), (char)number };

    mix(d, kv_slice_of(bytes, sizeof bytes));
}

void digest_write(const digest *d, char text[DIGEST_TEXT])
{
    for (size_t i = 0; i < SHA1_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", d->bytes[i]);
}

static void add_value(digest *d, const entry *e)
{
    mix_number(d, TYPE_STRING);
    mix(d, entry_value(e, NULL));
    if (entry_deadline(e) != KV_FOREVER)
        add(d, KV_STR("!!expire!!"));
}

void digest_value(const entry *e, digest *ret_digest)
{
    memset(ret_digest, 0, sizeof *ret_digest);
    if (e)
        add_value(ret_digest, e);
}

/* ---- everything ---- */

struct walk {
    kv_store *store;
    int64_t now_ms;
    int db;
    digest before, sum; /* without and with this database */
    bool empty;
};

static void visit(void *arg, const entry *e)
{
    struct walk *walk = arg;
    digest d = { 0 };

    if (walk->empty)
        mix_number(&walk->sum, (uint32_t)walk->db);
    walk->empty = false;
    mix(&d, entry_key(e));
    add_value(&d, e);
    add(&walk->sum, kv_slice_of((const char *)d.bytes, SHA1_BYTES));
}

static void look(void *arg) KV_REQUIRES(kv_epoch_held)
{
    struct walk *walk = arg;
    uint64_t cursor = 0;

    walk->sum = walk->before;
    walk->empty = true;
    do
        cursor = store_scan(walk->store, cursor, visit, walk, walk->now_ms);
    while (cursor);
}

int digest_databases(const kv_databases *databases, int64_t now_ms, digest *ret_digest)
{
    struct walk walk = { .now_ms = now_ms };

    for (int db = 0; db < databases->count; db++) {
        int err;

        walk.store = databases->stores[db];
        walk.db = db;
        walk.before = walk.sum;
        err = store_look(walk.store, look, &walk);
        if (err)
            return err;
    }
    *ret_digest = walk.sum;
    return 0;
}
