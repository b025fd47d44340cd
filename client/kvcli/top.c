/* top.c - two readings of INFO and INFO commandstats, and what happened between them.
 *
 * Operations a second come from the counters' difference over the time between the readings, as do the calls and the time of each
 * command. Slow commands are the newest entries of SLOWLOG GET; contention is LOCKSTAT's (lock_waits.c).
 * What a server does not have is left out.
 *
 * SPDX-License-Identifier: MIT */
#include "top.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "info.h"
#include "interrupt.h"
#include "json.h"
#include "lock_waits.h"
#include "print.h"
#include "progress.h"
#include "stopwatch.h"

enum { COMMANDS_MAX = 512, COMMANDS_SHOWN = 10, SLOW_SHOWN = 5, LINES_PER_HEADING = 20, NAME_MAX_LEN = 48 };

typedef struct command_count {
    char name[NAME_MAX_LEN];
    double calls, microseconds;
    double new_calls, new_microseconds; /* since the reading before */
} command_count;

typedef struct top {
    conversation *c;
    info info;
    lock_waits locks;
    double read_at, seconds; /* when; since the reading before */
    double operations, input, output, keys;
    double new_operations, new_input, new_output;
    command_count commands[COMMANDS_MAX];
    size_t n_commands;
    bool has_before;
} top;

/* ---- readings ---- */

static void note_command(void *arg, kvc_slice rest, kvc_slice value)
{
    top *t = arg;
    size_t at = 0;
    double calls = info_field(value, "calls", 0), microseconds = info_field(value, "usec", 0);
    command_count *count;

    if (rest.len >= NAME_MAX_LEN)
        return;
    while (at < t->n_commands &&
           (strncmp(t->commands[at].name, rest.data, rest.len) != 0 || t->commands[at].name[rest.len]))
        at++;
    if (at == COMMANDS_MAX)
        return;
    count = &t->commands[at];
    if (at == t->n_commands) {
        *count = (command_count){ .calls = t->has_before ? 0 : calls,
                                  .microseconds = t->has_before ? 0 : microseconds };
        memcpy(count->name, rest.data, rest.len);
        t->n_commands++;
    }
    count->new_calls = calls - count->calls;
    count->new_microseconds = microseconds - count->microseconds;
    count->calls = calls;
    count->microseconds = microseconds;
}

static void note_keys(void *arg, kvc_slice rest, kvc_slice value)
{
    (void)rest;
    *(double *)arg += info_field(value, "keys", 0);
}

/* The growth of a counter; after CONFIG RESETSTAT it has begun anew. */
static double grown(double *counter, double now)
{
    double growth = now >= *counter ? now - *counter : now;

    *counter = now;
    return growth;
}

static kvc_status read_all(top *t, kvc_error *error)
{
    double now = stopwatch_seconds();
    kvc_status status = info_read(&t->info, t->c, NULL, error);
    info stats = { 0 };

    if (status != KVC_OK)
        return status;
    t->seconds = now - t->read_at;
    t->read_at = now;
    t->keys = 0;
    info_each(&t->info, "db", note_keys, &t->keys);
    t->new_operations = grown(&t->operations, info_number(&t->info, "total_commands_processed", 0));
    t->new_input = grown(&t->input, info_number(&t->info, "total_net_input_bytes", 0));
    t->new_output = grown(&t->output, info_number(&t->info, "total_net_output_bytes", 0));
    status = info_read(&stats, t->c, "commandstats", error);
    if (status == KVC_OK) {
        for (size_t i = 0; i < t->n_commands; i++)
            t->commands[i].new_calls = t->commands[i].new_microseconds = 0;
        info_each(&stats, "cmdstat_", note_command, t);
    }
    info_done(&stats);
    if (status == KVC_OK || status == KVC_EREPLY)
        status = lock_waits_read(&t->locks, t->c, error);
    return status;
}

static int by_new_time(const void *a, const void *b)
{
    const command_count *x = a, *y = b;

    if (x->new_microseconds != y->new_microseconds)
        return x->new_microseconds < y->new_microseconds ? 1 : -1;
    return (x->new_calls < y->new_calls) - (x->new_calls > y->new_calls);
}

/* ---- lines ---- */

static void print_line(const top *t, long n)
{
    double hits = info_number(&t->info, "keyspace_hits", 0),
           misses = info_number(&t->info, "keyspace_misses", 0);
    double seconds = t->seconds > 0 ? t->seconds : 1;
    text memory = { 0 };

    info_text(&t->info, "used_memory_human", "-", &memory);
    if (n % LINES_PER_HEADING == 0)
        printf("%12s %12s %10s %9s %9s %12s %12s %8s %12s\n", "operations/s", "keys", "memory", "clients",
               "blocked", "in B/s", "out B/s", "hits", "lock waits/s");
    printf("%12.0f %12.0f %10s %9.0f %9.0f %12.0f %12.0f %7.1f%% %12.0f\n", t->new_operations / seconds,
           t->keys, text_str(&memory), info_number(&t->info, "connected_clients", 0),
           info_number(&t->info, "blocked_clients", 0), t->new_input / seconds, t->new_output / seconds,
           hits + misses > 0 ? 100 * hits / (hits + misses) : 0, t->locks.new_waits / seconds);
    text_done(&memory);
}

