/* main.c - kvcli: what was asked for, done. SPDX-License-Identifier: MIT */
#include <locale.h>

#include "commands.h"
#include "doctor.h"
#include "interrupt.h"
#include "key_census.h"
#include "latency.h"
#include "peek.h"
#include "pipe.h"
#include "print.h"
#include "rdb_fetch.h"
#include "repl.h"
#include "scan.h"
#include "stat.h"
#include "top.h"
#include "watch.h"

static exit_status run_mode(conversation *c)
{
    const settings *s = c->settings;

    switch (s->mode) {
    case MODE_PIPE:
        return pipe_run(c);
    case MODE_SCAN:
        return scan_run(c);
    case MODE_BIGKEYS:
    case MODE_MEMKEYS:
    case MODE_HOTKEYS:
        return key_census_run(c);
    case MODE_LATENCY:
    case MODE_LATENCY_HISTORY:
        return latency_run(c);
    case MODE_STAT:
        return stat_run(c);
    case MODE_RDB:
        return rdb_fetch_run(c);
    case MODE_DOCTOR:
        return doctor_run(c);
    case MODE_TOP:
        return top_run(c);
    case MODE_PEEK:
        return peek_show(c, s->command.items[0]);
    case MODE_WATCH:
        return watch_run(c);
    default:
        return s->command.n || s->eval_file ? commands_run_given(c) : commands_run_stdin(c);
    }
}

/* At a prompt a server that is not there is a reason to say so, not to end. */
static bool is_interactive(const settings *s)
{
    return s->mode == MODE_COMMANDS && !s->command.n && !s->eval_file && s->stdin_is_terminal;
}

static exit_status run(settings *s)
{
    conversation c = { .settings = s };
    exit_status status = EXIT_FINE;
    kvc_error error;

    if (conversation_open(&c, &error) != KVC_OK)
        status = complain(exit_status_of(&error), "%s", error.message);
    if (is_interactive(s)) {
        status = repl_run(&c);
    } else if (status == EXIT_FINE) {
        interrupt_catch();
        status = run_mode(&c);
    }
    conversation_done(&c);
    if (status == EXIT_SERVER && s->exit_zero)
        status = EXIT_FINE;
    return exit_status_first(status, print_flush());
}

int main(int argc, char **argv)
{
    exit_status status = EXIT_FINE;
    settings s;

    setlocale(LC_CTYPE, "");
    settings_init(&s);
    if (settings_read(&s, argc, argv, &status))
        status = run(&s);
    settings_done(&s);
    return status;
}
