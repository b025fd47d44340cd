/* listener.c - see listener.h.
 *
 * Opening is all or nothing: new sockets are opened into a copy of the list, which replaces the list when all
 * could be had. Sockets whose address stays are taken over, so that CONFIG SET bind never loses a
 * connection that is already queued on one of them.
 *
 * Running out of descriptors must not make the loop spin on a listening socket that stays readable: one
 * descriptor is kept in reserve, given up to accept and close one connection, and taken again.
 *
 * SPDX-License-Identifier: MIT */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "connection.h"
#include "server.h"

#define ACCEPTS_PER_EVENT 64

static int fail(config_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

static int keepalive_of(const server *s)
{
    return (int)config_number(s->config, CONFIG_ID_tcp_keepalive);
}

/* Of a connection; or of a listening socket, from which its connections have them. */
static void set_options(int fd, int keepalive_s)
{
    int yes = 1, keep = keepalive_s > 0, interval = keepalive_s > 3 ? keepalive_s / 3 : 1, probes = 3;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keep, sizeof keep);
    if (!keep)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_s, sizeof keepalive_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* ---- opening ---- */

static int open_socket(const struct addrinfo *info, int backlog, const char **ret_step)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;

    *ret_step = "socket";
    if (fd < 0)
        return -1;
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    *ret_step = "bind";
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0) {
        *ret_step = "listen";
        if (listen(fd, backlog) == 0)
            return fd;
    }
    yes = errno;
    close(fd);
    errno = yes;
    return -1;
}

static bool address_is_missing(int error)
{
    return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT ||
           error == ENOPROTOOPT || error == ESOCKTNOSUPPORT || error == EPFNOSUPPORT;
}

/* The socket already open under that name, or NULL. */
static listener_socket *find_open(listener_sockets *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->sockets[i].name, name) == 0)
            return &list->sockets[i];
    return NULL;
}

/* Whether a socket of that name is open; then it is used, for connections of the kind that is wanted now. */
static bool take_over(server *s, listener_socket *socket)
{
    const listener_socket *found = find_open(&s->listener.open, socket->name);

    if (!found)
        found = find_open(&s->listener.closing, socket->name);
    if (found)
        socket->fd = found->fd;
    return found != NULL;
}

/* One word of bind: an address, "*", "::*", with a "-" in front when it may be missing. */
static int open_address(server *s, const char *word, int port, listener_kind kind, listener_sockets *list,
                        config_error *error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV },
                    *info = NULL;
    bool optional = *word == '-', covered;
    const char *host = word + optional, *step = "socket";
    listener_socket *socket;
    char service[16];
    int found;

    if (list->count == LISTENER_SOCKETS_MAX)
        return fail(error, "Too many bind addresses specified.");
    socket = &list->sockets[list->count];
    *socket = (listener_socket){ .kind = kind };
    snprintf(socket->name, sizeof socket->name, "%s:%d", host, port);
    if (take_over(s, socket)) {
        list->count++;
        return 0;
    }
    snprintf(service, sizeof service, "%d", port);
    hints.ai_family = strchr(host, ':') ? AF_INET6 : strcmp(host, "*") == 0 ? AF_INET : AF_UNSPEC;
    found =
        getaddrinfo(strcmp(host, "*") == 0 || strcmp(host, "::*") == 0 ? NULL : host, service, &hints, &info);
    if (found != 0)
        return fail(error, "Could not create server TCP listening socket %s: %s", socket->name,
                    gai_strerror(found));
    socket->fd = inherited_tcp(&s->listener.inherited, info->ai_addr, &covered);
    if (socket->fd < 0 && !covered)
        socket->fd = open_socket(info, (int)config_number(s->config, CONFIG_ID_tcp_backlog), &step);
    freeaddrinfo(info);
    if (covered)
        return 0;
    if (socket->fd >= 0) {
        list->count++;
        return 0;
    }
    if (optional && address_is_missing(errno))
        return 0;
    return fail(error, "Could not create server TCP listening socket %s: %s: %s", socket->name, step,
                strerror(errno));
}

