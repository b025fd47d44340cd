/* standin_io.c - see standin.h: what is saved and loaded, digests, figures, memory. SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin_private.h"

/* ---- persistence: a tag and eight bytes, or a tag, a length and bytes ---- */

struct rm_io {
    text out;
    const char *in;
    size_t at, len;
    bool failed;
    const rm_str *name;
};

void standin_SaveUnsigned(rm_io *io, uint64_t number)
{
    text_add(&io->out, "u", 1);
    text_add(&io->out, &number, sizeof number);
}

void standin_SaveStringBuffer(rm_io *io, const char *data, size_t len)
{
    text_add(&io->out, "s", 1);
    text_add(&io->out, &len, sizeof len);
    text_add(&io->out, data, len);
}

static bool take(rm_io *io, void *out, size_t len)
{
    if (io->failed || io->len - io->at < len) {
        io->failed = true;
        return false;
    }
    memcpy(out, io->in + io->at, len);
    io->at += len;
    return true;
}

static bool take_tag(rm_io *io, char wanted)
{
    char tag;

    if (take(io, &tag, 1) && tag != wanted)
        io->failed = true;
    return !io->failed;
}

uint64_t standin_LoadUnsigned(rm_io *io)
{
    uint64_t number = 0;

    return take_tag(io, 'u') && take(io, &number, sizeof number) ? number : 0;
}

char *standin_LoadStringBuffer(rm_io *io, size_t *ret_len)
{
    char *bytes;
    size_t len;

    if (!take_tag(io, 's') || !take(io, &len, sizeof len) || len > io->len - io->at) {
        io->failed = true;
        return NULL;
    }
    bytes = standin_Alloc(len ? len : 1);
    if (len)
        take(io, bytes, len);
    *ret_len = len;
    return bytes;
}

int standin_IsIOError(rm_io *io)
{
    return io->failed;
}

void standin_LogIOError(rm_io *io, const char *level, const char *format, ...)
{
    (void)io;
    (void)level;
    assert_non_null(format);
}

const rm_str *standin_GetKeyNameFromIO(rm_io *io)
{
    return io->name;
}

int standin_GetDbIdFromIO(rm_io *io)
{
    (void)io;
    return 0;
}

void standin_EmitAOF(rm_io *io, const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    command_print(&io->out, command, format, arguments);
    va_end(arguments);
}

char *standin_save(const char *key, size_t *ret_len)
{
    rm_io io = { .len = 0 };

    standin_self.type.rdb_save(&io, slot_named(key)->value);
    *ret_len = io.out.len;
    return io.out.bytes;
}

char *standin_rewrite(const char *key, size_t *ret_len)
{
    slot *s = slot_named(key);
    rm_io io = { .len = 0 };

    standin_self.type.aof_rewrite(&io, s->name, s->value);
    *ret_len = io.out.len;
    return io.out.bytes;
}

bool standin_restore(const char *key, const char *payload, size_t len, int encoding)
{
    rm_str *name = string_new(key, strlen(key));
    rm_io io = { .in = payload, .len = len, .name = name };
    void *value = standin_self.type.rdb_load(&io, encoding);

    if (value) {
        if (*slot_find(0, name))
            slot_delete(slot_find(0, name));
        slot_add(0, name, value);
    }
    string_unref(name);
    return value != NULL;
}

/* ---- digests ---- */

struct rm_digest {
    uint64_t sequence, sum;
};

static void digest_bytes(rm_digest *d, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        d->sequence = (d->sequence ^ at[i]) * 0x100000001b3; /* FNV-1a */
    d->sequence = (d->sequence ^ len) * 0x9e3779b97f4a7c15;
}

void standin_DigestAddStringBuffer(rm_digest *d, const char *data, size_t len)
{
    digest_bytes(d, data, len);
}

void standin_DigestAddLongLong(rm_digest *d, long long number)
{
    digest_bytes(d, &number, sizeof number);
}

void standin_DigestEndSequence(rm_digest *d)
{
    d->sum += d->sequence;
    d->sequence = 0xcbf29ce484222325;
}

uint64_t standin_digest(void)
{
    uint64_t sum = 0;

    for (slot *s = standin_self.slots; s; s = s->next) {
        rm_digest d = { .sequence = 0xcbf29ce484222325 };

        standin_self.type.digest(&d, s->value);
        digest_bytes(&d, s->name->bytes, s->name->len);
        sum += d.sequence ^ d.sum * 31;
    }
    return sum;
}

/* ---- figures ---- */

struct rm_info {
    const char *wanted; /* NULL: each is visited */
    unsigned long long found;
    bool there;
    void (*visit)(void *arg, const char *name);
    void *arg;
};

static void (*info_fn)(rm_info *, int);

int standin_RegisterInfoFunc(rm_ctx *ctx, void (*fn)(rm_info *, int))
{
    (void)ctx;
    info_fn = fn;
    return RM_OK;
}

int standin_InfoAddSection(rm_info *info, const char *name)
{
    (void)info;
    (void)name;
    return RM_OK;
}

int standin_InfoAddFieldULongLong(rm_info *info, const char *name, unsigned long long value)
{
    char full[64];

    if (!info->wanted) {
        snprintf(full, sizeof full, "kv_%s", name);
        info->visit(info->arg, full);
    } else if (strcmp(name, info->wanted) == 0) {
        info->found = value;
        info->there = true;
    }
    return RM_OK;
}

void figures_each(void (*visit)(void *arg, const char *name), void *arg)
{
    rm_info info = { .visit = visit, .arg = arg };

    info_fn(&info, 0);
}

unsigned long long standin_info(const char *name)
{
    rm_info info = { .wanted = name };

    info_fn(&info, 0);
    if (!info.there)
        fail_msg("no figure %s", name);
    return info.found;
}

/* ---- memory ---- */

static _Atomic long blocks, fail_in = -1;
static _Atomic bool failed;

void *standin_Alloc(size_t size)
{
    void *memory = malloc(size ? size : 1);

    if (!memory)
        abort();
    atomic_fetch_add(&blocks, 1);
    return memory;
}

void *standin_TryAlloc(size_t size)
{
    long left = atomic_load(&fail_in);

    if (left > 0)
        atomic_store(&fail_in, left - 1);
    if (left == 0) {
        atomic_store(&failed, true);
        return NULL;
    }
    return standin_Alloc(size);
}

void standin_Free(void *memory)
{
    if (memory)
        atomic_fetch_sub(&blocks, 1);
    free(memory);
}

size_t standin_MallocSize(void *memory)
{
    return malloc_usable_size(memory);
}

void standin_fail_memory(long n)
{
    atomic_store(&failed, false);
    atomic_store(&fail_in, n);
}

bool standin_memory_failed(void)
{
    return atomic_load(&failed);
}

long standin_blocks(void)
{
    return atomic_load(&blocks);
}
