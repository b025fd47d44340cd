/* fake_cluster.c - see fake_cluster.h. One mutex round the state: each node has a thread of its own.
 *
 * SPDX-License-Identifier: MIT */
#include "fake_cluster.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key_slot.h"

enum { keys_max = 4096, connections_max = 1024 };

typedef struct number {
    char key[64];
    int value;
} number;

/* What a connection is in. */
typedef struct session {
    bool asking, in_multi, aborted;
    int queued;
    char queue[64][64]; /* keys to INCR */
} session;

typedef struct node {
    struct fake_cluster *cluster;
    int index;
    fake_server *fake;
    session sessions[connections_max];
} node;

struct fake_cluster {
    pthread_mutex_t mutex;
    node nodes[fake_nodes];
    int owners[KVC_SLOT_COUNT], migrating[KVC_SLOT_COUNT];
    number numbers[keys_max];
    size_t n;
    const char *error;
    int errors;
    const char *slots_reply;
    bool hide_host;
    int redirects, maps;
};

static number *number_of(fake_cluster *c, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->numbers[i].key, key) == 0)
            return &c->numbers[i];
    if (c->n == keys_max)
        abort();
    snprintf(c->numbers[c->n].key, sizeof c->numbers[c->n].key, "%s", key);
    return &c->numbers[c->n++];
}

static void say_slots(fake_cluster *c, fake_request *request)
{
    char *text = NULL;
    size_t len = 0, ranges = 0;
    FILE *out = open_memstream(&text, &len);

    c->maps++;
    for (unsigned first = 0, last; first < KVC_SLOT_COUNT; first = last + 1) {
        for (last = first; last + 1 < KVC_SLOT_COUNT && c->owners[last + 1] == c->owners[first]; last++)
            ;
        fprintf(out, "*3\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n", first, last,
                fake_port(c->nodes[c->owners[first]].fake));
        ranges++;
    }
    fclose(out);
    if (c->slots_reply)
        fake_say(request, "%s", c->slots_reply);
    else
        fake_say(request, "*%zu\r\n%s", ranges, text);
    free(text);
}

static void say_elsewhere(fake_cluster *c, fake_request *request, const char *word, unsigned slot, int to)
{
    c->redirects++;
    fake_say(request, "-%s %u %s:%d\r\n", word, slot, c->hide_host ? "" : "127.0.0.1",
             fake_port(c->nodes[to].fake));
}

/* Whether this node serves the key now; else the client was told. */
static bool serves(node *n, fake_request *request, const char *key, bool asking)
{
    fake_cluster *c = n->cluster;
    unsigned slot = kvc_key_slot(kvc_str(key));

    if (c->errors > 0) {
        c->errors--;
        fake_say(request, "-%s\r\n", c->error);
        return false;
    }
    if (c->owners[slot] == n->index && c->migrating[slot] < 0)
        return true;
    if (c->owners[slot] == n->index) {
        say_elsewhere(c, request, "ASK", slot, c->migrating[slot]);
        return false;
    }
    if (c->migrating[slot] == n->index && asking)
        return true;
    say_elsewhere(c, request, "MOVED", slot, c->owners[slot]);
    return false;
}

