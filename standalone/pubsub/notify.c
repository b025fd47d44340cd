/* notify.c - see notify.h.
 *
 * The problem: an event must be published in the order in which its key changed, and a change is in order only
 * under the lock of its shard; but publishing matches patterns and makes messages, which nobody may do there.
 *
 *     command --> store --change record, under the lock--> listener: appends a notice, a copy of the key
 *     end of the batch: notify_flush --> one thread at a time takes what is there, and publishes it in order
 *
 * Each thread flushes before the replies to its batch are sent, and waits for the one that is publishing: when
 * a client learns that its command was done, the messages about it are under way.
 *
 * What an event is called depends on the command that made the change; the record tells only what became of the key.
 * So the listener looks at the call that runs on its thread. The stores know nothing of calls, which is why that is
 * a variable of the thread: the one thing here that does not hang from the server.
 *
 * A message that EXEC publishes is put among the notices, so that it stands where its PUBLISH stands among the commands: those who
 * hear both hear them in that order, and nothing is published while the locks are held.
 *
 * When nobody wants to know, the stores do not tell: a write then costs nothing more (store_set_telling).
 *
 * SPDX-License-Identifier: MIT */
#include "notify.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "aof.h"
#include "args.h"
#include "feed.h"
#include "local_keys.h"
#include "pubsub.h"
#include "server.h"
#include "tracking.h"

#define NAMES_MAX 3

struct notice {
    notice *next;
    int db;
    bool changed;               /* the key did: caches of it are stale; not for a miss */
    struct tracking_key *stale; /* who had it in his cache; NULL: nobody, or he has been told */
    bool all;                   /* everything in the database did */
    bool follows; /* ... which was told with the notice before it, or is when that was of the same kind */
    bool says;    /* it is a message, and no change: of that kind, to the channel key */
    int topic_kind;
    kv_slice payload;
    uint64_t origin; /* whose command it was; 0: nobody's */
    const char *names[NAMES_MAX];
    kv_slice key;
    char text[];
};

static _Thread_local notices *own;

/* ---- writers of the log ---- */

static bool is_guest(const server *s, const aof_writer *writer)
{
    return writer >= s->guests && writer < s->guests + SERVER_GUESTS;
}

/* One that no other thread has. There are as many as there are tasks that change something, and more. */
static aof_writer *take_guest(server *s)
{
    for (int i = 0;; i = (i + 1) % SERVER_GUESTS) {
        int used = atomic_load(&s->guests_used);

        if (atomic_exchange(&s->guest_taken[i], true)) {
            sched_yield();
            continue;
        }
        while (used <= i && !atomic_compare_exchange_weak(&s->guests_used, &used, i + 1))
            ;
        return &s->guests[i];
    }
}

static void give_back_guest(notices *n)
{
    server *s = n->server;

    if (!n->writer || !is_guest(s, n->writer)) /* without a writer it may have no server either */
        return;
    atomic_store(&s->guest_taken[n->writer - s->guests], false);
    n->writer = NULL;
}

void notify_thread(notices *n)
{
    if (own && own != n)
        give_back_guest(own);
    own = n;
    if (n && n->server && !n->writer)
        n->writer = n->server->actor ? &n->server->actor_writer : take_guest(n->server);
}

/* ---- under the lock of a shard ---- */

static int index_of(const server *s, const void *tag)
{
    return (int)((kv_store *const *)tag - s->databases.stores);
}

static const char *name_of_set(int command, unsigned *ret_class)
{
    *ret_class = NOTIFY_STRING;
    switch (command) {
    case KV_COMMAND_append:
        return "append";
    case KV_COMMAND_setrange:
        return "setrange";
    case KV_COMMAND_incr:
    case KV_COMMAND_incrby:
    case KV_COMMAND_decr:
    case KV_COMMAND_decrby:
        return "incrby";
    case KV_COMMAND_incrbyfloat:
        return "incrbyfloat";
    case KV_COMMAND_rename:
    case KV_COMMAND_renamenx:
        *ret_class = NOTIFY_GENERIC;
        return "rename_to";
    case KV_COMMAND_move:
        *ret_class = NOTIFY_GENERIC;
        return "move_to";
    case KV_COMMAND_copy:
        *ret_class = NOTIFY_GENERIC;
        return "copy_to";
    case KV_COMMAND_restore:
        *ret_class = NOTIFY_GENERIC;
        return "restore";
    default:
        return "set";
    }
}

