/* server.h - the process: configuration, log, stores, workers, listeners.
 *
 * Everything hangs from here; there are no globals. What is written after the start is atomic, or stands
 * under the lock that is named with it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SERVER_H
#define KV_STANDALONE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "acl.h"
#include "acl_log.h"
#include "actor.h"
#include "config.h"
#include "latency.h"
#include "listener.h"
#include "log.h"
#include "notify.h"
#include "shutdown.h"
#include "slowlog.h"
#include "store.h"
#include "supervise.h"
#include "title.h"
#include "topic.h"
#include "worker.h"

/* INFO's ops per second and bytes per second: what ten ticks a second see. */
#define SERVER_SAMPLES 16
#define SERVER_GUESTS  8
#define SERVER_SIGNALS 4

/* What we say to be compatible with: clients compare it with what they need. */
#define SERVER_REDIS_VERSION "7.2.4"

/* What reads leave on keys: a time, as coarse as OBJECT IDLETIME needs or as fine as LRU can use, or a count of uses. */
enum access_mode { ACCESS_COARSE, ACCESS_FINE, ACCESS_USES };

/* What is not as usual for requests. Nearly always nothing is, and a batch pays for one look (dispatch.c): whatever concerns
 * every request of every client, but seldom, belongs here. */
enum server_restriction {
    SERVER_REPLICA = 1,           /* there is a primary: it expires keys, we do not */
    SERVER_READ_ONLY = 2,         /* for clients */
    SERVER_STALE = 4,             /* the link to the primary is down, and stale data are not to be served */
    SERVER_IGNORES_MEMORY = 8,    /* maxmemory is the primary's business */
    SERVER_LOADING = 16,          /* the data are being loaded */
    SERVER_DISK_ERROR = 32,       /* the last snapshot failed, and writes are to be refused then */
    SERVER_PRESSED = 64,          /* a snapshot cannot keep up with what is written */
    SERVER_LOG_BROKEN = 128,      /* the log of changes cannot be written: nothing may change */
    SERVER_PAUSED = 256,          /* there is a pause, see CLIENT PAUSE */
    SERVER_MONITORED = 512,       /* somebody is shown commands, see MONITOR */
    SERVER_MEMORY_LIMITED = 1024, /* maxmemory is set: there may have to be room made */
    SERVER_LONELY = 2048,         /* too few replicas are near, see replica_guard.h */
    SERVER_REFUSES = SERVER_STALE | SERVER_LOADING | SERVER_DISK_ERROR, /* more than commands that write */
};
#define SERVER_NO_WRITES (SERVER_READ_ONLY | SERVER_LOG_BROKEN | SERVER_LONELY)

typedef struct server_rate {
    uint64_t last;
    uint64_t samples[SERVER_SAMPLES];
} server_rate;

typedef struct server {
    config *config;
    log log;
    kv_domain *domain;
    kv_databases databases;
    bool direct[KV_COMMAND_COUNT]; /* rows without subcommands, see dispatch_is_direct */
    struct acl *acl;               /* the users */
    pthread_mutex_t acl_lock;      /* who changes users holds it from his look to his change */
    acl_log acl_log;
    topics *topics; /* what anybody listens to */
    struct tracking *tracking;
    notice_queue notices;
    _Atomic bool notice_lost;        /* for want of memory */
    _Atomic unsigned notify_classes; /* enum notify_class; 0: nobody is to be told */
    struct actor *actor;             /* NULL, but with --sharing actor */
    uint64_t actor_rng;              /* these three belong to the state thread */
    stats actor_stats;
    error_words error_words; /* of all threads */
    title title;             /* what the list of processes shows */
    notices actor_notices;
    aof_writer actor_writer;
    aof_writer actor_feeder;
    aof_writer guest_feeders[SERVER_GUESTS]; /* go with the next */
    aof_writer guests[SERVER_GUESTS]; /* threads that change something now and then: see notify_thread */
    _Atomic bool guest_taken[SERVER_GUESTS];
    _Atomic int guests_used; /* no more of them were ever taken at a time */
    struct store_hold *actor_hold;

    struct persistence *persistence;
    struct fault_plan *faults; /* of test builds, or NULL */
    struct shutdown shutdown;
    _Atomic bool stop_now; /* nobody's replies are waited for */
    _Atomic bool
        save_at_end; /* what was changed since the last snapshot is to be saved when everything has stopped */

    struct replication *replication;
    struct migrations *migrations;
    struct local_keys *local_keys;
    struct feed *feed;             /* what changes, to replicas */
    _Atomic bool feed_open;        /* some follow: see feed_listens */
    struct data_sets *data_sets;   /* that are sent to who asked by SYNC */
    _Atomic unsigned restrictions; /* enum server_restriction */

    struct wait_table *waits;   /* for keys */
    pthread_mutex_t pause_lock; /* guards writing of the next two */
    _Atomic int pause;          /* PAUSE_...; see blocking.h */
    _Atomic int64_t pause_until_ms;
    _Atomic bool pause_for_shutdown; /* writes are paused besides */
    int actor_share;                 /* batches of one worker that may be under way */

    worker *workers;
    int worker_count;
    uint64_t machine_bytes;      /* memory of the machine */
    listener listener;           /* owned by worker 0 */
    pthread_mutex_t config_lock; /* one CONFIG SET, REWRITE at a time; guards listener.sockets */

    pthread_mutex_t tls_lock; /* guards the next */
    struct tls_context *tls;  /* what new connections are made with; NULL: no directive asks for TLS */

    _Atomic uint64_t next_client_id;
    _Atomic int64_t client_count;
    _Atomic int64_t replica_count; /* of those: that are sent a data set, or follow */
    struct monitors *monitors;
    _Atomic int64_t pubsub_clients; /* those that listen to something */
    _Atomic int max_clients;        /* what the descriptors allow, at most maxclients */
    struct aof *aof;                /* the log of changes */
    _Atomic bool aof_guards;        /* it is kept: see aof_listens */
    _Atomic bool over_memory;       /* more than maxmemory is in use, as of the last look */
    _Atomic int64_t latest_ms;      /* the newest of the workers' clocks: see worker_begin */
    _Atomic int access_mode;        /* enum access_mode */
    _Atomic bool stopping;
    _Atomic int drained_workers;
    int stop_signals; /* worker 0's */
    struct event *signals[SERVER_SIGNALS];
    supervision supervision;
    int oom_start; /* oom_score_adj before we changed it, once that is known */
    bool oom_start_known;

    _Atomic bool no_active_expire; /* DEBUG SET-ACTIVE-EXPIRE 0 */
    struct metrics *metrics;       /* NULL: metrics-port is 0 */
    _Atomic bool complete; /* what the files hold is there, and changes are told: see server_complete */
    _Atomic bool loaded;   /* clients are served */
    ticks_clock ticks;
    slowlog *slowlog;
    latency_monitor *latency;
    _Atomic unsigned slow_version;     /* of the next three */
    _Atomic uint64_t slow_ns;          /* see slow.h: what is told from then on */
    _Atomic unsigned stats_generation; /* of the histograms of durations */
    _Atomic bool keeps_durations;
    slow_watch actor_slow;

    pthread_mutex_t stats_lock; /* guards the next six */
    stats_sums stats_base;      /* at the last CONFIG RESETSTAT */
    uint64_t expired_base, evicted_base;
    uint64_t peak_memory;
    int64_t over_since_ms,
        over_total_ms; /* more than maxmemory in use: since then (0: not so); before that */
    uint64_t startup_memory;
    server_rate rates[3]; /* worker 0's: commands, input bytes, output bytes */
    unsigned rate_index;
    int64_t rates_at_ms;
    _Atomic uint64_t rate_values[3];

    int64_t started_ms;
    _Atomic int64_t lockstat_since_ms; /* LOCKSTAT counts since then */
    char run_id[41];
    char executable[4096];
} server;

