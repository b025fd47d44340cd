/* main.c - kvserver's start: options, configuration, log, process, server.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aof_log.h"
#include "fault.h"
#include "server.h"
#include "tls.h"

static const char usage[] =
    "Usage: kvserver [/path/to/kv.conf] [--directive value ...] [-]\n"
    "       kvserver -                    read the configuration from standard input\n"
    "       kvserver --check-config ...   check the configuration and exit\n"
    "       kvserver --check-log <path>   check a log of changes: its directory, its manifest, or one of its "
    "files\n"
    "       kvserver --repair <path>      the same, and cut off the bad tail of the last file\n"
    "       kvserver -v | --version\n"
    "       kvserver -h | --help\n"
    "\n"
    "The configuration is that of Redis: each directive of redis.conf is also an option. Beyond it:\n"
    "       --threads n                   event loops; 0: as many as there are cores (the default)\n"
    "       --sharing sharded|mutex|actor how connections share the state (sharded)\n"
    "       --siphash yes|no              hash keys with SipHash (no: XXH3 with a random secret)\n"
    "       --metrics-port <n>            /metrics (Prometheus) and /healthz over HTTP at that port; 0: no "
    "(0)\n"
    "       --metrics-bind <address>      where it listens (127.0.0.1)\n"
    "       --lockstat yes|no             measure waits for locks, for LOCKSTAT and INFO contention (yes)\n"
    "       --lockstat-max-keys <n>       of so many keys (64)\n"
    "\n"
    "Examples:\n"
    "       kvserver\n"
    "       kvserver --port 7777 --threads 1\n"
    "       kvserver /etc/redis/redis.conf --loglevel verbose\n"
    "       echo 'maxmemory 128mb' | kvserver -\n";

static bool is_option(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* Options that only print. Returns whether there was one. */
static bool print_and_exit(int argc, char *const argv[])
{
    if (argc != 2)
        return false;
    if (is_option(argv[1], "-v", "--version")) {
        printf("kvserver v=" KV_VERSION " bits=%zu malloc=libc redis=" SERVER_REDIS_VERSION "\n",
               sizeof(void *) * 8);
        return true;
    }
    if (is_option(argv[1], "-h", "--help")) {
        fputs(usage, stdout);
        return true;
    }
    return false;
}

static int fail(server *s, const char *what, const char *path)
{
    log_write(&s->log, CONFIG_LOG_WARNING, "%s '%s': %s", what, path ? path : "", strerror(errno));
    return -1;
}

static int change_directory(server *s, config *c)
{
    char *path = config_text(c, CONFIG_ID_dir);
    int result = path && chdir(path) == 0 ? 0 : fail(s, "Can't chdir to", path);

    free(path);
    return result;
}

/* Into the background: a child goes on, in its own session, without a terminal. */
static int daemonize(server *s)
{
    pid_t child = fork();
    int null;

    if (child < 0)
        return fail(s, "Can't fork for", "daemonize");
    if (child > 0)
        _exit(0);
    setsid();
    null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    return 0;
}

/* The pidfile's path: what the configuration says, a default for daemons, or "". */
static char *pidfile_path(config *c)
{
    char *path = config_text(c, CONFIG_ID_pidfile);

    if (path && !*path && config_number(c, CONFIG_ID_daemonize)) {
        free(path);
        path = strdup("/var/run/kvserver.pid");
    }
    return path;
}

