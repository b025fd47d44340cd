/* fanout.c - see fanout.h.
 *
 * One publisher, many subscribers of one channel, all on one event loop here. What counts is the server's own CPU time, divided
 * by messages times subscribers; a run ends when every subscriber has every byte of every message, which is counted, so
 * that none may be lost. Servers take turns, round after round.
 *
 * SPDX-License-Identifier: MIT */
#include "fanout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "median.h"
#include "server.h"

#define PAYLOAD_MAX 4096
#define MESSAGES    20000 /* of the pipelined row; a tenth of it without */
#define ROWS        2
#define ROUNDS_MAX  99

static const char subscribe[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n";
static const char subscribed[] = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";

typedef struct crowd {
    server server;
    int *fds;
    unsigned count, ready;
    int epoll_fd, publisher;
} crowd;

/* The threads are kvserver's workers. redis-server has one: its others would wait for work by spinning, and that is no
 * cost of a message. */
static void set_threads(options *o)
{
    static char words[512];

    snprintf(words, sizeof words, "--threads %llu %s", (unsigned long long)(o->threads ? o->threads : 2),
             o->kvserver_args ? o->kvserver_args : "");
    o->kvserver_args = words;
    o->threads = 1;
}

static void set_defaults(options *o)
{
    struct rlimit limit;

    set_threads(o);
    if (!o->connections)
        o->connections = 1000;
    if (!o->value_size)
        o->value_size = 16;
    if (!o->requests)
        o->requests = MESSAGES;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Reads exactly these bytes. */
static int expect(int fd, const char *text, fault *f)
{
    char got[128];
    size_t len = strlen(text), have = 0;

    while (have < len) {
        ssize_t n = recv(fd, got + have, len - have, 0);

        if (n <= 0)
            return fault_set(f, "no answer to SUBSCRIBE");
        have += (size_t)n;
    }
    return memcmp(got, text, len) == 0 ? 0 : fault_set(f, "it answers nonsense to SUBSCRIBE");
}

static int join(crowd *c, fault *f)
{
    struct epoll_event event = { .events = EPOLLIN };
    int fd = load_connect(c->server.port);

    if (fd < 0)
        return fault_set(f, "cannot connect to 127.0.0.1:%d: %s", c->server.port, strerror(errno));
    c->fds[c->ready++] = fd;
    if (send(fd, subscribe, sizeof subscribe - 1, MSG_NOSIGNAL) < 0 || expect(fd, subscribed, f))
        return f->text[0] ? -1 : fault_set(f, "it takes no SUBSCRIBE");
    event.data.fd = fd;
    return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? fault_set(f, "epoll: %s", strerror(errno)) : 0;
}

static int gather(crowd *c, const contestant *who, const char *dir, unsigned count, fault *f)
{
    *c = (crowd){ .count = count, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .publisher = -1 };
    c->fds = calloc(count, sizeof *c->fds);
    if (!c->fds || c->epoll_fd < 0)
        return fault_set(f, "out of memory for %u subscribers", count);
    if (contestant_start(who, &c->server, dir, NULL, f))
        return -1;
    for (unsigned i = 0; i < count; i++)
        if (join(c, f))
            return contestant_blame(&c->server, f);
    c->publisher = load_connect(c->server.port);
    return c->publisher < 0 ? fault_set(f, "cannot connect: %s", strerror(errno)) : 0;
}

static void scatter(crowd *c)
{
    for (unsigned i = 0; i < c->ready; i++)
        close(c->fds[i]);
    if (c->publisher >= 0)
        close(c->publisher);
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    free(c->fds);
    contestant_stop(&c->server, 10);
}

/* Takes what has come; adds the bytes. */
static int take(crowd *c, int wait_ms, uint64_t *bytes, fault *f)
{
    static char buffer[262144];
    struct epoll_event events[256];
    int n = epoll_wait(c->epoll_fd, events, 256, wait_ms);

    for (int i = 0; i < n; i++) {
        ssize_t got = recv(events[i].data.fd, buffer, sizeof buffer, MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno != EAGAIN))
            return fault_set(f, "it closed a subscriber");
        *bytes += got > 0 ? (uint64_t)got : 0;
    }
    return n == 0 && wait_ms > 0 ? fault_set(f, "messages are missing") : 0;
}

/* Sends `depth` messages at once, and lets all of them arrive. */
static int publish(crowd *c, const char *text, size_t text_len, unsigned depth, uint64_t message_bytes,
                   fault *f)
{
    uint64_t want = (uint64_t)depth * c->count * message_bytes, have = 0;
    char reply[8192], *batch = malloc(text_len * depth);
    size_t replies = 0;
    int err = batch ? 0 : fault_set(f, "out of memory");

    for (unsigned i = 0; i < depth && !err; i++)
        memcpy(batch + i * text_len, text, text_len);
    if (!err && send(c->publisher, batch, text_len * depth, MSG_NOSIGNAL) != (ssize_t)(text_len * depth))
        err = fault_set(f, "it takes no PUBLISH");
    free(batch);
    while (!err && have < want)
        err = take(c, 10000, &have, f);
    while (!err && replies < depth) {
        ssize_t n = recv(c->publisher, reply, sizeof reply, 0);

        if (n <= 0)
            return fault_set(f, "no answer to PUBLISH");
        for (ssize_t i = 0; i < n; i++)
            replies += reply[i] == '\n';
    }
    return err || have == want ? err : fault_set(f, "more arrived than was published");
}

/* CPU microseconds per delivered message. */
static int measure(crowd *c, const options *o, unsigned depth, double *ret_us, fault *f)
{
    static char text[PAYLOAD_MAX + 64];
    uint64_t messages = depth > 1 ? o->requests : o->requests / 10, sent = 0, bytes;
    char payload[PAYLOAD_MAX + 1], head[64];
    double before;
    size_t len;

    memset(payload, 'p', o->value_size);
    payload[o->value_size] = '\0';
    len = (size_t)snprintf(text, sizeof text, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$%llu\r\n%s\r\n",
                           (unsigned long long)o->value_size, payload);
    bytes = (uint64_t)snprintf(head, sizeof head, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%llu\r\n\r\n",
                               (unsigned long long)o->value_size) +
            o->value_size;
    messages = messages < depth ? depth : messages;
    before = process_cpu(&c->server.process);
    for (; sent < messages; sent += depth)
        if (publish(c, text, len, depth, bytes, f))
            return contestant_blame(&c->server, f);
    *ret_us = (process_cpu(&c->server.process) - before) * 1e6 / (double)sent / c->count;
    return 0;
}

static void tell(table *t, const lineup *l, const options *o, double us[ROWS][LINEUP_MAX][ROUNDS_MAX],
                 const char *const names[ROWS])
{
    int redis = lineup_find(l, "redis-server");
    size_t n = (size_t)o->rounds;

    for (int row = 0; row < ROWS; row++)
        for (unsigned i = 0; i < l->count; i++) {
            double ratios[ROUNDS_MAX], own[ROUNDS_MAX], value;
            unsigned at = table_row(t, "%s", names[row]), column;

            if (!server_has_transactions(&l->contestants[i]))
                continue;
            for (size_t k = 0; k < n; k++) {
                own[k] = us[row][i][k];
                ratios[k] = redis < 0 ? 0 : us[row][i][k] / us[row][redis][k];
            }
            column = table_column(t, l->contestants[i].name);
            value = median(own, n);
            if (redis < 0 || (unsigned)redis == i)
                table_set(t, at, column, value, "%.3f", value);
            else
                table_set(t, at, column, value, "%.3f (%.2f)", value, median(ratios, n));
        }
}

static int measure_all(crowd crowds[], const lineup *l, const options *o,
                       double us[ROWS][LINEUP_MAX][ROUNDS_MAX], fault *f)
{
    for (size_t round = 0; round < o->rounds; round++)
        for (int row = 0; row < ROWS; row++)
            for (unsigned i = 0; i < l->count; i++)
                if (crowds[i].fds &&
                    measure(&crowds[i], o, row ? 1 : (unsigned)o->depth, &us[row][i][round], f))
                    return -1;
    return 0;
}

int fanout_bench(options *o, report *r, fault *f)
{
    static lineup l;
    static double us[ROWS][LINEUP_MAX][ROUNDS_MAX];
    static crowd crowds[LINEUP_MAX];
    char dir[256], names[ROWS][64], title[160];
    table *t;
    int err = 0;

    set_defaults(o);
    if (o->value_size > PAYLOAD_MAX)
        return fault_usage(f, "--value-size: at most %d", PAYLOAD_MAX);
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    for (unsigned i = 0; i < l.count && !err; i++)
        if (server_has_transactions(&l.contestants[i]))
            err = gather(&crowds[i], &l.contestants[i], dir, (unsigned)o->connections, f);
    if (!err)
        err = measure_all(crowds, &l, o, us, f);
    snprintf(title, sizeof title, "Server CPU time per delivered message, microseconds (x redis-server)");
    t = err ? NULL : report_add(r, title);
    snprintf(names[0], sizeof names[0], "1 publisher, %llu subscribers, pipeline %llu",
             (unsigned long long)o->connections, (unsigned long long)o->depth);
    snprintf(names[1], sizeof names[1], "1 publisher, %llu subscribers, no pipeline",
             (unsigned long long)o->connections);
    if (t)
        tell(t, &l, o, us, (const char *const[]){ names[0], names[1] });
    else if (!err)
        err = fault_set(f, "out of memory");
    for (unsigned i = 0; i < l.count; i++)
        if (crowds[i].fds)
            scatter(&crowds[i]);
    process_remove_dir(dir);
    return err;
}
