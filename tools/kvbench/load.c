/* load.c - see load.h.
 *
 * One event loop per thread (epoll, level triggered), each with its share of the connections, its own
 * random numbers and its own results; nothing is shared, so that the load generator costs as little as
 * it can: it runs on the same machine as the server, and what it takes, the server lacks.
 *
 *     lane (a connection):  requests[]  what was asked, in order
 *                           out         the batch being written
 *                           in          replies not yet complete
 *
 * A lane is always in one of two states: waiting for the replies of a batch, or finished. A batch is
 * written at once; what the socket does not take is written when it is writable again.
 *
 * SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

typedef struct lane {
    int fd;
    bool blocked;      /* the socket was full: EPOLLOUT is asked for */
    request *requests; /* [depth] */
    unsigned asked, answered;
    char *out;
    size_t out_len, out_sent;
    char *in;
    size_t in_len, in_size;
    double sent_at; /* when the batch was written */
} lane;

typedef struct worker {
    const load_plan *plan;
    pthread_t thread;
    lane *lanes;
    unsigned lane_count, busy;
    int epoll_fd;
    uint64_t random;
    const double *zipf;         /* cumulative weights of the keys; for LOAD_ZIPF */
    uint64_t next_key, end_key; /* in_order: this worker's part of the keys */
    uint64_t to_send;           /* requests left; UINT64_MAX: no limit */
    double deadline;            /* send nothing after this; 0: no limit */
    load_result result;
    histogram latency; /* of batches */
    fault fault;
    int failed;
} worker;

double load_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int load_connect(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;

    int cause = errno;

    close(fd);
    errno = cause;
    return -1;
}

int load_ping(protocol_kind kind, int fd, double patience, fault *f)
{
    const char *ask = kind == PROTOCOL_RESP ? "*1\r\n$4\r\nPING\r\n" : "version\r\n";
    const char *want = kind == PROTOCOL_RESP ? "+PONG\r\n" : "VERSION ";
    size_t want_len = strlen(want), len = 0;
    char reply[128];
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) != (ssize_t)strlen(ask))
        return fault_set(f, "it takes no request: %s", strerror(errno));
    while (len == 0 || reply[len - 1] != '\n') {
        if (poll(&poll_fd, 1, (int)(patience * 1000)) != 1)
            return fault_set(f, "no answer to PING within %g seconds", patience);

        ssize_t got = recv(fd, reply + len, sizeof reply - len, 0);

        if (got <= 0)
            return fault_set(f, "it closed the connection instead of answering PING");
        len += (size_t)got;
        if (len == sizeof reply)
            break;
    }
    if (len > 8 && memcmp(reply, "-LOADING", 8) == 0)
        return LOAD_LATER;
    if (len < want_len || memcmp(reply, want, want_len) != 0)
        return fault_set(f, "it answers \"%.*s\" to PING", (int)strcspn(reply, "\r\n"), reply);
    return 0;
}

/* ---- one lane --------------------------------------------------------------------------- */

static void lane_done(lane *l)
{
    if (l->fd >= 0)
        close(l->fd);
    free(l->requests);
    free(l->out);
    free(l->in);
}

static int lane_init(lane *l, const load_plan *plan, int epoll_fd, fault *f)
{
    size_t max = protocol_max(&plan->protocol);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = l };

    l->in_size = max < 65536 ? 65536 : max;
    l->requests = calloc(plan->depth, sizeof *l->requests);
    l->out = malloc(plan->depth * max);
    l->in = malloc(l->in_size);
    if (!l->requests || !l->out || !l->in)
        return fault_set(f, "out of memory for %u connections", plan->connections);
    l->fd = load_connect(plan->port);
    if (l->fd < 0)
        return fault_set(f, "cannot connect to 127.0.0.1:%d: %s", plan->port, strerror(errno));
    if (fcntl(l->fd, F_SETFL, O_NONBLOCK) || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, l->fd, &event))
        return fault_set(f, "cannot watch a connection: %s", strerror(errno));
    return 0;
}

/* xorshift64* (Vigna 2016). */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

static uint64_t below(uint64_t draw, uint64_t n) /* of its upper half; there are fewer than 2^32 */
{
    return (draw >> 32) * n >> 32;
}