static const char *name_of_delete(int command)
{
    switch (command) {
    case KV_COMMAND_rename:
    case KV_COMMAND_renamenx:
        return "rename_from";
    case KV_COMMAND_move:
        return "move_from";
    default:
        return "del";
    }
}

/* Whether the call gave the key the deadline that it has now, rather than keeping it. */
static bool gives_deadline(const kv_call *call)
{
    switch (call->command->id) {
    case KV_COMMAND_setex:
    case KV_COMMAND_psetex:
        return true;
    case KV_COMMAND_set:
    case KV_COMMAND_msetex:
        for (int i = 3; i < call->argc; i++)
            if (kv_word_is(call->argv[i], "keepttl"))
                return false;
        return true;
    default:
        return false;
    }
}

static void add_name(notice *n, unsigned wanted, unsigned class, const char *name)
{
    int i = 0;

    while (n->names[i])
        i++;
    if (wanted & class)
        n->names[i] = name;
}

static void name_set(notice *n, unsigned wanted, const kv_change *change)
{
    const kv_call *call = own ? own->call : NULL;
    bool known = call && call->command;
    unsigned class = NOTIFY_STRING;
    const char *name = known ? name_of_set(call->command->id, &class) : "set";

    if (change->created)
        add_name(n, wanted, NOTIFY_NEW, "new");
    add_name(n, wanted, class, name);
    if (known && change->deadline_ms != KV_FOREVER && gives_deadline(call))
        add_name(n, wanted, NOTIFY_GENERIC, "expire");
}

static void name_change(notice *n, unsigned wanted, const kv_change *change)
{
    const kv_call *call = own ? own->call : NULL;

    switch (change->kind) {
    case KV_CHANGE_SET:
        name_set(n, wanted, change);
        return;
    case KV_CHANGE_APPEND:
        add_name(n, wanted, NOTIFY_STRING, "append");
        return;
    case KV_CHANGE_DEADLINE:
        add_name(n, wanted, NOTIFY_GENERIC, change->deadline_ms == KV_FOREVER ? "persist" : "expire");
        return;
    case KV_CHANGE_DELETE:
        add_name(n, wanted, NOTIFY_GENERIC, name_of_delete(call && call->command ? call->command->id : -1));
        return;
    case KV_CHANGE_EXPIRE:
        add_name(n, wanted, NOTIFY_EXPIRED, "expired");
        return;
    case KV_CHANGE_EVICT:
        add_name(n, wanted, NOTIFY_EVICTED, "evicted");
        return;
    default:
        return;
    }
}

static notice *notice_new(int db, kv_slice key)
{
    notice *n = malloc(sizeof *n + key.len);

    if (!n)
        return NULL;
    *n = (notice){ .db = db };
    if (key.len)
        memcpy(n->text, key.data, key.len);
    n->key = kv_slice_of(n->text, key.len);
    return n;
}

static void push(server *s, notice *n)
{
    notice_queue *queue = &s->notices;

    pthread_mutex_lock(&queue->lock);
    *queue->last = n;
    queue->last = &n->next;
    pthread_mutex_unlock(&queue->lock);
    if (own)
        own->some = true;
}

