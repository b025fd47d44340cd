/* port.c - see port.h.
 *
 * One thread, which polls the listening socket and its connections, up to kv.port-max-clients of them. An event library
 * would be one more thing in a process that is not ours, and at so few connections poll(2) is none the slower; it takes
 * a page.
 *
 *     readable --> requests that are whole --> replies --> sent, or kept until the socket takes them
 *
 * What a client may make grow: its input by one request (kv.port-max-request) and a read's worth; its output by one reply
 * (kv.port-max-reply) beyond OUT_HIGH, from where on nothing more is read from it. Who has not said AUTH after some
 * seconds is cut off.
 *
 * It listens on 127.0.0.1 only: it speaks no TLS. The token and the handles are random and known to those alone to whom
 * the server gave them, after its own permissions were asked.
 *
 * The thread reads stores as the pool does, and may hold a lock of one for a moment when the server forks; the child takes
 * no lock, so it does not matter. The child closes its copies of the sockets: otherwise clients and the address
 * would live as long as a background save.
 *
 * SPDX-License-Identifier: MIT */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "args.h"
#include "handle.h"
#include "module.h"
#include "pool.h"
#include "port_reply.h"
#include "port_request.h"
#include "run.h"

#define READ_SIZE      (64u * 1024)
#define OUT_HIGH       (64u * 1024) /* bytes of replies, from where on a client is not asked for more */
#define AUTH_MS        10000
#define LISTEN_LEN     64
#define ACCEPT_AT_ONCE 16
#define FIXED_FDS      2 /* in front of the clients': who wakes us, who connects */

typedef struct client {
    int fd;
    bool known;   /* has said AUTH */
    bool closing; /* after what is to be sent */
    int64_t since_ms;
    char *in;
    size_t in_len, in_size;
    port_reply out;
} client;

static struct {
    pthread_t thread;
    bool running, forks_watched;
    long long number; /* of the port that is open */
    int listening, wake[2];
    char token[HANDLE_SECRET_SIZE];
    client *clients; /* room for max */
    struct pollfd *fds;
    unsigned count, max;
    port_request request;
    kv_counters counters; /* the thread's own */
    uint64_t rng, ended_seen;
    _Atomic uint64_t clients_now, requests, stale;
} port = { .listening = -1, .wake = { -1, -1 } };

/* ---- one request ---- */

static bool may_read(const kv_command *row)
{
    return run_fits(row) && (row->flags & KV_CMD_READONLY) && row->id != KV_COMMAND_randomkey;
}

/* The row of KV.<ROW>, if it may be asked here. */
static const kv_command *row_of(kv_slice name)
{
    const kv_command *row = NULL;

    if (name.len > 3 && kv_word_is(kv_slice_of(name.data, 3), "kv."))
        row = kv_command_find(kv_slice_of(name.data + 3, name.len - 3));
    return row && may_read(row) ? row : NULL;
}

static void run_read(client *c, const kv_command *row, kv_store *store, int argc, kv_slice argv[])
{
    kv_databases databases = { .stores = &store, .count = 1 };

    argv[0] = kv_str(row->name);
    if (epoch_enter(module.domain) == 0)
        row->run(&(kv_call){
            .command = row,
            .argv = argv,
            .argc = argc,
            .store = store,
            .databases = &databases,
            .now_ms = module_now_ms(),
            .access = KV_NO_TOUCH,
            .reply = &c->out.reply,
            .counters = &port.counters,
            .rng = &port.rng,
            .value_max = KV_VALUE_MAX,
        });
    else
        kv_reply_error(&c->out.reply, KV_ENOMEM);
    epoch_leave(module.domain);
}

static void answer_read(client *c, const kv_command *row, int argc, kv_slice argv[])
{
    kv_store *store;

    if (argc < 2 || !kv_command_arity_ok(row, argc - 1)) {
        kv_reply_errorf(&c->out.reply, "ERR wrong number of arguments for 'kv.%s' command", row->name);
        return;
    }
    store = handle_find(argv[1], module_now_ms());
    if (!store) {
        atomic_fetch_add_explicit(&port.stale, 1, memory_order_relaxed);
        kv_reply_errorf(&c->out.reply, "STALE the key has ended, moved or expired: KV.ATTACH it again");
        return;
    }
    run_read(c, row, store, argc - 1, argv + 1);
    kv_store_unref(store);
}

static void answer_auth(client *c, int argc, const kv_slice argv[])
{
    if (argc != 2 && argc != 3) { /* AUTH token, or with any name in front */
        kv_reply_errorf(&c->out.reply, "ERR wrong number of arguments for 'auth' command");
    } else if (handle_secrets_equal(port.token, argv[argc - 1])) {
        c->known = true;
        kv_reply_ok(&c->out.reply);
    } else {
        kv_reply_errorf(&c->out.reply, "WRONGPASS invalid token");
        c->closing = true;
    }
}

