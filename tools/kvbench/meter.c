/* meter.c - see meter.h.
 *
 * callgrind counts every instruction in user space, of all threads and libraries; its figure depends on
 * neither the clock nor the load of the machine, so it can be compared between two commits. What varies
 * is what the server itself does by the clock (its periodic tasks), and where keys fall by a random hash:
 * both small beside 100,000 requests. Pipelines come over one connection, so that a loop turn serves one
 * batch, always; single requests come over many, and since the server is 50 times slower than the load, it
 * finds them all ready in every turn.
 *
 * strace stops the server at every system call, which is slow but exact.
 *
 * SPDX-License-Identifier: MIT */
#include "meter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int total_callgrind(const char *path, double *ret_total);
static int total_strace(const char *path, double *ret_total);

const meter METER_INSTRUCTIONS = {
    .tool = "valgrind",
    .arguments = { "valgrind", "-q", "--tool=callgrind", "--callgrind-out-file={file}", NULL },
    .total = total_callgrind,
};

const meter METER_SYSCALLS = {
    .tool = "strace",
    .arguments = { "strace", "-f", "-c", "--summary-columns=calls,name", "-o", "{file}", NULL },
    .child = true,
    .total = total_strace,
};

/* The line "totals: N", or "summary: N" in older ones. */
static int total_callgrind(const char *path, double *ret_total)
{
    char line[4096];
    int err = -1;
    FILE *file = fopen(path, "re");

    if (!file)
        return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "totals: %lf", ret_total) == 1 || sscanf(line, "summary: %lf", ret_total) == 1)
            err = 0;
    fclose(file);
    return err;
}

/* Rows of "calls name"; the last is their total. */
static int total_strace(const char *path, double *ret_total)
{
    char line[256], name[64];
    double calls;
    int err = -1;
    FILE *file = fopen(path, "re");

    if (!file)
        return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%lf %63s", &calls, name) == 2 && strcmp(name, "total") == 0) {
            *ret_total = calls;
            err = 0;
        }
    fclose(file);
    return err;
}

bool meter_usable(const meter *m)
{
    char command[128];
    int status;

    snprintf(command, sizeof command, "%s %s true >/dev/null 2>&1", m->tool,
             m->child ? "-o /dev/null" : "--tool=none -q");
    status = system(command);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Ends the server in such a way that the tool still writes its file. */
static void stop(const meter *m, server *s)
{
    pid_t child = m->child ? process_child(&s->process) : 0;

    if (child > 0) {
        kill(child, SIGTERM);
        process_wait(&s->process, 30);
    } else {
        contestant_stop(s, 30);
    }
}

static int load_on(server *s, const load_plan *template, fault *f)
{
    load_plan plan = *template;
    load_result result;

    plan.port = s->port;
    plan.protocol.kind = s->contestant->protocol;
    protocol_init(&plan.protocol, s->contestant->protocol, template->protocol.value_size);
    plan.protocol.any_value = s->contestant->is_floor;
    if (load_run(&plan, &result, f))
        return contestant_blame(s, f);
    if (result.misses && plan.set_percent == 0) {
        fault_set(f, "it lost %llu of %llu keys", (unsigned long long)result.misses,
                  (unsigned long long)result.requests);
        return contestant_blame(s, f);
    }
    return 0;
}

/* One life of the server under the tool. plan NULL: it is only filled. */
static int count(const meter *m, const contestant *c, const char *dir, const char *file,
                 const load_plan *fill, const load_plan *plan, double *ret_total, fault *f)
{
    char *wrapper[10] = { 0 }, out[400];
    server s;
    int err;

    for (unsigned i = 0; m->arguments[i]; i++) {
        const char *place = strstr(m->arguments[i], "{file}");

        wrapper[i] = (char *)m->arguments[i];
        if (place) {
            snprintf(out, sizeof out, "%.*s%s", (int)(place - m->arguments[i]), m->arguments[i], file);
            wrapper[i] = out;
        }
    }
    if (contestant_start(c, &s, dir, wrapper, f))
        return -1;
    err = c->is_floor ? 0 : load_on(&s, fill, f);
    if (!err && plan)
        err = load_on(&s, plan, f);
    stop(m, &s);
    if (!err && m->total(file, ret_total))
        err = fault_set(f, "%s: %s left no figures of it (%s)", c->name, m->tool, file);
    return err;
}

int meter_run(const meter *m, const contestant *c, const char *dir, const char *keep, const load_plan *fill,
              const load_plan plans[], unsigned n, double ret_per_request[], fault *f)
{
    double base = 0, total = 0;

    for (unsigned i = 0; i <= n; i++) {
        char file[360];

        snprintf(file, sizeof file, "%s/%s.%u.out", keep ? keep : dir, c->name, i);
        unlink(file);
        if (count(m, c, dir, file, fill, i ? &plans[i - 1] : NULL, &total, f))
            return -1;
        if (i == 0)
            base = total;
        else
            ret_per_request[i - 1] = (total - base) / (double)plans[i - 1].requests;
    }
    return 0;
}
