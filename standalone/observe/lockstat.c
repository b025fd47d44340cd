/* lockstat.c - see lockstat.h. SPDX-License-Identifier: MIT */
#include "lockstat.h"

#include <stdlib.h>

#include "contention.h"
#include "session.h"

#define TOP_DEFAULT 10
#define INFO_SHARDS 3

int lockstat_start(server *s)
{
    atomic_store(&s->lockstat_since_ms, clock_ms());
    if (!config_number(s->config, CONFIG_ID_lockstat) || s->actor)
        return 0;
    return contention_start(s->domain, clock_ns,
                            (size_t)config_number(s->config, CONFIG_ID_lockstat_max_keys)) == 0
               ? 0
               : -1;
}

static bool is_measured(const server *s)
{
    return !s->actor && config_number(s->config, CONFIG_ID_lockstat);
}

static int64_t elapsed_ms(server *s)
{
    int64_t ms = clock_ms() - atomic_load(&s->lockstat_since_ms);

    return ms > 0 ? ms : 0;
}

static int db_of(const server *s, const map *m)
{
    for (int db = 0; db < s->databases.count; db++)
        if (store_map(s->databases.stores[db]) == m)
            return db;
    return -1;
}

/* ---- LOCKSTAT ---- */

static void reply_field(kv_reply *r, const char *name, uint64_t value)
{
    kv_reply_bulk(r, kv_str(name));
    kv_reply_int(r, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static void reply_histogram(kv_reply *r, const char *name, const contention_histogram *h)
{
    size_t used = 0;

    kv_reply_bulk(r, kv_str(name));
    r->ops->map(r, 8);
    reply_field(r, "count", h->times.count);
    reply_field(r, "total-ns", h->times.total_ns);
    reply_field(r, "max-ns", h->times.max_ns);
    reply_field(r, "p50-ns", contention_percentile(h, 0.5));
    reply_field(r, "p90-ns", contention_percentile(h, 0.9));
    reply_field(r, "p99-ns", contention_percentile(h, 0.99));
    reply_field(r, "p999-ns", contention_percentile(h, 0.999));
    kv_reply_bulk(r, KV_STR("histogram"));
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++)
        used += h->buckets[i] != 0;
    kv_reply_array(r, used);
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++) {
        if (!h->buckets[i])
            continue;
        kv_reply_array(r, 2);
        kv_reply_int(r, (int64_t)contention_bucket_start(i));
        kv_reply_int(r, (int64_t)h->buckets[i]);
    }
}

static void reply_shards(kv_reply *r, const server *s, const contention_report *report)
{
    kv_reply_bulk(r, KV_STR("shards"));
    kv_reply_array(r, report->shard_count);
    for (size_t i = 0; i < report->shard_count; i++) {
        const contention_shard *shard = &report->shards[i];

        r->ops->map(r, 8);
        kv_reply_bulk(r, KV_STR("db"));
        kv_reply_int(r, db_of(s, shard->map));
        reply_field(r, "shard", shard->index);
        reply_field(r, "waits", shard->wait.count);
        reply_field(r, "wait-ns", shard->wait.total_ns);
        reply_field(r, "wait-max-ns", shard->wait.max_ns);
        reply_field(r, "holds", shard->hold.count);
        reply_field(r, "hold-ns", shard->hold.total_ns);
        reply_field(r, "hold-max-ns", shard->hold.max_ns);
    }
}

static void reply_keys(kv_call *call, const server *s, const contention_report *report)
    KV_REQUIRES(kv_epoch_held)
{
    kv_reply *r = call->reply;

    kv_reply_bulk(r, KV_STR("keys"));
    kv_reply_array(r, report->key_count);
    for (size_t i = 0; i < report->key_count; i++) {
        const contention_key *key = &report->keys[i];
        const entry *e = map_find_hash(key->map, key->hash);

        r->ops->map(r, 4);
        kv_reply_bulk(r, KV_STR("db"));
        kv_reply_int(r, db_of(s, key->map));
        kv_reply_bulk(r, KV_STR("key"));
        if (e && entry_deadline(e) > call->now_ms)
            kv_reply_bulk(r, entry_key(e));
        else
            kv_reply_null(r);
        reply_field(r, "waits", key->waits);
        reply_field(r, "error", key->error);
    }
}

