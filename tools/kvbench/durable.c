/* durable.c - see durable.h.
 *
 * The log: a fresh server for each policy of each round, asked for SETs by connections that wait for each answer, and by
 * pipelines; a write counts when it is acknowledged. Servers take turns, so that the disk's moods meet all of them. Where a
 * replica follows, that is another server of the same kind, and the CPU time is the primary's alone.
 *
 * Snapshots: each server is filled, told to SAVE and to BGSAVE (while others ask for keys, whose waiting is measured for about as long
 * as the SAVE took), stopped, and started again from its file: ready when it answers PING with PONG.
 *
 * The start from a log: each server is filled while it keeps one, from nothing, which so has a SET for each key; stopped, and started
 * again.
 *
 * No server rewrites its log by itself meanwhile: one that grows by hundreds of megabytes a second over and over the same few keys
 * would be rewritten several times a second, which is another cost than that of writing it.
 *
 * All files are in a directory below TMPDIR: that is the disk which is measured. What of the cost of a log is not the disk's is
 * told by a row whose files are in MEMORY_DIR, where there is such a directory.
 *
 * SPDX-License-Identifier: MIT */
#include "durable.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "median.h"
#include "server.h"

#define PATIENCE_S 600 /* of one command: SAVE of many keys */
#define ROUNDS_MAX 99
#define MEMORY_DIR "/dev/shm"

enum {
    NO_LOG,
    EVERYSEC,
    ALWAYS,
    NO_LOG_DEEP,
    EVERYSEC_DEEP,
    EVERYSEC_MEMORY,
    FOLLOWED,
    FOLLOWED_DEEP,
    LOG_ROWS
};

static const struct log_row {
    const char *policy; /* NULL: no log */
    bool deep;          /* pipelined */
    bool followed;      /* by a replica */
    bool in_memory;     /* its files are on no disk */
    const char *name;
} log_rows[LOG_ROWS] = {
    [NO_LOG] = { NULL, false, false, false, "no log" },
    [EVERYSEC] = { "everysec", false, false, false, "appendfsync everysec" },
    [ALWAYS] = { "always", false, false, false, "appendfsync always" },
    [NO_LOG_DEEP] = { NULL, true, false, false, "no log, pipelined" },
    [EVERYSEC_DEEP] = { "everysec", true, false, false, "appendfsync everysec, pipelined" },
    [EVERYSEC_MEMORY] = { "everysec", true, false, true, "the same, on no disk" },
    [FOLLOWED] = { NULL, false, true, false, "no log, a replica follows" },
    [FOLLOWED_DEEP] = { NULL, true, true, false, "no log, a replica follows, pipelined" },
};

enum { SAVED, SAVED_BEHIND, P99_MEANWHILE, STARTED, SNAPSHOT_ROWS };

static const char *const snapshot_rows[SNAPSHOT_ROWS] = {
    [SAVED] = "SAVE, seconds",
    [SAVED_BEHIND] = "BGSAVE, seconds, under load",
    [P99_MEANWHILE] = "99 in 100 requests meanwhile, ms at most",
    [STARTED] = "start from it, seconds",
};

enum { REPLAYED, REPLAY_CPU, REPLAY_ROWS };

static const char *const replay_rows[REPLAY_ROWS] = {
    [REPLAYED] = "start from it, seconds",
    [REPLAY_CPU] = "CPU time of that, seconds",
};

typedef struct speed {
    double per_second, cpu_us; /* acknowledged writes; of the server for each */
} speed;

/* Of one server in one round, by row: of the snapshot, or of the start from a log. */
typedef double figures_of[SNAPSHOT_ROWS];

