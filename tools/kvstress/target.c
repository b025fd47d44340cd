/* target.c - see target.h.
 *
 * The probe tells "this is no RESP server" and "this server does not know that command" from what kvstress is
 * there to find: it looks at the kind of an answer, and at that to PING, never at what a key holds.
 *
 * SPDX-License-Identifier: MIT */
#include "target.h"

#include <hiredis/hiredis.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_S 5

static int use_socket(target *t, const char *path, fault *f)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&t->address;

    if (strlen(path) >= sizeof address->sun_path)
        return fault_usage(f, "--socket: the path is longer than %zu bytes", sizeof address->sun_path - 1);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    t->address_len = sizeof *address;
    t->family = AF_UNIX;
    snprintf(t->name, sizeof t->name, "%s", path);
    return 0;
}

/* The first that somebody listens on; if there is none, the first. */
static const struct addrinfo *choose_address(const struct addrinfo *all)
{
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool connected = fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0;

        if (fd >= 0)
            close(fd);
        if (connected)
            return a;
    }
    return all;
}

static void use_address(target *t, const struct addrinfo *a)
{
    memcpy(&t->address, a->ai_addr, a->ai_addrlen);
    t->address_len = a->ai_addrlen;
    t->family = a->ai_family;
}

int target_init(target *t, const options *o, fault *f)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    char port[16];
    int err;

    memset(t, 0, sizeof *t);
    t->options = o;
    if (o->socket)
        return use_socket(t, o->socket, f);
    snprintf(port, sizeof port, "%llu", (unsigned long long)o->port);
    err = getaddrinfo(o->host, port, &hints, &found);
    if (err)
        return fault_set(f, "%s: %s", o->host, gai_strerror(err));
    use_address(t, choose_address(found));
    freeaddrinfo(found);
    snprintf(t->name, sizeof t->name, "%.100s:%s", o->host, port);
    return 0;
}

