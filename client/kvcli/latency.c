/* latency.c - SPDX-License-Identifier: MIT */
#include "latency.h"

#include <stdio.h>

#include "interrupt.h"
#include "stopwatch.h"

#define PAUSE_S 0.01

static double ms(uint64_t microseconds)
{
    return (double)microseconds / 1000;
}

static void add_json(const histogram *h, double seconds, text *out)
{
    text_printf(out,
                "{\"min_ms\":%.3f,\"avg_ms\":%.3f,\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,"
                "\"p999_ms\":%.3f,\"max_ms\":%.3f,\"samples\":%llu,\"seconds\":%.2f}",
                ms(h->least), histogram_mean(h) / 1000, ms(histogram_percentile(h, 50)),
                ms(histogram_percentile(h, 95)), ms(histogram_percentile(h, 99)),
                ms(histogram_percentile(h, 99.9)), ms(h->most), (unsigned long long)h->n, seconds);
}

static void add_summary(const settings *s, const histogram *h, double seconds, text *out)
{
    switch (s->format.kind) {
    case FORMAT_JSON:
    case FORMAT_JSON_ASCII:
        add_json(h, seconds, out);
        break;
    case FORMAT_RAW:
        text_printf(out, "%.3f %.3f %.3f %llu", ms(h->least), ms(h->most), histogram_mean(h) / 1000,
                    (unsigned long long)h->n);
        break;
    case FORMAT_CSV:
        text_printf(out, "%.3f,%.3f,%.3f,%llu", ms(h->least), ms(h->most), histogram_mean(h) / 1000,
                    (unsigned long long)h->n);
        break;
    default:
        text_printf(
            out,
            "min: %.3f, max: %.3f, avg: %.3f, p50: %.3f, p95: %.3f, p99: %.3f, p99.9: %.3f ms (%llu samples)",
            ms(h->least), ms(h->most), histogram_mean(h) / 1000, ms(histogram_percentile(h, 50)),
            ms(histogram_percentile(h, 95)), ms(histogram_percentile(h, 99)),
            ms(histogram_percentile(h, 99.9)), (unsigned long long)h->n);
    }
}

static kvc_status sample_once(conversation *c, histogram *h, kvc_error *error)
{
    const char *const ping[] = { "PING", NULL };
    double before = stopwatch_seconds();
    kvc_reply *reply = NULL;
    kvc_status status = conversation_ask_strings(c, ping, &reply, error);

    if (status == KVC_OK)
        histogram_add(h, (uint64_t)((stopwatch_seconds() - before) * 1e6));
    kvc_reply_free(reply);
    return status;
}

kvc_status latency_sample(conversation *c, double seconds, histogram *h, kvc_error *error)
{
    double until = stopwatch_seconds() + seconds;
    kvc_status status = KVC_OK;

    while (status == KVC_OK && stopwatch_seconds() < until && !interrupt_happened()) {
        status = sample_once(c, h, error);
        if (status == KVC_OK)
            interrupt_sleep(PAUSE_S);
    }
    return status;
}

static void print_summary(const settings *s, const histogram *h, double seconds, bool in_place)
{
    text out = { 0 };

    if (in_place)
        text_add_str(&out, "\r\x1b[K");
    add_summary(s, h, seconds, &out);
    if (!in_place)
        text_add_char(&out, '\n');
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    text_done(&out);
}

/* Ever the same line, until Ctrl-C. */
static kvc_status show_live(conversation *c, double window, kvc_error *error)
{
    double began = stopwatch_seconds(), until = began + window;
    histogram h = { 0 };
    kvc_status status = KVC_OK;

    while (status == KVC_OK && !interrupt_happened() && stopwatch_seconds() < until) {
        status = latency_sample(c, PAUSE_S * 10, &h, error);
        if (h.n)
            print_summary(c->settings, &h, stopwatch_seconds() - began, true);
    }
    putchar('\n');
    return status;
}

exit_status latency_run(conversation *c)
{
    const settings *s = c->settings;
    bool history = s->mode == MODE_LATENCY_HISTORY;
    bool live = s->stdout_is_terminal && s->format.kind == FORMAT_TERMINAL;
    double window = s->interval > 0 ? s->interval : history ? 15 : live ? 1e9 : 1;
    kvc_status status = KVC_OK;
    kvc_error error;

    for (long i = 0; status == KVC_OK && !interrupt_happened(); i++) {
        histogram h = { 0 };

        if (i > 0 && (!history || (s->count && i >= s->count)))
            break;
        if (live) {
            status = show_live(c, window, &error);
        } else {
            status = latency_sample(c, window, &h, &error);
            if (status == KVC_OK && h.n)
                print_summary(s, &h, window, false);
        }
    }
    if (interrupt_happened())
        return live ? EXIT_FINE : EXIT_INTERRUPTED;
    return status == KVC_OK ? EXIT_FINE : complain(exit_status_of(&error), "%s", error.message);
}