static void print_json(const top *t)
{
    double seconds = t->seconds > 0 ? t->seconds : 1;

    printf("{\"operations_per_second\":%.0f,\"keys\":%.0f,\"used_memory\":%.0f,\"connected_clients\":%.0f,"
           "\"blocked_clients\":%.0f,\"input_bytes_per_second\":%.0f,\"output_bytes_per_second\":%.0f,\"lock_"
           "waits_per_second\":%.0f}\n",
           t->new_operations / seconds, t->keys, info_number(&t->info, "used_memory", 0),
           info_number(&t->info, "connected_clients", 0), info_number(&t->info, "blocked_clients", 0),
           t->new_input / seconds, t->new_output / seconds, t->locks.new_waits / seconds);
}

/* ---- the screen ---- */

static void add_rate(double n, double seconds, text *out)
{
    progress_number(seconds > 0 ? n / seconds : 0, out);
}

static void add_overview(const top *t, text *out)
{
    double hits = info_number(&t->info, "keyspace_hits", 0),
           misses = info_number(&t->info, "keyspace_misses", 0);

    text_printf(out, "kvcli top  %s  up %.0f s\n\n", text_str(&t->c->address),
                info_number(&t->info, "uptime_in_seconds", 0));
    text_add_str(out, "operations ");
    add_rate(t->new_operations, t->seconds, out);
    text_add_str(out, "/s   in ");
    add_rate(t->new_input, t->seconds, out);
    text_add_str(out, "B/s   out ");
    add_rate(t->new_output, t->seconds, out);
    text_printf(out, "B/s\nkeys       %.0f   hits %.1f%%   expired %.0f   evicted %.0f\nmemory     ", t->keys,
                hits + misses > 0 ? 100 * hits / (hits + misses) : 0,
                info_number(&t->info, "expired_keys", 0), info_number(&t->info, "evicted_keys", 0));
    info_text(&t->info, "used_memory_human", "-", out);
    text_add_str(out, " of ");
    info_text(&t->info, "maxmemory_human", "-", out);
    text_printf(out, "   peak ");
    info_text(&t->info, "used_memory_peak_human", "-", out);
    text_printf(out, "\nclients    %.0f   blocked %.0f\n", info_number(&t->info, "connected_clients", 0),
                info_number(&t->info, "blocked_clients", 0));
}

static void add_commands(top *t, text *out)
{
    text_printf(out, "\n%-24s %12s %14s %12s\n", "command", "calls/s", "us per call", "busy");
    qsort(t->commands, t->n_commands, sizeof t->commands[0], by_new_time);
    for (size_t i = 0; i < t->n_commands && i < COMMANDS_SHOWN; i++) {
        const command_count *k = &t->commands[i];

        if (k->new_calls > 0 && t->seconds > 0)
            text_printf(out, "%-24s %12.0f %14.2f %11.1f%%\n", k->name, k->new_calls / t->seconds,
                        k->new_microseconds / k->new_calls, k->new_microseconds / t->seconds / 1e4);
    }
}

static void add_slow(top *t, text *out)
{
    static const char *const get[] = { "SLOWLOG", "GET", "5", NULL };
    kvc_reply *reply = NULL;
    kvc_error error;

    if (conversation_ask_strings(t->c, get, &reply, &error) == KVC_OK && kvc_reply_count(reply) > 0) {
        text_add_str(out, "\nslow commands\n");
        for (size_t i = 0; i < kvc_reply_count(reply) && i < SLOW_SHOWN; i++) {
            const kvc_reply *entry = kvc_reply_at(reply, i), *argv = kvc_reply_at(entry, 3);

            text_printf(out, "%10.3f ms ", (double)kvc_reply_int(kvc_reply_at(entry, 2)) / 1000);
            for (size_t k = 0; k < kvc_reply_count(argv) && k < 6; k++) {
                kvc_slice word = kvc_reply_text(kvc_reply_at(argv, k));

                text_add_char(out, ' ');
                text_quoted_utf8(out, kvc_bytes(word.data, word.len < 32 ? word.len : 32));
            }
            text_add_char(out, '\n');
        }
    }
    kvc_reply_free(reply);
}

static void draw(top *t)
{
    struct winsize size = { 0 };
    size_t rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 ? size.ws_row - 1u : 1000,
           lines = 0;
    text out = { 0 };

    add_overview(t, &out);
    add_commands(t, &out);
    add_slow(t, &out);
    lock_waits_print(&t->locks, t->seconds, &out);
    fputs("\x1b[H\x1b[2J", stdout);
    for (size_t i = 0; i < out.len && lines < rows; i++) {
        putchar(out.data[i]);
        lines += out.data[i] == '\n';
    }
    text_done(&out);
}

static exit_status show(top *t, long n)
{
    const settings *s = t->c->settings;

    if (s->format.kind == FORMAT_JSON || s->format.kind == FORMAT_JSON_ASCII)
        print_json(t);
    else if (s->stdout_is_terminal)
        draw(t);
    else
        print_line(t, n);
    return print_flush();
}

exit_status top_run(conversation *c)
{
    const settings *s = c->settings;
    double pause = s->interval > 0 ? s->interval : 1;
    exit_status result = EXIT_FINE;
    kvc_status status;
    kvc_error error;
    top *t = must_have(calloc(1, sizeof *t));

    t->c = c;
    t->read_at = stopwatch_seconds();
    status = read_all(t, &error);
    for (long n = 0; status == KVC_OK && result == EXIT_FINE && (!s->count || n < s->count); n++) {
        t->has_before = true;
        if (!interrupt_sleep(pause))
            break;
        status = read_all(t, &error);
        if (status == KVC_OK)
            result = show(t, n);
    }
    if (status != KVC_OK && !interrupt_happened())
        result = complain(exit_status_of(&error), "%s", error.message);
    info_done(&t->info);
    lock_waits_done(&t->locks);
    free(t);
    return result;
}
