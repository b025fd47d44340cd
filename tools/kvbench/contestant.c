/* SPDX-License-Identifier: MIT */
#include "contestant.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"

#define DEATH_PATIENCE 0.5  /* seconds that a server may take to die after its last reply */
#define START_PATIENCE 60.0 /* seconds until it must answer: generous, since it may run under valgrind */

int contestant_init(contestant *c, const char *name, protocol_kind kind, fault *f, const char *format, ...)
{
    va_list args;
    int len;

    memset(c, 0, sizeof *c);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->protocol = kind;
    va_start(args, format);
    len = vsnprintf(c->line, sizeof c->line, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof c->line)
        return fault_usage(f, "the command line of %s is longer than %zu bytes", name, sizeof c->line);
    for (char *at = c->line; *at;) {
        char *end = at + strcspn(at, " ");
        bool last = *end == '\0';

        *end = '\0';
        if (strcmp(at, "''") == 0)
            *at = '\0';
        else if (end == at)
            goto next; /* spaces in a row */
        if (c->word_count == CONTESTANT_WORDS)
            return fault_usage(f, "the command line of %s has more than %d words", name, CONTESTANT_WORDS);
        c->words[c->word_count++] = (size_t)(at - c->line);
    next:
        at = last ? end : end + 1;
    }
    return c->word_count ? 0 : fault_usage(f, "the command line of %s is empty", name);
}

int contestant_add(contestant *c, const char *word, fault *f)
{
    size_t last = c->words[c->word_count - 1], at = last + strlen(c->line + last) + 1;

    if (c->word_count == CONTESTANT_WORDS || at + strlen(word) >= sizeof c->line)
        return fault_usage(f, "the command line of %s has no room for %s", c->name, word);
    strcpy(c->line + at, word);
    c->words[c->word_count++] = at;
    return 0;
}

/* A copy of word with {port}, {tls-port} and {dir} replaced. NULL: out of memory. */
static char *substitute(const char *word, server *s, const char *dir)
{
    char *copy = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&copy, &size);

    if (!out)
        return NULL;
    while (*word) {
        if (strncmp(word, "{port}", 6) == 0) {
            fprintf(out, "%d", s->port);
            word += 6;
        } else if (strncmp(word, "{tls-port}", 10) == 0) {
            s->tls_port = free_port();
            fprintf(out, "%d", s->tls_port);
            word += 10;
        } else if (strncmp(word, "{dir}", 5) == 0) {
            fputs(dir, out);
            word += 5;
        } else {
            fputc(*word++, out);
        }
    }
    return fclose(out) ? NULL : copy;
}

/* Waits until the server answers, dies or has had time enough. */
static int await_answer(server *s, fault *f)
{
    double deadline = load_clock() + START_PATIENCE;

    for (;;) {
        int fd = load_connect(s->port), err = -1;

        if (fd >= 0) {
            err = load_ping(s->contestant->protocol, fd, START_PATIENCE, f);
            close(fd);
            if (err != LOAD_LATER)
                return err ? contestant_blame(s, f) : 0;
        }
        fault_set(f, "it does not %s on 127.0.0.1:%d after %g seconds", fd >= 0 ? "answer" : "listen",
                  s->port, START_PATIENCE);
        if (load_clock() > deadline || !process_alive(&s->process))
            return contestant_blame(s, f);
        poll(NULL, 0, 5);
    }
}

int contestant_start(const contestant *c, server *s, const char *dir, char *const wrapper[], fault *f)
{
    char *argv[CONTESTANT_WORDS * 2] = { 0 };
    unsigned wrapped = 0, n = 0;
    int err = 0;

    memset(s, 0, sizeof *s);
    s->contestant = c;
    s->port = free_port();
    if (s->port < 0)
        return fault_set(f, "no free port on 127.0.0.1");
    for (; wrapper && wrapper[wrapped] && wrapped < CONTESTANT_WORDS - 1; wrapped++)
        argv[wrapped] = wrapper[wrapped];
    for (; n < c->word_count && !err; n++) {
        argv[wrapped + n] = substitute(c->line + c->words[n], s, dir);
        if (!argv[wrapped + n])
            err = fault_set(f, "out of memory");
    }
    if (!err)
        err = process_start(&s->process, argv, dir, f);
    for (unsigned i = 0; i < n; i++)
        free(argv[wrapped + i]);
    if (err)
        return fault_prefix(f, "%s: ", c->name);
    err = await_answer(s, f);
    if (err)
        contestant_stop(s, 5);
    return err;
}

bool contestant_stop(server *s, double patience)
{
    return s->contestant && process_stop(&s->process, patience);
}

int contestant_blame(server *s, fault *f)
{
    int status;

    if (process_ended(&s->process, DEATH_PATIENCE)) {
        status = s->process.status;
        if (WIFSIGNALED(status))
            fault_set(f, "it died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            fault_set(f, "it ended with exit status %d", WEXITSTATUS(status));
    }
    process_explain(&s->process, f);
    return fault_prefix(f, "%s: ", s->contestant->name);
}