static void answer(client *c, int argc, kv_slice argv[])
{
    const kv_command *row = row_of(argv[0]);
    bool quit = kv_word_is(argv[0], "quit");

    if (kv_word_is(argv[0], "auth"))
        answer_auth(c, argc, argv);
    else if (quit)
        kv_reply_ok(&c->out.reply);
    else if (!c->known)
        kv_reply_errorf(&c->out.reply,
                        "NOAUTH Authentication required: AUTH with the token that KV.ATTACH tells");
    else if (row)
        answer_read(c, row, argc, argv);
    else if (kv_word_is(argv[0], "ping"))
        c->out.reply.ops->simple(&c->out.reply, KV_STR("PONG"));
    else
        kv_reply_errorf(&c->out.reply, "ERR unknown command '%.*s': the read port reads, by handles",
                        (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].data);
    c->closing = c->closing || quit;
}

/* ---- a client's input and output ---- */

static unsigned long long setting(const _Atomic long long *value)
{
    return (unsigned long long)atomic_load_explicit(value, memory_order_relaxed);
}

/* Answers what is whole. */
static void answer_all(client *c)
{
    size_t at = 0, used;
    const char *why;

    while (!c->closing && at < c->in_len && c->out.len < OUT_HIGH) {
        request_state state = request_parse(kv_slice_of(c->in + at, c->in_len - at),
                                            setting(&module.port_max_request), &port.request, &used, &why);

        if (state == REQUEST_PARTIAL)
            break;
        if (state == REQUEST_WRONG) {
            port_reply_error(&c->out, why);
            c->closing = true;
            break;
        }
        at += used;
        if (port.request.argc == 0)
            continue;
        port_reply_begin(&c->out, setting(&module.port_max_reply));
        answer(c, port.request.argc, port.request.argv);
        port_reply_end(&c->out);
        c->closing = c->closing || c->out.trouble; /* no memory, not even to say so */
        atomic_fetch_add_explicit(&port.requests, 1, memory_order_relaxed);
    }
    c->in_len -= at;
    if (c->in_len && at)
        memmove(c->in, c->in + at, c->in_len);
}

/* Room to read into. An idle client has none. */
static bool in_reserve(client *c)
{
    size_t size = c->in_len + READ_SIZE;
    char *in;

    if (c->in_size >= size)
        return true;
    in = rm_alloc(size);
    if (!in)
        return false;
    if (c->in_len)
        memcpy(in, c->in, c->in_len);
    rm.Free(c->in);
    c->in = in;
    c->in_size = size;
    return true;
}

static void in_release(client *c)
{
    if (c->in_len == 0) {
        rm.Free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }
}

/* False: the connection has ended. */
static bool client_read(client *c)
{
    ssize_t n;

    if (!in_reserve(c))
        return false;
    n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0);
    if (n > 0)
        c->in_len += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool client_send(client *c)
{
    size_t sent = 0;

    while (sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.bytes + sent, c->out.len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return false;
        sent += (size_t)n;
    }
    if (sent)
        port_reply_sent(&c->out, sent);
    return true;
}

/* What a socket is ready for. False: the client is to be ended. */
static bool client_serve(client *c, short ready)
{
    size_t before;

    if (!(ready & POLLOUT) && !client_read(c))
        return false;
    do {
        before = c->in_len;
        if (!client_send(c))
            return false;
        if (c->out.len == 0)
            answer_all(c);
        if (!client_send(c))
            return false;
    } while (c->out.len == 0 && c->in_len && c->in_len < before);
    in_release(c);
    return !c->closing || c->out.len > 0;
}

/* ---- connections ---- */

static void client_end(unsigned i)
{
    client *c = &port.clients[i];

    close(c->fd);
    rm.Free(c->in);
    port_reply_done(&c->out);
    *c = port.clients[--port.count];
    atomic_store_explicit(&port.clients_now, port.count, memory_order_relaxed);
}

