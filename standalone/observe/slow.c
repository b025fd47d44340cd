/* slow.c - see slow.h.
 *
 * The problem: every command that takes as long as slowlog-log-slower-than (10 ms) or latency-monitor-threshold says is to
 * be told, with its arguments and its client; and a GET in a pipeline, which takes 200 ns, must not pay two readings
 * of a clock for that.
 *
 * The idea: what is short is timed together.
 *
 *     batch    GET GET GET    KEYS        GET GET SET
 *              |--- a ---|  |- timed -|  |---- b ----|      two readings, and two for each row that is not FAST
 *
 * All of a batch is between two readings of ticks.h. Rows that are not FAST are timed one by one (stats.h), and their
 * times taken off; what is left, a + b, is shorter than the threshold nearly always: then none of these commands was
 * slow, for certain. Otherwise, when there was only one, it was that. When there were several, one of them was
 * slow, or several together: the entry shows the one with the longest arguments, and says that it may have been one of
 * n others. When that happens twice within ten seconds, every call of this thread is timed for one second, so that what goes
 * on happening is known exactly.
 *
 * With a threshold below a millisecond, which a batch of 64 may reach without any being slow, every call is timed at
 * once. Within EXEC the counter is read after each command, and what was slow is told when the locks are released; the
 * state thread of --sharing actor leaves that to the client's worker, too.
 *
 * Cost: 15 ns a batch. What it can miss: which one of a pipeline's FAST commands was slow, when that does not happen
 * again soon: its time is then known no closer than that of all FAST commands of the batch. What it
 * does not call slow: the time that a client's reply takes on the network, and that a command waits while blocked.
 *
 * Rejected: a reading per command (3 % of a pipelined GET, for nothing, nearly always); a thread that looks at the
 * workers now and then (it sees that one is busy, but with which command, only by racing with it); the coarse
 * clock of the kernel (4 ms).
 *
 * SPDX-License-Identifier: MIT */
#include "slow.h"

#include "connection.h"
#include "latency.h"
#include "server.h"

#define EACH_NS  1000000 /* thresholds below have every call timed */
#define EACH_MS  1000    /* for so long is every call timed, when twice */
#define AGAIN_MS 10000   /* within that time it was unclear which was slow; and no more often than that */

/* ---- what is asked for ---- */

void slow_apply(server *s)
{
    int64_t slowlog_us = config_number(s->config, CONFIG_ID_slowlog_log_slower_than),
            latency_ms = config_number(s->config, CONFIG_ID_latency_monitor_threshold);
    uint64_t least_ns = UINT64_MAX;

    if (slowlog_us >= 0)
        least_ns = (uint64_t)slowlog_us > UINT64_MAX / 1000 ? UINT64_MAX : (uint64_t)slowlog_us * 1000;
    if (latency_ms > 0 && (uint64_t)latency_ms < least_ns / 1000000)
        least_ns = (uint64_t)latency_ms * 1000000;
    atomic_store_explicit(&s->slow_ns, least_ns, memory_order_relaxed);
    atomic_store_explicit(&s->latency->threshold_ms, latency_ms, memory_order_relaxed);
    atomic_store_explicit(&s->keeps_durations, config_number(s->config, CONFIG_ID_latency_tracking) != 0,
                          memory_order_relaxed);
    /* Pairs with the load in slow_ask. */
    atomic_fetch_add_explicit(&s->slow_version, 1, memory_order_release);
}

void slow_ask_anew(stats *s, int64_t now_ms)
{
    server *of = s->slow->server;
    /* Pairs with the add in slow_apply. */
    unsigned version = atomic_load_explicit(&of->slow_version, memory_order_acquire);
    uint64_t slow_ns = atomic_load_explicit(&of->slow_ns, memory_order_relaxed);
    unsigned generation = atomic_load_explicit(&of->stats_generation, memory_order_relaxed);
    bool keeps = atomic_load_explicit(&of->keeps_durations, memory_order_relaxed);
    bool each = slow_ns < EACH_NS || now_ms < s->slow->each_until_ms;

    s->slow_ticks = slow_ns == UINT64_MAX ? INT64_MAX : ticks_of_ns(&s->clock, slow_ns);
    if (generation != s->generation || keeps != s->keeps_durations || each != s->each)
        stats_ask(s, generation, keeps, each);
    s->slow->version = version;
}

