/* latency_commands.c - LATENCY LATEST HISTORY RESET GRAPH DOCTOR HISTOGRAM HELP.
 *
 * The events are those of latency.h; the histograms those of the threads' stats, summed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "latency.h"
#include "session.h"

#define GRAPH_ROWS 4
#define FIRST_NS   1024 /* the first bin of HISTOGRAM; each next one is twice as wide */

static latency_monitor *monitor_of(const kv_call *call)
{
    return session_server(call)->latency;
}

/* ---- LATEST, HISTORY, RESET ---- */

/* LATENCY LATEST */
void session_latency_latest(kv_call *call)
{
    const char *names[LATENCY_EVENTS];
    size_t count = latency_names(monitor_of(call), names);

    kv_reply_array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        latency_sample last = { 0 };
        latency_event e = { 0 };

        /* Reset meanwhile: as if it had been seen just before. */
        if (latency_read(monitor_of(call), kv_str(names[i]), &e) && e.count)
            last = e.samples[e.count - 1];
        kv_reply_array(call->reply, 4);
        kv_reply_bulk(call->reply, kv_str(names[i]));
        kv_reply_int(call->reply, last.time_s);
        kv_reply_int(call->reply, last.ms);
        kv_reply_int(call->reply, e.max_ms);
    }
}

/* LATENCY HISTORY event */
void session_latency_history(kv_call *call)
{
    latency_event e;

    if (!latency_read(monitor_of(call), call->argv[2], &e)) {
        kv_reply_array(call->reply, 0);
        return;
    }
    kv_reply_array(call->reply, e.count);
    for (size_t i = 0; i < e.count; i++) {
        kv_reply_array(call->reply, 2);
        kv_reply_int(call->reply, e.samples[i].time_s);
        kv_reply_int(call->reply, e.samples[i].ms);
    }
}

/* LATENCY RESET [event [event ...]] */
void session_latency_reset(kv_call *call)
{
    size_t reset = 0;

    if (call->argc == 2)
        reset = latency_reset(monitor_of(call), kv_slice_of(NULL, 0));
    for (int i = 2; i < call->argc; i++)
        reset += latency_reset(monitor_of(call), call->argv[i]);
    kv_reply_int(call->reply, (int64_t)reset);
}

/* ---- GRAPH ---- */

/* How long ago, in at most three letters. */
static void write_age(char text[8], int64_t seconds)
{
    if (seconds < 60)
        snprintf(text, 8, "%ds", (int)seconds);
    else if (seconds < 3600)
        snprintf(text, 8, "%dm", (int)(seconds / 60));
    else if (seconds < 86400)
        snprintf(text, 8, "%dh", (int)(seconds / 3600));
    else
        snprintf(text, 8, "%dd", (int)(seconds / 86400 > 999 ? 999 : seconds / 86400));
}

/* A column for each sample, of GRAPH_ROWS rows of three steps, and below it how long ago it was, downwards. */
static void draw_graph(FILE *out, const latency_event *e, size_t first, int64_t least, int64_t most,
                       int64_t now_s)
{
    static const char steps[] = { '_', 'o', '#' };

    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        for (size_t i = first; i < e->count; i++) {
            int64_t span = most - least ? most - least : 1;
            int height = most == least ? GRAPH_ROWS * 3 - 1
                                       : (int)((e->samples[i].ms - least) * (GRAPH_ROWS * 3 - 1) / span);

            fputc(height / 3 > row ? '|' : height / 3 == row ? steps[height % 3] : ' ', out);
        }
        fputc('\n', out);
    }
    fputc('\n', out);
    for (size_t line = 0; line < 4; line++) {
        for (size_t i = first; i < e->count; i++) {
            char age[8] = "";

            write_age(age, now_s - e->samples[i].time_s);
            fputc(line < strlen(age) ? age[line] : ' ', out);
        }
        fputc('\n', out);
    }
}

static void reply_stream(kv_call *call, FILE *out, char **text, const size_t *len)
{
    if (out && fclose(out) == 0)
        call->reply->ops->verbatim(call->reply, kv_slice_of(*text, *len), "txt");
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    free(*text);
}

