/* tls.c - see tls.h.
 *
 * Each server listens on two ports, a plain one and one with TLS, and gets the same requests at both: every link of a crowd
 * sends its pipeline, then the replies of each are taken and checked. Then clients come, shake hands, ask for a sign of life and
 * leave; half the rows with a session of before. What counts is the server's own CPU time, since the client's half of TLS costs
 * as much. Servers take turns, round after round.
 *
 * SPDX-License-Identifier: MIT */
#include "tls.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "median.h"
#include "server.h"
#include "tls_link.h"

#define ROUNDS_MAX 99

enum { ROW_REQUESTS = 8, ROW_FULL = ROW_REQUESTS, ROW_RESUMED, ROWS };

/* A server, and who talks to it: half of the links are plain. */
typedef struct crowd {
    server server;
    tls_links *shared;
    tls_link **links[2]; /* plain, secure */
    unsigned count;
    protocol protocol;
    uint64_t random;
    char *out, *in;
    size_t size;
} crowd;

static void set_defaults(options *o)
{
    static char words[1024];

    snprintf(words, sizeof words,
             "--tls-port {tls-port} --tls-cert-file {dir}/kvbench.crt --tls-key-file {dir}/kvbench.key "
             "--tls-ca-cert-file {dir}/kvbench.crt --tls-auth-clients no");
    o->server_args = words;
    o->threads = 1;
    if (!o->connections)
        o->connections = 50;
    if (!o->value_size)
        o->value_size = 16;
    if (!o->keys)
        o->keys = 100000;
    if (!o->requests)
        o->requests = 200000;
    if (!o->handshakes)
        o->handshakes = 500;
}

/* ---- requests ---- */

static uint64_t draw(crowd *c, uint64_t keys)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (c->random >> 33) % keys;
}

/* Takes and checks the replies to these requests. */
static int take_replies(crowd *c, tls_link *l, const request requests[], unsigned depth, fault *f)
{
    size_t have = 0, used = 0, got;
    unsigned done = 0;
    outcome what;

    while (done < depth) {
        ssize_t len = protocol_take(&c->protocol, c->in + used, have - used, requests[done], &what);

        if (len < 0 || (len > 0 && what == OUTCOME_MISS))
            return fault_set(f, "it answers nonsense");
        used += (size_t)len;
        done += len > 0;
        if (len > 0)
            continue;
        memmove(c->in, c->in + used, have - used);
        have -= used;
        used = 0;
        if (tls_link_receive(l, c->in + have, c->size - have, &got, f))
            return -1;
        have += got;
    }
    return 0;
}

/* One pipeline of each link. */
static int round_trip(crowd *c, bool secure, unsigned depth, bool set, uint64_t keys, bool in_order, fault *f)
{
    request *requests = calloc((size_t)c->count * depth, sizeof *requests);
    int err = requests ? 0 : fault_set(f, "out of memory");

    for (unsigned i = 0; i < c->count && !err; i++) {
        request *own = requests + (size_t)i * depth;
        size_t len = 0;

        for (unsigned k = 0; k < depth; k++) {
            own[k] = (request){ .key = in_order ? c->random++ % keys : draw(c, keys), .set = set };
            len += protocol_put(&c->protocol, c->out + len, own[k]);
        }
        err = tls_link_send(c->links[secure][i], c->out, len, f);
    }
    for (unsigned i = 0; i < c->count && !err; i++)
        err = take_replies(c, c->links[secure][i], requests + (size_t)i * depth, depth, f);
    free(requests);
    return err;
}

/* CPU microseconds of the server per request. */
static int measure_requests(crowd *c, const options *o, int row, double *ret_us, fault *f)
{
    bool secure = row & 1, alone = row & 2, set = row & 4;
    unsigned depth = alone ? 1 : (unsigned)o->depth;
    uint64_t wanted = alone ? o->requests / 10 : o->requests, sent = 0;
    double before = process_cpu(&c->server.process);

    for (; sent < wanted || !sent; sent += (uint64_t)depth * c->count)
        if (round_trip(c, secure, depth, set, o->keys, false, f))
            return contestant_blame(&c->server, f);
    *ret_us = (process_cpu(&c->server.process) - before) * 1e6 / (double)sent;
    return 0;
}

/* ---- handshakes ---- */

static int ping(tls_link *l, fault *f)
{
    char reply[64];
    size_t len;

    if (tls_link_send(l, "PING\r\n", 6, f) || tls_link_receive(l, reply, sizeof reply, &len, f))
        return -1;
    return len == 7 && memcmp(reply, "+PONG\r\n", 7) == 0 ? 0 : fault_set(f, "it answers nonsense to PING");
}

/* CPU microseconds of the server per handshake, with a PING. */
static int measure_handshakes(crowd *c, const options *o, bool resumed, double *ret_us, fault *f)
{
    tls_link *like = NULL;
    double before;
    int err = 0;

    if (resumed) {
        like = tls_link_open(c->shared, c->server.tls_port, true, NULL, f);
        err = like ? ping(like, f) : -1; /* the session comes with the first reply */
    }
    before = process_cpu(&c->server.process);
    for (uint64_t n = 0; n < o->handshakes && !err; n++) {
        tls_link *l = tls_link_open(c->shared, c->server.tls_port, true, like, f);

        err = l ? ping(l, f) : -1;
        if (!err && resumed && !tls_link_resumed(l))
            err = fault_set(f, "it takes up no session");
        tls_link_close(l);
    }
    *ret_us = (process_cpu(&c->server.process) - before) * 1e6 / (double)o->handshakes;
    tls_link_close(like);
    return err ? contestant_blame(&c->server, f) : 0;
}