/* As in fanout.c: the threads are kvserver's workers, and redis-server has one. */
static void set_defaults(options *o)
{
    static char words[512];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    snprintf(words, sizeof words, "--threads %llu %s",
             (unsigned long long)(o->threads  ? o->threads
                                  : cores > 2 ? (uint64_t)cores
                                              : 2),
             o->kvserver_args ? o->kvserver_args : "");
    o->kvserver_args = words;
    o->threads = o->load_threads = 1;
    if (!o->connections)
        o->connections = 50;
    if (!o->value_size)
        o->value_size = 16;
    if (!o->keys)
        o->keys = 5000000;
    if (o->seconds == 0)
        o->seconds = 2;
}

/* ---- commands ---- */

static redisContext *connect_to(const server *s, fault *f)
{
    redisContext *c = redisConnectWithTimeout("127.0.0.1", s->port, (struct timeval){ .tv_sec = PATIENCE_S });

    if (c && !c->err && redisSetTimeout(c, (struct timeval){ .tv_sec = PATIENCE_S }) == REDIS_OK)
        return c;
    fault_set(f, "%s", c ? c->errstr : "out of memory");
    if (c)
        redisFree(c);
    return NULL;
}

static int tell(redisContext *c, fault *f, const char *command)
{
    redisReply *r = redisCommand(c, command);
    int err = 0;

    if (!r || r->type == REDIS_REPLY_ERROR)
        err = fault_set(f, "%s: %s", command, r ? r->str : c->errstr);
    freeReplyObject(r);
    return err;
}