int target_connect(const target *t, bool *ret_done)
{
    int fd = socket(t->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

    if (fd < 0)
        return -1;
    if (t->family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *ret_done = connect(fd, (const struct sockaddr *)&t->address, t->address_len) == 0;
    if (*ret_done || errno == EINPROGRESS)
        return fd;

    int cause = errno;

    close(fd);
    errno = cause;
    return -1;
}

/* ---- asking, one thing at a time -------------------------------------------------------- */

static redisContext *open_context(const target *t, double seconds, fault *f)
{
    const options *o = t->options;
    struct timeval wait = { .tv_sec = (time_t)seconds,
                            .tv_usec = (suseconds_t)((seconds - (time_t)seconds) * 1e6) };
    redisContext *c = o->socket ? redisConnectUnixWithTimeout(o->socket, wait)
                                : redisConnectWithTimeout(o->host, (int)o->port, wait);

    if (c && !c->err && redisSetTimeout(c, wait) == REDIS_OK)
        return c;
    fault_set(f, "cannot connect to %s: %s", t->name, c ? c->errstr : "out of memory");
    if (c)
        redisFree(c);
    return NULL;
}

static redisReply *ask(redisContext *c, fault *f, int argc, const char *argv[])
{
    redisReply *r = redisCommandArgv(c, argc, argv, NULL);

    if (r)
        return r;
    if (c->err == REDIS_ERR_PROTOCOL)
        fault_set(f, "it answers nonsense to %s: %s", argv[0], c->errstr);
    else if (c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == ETIMEDOUT))
        fault_set(f, "it does not answer %s", argv[0]);
    else
        fault_set(f, "it does not answer %s: %s", argv[0], c->errstr);
    return NULL;
}
#define ASK(c, f, ...)                                                               \
    ask(c, f, (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(const char *)), \
        (const char *[]){ __VA_ARGS__ })

/* Whether the reply is the status text; frees it. */
static int expect_status(redisReply *r, const char *what, const char *status, fault *f)
{
    int err = 0;

    if (!r)
        return -1;
    if (r->type == REDIS_REPLY_ERROR)
        err = fault_set(f, "it refuses %s: %s", what, r->str);
    else if (r->type != REDIS_REPLY_STATUS || strcmp(r->str, status) != 0)
        err = fault_set(f, "it answers nonsense to %s: \"%.80s\" instead of %s", what,
                        r->str ? r->str : "(no text)", status);
    freeReplyObject(r);
    return err;
}

static int log_in(const target *t, redisContext *c, fault *f)
{
    const options *o = t->options;
    char db[24];

    if (o->user && expect_status(ASK(c, f, "AUTH", o->user, o->pass), "AUTH", "OK", f))
        return -1;
    if (!o->user && o->pass && expect_status(ASK(c, f, "AUTH", o->pass), "AUTH", "OK", f))
        return -1;
    snprintf(db, sizeof db, "%llu", (unsigned long long)o->db);
    return o->db ? expect_status(ASK(c, f, "SELECT", db), "SELECT", "OK", f) : 0;
}

int target_ping(const target *t, double seconds, fault *f)
{
    redisContext *c = open_context(t, seconds, f);
    int err;

    if (!c)
        return 1;
    err = log_in(t, c, f) || expect_status(ASK(c, f, "PING"), "PING", "PONG", f);
    redisFree(c);
    if (!err)
        return 0;
    return strstr(f->text, "LOADING") ? 1 : -1;
}

/* Tried in this order, on one key that holds a number, or nothing. */
static const char *const TRIALS[COMMANDS_USED] = {
    [USE_ECHO] = "ECHO kvstress",
    [USE_SET_XX] = "SET kvstress:probe 1 XX",
    [USE_SET_PX] = "SET kvstress:probe 1 PX 100000",
    [USE_SET_EX] = "SET kvstress:probe 1 EX 100",
    [USE_SET_IFEQ] = "SET kvstress:probe 1 IFEQ 1",
    [USE_SET_KEEPTTL] = "SET kvstress:probe 1 KEEPTTL",
    [USE_GETV] = "GETV kvstress:probe",
    [USE_GETSET] = "GETSET kvstress:probe 1",
    [USE_GETRANGE] = "GETRANGE kvstress:probe 0 -1",
    [USE_GETEX] = "GETEX kvstress:probe PX 100000",
    [USE_EXISTS] = "EXISTS kvstress:probe",
    [USE_STRLEN] = "STRLEN kvstress:probe",
    [USE_INCR] = "INCR kvstress:probe",
    [USE_DECR] = "DECR kvstress:probe",
    [USE_INCRBY] = "INCRBY kvstress:probe 5",
    [USE_DECRBY] = "DECRBY kvstress:probe 5",
    [USE_APPEND] = "APPEND kvstress:probe 1",
    [USE_PSETEX] = "PSETEX kvstress:probe 100000 1",
    [USE_PEXPIRE] = "PEXPIRE kvstress:probe 100000",
    [USE_PTTL] = "PTTL kvstress:probe",
    [USE_TTL] = "TTL kvstress:probe",
    [USE_PERSIST] = "PERSIST kvstress:probe",
    [USE_MSET] = "MSET kvstress:probe 1 kvstress:probe:2 1",
    [USE_MGET] = "MGET kvstress:probe kvstress:probe:2",
    [USE_GETDEL] = "GETDEL kvstress:probe",
    [USE_SETNX] = "SETNX kvstress:probe 1",
    [USE_DEL] = "DEL kvstress:probe kvstress:probe:2",
    [USE_MSETNX] = "MSETNX kvstress:probe 1",
    [USE_PUBLISH] = "PUBLISH kvstress:probe 1",
};

/* Asks a line of words; a command on keys goes through the module if that is what is checked. */
static redisReply *ask_line(const target *t, redisContext *c, fault *f, const char *line)
{
    size_t name = strcspn(line, " ");
    char ours[128];
    redisReply *r;

    if (t->options->module == MODULE_NOT || strstr(line, "kvstress:probe") != line + name + 1 ||
        strncmp(line, "PUBLISH", name) == 0)
        snprintf(ours, sizeof ours, "%s", line);
    else
        snprintf(ours, sizeof ours, "KV.%.*s kvstress:probe%s", (int)name, line, line + name);
    r = redisCommand(c, ours);
    if (!r)
        fault_set(f, "it does not answer %s: %s", ours, c->errstr);
    return r;
}

static int probe_get(const target *t, redisContext *c, fault *f)
{
    redisReply *r = ask_line(t, c, f, "GET kvstress:probe");
    int err = 0;

    if (!r)
        return -1;
    if (r->type == REDIS_REPLY_ERROR)
        err = fault_set(f, "it refuses GET: %.200s", r->str);
    else if (r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_NIL)
        err = fault_set(f, "it answers nonsense to GET: neither text nor nil");
    freeReplyObject(r);
    return err;
}

/* Whether the command is answered with anything but an error; -1 when the connection failed. */
static int knows(redisReply *r, bool *ret)
{
    if (!r)
        return -1;
    *ret = r->type != REDIS_REPLY_ERROR;
    freeReplyObject(r);
    return 0;
}

static int probe_commands(target *t, redisContext *c, fault *f)
{
    for (unsigned i = 0; i < COMMANDS_USED; i++) {
        if (knows(ask_line(t, c, f, TRIALS[i]), &t->knows[i]))
            return -1;
    }
    return 0;
}

static int probe_transactions(target *t, redisContext *c, fault *f)
{
    bool multi, get, watch, unwatch;

    if (knows(ASK(c, f, "WATCH", "kvstress:probe"), &watch) || knows(ASK(c, f, "UNWATCH"), &unwatch) ||
        knows(ASK(c, f, "MULTI"), &multi))
        return -1;
    t->transactions = false;
    if (!multi || !watch || !unwatch)
        return 0;
    return knows(ask_line(t, c, f, "GET kvstress:probe"), &get) || knows(ASK(c, f, "EXEC"), &t->transactions)
               ? -1
               : 0;
}

static void read_software(target *t, redisContext *c)
{
    static const char *const fields[] = { "\nkvstore_version:", "\nvalkey_version:", "\nredis_version:" };
    static const char *const names[] = { "kvserver", "valkey-server", "redis-server" };
    redisReply *r = redisCommand(c, "INFO server");

    for (size_t i = 0; r && r->type == REDIS_REPLY_STRING && i < 3; i++) {
        const char *at = strstr(r->str, fields[i]);

        if (!at)
            continue;
        at += strlen(fields[i]);
        snprintf(t->software, sizeof t->software, "%s %.*s", names[i], (int)strcspn(at, "\r\n"), at);
        break;
    }
    if (r)
        freeReplyObject(r);
}

int target_probe(target *t, fault *f)
{
    redisContext *c = open_context(t, PATIENCE_S, f);
    bool deleted;
    int err;

    if (!c)
        return -1;
    err = log_in(t, c, f) || expect_status(ASK(c, f, "PING"), "PING", "PONG", f) ||
          expect_status(ask_line(t, c, f, "SET kvstress:probe 1"), "SET", "OK", f) || probe_get(t, c, f) ||
          probe_commands(t, c, f) || probe_transactions(t, c, f);
    if (!err && t->knows[USE_DEL])
        err = knows(ask_line(t, c, f, "DEL kvstress:probe"), &deleted);
    if (!err)
        read_software(t, c);
    redisFree(c);
    return err ? fault_prefix(f, "%s: ", t->name) : 0;
}