static void run_exec(node *n, session *s, fake_request *request)
{
    if (s->aborted) {
        fake_say(request, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    } else {
        fake_say(request, "*%d\r\n", s->queued);
        for (int i = 0; i < s->queued; i++)
            fake_say(request, ":%d\r\n", ++number_of(n->cluster, s->queue[i])->value);
    }
    *s = (session){ .asking = false };
}

static void run_keyed(node *n, session *s, fake_request *request, bool asking)
{
    const char *key = fake_arg(request, 1);

    if (!serves(n, request, key, asking)) {
        s->aborted = s->in_multi;
    } else if (fake_is(request, "SSUBSCRIBE")) {
        fake_say(request, "*3\r\n$10\r\nssubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(key), key);
    } else if (fake_is(request, "WATCH")) {
        fake_say(request, "+OK\r\n");
    } else if (s->in_multi) {
        snprintf(s->queue[s->queued++], sizeof s->queue[0], "%s", key);
        fake_say(request, "+QUEUED\r\n");
    } else if (fake_is(request, "INCR")) {
        fake_say(request, ":%d\r\n", ++number_of(n->cluster, key)->value);
    } else {
        fake_say(request, ":%d\r\n", number_of(n->cluster, key)->value);
    }
}

static void answer(fake_request *request, void *arg)
{
    node *n = arg;
    session *s = &n->sessions[fake_connection(request) % connections_max];
    bool asking = s->asking;

    pthread_mutex_lock(&n->cluster->mutex);
    s->asking = fake_is(request, "ASKING");
    if (fake_is(request, "CLUSTER SLOTS")) {
        say_slots(n->cluster, request);
    } else if (fake_is(request, "MULTI")) {
        *s = (session){ .in_multi = true };
        fake_say(request, "+OK\r\n");
    } else if (fake_is(request, "EXEC")) {
        run_exec(n, s, request);
    } else if (fake_is(request, "SCAN")) {
        fake_say(request, "*2\r\n$1\r\n0\r\n*1\r\n$5\r\nnode%d\r\n", n->index);
    } else if (fake_is(request, "SUBSCRIBE")) {
        fake_say(request, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", strlen(fake_arg(request, 1)),
                 fake_arg(request, 1));
    } else if (!fake_handshake(request)) {
        run_keyed(n, s, request, asking);
    }
    pthread_mutex_unlock(&n->cluster->mutex);
}

fake_cluster *fake_cluster_start(void)
{
    fake_cluster *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    pthread_mutex_init(&c->mutex, NULL);
    for (unsigned slot = 0; slot < KVC_SLOT_COUNT; slot++) {
        c->owners[slot] = (int)(slot * fake_nodes / KVC_SLOT_COUNT);
        c->migrating[slot] = -1;
    }
    for (int i = 0; i < fake_nodes; i++) {
        c->nodes[i].cluster = c;
        c->nodes[i].index = i;
        pthread_mutex_lock(&c->mutex);
        c->nodes[i].fake = fake_start(answer, &c->nodes[i]);
        pthread_mutex_unlock(&c->mutex);
    }
    return c;
}

void fake_cluster_stop(fake_cluster *c)
{
    for (int i = 0; i < fake_nodes; i++)
        fake_stop(c->nodes[i].fake);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

int fake_cluster_port(const fake_cluster *c, int node_index)
{
    return fake_port(c->nodes[node_index].fake);
}

fake_server *fake_cluster_node(const fake_cluster *c, int node_index)
{
    return c->nodes[node_index].fake;
}

void fake_cluster_own(fake_cluster *c, unsigned first, unsigned last, int node_index)
{
    pthread_mutex_lock(&c->mutex);
    for (unsigned slot = first; slot <= last; slot++)
        c->owners[slot] = node_index;
    pthread_mutex_unlock(&c->mutex);
}

void fake_cluster_migrate(fake_cluster *c, unsigned slot, int node_index)
{
    pthread_mutex_lock(&c->mutex);
    c->migrating[slot] = node_index;
    pthread_mutex_unlock(&c->mutex);
}

void fake_cluster_answer(fake_cluster *c, const char *error, int n)
{
    pthread_mutex_lock(&c->mutex);
    c->error = error;
    c->errors = n;
    pthread_mutex_unlock(&c->mutex);
}

void fake_cluster_hide_host(fake_cluster *c)
{
    pthread_mutex_lock(&c->mutex);
    c->hide_host = true;
    pthread_mutex_unlock(&c->mutex);
}

void fake_cluster_set_slots_reply(fake_cluster *c, const char *bytes)
{
    pthread_mutex_lock(&c->mutex);
    c->slots_reply = bytes;
    pthread_mutex_unlock(&c->mutex);
}

int fake_cluster_redirects(fake_cluster *c)
{
    int n;

    pthread_mutex_lock(&c->mutex);
    n = c->redirects;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

int fake_cluster_maps(fake_cluster *c)
{
    int n;

    pthread_mutex_lock(&c->mutex);
    n = c->maps;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

int fake_cluster_value(fake_cluster *c, const char *key)
{
    int value;

    pthread_mutex_lock(&c->mutex);
    value = number_of(c, key)->value;
    pthread_mutex_unlock(&c->mutex);
    return value;
}
