/* condition.c - see condition.h. SPDX-License-Identifier: MIT */
#include "condition.h"

#include <xxhash.h>

#define DIGEST_DIGITS 16

static condition_kind condition_word(kv_slice word)
{
    static const struct {
        const char *word;
        condition_kind kind;
    } words[] = {
        { "nx", CONDITION_NX },       { "xx", CONDITION_XX },       { "ifeq", CONDITION_IFEQ },
        { "ifne", CONDITION_IFNE },   { "ifdeq", CONDITION_IFDEQ }, { "ifdne", CONDITION_IFDNE },
        { "ifver", CONDITION_IFVER },
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (kv_word_is(word, words[i].word))
            return words[i].kind;
    return CONDITION_NONE;
}

static bool digest_parse(kv_slice text, uint64_t *ret_digest)
{
    uint64_t digest = 0;

    if (text.len != DIGEST_DIGITS)
        return false;
    for (size_t i = 0; i < DIGEST_DIGITS; i++) {
        char c = kv_lower(text.data[i]);

        if (c >= '0' && c <= '9')
            digest = digest << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digest = digest << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_digest = digest;
    return true;
}

int condition_parse(key_condition *c, const kv_call *call, int *index)
{
    condition_kind kind = condition_word(call->argv[*index]);

    if (kind == CONDITION_NONE)
        return 0;
    if (kind <= CONDITION_XX) {
        if (c->kind != CONDITION_NONE && c->kind != kind)
            return KV_ESYNTAX;
        c->kind = kind;
        return 1;
    }
    if (c->kind != CONDITION_NONE || *index + 1 >= call->argc)
        return KV_ESYNTAX;
    c->kind = kind;
    c->value = call->argv[++*index];
    if (kind == CONDITION_IFVER && !kv_parse_uint(c->value, &c->number))
        return KV_ENOTINT;
    if ((kind == CONDITION_IFDEQ || kind == CONDITION_IFDNE) && !digest_parse(c->value, &c->number))
        return KV_EINVAL;
    return 1;
}

void condition_reply_error(kv_call *call, int err)
{
    if (err == KV_EINVAL)
        kv_reply_errorf(call->reply, "ERR digest must be exactly %d hexadecimal characters", DIGEST_DIGITS);
    else
        kv_reply_error(call->reply, err);
}

uint64_t condition_digest(kv_slice value)
{
    return XXH3_64bits(value.data, value.len);
}

static bool condition_holds(const key_condition *c, const entry *e)
{
    switch (c->kind) {
    case CONDITION_NONE:
        return true;
    case CONDITION_NX:
        return !e;
    case CONDITION_XX:
        return e != NULL;
    case CONDITION_IFEQ:
        return e && kv_slice_equal(entry_value(e, NULL), c->value);
    case CONDITION_IFNE:
        return !e || !kv_slice_equal(entry_value(e, NULL), c->value);
    case CONDITION_IFDEQ:
        return e && condition_digest(entry_value(e, NULL)) == c->number;
    case CONDITION_IFDNE:
        return !e || condition_digest(entry_value(e, NULL)) != c->number;
    case CONDITION_IFVER:
        return (e ? e->version : 0) == c->number;
    }
    return false;
}

int condition_check(const key_condition *c, const entry *e)
{
    bool compares = c->kind >= CONDITION_IFEQ && c->kind <= CONDITION_IFDNE;

    if (compares && e && entry_type(e) != ENTRY_STRING)
        return KV_ETYPE;
    return condition_holds(c, e) ? 0 : KV_ECOND;
}

/* ---- deleting on a condition ---- */

struct delete_if {
    const key_condition *condition;
};

KV_UNDER_LOCK static int delete_step(kv_slot *slot, void *arg)
{
    const struct delete_if *d = arg;
    int err = condition_check(d->condition, kv_slot_entry(slot));

    if (err)
        return err;
    if (!kv_slot_exists(slot))
        return KV_ENOKEY;
    kv_slot_remove(slot);
    return 0;
}

void condition_delete(kv_call *call, const key_condition *c)
{
    struct delete_if d = { c };
    int err = store_update(call->store, kv_arg_key(call, 1), delete_step, &d, call->now_ms);

    if (err && err != KV_ENOKEY && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}