/* A rename is told as deletion and creation; Redis publishes that the new key is there, then the two halves. */
static void push_in_order(server *s, notice *n, const kv_change *change, unsigned wanted)
{
    notice *held = own ? own->held : NULL, *created;

    if (own && change->kind == KV_CHANGE_DELETE && own->call && own->call->command &&
        name_of_delete(own->call->command->id)[0] != 'd') {
        own->held = n;
        return;
    }
    if (held && change->created && (wanted & NOTIFY_NEW)) {
        created = notice_new(n->db, n->key);
        if (created) {
            created->names[0] = n->names[0];
            n->names[0] = n->names[1];
            n->names[1] = NULL;
            push(s, created);
        }
    }
    if (held) {
        own->held = NULL;
        push(s, held);
    }
    push(s, n);
}

/* Who has no notices is the state thread, before its first command. */
static aof_writer *own_writer(server *s)
{
    return own && own->writer ? own->writer : &s->actor_writer;
}

static aof_writer *own_feeder(server *s)
{
    const aof_writer *writer = own_writer(s);

    if (own && own->feeder)
        return own->feeder;
    return is_guest(s, writer) ? &s->guest_feeders[writer - s->guests] : &s->actor_feeder;
}

static _Atomic uint64_t *own_spans(void *arg)
{
    return &own_writer(arg)->spans;
}

/* Whether it is done to one database after the other, from the first on: by FLUSHALL, or by no command. */
static bool clears_all(void)
{
    const kv_call *call = own ? own->call : NULL;

    return !call || !call->command || call->command->id != KV_COMMAND_flushdb;
}

KV_UNDER_LOCK __attribute__((noinline)) static void take_notice(server *s, const kv_change *change)
{
    unsigned wanted = atomic_load_explicit(&s->notify_classes, memory_order_relaxed);
    notice *n;

    if (change->kind == KV_CHANGE_BEGIN || change->kind == KV_CHANGE_END)
        return;
    n = notice_new(index_of(s, change->tag), change->key);
    if (!n) {
        atomic_store_explicit(&s->notice_lost, true, memory_order_relaxed); /* no log under this lock */
        return;
    }
    n->all = change->kind == KV_CHANGE_CLEAR || change->kind == KV_CHANGE_SWAP;
    n->changed = !n->all;
    if (n->all) {
        n->follows = change->kind == KV_CHANGE_CLEAR && n->db > 0 && clears_all();
        tracking_all_are_stale(s);
    }
    if (n->changed)
        n->stale = tracking_take_stale(s, change->key);
    if (own && own->call && change->kind != KV_CHANGE_EXPIRE && change->kind != KV_CHANGE_EVICT)
        n->origin = own->client_id;
    name_change(n, wanted, change);
    push_in_order(s, n, change, wanted);
}

static bool is_writable_replica(server *s)
{
    unsigned restrictions = atomic_load_explicit(&s->restrictions, memory_order_relaxed);

    return (restrictions & SERVER_REPLICA) && !(restrictions & SERVER_READ_ONLY);
}

/* The listener of all databases. */
KV_UNDER_LOCK static void take_change(void *arg, const kv_change *change)
{
    server *s = arg;

    if (aof_listens(s) && !(own && own->unlogged))
        aof_note(s, own_writer(s), change);
    if (feed_listens(s))
        feed_note(s, own_feeder(s), change);
    if (own && is_writable_replica(s))
        local_keys_note(s->local_keys, change, index_of(s, change->tag), !own->of_primary);
    if (atomic_load_explicit(&s->notices.wanted, memory_order_relaxed))
        take_notice(s, change);
}

/* Of puts that are told in short. */
KV_UNDER_LOCK static bool take_put(void *arg, const store_put_told *put)
{
    server *s = arg;

    return aof_listens(s) && !feed_listens(s) &&
           !atomic_load_explicit(&s->notices.wanted, memory_order_relaxed) &&
           aof_note_put(s, own_writer(s), put);
}

void notify_miss(kv_call *call, kv_slice key)
{
    notice *n = own ? notice_new(call->db, key) : NULL;

    if (!n)
        return;
    n->names[0] = "keymiss";
    push(own->server, n);
}

