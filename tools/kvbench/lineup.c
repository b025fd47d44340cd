/* SPDX-License-Identifier: MIT */
#include "lineup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define OTHER_FILES 600 /* that a server, or the tool it runs under, has open besides its connections */

static const char *const STRATEGIES[] = { "sharded", "mutex", "actor" };

/* Whether name is one of the comma-separated words of list; NULL holds every name. */
static bool listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    if (!list)
        return true;
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* The path of this very program; empty when it cannot be told. */
static void own_path(char out[], size_t size)
{
    ssize_t len = readlink("/proc/self/exe", out, size - 1);

    out[len > 0 ? len : 0] = '\0';
}

/* Finds a program beside this one, in the build tree, or by PATH. */
static bool find_program(const char *name, const char *given, char out[], size_t size)
{
    static const char *const PLACES[] = { "", "/../standalone", "/../../standalone" };
    char dir[512];
    const char *path = getenv("PATH");

    if (given) {
        snprintf(out, size, "%s", given);
        return access(out, X_OK) == 0;
    }
    own_path(dir, sizeof dir);
    dir[strrchr(dir, '/') ? strrchr(dir, '/') - dir : 0] = '\0';
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        snprintf(out, size, "%s%s/%s", dir, PLACES[i], name);
        if (access(out, X_OK) == 0)
            return true;
    }
    while (path && *path) {
        size_t len = strcspn(path, ":");

        snprintf(out, size, "%.*s/%s", (int)len, path, name);
        if (access(out, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

unsigned lineup_connections_max(const options *o)
{
    uint64_t wanted = o->idle_connections > o->connections ? o->idle_connections : o->connections;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 100;
    if (limit.rlim_max < wanted + OTHER_FILES + 100)
        wanted = limit.rlim_max > OTHER_FILES + 200 ? limit.rlim_max - OTHER_FILES - 100 : 100;
    return (unsigned)wanted;
}

/* What servers are told to accept: all of those, and the few that ask whether they live. */
static unsigned max_clients(const options *o)
{
    return lineup_connections_max(o) + 100;
}

/* The place of the next contestant. There is always one: 3 strategies, 4 others and 4 of the user's. */
static contestant *next(lineup *l)
{
    return &l->contestants[l->count++];
}

static int add_kvserver(lineup *l, const options *o, const char *sharing, const char *path, fault *f)
{
    /* Under valgrind everything is fifty times slower: what is slow there is not to be looked into. */
    static const char patience[] = "--slowlog-log-slower-than 1000000";
    char name[40] = "kvserver", how[64] = "";

    if (o->strategies)
        snprintf(name, sizeof name, "kvserver %s", sharing);
    if (sharing)
        snprintf(how, sizeof how, "--sharing %s", sharing);
    return contestant_init(
        next(l), name, PROTOCOL_RESP, f,
        "%s --port {port} --bind 127.0.0.1 --save '' --dir {dir} --threads %llu --maxclients %u %s %s %s %s",
        path, (unsigned long long)o->threads, max_clients(o), how, o->callgrind ? patience : "",
        o->server_args ? o->server_args : "", o->kvserver_args ? o->kvserver_args : "");
}

static int add_kvservers(lineup *l, const options *o, fault *f)
{
    char path[600];

    if (!listed(o->only, "kvserver"))
        return 0;
    if (!find_program("kvserver", o->kvserver, path, sizeof path))
        return fault_usage(f, "there is no kvserver at %s (--kvserver FILE)",
                           o->kvserver ? o->kvserver : path);
    if (!o->strategies)
        return add_kvserver(l, o, o->sharing, path, f);
    for (size_t i = 0; i < sizeof STRATEGIES / sizeof *STRATEGIES; i++)
        if (add_kvserver(l, o, STRATEGIES[i], path, f))
            return -1;
    return 0;
}

/* redis-server and what came of it. */
static int add_kin(lineup *l, const options *o, const char *name, const char *path, fault *f)
{
    char threads[48] = "";

    if (o->threads > 1)
        snprintf(threads, sizeof threads, "--io-threads %llu", (unsigned long long)o->threads);
    return contestant_init(next(l), name, PROTOCOL_RESP, f,
                           "%s --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir {dir} "
                           "--maxclients %u %s %s",
                           path, max_clients(o), threads, o->server_args ? o->server_args : "");
}

static int add_redis(lineup *l, const options *o, const char *path, fault *f)
{
    return add_kin(l, o, "redis-server", path, f);
}

static int add_valkey(lineup *l, const options *o, const char *path, fault *f)
{
    return add_kin(l, o, "valkey-server", path, f);
}

static int add_memcached(lineup *l, const options *o, const char *path, fault *f)
{
    return contestant_init(next(l), "memcached", PROTOCOL_MEMCACHED, f,
                           "%s -p {port} -U 0 -l 127.0.0.1 -t %llu -m 65536 -c %u %s", path,
                           (unsigned long long)o->threads, max_clients(o), geteuid() == 0 ? "-u root" : "");
}

static int add_installed(lineup *l, const options *o, const char *name, const char *given,
                         int (*add)(lineup *, const options *, const char *, fault *), fault *f)
{
    char path[600];

    if (!listed(o->only, name))
        return 0;
    if (find_program(name, given, path, sizeof path))
        return add(l, o, path, f);
    if (o->only || given)
        return fault_usage(f, "there is no %s", given ? given : name);
    fprintf(stderr, "kvbench: %s is not installed: left out\n", name);
    return 0;
}

static int add_extra(lineup *l, const char *text, fault *f)
{
    char name[40];
    const char *equals = strchr(text, '=');

    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    return contestant_init(next(l), name, PROTOCOL_RESP, f, "%s", equals + 1);
}

static int add_floor(lineup *l, const options *o, fault *f)
{
    char path[512];
    int err;

    if (!listed(o->only, "floor"))
        return 0;
    own_path(path, sizeof path);
    err = contestant_init(next(l), "floor", PROTOCOL_RESP, f, "%s floor --port {port} --value-size %llu",
                          path, (unsigned long long)o->value_size);
    l->contestants[l->count - 1].is_floor = true;
    return err;
}

/* A name in --only that nobody bears is a mistake. */
static int check_names(const lineup *l, const options *o, fault *f)
{
    static const char *const KNOWN[] = { "kvserver", "redis-server", "valkey-server", "memcached", "floor" };

    for (const char *at = o->only; at; at = strchr(at, ',')) {
        char name[40];
        bool known = false;

        at += *at == ',';
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
            known |= strcmp(name, KNOWN[i]) == 0;
        if (!known && lineup_find(l, name) < 0)
            return fault_usage(f, "--only: there is no server \"%s\"", name);
    }
    return 0;
}

int lineup_init(lineup *l, const options *o, fault *f)
{
    int err;

    memset(l, 0, sizeof *l);
    err = add_kvservers(l, o, f);
    if (!err)
        err = add_installed(l, o, "redis-server", o->redis_server, add_redis, f);
    if (!err && !o->strategies)
        err = add_installed(l, o, "valkey-server", o->valkey_server, add_valkey, f);
    if (!err && !o->strategies)
        err = add_installed(l, o, "memcached", o->memcached, add_memcached, f);
    for (unsigned i = 0; i < o->extra_count && !err; i++)
        err = add_extra(l, o->extra[i], f);
    if (!err && !o->strategies)
        err = add_floor(l, o, f);
    return err ? err : check_names(l, o, f);
}

int lineup_find(const lineup *l, const char *name)
{
    for (unsigned i = 0; i < l->count; i++)
        if (strcmp(l->contestants[i].name, name) == 0)
            return (int)i;
    return -1;
}