static void client_begin(int fd)
{
    static const char full[] = "-ERR max number of clients reached: kv.port-max-clients\r\n";
    int one = 1;

    if (port.count == port.max) {
        (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    port.clients[port.count] = (client){ .fd = fd, .since_ms = module_now_ms() };
    port_reply_init(&port.clients[port.count++].out);
    atomic_store_explicit(&port.clients_now, port.count, memory_order_relaxed);
}

static void accept_some(void)
{
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int fd = accept4(port.listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        client_begin(fd);
    }
}

/* Ends those that do not say who they are. */
static void end_strangers(void)
{
    int64_t now_ms = module_now_ms();

    for (unsigned i = port.count; i-- > 0;) {
        if (!port.clients[i].known && now_ms - port.clients[i].since_ms > AUTH_MS)
            client_end(i);
    }
}

/* ---- the thread ---- */

/* What to wait for; returns whether there are strangers, who may not stay long. */
static bool fill_fds(void)
{
    bool strangers = false;

    port.fds[0] = (struct pollfd){ .fd = port.wake[0], .events = POLLIN };
    port.fds[1] = (struct pollfd){ .fd = port.listening, .events = POLLIN };
    for (unsigned i = 0; i < port.count; i++) {
        const client *c = &port.clients[i];

        port.fds[FIXED_FDS + i] = (struct pollfd){ .fd = c->fd, .events = c->out.len ? POLLOUT : POLLIN };
        strangers = strangers || !c->known;
    }
    return strangers;
}

/* Keys have ended while this thread may have held their stores: what it freed then goes back. */
static void tidy(void)
{
    uint64_t ended = atomic_load_explicit(&module.ended, memory_order_relaxed);

    if (ended == port.ended_seen)
        return;
    port.ended_seen = ended;
    domain_trim(module.domain);
}

static void *port_run(void *arg)
{
    (void)arg;
    for (;;) {
        bool strangers = fill_fds();
        int ready = poll(port.fds, FIXED_FDS + port.count, strangers ? 1000 : -1);

        if (ready > 0 && port.fds[0].revents)
            break;
        for (unsigned i = port.count; ready > 0 && i-- > 0;) { /* the last takes the place of one that ends */
            short what = port.fds[FIXED_FDS + i].revents;

            if (what && !client_serve(&port.clients[i], what))
                client_end(i);
        }
        if (ready > 0 && port.fds[1].revents)
            accept_some();
        if (strangers)
            end_strangers();
        tidy();
    }
    while (port.count)
        client_end(port.count - 1);
    request_done(&port.request);
    return NULL;
}

/* ---- opening and closing ---- */

/* In a forked child, where there is no such thread. */
static void on_fork_in_child(void)
{
    if (!port.running)
        return;
    close(port.listening);
    close(port.wake[0]);
    close(port.wake[1]);
    for (unsigned i = 0; i < port.count; i++)
        close(port.clients[i].fd);
}

static void close_fds(void)
{
    int *fds[] = { &port.listening, &port.wake[0], &port.wake[1] };

    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    rm.Free(port.clients);
    rm.Free(port.fds);
    port.clients = NULL;
    port.fds = NULL;
    port.number = 0;
}

static int listen_on(long long number)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)number),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, LISTEN_LEN) == 0)
        return fd;

    int cause = errno;

    if (fd >= 0)
        close(fd);
    errno = cause;
    return -1;
}

static bool port_start(long long number)
{
    unsigned max = (unsigned)setting(&module.port_max_clients);

    port.listening = listen_on(number);
    if (port.listening < 0 || pipe2(port.wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    port.clients = rm_alloc(max * sizeof *port.clients);
    port.fds = rm_alloc((FIXED_FDS + max) * sizeof *port.fds);
    errno = ENOMEM;
    if (!port.clients || !port.fds || !handle_secret(port.token))
        return false;
    port.max = max;
    port.count = 0;
    port.rng = (uint64_t)module_now_ms();
    port.running = pool_thread(&port.thread, port_run, NULL);
    port.number = number;
    return port.running;
}

void port_stop(void)
{
    if (port.running) {
        (void)!write(port.wake[1], "", 1);
        pthread_join(port.thread, NULL);
    }
    port.running = false;
    close_fds();
}

bool port_apply(char *why, size_t size)
{
    long long number = (long long)setting(&module.port);

    if (number == port.number)
        return true;
    port_stop();
    handle_forget_db(-1); /* their clients have no connection any more */
    if (!port.forks_watched && number)
        port.forks_watched = pthread_atfork(NULL, NULL, on_fork_in_child) == 0;
    if (number == 0 || port_start(number))
        return true;
    snprintf(why, size, "cannot listen on 127.0.0.1:%lld: %s", number, strerror(errno));
    port_stop();
    return false;
}

const char *port_token(void)
{
    return port.token;
}

void port_read_figures(port_figures *ret)
{
    *ret = (port_figures){
        .clients = atomic_load_explicit(&port.clients_now, memory_order_relaxed),
        .requests = atomic_load_explicit(&port.requests, memory_order_relaxed),
        .stale = atomic_load_explicit(&port.stale, memory_order_relaxed),
        .hits = atomic_load_explicit(&port.counters.keyspace_hits, memory_order_relaxed),
        .misses = atomic_load_explicit(&port.counters.keyspace_misses, memory_order_relaxed),
    };
}