/* Listens on the port that a directive names. */
static int open_port(server *s, enum config_id id, listener_kind kind, listener_sockets *list,
                     config_error *error)
{
    int port = (int)config_number(s->config, id), result = 0, before = list->count;
    char *words = config_text(s->config, CONFIG_ID_bind), *rest = words;
    bool none = words && !*words; /* "bind" of nothing listens nowhere */

    if (!words)
        return fail(error, "out of memory");
    for (char *word; port && result == 0 && (word = strsep(&rest, " "));)
        if (*word)
            result = open_address(s, word, port, kind, list, error);
    if (result == 0 && port && !none && list->count == before)
        result = fail(error, "Failed listening on port %d (%s): no address of bind exists here", port,
                      kind == LISTENER_TLS ? "TLS" : "TCP");
    free(words);
    return result;
}

static int open_ports(server *s, listener_sockets *list, config_error *error)
{
    int64_t port = config_number(s->config, CONFIG_ID_port);

    if (port && port == config_number(s->config, CONFIG_ID_tls_port))
        return fail(error, "port and tls-port are both %d", (int)port);
    if (open_port(s, CONFIG_ID_port, LISTENER_TCP, list, error) != 0)
        return -1;
    return open_port(s, CONFIG_ID_tls_port, LISTENER_TLS, list, error);
}

/* A server that died leaves its socket file behind; one that lives must not lose it. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat info;
    bool refused;

    if (fd < 0)
        return false;
    refused = stat(address->sun_path, &info) == 0 && S_ISSOCK(info.st_mode) &&
              connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* umask makes the file private from the moment it exists; chmod then opens it as far as asked. */
static int bind_unix(int fd, const struct sockaddr_un *address, mode_t mode)
{
    mode_t old = umask(mode ? (mode_t)(~mode & 0777) : 077);
    int result = bind(fd, (const struct sockaddr *)address, sizeof *address);

    umask(old);
    if (result == 0 && mode)
        result = chmod(address->sun_path, mode);
    return result;
}

static int open_unix(server *s, listener_sockets *list, config_error *error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char *path = config_text(s->config, CONFIG_ID_unixsocket);
    mode_t mode = (mode_t)config_number(s->config, CONFIG_ID_unixsocketperm);
    listener_socket *socket_;
    int result = 0;

    if (!path || !*path || list->count == LISTENER_SOCKETS_MAX)
        goto out;
    if (strlen(path) >= sizeof address.sun_path) {
        result = fail(error, "The path of unixsocket is too long");
        goto out;
    }
    strcpy(address.sun_path, path);
    socket_ = &list->sockets[list->count];
    *socket_ = (listener_socket){ .kind = LISTENER_UNIX };
    snprintf(socket_->name, sizeof socket_->name, "%s", path);
    if (take_over(s, socket_)) {
        list->count++;
        goto out;
    }
    socket_->fd = inherited_unix(&s->listener.inherited, path);
    s->listener.unix_inherited = socket_->fd >= 0;
    if (s->listener.unix_inherited)
        goto opened;
    if (is_stale(&address))
        unlink(path);
    socket_->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_->fd < 0 || bind_unix(socket_->fd, &address, mode) != 0 ||
        listen(socket_->fd, (int)config_number(s->config, CONFIG_ID_tcp_backlog)) != 0) {
        result = fail(error, "Failed opening Unix socket: bind: %s: %s", path, strerror(errno));
        if (socket_->fd >= 0)
            close(socket_->fd);
        goto out;
    }
opened:
    list->count++;
    strcpy(s->listener.unix_path, path);
out:
    free(path);
    return result;
}

static bool contains(const listener_sockets *list, int fd)
{
    for (int i = 0; i < list->count; i++)
        if (list->sockets[i].fd == fd)
            return true;
    return false;
}

/* What is in from and not in kept goes to closing, which has the room. */
static void retire(const listener_sockets *from, const listener_sockets *kept, listener_sockets *closing)
{
    for (int i = 0; i < from->count; i++)
        if (!contains(kept, from->sockets[i].fd))
            closing->sockets[closing->count++] = from->sockets[i];
}

int listener_open(server *s, config_error *ret_error)
{
    listener *l = &s->listener;
    listener_sockets fresh = { .count = 0 }, closing = { .count = 0 };

    if (l->open.count + l->closing.count > LISTENER_SOCKETS_MAX)
        return fail(ret_error, "the sockets of the last change are still being closed, try again");
    if (open_ports(s, &fresh, ret_error) != 0 || open_unix(s, &fresh, ret_error) != 0) {
        for (int i = 0; i < fresh.count; i++)
            if (!contains(&l->open, fresh.sockets[i].fd) && !contains(&l->closing, fresh.sockets[i].fd))
                close(fresh.sockets[i].fd);
        return -1;
    }
    retire(&l->open, &fresh, &closing);
    retire(&l->closing, &fresh, &closing);
    l->open = fresh;
    l->closing = closing;
    inherited_close_others(s);
    return 0;
}

