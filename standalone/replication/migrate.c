/* migrate.c - see migrate.h.
 *
 * Redis stands still while a MIGRATE waits for its target. Here the connection is parked, and a task, one of a few threads,
 * talks to the target:
 *
 *     worker: parse, park --queue--> task: in rounds of some keys
 *                                          read value, deadline, version  -> RESTORE ... all in one write
 *                                          read the replies
 *                                          remove each key that was acknowledged, if it still has that version
 *                            <--back--     a key that was written meanwhile: again, over what the target got
 *
 * So a write that comes in between is neither lost nor undone: it is moved as well. A key that is written faster than it
 * can be moved stays, and the reply says so.
 *
 * Between the target's +OK and the removal here, both servers have the key, as with Redis: who reads here sees what
 * has been true until then.
 *
 * A thread keeps its last connection for some seconds, for a series of MIGRATEs to one target. Threads are started as jobs
 * come, up to THREADS_MAX; further jobs wait. Each step that waits ends by the command's timeout, or when the server stops.
 *
 * SPDX-License-Identifier: MIT */
#include "migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "actor.h"
#include "payload.h"
#include "peer.h"
#include "server.h"
#include "tls_reload.h"

#define THREADS_MAX   4
#define ROUND_KEYS    64
#define ROUND_BYTES   ((size_t)1024 * 1024) /* of payloads; one key may be larger */
#define ATTEMPTS_MAX  16
#define SOCKET_KEEP_S 10

/* A thread's connection, and what was said on it. */
typedef struct target {
    peer peer;
    bool open;
    char *host, *user, *password;
    int port, db;
} target;

struct migrations {
    struct server *server;
    int cancel_fd;
    _Atomic int sockets;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    migration *first, **last;
    pthread_t threads[THREADS_MAX];
    int thread_count, idle_count;
    bool ending;
};

/* A key on its way. */
typedef struct shipment {
    migration_key *key;
    char *payload;
    size_t len;
    int64_t ttl_ms; /* 0: for ever */
} shipment;

/* ---- replies ---- */

static void say(migration *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first thing that went wrong is what is told. */
static void say(migration *m, const char *format, ...)
{
    va_list args;

    if (m->reply[0])
        return;
    va_start(args, format);
    vsnprintf(m->reply, sizeof m->reply, format, args);
    va_end(args);
}

/* ---- the connection ---- */

static void close_target(migrations *all, target *t)
{
    if (!t->open)
        return;
    peer_done(&t->peer);
    free(t->host);
    free(t->user);
    free(t->password);
    t->host = t->user = t->password = NULL;
    t->open = false;
    atomic_fetch_sub(&all->sockets, 1);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_for(target *t, const migration *m, bool encrypted)
{
    return t->open && t->peer.encrypted == encrypted && t->port == m->port && same(t->host, m->host) &&
           same(t->user, m->user) && same(t->password, m->password) && !peer_is_stale(&t->peer);
}

static int64_t deadline_of(const migration *m)
{
    return peer_clock_ms() + m->timeout_ms;
}

/* A line of the target; false: the reply was said. */
static bool hear(migration *m, target *t, kv_slice *ret_line)
{
    if (peer_line(&t->peer, PEER_LINE_MAX, ret_line, deadline_of(m)) == PEER_OK && ret_line->len)
        return true;
    say(m, "-IOERR error or timeout reading to target instance");
    return false;
}

static bool tell(migration *m, target *t, int argc, const kv_slice argv[])
{
    if (peer_send_command(&t->peer, argc, argv, deadline_of(m)) == PEER_OK)
        return true;
    say(m, "-IOERR error or timeout writing to target instance");
    return false;
}

static void say_refused(migration *m, kv_slice line)
{
    say(m, "-ERR Target instance replied with error: %.*s", (int)(line.len - 1 < 200 ? line.len - 1 : 200),
        line.data + 1);
}

static bool ask_for_ok(migration *m, target *t, int argc, const kv_slice argv[])
{
    kv_slice line;

    if (!tell(m, t, argc, argv) || !hear(m, t, &line))
        return false;
    if (line.data[0] == '-')
        say_refused(m, line);
    return line.data[0] != '-';
}

static bool authenticate(migration *m, target *t)
{
    kv_slice argv[3] = { KV_STR("AUTH") };
    int argc = 1;

    if (!m->password)
        return true;
    if (m->user)
        argv[argc++] = kv_str(m->user);
    argv[argc++] = kv_str(m->password);
    return ask_for_ok(m, t, argc, argv);
}

static bool select_db(migration *m, target *t)
{
    char number[16];
    kv_slice argv[2] = { KV_STR("SELECT") };

    if (t->db == m->to_db)
        return true;
    argv[1] = kv_slice_of(number, (size_t)snprintf(number, sizeof number, "%d", m->to_db));
    if (!ask_for_ok(m, t, 2, argv))
        return false;
    t->db = m->to_db;
    return true;
}

static bool remember(target *t, const migration *m)
{
    t->host = strdup(m->host);
    t->user = m->user ? strdup(m->user) : NULL;
    t->password = m->password ? strdup(m->password) : NULL;
    t->port = m->port;
    t->db = -1; /* not known */
    return t->host && (t->user || !m->user) && (t->password || !m->password);
}

/* A connection to m's target, authenticated, with its database selected. False: the reply was said. */
static bool reach(migrations *all, migration *m, target *t)
{
    bool encrypted = config_number(all->server->config, CONFIG_ID_tls_cluster) != 0;
    peer_status status;

    if (is_for(t, m, encrypted))
        return select_db(m, t);
    close_target(all, t);
    peer_init(&t->peer, all->cancel_fd);
    if (encrypted)
        peer_encrypt(&t->peer, tls_reload_context(all->server));
    t->open = true;
    atomic_fetch_add(&all->sockets, 1);
    status = peer_connect(&t->peer, m->host, m->port, NULL, deadline_of(m));
    if (status == PEER_TIMEOUT || status == PEER_NO_HOST)
        say(m, "-IOERR error or timeout connecting to the client");
    else if (status != PEER_OK)
        say(m, "-IOERR error or timeout writing to target instance");
    else if (!remember(t, m))
        say(m, "-ERR out of memory");
    return status == PEER_OK && !m->reply[0] && authenticate(m, t) && select_db(m, t);
}

/* ---- the keys here, read and removed on the thread that owns them ---- */

/* A round: some of the keys. */
typedef struct round_trip {
    actor_message message; /* first */
    migrations *all;
    migration *m;
    notices notices;
    size_t next; /* the key to go on with */
    shipment shipments[ROUND_KEYS];
    size_t count, bytes;
    bool out_of_memory;
} round_trip;

/* Makes a shipment of the key, if it is there. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void load_key(round_trip *trip, migration_key *key)
{
    kv_store *store = trip->all->server->databases.stores[trip->m->from_db];
    shipment *to = &trip->shipments[trip->count];
    int64_t now_ms = clock_ms();
    const entry *e = store_find(store, store_key_of(store, key->name), now_ms);
    kv_bytes *owner;

    if (!e) {
        key->done =
            true; /* it went by itself, or another client took it; the target may have had it already */
        return;
    }
    *to = (shipment){ .key = key };
    key->version = e->version;
    if (entry_deadline(e) != KV_FOREVER)
        to->ttl_ms = entry_deadline(e) - now_ms;
    trip->out_of_memory = payload_encode(entry_value(e, &owner), false, &to->payload, &to->len) != 0;
    trip->count += !trip->out_of_memory;
    trip->bytes += to->len;
}

