/* kvstress - proves that a RESP server shares its state correctly, or shows where it does not.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checker.h"
#include "clock.h"
#include "control.h"
#include "format.h"
#include "report.h"

/* ---- kvstress check FILE ---------------------------------------------------------------- */

static int check_history(checker *c, const history *h)
{
    verdict v = checker_run(c, h, CHECKER_BUDGET);
    evidence e;

    printf("%s: %s (%u operations, %zu configurations)\n", h->name,
           v == VERDICT_OK          ? "linearizable"
           : v == VERDICT_VIOLATION ? "VIOLATION"
                                    : "undecided",
           h->count, checker_steps(c));
    if (v != VERDICT_VIOLATION)
        return v == VERDICT_OK ? EXIT_OK : EXIT_UNDECIDED;
    jury_show(c, h, h->model == MODEL_BANK ? CHECK_MULTIKEY : CHECK_LINEAR, &e);
    evidence_print(&e, 0, stdout);
    evidence_done(&e);
    return EXIT_VIOLATION;
}

static int check_file(const char *path)
{
    history_reader reader = { .in = fopen(path, "re") };
    checker *c = checker_new();
    history h;
    int status = EXIT_OK, more = -1;

    if (!reader.in || !c) {
        fprintf(stderr, "kvstress: %s: %s\n", path, strerror(errno));
        status = EXIT_TROUBLE;
        goto out;
    }
    while ((more = history_read(&reader, &h)) == 1) {
        int one = check_history(c, &h);

        if (one == EXIT_VIOLATION || status == EXIT_OK)
            status = one;
        history_done(&h);
    }
    if (more < 0) {
        fprintf(stderr, "kvstress: %s: %s\n", path, reader.error);
        status = EXIT_TROUBLE;
    }
out:
    if (reader.in)
        fclose(reader.in);
    checker_free(c);
    return status;
}

/* ---- a run ------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The first signal ends the run in good order, the second at once. */
static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static uint64_t random_seed(void)
{
    uint64_t seed = (uint64_t)clock_ns();
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && read(fd, &seed, sizeof seed) < 0)
        seed ^= (uint64_t)getpid();
    if (fd >= 0)
        close(fd);
    return seed % 1000000000;
}

static int stress(options *o, fault *f)
{
    launch server = { .running = false };
    run *r = calloc(1, sizeof *r);
    outcome found;
    int status = -1;

    if (!r) {
        fault_set(f, "out of memory");
        return -1;
    }
    r->options = o;
    r->interrupted = &interrupted;
    r->seed = o->seed_given ? o->seed : random_seed();
    if (o->server_cmd && launch_init(&server, o, f))
        goto out;
    if (target_init(&r->target, o, f))
        goto out;
    if (o->server_cmd && launch_start(&server, &r->target, f))
        goto out;
    if (target_probe(&r->target, f))
        goto out;
    if (control_run(r, o->server_cmd ? &server : NULL, &found, f) == 0)
        status = report_print(r, &found, stdout);
    control_done(r);
out:
    launch_done(&server);
    free(r);
    return status;
}

int main(int argc, char **argv)
{
    options o;
    fault f = { .usage = false };
    int status;

    catch_signals();
    if (options_parse(&o, argc, argv, &f)) {
        fprintf(stderr, "kvstress: %s\n", f.text);
        return EXIT_TROUBLE;
    }
    if (o.help)
        options_help();
    if (o.version)
        printf("kvstress " KVSTRESS_VERSION "\n");
    if (o.help || o.version)
        return EXIT_OK;
    if (o.check_file)
        return check_file(o.check_file);
    status = stress(&o, &f);
    if (status < 0) {
        fprintf(stderr, "kvstress: %s\n", f.text);
        return EXIT_TROUBLE;
    }
    if (fflush(stdout)) {
        fprintf(stderr, "kvstress: standard output: %s\n", strerror(errno));
        return EXIT_TROUBLE;
    }
    return status;
}
