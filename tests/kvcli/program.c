/* program.c - SPDX-License-Identifier: MIT */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, SILENCE_MS = 100 };

static char *home;

const char *program_or_skip(const char *name)
{
    const char *path = server_program(name);

    if (!path) {
        fprintf(stderr, "%s is not installed\n", name);
        exit(77);
    }
    return path;
}

void program_enter_home(void)
{
    static const char *const others[] = {
        "KVCLI_AUTH",      "REDISCLI_AUTH", "KVCLI_CONFIG", "KVCLI_HISTFILE", "REDISCLI_HISTFILE",
        "XDG_CONFIG_HOME", "KVCLI_PAGER",   "PAGER",        "NO_COLOR",       "FAKETTY"
    };

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        unsetenv(others[i]);
    home = new_directory();
    setenv("HOME", home, 1);
    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
}

void program_leave_home(void)
{
    remove_directory(home);
    home = NULL;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int exit_status_of_child(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- in pipes ---- */

typedef struct grown {
    char *data;
    size_t len;
} grown;

/* Adds what fd has; false at its end. */
static bool grow(grown *g, int fd)
{
    char buffer[65536];
    ssize_t n = read(fd, buffer, sizeof buffer);

    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    g->data = realloc(g->data, g->len + (size_t)n + 1);
    assert_non_null(g->data);
    memcpy(g->data + g->len, buffer, (size_t)n);
    g->len += (size_t)n;
    g->data[g->len] = 0;
    return true;
}

static pid_t start(const char *const argv[], int pipes[3][2])
{
    pid_t pid;

    for (int i = 0; i < 3; i++)
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pipes[0][0], 0);
        dup2(pipes[1][1], 1);
        dup2(pipes[2][1], 2);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(pipes[0][0]);
    close(pipes[1][1]);
    close(pipes[2][1]);
    return pid;
}

/* Writes what the pipe takes; closes it after the last byte, or when nobody reads any more. */
static void feed(int *fd, const char **input, size_t *left)
{
    ssize_t n = *left ? write(*fd, *input, *left) : 0;

    if (n > 0) {
        *input += n;
        *left -= (size_t)n;
    }
    if (*left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(*fd);
        *fd = -1;
    }
}

static outcome run(const char *input, const char *const argv[], const char *signal_text, int signal_number)
{
    int64_t until = now_ms() + PATIENCE_MS;
    size_t left = strlen(input);
    grown out = { 0 }, err = { 0 };
    int pipes[3][2], in_fd;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    pid_t pid = start(argv, pipes);
    bool out_open = true, err_open = true;

    in_fd = pipes[0][1];
    fcntl(in_fd, F_SETFL, O_NONBLOCK);
    while (out_open || err_open) {
        struct pollfd fds[3] = { { .fd = out_open ? pipes[1][0] : -1, .events = POLLIN },
                                 { .fd = err_open ? pipes[2][0] : -1, .events = POLLIN },
                                 { .fd = signal_text ? -1 : in_fd, .events = POLLOUT } };
        int64_t patience = until - now_ms();

        if (patience <= 0 || poll(fds, 3, (int)patience) == 0) {
            kill(pid, SIGKILL);
            exit_status_of_child(pid);
            fail_msg("%s did not end; so far it said:\n%s%s", argv[0], out.data ? out.data : "",
                     err.data ? err.data : "");
        }
        if (fds[0].revents)
            out_open = grow(&out, pipes[1][0]);
        if (fds[1].revents)
            err_open = grow(&err, pipes[2][0]);
        if (fds[2].revents)
            feed(&in_fd, &input, &left);
        if (signal_text && out.data && strstr(out.data, signal_text)) {
            kill(pid, signal_number);
            signal_text = NULL;
        }
    }
    if (in_fd >= 0)
        close(in_fd);
    close(pipes[1][0]);
    close(pipes[2][0]);
    signal(SIGPIPE, before);
    return (outcome){ .status = exit_status_of_child(pid),
                      .out = out.data ? out.data : strdup(""),
                      .err = err.data ? err.data : strdup(""),
                      .out_len = out.len };
}

outcome program_run(const char *input, const char *const argv[])
{
    return run(input, argv, NULL, 0);
}

outcome program_run_signalled(const char *const argv[], const char *text, int signal_number)
{
    return run("", argv, text, signal_number);
}

void outcome_done(outcome *o)
{
    free(o->out);
    free(o->err);
}

void program_ends(const char *file, int line, int status, const char *out, const char *err, const char *input,
                  const char *const argv[])
{
    outcome o = program_run(input, argv);
    bool fine = o.status == status && (!out || strcmp(o.out, out) == 0) && (!err || strstr(o.err, err));

    if (!fine) {
        print_error("%s:%d: status %d, expected %d; stdout:\n%s\nstderr:\n%s\n", file, line, o.status, status,
                    o.out, o.err);
        outcome_done(&o);
        _fail(file, line);
    }
    outcome_done(&o);
}

/* ---- on a terminal ---- */

struct terminal {
    pid_t pid;
    int fd;
    grown screen; /* what was written since the last terminal_sees */
};

terminal *terminal_open_program(const char *const argv[])
{
    struct winsize size = { .ws_row = 30, .ws_col = 100 };
    terminal *t = calloc(1, sizeof *t);

    assert_non_null(t);
    t->pid = forkpty(&t->fd, NULL, NULL, &size);
    assert_true(t->pid >= 0);
    if (t->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    return t;
}

void terminal_types(terminal *t, const char *keys)
{
    size_t len = strlen(keys);

    assert_int_equal(write(t->fd, keys, len), (ssize_t)len);
}

/* Reads once; false when nothing came in time, or it ended. */
static bool take(terminal *t, int patience_ms)
{
    struct pollfd pfd = { .fd = t->fd, .events = POLLIN };

    return poll(&pfd, 1, patience_ms) == 1 && grow(&t->screen, t->fd);
}

void terminal_sees_at(terminal *t, const char *file, int line, const char *text)
{
    int64_t until = now_ms() + PATIENCE_MS;
    const char *at;

    while (!(at = t->screen.data ? strstr(t->screen.data, text) : NULL)) {
        if (now_ms() >= until || !take(t, (int)(until - now_ms()))) {
            print_error("%s:%d: \"%s\" did not appear in:\n%s\n", file, line, text,
                        t->screen.data ? t->screen.data : "");
            kill(t->pid, SIGKILL);
            _fail(file, line);
            return;
        }
    }
    at += strlen(text);
    t->screen.len -= (size_t)(at - t->screen.data);
    memmove(t->screen.data, at, t->screen.len + 1);
}

void terminal_sees_not(terminal *t, const char *text)
{
    while (take(t, SILENCE_MS))
        ;
    if (t->screen.data && strstr(t->screen.data, text))
        fail_msg("\"%s\" appeared in:\n%s", text, t->screen.data);
}

void terminal_reads_keys(terminal *t)
{
    const struct timespec moment = { .tv_nsec = 1000 * 1000 };
    int64_t until = now_ms() + PATIENCE_MS;
    struct termios modes;

    while (tcgetattr(t->fd, &modes) == 0 && (modes.c_lflag & ICANON)) {
        if (now_ms() >= until)
            fail_msg("the terminal stays as it is");
        nanosleep(&moment, NULL);
    }
}

int terminal_close(terminal *t)
{
    int64_t until = now_ms() + PATIENCE_MS;
    int status;

    while (now_ms() < until && take(t, (int)(until - now_ms())))
        ;
    if (now_ms() >= until)
        kill(t->pid, SIGKILL);
    status = exit_status_of_child(t->pid);
    close(t->fd);
    free(t->screen.data);
    free(t);
    return status;
}