static void load_keys(actor_message *message)
{
    round_trip *trip = (round_trip *)message;
    kv_domain *domain = trip->all->server->domain;
    migration *m = trip->m;

    trip->out_of_memory = epoch_enter(domain) != 0;
    while (trip->next < m->count && trip->count < ROUND_KEYS && trip->bytes < ROUND_BYTES &&
           !trip->out_of_memory) {
        migration_key *key = &m->keys[trip->next++];

        if (!key->done)
            load_key(trip, key);
    }
    epoch_leave(domain);
}

/* Removes what was acknowledged and has not changed since it was read. */
static void remove_keys(actor_message *message)
{
    round_trip *trip = (round_trip *)message;
    server *s = trip->all->server;
    kv_store *store = s->databases.stores[trip->m->from_db];

    notify_thread(&trip->notices);
    for (size_t i = 0; i < trip->count; i++) {
        migration_key *key = trip->shipments[i].key;
        kv_set_options unchanged = { .condition = KV_IF_VERSION, .version = key->version };

        if (key->acked && !key->done)
            key->done = kv_store_delete(store, key->name, &unchanged, clock_ms()) != KV_ECOND;
    }
    if (trip->notices.some)
        notify_flush(s, NULL, &trip->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

static void run_there(round_trip *trip, actor_fn *run)
{
    trip->message.run = run;
    if (trip->all->server->actor)
        actor_call(trip->all->server->actor, &trip->message);
    else
        run(&trip->message);
}

/* ---- shipping ---- */

/* What the target has of ours already is replaced. */
static bool send_restore(migration *m, target *t, const shipment *s)
{
    char ttl[24];
    kv_slice argv[5] = { KV_STR("RESTORE"), s->key->name };

    argv[2] = kv_slice_of(ttl, (size_t)snprintf(ttl, sizeof ttl, "%lld", (long long)s->ttl_ms));
    argv[3] = kv_slice_of(s->payload, s->len);
    argv[4] = KV_STR("REPLACE");
    return tell(m, t, 4 + (m->replace || s->key->acked), argv);
}

static bool send_all(round_trip *trip, target *t)
{
    bool sent = true;

    for (size_t i = 0; i < trip->count; i++) {
        sent = sent && send_restore(trip->m, t, &trip->shipments[i]);
        free(trip->shipments[i].payload);
    }
    return sent;
}

/* The replies to all of them; those that came before the connection failed count. */
static bool hear_all(round_trip *trip, target *t)
{
    migration *m = trip->m;
    kv_slice line;

    for (size_t i = 0; i < trip->count; i++) {
        migration_key *key = trip->shipments[i].key;

        if (!hear(m, t, &line))
            return false;
        if (line.data[0] == '-') {
            say_refused(m, line);
            key->done = true;
        } else {
            key->acked = true;
            key->done = m->copy;
        }
    }
    return true;
}

/* Moves some of the keys from *next on. False: the connection is of no use any more. */
static bool move_some(migrations *all, migration *m, target *t, size_t *next)
{
    round_trip *trip = calloc(1, sizeof *trip);
    bool alive;

    if (!trip) {
        say(m, "-ERR out of memory");
        return false;
    }
    *trip = (round_trip){ .all = all, .m = m, .notices = { .server = all->server }, .next = *next };
    run_there(trip, load_keys);
    if (trip->out_of_memory)
        say(m, "-ERR out of memory");
    *next = trip->next;
    alive = send_all(trip, t) && hear_all(trip, t);
    if (!m->copy)
        run_there(trip, remove_keys);
    alive = alive && !trip->out_of_memory;
    free(trip);
    return alive;
}

static bool is_done(const migration *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (!m->keys[i].done)
            return false;
    return true;
}

/* Goes through the keys until all are done with; a second time for those that were written meanwhile, and so on. */
static void move_keys(migrations *all, migration *m, target *t)
{
    bool alive = reach(all, m, t);

    for (int attempt = 0; alive && attempt < ATTEMPTS_MAX && !is_done(m); attempt++)
        for (size_t next = 0; alive && next < m->count;)
            alive = move_some(all, m, t, &next);
    if (alive && !is_done(m))
        say(m, "-ERR a key was written again and again while it was moved: it is still here, and the target "
               "has what it was");
    if (!alive)
        close_target(all, t);
    say(m, "+OK");
}

/* ---- the tasks ---- */

/* The next job, or NULL: there was none for a while, or all is to end. */
static migration *take_job(migrations *all, bool *ret_ending)
{
    struct timespec until;
    migration *m;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SOCKET_KEEP_S;
    pthread_mutex_lock(&all->lock);
    all->idle_count++;
    while (!all->first && !all->ending && !error)
        error = pthread_cond_timedwait(&all->more, &all->lock, &until);
    all->idle_count--;
    m = all->first;
    if (m) {
        all->first = m->next;
        if (!all->first)
            all->last = &all->first;
    }
    *ret_ending = all->ending;
    pthread_mutex_unlock(&all->lock);
    return m;
}

static void *run(void *arg)
{
    migrations *all = arg;
    target t = { .open = false };
    bool ending = false;

    while (!ending) {
        migration *m = take_job(all, &ending);

        if (m) {
            move_keys(all, m, &t);
            worker_post(m->w, &m->back);
        } else {
            close_target(all, &t); /* it was not used for a while */
        }
    }
    close_target(all, &t);
    return NULL;
}

bool migrations_post(migrations *all, migration *m)
{
    bool served;

    pthread_mutex_lock(&all->lock);
    if (all->idle_count == 0 && all->thread_count < THREADS_MAX &&
        pthread_create(&all->threads[all->thread_count], NULL, run, all) == 0)
        all->thread_count++;
    served = all->thread_count > 0;
    if (served) {
        m->next = NULL;
        *all->last = m;
        all->last = &m->next;
        pthread_cond_signal(&all->more);
    }
    pthread_mutex_unlock(&all->lock);
    return served;
}

/* ---- life ---- */

migrations *migrations_new(server *s)
{
    migrations *all = calloc(1, sizeof *all);

    if (!all)
        return NULL;
    all->server = s;
    all->last = &all->first;
    all->cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->more, NULL);
    if (all->cancel_fd < 0) {
        migrations_free(all);
        return NULL;
    }
    return all;
}

void migrations_cancel(migrations *all)
{
    uint64_t one = 1;
    ssize_t ignored = write(all->cancel_fd, &one, sizeof one);

    (void)ignored;
}

int migrations_sockets(const migrations *all)
{
    return atomic_load(&((migrations *)all)->sockets);
}

void migrations_free(migrations *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    all->ending = true;
    pthread_cond_broadcast(&all->more);
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < all->thread_count; i++)
        pthread_join(all->threads[i], NULL);
    if (all->cancel_fd >= 0)
        close(all->cancel_fd);
    pthread_cond_destroy(&all->more);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
