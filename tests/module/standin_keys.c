/* standin_keys.c - see standin.h: strings, keys, what is replicated. SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin_private.h"

struct rm_key {
    int db, mode;
    rm_str *name;
};

struct rm_type {
    int unused;
};

struct rm_names {
    int db;
    rm_str *to;
};

/* ---- texts ---- */

static void text_reserve(text *t, size_t more)
{
    if (t->size - t->len >= more)
        return;
    t->size = 2 * t->size + more;
    t->bytes = realloc(t->bytes, t->size);
    if (!t->bytes)
        abort();
}

void text_add(text *t, const void *bytes, size_t len)
{
    text_reserve(t, len);
    if (len)
        memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void text_print(text *t, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert_true(len >= 0 && (size_t)len < sizeof line);
    text_add(t, line, (size_t)len);
}

void text_insert(text *t, size_t at, const char *bytes, size_t len)
{
    text_reserve(t, len);
    memmove(t->bytes + at + len, t->bytes + at, t->len - at);
    memcpy(t->bytes + at, bytes, len);
    t->len += len;
}

void text_done(text *t)
{
    free(t->bytes);
    *t = (text){ 0 };
}

/* ---- strings ---- */

rm_str *string_new(const void *bytes, size_t len)
{
    rm_str *s = malloc(sizeof *s + len);

    if (!s)
        abort();
    *s = (rm_str){ (char *)(s + 1), len, 1 };
    if (len)
        memcpy(s->bytes, bytes, len);
    return s;
}

void string_unref(rm_str *s)
{
    if (s && --s->references == 0)
        free(s);
}

static rm_str *string_ref(rm_str *s)
{
    s->references++;
    return s;
}

const char *standin_StringPtrLen(const rm_str *s, size_t *ret_len)
{
    if (ret_len)
        *ret_len = s->len;
    return s->bytes;
}

rm_str *standin_CreateString(rm_ctx *ctx, const char *data, size_t len)
{
    (void)ctx;
    return string_new(data, len);
}

void standin_FreeString(rm_ctx *ctx, rm_str *s)
{
    (void)ctx;
    string_unref(s);
}

/* ---- slots ---- */

slot **slot_find(int db, const rm_str *name)
{
    slot **link = &standin_self.slots;

    while (*link && ((*link)->db != db || (*link)->name->len != name->len ||
                     memcmp((*link)->name->bytes, name->bytes, name->len) != 0))
        link = &(*link)->next;
    return link;
}

static slot **link_named(const char *name)
{
    rm_str *s = string_new(name, strlen(name));
    slot **link = slot_find(0, s);

    string_unref(s);
    return link;
}

slot *slot_named(const char *name)
{
    return *link_named(name);
}

void slot_add(int db, rm_str *name, void *value)
{
    slot *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    assert_null(*slot_find(db, name));
    *s = (slot){ standin_self.slots, db, string_ref(name), value, -1 };
    standin_self.slots = s;
}

static void unlinked(slot *s)
{
    rm_names names = { .db = s->db, .to = NULL };

    if (standin_self.type.unlink2)
        standin_self.type.unlink2(&names, s->value);
}

void slot_delete(slot **link)
{
    slot *s = *link;

    unlinked(s);
    *link = s->next;
    standin_self.type.free(s->value);
    string_unref(s->name);
    free(s);
}

bool standin_exists(const char *key)
{
    return slot_named(key) != NULL;
}

void standin_delete(const char *key)
{
    slot_delete(link_named(key));
}

/* The value lives on, and unlink is called all the same. */
void standin_rename(const char *from, const char *to)
{
    slot **link = link_named(to), *s;

    if (*link)
        slot_delete(link);
    s = slot_named(from);
    unlinked(s);
    string_unref(s->name);
    s->name = string_new(to, strlen(to));
}

void standin_copy(const char *from, const char *to)
{
    slot **link = link_named(to);
    rm_names names = { .to = string_new(to, strlen(to)) };

    if (*link)
        slot_delete(link);
    slot_add(0, names.to, standin_self.type.copy2(&names, slot_named(from)->value));
    string_unref(names.to);
}

static void *free_all(void *arg)
{
    slot *next;

    for (slot *s = arg; s; s = next) {
        next = s->next;
        standin_self.type.free(s->value);
        string_unref(s->name);
        free(s);
    }
    return NULL;
}

void standin_flush(bool on_thread)
{
    rm_flush_data flush = { .version = 1, .sync = !on_thread, .db = -1 };
    slot *all = standin_self.slots;
    pthread_t thread;

    standin_fire(RM_EVENT_FLUSH, 0, &flush);
    standin_self.slots = NULL;
    if (on_thread) {
        assert_int_equal(pthread_create(&thread, NULL, free_all, all), 0);
        pthread_join(thread, NULL);
    } else {
        free_all(all);
    }
    standin_fire(RM_EVENT_FLUSH, 1, &flush);
}

const rm_str *standin_GetToKeyNameFromOptCtx(rm_names *names)
{
    return names->to;
}

int standin_GetToDbIdFromOptCtx(rm_names *names)
{
    return names->db;
}

size_t standin_memory_usage(const char *key)
{
    rm_names names = { 0 };

    return standin_self.type.mem_usage2(&names, slot_named(key)->value, 5);
}

/* ---- keys ---- */

rm_type *standin_CreateDataType(rm_ctx *ctx, const char *name, int encoding_version, rm_type_methods *methods)
{
    static rm_type type;

    (void)ctx;
    (void)encoding_version;
    assert_int_equal(strlen(name), 9);
    standin_self.type = *methods;
    return &type;
}

static slot **slot_of(const rm_key *key)
{
    return slot_find(key->db, key->name);
}

rm_key *standin_OpenKey(rm_ctx *ctx, rm_str *name, int mode)
{
    int db = standin_GetSelectedDb(ctx);
    rm_key *key;

    if (!(mode & RM_WRITE) && !*slot_find(db, name))
        return NULL;
    key = malloc(sizeof *key);
    if (!key)
        abort();
    *key = (rm_key){ db, mode, string_ref(name) };
    return key;
}

void standin_CloseKey(rm_key *key)
{
    string_unref(key->name);
    free(key);
}

int standin_KeyType(rm_key *key)
{
    return *slot_of(key) ? RM_KEY_MODULE : RM_KEY_EMPTY;
}

int standin_DeleteKey(rm_key *key)
{
    assert_true(key->mode & RM_WRITE);
    if (*slot_of(key))
        slot_delete(slot_of(key));
    return RM_OK;
}

int standin_ModuleTypeSetValue(rm_key *key, rm_type *type, void *value)
{
    (void)type;
    assert_true(key->mode & RM_WRITE);
    slot_add(key->db, key->name, value);
    return RM_OK;
}

rm_type *standin_ModuleTypeGetType(rm_key *key)
{
    (void)key;
    return standin_CreateDataType(NULL, "kvstore-1", 0, &standin_self.type);
}

void *standin_ModuleTypeGetValue(rm_key *key)
{
    return (*slot_of(key))->value;
}

long long standin_GetAbsExpire(rm_key *key)
{
    return (*slot_of(key))->deadline_ms;
}

void standin_expire(const char *key, int64_t deadline_ms)
{
    slot *s = slot_named(key);

    s->deadline_ms = deadline_ms;
    standin_tell_key(deadline_ms < 0 ? "persist" : "expire", s->name);
}

int standin_SignalModifiedKey(rm_ctx *ctx, rm_str *name)
{
    (void)ctx;
    assert_non_null(name);
    return RM_OK;
}

int standin_NotifyKeyspaceEvent(rm_ctx *ctx, int type, const char *event, rm_str *name)
{
    (void)ctx;
    (void)type;
    assert_true(event && name);
    return RM_OK;
}

/* ---- replication ---- */

static void print_word(text *out, const char *bytes, size_t len)
{
    text_print(out, "$%zu\r\n", len);
    text_add(out, bytes, len);
    text_add(out, "\r\n", 2);
}

static void print_number(text *out, long long number)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", number);

    print_word(out, digits, (size_t)len);
}

