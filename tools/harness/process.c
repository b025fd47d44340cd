/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* In the child: never returns. The write end of the pipe closes when exec succeeds, and tells errno when not. */
static _Noreturn void child_main(char *const argv[], const char *dir, int log_fd, int error_fd)
{
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0 || chdir(dir))
        goto out;
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv);
out:;
    int cause = errno;

    if (write(error_fd, &cause, sizeof cause) < 0)
        _exit(126);
    _exit(127);
}

int process_start(process *p, char *const argv[], const char *dir, fault *f)
{
    static unsigned serial; /* only names the log files; processes are started by one thread */
    int pipe_fds[2], log_fd, cause = 0;
    ssize_t got;

    memset(p, 0, sizeof *p);
    snprintf(p->log, sizeof p->log, "%s/log.%u", dir, serial++);
    log_fd = open(p->log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return fault_set(f, "%s: %s", p->log, strerror(errno));
    if (pipe2(pipe_fds, O_CLOEXEC)) {
        close(log_fd);
        return fault_set(f, "pipe: %s", strerror(errno));
    }
    p->pid = fork();
    if (p->pid == 0)
        child_main(argv, dir, log_fd, pipe_fds[1]);
    close(log_fd);
    close(pipe_fds[1]);
    if (p->pid < 0) {
        close(pipe_fds[0]);
        p->pid = 0;
        return fault_set(f, "fork: %s", strerror(errno));
    }
    do
        got = read(pipe_fds[0], &cause, sizeof cause);
    while (got < 0 && errno == EINTR);
    close(pipe_fds[0]);
    if (got == 0)
        return 0;
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
    return fault_set(f, "cannot run %s: %s", argv[0], strerror(cause));
}

bool process_alive(process *p)
{
    if (p->pid == 0)
        return false;
    if (waitpid(p->pid, &p->status, WNOHANG) != p->pid)
        return true;
    p->pid = 0;
    return false;
}

double process_cpu(const process *p)
{
    struct timespec used;
    clockid_t clock;

    if (p->pid == 0 || clock_getcpuclockid(p->pid, &clock) || clock_gettime(clock, &used))
        return -1;
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

int process_memory(const process *p, size_t *ret_bytes, fault *f)
{
    char path[64], line[256];
    FILE *file;
    int err = -1;

    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)p->pid);
    file = fopen(path, "re");
    if (!file)
        return fault_set(f, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        unsigned long long kib;

        if (sscanf(line, "Rss: %llu kB", &kib) == 1) {
            *ret_bytes = (size_t)kib * 1024;
            err = 0;
        }
    }
    fclose(file);
    return err ? fault_set(f, "%s has no line Rss", path) : 0;
}

/* Waits for the end of the child: by its pidfd where the kernel has them, else by looking again and again. */
bool process_ended(process *p, double patience)
{
    if (p->pid == 0)
        return true;

    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    if (fd >= 0) {
        poll(&poll_fd, 1, (int)(patience * 1000));
        close(fd);
        return !process_alive(p);
    }
    for (double waited = 0; waited < patience; waited += 0.01) {
        if (!process_alive(p))
            return true;
        poll(NULL, 0, 10);
    }
    return !process_alive(p);
}

bool process_stop(process *p, double patience)
{
    if (!process_alive(p))
        return false;
    kill(p->pid, SIGTERM);
    return process_wait(p, patience);
}

bool process_wait(process *p, double patience)
{
    if (process_ended(p, patience))
        return true;
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
    return false;
}

pid_t process_child(const process *p)
{
    char path[96];
    long child = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)p->pid, (long)p->pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%ld", &child) != 1)
        child = 0;
    fclose(file);
    return (pid_t)child;
}

int process_explain(const process *p, fault *f)
{
    char tail[513];
    size_t len = strlen(f->text);
    FILE *file = fopen(p->log, "re");

    if (!file)
        return -1;
    if (fseek(file, -(long)(sizeof tail - 1), SEEK_END))
        rewind(file);

    size_t got = fread(tail, 1, sizeof tail - 1, file);

    fclose(file);
    while (got > 0 && (tail[got - 1] == '\n' || tail[got - 1] == '\r'))
        got--;
    tail[got] = '\0';
    if (got > 0)
        snprintf(f->text + len, sizeof f->text - len, "\nIt said last:\n%s", tail);
    return -1;
}

int process_make_dir(const char *name, char path[], size_t size, fault *f)
{
    const char *root = getenv("TMPDIR");
    int len = snprintf(path, size, "%s/%s.XXXXXX", root && *root ? root : "/tmp", name);

    if (len < 0 || (size_t)len >= size)
        return fault_set(f, "TMPDIR is too long");
    if (!mkdtemp(path))
        return fault_set(f, "%s: %s", path, strerror(errno));
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    remove(path);
    return 0;
}

void process_remove_dir(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