/* LATENCY GRAPH event */
void session_latency_graph(kv_call *call)
{
    enum { COLUMNS = 80 };
    latency_event e;
    char *text = NULL;
    size_t len = 0, first;
    int64_t least, most;
    FILE *out;

    if (!latency_read(monitor_of(call), call->argv[2], &e) || !e.count) {
        kv_reply_errorf(call->reply, "ERR No samples available for event '%.*s'",
                        kv_echo_len(call->argv[2], KV_ECHO_MAX), call->argv[2].data);
        return;
    }
    first = e.count > COLUMNS ? e.count - COLUMNS : 0;
    least = most = e.samples[first].ms;
    for (size_t i = first; i < e.count; i++) {
        least = e.samples[i].ms < least ? e.samples[i].ms : least;
        most = e.samples[i].ms > most ? e.samples[i].ms : most;
    }
    out = open_memstream(&text, &len);
    if (out) {
        fprintf(out, "%s - high %lld ms, low %lld ms (all time high %lld ms)\n", e.name, (long long)most,
                (long long)least, (long long)e.max_ms);
        for (int i = 0; i < COLUMNS; i++)
            fputc('-', out);
        fputc('\n', out);
        draw_graph(out, &e, first, least, most, call->now_ms / 1000);
    }
    reply_stream(call, out, &text, &len);
}

/* ---- DOCTOR ---- */

typedef struct figures {
    double mean_ms, mean_deviation_ms;
    int64_t period_s; /* from one sample to the next */
} figures;

static figures figures_of(const latency_event *e)
{
    figures f = { 0 };

    for (size_t i = 0; i < e->count; i++)
        f.mean_ms += (double)e->samples[i].ms / (double)e->count;
    for (size_t i = 0; i < e->count; i++) {
        double deviation = (double)e->samples[i].ms - f.mean_ms;

        f.mean_deviation_ms += (deviation < 0 ? -deviation : deviation) / (double)e->count;
    }
    if (e->count > 1)
        f.period_s = (e->samples[e->count - 1].time_s - e->samples[0].time_s) / (int64_t)(e->count - 1);
    return f;
}

/* What to do about an event, or NULL. */
static const char *advice_for(const char *name)
{
    static const struct {
        const char *event, *advice;
    } known[] = {
        { "command", "Commands were slow. SLOWLOG GET tells which (slowlog-log-slower-than): KEYS, large "
                     "replies, commands over many keys. Set slowlog-log-slower-than no higher than the "
                     "latency that hurts." },
        { "fast-command",
          "Commands that are short by nature took long: the machine's processors are busy with "
          "something else, memory is being swapped, or values are very large. Compare the "
          "load of the machine, and used_cpu_user in INFO." },
        { "expire-cycle", "Very many keys expire at once. Spread their deadlines." },
        { "eviction-cycle", "Memory is full, and making room takes long. Raise maxmemory, or lower "
                            "maxmemory-eviction-tenacity." },
        { "aof-write-pending-fsync",
          "A write to the log waited for a sync of the same file: the disk is slower than what is "
          "written. A faster disk, or appendfsync no." },
        { "aof-write-active-child",
          "A write to the log was slow while a snapshot or a new base was written to the same disk. "
          "snapshot-max-rate leaves room for it." },
        { "aof-write",
          "The disk is slow, or busy. no-appendfsync-on-rewrite and appendfsync everysec ask less "
          "of it." },
        { "aof-fsync-always", "appendfsync always waits for the disk with every batch. A faster disk, or "
                              "appendfsync everysec." },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].event, name) == 0)
            return known[i].advice;
    return NULL;
}

static void diagnose(FILE *out, size_t number, const latency_event *e)
{
    figures f = figures_of(e);
    const char *advice = advice_for(e->name);

    fprintf(out,
            "%zu. %s: %zu latency spikes (average %.0fms, mean deviation %.0fms, period %lld sec). Worst "
            "all time event %lldms.\n",
            number, e->name, e->count, f.mean_ms, f.mean_deviation_ms, (long long)f.period_s,
            (long long)e->max_ms);
    if (advice)
        fprintf(out, "   %s\n", advice);
}

static void examine(kv_call *call, FILE *out)
{
    const char *names[LATENCY_EVENTS];
    size_t count = latency_names(monitor_of(call), names);

    if (!config_number(session_server(call)->config, CONFIG_ID_latency_monitor_threshold)) {
        fprintf(out, "Latency monitoring is off, so there is nothing to tell. CONFIG SET "
                     "latency-monitor-threshold <milliseconds> turns it on.\n");
        return;
    }
    if (!count) {
        fprintf(
            out,
            "Since the start, or the last LATENCY RESET, no latency spike was seen: nothing took as long as "
            "latency-monitor-threshold says.\n");
        return;
    }
    fprintf(out, "These events took long:\n\n");
    for (size_t i = 0; i < count; i++) {
        latency_event e;

        if (latency_read(monitor_of(call), kv_str(names[i]), &e) && e.count)
            diagnose(out, i + 1, &e);
    }
}

