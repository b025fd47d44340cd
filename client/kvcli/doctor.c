/* doctor.c - each check looks at one thing and says one line: fine, could be better (with what to do), or wrong.
 *
 * SPDX-License-Identifier: MIT */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "info.h"
#include "interrupt.h"
#include "json.h"
#include "latency.h"
#include "progress.h"

enum { VERDICT_FINE, VERDICT_BETTER, VERDICT_WRONG };

typedef struct patient {
    conversation *c;
    info info;
    bool json;
    size_t found[3]; /* by verdict */
} patient;

static void say(patient *p, int verdict, const char *what, const char *message_format, ...)
    __attribute__((format(printf, 4, 5)));

static void say(patient *p, int verdict, const char *what, const char *message_format, ...)
{
    static const char *const verdicts[] = { "ok", "warn", "FAIL" }, *const colors[] = { "32", "33", "31" };
    char message[512];
    va_list arguments;
    text out = { 0 };

    va_start(arguments, message_format);
    vsnprintf(message, sizeof message, message_format, arguments);
    va_end(arguments);
    if (p->json) {
        text_printf(&out, "%s{\"verdict\":\"%s\",\"check\":\"%s\",\"message\":",
                    p->found[0] + p->found[1] + p->found[2] ? ",\n" : "[", verdicts[verdict], what);
        json_string(kvc_str(message), false, &out);
        text_add_char(&out, '}');
    } else if (p->c->settings->colors) {
        text_printf(&out, "\x1b[%sm%-4s\x1b[0m  %-12s %s\n", colors[verdict], verdicts[verdict], what,
                    message);
    } else {
        text_printf(&out, "%-4s  %-12s %s\n", verdicts[verdict], what, message);
    }
    fwrite(out.data, 1, out.len, stdout);
    text_done(&out);
    p->found[verdict]++;
}

static void bytes_text(double n, char out[16])
{
    text t = { 0 };

    progress_number(n, &t);
    snprintf(out, 16, "%sB", text_str(&t));
    text_done(&t);
}

/* ---- checks ---- */

static void check_version(patient *p)
{
    text name = { 0 }, version = { 0 };

    info_text(&p->info, "server_name", "redis", &name);
    info_text(&p->info, "kvstore_version", "", &version);
    if (!version.len)
        info_text(&p->info, slice_is_word(text_slice(&name), "valkey") ? "valkey_version" : "redis_version",
                  "of unknown version", &version);
    say(p, VERDICT_FINE, "server", "%s %s, up %.0f s, at %s", text_str(&name), text_str(&version),
        info_number(&p->info, "uptime_in_seconds", 0), text_str(&p->c->address));
    text_done(&name);
    text_done(&version);
}

static void check_memory(patient *p)
{
    double used = info_number(&p->info, "used_memory", 0), most = info_number(&p->info, "maxmemory", 0);
    double system = info_number(&p->info, "total_system_memory", 0);
    double fragmentation = info_number(&p->info, "mem_fragmentation_ratio", 1);
    kvc_slice policy = info_find(&p->info, "maxmemory_policy");
    char used_text[16], most_text[16];

    bytes_text(used, used_text);
    bytes_text(most, most_text);
    if (most == 0)
        say(p, VERDICT_BETTER, "memory",
            "%s used, and no maxmemory: the system will end the server when memory is out", used_text);
    else if (used > 0.9 * most && slice_is_word(policy, "noeviction"))
        say(p, VERDICT_WRONG, "memory", "%s of %s used with noeviction: writes will soon be refused",
            used_text, most_text);
    else
        say(p, used > 0.9 * most ? VERDICT_BETTER : VERDICT_FINE, "memory", "%s of %s used, %.*s", used_text,
            most_text, (int)policy.len, policy.data ? policy.data : "");
    if (system > 0 && used > 0.8 * system)
        say(p, VERDICT_WRONG, "memory", "more than 80%% of the machine's memory is used");
    if (fragmentation > 1.5 && used > 64e6)
        say(p, VERDICT_BETTER, "memory", "%.1f times the memory that is used is resident: fragmentation",
            fragmentation);
}

static void check_clients(patient *p)
{
    double now = info_number(&p->info, "connected_clients", 0), most = info_number(&p->info, "maxclients", 0);
    double refused = info_number(&p->info, "rejected_connections", 0);

    say(p, most > 0 && now > 0.8 * most ? VERDICT_WRONG : VERDICT_FINE, "clients", "%.0f connected of %.0f",
        now, most);
    if (refused > 0)
        say(p, VERDICT_BETTER, "clients", "%.0f connections were refused since the start: see maxclients",
            refused);
}

static void check_persistence(patient *p)
{
    kvc_slice save = info_find(&p->info, "rdb_last_bgsave_status"),
              log = info_find(&p->info, "aof_last_write_status");
    bool logs = info_number(&p->info, "aof_enabled", 0) != 0;
    double changes = info_number(&p->info, "rdb_changes_since_last_save", 0);

    if (!save.data && !log.data)
        return; /* it has none to tell of */
    if (info_number(&p->info, "loading", 0))
        say(p, VERDICT_BETTER, "persistence", "the data is still being loaded");
    if (save.data && !slice_is_word(save, "ok"))
        say(p, VERDICT_WRONG, "persistence", "the last snapshot failed");
    if (log.data && logs && !slice_is_word(log, "ok"))
        say(p, VERDICT_WRONG, "persistence", "the last write of the log failed");
    if (!logs)
        say(p, VERDICT_BETTER, "persistence",
            "no log (appendonly): %.0f changes since the last snapshot would be lost", changes);
    else
        say(p, VERDICT_FINE, "persistence", "the log is written");
}