/* Waits until INFO has this line. */
static int wait_for(redisContext *c, fault *f, const char *line)
{
    double deadline = load_clock() + PATIENCE_S;
    bool there = false;

    while (!there && load_clock() < deadline) {
        redisReply *r = redisCommand(c, "INFO");

        if (!r || r->type != REDIS_REPLY_STRING) {
            freeReplyObject(r);
            return fault_set(f, "it does not answer INFO");
        }
        there = strstr(r->str, line) != NULL;
        freeReplyObject(r);
        if (!there)
            nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    return there ? 0 : fault_set(f, "it does not come to %s", line);
}

/* ---- the log ---- */

static int switch_on(const server *s, const char *policy, fault *f)
{
    redisContext *c = policy ? connect_to(s, f) : NULL;
    char command[64];
    int err;

    if (!c)
        return policy ? -1 : 0;
    snprintf(command, sizeof command, "CONFIG SET appendfsync %s", policy);
    err = tell(c, f, "CONFIG SET auto-aof-rewrite-percentage 0") || tell(c, f, command) ||
          tell(c, f, "CONFIG SET appendonly yes") || wait_for(c, f, "aof_rewrite_in_progress:0") ||
          wait_for(c, f, "aof_enabled:1");
    redisFree(c);
    return err ? -1 : 0;
}

static int write_for(const options *o, const struct log_row *row, server *s, speed *ret, fault *f)
{
    load_plan plan = server_plan(o, s, o->value_size);
    double cpu = process_cpu(&s->process);
    load_result result;

    plan.depth = row->deep ? (unsigned)o->depth : 1;
    plan.set_percent = 100;
    plan.keys = 100000;
    plan.seconds = o->seconds;
    if (load_run(&plan, &result, f))
        return -1;
    *ret = (speed){ (double)result.requests / result.seconds,
                    (process_cpu(&s->process) - cpu) * 1e6 / (double)result.requests };
    return 0;
}

/* A server of the same kind, in a directory below dir, that has what primary has and follows it. */
static int start_replica(const contestant *who, const server *primary, const char *dir, server *ret, fault *f)
{
    redisContext *c = connect_to(primary, f), *r = NULL;
    char own[340], command[64];
    int err = !c || tell(c, f, "CONFIG SET repl-diskless-sync-delay 0");

    if (c)
        redisFree(c);
    snprintf(own, sizeof own, "%s/replica", dir);
    if (err || (mkdir(own, 0700) && fault_set(f, "cannot make %s", own)) ||
        contestant_start(who, ret, own, NULL, f))
        return -1;
    snprintf(command, sizeof command, "REPLICAOF 127.0.0.1 %d", primary->port);
    r = connect_to(ret, f);
    err = !r || tell(r, f, command) || wait_for(r, f, "master_link_status:up");
    if (r)
        redisFree(r);
    if (err) {
        contestant_blame(ret, f);
        contestant_stop(ret, 20);
    }
    return err ? -1 : 0;
}

static int write_followed(const contestant *who, const options *o, const struct log_row *row, server *s,
                          const char *dir, speed *ret, fault *f)
{
    server replica;
    int err;

    if (start_replica(who, s, dir, &replica, f))
        return -1;
    err = write_for(o, row, s, ret, f);
    contestant_stop(&replica, 20);
    return err;
}

static int measure_log(const contestant *who, const options *o, const struct log_row *row, const char *dir,
                       speed *ret, fault *f)
{
    server s;
    int err;

    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    err = row->followed ? write_followed(who, o, row, &s, dir, ret, f)
                        : switch_on(&s, row->policy, f) || write_for(o, row, &s, ret, f);
    if (err)
        contestant_blame(&s, f);
    contestant_stop(&s, 20);
    return err ? -1 : 0;
}

/* ---- snapshots ---- */

typedef struct readers {
    load_plan plan;
    load_result result;
    int err;
    fault fault;
} readers;

static void *read_on(void *arg)
{
    readers *r = arg;

    r->err = load_run(&r->plan, &r->result, &r->fault);
    return NULL;
}

static double elapsed(double since)
{
    return load_clock() - since;
}

/* One in ten requests is a SET: what is overwritten must be kept for the snapshot. */
static int save_behind(const options *o, redisContext *c, const server *s, figures_of figures, fault *f)
{
    readers r = { .plan = server_plan(o, s, o->value_size) };
    double start;
    pthread_t thread;
    int err;

    r.plan.depth = 1;
    r.plan.set_percent = 10;
    r.plan.seconds = figures[SAVED] > 0.2 ? figures[SAVED] : 0.2;
    if (pthread_create(&thread, NULL, read_on, &r))
        return fault_set(f, "no thread for the load");
    start = load_clock();
    err = tell(c, f, "BGSAVE") || wait_for(c, f, "rdb_bgsave_in_progress:0");
    figures[SAVED_BEHIND] = elapsed(start);
    pthread_join(thread, NULL);
    figures[P99_MEANWHILE] = r.result.p99_us / 1000;
    if (!err && r.err)
        *f = r.fault;
    return err || r.err ? -1 : 0;
}

static int save_both(const options *o, server *s, figures_of figures, fault *f)
{
    redisContext *c = connect_to(s, f);
    double start = load_clock();
    int err = !c || tell(c, f, "SAVE");

    figures[SAVED] = elapsed(start);
    err = err || save_behind(o, c, s, figures, f);
    if (c)
        redisFree(c);
    return err ? -1 : 0;
}

static int measure_snapshot(const contestant *who, const options *o, const char *dir, figures_of figures,
                            fault *f)
{
    server s;
    double start;
    int err;

    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    err = server_fill(o, &s, o->keys, o->value_size, f);
    if (!err && save_both(o, &s, figures, f))
        err = contestant_blame(&s, f);
    contestant_stop(&s, 60);
    if (err)
        return err;
    start = load_clock();
    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    figures[STARTED] = elapsed(start);
    contestant_stop(&s, 60);
    return 0;
}

/* ---- the start from a log ---- */

static int write_log(const contestant *who, const options *o, const char *dir, fault *f)
{
    server s;
    int err;

    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    err = switch_on(&s, "everysec", f);
    if (err)
        contestant_blame(&s, f);
    else
        err = server_fill(o, &s, o->keys, o->value_size, f);
    contestant_stop(&s, 60);
    return err ? -1 : 0;
}

static int measure_replay(const contestant *who, const options *o, const char *dir, figures_of figures,
                          fault *f)
{
    contestant with_log = *who;
    double start;
    server s;

    if (write_log(who, o, dir, f) || contestant_add(&with_log, "--appendonly", f) ||
        contestant_add(&with_log, "yes", f))
        return -1;
    start = load_clock();
    if (contestant_start(&with_log, &s, dir, NULL, f))
        return -1;
    figures[REPLAYED] = elapsed(start);
    figures[REPLAY_CPU] = process_cpu(&s.process);
    contestant_stop(&s, 60);
    return 0;
}

/* ---- all of them, in turn ---- */

/* An empty directory for one server: name, below dir. */
static int make_dir(const char *dir, const char *name, char path[320], fault *f)
{
    snprintf(path, 320, "%s/%.40s", dir, name);
    process_remove_dir(path);
    return mkdir(path, 0700) ? fault_set(f, "cannot make %s", path) : 0;
}

/* Where the files of a row are to be. False: there is no such place. */
static bool place_of(const struct log_row *row, const char *dir, const char *memory, const char **ret_dir)
{
    *ret_dir = row->in_memory ? memory : dir;
    return **ret_dir != '\0';
}

static int measure_row(const contestant *who, const options *o, const struct log_row *row, const char *dir,
                       speed *ret, fault *f)
{
    char own[320];

    return make_dir(dir, who->name, own, f) || measure_log(who, o, row, own, ret, f) ? -1 : 0;
}

static int measure_all(const lineup *l, const options *o, const char *dir, const char *memory,
                       speed speeds[LOG_ROWS][LINEUP_MAX][ROUNDS_MAX],
                       figures_of figures[LINEUP_MAX][ROUNDS_MAX], figures_of replays[LINEUP_MAX][ROUNDS_MAX],
                       fault *f)
{
    const char *place;
    char own[320];
    int err = 0;

    for (size_t round = 0; round < o->rounds && !err; round++) {
        for (int row = 0; row < LOG_ROWS && !err; row++)
            for (unsigned i = 0; i < l->count && !err && place_of(&log_rows[row], dir, memory, &place); i++)
                if (server_has_transactions(&l->contestants[i]))
                    err =
                        measure_row(&l->contestants[i], o, &log_rows[row], place, &speeds[row][i][round], f);
        for (unsigned i = 0; i < l->count && !err; i++)
            if (server_has_transactions(&l->contestants[i]))
                err = make_dir(dir, l->contestants[i].name, own, f) ||
                      measure_snapshot(&l->contestants[i], o, own, figures[i][round], f) ||
                      make_dir(dir, l->contestants[i].name, own, f) ||
                      measure_replay(&l->contestants[i], o, own, replays[i][round], f);
    }
    return err ? -1 : 0;
}

/* ---- what they come to ---- */

static void put(table *t, unsigned row, const char *name, double value, double others, int digits)
{
    if (others > 0)
        table_set(t, row, table_column(t, name), value, "%.*f (%.2f)", digits, value, value / others);
    else
        table_set(t, row, table_column(t, name), value, "%.*f", digits, value);
}

static void tell_speeds(const lineup *l, const options *o, speed speeds[LOG_ROWS][LINEUP_MAX][ROUNDS_MAX],
                        table *writes, table *cpu, table *kept)
{
    int redis = lineup_find(l, "redis-server");
    double rate[LOG_ROWS][LINEUP_MAX], us[LOG_ROWS][LINEUP_MAX], values[ROUNDS_MAX];

    for (int row = 0; row < LOG_ROWS; row++)
        for (unsigned i = 0; i < l->count; i++) {
            for (size_t k = 0; k < o->rounds; k++)
                values[k] = speeds[row][i][k].per_second;
            rate[row][i] = median(values, o->rounds);
            for (size_t k = 0; k < o->rounds; k++)
                values[k] = speeds[row][i][k].cpu_us;
            us[row][i] = median(values, o->rounds);
        }
    for (unsigned i = 0; i < l->count; i++) {
        const char *name = l->contestants[i].name;
        bool other = redis >= 0 && (unsigned)redis != i;

        if (!server_has_transactions(&l->contestants[i]))
            continue;
        for (int row = 0; row < LOG_ROWS; row++) {
            if (rate[row][i] == 0) /* not measured */
                continue;
            put(writes, table_row(writes, "%s", log_rows[row].name), name, rate[row][i],
                other ? rate[row][redis] : 0, 0);
            put(cpu, table_row(cpu, "%s", log_rows[row].name), name, us[row][i], other ? us[row][redis] : 0,
                2);
        }
        put(kept, table_row(kept, "each waits for its answer"), name,
            100 * rate[EVERYSEC][i] / rate[NO_LOG][i], 0, 1);
        put(kept, table_row(kept, "pipelined"), name, 100 * rate[EVERYSEC_DEEP][i] / rate[NO_LOG_DEEP][i], 0,
            1);
        if (rate[EVERYSEC_MEMORY][i] > 0)
            put(kept, table_row(kept, "pipelined, on no disk"), name,
                100 * rate[EVERYSEC_MEMORY][i] / rate[NO_LOG_DEEP][i], 0, 1);
    }
}

static void tell_rows(const lineup *l, const options *o, figures_of figures[LINEUP_MAX][ROUNDS_MAX],
                      const char *const names[], int rows, table *t)
{
    int redis = lineup_find(l, "redis-server");
    double values[ROUNDS_MAX], medians[LINEUP_MAX];

    for (int row = 0; row < rows; row++) {
        for (unsigned i = 0; i < l->count; i++) {
            for (size_t k = 0; k < o->rounds; k++)
                values[k] = figures[i][k][row];
            medians[i] = median(values, o->rounds);
        }
        for (unsigned i = 0; i < l->count; i++)
            if (server_has_transactions(&l->contestants[i]))
                put(t, table_row(t, "%s", names[row]), l->contestants[i].name, medians[i],
                    redis >= 0 && (unsigned)redis != i ? medians[redis] : 0, 3);
    }
}

int durable_bench(options *o, report *r, fault *f)
{
    static lineup l;
    static speed speeds[LOG_ROWS][LINEUP_MAX][ROUNDS_MAX];
    static figures_of figures[LINEUP_MAX][ROUNDS_MAX], replays[LINEUP_MAX][ROUNDS_MAX];
    table *writes, *cpu, *kept, *snapshots, *starts;
    char dir[256], memory[] = MEMORY_DIR "/kvbench-XXXXXX", title[160];
    int err;

    set_defaults(o);
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    if (!mkdtemp(memory))
        memory[0] = '\0';
    err = measure_all(&l, o, dir, memory, speeds, figures, replays, f);
    process_remove_dir(dir);
    if (*memory)
        process_remove_dir(memory);
    if (err)
        return err;
    snprintf(title, sizeof title,
             "Acknowledged SETs per second, %llu connections, pipelines of %llu (x redis-server)",
             (unsigned long long)o->connections, (unsigned long long)o->depth);
    writes = report_add(r, title);
    cpu = report_add(r, "Server CPU time for each, microseconds (x redis-server)");
    kept = report_add(r, "Of the throughput without a log, everysec leaves, percent");
    snprintf(title, sizeof title, "Snapshot of %llu keys (x redis-server)", (unsigned long long)o->keys);
    snapshots = report_add(r, title);
    snprintf(title, sizeof title, "Log of %llu SETs (x redis-server)", (unsigned long long)o->keys);
    starts = report_add(r, title);
    if (!writes || !cpu || !kept || !snapshots || !starts)
        return fault_set(f, "out of memory");
    tell_speeds(&l, o, speeds, writes, cpu, kept);
    tell_rows(&l, o, figures, snapshot_rows, SNAPSHOT_ROWS, snapshots);
    tell_rows(&l, o, replays, replay_rows, REPLAY_ROWS, starts);
    return 0;
}
