/* server.c - child processes of a test, ended by their pid.
 *
 * A child asks the kernel to be killed when its parent dies, so that a test that crashes or is killed by a
 * timeout leaves nothing behind. It is ready when its socket accepts a connection and answers PING; until
 * then the parent looks every few milliseconds whether it has died instead.
 *
 * SPDX-License-Identifier: MIT */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "resp.h"

enum { args_max = 64, tick_ms = 5, patience_ms = 60000, program_patience_ms = 240000 };

struct server {
    pid_t pid;
    int port;   /* 0: unix socket only */
    bool ended; /* waited for already; then status is true */
    int status;
    bool failed; /* the directory stays */
    char *directory;
    char socket[PATH_MAX];
};

static void tick(void)
{
    struct timespec t = { .tv_nsec = tick_ms * 1000000L };

    nanosleep(&t, NULL);
}

/* ---- programs and directories ----------------------------------------------------------- */

/* What was found stays, and is found again. */
static const char *find_in_path(const char *name)
{
    static char *programs_found[16];
    static size_t count;
    char found[PATH_MAX];
    const char *path = getenv("PATH");

    for (size_t i = 0; i < count; i++)
        if (strcmp(strrchr(programs_found[i], '/') + 1, name) == 0)
            return programs_found[i];
    while (path && *path && count < sizeof programs_found / sizeof *programs_found) {
        size_t len = strcspn(path, ":");

        snprintf(found, sizeof found, "%.*s/%s", (int)len, path, name);
        if (access(found, X_OK) == 0)
            return programs_found[count++] = strdup(found);
        path += len + (path[len] == ':');
    }
    return NULL;
}

const char *server_program(const char *name)
{
    char variable[64] = "KV_";
    const char *value;
    size_t at = strlen(variable);

    for (; *name && at < sizeof variable - 1; at++, name++)
        variable[at] = *name == '-' ? '_' : (char)(*name >= 'a' && *name <= 'z' ? *name - 32 : *name);
    name -= at - 3;
    value = getenv(variable);
    if (value && *value)
        return access(value, X_OK) == 0 ? value : NULL;
    return find_in_path(name);
}

const char *oracle_program(void)
{
    static bool known, right;
    const char *program = server_program("redis-server");
    char line[256] = "";
    FILE *version;

    if (program && !known && setenv("KV_ORACLE", program, 1) == 0) {
        version = popen("\"$KV_ORACLE\" --version", "r");
        right = version && fgets(line, sizeof line, version) && strstr(line, "v=7.0.");
        if (version)
            pclose(version);
        known = true;
    }
    return program && right ? program : NULL;
}

char *new_directory(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;

    if (asprintf(&path, "%s/kvtest-XXXXXX", base && *base ? base : "/tmp") < 0 || !mkdtemp(path))
        abort();
    return path;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path) != 0 && errno != ENOENT;
}

void remove_directory(char *directory)
{
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(directory);
}

static char *file_text(const char *directory, const char *name)
{
    char path[PATH_MAX], *text = NULL;
    size_t size = 0, n;
    char buffer[4096];
    FILE *in, *out = open_memstream(&text, &size);

    snprintf(path, sizeof path, "%s/%s", directory, name);
    in = fopen(path, "r");
    while (in && (n = fread(buffer, 1, sizeof buffer, in)) > 0)
        fwrite(buffer, 1, n, out);
    if (in)
        fclose(in);
    fclose(out);
    return text;
}

/* ---- children --------------------------------------------------------------------------- */

/* Starts argv in directory, its output going to the file "log" there. */
static pid_t start_child(const char *const argv[], const char *directory)
{
    pid_t parent = getpid(), pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int log, null;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || chdir(directory) != 0)
            _exit(126);
        log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        null = open("/dev/null", O_RDONLY);
        if (log < 0 || null < 0)
            _exit(126);
        dup2(null, 0);
        dup2(log, 1);
        dup2(log, 2);
        execv(argv[0], (char *const *)argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

/* Waits at most patience for pid; its wait status, or -1. */
static int wait_child(pid_t pid, int patience)
{
    int status;

    for (int waited = 0; waited < patience; waited += tick_ms) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        tick();
    }
    return -1;
}