static uint64_t pick_zipf(const worker *w, uint64_t draw)
{
    uint64_t low = 0, high = w->plan->keys - 1;
    double at = (double)(draw >> 11) * 0x1p-53 * w->zipf[high];

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (w->zipf[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t pick_key(worker *w, uint64_t draw)
{
    uint64_t keys = w->plan->keys;

    switch (w->plan->distribution) {
    case LOAD_ZIPF:
        return pick_zipf(w, random_next(&w->random));
    case LOAD_HOT:
        return below(draw, random_next(&w->random) >> 32 < UINT32_MAX / 5 * 4 ? keys / 100 + 1 : keys);
    default:
        return below(draw, keys);
    }
}

static request next_request(worker *w)
{
    const load_plan *plan = w->plan;
    uint64_t draw;
    request r = { .frame = FRAME_NONE };

    if (plan->in_order) {
        r.key = w->next_key++;
        if (w->next_key == w->end_key)
            w->next_key = 0;
        r.set = plan->set_percent > 0;
        return r;
    }
    draw = random_next(&w->random);
    r.key = pick_key(w, draw);
    r.set = plan->set_percent == 100 || (plan->set_percent && (draw & 0xffff) % 100 < plan->set_percent);
    return r;
}

/* Puts the i-th of n requests of a batch in its place in a transaction. */
static void frame_request(request *r, unsigned transaction, unsigned i, unsigned n)
{
    bool first = i % transaction == 0, last = (i + 1) % transaction == 0 || i + 1 == n;

    r->frame = first && last ? FRAME_ONLY : first ? FRAME_FIRST : last ? FRAME_LAST : FRAME_INSIDE;
    r->queued = last ? i % transaction + 1 : 0;
}

static int lane_write(worker *w, lane *l)
{
    while (l->out_sent < l->out_len) {
        ssize_t sent = send(l->fd, l->out + l->out_sent, l->out_len - l->out_sent, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return fault_set(&w->fault, "a write failed: %s", strerror(errno));
        if (sent > 0)
            l->out_sent += (size_t)sent;
        if (sent < 0)
            break;
    }

    bool blocked = l->out_sent < l->out_len;

    if (blocked != l->blocked) {
        struct epoll_event event = { .events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = l };

        l->blocked = blocked;
        if (epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, l->fd, &event))
            return fault_set(&w->fault, "cannot watch a connection: %s", strerror(errno));
    }
    return 0;
}

/* Sends the lane's next batch, or takes the lane out of the run when there is nothing left to send. */
static int lane_begin(worker *w, lane *l, double now)
{
    unsigned depth = w->plan->depth;

    if (w->deadline > 0 && now >= w->deadline)
        depth = 0;
    if (depth > w->to_send)
        depth = (unsigned)w->to_send;
    if (w->to_send != UINT64_MAX)
        w->to_send -= depth;
    if (depth == 0) {
        w->busy--;
        return 0;
    }
    l->asked = depth;
    l->answered = 0;
    l->out_len = l->out_sent = 0;
    for (unsigned i = 0; i < depth; i++) {
        l->requests[i] = next_request(w);
        if (w->plan->transaction)
            frame_request(&l->requests[i], w->plan->transaction, i, depth);
        l->out_len += protocol_put(&w->plan->protocol, l->out + l->out_len, l->requests[i]);
    }
    l->sent_at = now;
    return lane_write(w, l);
}

static int nonsense(worker *w, const lane *l, size_t at)
{
    char shown[81];
    size_t len = l->in_len - at < sizeof shown - 1 ? l->in_len - at : sizeof shown - 1;

    for (size_t i = 0; i < len; i++)
        shown[i] = l->in[at + i] >= ' ' && l->in[at + i] <= '~' ? l->in[at + i] : '.';
    shown[len] = '\0';
    return fault_set(&w->fault, "it answers \"%s\" to a %s", shown,
                     l->requests[l->answered].set ? "SET" : "GET");
}

/* Takes every complete reply; begins the next batch after the last one of this. */
static int lane_parse(worker *w, lane *l)
{
    size_t at = 0;

    while (at < l->in_len) {
        outcome got;
        ssize_t len;

        if (l->answered == l->asked)
            return fault_set(&w->fault, "it sends more replies than there were requests");
        len = protocol_take(&w->plan->protocol, l->in + at, l->in_len - at, l->requests[l->answered], &got);
        if (len < 0)
            return nonsense(w, l, at);
        if (len == 0)
            break;
        at += (size_t)len;
        l->answered++;
        w->result.misses += got == OUTCOME_MISS;
    }
    memmove(l->in, l->in + at, l->in_len - at);
    l->in_len -= at;
    if (l->answered < l->asked)
        return 0;

    double now = load_clock();

    w->result.requests += l->asked;
    histogram_count(&w->latency, now > l->sent_at ? (uint64_t)((now - l->sent_at) * 1e9) : 0);
    return lane_begin(w, l, now);
}

static int lane_read(worker *w, lane *l)
{
    ssize_t got = recv(l->fd, l->in + l->in_len, l->in_size - l->in_len, 0);

    if (got == 0)
        return fault_set(&w->fault, "it closed a connection");
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0
                                                 : fault_set(&w->fault, "a read failed: %s", strerror(errno));
    l->in_len += (size_t)got;
    return lane_parse(w, l);
}

/* ---- one worker ------------------------------------------------------------------------- */

static int worker_init(worker *w, unsigned lanes)
{
    const load_plan *plan = w->plan;

    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd < 0)
        return fault_set(&w->fault, "epoll: %s", strerror(errno));
    w->lanes = calloc(lanes, sizeof *w->lanes);
    if (!w->lanes)
        return fault_set(&w->fault, "out of memory for %u connections", plan->connections);
    w->lane_count = lanes;
    for (unsigned i = 0; i < lanes; i++)
        w->lanes[i].fd = -1;
    for (unsigned i = 0; i < lanes; i++)
        if (lane_init(&w->lanes[i], plan, w->epoll_fd, &w->fault))
            return -1;
    return 0;
}

static void worker_done(worker *w)
{
    for (unsigned i = 0; i < w->lane_count; i++)
        lane_done(&w->lanes[i]);
    free(w->lanes);
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
}

static int worker_loop(worker *w)
{
    struct epoll_event events[64];

    for (unsigned i = 0; i < w->lane_count; i++)
        if (lane_begin(w, &w->lanes[i], load_clock()))
            return -1;
    while (w->busy) {
        int n = epoll_wait(w->epoll_fd, events, 64, (int)(w->plan->patience * 1000));

        if (n == 0)
            return fault_set(&w->fault, "no reply for %g seconds", w->plan->patience);
        if (n < 0 && errno != EINTR)
            return fault_set(&w->fault, "epoll: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            lane *l = events[i].data.ptr;

            if ((events[i].events & EPOLLOUT) && lane_write(w, l))
                return -1;
            if ((events[i].events & ~(uint32_t)EPOLLOUT) && lane_read(w, l))
                return -1;
        }
    }
    return 0;
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    double begin = load_clock();

    w->deadline = w->plan->seconds > 0 ? begin + w->plan->seconds : 0;
    w->busy = w->lane_count;
    w->failed = worker_loop(w);
    w->result.seconds = load_clock() - begin;
    return NULL;
}

/* ---- the run ---------------------------------------------------------------------------- */

static int gather(worker workers[], unsigned n, load_result *ret_result, fault *f)
{
    histogram latency = { 0 };
    load_result sum = { 0 };

    for (unsigned i = 0; i < n; i++) {
        if (workers[i].failed) {
            *f = workers[i].fault;
            return -1;
        }
        sum.requests += workers[i].result.requests;
        sum.misses += workers[i].result.misses;
        if (workers[i].result.seconds > sum.seconds)
            sum.seconds = workers[i].result.seconds;
        histogram_add(&latency, &workers[i].latency);
    }
    sum.p50_us = histogram_percentile(&latency, 0.5) * 1e-3;
    sum.p99_us = histogram_percentile(&latency, 0.99) * 1e-3;
    *ret_result = sum;
    return 0;
}

/* Shares of the connections, the requests and the keys. */
static void divide(worker *w, unsigned i, const load_plan *plan)
{
    w->plan = plan;
    w->epoll_fd = -1;
    w->random = (plan->seed + i + 1) * 0x9e3779b97f4a7c15;
    w->next_key = plan->keys * i / plan->threads;
    w->end_key = plan->keys;
    w->to_send = plan->requests
                     ? plan->requests * (i + 1) / plan->threads - plan->requests * i / plan->threads
                     : UINT64_MAX;
}

/* NULL: memory is out. */
static double *zipf_weights(uint64_t keys)
{
    double *weights = malloc(keys * sizeof *weights), sum = 0;

    for (uint64_t i = 0; weights && i < keys; i++)
        weights[i] = sum += pow((double)(i + 1), -0.99);
    return weights;
}

int load_run(const load_plan *plan, load_result *ret_result, fault *f)
{
    double *zipf = NULL;
    unsigned started = 0;
    int err = 0;
    worker *workers = calloc(plan->threads, sizeof *workers);

    if (!workers)
        return fault_set(f, "out of memory");
    if (plan->distribution == LOAD_ZIPF && !plan->in_order && !(zipf = zipf_weights(plan->keys)))
        err = fault_set(f, "out of memory for %llu keys", (unsigned long long)plan->keys);
    for (unsigned i = 0; i < plan->threads && !err; i++) {
        divide(&workers[i], i, plan);
        workers[i].zipf = zipf;
        err = worker_init(&workers[i], plan->connections * (i + 1) / plan->threads -
                                           plan->connections * i / plan->threads);
        if (err)
            *f = workers[i].fault;
    }
    for (unsigned i = 0; i < plan->threads && !err; i++, started++) {
        err = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
        if (err) {
            err = fault_set(f, "cannot start a thread");
            break;
        }
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    if (!err)
        err = gather(workers, plan->threads, ret_result, f);
    for (unsigned i = 0; i < plan->threads; i++)
        if (workers[i].plan)
            worker_done(&workers[i]);
    free(workers);
    free(zipf);
    return err;
}

/* ---- idle connections ------------------------------------------------------------------- */

int load_open_idle(protocol_kind kind, int port, int fds[], unsigned count, fault *f)
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = load_connect(port);
        if (fds[i] < 0) {
            fault_set(f, "connection %u to 127.0.0.1:%d: %s", i + 1, port, strerror(errno));
            load_close_idle(fds, i);
            return -1;
        }
        if (load_ping(kind, fds[i], 10, f)) {
            fault_prefix(f, "connection %u: ", i + 1);
            load_close_idle(fds, i + 1);
            return -1;
        }
    }
    return 0;
}

void load_close_idle(int fds[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}
