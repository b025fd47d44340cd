/* metrics.c - see metrics.h.
 *
 * libevent's HTTP server answers; what it lacks is a limit of connections and of their age, so that nobody who opens many,
 * or sends a byte a second, takes more than a few descriptors from the server:
 *
 *     at most GUESTS_MAX connections; while there are as many, the listening socket is not looked at
 *     a connection lives GUEST_MS at most; every answer closes it
 *     headers of at most HEADERS_MAX bytes, bodies none, GET and HEAD only
 *
 * evhttp frees a connection without telling us. So each has one reference of ours to its bufferevent, which then has no
 * callbacks any more: a look once a second, or when one more would be too many, finds those that have gone. (evhttp has
 * closed the socket by then: the reference keeps memory only.)
 *
 * SPDX-License-Identifier: MIT */
#include "metrics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "info.h"
#include "metrics_text.h"

#define GUESTS_MAX  32
#define GUEST_MS    10000
#define IDLE_S      5
#define HEADERS_MAX 8192
#define BACKLOG     16

typedef struct guest {
    struct bufferevent *connection;
    uint64_t since_ns;
} guest;

struct metrics {
    server *server;
    pthread_t thread;
    bool runs; /* the thread has been started */
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener; /* http's */
    int stop_fd;
    struct event *stop, *sweep, *again;
    guest guests[GUESTS_MAX];
    size_t guest_count;
};

/* ---- guests ---- */

static bool has_gone(struct bufferevent *connection)
{
    bufferevent_data_cb read, write;
    bufferevent_event_cb event;
    void *arg;

    bufferevent_getcb(connection, &read, &write, &event, &arg);
    return !read && !write && !event;
}

/* Takes no more connections, and looks again soon. */
static void wait_for_room(metrics *m)
{
    const struct timeval soon = { .tv_usec = 20000 };

    evconnlistener_disable(m->listener);
    event_add(m->again, &soon);
}

/* Forgets those that have gone, and ends those that have been here too long. */
static void look_at_guests(metrics *m)
{
    uint64_t now_ns = clock_ns();
    size_t kept = 0;

    for (size_t i = 0; i < m->guest_count; i++) {
        guest g = m->guests[i];

        if (has_gone(g.connection)) {
            bufferevent_decref(g.connection);
            continue;
        }
        if (now_ns - g.since_ns > (uint64_t)GUEST_MS * 1000000)
            shutdown(bufferevent_getfd(g.connection), SHUT_RDWR);
        m->guests[kept++] = g;
    }
    m->guest_count = kept;
    if (kept < GUESTS_MAX)
        evconnlistener_enable(m->listener);
    else
        wait_for_room(m);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look_at_guests(arg);
}

/* Called by evhttp for each connection. Its callbacks are set afterwards, so those that are new here have "gone" until then:
 * they are noted first, and looked at in a later turn of the loop. */
static struct bufferevent *welcome(struct event_base *base, void *arg)
{
    metrics *m = arg;
    struct bufferevent *connection = bufferevent_socket_new(base, -1, 0);

    if (!connection)
        return NULL;
    if (m->guest_count == GUESTS_MAX)
        look_at_guests(m);
    if (m->guest_count < GUESTS_MAX) {
        bufferevent_incref(connection);
        m->guests[m->guest_count++] = (guest){ connection, clock_ns() };
    }
    if (m->guest_count == GUESTS_MAX)
        wait_for_room(m);
    return connection;
}

/* ---- answers ---- */

static void answer(struct evhttp_request *asked, int status, const char *reason, const char *type,
                   struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(asked);
    char length[24];

    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Connection", "close");
    if (evhttp_request_get_command(asked) == EVHTTP_REQ_HEAD && body) {
        snprintf(length, sizeof length, "%zu", evbuffer_get_length(body));
        evhttp_add_header(headers, "Content-Length", length);
        body = NULL;
    }
    evhttp_send_reply(asked, status, reason, body);
}

static void answer_text(struct evhttp_request *asked, int status, const char *reason, const char *text)
{
    struct evbuffer *body = evbuffer_new();

    if (body)
        evbuffer_add_printf(body, "%s\n", text);
    answer(asked, status, reason, "text/plain; charset=utf-8", body);
    if (body)
        evbuffer_free(body);
}

static void write_slowlog(FILE *out, server *s)
{
    int64_t id, usec;

    slowlog_newest(s->slowlog, &id, &usec);
    metrics_write(out, "redis_slowlog_length", "gauge", (double)slowlog_len(s->slowlog));
    metrics_write(out, "redis_slowlog_last_id", "gauge", (double)id);
    metrics_write(out, "redis_last_slow_execution_duration_seconds", "gauge", (double)usec / 1e6);
}

/* What redis_exporter asks CONFIG GET for. */
static void write_settings(FILE *out, server *s)
{
    metrics_write(out, "redis_config_maxclients", "gauge",
                  (double)config_number(s->config, CONFIG_ID_maxclients));
    metrics_write(out, "redis_config_maxmemory", "gauge",
                  (double)config_number(s->config, CONFIG_ID_maxmemory));
    metrics_write(out, "redis_config_io_threads", "gauge", s->worker_count);
}

static bool write_figures(server *s, struct evbuffer *body)
{
    char *text = NULL, *info = info_everything(s);
    size_t len = 0;
    FILE *out = info ? open_memstream(&text, &len) : NULL;
    bool done = false;

    if (out) {
        metrics_write(out, "redis_up", "gauge", 1);
        metrics_write(out, "redis_start_time_seconds", "gauge", (double)s->started_ms / 1000);
        write_slowlog(out, s);
        write_settings(out, s);
        metrics_write_info(out, info);
        done = fclose(out) == 0 && evbuffer_add(body, text, len) == 0;
    }
    free(info);
    free(text);
    return done;
}

