/* progress.c - SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>

#include "stopwatch.h"

#define INTERVAL_S 0.1

enum { BAR_WIDTH = 24 };

void progress_number(double n, text *out)
{
    static const char suffixes[] = " kMGTP";
    int at = 0;

    while (n >= 999.95 && at < 5) {
        n /= 1000;
        at++;
    }
    if (at == 0)
        text_printf(out, "%.0f", n);
    else
        text_printf(out, "%.1f%c", n, suffixes[at]);
}

static void add_bar(double part, text *out)
{
    int filled = (int)(part * BAR_WIDTH);

    text_add_char(out, '[');
    for (int i = 0; i < BAR_WIDTH; i++)
        text_add_char(out, i < filled ? '#' : ' ');
    text_printf(out, "] %3d%%  ", (int)(part * 100));
}

void progress_line(const progress *p, double seconds, text *out)
{
    double rate = seconds > 0 ? p->done / seconds : 0;
    /* What was counted at the beginning may have grown meanwhile. */
    double part = p->total > 0 ? (p->done < p->total ? p->done / p->total : 1) : 0;

    if (p->total > 0)
        add_bar(part, out);
    progress_number(p->done, out);
    text_printf(out, " %s  ", p->unit);
    progress_number(rate, out);
    text_add_str(out, "/s");
    if (p->total > 0 && rate > 0) {
        long left = (long)((p->total - p->total * part) / rate + 0.5);

        text_printf(out, "  ETA %ld:%02ld", left / 60, left % 60);
    }
}

void progress_begin(progress *p, const settings *s, const char *unit, double total)
{
    *p = (progress){ .shown = s->stderr_is_terminal, .unit = unit, .total = total };
    p->began = stopwatch_seconds();
    p->next = p->began + INTERVAL_S;
}

void progress_set(progress *p, double done)
{
    text line = { 0 };
    double now;

    p->done = done;
    if (!p->shown || (now = stopwatch_seconds()) < p->next)
        return;
    p->next = now + INTERVAL_S;
    progress_line(p, now - p->began, &line);
    fprintf(stderr, "\r\x1b[K%s", text_str(&line));
    fflush(stderr);
    p->drawn = true;
    text_done(&line);
}

void progress_wipe(progress *p)
{
    if (p->drawn) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
    }
    p->drawn = false;
}

void progress_end(progress *p)
{
    progress_wipe(p);
    p->shown = false;
}
