/* options.h - what the command line asks for. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_OPTIONS_H
#define KVSTRESS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"

typedef enum check_id {
    CHECK_VISIBILITY,
    CHECK_LINEAR,
    CHECK_MULTIKEY,
    CHECK_FIFO,
    CHECK_TTL,
    CHECK_CRASH,
    CHECKS
} check_id;

/* How the loadable module is used: its keys hold what are keys otherwise. */
typedef enum module_use { MODULE_ONE, MODULE_EACH, MODULE_NOT } module_use;

typedef enum distribution { DISTRIBUTION_UNIFORM, DISTRIBUTION_ZIPF, DISTRIBUTION_HOT } distribution;

typedef struct options {
    bool help, version;
    /* where */
    const char *host, *socket, *user, *pass, *server_cmd;
    uint64_t port, db;
    uint64_t module; /* enum module_use */
    /* how long, how much */
    double duration_s;
    uint64_t operations; /* 0: as many as the time permits */
    uint64_t connections, threads, pipeline, keys;
    uint64_t value_size_min, value_size_max;
    uint64_t distribution; /* enum distribution */
    uint64_t seed;
    bool seed_given;
    /* what */
    bool checks[CHECKS];
    bool checks_given;
    uint64_t violations; /* stop after so many */
    /* limits */
    uint64_t history, overlap, budget, slack_ms, recycle_ms, timeout_s;
    double crash_s; /* the time of one round */
    /* what comes out */
    bool json, progress;
    const char *record;
    /* kvstress check FILE */
    const char *check_file;
    int argc;
    char **argv;
} options;

extern const char *const CHECK_NAMES[CHECKS];

/* Fills *ret; -1 with the fault when the command line is wrong. */
int options_parse(options *ret, int argc, char **argv, fault *f);
void options_help(void);
/* For shells: the name of an option, from 0 on; NULL: there are no more. *ret_value is NULL for a flag. */
const char *options_row(int index, const char **ret_value, const char **ret_help);

#endif