bool notify_say(notices *n, int kind, kv_slice channel, kv_slice payload)
{
    notice *said = malloc(sizeof *said + channel.len + payload.len);
    char *text;

    if (!said)
        return false;
    *said = (notice){ .says = true, .topic_kind = kind };
    text = said->text;
    if (channel.len)
        memcpy(text, channel.data, channel.len);
    if (payload.len)
        memcpy(text + channel.len, payload.data, payload.len);
    said->key = kv_slice_of(text, channel.len);
    said->payload = kv_slice_of(text + channel.len, payload.len);
    push(n->server, said);
    n->some = true;
    return true;
}

/* ---- publishing ---- */

static bool publish_as(server *s, struct worker *from, const notice *n, const char *space, kv_slice last,
                       kv_slice payload)
{
    char few[256], *text = few;
    size_t size = sizeof "__keyevent@2147483647__:" + last.len;
    bool crowded = false;
    int len;

    if (size > sizeof few)
        text = malloc(size);
    if (!text)
        return false;
    len = sprintf(text, "__%s@%d__:", space, n->db);
    if (last.len)
        memcpy(text + len, last.data, last.len);
    pubsub_publish(s, from, TOPIC_CHANNEL, kv_slice_of(text, (size_t)len + last.len), payload, &crowded);
    if (text != few)
        free(text);
    return crowded;
}

static bool say(server *s, struct worker *from, const notice *n)
{
    const kv_slice argv[] = { n->topic_kind == TOPIC_SHARD ? KV_STR("SPUBLISH") : KV_STR("PUBLISH"), n->key,
                              n->payload };
    bool crowded = false;

    if (pubsub_publish(s, from, (topic_kind)n->topic_kind, n->key, n->payload, &crowded) < 0)
        log_limited(&s->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                    "Out of memory: a message that EXEC has published was lost");
    feed_tell(s, 3, argv);
    return crowded;
}

static bool publish(server *s, struct worker *from, const notice *n)
{
    unsigned wanted = atomic_load_explicit(&s->notify_classes, memory_order_relaxed);
    bool crowded = false;

    if (n->says)
        crowded = say(s, from, n);
    for (int i = 0; i < NAMES_MAX && n->names[i]; i++) {
        kv_slice name = kv_str(n->names[i]);

        if (wanted & NOTIFY_KEYSPACE)
            crowded |= publish_as(s, from, n, "keyspace", n->key, name);
        if (wanted & NOTIFY_KEYEVENT)
            crowded |= publish_as(s, from, n, "keyevent", name, n->key);
    }
    return crowded;
}