static void check_replication(patient *p)
{
    kvc_slice role = info_find(&p->info, "role"), link = info_find(&p->info, "master_link_status");

    if (slice_is_word(role, "slave"))
        say(p, slice_is_word(link, "up") ? VERDICT_FINE : VERDICT_WRONG, "replication",
            "a replica, its link is %.*s", (int)link.len, link.data ? link.data : "");
}

static void check_keys(patient *p)
{
    double hits = info_number(&p->info, "keyspace_hits", 0),
           misses = info_number(&p->info, "keyspace_misses", 0);
    double evicted = info_number(&p->info, "evicted_keys", 0);

    if (hits + misses > 0)
        say(p, VERDICT_FINE, "keys", "%.1f%% of the reads found their key", 100 * hits / (hits + misses));
    if (evicted > 0)
        say(p, VERDICT_BETTER, "keys", "%.0f keys were evicted for want of memory", evicted);
}

/* The reply to a command, or NULL where the server has none or refuses it. */
static kvc_reply *try(patient *p, const char *const *command)
{
    kvc_reply *reply = NULL;
    kvc_error error;

    if (conversation_ask_strings(p->c, command, &reply, &error) == KVC_OK &&
        kvc_reply_type(reply) != KVC_TYPE_ERROR)
        return reply;
    kvc_reply_free(reply);
    return NULL;
}

static void check_slow_log(patient *p)
{
    static const char *const len[] = { "SLOWLOG", "LEN", NULL };
    kvc_reply *reply = try(p, len);

    if (reply)
        say(p, kvc_reply_int(reply) ? VERDICT_BETTER : VERDICT_FINE, "slow log",
            "%lld slow commands on record%s", (long long)kvc_reply_int(reply),
            kvc_reply_int(reply) ? ": SLOWLOG GET shows them" : "");
    kvc_reply_free(reply);
}

/* Events that took as long as latency-monitor-threshold says: each with its name, and the longest in milliseconds. */
static void check_events(patient *p)
{
    static const char *const latest[] = { "LATENCY", "LATEST", NULL };
    kvc_reply *reply = try(p, latest);
    const kvc_reply *worst = NULL;

    for (size_t i = 0; reply && i < kvc_reply_count(reply); i++) {
        const kvc_reply *event = kvc_reply_at(reply, i);

        if (kvc_reply_count(event) >= 4 &&
            (!worst || kvc_reply_int(kvc_reply_at(event, 3)) > kvc_reply_int(kvc_reply_at(worst, 3))))
            worst = event;
    }
    if (worst) {
        kvc_slice name = kvc_reply_text(kvc_reply_at(worst, 0));

        say(p, VERDICT_BETTER, "events", "%.*s took %lld ms: LATENCY DOCTOR tells more", (int)name.len,
            name.data, (long long)kvc_reply_int(kvc_reply_at(worst, 3)));
    }
    kvc_reply_free(reply);
}

/* Reachable from everywhere, and no password. */
static void check_protection(patient *p)
{
    static const char *const get[] = { "CONFIG", "GET", "requirepass", NULL };
    kvc_reply *pass = try(p, get);
    bool open = pass && kvc_reply_count(pass) == 2 && kvc_reply_text(kvc_reply_at(pass, 1)).len == 0;

    if (open)
        say(p, VERDICT_BETTER, "access",
            "no password (requirepass): everybody who reaches the server may do everything");
    else if (pass)
        say(p, VERDICT_FINE, "access", "a password is needed");
    if (!p->c->settings->server.tls && !p->c->settings->server.unix_path && p->c->settings->server.host &&
        strcmp(p->c->settings->server.host, "127.0.0.1") != 0 &&
        strcmp(p->c->settings->server.host, "localhost") != 0)
        say(p, VERDICT_BETTER, "access", "no TLS on the way to %s", text_str(&p->c->address));
    kvc_reply_free(pass);
}

static kvc_status check_latency(patient *p, kvc_error *error)
{
    histogram h = { 0 };
    kvc_status status = latency_sample(p->c, 0.5, &h, error);

    if (status == KVC_OK && h.n)
        say(p, histogram_percentile(&h, 99) > 10000 ? VERDICT_BETTER : VERDICT_FINE, "latency",
            "round trips: %.3f ms on average, %.3f ms for 99 of 100, %.3f ms at most",
            histogram_mean(&h) / 1000, (double)histogram_percentile(&h, 99) / 1000, (double)h.most / 1000);
    return status;
}

exit_status doctor_run(conversation *c)
{
    patient p = { .c = c,
                  .json = c->settings->format.kind == FORMAT_JSON ||
                          c->settings->format.kind == FORMAT_JSON_ASCII };
    kvc_error error;
    kvc_status status = info_read(&p.info, c, NULL, &error);

    if (status == KVC_OK) {
        check_version(&p);
        check_memory(&p);
        check_clients(&p);
        check_persistence(&p);
        check_replication(&p);
        check_keys(&p);
        check_slow_log(&p);
        check_events(&p);
        check_protection(&p);
        status = check_latency(&p, &error);
    }
    if (p.json && status == KVC_OK)
        printf("]\n");
    else if (status == KVC_OK)
        printf("\n%zu fine, %zu could be better, %zu wrong\n", p.found[VERDICT_FINE], p.found[VERDICT_BETTER],
               p.found[VERDICT_WRONG]);
    info_done(&p.info);
    if (interrupt_happened())
        return EXIT_INTERRUPTED;
    if (status != KVC_OK)
        return complain(exit_status_of(&error), "%s", error.message);
    return p.found[VERDICT_WRONG] ? EXIT_SERVER : EXIT_FINE;
}
