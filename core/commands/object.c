/* object.c - OBJECT: how a value is stored, in the words that clients of Redis know.
 *
 * There is one way in which a string is stored, but tools and test suites ask for Redis's three: int (a decimal
 * integer of 64 bits), embstr (up to 44 bytes), raw. The answer is derived: from the bytes, unless the entry
 * remembers that APPEND or SETRANGE made it (raw) or INCRBYFLOAT did (never int).
 *
 * None of these marks the key as used.
 *
 * SPDX-License-Identifier: MIT */
#include "object.h"

#include "read.h"

#define EMBSTR_MAX  44
#define SHARED_INTS 10000 /* Redis shares the objects of 0 ... 9999 and reports INT_MAX references */

static bool value_is_int(const entry *e, int64_t *ret_value)
{
    return !(entry_meta(e) & (ENTRY_RAW | ENTRY_TEXT)) && kv_parse_int(entry_value(e, NULL), ret_value);
}

kv_slice kv_object_encoding(const entry *e)
{
    int64_t value;

    if (value_is_int(e, &value))
        return KV_STR("int");
    if ((entry_meta(e) & ENTRY_RAW) || entry_value(e, NULL).len > EMBSTR_MAX)
        return KV_STR("raw");
    return KV_STR("embstr");
}

/* OBJECT ENCODING key */
void kv_cmd_object_encoding(kv_call *call)
{
    const entry *e = kv_inspect(call, 2);

    if (e)
        kv_reply_bulk(call->reply, kv_object_encoding(e));
    else
        kv_reply_null(call->reply);
}

/* OBJECT FREQ key */
void kv_cmd_object_freq(kv_call *call)
{
    const entry *e = kv_inspect(call, 2);

    if (!e)
        kv_reply_null(call->reply);
    else if (store_counts_uses(call->store))
        kv_reply_int(call->reply, store_frequency(call->store, e, call->now_ms));
    else
        kv_reply_errorf(
            call->reply,
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
            "when switching between policies at runtime LRU and LFU data will take some time to adjust.");
}

/* OBJECT IDLETIME key */
void kv_cmd_object_idletime(kv_call *call)
{
    const entry *e = kv_inspect(call, 2);

    if (!e)
        kv_reply_null(call->reply);
    else if (store_counts_uses(call->store))
        kv_reply_errorf(
            call->reply,
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching "
            "between policies at runtime LRU and LFU data will take some time to adjust.");
    else
        kv_reply_int(call->reply, store_idle_ms(e, call->now_ms) / 1000);
}

int64_t kv_object_references(const entry *e)
{
    int64_t value;

    return value_is_int(e, &value) && value >= 0 && value < SHARED_INTS ? INT_MAX : 1;
}

/* OBJECT REFCOUNT key */
void kv_cmd_object_refcount(kv_call *call)
{
    const entry *e = kv_inspect(call, 2);

    if (e)
        kv_reply_int(call->reply, kv_object_references(e));
    else
        kv_reply_null(call->reply);
}

/* OBJECT HELP */
void kv_cmd_object_help(kv_call *call)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value is stored: int, embstr or raw.",
        "FREQ <key>",
        "    How often the key is used, as a logarithmic counter; needs an LFU maxmemory-policy.",
        "HELP",
        "    This text.",
        "IDLETIME <key>",
        "    Seconds since the key was last read or written.",
        "REFCOUNT <key>",
        "    How many references the value has.",
    };

    kv_reply_help(call->reply, lines, sizeof lines / sizeof lines[0]);
}
