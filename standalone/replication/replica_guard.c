/* replica_guard.c - see replica_guard.h.
 *
 * A replica is near when it has its data set, and has said something (it acknowledges once a second) within min-replicas-max-lag
 * seconds. With fewer of them than min-replicas-to-write, commands that write are refused with NOREPLICAS. As in Redis that bounds
 * what a primary may take on that is cut off, and promises nothing about one write: that is WAIT's business.
 *
 * SPDX-License-Identifier: MIT */
#include "replica_guard.h"

#include "peer.h"
#include "replica.h"
#include "server.h"

typedef struct near_count {
    int64_t heard_since_ms, count;
} near_count;

static void count_near(void *arg, const feed_reader *r)
{
    near_count *n = arg;

    n->count += r->state == FEED_ONLINE && !r->lost && r->heard_ms >= n->heard_since_ms;
}

/* Whether the guard is on. */
static bool is_on(const server *s, int64_t *ret_wanted, int64_t *ret_max_lag_s)
{
    *ret_wanted = config_number(s->config, CONFIG_ID_min_replicas_to_write);
    *ret_max_lag_s = config_number(s->config, CONFIG_ID_min_replicas_max_lag);
    return *ret_wanted > 0 && *ret_max_lag_s > 0;
}

static int64_t near_replicas(server *s, int64_t max_lag_s)
{
    /* lag is whole seconds, as INFO shows it: 10.9 s are 10. */
    near_count n = { .heard_since_ms = peer_clock_ms() - max_lag_s * 1000 - 999 };

    feed_visit(s, count_near, &n);
    return n.count;
}

void replica_guard_look(server *s)
{
    int64_t wanted, max_lag_s;
    bool lonely = is_on(s, &wanted, &max_lag_s) && near_replicas(s, max_lag_s) < wanted;

    server_restrict(s, SERVER_LONELY, lonely ? SERVER_LONELY : 0);
}

void replica_guard_write(server *s, FILE *out)
{
    int64_t wanted, max_lag_s;

    if (is_on(s, &wanted, &max_lag_s))
        fprintf(out, "min_slaves_good_slaves:%lld\r\n", (long long)near_replicas(s, max_lag_s));
}
