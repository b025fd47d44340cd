/* stat.c - SPDX-License-Identifier: MIT */
#include "stat.h"

#include <stdio.h>

#include "info.h"
#include "interrupt.h"
#include "print.h"

enum { LINES_PER_HEADING = 20 };

static void add_keys(void *arg, kvc_slice rest, kvc_slice value)
{
    double *keys = arg;

    (void)rest;
    *keys += info_field(value, "keys", 0);
}

static void print_line(const info *i, double *requests_before, bool first)
{
    double keys = 0, requests = info_number(i, "total_commands_processed", 0);
    text memory = { 0 }, rate = { 0 };

    info_each(i, "db", add_keys, &keys);
    info_text(i, "used_memory_human", "-", &memory);
    text_printf(&rate, "%.0f (+%.0f)", requests, first ? 0 : requests - *requests_before);
    *requests_before = requests;
    printf("%-10.0f %-8s %-8.0f %-8.0f %-19s %.0f\n", keys, text_str(&memory),
           info_number(i, "connected_clients", 0), info_number(i, "blocked_clients", 0), text_str(&rate),
           info_number(i, "total_connections_received", 0));
    text_done(&memory);
    text_done(&rate);
}

exit_status stat_run(conversation *c)
{
    const settings *s = c->settings;
    double pause = s->interval > 0 ? s->interval : 1, requests = 0;
    exit_status result = EXIT_FINE;
    info i = { 0 };

    for (long n = 0; result == EXIT_FINE && (!s->count || n < s->count); n++) {
        kvc_error error;

        if (n > 0 && !interrupt_sleep(pause))
            break;
        if (info_read(&i, c, NULL, &error) != KVC_OK) {
            result = interrupt_happened() ? EXIT_FINE : complain(exit_status_of(&error), "%s", error.message);
            break;
        }
        if (n % LINES_PER_HEADING == 0)
            printf("------- data ------ --------------------- load --------------------\n"
                   "keys       mem      clients  blocked  requests            connections\n");
        print_line(&i, &requests, n == 0);
        result = print_flush();
    }
    info_done(&i);
    return result;
}