/* ---- accepting ---- */

/* A connection on its way to its worker. */
typedef struct arrival {
    worker_message message;
    int fd;
    listener_kind kind;
} arrival;

static void begin_connection(worker *w, int fd, listener_kind kind)
{
    if (w->draining)
        close(fd);
    if (w->draining || !connection_new(w, fd, kind))
        atomic_fetch_sub_explicit(&w->server->client_count, 1, memory_order_relaxed);
    else
        stats_add(&w->stats.connections_received, 1);
}

static void on_arrival(worker *w, worker_message *message)
{
    arrival *a = (arrival *)message;

    atomic_fetch_sub_explicit(&w->dealt_count, 1, memory_order_relaxed);
    begin_connection(w, a->fd, a->kind);
    free(a);
}

static worker *least_busy(server *s)
{
    worker *best = &s->workers[0];
    int fewest = INT32_MAX;

    for (int i = 0; i < s->worker_count; i++) {
        worker *w = &s->workers[i];
        int count = atomic_load_explicit(&w->connection_count, memory_order_relaxed) +
                    atomic_load_explicit(&w->dealt_count, memory_order_relaxed);

        if (count < fewest) {
            fewest = count;
            best = w;
        }
    }
    return best;
}

static void deal(server *s, int fd, listener_kind kind)
{
    worker *w = least_busy(s);
    arrival *a;

    atomic_fetch_add_explicit(&s->client_count, 1, memory_order_relaxed);
    if (w->index == 0) {
        begin_connection(w, fd, kind);
        return;
    }
    a = malloc(sizeof *a);
    if (!a) {
        atomic_fetch_sub_explicit(&s->client_count, 1, memory_order_relaxed);
        close(fd);
        return;
    }
    *a = (arrival){ .message.run = on_arrival, .fd = fd, .kind = kind };
    atomic_fetch_add_explicit(&w->dealt_count, 1, memory_order_relaxed);
    worker_post(w, &a->message);
}

/* Says why and closes. The socket is new, so its buffer takes the line. A client that wants TLS would not understand it. */
static void refuse(server *s, int fd, listener_kind kind, kv_slice reason)
{
    if (kind != LISTENER_TLS) {
        ssize_t ignored = send(fd, reason.data, reason.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        (void)ignored;
    }
    close(fd);
    stats_add(&s->workers[0].stats.connections_rejected, 1);
}

static bool is_loopback(const struct sockaddr_storage *from)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

    if (from->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr) >> 24 == 127;
    if (from->ss_family != AF_INET6)
        return true;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
}

/* has_options: from the listening socket. */
static void admit(server *s, int fd, const struct sockaddr_storage *from, listener_kind kind,
                  bool has_options)
{
    int64_t count = atomic_load_explicit(&s->client_count, memory_order_relaxed);

    if (count >= atomic_load_explicit(&s->max_clients, memory_order_relaxed)) {
        refuse(s, fd, kind, KV_STR("-ERR max number of clients reached\r\n"));
        return;
    }
    if (config_number(s->config, CONFIG_ID_protected_mode) && acl_default_nopass(s->acl) &&
        !is_loopback(from)) {
        refuse(
            s, fd, kind,
            KV_STR(
                "-DENIED kvserver is running in protected mode: no password is set, so only this machine may "
                "connect. Set requirepass, or, where every machine that can reach the port is trusted, set "
                "protected-mode to no.\r\n"));
        return;
    }
    if (kind != LISTENER_UNIX && !has_options)
        set_options(fd, keepalive_of(s));
    deal(s, fd, kind);
}

static bool has_reserve(listener *l)
{
    if (l->reserve_fd <= 0)
        l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return l->reserve_fd > 0;
}

/* Takes one connection with the reserved descriptor, and closes it. False: there is none, since another thread was quicker to
 * open something once, or none helps. */
static bool shed(server *s, int listening, listener_kind kind)
{
    listener *l = &s->listener;
    int fd;

    if (!has_reserve(l))
        return false;
    close(l->reserve_fd);
    l->reserve_fd = -1;
    fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        refuse(s, fd, kind, KV_STR("-ERR max number of clients reached\r\n"));
    has_reserve(l);
    return fd >= 0;
}