/* ---- life ---- */

/* s is all zero but for its log, config, supervision and inherited sockets; config is borrowed. 0, or -1 after logging why. */
int server_init(server *s, config *c);
/* Listens, starts the workers, serves on this thread until the server stops, and joins. 0 or -1. */
int server_run(server *s) KV_EXCLUDES(kv_shard_held);
void server_done(server *s);
/* Any thread, once, before clients may write: the data of the start are there, and what changes from now on is told, and may
 * expire, or is evicted. */
void server_complete(server *s);
/* They are being loaded anew: nothing of that is told, or expires, until the next server_complete. Clients are refused. */
void server_incomplete(server *s);
/* Any thread, once: the data are loaded, and clients served. */
void server_loaded(server *s);
/* Any thread. Sets those of the restrictions in mask to what set says. */
void server_restrict(server *s, unsigned mask, unsigned set);
/* Any thread. Begins to stop: no new connections, replies are sent, then everything ends. */
void server_stop(server *s) KV_EXCLUDES(kv_shard_held);

/* ---- for the commands ---- */

/* Makes a change of the configuration effective. -1 with the reason: it cannot be. */
int server_apply(server *s, enum config_id id, config_error *ret_error) KV_EXCLUDES(kv_shard_held);
/* All counters since the last reset. */
void server_stats(server *s, stats_sums *ret_sums);
void server_reset_stats(server *s);
/* How long the calls of the row id took, since the last reset; and whether any was timed at all. */
void server_durations(server *s, int id, durations_sum *ret_sum);
bool server_has_durations(server *s, int id);
/* Keys that expired, and that were evicted, since the start. */
uint64_t server_expired_total(server *s);
uint64_t server_evicted_total(server *s);
/* Bytes in use: the store's, the connections', the workers'. */
uint64_t server_memory(server *s);
int64_t clock_ms(void);
/* What reads at that time are to leave on keys: kv_call.access. */
uint32_t server_access(const server *s, int64_t now_ms);
/* A clock that nobody sets, for how long something took. */
uint64_t clock_ns(void);

/* Why the server does not answer its clients as it should, in a word or two; NULL: it does. Any thread. */
const char *server_unready(server *s);

/* Worker 0, ten times a second or as hz says. */
void server_tick(server *s);

/* Brings w->now_ms up to date: the newest time that any worker has read, at most half a millisecond old. Returns the counter
 * of now. */
static inline uint64_t worker_read_clock(worker *w)
{
    uint64_t ticks = ticks_now(&w->stats.clock);

    /* Pairs with the release in worker.c. */
    if (__builtin_expect(ticks - w->clock_ticks >= w->fresh_ticks ||
                             atomic_load_explicit(&w->server->latest_ms, memory_order_acquire) != w->now_ms,
                         0))
        worker_read_clock_anew(w, ticks);
    return ticks;
}

#endif
