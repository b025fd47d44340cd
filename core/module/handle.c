/* handle.c - see handle.h.
 *
 * A table of places, each with the secret of its handle and a reference to its store. A handle's text is the number of
 * its place and the secret: "17.6f1c...". Places are found by number, and keys by looking through all of them, which
 * only keys do that have a handle (a bit in the key tells).
 *
 * Only stores can be read by other threads, so a key that is a pack becomes a store when it gets a handle, and stays one.
 *
 * That a key has got another deadline, the server tells; but valkey-server 8.1.1 leaves a client in the other database
 * after MOVE and COPY ... DB, if any module listens to what happens to keys. So there nobody listens, and the
 * deadlines are asked for ten times a second: one that is given to a key that has a handle is known to the port a
 * moment later, or, if the server is busy, only after that.
 *
 * The lock is held for a few loads and stores; what a handle let go of is released after it. A store that the read
 * port is reading when its key ends lives until that read is done. A forked child never comes here.
 *
 * SPDX-License-Identifier: MIT */
#include "handle.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

#include "decimal.h"
#include "port.h"
#include "reply.h"
#include "run.h"

#define HANDLE_TEXT_SIZE (HANDLE_SECRET_SIZE + 21)

typedef struct place {
    char secret[HANDLE_SECRET_SIZE]; /* of 32 digits; empty: nobody's */
    kv_store *store;                 /* retained */
    keyed *keyed;
    int db;
    int64_t deadline_ms; /* of the key itself, or KV_FOREVER */
    rm_str *name;        /* of the key; the main thread's */
} place;

