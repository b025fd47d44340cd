/* aof_retell.c - see aof_retell.h. Until it is done, a start from the log gives a part of the data set.
 *
 * Keys that have expired are told, too: they are there, and somebody will say DEL.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_retell.h"

#include "actor.h"
#include "aof.h"
#include "server.h"
#include "store.h"

typedef struct retelling {
    actor_message message;
    server *server;
    kv_store *store;
    uint64_t cursor;
    notices notices;
    bool failed;
} retelling;

KV_UNDER_LOCK static int write_again(kv_slot *slot, void *arg)
{
    kv_slice value;
    int err = kv_slot_value(slot, &value);

    (void)arg;
    return err || !kv_slot_exists(slot) ? err : kv_slot_set(slot, value);
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void tell_again(void *arg, const entry *e)
{
    retelling *t = arg;
    int64_t now_ms = clock_ms();

    if (entry_deadline(e) <= now_ms)
        now_ms = INT64_MIN;
    t->failed |= store_update(t->store, store_key_of(t->store, entry_key(e)), write_again, NULL, now_ms) != 0;
}

static void run_retelling(actor_message *message)
{
    retelling *t = (retelling *)message;
    server *s = t->server;

    notify_thread(&t->notices);
    if (epoch_enter(s->domain) == 0)
        t->cursor = store_scan(t->store, t->cursor, tell_again, t, INT64_MIN);
    else
        t->failed = true;
    epoch_leave(s->domain);
    if (t->notices.some)
        notify_flush(s, NULL, &t->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

int aof_retell(server *s, bool of_primary, bool (*go_on)(void *arg), void *arg)
{
    retelling t = { .message.run = run_retelling,
                    .server = s,
                    .notices = { .server = s, .of_primary = of_primary } };

    for (int db = 0; aof_listens(s) && db < s->databases.count; db++) {
        t.store = s->databases.stores[db];
        do {
            if (s->actor)
                actor_call(s->actor, &t.message);
            else
                run_retelling(&t.message);
            aof_task_wrote(s);
            if (t.failed)
                return KV_ENOMEM;
            if (!go_on(arg))
                return KV_ECOND;
        } while (t.cursor);
    }
    return 0;
}
