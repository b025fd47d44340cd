/* launch.c - see launch.h. SPDX-License-Identifier: MIT */
#include "launch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "clock.h"
#include "port.h"

#define START_S 30 /* until it listens and has loaded what it must */
#define WRONG_S 1  /* of answers that are none to PING */

/* The next word of a command line, quotes taken away, placeholders replaced; NULL at its end, or when memory is out.
 * *ret_bad tells of a quote without an end. */
static char *next_word(const launch *l, const options *o, const char **at, bool *ret_bad)
{
    char *word = NULL, quote = 0;
    size_t size;
    FILE *out;

    *at += strspn(*at, " \t");
    if (!**at)
        return NULL;
    out = open_memstream(&word, &size);
    if (!out)
        return NULL;
    for (; **at && (quote || !strchr(" \t", **at)); ++*at) {
        if (**at == quote) {
            quote = 0;
        } else if (!quote && (**at == '\'' || **at == '"')) {
            quote = **at;
        } else if (strncmp(*at, "{port}", 6) == 0) {
            fprintf(out, "%llu", (unsigned long long)o->port);
            *at += 5;
        } else if (strncmp(*at, "{dir}", 5) == 0) {
            fputs(l->dir, out);
            *at += 4;
        } else if (strncmp(*at, "{socket}", 8) == 0) {
            fputs(l->socket, out);
            *at += 7;
        } else {
            fputc(**at, out);
        }
    }
    fclose(out);
    *ret_bad = quote != 0;
    return word;
}

int launch_init(launch *l, options *o, fault *f)
{
    const char *at = o->server_cmd;
    unsigned count = 0;
    bool bad = false;

    memset(l, 0, sizeof *l);
    if (process_make_dir("kvstress", l->dir, sizeof l->dir, f))
        return -1;
    snprintf(l->socket, sizeof l->socket, "%s/socket", l->dir);
    if (strstr(at, "{socket}"))
        o->socket = l->socket;
    if (!o->port) {
        int port = free_port();

        if (port < 0)
            return fault_set(f, "there is no free port");
        o->port = (uint64_t)port;
    }
    while (count < LAUNCH_WORDS && (l->words[count] = next_word(l, o, &at, &bad)))
        count++;
    if (bad || count == 0 || count == LAUNCH_WORDS)
        return fault_usage(f, "--server-cmd: %s",
                           bad          ? "a quote has no end"
                           : count == 0 ? "there is no command"
                                        : "more words than anyone needs");
    return 0;
}

bool launch_alive(launch *l, fault *f)
{
    if (!l->running)
        return false;
    if (process_alive(&l->process))
        return true;
    l->running = false;
    if (WIFSIGNALED(l->process.status))
        fault_set(f, "%s died: signal %d (%s)", l->words[0], WTERMSIG(l->process.status),
                  strsignal(WTERMSIG(l->process.status)));
    else
        fault_set(f, "%s ended by itself, with status %d", l->words[0], WEXITSTATUS(l->process.status));
    process_explain(&l->process, f);
    return false;
}

int launch_start(launch *l, const target *t, fault *f)
{
    int64_t end = clock_ns() + START_S * NS_PER_S, answered = INT64_MAX;
    fault last;

    if (process_start(&l->process, l->words, l->dir, f))
        return -1;
    l->running = true;
    while (clock_ns() < end) {
        if (!launch_alive(l, f))
            return -1;

        int ping = target_ping(t, 1, &last);

        if (ping == 0)
            return 0;
        if (ping > 0)
            answered = INT64_MAX;
        else if (answered == INT64_MAX)
            answered = clock_ns();
        else if (clock_ns() - answered > WRONG_S * NS_PER_S)
            break;
        poll(NULL, 0, 5);
    }
    fault_set(f, "%s was started, but %.700s", l->words[0], last.text);
    return process_explain(&l->process, f);
}

int launch_kill(launch *l, fault *f)
{
    if (!launch_alive(l, f))
        return -1;
    kill(l->process.pid, SIGKILL);
    waitpid(l->process.pid, &l->process.status, 0);
    l->process.pid = 0;
    l->running = false;
    return 0;
}

void launch_done(launch *l)
{
    if (l->running)
        process_stop(&l->process, 10);
    for (unsigned i = 0; i < LAUNCH_WORDS && l->words[i]; i++)
        free(l->words[i]);
    if (l->dir[0])
        process_remove_dir(l->dir);
}