static notice *take_all(server *s)
{
    notice_queue *queue = &s->notices;
    notice *first;

    pthread_mutex_lock(&queue->lock);
    first = queue->first;
    queue->first = NULL;
    queue->last = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

/* Clients that want to hear of prefixes get the keys of one origin together. */
static void broadcast(server *s, struct worker *from, const notice *all)
{
    kv_slice few[64], *keys = few;
    size_t count = 0, n = 0;

    for (const notice *at = all; at; at = at->next)
        count += at->changed;
    if (count > sizeof few / sizeof *few)
        keys = malloc(count * sizeof *keys);
    for (const notice *at = all; keys && at; at = at->next) {
        if (at->changed)
            keys[n++] = at->key;
        if (n && (!at->next || at->next->origin != at->origin)) {
            tracking_broadcast(s, from, keys, n, at->origin);
            n = 0;
        }
    }
    if (!keys) {
        tracking_all_are_stale(s);
        tracking_tell_all(s, from);
    }
    if (keys != few)
        free(keys);
}

/* Publishes all notices, in order, and frees them. Who wants to hear of prefixes hears of the keys in the end, as in Redis. */
static bool publish_all(server *s, struct worker *from, notice *all)
{
    bool crowded = false, tracked = tracking_listens(s), flushed = false;

    for (const notice *n = all; n; n = n->next) {
        crowded |= publish(s, from, n);
        if (n->stale)
            tracking_tell_stale(s, from, n->stale, n->origin);
        if (tracked && n->all && !(flushed && n->follows))
            tracking_tell_all(s, from);
        flushed = n->all;
    }
    if (tracked)
        broadcast(s, from, all);
    for (notice *next; all; all = next) {
        next = all->next;
        free(all);
    }
    return crowded;
}

bool notify_flush(server *s, struct worker *from, notices *n)
{
    bool crowded;

    if (n->held) { /* not to be expected: there was no second half */
        push(s, n->held);
        n->held = NULL;
    }
    n->some = false;
    pthread_mutex_lock(&s->notices.publishing);
    if (atomic_exchange_explicit(&s->notice_lost, false, memory_order_relaxed)) {
        log_limited(
            &s->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
            "Out of memory: a keyspace event was lost, and client-side caches are told to forget all");
        tracking_all_are_stale(s);
        tracking_tell_all(s, from);
    }
    crowded = publish_all(s, from, take_all(s));
    pthread_mutex_unlock(&s->notices.publishing);
    return crowded;
}

/* ---- letters ---- */

int notify_parse_classes(kv_slice letters)
{
    int classes = 0;

    for (size_t i = 0; i < letters.len; i++) {
        const char *at = letters.data[i] ? strchr(NOTIFY_LETTERS, letters.data[i]) : NULL;

        if (letters.data[i] == 'A')
            classes |= NOTIFY_ALL;
        else if (at)
            classes |= 1 << (at - NOTIFY_LETTERS);
        else
            return -1;
    }
    return classes;
}

/* 'A' hides n, too, which it does not include: so does Redis. */
void notify_write_classes(unsigned classes, char text[16])
{
    bool all = (classes & NOTIFY_ALL) == NOTIFY_ALL;

    if (all)
        *text++ = 'A';
    for (int i = 0; NOTIFY_LETTERS[i]; i++)
        if ((classes & 1u << i) && !(all && 1u << i <= NOTIFY_NEW))
            *text++ = NOTIFY_LETTERS[i];
    *text = '\0';
}

/* ---- life ---- */

void notify_apply(server *s)
{
    unsigned classes = (unsigned)config_number(s->config, CONFIG_ID_notify_keyspace_events);
    bool complete = atomic_load(&s->complete), tells; /* what is loaded is no change */
    bool may_follow = !config_number(s->config, CONFIG_ID_replica_read_only); /* see local_keys.c */

    if (!(classes & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT)))
        classes = 0; /* to nobody */
    pthread_mutex_lock(&s->notices.applying);
    tells = complete &&
            ((classes & ~(unsigned)(NOTIFY_KEYSPACE | NOTIFY_KEYEVENT | NOTIFY_MISS)) || tracking_listens(s));
    atomic_store_explicit(&s->notify_classes, classes, memory_order_relaxed);
    atomic_store_explicit(&s->notices.wanted, tells, memory_order_relaxed);
    for (int i = 0; i < s->databases.count; i++) {
        store_set_spans(s->databases.stores[i], complete && aof_listens(s));
        store_set_telling(s->databases.stores[i],
                          complete && (tells || may_follow || aof_listens(s) || feed_listens(s)));
    }
    pthread_mutex_unlock(&s->notices.applying);
}

void notify_open(server *s)
{
    pthread_mutex_init(&s->notices.lock, NULL);
    pthread_mutex_init(&s->notices.publishing, NULL);
    pthread_mutex_init(&s->notices.applying, NULL);
    s->notices.last = &s->notices.first;
    for (int i = 0; i < s->databases.count; i++) {
        kv_store_on_change(s->databases.stores[i], take_change, s, &s->databases.stores[i]);
        store_on_put(s->databases.stores[i], take_put, s);
        store_on_span(s->databases.stores[i], own_spans, s);
    }
    notify_apply(s);
}

void notify_close(server *s)
{
    for (notice *n = s->notices.first, *next; n; n = next) {
        next = n->next;
        tracking_drop_stale(n->stale);
        free(n);
    }
    pthread_mutex_destroy(&s->notices.lock);
    pthread_mutex_destroy(&s->notices.publishing);
    pthread_mutex_destroy(&s->notices.applying);
}