/* As Redis: a pidfile that cannot be written is worth a line in the log, not the service. */
static void write_pidfile(server *s, const char *path)
{
    FILE *file;

    if (!path || !*path)
        return;
    file = fopen(path, "we");
    if (!file) {
        log_write(&s->log, CONFIG_LOG_NOTICE, "Failed to write PID file '%s': %s", path, strerror(errno));
        return;
    }
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

static void warn(void *arg, const char *text)
{
    server *s = arg;

    log_write(&s->log, CONFIG_LOG_WARNING, "%s", text);
}

/* With the configuration read. Returns the exit status. */
static int serve(server *s, config *c)
{
    char *pidfile = NULL;
    int result = -1;

    inherited_take(&s->listener.inherited);
    if (change_directory(s, c) != 0)
        return 1;
    if (log_open(&s->log, c) != 0) {
        fprintf(stderr, "Can't open the log file: %s\n", strerror(errno));
        return 1;
    }
    supervise_open(s);
    if (config_number(c, CONFIG_ID_daemonize) && s->supervision.by == SUPERVISOR_NONE && daemonize(s) != 0)
        return 1;
    log_write(&s->log, CONFIG_LOG_NOTICE, "kvserver " KV_VERSION " starting, bits=%zu, pid=%d",
              sizeof(void *) * 8, (int)getpid());
    log_write(&s->log, CONFIG_LOG_NOTICE, "%s",
              config_file(c) ? "Configuration loaded" : "No config file, using the defaults");
    config_each_warning(c, warn, s);
    pidfile = pidfile_path(c);
    s->log.role = 'M';
    if (server_init(s, c) == 0) {
        write_pidfile(s, pidfile);
        log_write(&s->log, CONFIG_LOG_NOTICE, "Running mode=standalone, port=%d, threads=%d.",
                  (int)config_number(c, CONFIG_ID_port), s->worker_count);
        result = server_run(s);
    }
    server_done(s);
    if (result == 0)
        log_write(&s->log, CONFIG_LOG_WARNING, "kvserver is now ready to exit, bye bye...");
    if (pidfile && *pidfile)
        unlink(pidfile);
    free(pidfile);
    return result == 0 ? 0 : 1;
}

static void find_executable(server *s)
{
    ssize_t len = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);

    s->executable[len > 0 ? len : 0] = '\0';
}

static void print_line(void *arg, const char *text)
{
    fprintf(arg, "%s\n", text);
}

/* --check-config: all mistakes, one a line, and what a start would warn of. Returns the exit status. */
static int check(config *c, int argc, char *const argv[])
{
    int mistakes = config_check(c, argc, argv, print_line, stderr);
    tls_context *context = NULL;
    config_error error;

    if (!mistakes && config_number(c, CONFIG_ID_tls_port) && tls_context_new(c, &context, &error) != 0) {
        print_line(stderr, error.text);
        mistakes++;
    }
    tls_context_unref(context);
    if (mistakes) {
        fprintf(stderr, "The configuration has %d mistake%s\n", mistakes, mistakes == 1 ? "" : "s");
        return 1;
    }
    config_each_warning(c, print_line, stdout);
    puts("The configuration is valid");
    return 0;
}

static void print_finding(void *arg, aof_saying how, const char *text)
{
    (void)arg;
    fprintf(how == AOF_WARNING ? stderr : stdout, "%s\n", text);
}

/* --check-log and --repair. Returns whether it was one of them. */
static bool check_log(int argc, char *const argv[], int *ret_status)
{
    bool repair = argc > 1 && strcmp(argv[1], "--repair") == 0;

    if (argc < 2 || (!repair && strcmp(argv[1], "--check-log") != 0))
        return false;
    if (argc == 3)
        *ret_status = aof_check(argv[2], repair, print_finding, NULL);
    else
        fprintf(stderr, "Usage: kvserver %s <path>\n", argv[1]);
    return true;
}

int main(int argc, char *argv[])
{
    bool check_only = argc > 1 && strcmp(argv[1], "--check-config") == 0;
    server *s = calloc(1, sizeof *s);
    config *c = config_new();
    config_error error;
    int status = 1;

    if (print_and_exit(argc, argv)) {
        status = 0;
        goto out;
    }
    if (check_log(argc, argv, &status))
        goto out;
    if (!s || !c) {
        fprintf(stderr, "Out of memory\n");
        goto out;
    }
    title_take(&s->title, argc, argv);
    log_init(&s->log);
    s->faults = fault_plan_new(getenv("KV_FAULTS")); /* nothing, but in test builds */
    s->config = c;
    find_executable(s);
    if (check_only) {
        status = check(c, argc - 1, argv + 1);
        goto out;
    }
    if (config_load(c, argc, argv, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        goto out;
    }
    status = serve(s, c);
    log_done(&s->log);
out:
    config_free(c);
    fault_plan_free(s ? s->faults : NULL);
    free(s);
    return status;
}
