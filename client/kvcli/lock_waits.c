/* lock_waits.c - SPDX-License-Identifier: MIT */
#include "lock_waits.h"

enum { KEY_SHOWN_BYTES = 40 };

static double number_of(const kvc_reply *map, const char *name)
{
    return kvc_reply_double(kvc_reply_find(map, name));
}

kvc_status lock_waits_read(lock_waits *x, conversation *c, kvc_error *error)
{
    static const char *const ask[] = { "LOCKSTAT", "TOP", "4", NULL };
    kvc_reply *report = NULL;
    kvc_status status = conversation_ask_strings(c, ask, &report, error);
    const kvc_reply *wait = kvc_reply_find(report, "wait");
    double waits = number_of(wait, "count"), waited_ns = number_of(wait, "total-ns");

    kvc_reply_free(x->report);
    x->report = NULL;
    if (number_of(report, "measured") == 0) {
        kvc_reply_free(report);
        return status;
    }
    /* After LOCKSTAT RESET it begins anew. */
    x->new_waits = waits >= x->waits ? waits - x->waits : waits;
    x->new_waited_ns = waited_ns >= x->waited_ns ? waited_ns - x->waited_ns : waited_ns;
    x->waits = waits;
    x->waited_ns = waited_ns;
    x->report = report;
    return status;
}

void lock_waits_done(lock_waits *x)
{
    kvc_reply_free(x->report);
    x->report = NULL;
}

static void add_shards(const kvc_reply *shards, text *out)
{
    for (size_t i = 0; i < kvc_reply_count(shards); i++) {
        const kvc_reply *s = kvc_reply_at(shards, i);

        text_printf(out, "  db %.0f shard %-8.0f %10.0f waits %12.3f ms in all %10.3f ms at most\n",
                    number_of(s, "db"), number_of(s, "shard"), number_of(s, "waits"),
                    number_of(s, "wait-ns") / 1e6, number_of(s, "wait-max-ns") / 1e6);
    }
}

static void add_keys(const kvc_reply *keys, text *out)
{
    for (size_t i = 0; i < kvc_reply_count(keys); i++) {
        const kvc_reply *k = kvc_reply_at(keys, i);
        kvc_slice name = kvc_reply_text(kvc_reply_find(k, "key"));

        text_printf(out, "  db %.0f %10.0f waits  ", number_of(k, "db"), number_of(k, "waits"));
        if (kvc_reply_type(kvc_reply_find(k, "key")) == KVC_TYPE_NIL)
            text_add_str(out, "(gone)");
        else
            text_quoted_utf8(out,
                             kvc_bytes(name.data, name.len < KEY_SHOWN_BYTES ? name.len : KEY_SHOWN_BYTES));
        text_add_char(out, '\n');
    }
}

void lock_waits_print(const lock_waits *x, double seconds, text *out)
{
    const kvc_reply *wait = kvc_reply_find(x->report, "wait");

    if (!x->report || seconds <= 0)
        return;
    text_printf(out,
                "\ncontention  %.0f waits for locks/s, %.3f ms waited/s; since the start: %.0f waits, "
                "p99 %.3f ms, at most %.3f ms\n",
                x->new_waits / seconds, x->new_waited_ns / 1e6 / seconds, x->waits,
                number_of(wait, "p99-ns") / 1e6, number_of(wait, "max-ns") / 1e6);
    add_shards(kvc_reply_find(x->report, "shards"), out);
    add_keys(kvc_reply_find(x->report, "keys"), out);
}