static int measure(crowd *c, const options *o, int row, double *ret_us, fault *f)
{
    return row < ROW_REQUESTS ? measure_requests(c, o, row, ret_us, f)
                              : measure_handshakes(c, o, row == ROW_RESUMED, ret_us, f);
}

/* ---- the crowd ---- */

static int fill(crowd *c, const options *o, fault *f)
{
    c->random = 0;
    for (uint64_t sent = 0; sent < o->keys; sent += o->depth * c->count)
        if (round_trip(c, false, (unsigned)o->depth, true, o->keys, true, f))
            return contestant_blame(&c->server, f);
    c->random = o->seed;
    return 0;
}

static int gather(crowd *c, const contestant *who, const options *o, const char *dir, fault *f)
{
    c->count = (unsigned)o->connections;
    c->shared = tls_links_new(f);
    if (!c->shared)
        return -1;
    protocol_init(&c->protocol, PROTOCOL_RESP, o->value_size);
    c->size = protocol_max(&c->protocol) * o->depth;
    c->out = malloc(c->size);
    c->in = malloc(c->size);
    c->links[0] = calloc(c->count, sizeof *c->links[0]);
    c->links[1] = calloc(c->count, sizeof *c->links[1]);
    if (!c->out || !c->in || !c->links[0] || !c->links[1])
        return fault_set(f, "out of memory");
    if (contestant_start(who, &c->server, dir, NULL, f))
        return -1;
    for (unsigned i = 0; i < 2 * c->count; i++) {
        bool secure = i & 1;

        c->links[secure][i / 2] =
            tls_link_open(c->shared, secure ? c->server.tls_port : c->server.port, secure, NULL, f);
        if (!c->links[secure][i / 2])
            return contestant_blame(&c->server, f);
    }
    return fill(c, o, f);
}

static void scatter(crowd *c)
{
    for (int secure = 0; secure < 2; secure++) {
        for (unsigned i = 0; c->links[secure] && i < c->count; i++)
            tls_link_close(c->links[secure][i]);
        free(c->links[secure]);
    }
    tls_links_free(c->shared);
    free(c->out);
    free(c->in);
    contestant_stop(&c->server, 10);
}

/* ---- what it comes to ---- */

static void name_row(const options *o, int row, char *name, size_t size)
{
    char how[32];

    if (row >= ROW_REQUESTS) {
        snprintf(name, size,
                 row == ROW_FULL ? "handshake, PING" : "handshake with a session of before, PING");
        return;
    }
    snprintf(how, sizeof how, "pipeline %llu", (unsigned long long)o->depth);
    snprintf(name, size, "%s, %s%s", row & 4 ? "SET" : "GET", row & 2 ? "no pipeline" : how,
             row & 1 ? ", TLS" : "");
}

static void tell(table *t, const lineup *l, const options *o, double us[ROWS][LINEUP_MAX][ROUNDS_MAX])
{
    int redis = lineup_find(l, "redis-server");
    size_t n = (size_t)o->rounds;

    for (int row = 0; row < ROWS; row++) {
        char name[96];
        double base;

        name_row(o, row, name, sizeof name);
        base = redis < 0 ? 0 : median(us[row][redis], n);
        for (unsigned i = 0; i < l->count; i++) {
            double value = median(us[row][i], n);
            unsigned at = table_row(t, "%s", name), column;

            if (!server_has_transactions(&l->contestants[i]))
                continue;
            column = table_column(t, l->contestants[i].name);
            if (redis < 0 || (unsigned)redis == i)
                table_set(t, at, column, value, "%.2f", value);
            else
                table_set(t, at, column, value, "%.2f (%.2f)", value, value / base);
        }
    }
}

static int measure_all(crowd crowds[], const lineup *l, const options *o,
                       double us[ROWS][LINEUP_MAX][ROUNDS_MAX], fault *f)
{
    for (size_t round = 0; round < o->rounds; round++)
        for (int row = 0; row < ROWS; row++)
            for (unsigned i = 0; i < l->count; i++)
                if (crowds[i].shared && measure(&crowds[i], o, row, &us[row][i][round], f))
                    return -1;
    return 0;
}

int tls_bench(options *o, report *r, fault *f)
{
    static lineup l;
    static double us[ROWS][LINEUP_MAX][ROUNDS_MAX];
    static crowd crowds[LINEUP_MAX];
    char dir[256];
    table *t;
    int err;

    set_defaults(o);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to whoever has gone */
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    err = tls_link_certify(dir, f);
    for (unsigned i = 0; i < l.count && !err; i++)
        if (server_has_transactions(&l.contestants[i]))
            err = gather(&crowds[i], &l.contestants[i], o, dir, f);
    if (!err)
        err = measure_all(crowds, &l, o, us, f);
    t = err ? NULL : report_add(r, "Server CPU time, microseconds (x redis-server)");
    if (t)
        tell(t, &l, o, us);
    else if (!err)
        err = fault_set(f, "out of memory");
    for (unsigned i = 0; i < l.count; i++)
        if (crowds[i].shared)
            scatter(&crowds[i]);
    process_remove_dir(dir);
    return err;
}
