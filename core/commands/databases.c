/* databases.c - whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB; and keys between them: MOVE, COPY.
 *
 * SPDX-License-Identifier: MIT */
#include "read.h"

struct count {
    kv_store *store;
    size_t keys;
};

static void count_keys(void *arg)
{
    struct count *count = arg;

    count->keys = store_count(count->store);
}

/* DBSIZE */
void kv_cmd_dbsize(kv_call *call)
{
    struct count count = { .store = call->store };
    int err = store_look(call->store, count_keys, &count);

    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, (int64_t)count.keys);
}

/* ---- FLUSHDB, FLUSHALL ---- */

/* [ASYNC | SYNC]; KV_ESYNTAX. Who does not insist on SYNC does not wait for the memory of ten million keys to return, and
 * neither do the other clients of the thread. */
static int flush_mode(const kv_call *call, bool *ret_async)
{
    bool sync = call->argc == 2 && kv_word_is(call->argv[1], "sync");

    *ret_async = !sync;
    if (call->argc == 1 || sync || (call->argc == 2 && kv_word_is(call->argv[1], "async")))
        return 0;
    return KV_ESYNTAX;
}

static void reply_done(kv_call *call, int err)
{
    if (err)
        kv_reply_error(call->reply, err);
    else
        kv_reply_ok(call->reply);
}

/* FLUSHDB [ASYNC | SYNC] */
void kv_cmd_flushdb(kv_call *call)
{
    bool async;
    int err = flush_mode(call, &async);

    if (!err)
        err = store_clear(call->store, async);
    reply_done(call, err);
}

/* FLUSHALL [ASYNC | SYNC] */
void kv_cmd_flushall(kv_call *call)
{
    bool async;
    int err = flush_mode(call, &async);

    if (!err && call->databases)
        err = store_clear_all(call->databases->stores, (size_t)call->databases->count, async);
    else if (!err)
        err = store_clear(call->store, async);
    if (!err && call->databases && call->databases->emptied &&
        call->databases->emptied(call->databases->arg, call))
        return;
    reply_done(call, err);
}

/* Whether argv[index] is a number at all; otherwise replies what is wrong with it. */
static bool db_is_number(kv_call *call, int index, const char *which)
{
    int64_t db;

    if (kv_parse_int(call->argv[index], &db) && db >= INT_MIN && db <= INT_MAX)
        return true;
    kv_reply_errorf(call->reply, "ERR invalid %s DB index", which);
    return false;
}

/* SWAPDB index1 index2 */
void kv_cmd_swapdb(kv_call *call)
{
    int a, b;

    if (!db_is_number(call, 1, "first") || !db_is_number(call, 2, "second"))
        return;
    if (!kv_arg_db(call, 1, &a) || !kv_arg_db(call, 2, &b))
        return;
    if (a != b)
        store_swap(call->databases->stores[a], call->databases->stores[b], call->now_ms);
    kv_reply_ok(call->reply);
}

/* ---- MOVE, COPY ---- */

static void reply_transfer(kv_call *call, int err)
{
    if (err && err != KV_ENOKEY && err != KV_ECOND)
        kv_reply_error(call->reply, err);
    else
        kv_reply_int(call->reply, err == 0);
}

/* MOVE key db */
void kv_cmd_move(kv_call *call)
{
    store_key key = kv_arg_key(call, 1);
    int db;

    if (!kv_arg_db(call, 2, &db))
        return;
    if (db == call->db)
        kv_reply_error(call->reply, KV_ESAMEKEY);
    else
        reply_transfer(call, store_transfer_key(call->store, key, call->databases->stores[db], key,
                                                STORE_MOVE, false, call->now_ms));
}

/* The options after COPY source destination; false: an error was replied. */
static bool copy_options(kv_call *call, int *ret_db, bool *ret_replace)
{
    *ret_db = call->db;
    *ret_replace = false;
    for (int i = 3; i < call->argc; i++) {
        if (kv_word_is(call->argv[i], "replace")) {
            *ret_replace = true;
        } else if (kv_word_is(call->argv[i], "db") && i + 1 < call->argc) {
            if (!kv_arg_db(call, ++i, ret_db))
                return false;
        } else {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
    }
    return true;
}

/* COPY source destination [DB destination-db] [REPLACE] */
void kv_cmd_copy(kv_call *call)
{
    store_key from_key = kv_arg_key(call, 1);
    kv_store *to = call->store;
    bool replace;
    int db;

    if (!copy_options(call, &db, &replace))
        return;
    if (db == call->db && kv_slice_equal(call->argv[1], call->argv[2])) {
        kv_reply_error(call->reply, KV_ESAMEKEY);
        return;
    }
    if (call->databases)
        to = call->databases->stores[db];
    kv_note_read(call, call->argv[1], store_find(call->store, from_key, call->now_ms));
    reply_transfer(call, store_transfer_key(call->store, from_key, to, store_key_of(to, call->argv[2]),
                                            STORE_COPY, replace, call->now_ms));
}
