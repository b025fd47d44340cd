/* standin_private.h - what the parts of the stand-in share. SPDX-License-Identifier: MIT */
#ifndef TESTS_STANDIN_PRIVATE_H
#define TESTS_STANDIN_PRIVATE_H

#include "standin.h"

/* Bytes that grow; memory that is out aborts. */
typedef struct text {
    char *bytes;
    size_t len, size;
} text;

void text_add(text *t, const void *bytes, size_t len);
void text_print(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for an insertion of len bytes at at. */
void text_insert(text *t, size_t at, const char *bytes, size_t len);
void text_done(text *t);

struct rm_str {
    char *bytes;
    size_t len;
    int references;
};

rm_str *string_new(const void *bytes, size_t len);
void string_unref(rm_str *s);

/* A key of the module's type. */
typedef struct slot {
    struct slot *next;
    int db;
    rm_str *name;
    void *value;
    int64_t deadline_ms; /* -1: none */
} slot;

typedef struct standin {
    rm_type_methods type;
    slot *slots;
    text replicated;
    int flags;
} standin;

extern standin standin_self;

/* The link to the slot, or to where it would be. */
slot **slot_find(int db, const rm_str *name);
slot *slot_named(const char *name);
/* A key that was not there. */
void slot_add(int db, rm_str *name, void *value);
/* Takes it out and ends it, the value with it. */
void slot_delete(slot **link);

/* Calls visit for each figure by its full name. */
void figures_each(void (*visit)(void *arg, const char *name), void *arg);

/* Tells the module what happened to a key. */
void standin_tell_key(const char *event, rm_str *key);

/* The command that these variable arguments make, as RM_Replicate and RM_EmitAOF take them, in RESP. */
void command_print(text *out, const char *name, const char *format, va_list arguments);

#define RM_DECLARE(type, name, arguments) type standin_##name arguments;
RM_FUNCTIONS(RM_DECLARE, RM_DECLARE)
#undef RM_DECLARE

#endif
