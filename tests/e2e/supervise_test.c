/* supervise_test.c - the test plays systemd: it hears what kvserver says of itself, and holds the listening sockets.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "e2e.h"

/* ---- what it says ---- */

/* A socket that NOTIFY_SOCKET names; name as there. */
static int hear(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = conn_patience_ms / 1000 };
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_true(len < sizeof address.sun_path);
    memcpy(address.sun_path, name, len);
    if (*name == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(
        bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

/* The next message but WATCHDOG=1 begins with text, and holds more. */
static void hears(int fd, const char *text, const char *more)
{
    char said[512];
    ssize_t n;

    do {
        n = recv(fd, said, sizeof said - 1, 0);
        assert_true(n > 0);
        said[n] = '\0';
    } while (strncmp(said, "WATCHDOG=1", 10) == 0 && strncmp(text, "WATCHDOG=1", 10) != 0);
    if (strncmp(said, text, strlen(text)) != 0 || !strstr(said, more))
        fail_msg("not \"%s\", but \"%s\"", text, said);
}

static void systemd_is_told_of_start_reload_and_end(void **state)
{
    char *directory = new_directory(), name[256];

    (void)state;
    for (int abstract = 0; abstract <= 1; abstract++) {
        int fd;
        server *s;
        conn *c;
        char *info;

        snprintf(name, sizeof name, abstract ? "@%s/notify" : "%s/notify", directory);
        fd = hear(name);
        s = begin("--supervised", abstract ? "auto" : "systemd", "--daemonize", "yes");
        hears(fd, "READY=1\n", "STATUS=Ready to accept connections");
        c = connect_to(s);
        info = ask(c, "INFO", "server");
        assert_non_null(strstr(info, "process_supervised:systemd"));
        free(info);
        conn_close(c);
        kill(server_pid(s), SIGHUP);
        hears(fd, "RELOADING=1\n", "MONOTONIC_USEC=");
        hears(fd, "READY=1\n", "");
        kill(server_pid(s), SIGTERM);
        hears(fd, "STOPPING=1\n", "");
        assert_int_equal(server_wait(s), 0);
        end(s);
        unsetenv("NOTIFY_SOCKET");
        close(fd);
    }
    remove_directory(directory);
}

static void the_watchdog_hears_that_all_is_well(void **state)
{
    char *directory = new_directory(), name[256];
    server *s;
    int fd;

    (void)state;
    snprintf(name, sizeof name, "%s/notify", directory);
    fd = hear(name);
    setenv("WATCHDOG_USEC", "400000", 1);
    s = begin("--supervised", "systemd", "--threads", "3");
    hears(fd, "READY=1\n", "");
    for (int i = 0; i < 3; i++)
        hears(fd, "WATCHDOG=1\n", "");
    unsetenv("WATCHDOG_USEC");
    unsetenv("NOTIFY_SOCKET");
    end(s);
    close(fd);
    remove_directory(directory);
}

static void nobody_is_told_who_did_not_ask(void **state)
{
    char *directory = new_directory(), name[256], said[64];
    server *s;
    int fd;

    (void)state;
    snprintf(name, sizeof name, "%s/notify", directory);
    fd = hear(name);
    s = begin(NULL);
    end(s);
    assert_int_equal(recv(fd, said, sizeof said, MSG_DONTWAIT), -1);
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    remove_directory(directory);
}

/* ---- sockets that outlive it ---- */

static int listen_at_port(int *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 511), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int listen_at_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 511), 0);
    return fd;
}

/* kvserver with fds as its descriptors 3 and on, its log in directory. */
static pid_t activate(const char *directory, int count, const int fds[], const char *const options[])
{
    pid_t parent = getpid(), pid;
    const char *argv[32] = { kvserver_path() };
    char number[16];
    int spare[8], log, n = 1;

    for (; *options; options++)
        argv[n++] = *options;
    fflush(NULL);
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(directory) != 0)
        _exit(126);
    log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, 1);
    dup2(log, 2);
    for (int i = 0; i < count; i++) /* out of the way first */
        spare[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < count; i++)
        dup2(spare[i], 3 + i);
    snprintf(number, sizeof number, "%d", (int)getpid());
    setenv("LISTEN_PID", number, 1);
    snprintf(number, sizeof number, "%d", count);
    setenv("LISTEN_FDS", number, 1);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

/* Ends it, which must succeed with status 0. */
static void deactivate(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 2) {
        if (waited >= conn_patience_ms) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            fail_msg("it does not end");
        }
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    assert_int_equal(status, 0);
}

static char *log_of(const char *directory)
{
    char path[300];

    snprintf(path, sizeof path, "%s/log", directory);
    return read_file(path);
}