/* Nothing can be accepted, and the sockets stay ready: nobody looks at them before the next tick. */
static void rest(listener *l)
{
    for (int i = 0; i < l->watched.count; i++)
        event_del(l->watched.sockets[i].event);
    l->resting = true;
}

void listener_tick(server *s)
{
    listener *l = &s->listener;

    if (!l->resting || !has_reserve(l))
        return;
    l->resting = false;
    for (int i = 0; i < l->watched.count; i++)
        if (event_add(l->watched.sockets[i].event, NULL) != 0)
            l->resting = true; /* memory is out: again at the next tick */
}

static listener_socket *find_watched(listener *l, int fd)
{
    for (int i = 0; i < l->watched.count; i++)
        if (l->watched.sockets[i].fd == fd)
            return &l->watched.sockets[i];
    return NULL;
}

/* Whether connections have their options from the socket, which is five system calls less for each. Those that waited when it was
 * given them have none. */
static bool passes_options_on(const server *s, listener_socket *watched)
{
    int keepalive_s = keepalive_of(s);

    if (!watched || watched->kind == LISTENER_UNIX)
        return false;
    if (watched->keepalive_s != keepalive_s) {
        set_options(watched->fd, keepalive_s);
        watched->keepalive_s = keepalive_s;
        watched->older_wait = true;
    }
    return !watched->older_wait;
}

static void on_accept(evutil_socket_t listening, short what, void *arg)
{
    server *s = arg;
    listener_socket *watched = find_watched(&s->listener, listening);
    listener_kind kind = watched ? watched->kind : LISTENER_TCP;
    bool has_options = passes_options_on(s, watched);

    (void)what;
    worker_begin(&s->workers[0]);
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
        socklen_t len = sizeof from;
        int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            admit(s, fd, &from, kind, has_options);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_limited(&s->log, LOG_ACCEPT, CONFIG_LOG_WARNING, "Error accepting a client connection: %s",
                        strerror(errno));
            if (!shed(s, listening, kind))
                rest(&s->listener);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            if (watched)
                watched->older_wait = false;
            return;
        }
    }
}

/* ---- watching ---- */

static void close_socket(listener *l, int fd)
{
    listener_socket *watched = find_watched(l, fd);

    if (watched) {
        if (watched->event)
            event_free(watched->event);
        *watched = l->watched.sockets[--l->watched.count];
    }
    close(fd);
}

static void watch_socket(server *s, const listener_socket *socket)
{
    listener *l = &s->listener;
    listener_socket *watched = &l->watched.sockets[l->watched.count];

    *watched = *socket;
    watched->keepalive_s = -1;
    watched->event = event_new(s->workers[0].base, socket->fd, EV_READ | EV_PERSIST, on_accept, s);
    if (watched->event && event_add(watched->event, NULL) == 0)
        l->watched.count++; /* if the others rest, it will soon, too */
    else
        log_write(&s->log, CONFIG_LOG_WARNING, "Out of memory: no connections at %s", socket->name);
}

void listener_watch(server *s)
{
    listener *l = &s->listener;
    listener_sockets open_now, closing;

    pthread_mutex_lock(&s->config_lock);
    open_now = l->open;
    closing = l->closing;
    l->closing.count = 0;
    pthread_mutex_unlock(&s->config_lock);
    for (int i = 0; i < closing.count; i++)
        close_socket(l, closing.sockets[i].fd);
    for (int i = 0; i < open_now.count; i++) {
        listener_socket *watched = find_watched(l, open_now.sockets[i].fd);

        if (watched)
            watched->kind = open_now.sockets[i].kind;
        else
            watch_socket(s, &open_now.sockets[i]);
    }
    has_reserve(l);
}

void listener_stop(server *s)
{
    listener *l = &s->listener;
    listener_sockets none = { .count = 0 }, closing = { .count = 0 };

    if (l->stopped)
        return;
    l->stopped = true;
    pthread_mutex_lock(&s->config_lock);
    retire(&l->open, &none, &closing);
    retire(&l->closing, &none, &closing);
    l->open.count = l->closing.count = 0;
    pthread_mutex_unlock(&s->config_lock);
    for (int i = 0; i < closing.count; i++)
        close_socket(l, closing.sockets[i].fd);
    if (l->unix_path[0] && !l->unix_inherited)
        unlink(l->unix_path);
    if (l->reserve_fd > 0)
        close(l->reserve_fd);
}