static void print_argument(text *out, char kind, va_list *arguments)
{
    const rm_str *s;
    const char *bytes;

    switch (kind) {
    case 's':
        s = va_arg(*arguments, const rm_str *);
        print_word(out, s->bytes, s->len);
        break;
    case 'b':
        bytes = va_arg(*arguments, const char *);
        print_word(out, bytes, va_arg(*arguments, size_t));
        break;
    case 'l':
        print_number(out, va_arg(*arguments, long long));
        break;
    default:
        abort();
    }
}

void command_print(text *out, const char *name, const char *format, va_list arguments)
{
    va_list rest;

    va_copy(rest, arguments);
    text_print(out, "*%zu\r\n", strlen(format) + 1);
    print_word(out, name, strlen(name));
    for (const char *kind = format; *kind; kind++)
        print_argument(out, *kind, &rest);
    va_end(rest);
}

int standin_Replicate(rm_ctx *ctx, const char *command, const char *format, ...)
{
    va_list arguments;

    (void)ctx;
    va_start(arguments, format);
    command_print(&standin_self.replicated, command, format, arguments);
    va_end(arguments);
    return RM_OK;
}

char *standin_replicated(size_t *ret_len)
{
    text *t = &standin_self.replicated;
    char *bytes = t->bytes;

    *ret_len = t->len;
    *t = (text){ 0 };
    return bytes;
}

void standin_apply(const char *commands, size_t len)
{
    for (size_t at = 0; at < len;) {
        kv_slice argv[64];
        const char *why = NULL;
        reply *r = NULL, *answer;
        size_t used = 0;

        if (reply_parse(kv_slice_of(commands + at, len - at), &r, &used, &why) != REPLY_WHOLE ||
            r->count > 64)
            fail_msg("%s", why ? why : "the commands are cut short");
        for (size_t i = 0; i < r->count; i++)
            argv[i] = kv_slice_of(r->elements[i].text, r->elements[i].len);
        answer = standin_reply(standin_ask(r->count, argv));
        assert_int_not_equal(answer->type, '-');
        reply_free(answer);
        reply_free(r);
        at += used;
    }
}
