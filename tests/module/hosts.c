/* hosts.c - see hosts.h. SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { options_max = 40, skipped = 77 };

static const char *program; /* of the server under test */

/* ---- which servers ---- */

bool hosts_choose(int argc, char **argv)
{
    program = argc > 1 ? argv[1] : NULL;
    return program != NULL;
}

/* Runs the program again for one server; its exit status. */
static int run_on(const char *self, const char *server_path)
{
    char *const argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)server_path, NULL };
    int status = -1;
    pid_t pid;

    printf("---- %s\n", server_path);
    fflush(NULL);
    if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int hosts_run_each(const char *self)
{
    const char *found = server_program("redis-server"), *more = getenv("KV_MODULE_SERVERS");
    char path[4096], me[4096];
    int failed = 0, ran = 0;

    if (!getenv("KV_MODULE") || !realpath(self, me)) {
        fprintf(stderr, "the module was not built\n");
        return skipped;
    }
    if (found) {
        failed += run_on(me, found) != 0;
        ran++;
    }
    while (more && *more) {
        size_t len = strcspn(more, ":");

        snprintf(path, sizeof path, "%.*s", (int)len, more);
        more += len + (more[len] == ':');
        failed += run_on(me, path) != 0;
        ran++;
    }
    return failed ? 1 : ran ? 0 : skipped;
}

/* ---- starting ---- */

server *host_start(const char *const options[])
{
    const char *all[options_max] = {
        "--loadmodule",
        getenv("KV_MODULE"),
        "--save",
        "",
        "--enable-debug-command",
        "yes",
        "--repl-diskless-sync-delay",
        "0",
        "--shutdown-timeout",
        "0",
    };
    size_t n = 10;
    server *s;

    while (*options && n < options_max - 1)
        all[n++] = *options++;
    all[n] = NULL;
    s = server_start_tcp(program, all);
    if (!s)
        fail_msg("the server does not start");
    return s;
}

server *host_start_in(const char *directory, const char *const options[])
{
    const char *all[options_max] = { "--dir", directory };
    size_t n = 2;

    while (*options && n < options_max - 1)
        all[n++] = *options++;
    all[n] = NULL;
    return host_start(all);
}

server *host_start_reference(const char *directory, const char *const options[])
{
    const char *tested = program;
    server *s = NULL;

    program = server_program("redis-server");
    if (program && strcmp(program, tested) != 0)
        s = host_start_in(directory, options);
    program = tested;
    return s;
}

conn *host_connect(const server *s)
{
    conn *c = conn_open_unix(server_socket(s));

    if (!c)
        fail_msg("no connection");
    return c;
}

/* ---- asking ---- */

char *host_say(conn *c, const char *const args[])
{
    char *text = conn_ask_text(c, args);

    if (!text)
        fail_msg("%s: %s", args[0], conn_trouble(c));
    return text;
}

static bool as_wanted(const char *wanted, const char *got)
{
    size_t len = strlen(wanted);

    if (len > 3 && strcmp(wanted + len - 3, "...") == 0)
        return strncmp(wanted, got, len - 3) == 0;
    return strcmp(wanted, got) == 0;
}

static void fail_at(const char *file, int line, const char *const args[], const char *wanted, const char *got)
{
    print_error("%s:%d:", file, line);
    for (size_t i = 0; args[i]; i++)
        print_error(" %.60s", args[i]);
    print_error("\n  expected %s\n  got      %.2000s\n", wanted, got);
    _fail(file, line);
}

void host_expect(conn *c, const char *file, int line, const char *text, const char *const args[])
{
    char *got = host_say(c, args);

    if (!as_wanted(text, got))
        fail_at(file, line, args, text, got);
    free(got);
}

void host_wait(conn *c, const char *file, int line, const char *text, const char *const args[])
{
    const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };
    char *got = NULL;

    for (int i = 0; i < 2000; i++) {
        free(got);
        got = host_say(c, args);
        if (as_wanted(text, got)) {
            free(got);
            return;
        }
        nanosleep(&moment, NULL);
    }
    fail_at(file, line, args, text, got);
}

long long host_info(conn *c, const char *section, const char *name)
{
    char *text = say(c, "INFO", section), *at = text;
    size_t len = strlen(name);
    long long number = -1;

    while ((at = strstr(at, name)) != NULL) {
        if (at[len] == ':' && at != text && strncmp(at - 4, "\\x0a", 4) == 0) {
            number = atoll(at + len + 1);
            break;
        }
        at += len;
    }
    free(text);
    if (number < 0)
        fail_msg("no %s in INFO %s", name, section);
    return number;
}