int run_program(const char *const argv[], const char *directory, char **ret_output)
{
    char log[PATH_MAX];
    pid_t pid;
    int status;

    snprintf(log, sizeof log, "%s/log", directory);
    unlink(log);
    pid = start_child(argv, directory);
    if (pid < 0)
        return -1;
    status = wait_child(pid, program_patience_ms);
    if (status == -1) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    *ret_output = file_text(directory, "log");
    if (status == -1)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- servers ---------------------------------------------------------------------------- */

/* loading: that it is still loading is an answer, too. */
static bool answers(const server *s, bool loading)
{
    conn *c = conn_open_unix(s->socket);
    kv_slice ping = KV_STR("PING");
    reply *r = c ? conn_ask(c, 1, &ping) : NULL;
    /* -NOAUTH is an answer, too. */
    bool yes = r && (loading || !(r->type == '-' && strncmp(r->text, "LOADING", 7) == 0));

    reply_free(r);
    conn_close(c);
    return yes;
}

static bool wait_until_ready(server *s, bool loading)
{
    for (int waited = 0; waited < patience_ms; waited += tick_ms) {
        if (answers(s, loading))
            return true;
        if (waitpid(s->pid, &s->status, WNOHANG) == s->pid) {
            s->ended = true;
            return false;
        }
        tick();
    }
    return false;
}

static server *start(const char *program, const char *const args[], int port, bool loading)
{
    const char *argv[args_max] = { program };
    char port_text[16];
    server *s = calloc(1, sizeof *s);
    size_t n = 1;

    if (!s)
        abort();
    s->port = port;
    s->directory = new_directory();
    snprintf(s->socket, sizeof s->socket, "%s/socket", s->directory);
    snprintf(port_text, sizeof port_text, "%d", port);
    if (args && args[0] && args[0][0] != '-')
        argv[n++] = *args++; /* a configuration file */
    argv[n++] = "--port";
    argv[n++] = port_text;
    argv[n++] = "--unixsocket";
    argv[n++] = s->socket;
    argv[n++] = "--save";
    argv[n++] = "";
    argv[n++] = "--dir";
    argv[n++] = s->directory;
    for (size_t i = 0; args && args[i] && n < args_max - 1; i++)
        argv[n++] = args[i];
    s->pid = start_child(argv, s->directory);
    if (s->pid > 0 && wait_until_ready(s, loading))
        return s;
    fprintf(stderr, "%s did not start\n", program);
    s->failed = true;
    server_stop(s);
    return NULL;
}

server *server_start(const char *program, const char *const args[])
{
    return start(program, args, 0, false);
}

server *server_start_loading(const char *program, const char *const args[])
{
    return start(program, args, 0, true);
}

server *server_start_tcp(const char *program, const char *const args[])
{
    return start(program, args, free_port(), false);
}

const char *server_socket(const server *s)
{
    return s->socket;
}

int server_port(const server *s)
{
    return s->port;
}

pid_t server_pid(const server *s)
{
    return s->pid;
}

const char *server_directory(const server *s)
{
    return s->directory;
}

char *server_log(const server *s)
{
    return file_text(s->directory, "log");
}

int server_wait(server *s)
{
    if (!s->ended) {
        int status = wait_child(s->pid, patience_ms);

        if (status == -1)
            return -1;
        s->ended = true;
        s->status = status;
    }
    return s->status;
}

bool server_kill(server *s)
{
    kill(s->pid, SIGKILL);
    if (server_wait(s) != SIGKILL)
        return server_stop(s);
    s->status = 0; /* as it should */
    server_stop(s);
    return true;
}

bool server_stop(server *s)
{
    bool well;

    if (!s)
        return true;
    if (!s->ended && s->pid > 0) {
        kill(s->pid, SIGTERM);
        if (server_wait(s) == -1) {
            kill(s->pid, SIGKILL);
            waitpid(s->pid, &s->status, 0);
        }
    }
    well = s->status == 0 && s->pid > 0 && !s->failed;
    if (well) {
        remove_directory(s->directory);
    } else {
        char *log = server_log(s);

        fprintf(stderr, "server %ld ended with wait status 0x%x; %s/log:\n%s\n", (long)s->pid,
                (unsigned)s->status, s->directory, log);
        free(log);
        free(s->directory);
    }
    free(s);
    return well;
}

void server_forget(server *s)
{
    if (s->ended)
        s->status = 0;
    server_stop(s);
}