static struct {
    pthread_mutex_t lock;
    place *places;
    size_t size;
    _Atomic size_t used;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- secrets ---- */

bool handle_secret(char ret_secret[HANDLE_SECRET_SIZE])
{
    unsigned char bits[16];

    if (getrandom(bits, sizeof bits, 0) != sizeof bits)
        return false;
    for (size_t i = 0; i < sizeof bits; i++)
        snprintf(ret_secret + 2 * i, 3, "%02x", bits[i]);
    return true;
}

bool handle_secrets_equal(const char secret[HANDLE_SECRET_SIZE], kv_slice text)
{
    unsigned char differ = 0;

    if (text.len != HANDLE_SECRET_SIZE - 1)
        return false;
    for (size_t i = 0; i < HANDLE_SECRET_SIZE - 1; i++)
        differ |= (unsigned char)(secret[i] ^ text.data[i]);
    return differ == 0;
}

/* ---- finding ---- */

/* With the lock held. */
static const place *place_of_text(kv_slice text)
{
    const char *point = memchr(text.data, '.', text.len);
    size_t len = point ? (size_t)(point - text.data) : 0;
    int64_t number;

    if (!point || !decimal_parse(kv_slice_of(text.data, len), &number) || number < 0 ||
        (uint64_t)number >= table.size)
        return NULL;
    const place *p = &table.places[number];

    return p->store && handle_secrets_equal(p->secret, kv_slice_of(point + 1, text.len - len - 1)) ? p : NULL;
}

kv_store *handle_find(kv_slice text, int64_t now_ms)
{
    kv_store *store = NULL;

    if (text.len == 0)
        return NULL;
    pthread_mutex_lock(&table.lock);
    const place *p = place_of_text(text);

    if (p && p->deadline_ms > now_ms) {
        store = p->store;
        kv_store_ref(store);
    }
    pthread_mutex_unlock(&table.lock);
    return store;
}

size_t handle_count(void)
{
    return table.used;
}

/* ---- ending ---- */

/* With the lock held; the store is the caller's to release, without the lock. */
static kv_store *place_end(place *p)
{
    kv_store *store = p->store;

    keyed_set_attached(p->keyed, false);
    p->store = NULL;
    p->keyed = NULL;
    table.used--;
    return store;
}

void handle_forget(keyed *k)
{
    kv_store *store = NULL;

    if (!keyed_attached(k))
        return;
    pthread_mutex_lock(&table.lock);
    for (size_t i = 0; i < table.size && !store; i++) {
        if (table.places[i].keyed == k)
            store = place_end(&table.places[i]);
    }
    pthread_mutex_unlock(&table.lock);
    kv_store_unref(store);
}

void handle_forget_db(int db)
{
    for (size_t i = 0; i < table.size; i++) { /* only the main thread changes the size */
        kv_store *store = NULL;

        pthread_mutex_lock(&table.lock);
        if (table.places[i].store && (db < 0 || table.places[i].db == db))
            store = place_end(&table.places[i]);
        pthread_mutex_unlock(&table.lock);
        kv_store_unref(store);
    }
}

/* ---- KV.ATTACH ---- */

/* With the lock held: a place that is nobody's, or NULL: there are as many as may be, or memory is out. */
static place *place_new(void)
{
    size_t size = table.size ? 2 * table.size : 16, i = 0;
    place *places;

    while (i < table.size && table.places[i].store)
        i++;
    if (table.used >= (size_t)module.port_max_handles)
        return NULL;
    if (i < table.size)
        return &table.places[i];
    places = rm_alloc(size * sizeof *places);
    if (!places)
        return NULL;
    memset(places, 0, size * sizeof *places);
    if (table.size)
        memcpy(places, table.places, table.size * sizeof *places);
    rm.Free(table.places);
    table.places = places;
    table.size = size;
    return &table.places[i];
}

static place *place_of_key(const keyed *k)
{
    for (size_t i = 0; i < table.size; i++) {
        if (table.places[i].keyed == k)
            return &table.places[i];
    }
    return NULL;
}

static int64_t deadline_of(rm_key *key)
{
    long long deadline_ms = rm.GetAbsExpire(key);

    return deadline_ms < 0 ? KV_FOREVER : deadline_ms;
}

/* The place's key has that name; only the main thread has anything to do with names, since their counts of references
 * are not atomic: so the last one stays until the place is taken again. */
static void name_set(place *p, rm_str *name)
{
    kv_slice text = run_slice(name);

    if (p->name)
        rm.FreeString(NULL, p->name);
    p->name = rm.CreateString(NULL, text.data, text.len);
}

/* The handle of the key that is open, a new one if it has none. False: there are too many. */
static bool attach(run *r, char ret_text[HANDLE_TEXT_SIZE])
{
    place fresh = { .store = keyed_store(r->keyed),
                    .keyed = r->keyed,
                    .db = rm.GetSelectedDb(r->ctx),
                    .deadline_ms = deadline_of(r->key) };
    place *p;

    if (!handle_secret(fresh.secret))
        return false;
    pthread_mutex_lock(&table.lock);
    p = place_of_key(r->keyed);
    if (!p && (p = place_new()) != NULL) {
        name_set(p, r->name);
        fresh.name = p->name;
        *p = fresh;
        table.used++;
        kv_store_ref(p->store);
        keyed_set_attached(r->keyed, true);
    }
    if (p)
        snprintf(ret_text, HANDLE_TEXT_SIZE, "%zu.%s", (size_t)(p - table.places), p->secret);
    pthread_mutex_unlock(&table.lock);
    return p != NULL;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void tell_handle(run *r)
{
    char text[HANDLE_TEXT_SIZE];
    module_reply sink;

    module_reply_init(&sink, r->ctx, false);
    if (!r->keyed) {
        kv_reply_null(&sink.reply);
    } else if (keyed_make_store(r->keyed) != 0) {
        kv_reply_error(&sink.reply, KV_ENOMEM);
    } else if (!attach(r, text)) {
        rm.ReplyWithError(r->ctx, "ERR there are as many handles as kv.port-max-handles allows");
    } else {
        sink.reply.ops->map(&sink.reply, 3);
        kv_reply_bulk(&sink.reply, KV_STR("handle"));
        kv_reply_bulk(&sink.reply, kv_str(text));
        kv_reply_bulk(&sink.reply, KV_STR("port"));
        kv_reply_int(&sink.reply, module.port);
        kv_reply_bulk(&sink.reply, KV_STR("token"));
        kv_reply_bulk(&sink.reply, kv_str(port_token()));
    }
}

/* KV.ATTACH key: null when there is no such key. */
int handle_attach(rm_ctx *ctx, rm_str **argv, int argc)
{
    run r;

    if (argc != 2)
        return rm.WrongArity(ctx);
    if (module.port == 0)
        return rm.ReplyWithError(ctx, "ERR the read port is closed: kv.port is 0");
    run_begin(&r, ctx, argv[1], RM_READ, (keyed_part){ 0 });
    if (!r.replied)
        tell_handle(&r);
    run_end(&r, NULL);
    return RM_OK;
}

/* KV.DETACH key: 1 when it had a handle, which is stale from now on. */
int handle_detach(rm_ctx *ctx, rm_str **argv, int argc)
{
    run r;

    if (argc != 2)
        return rm.WrongArity(ctx);
    run_begin(&r, ctx, argv[1], RM_READ, (keyed_part){ 0 });
    if (!r.replied) {
        rm.ReplyWithLongLong(ctx, r.keyed && keyed_attached(r.keyed));
        if (r.keyed)
            handle_forget(r.keyed);
    }
    run_end(&r, NULL);
    return RM_OK;
}

/* ---- what the server tells ---- */

/* Asks for the deadline of the key of that name, for its handle if it has one. */
static void learn_deadline(rm_ctx *ctx, rm_str *name)
{
    rm_key *key = rm.OpenKey(ctx, name, RM_READ | RM_NO_TOUCH);

    if (!key)
        return;
    if (rm.ModuleTypeGetType(key) == module.type) {
        pthread_mutex_lock(&table.lock);
        place *p = place_of_key(rm.ModuleTypeGetValue(key));

        if (p)
            p->deadline_ms = deadline_of(key);
        pthread_mutex_unlock(&table.lock);
    }
    rm.CloseKey(key);
}

static int on_key_event(rm_ctx *ctx, int type, const char *event, rm_str *name)
{
    (void)type;
    if (handle_count() && (strcmp(event, "expire") == 0 || strcmp(event, "persist") == 0))
        learn_deadline(ctx, name);
    return RM_OK;
}

static bool server_tells(void)
{
    return rm.SubscribeToKeyspaceEvents && !rm.valkey;
}

void handle_refresh(rm_ctx *ctx)
{
    if (server_tells())
        return;
    for (size_t i = 0; handle_count() && i < table.size; i++) {
        if (table.places[i].store && rm.SelectDb(ctx, table.places[i].db) == RM_OK)
            learn_deadline(ctx, table.places[i].name);
    }
}

static void on_flush(rm_ctx *ctx, rm_event event, uint64_t subevent, void *data)
{
    const rm_flush_data *flush = data;

    (void)ctx;
    (void)event;
    if (subevent == RM_FLUSH_START)
        handle_forget_db(flush->db);
}

static void on_change_of_all(rm_ctx *ctx, rm_event event, uint64_t subevent, void *data)
{
    (void)ctx;
    (void)event;
    (void)subevent;
    (void)data;
    handle_forget_db(-1);
}

bool handle_supported(void)
{
    return rm.GetAbsExpire;
}

void handle_start(rm_ctx *ctx)
{
    if (!handle_supported())
        return;
    if (server_tells())
        rm.SubscribeToKeyspaceEvents(ctx, RM_NOTIFY_GENERIC, on_key_event);
    rm.SubscribeToServerEvent(ctx, (rm_event){ RM_EVENT_FLUSH, 1 }, on_flush);
    rm.SubscribeToServerEvent(ctx, (rm_event){ RM_EVENT_ROLE, 1 }, on_change_of_all);
    rm.SubscribeToServerEvent(ctx, (rm_event){ RM_EVENT_ASYNC_REPLICA_LOAD, 1 }, on_change_of_all);
}