static void handed_sockets_are_used_and_others_closed(void **state)
{
    char *directory = new_directory(), path[256], port_text[16], *log, wanted[64];
    int port, other_port, fds[4];
    struct stat is;
    pid_t pid;
    conn *c;

    (void)state;
    snprintf(path, sizeof path, "%s/socket", directory);
    fds[0] = listen_at_port(&other_port);
    fds[1] = listen_at_port(&port);
    fds[2] = listen_at_path(path);
    fds[3] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(port_text, sizeof port_text, "%d", port);
    pid = activate(
        directory, 4, fds,
        (const char *const[]){ "--port", port_text, "--bind", "127.0.0.1", "--unixsocket", path, NULL });
    for (int i = 0; i < 2; i++) {
        c = i ? conn_open_unix(path) : conn_open_tcp("127.0.0.1", port);
        assert_non_null(c);
        says(c, "+PONG", "PING");
        conn_close(c);
    }
    deactivate(pid);
    assert_int_equal(stat(path, &is), 0); /* it is not ours to remove */
    log = log_of(directory);
    snprintf(wanted, sizeof wanted, "127.0.0.1:%d", other_port);
    assert_non_null(strstr(log, "Inherited descriptor 3 closed"));
    assert_non_null(strstr(log, wanted));
    assert_non_null(strstr(log, "Inherited descriptor 6 closed"));
    assert_null(strstr(log, "Inherited descriptor 4"));
    free(log);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    remove_directory(directory);
}

/* Clients that connect all the time. */
typedef struct crowd {
    struct sockaddr_in address;
    _Atomic bool over;
    _Atomic int refused, served, dropped;
} crowd;

static void *keep_connecting(void *arg)
{
    crowd *all = arg;
    struct timeval patience = { .tv_sec = conn_patience_ms / 1000 };

    while (!atomic_load(&all->over)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char said[16];

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&all->address, sizeof all->address) != 0)
            atomic_fetch_add(&all->refused, 1);
        else if (send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, said, sizeof said, 0) == 7)
            atomic_fetch_add(&all->served, 1);
        else
            atomic_fetch_add(&all->dropped, 1); /* it was stopped with our request under way */
        close(fd);
    }
    return NULL;
}

static void no_client_is_refused_during_a_restart(void **state)
{
    enum { restarts = 5, clients = 3 };
    char *directory = new_directory(), port_text[16];
    crowd all = { .address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
    pthread_t threads[clients];
    int port, fd = listen_at_port(&port);

    (void)state;
    all.address.sin_port = htons((uint16_t)port);
    snprintf(port_text, sizeof port_text, "%d", port);
    for (int i = 0; i < clients; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_connecting, &all), 0);
    for (int i = 0; i < restarts; i++) {
        int before = atomic_load(&all.served);
        pid_t pid = activate(directory, 1, &fd,
                             (const char *const[]){ "--port", port_text, "--bind", "127.0.0.1", "--threads",
                                                    "2", "--save", "", NULL });

        for (int waited = 0; atomic_load(&all.served) < before + 200 && waited < conn_patience_ms; waited++)
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_true(atomic_load(&all.served) >= before + 200);
        atomic_store(&all.over, i == restarts - 1);
        for (int j = 0; j < clients && i == restarts - 1; j++)
            pthread_join(threads[j], NULL);
        deactivate(pid);
    }
    close(fd);
    assert_int_equal(atomic_load(&all.refused), 0);
    assert_true(atomic_load(&all.dropped) <= restarts * clients);
    remove_directory(directory);
}

static void signals_report_and_reopen(void **state)
{
    server *s = begin("--logfile", "own.log");
    char path[300], moved[310];
    struct stat is;

    (void)state;
    snprintf(path, sizeof path, "%s/own.log", server_directory(s));
    snprintf(moved, sizeof moved, "%s.1", path);
    assert_int_equal(rename(path, moved), 0);
    kill(server_pid(s), SIGHUP);
    for (int waited = 0; stat(path, &is) != 0 && waited < conn_patience_ms; waited++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    kill(server_pid(s), SIGUSR1);
    for (int waited = 0; waited < conn_patience_ms; waited++) {
        if (stat(path, &is) == 0 && is.st_size > 1000)
            break;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    assert_true(is.st_size > 1000); /* all of INFO */
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(systemd_is_told_of_start_reload_and_end),
        cmocka_unit_test(the_watchdog_hears_that_all_is_well),
        cmocka_unit_test(nobody_is_told_who_did_not_ask),
        cmocka_unit_test(handed_sockets_are_used_and_others_closed),
        cmocka_unit_test(no_client_is_refused_during_a_restart),
        cmocka_unit_test(signals_report_and_reopen),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