static void on_metrics(struct evhttp_request *asked, void *arg)
{
    metrics *m = arg;
    struct evbuffer *body = evbuffer_new();

    if (body && write_figures(m->server, body))
        answer(asked, HTTP_OK, "OK", "text/plain; version=0.0.4; charset=utf-8", body);
    else
        answer_text(asked, HTTP_INTERNAL, "Internal Server Error", "out of memory");
    if (body)
        evbuffer_free(body);
}

static void on_health(struct evhttp_request *asked, void *arg)
{
    metrics *m = arg;
    const char *obstacle = server_unready(m->server);

    if (obstacle)
        answer_text(asked, HTTP_SERVUNAVAIL, "Service Unavailable", obstacle);
    else
        answer_text(asked, HTTP_OK, "OK", "ok");
}

static void on_other(struct evhttp_request *asked, void *arg)
{
    (void)arg;
    answer_text(asked, HTTP_NOTFOUND, "Not Found", "there are /metrics and /healthz");
}

/* ---- life ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    metrics *m = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(m->base);
}

static void *run(void *arg)
{
    metrics *m = arg;

    event_base_dispatch(m->base);
    return NULL;
}

static int fail(config_error *error, const char *what)
{
    snprintf(error->text, sizeof error->text, "metrics-port: %s: %s", what, strerror(errno));
    return -1;
}

static int listen_at(metrics *m, config_error *error)
{
    char *address = config_text(m->server->config, CONFIG_ID_metrics_bind);
    struct sockaddr_storage at = { 0 };
    int port = (int)config_number(m->server->config, CONFIG_ID_metrics_port), len = sizeof at, result = -1;

    errno = ENOMEM;
    if (!address) {
        fail(error, "metrics-bind");
    } else if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&at, &len) != 0 ||
               (at.ss_family != AF_INET && at.ss_family != AF_INET6)) {
        snprintf(error->text, sizeof error->text, "metrics-bind: '%.200s' is no address of IPv4 or IPv6",
                 address);
    } else {
        if (at.ss_family == AF_INET)
            ((struct sockaddr_in *)&at)->sin_port = htons((uint16_t)port);
        else
            ((struct sockaddr_in6 *)&at)->sin6_port = htons((uint16_t)port);
        m->listener = evconnlistener_new_bind(
            m->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
            (struct sockaddr *)&at, len);
        if (!m->listener)
            fail(error, address);
        else if (evhttp_bind_listener(m->http, m->listener))
            result = 0;
        else
            fail(error, address);
    }
    free(address);
    return result;
}

static int open_all(metrics *m, config_error *error)
{
    const struct timeval second = { .tv_sec = 1 };

    m->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    m->base = event_base_new();
    m->http = m->base ? evhttp_new(m->base) : NULL;
    if (!m->http || m->stop_fd < 0)
        return fail(error, "out of memory");
    m->stop = event_new(m->base, m->stop_fd, EV_READ, on_stop, m);
    m->sweep = event_new(m->base, -1, EV_PERSIST, on_sweep, m);
    m->again = event_new(m->base, -1, 0, on_sweep, m);
    if (!m->stop || !m->sweep || !m->again || event_add(m->stop, NULL) != 0 ||
        event_add(m->sweep, &second) != 0)
        return fail(error, "out of memory");
    evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(m->http, HEADERS_MAX);
    evhttp_set_max_body_size(m->http, 0);
    evhttp_set_timeout(m->http, IDLE_S);
    evhttp_set_bevcb(m->http, welcome, m);
    if (evhttp_set_cb(m->http, "/metrics", on_metrics, m) != 0 ||
        evhttp_set_cb(m->http, "/healthz", on_health, m) != 0)
        return fail(error, "out of memory");
    evhttp_set_gencb(m->http, on_other, m);
    return listen_at(m, error);
}

/* Signals are worker 0's business. */
static int start_thread(metrics *m, config_error *error)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&m->thread, NULL, run, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    m->runs = !err;
    errno = err;
    return err ? fail(error, "can't start a thread") : 0;
}

metrics *metrics_start(server *s, config_error *ret_error)
{
    metrics *m;

    ret_error->text[0] = '\0';
    if (!config_number(s->config, CONFIG_ID_metrics_port))
        return NULL;
    m = calloc(1, sizeof *m);
    if (!m) {
        fail(ret_error, "out of memory");
        return NULL;
    }
    m->server = s;
    m->stop_fd = -1;
    if (open_all(m, ret_error) == 0 && start_thread(m, ret_error) == 0)
        return m;
    metrics_stop(m);
    return NULL;
}

void metrics_stop(metrics *m)
{
    uint64_t one = 1;

    if (!m)
        return;
    if (m->runs && write(m->stop_fd, &one, sizeof one) == sizeof one)
        pthread_join(m->thread, NULL);
    if (m->http)
        evhttp_free(m->http);
    for (size_t i = 0; i < m->guest_count; i++)
        bufferevent_decref(m->guests[i].connection);
    if (m->stop)
        event_free(m->stop);
    if (m->sweep)
        event_free(m->sweep);
    if (m->again)
        event_free(m->again);
    if (m->base)
        event_base_free(m->base);
    if (m->stop_fd >= 0)
        close(m->stop_fd);
    free(m);
}