/* ---- telling ---- */

static void note_client(slowlog_entry *e, const connection *c)
{
    char address[CONNECTION_ADDRESS_MAX];

    if (!c || c->fd < 0)
        return;
    connection_address(c, address);
    slowlog_entry_of(e, address, c->names ? c->names->name : NULL);
}

static void add(server *s, slowlog_entry *e)
{
    slowlog_add(s->slowlog, e, (size_t)config_number(s->config, CONFIG_ID_slowlog_max_len));
}

static void tell_slowlog(stats *s, const kv_command *row, int argc, const kv_slice argv[], int more,
                         uint64_t usec, connection *c)
{
    server *of = s->slow->server;
    int64_t least_us = config_number(of->config, CONFIG_ID_slowlog_log_slower_than);
    slowlog_entry *e;

    if (least_us < 0 || usec < (uint64_t)least_us || (row->flags & KV_CMD_SKIP_SLOWLOG))
        return;
    e = slowlog_entry_new(row, argc, argv, more, (int64_t)usec, clock_ms());
    if (!e)
        return;
    if (c && !s->slow->holding) {
        note_client(e, c);
        add(of, e);
    } else {
        e->next = s->slow->held;
        s->slow->held = e;
    }
}

static void tell(stats *s, const kv_command *row, int argc, const kv_slice argv[], int more, uint64_t ticks,
                 connection *c)
{
    uint64_t usec = ticks_to_ns(&s->clock, ticks) / 1000;

    if (!s->slow) /* the stream of a primary, which its own SLOWLOG has seen */
        return;
    tell_slowlog(s, row, argc, argv, more, usec, c);
    latency_add(s->slow->server->latency, row->flags & KV_CMD_FAST ? "fast-command" : "command",
                (int64_t)usec / 1000, clock_ms());
}

void slow_command(stats *s, const kv_command *row, int argc, const kv_slice argv[], uint64_t ticks,
                  connection *c)
{
    tell(s, row, argc, argv, 0, ticks, c);
}

static size_t bytes_of(int argc, const kv_slice argv[])
{
    size_t bytes = 0;

    for (int i = 0; i < argc; i++)
        bytes += argv[i].len;
    return bytes;
}

static void look_closer(slow_watch *w, int64_t now_ms)
{
    bool again = now_ms - w->unclear_ms<AGAIN_MS, rested = now_ms - w->each_until_ms> AGAIN_MS;

    w->unclear_ms = now_ms;
    if (again && rested) {
        w->each_until_ms = now_ms + EACH_MS;
        w->version--; /* slow_ask takes notice */
    }
}

void slow_batch(stats *s, const request requests[], int count, uint64_t ticks, connection *c)
{
    const request *longest = NULL;
    int candidates = 0;

    for (int i = 0; i < count && !s->each; i++) {
        const request *r = &requests[i];

        if (!r->direct || !((r->row->flags & KV_CMD_FAST) || r->row->run_many))
            continue;
        if (!longest || bytes_of(r->argc, r->argv) > bytes_of(longest->argc, longest->argv))
            longest = r;
        candidates++;
    }
    if (!longest)
        return; /* each was timed: the time went elsewhere */
    tell(s, longest->row, longest->argc, longest->argv, candidates - 1, ticks, c);
    if (candidates > 1)
        look_closer(s->slow, clock_ms());
}

void slow_alike(stats *s, const kv_command *row, int argc, const kv_slice argv[], size_t n, uint64_t ticks,
                connection *c)
{
    const kv_slice *longest = argv;

    for (size_t i = 1; i < n; i++)
        if (bytes_of(argc, argv + i * (size_t)argc) > bytes_of(argc, longest))
            longest = argv + i * (size_t)argc;
    tell(s, row, argc, longest, (int)n - 1, ticks, c);
    if (n > 1 && s->slow)
        look_closer(s->slow, clock_ms());
}

void slow_release(server *s, slowlog_entry *held, const connection *c)
{
    slowlog_entry *oldest_first = NULL;

    while (held) {
        slowlog_entry *next = held->next;

        held->next = oldest_first;
        oldest_first = held;
        held = next;
    }
    while (oldest_first) {
        slowlog_entry *next = oldest_first->next;

        note_client(oldest_first, c);
        add(s, oldest_first);
        oldest_first = next;
    }
}