static void reply_report(kv_call *call, int64_t top) KV_REQUIRES(kv_epoch_held)
{
    server *s = session_server(call);
    contention_report *report = contention_read(s->domain, (size_t)top);
    char *sharing = config_text(s->config, CONFIG_ID_sharing);
    kv_reply *r = call->reply;

    if (report && sharing) {
        r->ops->map(r, 9);
        kv_reply_bulk(r, KV_STR("sharing"));
        kv_reply_bulk(r, kv_str(sharing));
        reply_field(r, "measured", is_measured(s));
        reply_field(r, "since-ms", (uint64_t)elapsed_ms(s));
        reply_histogram(r, "wait", &report->wait);
        reply_histogram(r, "hold", &report->hold);
        reply_field(r, "shards-waited-for", report->shards_waited_for);
        reply_field(r, "unlisted-waits", report->unlisted_waits);
        reply_shards(r, s, report);
        reply_keys(call, s, report);
    } else
        kv_reply_error(r, KV_ENOMEM);
    free(sharing);
    contention_report_free(report);
}

static void report_in_epoch(kv_call *call, int64_t top)
{
    kv_domain *domain = session_server(call)->domain;

    if (epoch_enter(domain) == 0)
        reply_report(call, top);
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    epoch_leave(domain);
}

static void reset(server *s)
{
    atomic_store(&s->lockstat_since_ms, clock_ms());
    contention_reset(s->domain);
}

static void reply_help(kv_call *call)
{
    static const char *const lines[] = {
        "LOCKSTAT [TOP <n>] [RESET]",
        "    Tell how long locks were waited for and held, the <n> (10) shards waited for",
        "    longest and the keys waited for most often; then count from zero, if asked.",
        "LOCKSTAT RESET",
        "    Count from zero.",
        "LOCKSTAT HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}

/* LOCKSTAT [TOP n] [RESET] | HELP */
void session_lockstat(kv_call *call)
{
    bool to_reset = call->argc > 1 && kv_word_is(call->argv[call->argc - 1], "reset");
    int left = call->argc - 1 - to_reset;
    int64_t top = TOP_DEFAULT;
    server *s = session_server(call);

    if (call->argc == 2 && kv_word_is(call->argv[1], "help")) {
        reply_help(call);
        return;
    }
    if (left == 2 && kv_word_is(call->argv[1], "top")) {
        if (!kv_parse_int(call->argv[2], &top) || top < 0) {
            kv_reply_error(call->reply, KV_ENOTINT);
            return;
        }
    } else if (left != 0) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    if (to_reset && left == 0)
        kv_reply_ok(call->reply);
    else
        report_in_epoch(call, top);
    if (to_reset)
        reset(s);
}

/* ---- INFO contention ---- */

static void write_histogram(FILE *out, const char *name, const contention_histogram *h)
{
    fprintf(out,
            "lock_%ss:%llu\r\nlock_%s_total_ns:%llu\r\nlock_%s_max_ns:%llu\r\nlock_%s_p50_ns:%llu\r\n"
            "lock_%s_p99_ns:%llu\r\nlock_%s_p999_ns:%llu\r\n",
            name, (unsigned long long)h->times.count, name, (unsigned long long)h->times.total_ns, name,
            (unsigned long long)h->times.max_ns, name, (unsigned long long)contention_percentile(h, 0.5),
            name, (unsigned long long)contention_percentile(h, 0.99), name,
            (unsigned long long)contention_percentile(h, 0.999));
}

void lockstat_write_info(server *s, FILE *out)
{
    contention_report *report = contention_read(s->domain, INFO_SHARDS);

    if (!report)
        return;
    fprintf(out, "lock_measured:%d\r\nlock_since_ms:%lld\r\n", is_measured(s), (long long)elapsed_ms(s));
    write_histogram(out, "wait", &report->wait);
    write_histogram(out, "hold", &report->hold);
    fprintf(out, "lock_shards_waited_for:%zu\r\nlock_unlisted_waits:%llu\r\n", report->shards_waited_for,
            (unsigned long long)report->unlisted_waits);
    for (size_t i = 0; i < report->shard_count; i++) {
        const contention_shard *shard = &report->shards[i];

        fprintf(
            out,
            "lock_shard_%zu:db=%d,shard=%u,waits=%llu,wait_ns=%llu,wait_max_ns=%llu,holds=%llu,hold_ns=%llu,"
            "hold_max_ns=%llu\r\n",
            i, db_of(s, shard->map), shard->index, (unsigned long long)shard->wait.count,
            (unsigned long long)shard->wait.total_ns, (unsigned long long)shard->wait.max_ns,
            (unsigned long long)shard->hold.count, (unsigned long long)shard->hold.total_ns,
            (unsigned long long)shard->hold.max_ns);
    }
    contention_report_free(report);
}
