/* expiry.c - deadlines: the options that other commands share (expiry.h), EXPIRE and its kin, TTL and its kin.
 *
 * A deadline is absolute, in milliseconds; what a client says in seconds or from now on is converted once,
 * with every overflow an error. A deadline that has passed deletes the key at once.
 *
 * EXPIRE takes IFVER n besides Redis's NX, XX, GT, LT: only if the key has version n (GETV tells it).
 *
 * SPDX-License-Identifier: MIT */
#include "expiry.h"
#include "read.h"

/* ---- the options of SET, GETEX, MSETEX ---- */

static expiry_kind expiry_word(kv_slice word)
{
    static const struct {
        const char *word;
        expiry_kind kind;
    } words[] = {
        { "ex", EXPIRY_EX },     { "px", EXPIRY_PX },        { "exat", EXPIRY_EXAT },
        { "pxat", EXPIRY_PXAT }, { "keepttl", EXPIRY_KEEP }, { "persist", EXPIRY_PERSIST },
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (kv_word_is(word, words[i].word))
            return words[i].kind;
    return EXPIRY_NONE;
}

int expiry_parse(key_expiry *e, const kv_call *call, int *index, expiry_kind allowed)
{
    expiry_kind kind = expiry_word(call->argv[*index]);

    if (kind == EXPIRY_NONE || (kind >= EXPIRY_KEEP && kind != allowed))
        return 0;
    if (e->kind != EXPIRY_NONE && e->kind != kind)
        return KV_ESYNTAX;
    e->kind = kind;
    if (kind < EXPIRY_KEEP) {
        if (*index + 1 >= call->argc)
            return KV_ESYNTAX;
        e->amount = call->argv[++*index];
    }
    return 1;
}

/* The last millisecond of time is KV_FOREVER, which is no deadline: the one before stands for both, and is
 * shown as the last. */
static int64_t deadline_clamp(int64_t deadline_ms)
{
    return deadline_ms == KV_FOREVER ? KV_FOREVER - 1 : deadline_ms;
}

static int64_t deadline_shown(int64_t deadline_ms)
{
    return deadline_ms == KV_FOREVER - 1 ? KV_FOREVER : deadline_ms;
}

int expiry_deadline(const key_expiry *e, int64_t now_ms, int64_t *ret_deadline_ms)
{
    int64_t amount;

    *ret_deadline_ms = KV_FOREVER;
    if (e->kind == EXPIRY_NONE || e->kind >= EXPIRY_KEEP)
        return 0;
    if (!kv_parse_int(e->amount, &amount))
        return KV_ENOTINT;
    if (amount <= 0)
        return KV_EDEADLINE;
    if ((e->kind == EXPIRY_EX || e->kind == EXPIRY_EXAT) && __builtin_mul_overflow(amount, 1000, &amount))
        return KV_EDEADLINE;
    if ((e->kind == EXPIRY_EX || e->kind == EXPIRY_PX) && __builtin_add_overflow(amount, now_ms, &amount))
        return KV_EDEADLINE;
    *ret_deadline_ms = deadline_clamp(amount);
    return 0;
}

void expiry_reply_error(kv_call *call, int err)
{
    char name[KV_COMMAND_NAME_MAX];

    if (err != KV_EDEADLINE) {
        kv_reply_error(call->reply, err);
        return;
    }
    kv_command_name(call->command, name);
    kv_reply_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
}

/* ---- EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT ---- */

enum { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8, EXPIRE_VERSION = 16 };

struct expire {
    int64_t deadline_ms, now_ms;
    unsigned when;
    uint64_t version;
};

/* Reads the options after the time; false: an error was replied. */
static bool expire_options(kv_call *call, struct expire *expire)
{
    for (int i = 3; i < call->argc; i++) {
        kv_slice word = call->argv[i];

        if (kv_word_is(word, "nx")) {
            expire->when |= EXPIRE_NX;
        } else if (kv_word_is(word, "xx")) {
            expire->when |= EXPIRE_XX;
        } else if (kv_word_is(word, "gt")) {
            expire->when |= EXPIRE_GT;
        } else if (kv_word_is(word, "lt")) {
            expire->when |= EXPIRE_LT;
        } else if (kv_word_is(word, "ifver") && i + 1 < call->argc && !(expire->when & EXPIRE_VERSION)) {
            expire->when |= EXPIRE_VERSION;
            if (!kv_parse_uint(call->argv[++i], &expire->version)) {
                kv_reply_error(call->reply, KV_ENOTINT);
                return false;
            }
        } else {
            kv_reply_errorf(call->reply, "ERR Unsupported option %.*s", kv_echo_len(word, KV_ECHO_MAX),
                            word.data);
            return false;
        }
    }
    if ((expire->when & EXPIRE_NX) && (expire->when & (EXPIRE_XX | EXPIRE_GT | EXPIRE_LT))) {
        kv_reply_errorf(call->reply, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((expire->when & EXPIRE_GT) && (expire->when & EXPIRE_LT)) {
        kv_reply_errorf(call->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* Whether the options let a key with this deadline and version have the new one. */
static bool expire_allowed(const struct expire *expire, int64_t old_ms, uint64_t version)
{
    if ((expire->when & EXPIRE_VERSION) && version != expire->version)
        return false;
    if ((expire->when & EXPIRE_NX) && old_ms != KV_FOREVER)
        return false;
    if ((expire->when & EXPIRE_XX) && old_ms == KV_FOREVER)
        return false;
    if ((expire->when & EXPIRE_GT) && expire->deadline_ms <= old_ms)
        return false;
    if ((expire->when & EXPIRE_LT) && expire->deadline_ms >= old_ms)
        return false;
    return true;
}

KV_UNDER_LOCK static int expire_step(kv_slot *slot, void *arg)
{
    const struct expire *expire = arg;

    if (!kv_slot_exists(slot))
        return KV_ENOKEY;
    if (!expire_allowed(expire, kv_slot_deadline(slot), kv_slot_version(slot)))
        return KV_ECOND;
    if (expire->deadline_ms <= expire->now_ms)
        kv_slot_remove(slot);
    else
        kv_slot_set_deadline(slot, expire->deadline_ms);
    return 0;
}

static void reply_done(kv_call *call, int err)
{
    if (err && err != KV_ENOKEY && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void expire_at(kv_call *call, int64_t unit_ms, int64_t base_ms)
{
    struct expire expire = { .now_ms = call->now_ms };
    int err;

    if (!expire_options(call, &expire))
        return;
    err = kv_arg_int(call, 2, &expire.deadline_ms);
    if (!err && (__builtin_mul_overflow(expire.deadline_ms, unit_ms, &expire.deadline_ms) ||
                 __builtin_add_overflow(expire.deadline_ms, base_ms, &expire.deadline_ms)))
        err = KV_EDEADLINE;
    if (err) {
        expiry_reply_error(call, err);
        return;
    }
    expire.deadline_ms = deadline_clamp(expire.deadline_ms);
    reply_done(call, store_update(call->store, kv_arg_key(call, 1), expire_step, &expire, call->now_ms));
}

/* EXPIRE key seconds [NX | XX | GT | LT] [IFVER version] */
void kv_cmd_expire(kv_call *call)
{
    expire_at(call, 1000, call->now_ms);
}

/* PEXPIRE key milliseconds [NX | XX | GT | LT] [IFVER version] */
void kv_cmd_pexpire(kv_call *call)
{
    expire_at(call, 1, call->now_ms);
}

/* EXPIREAT key unix-time-seconds [NX | XX | GT | LT] [IFVER version] */
void kv_cmd_expireat(kv_call *call)
{
    expire_at(call, 1000, 0);
}

/* PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] [IFVER version] */
void kv_cmd_pexpireat(kv_call *call)
{
    expire_at(call, 1, 0);
}

KV_UNDER_LOCK static int persist_step(kv_slot *slot, void *arg)
{
    (void)arg;
    if (kv_slot_deadline(slot) == KV_FOREVER)
        return KV_ECOND;
    kv_slot_set_deadline(slot, KV_FOREVER);
    return 0;
}

/* PERSIST key */
void kv_cmd_persist(kv_call *call)
{
    reply_done(call, store_update(call->store, kv_arg_key(call, 1), persist_step, NULL, call->now_ms));
}

/* ---- TTL, PTTL, EXPIRETIME, PEXPIRETIME ---- */

/* Replies the deadline counted from base_ms, in units; -1: none; -2: no key. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void reply_deadline(kv_call *call, int64_t unit_ms, int64_t base_ms)
{
    const entry *e = kv_peek(call, 1);
    int64_t left_ms;

    if (!e) {
        kv_reply_int(call->reply, -2);
        return;
    }
    if (entry_deadline(e) == KV_FOREVER) {
        kv_reply_int(call->reply, -1);
        return;
    }
    left_ms =
        deadline_shown(entry_deadline(e)) - base_ms; /* e is alive, and base_ms is 0 or now: no overflow */
    kv_reply_int(call->reply, left_ms / unit_ms + (left_ms % unit_ms * 2 >= unit_ms && unit_ms > 1));
}

/* TTL key */
void kv_cmd_ttl(kv_call *call)
{
    reply_deadline(call, 1000, call->now_ms);
}

/* PTTL key */
void kv_cmd_pttl(kv_call *call)
{
    reply_deadline(call, 1, call->now_ms);
}

/* EXPIRETIME key */
void kv_cmd_expiretime(kv_call *call)
{
    reply_deadline(call, 1000, 0);
}

/* PEXPIRETIME key */
void kv_cmd_pexpiretime(kv_call *call)
{
    reply_deadline(call, 1, 0);
}