/* LATENCY DOCTOR */
void session_latency_doctor(kv_call *call)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out)
        examine(call, out);
    reply_stream(call, out, &text, &len);
}

/* ---- HISTOGRAM ---- */

static uint64_t bin_end_ns(int bin)
{
    return (uint64_t)FIRST_NS << bin;
}

/* Bins whose sum is greater than that of the one before. */
static int used_bins(const durations_sum *sum)
{
    uint64_t before = 0;
    int used = 0;

    for (int bin = 0; before < sum->total && bin < 40; bin++) {
        uint64_t n = durations_below(sum, bin_end_ns(bin));

        used += n > before;
        before = n;
    }
    return used;
}

static void reply_histogram(kv_reply *r, const kv_command *row, const durations_sum *sum)
{
    char name[KV_COMMAND_NAME_MAX];
    uint64_t before = 0;

    kv_reply_bulk(r, kv_command_name(row, name));
    r->ops->map(r, 2);
    kv_reply_bulk(r, KV_STR("calls"));
    kv_reply_int(r, (int64_t)sum->total);
    kv_reply_bulk(r, KV_STR("histogram_usec"));
    r->ops->map(r, (size_t)used_bins(sum));
    for (int bin = 0; before < sum->total && bin < 40; bin++) {
        uint64_t n = durations_below(sum, bin_end_ns(bin));

        if (n > before) {
            /* As HdrHistogram of two digits names the end of a bin. */
            kv_reply_int(r, (int64_t)((bin_end_ns(bin) + bin_end_ns(bin) / 128 - 1) / 1000));
            kv_reply_int(r, (int64_t)n);
        }
        before = n;
    }
}

/* Whether name means the row: "get", "config|get", or "config" for all of its subcommands. */
static bool means(kv_slice name, const kv_command *row)
{
    char buffer[KV_COMMAND_NAME_MAX];
    kv_slice full = kv_command_name(row, buffer);
    char text[KV_COMMAND_NAME_MAX];

    snprintf(text, sizeof text, "%.*s", (int)full.len, full.data);
    return kv_word_is(name, text) || (row->container && kv_word_is(name, row->container));
}

static bool is_wanted(const kv_call *call, const kv_command *row)
{
    if (call->argc == 2)
        return true;
    for (int i = 2; i < call->argc; i++)
        if (means(call->argv[i], row))
            return true;
    return false;
}

/* LATENCY HISTOGRAM [command [command ...]] */
void session_latency_histogram(kv_call *call)
{
    durations_sum **sums = calloc(KV_COMMAND_COUNT, sizeof *sums);
    size_t count = 0;
    bool complete = sums != NULL;

    for (int id = 0; complete && id < KV_COMMAND_COUNT; id++) {
        if (!is_wanted(call, &kv_command_table[id]) || !server_has_durations(session_server(call), id))
            continue;
        sums[id] = malloc(sizeof **sums);
        complete = sums[id] != NULL;
        if (!complete)
            break;
        server_durations(session_server(call), id, sums[id]);
        count += sums[id]->total > 0;
    }
    if (complete) {
        call->reply->ops->map(call->reply, count);
        for (int id = 0; id < KV_COMMAND_COUNT; id++)
            if (sums[id] && sums[id]->total)
                reply_histogram(call->reply, &kv_command_table[id], sums[id]);
    } else
        kv_reply_error(call->reply, KV_ENOMEM);
    for (int id = 0; sums && id < KV_COMMAND_COUNT; id++)
        free(sums[id]);
    free(sums);
}

/* LATENCY HELP */
void session_latency_help(kv_call *call)
{
    static const char *const lines[] = {
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    Say in words what took long, and what can be done.",
        "GRAPH <event>",
        "    Draw the samples of an <event>.",
        "HISTORY <event>",
        "    Return the samples of an <event>: when, how many milliseconds.",
        "LATEST",
        "    Return the latest sample and the longest of all events.",
        "RESET [<event> ...]",
        "    Forget the samples of these events (all), and tell of how many.",
        "HISTOGRAM [COMMAND ...]",
        "    Tell how many calls of these commands (all) took at most how many microseconds.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
