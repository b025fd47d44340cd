/* options.c - see options.h. SPDX-License-Identifier: MIT */
#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quantity.h"

#define AT(field) offsetof(options, field)

const char *const CHECK_NAMES[CHECKS] = { "visibility", "linear", "multikey", "fifo", "ttl", "crash" };

enum option_kind {
    OPTION_COUNT,
    OPTION_SECONDS,
    OPTION_TEXT,
    OPTION_FLAG,
    OPTION_NO,
    OPTION_SIZES,
    OPTION_CHECKS,
    OPTION_DISTRIBUTION,
    OPTION_MODULE,
};

typedef struct option {
    const char *name, *value; /* value: what it is called in the help; NULL for flags */
    enum option_kind kind;
    size_t at;
    uint64_t min, max;
    const char *help;
} option;

static const option OPTION_TABLE[] = {
    { "host", "NAME", OPTION_TEXT, AT(host), 0, 0, "the server's address (default 127.0.0.1)" },
    { "port", "N", OPTION_COUNT, AT(port), 1, 65535,
      "its port (default 6379; with --server-cmd: a free one)" },
    { "socket", "PATH", OPTION_TEXT, AT(socket), 0, 0, "its unix socket, instead of host and port" },
    { "user", "NAME", OPTION_TEXT, AT(user), 0, 0, "for AUTH" },
    { "pass", "PASSWORD", OPTION_TEXT, AT(pass), 0, 0, "for AUTH" },
    { "db", "N", OPTION_COUNT, AT(db), 0, 1000000, "for SELECT (default 0)" },
    { "module", "HOW", OPTION_MODULE, AT(module), 0, 0,
      "use the loadable module: KV.SET key field for SET field; one: all that is shared in one key; each: "
      "every "
      "object of a check in a key of its own" },
    { "server-cmd", "LINE", OPTION_TEXT, AT(server_cmd), 0, 0,
      "start this server, and stop it at the end; {port}, {dir} and {socket} are replaced" },
    { "check", "LIST", OPTION_CHECKS, 0, 0, 0,
      "of visibility,linear,multikey,fifo,ttl,crash (default: all; crash only with --server-cmd)" },
    { "duration", "S", OPTION_SECONDS, AT(duration_s), 0, 0, "seconds (default 10)" },
    { "operations", "N", OPTION_COUNT, AT(operations), 1, UINT64_MAX / 2,
      "end after so many, even before that" },
    { "connections", "N", OPTION_COUNT, AT(connections), 2, 4096, "in all (default 32)" },
    { "threads", "N", OPTION_COUNT, AT(threads), 1, 64, "of kvstress, an event loop each (default 2)" },
    { "pipeline", "N", OPTION_COUNT, AT(pipeline), 1, 256,
      "requests under way per connection (default 16; a quarter of the connections have 2, an eighth four "
      "times as many)" },
    { "keys", "N", OPTION_COUNT, AT(keys), 1, 1000000,
      "that are in use at a time (default 4096: of visibility; a sixteenth of it for the checks that keep "
      "histories)" },
    { "value-size", "MIN[-MAX]", OPTION_SIZES, 0, 1, 1048576,
      "bytes of the values that visibility writes (default 16-4096, small ones more often)" },
    { "distribution", "HOW", OPTION_DISTRIBUTION, AT(distribution), 0, 0,
      "of the keys: uniform, zipf or hot (default zipf)" },
    { "seed", "N", OPTION_COUNT, AT(seed), 0, UINT64_MAX / 2, "of what is asked and when (default: random)" },
    { "violations", "N", OPTION_COUNT, AT(violations), 1, 1000, "stop after so many (default 1)" },
    { "history", "N", OPTION_COUNT, AT(history), 8, 10000,
      "operations on one key, after which it is checked and replaced (default 96)" },
    { "overlap", "N", OPTION_COUNT, AT(overlap), 2, 64, "of them under way at a time (default 8)" },
    { "budget", "N", OPTION_COUNT, AT(budget), 1, 100000000,
      "configurations looked at per history, else it is undecided (default 500k)" },
    { "ttl-slack", "MS", OPTION_COUNT, AT(slack_ms), 0, 60000,
      "how far from its deadline a key may end, because clocks are coarse (default 5)" },
    { "recycle", "MS", OPTION_COUNT, AT(recycle_ms), 0, 3600000,
      "close a connection and open another this often, per thread (default 50; 0: never)" },
    { "timeout", "S", OPTION_COUNT, AT(timeout_s), 1, 3600,
      "without a reply, after which the server hangs (default 10)" },
    { "crash-round", "S", OPTION_SECONDS, AT(crash_s), 0, 0,
      "the longest life between two kills (default 1)" },
    { "record", "FILE", OPTION_TEXT, AT(record), 0, 0, "write all histories to FILE, for other checkers" },
    { "json", NULL, OPTION_FLAG, AT(json), 0, 0, "the report as JSON" },
    { "no-progress", NULL, OPTION_NO, AT(progress), 0, 0,
      "no progress on stderr (default: if it is a terminal)" },
};
#define OPTIONS (sizeof OPTION_TABLE / sizeof *OPTION_TABLE)

static int parse_sizes(options *o, const option *row, const char *text, fault *f)
{
    size_t len = strcspn(text, "-");
    const char *most = text[len] ? text + len + 1 : text;

    if (quantity_count(text, len, row->min, row->max, &o->value_size_min) ||
        quantity_count(most, strlen(most), row->min, row->max, &o->value_size_max) ||
        o->value_size_min > o->value_size_max)
        return fault_usage(f, "--%s: \"%s\" is not a size, or two with a - between, from %llu to %llu",
                           row->name, text, (unsigned long long)row->min, (unsigned long long)row->max);
    return 0;
}

static int parse_checks(options *o, const char *list, fault *f)
{
    memset(o->checks, 0, sizeof o->checks);
    o->checks_given = true;
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ","), i = 0;

        while (i < CHECKS && (strlen(CHECK_NAMES[i]) != len || memcmp(CHECK_NAMES[i], at, len) != 0))
            i++;
        if (i == CHECKS)
            return fault_usage(f,
                               "--check: \"%.*s\" is none of visibility, linear, multikey, fifo, ttl, crash",
                               (int)len, at);
        o->checks[i] = true;
        at += len;
        if (!*at)
            return 0;
    }
}

/* The number of text in words, a list that ends with NULL; said: the same for people. */
static int parse_word(const option *row, const char *const words[], const char *said, uint64_t *ret,
                      const char *text, fault *f)
{
    for (uint64_t i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    return fault_usage(f, "--%s: \"%s\" is neither %s", row->name, text, said);
}

static int store_value(options *o, const option *row, const char *value, fault *f)
{
    static const char *const distributions[] = { "uniform", "zipf", "hot", NULL };
    static const char *const keys[] = { "one", "each", NULL };
    void *field = (char *)o + row->at;

    switch (row->kind) {
    case OPTION_COUNT:
        if (quantity_count(value, strlen(value), row->min, row->max, field))
            return fault_usage(f, "--%s: \"%s\" is not a number from %llu to %llu", row->name, value,
                               (unsigned long long)row->min, (unsigned long long)row->max);
        o->seed_given = o->seed_given || field == &o->seed;
        return 0;
    case OPTION_SECONDS:
        if (quantity_seconds(value, 1e6, field))
            return fault_usage(f, "--%s: \"%s\" is not a number of seconds", row->name, value);
        return 0;
    case OPTION_TEXT:
        *(const char **)field = value;
        return 0;
    case OPTION_SIZES:
        return parse_sizes(o, row, value, f);
    case OPTION_CHECKS:
        return parse_checks(o, value, f);
    case OPTION_DISTRIBUTION:
        return parse_word(row, distributions, "uniform nor zipf nor hot", field, value, f);
    case OPTION_MODULE:
        return parse_word(row, keys, "one nor each", field, value, f);
    default:
        *(bool *)field = row->kind == OPTION_FLAG;
        return 0;
    }
}

static const option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strncmp(OPTION_TABLE[i].name, name, len) == 0 && OPTION_TABLE[i].name[len] == '\0')
            return &OPTION_TABLE[i];
    return NULL;
}

/* One option, in the form --name value or --name=value. Moves *at over its words. */
static int parse_option(options *o, int *at, fault *f)
{
    const char *word = o->argv[*at], *name = word + 2, *equals;
    const option *row;
    size_t len;

    if (strncmp(word, "--", 2) != 0)
        return fault_usage(f, "\"%s\" is not an option", word);
    equals = strchr(name, '=');
    len = equals ? (size_t)(equals - name) : strlen(name);
    row = find(name, len);
    if (!row)
        return fault_usage(f, "there is no option \"%.*s\"", (int)len + 2, word);
    ++*at;
    if (!row->value)
        return equals ? fault_usage(f, "--%s takes no value", row->name) : store_value(o, row, NULL, f);
    if (equals)
        return store_value(o, row, equals + 1, f);
    if (*at == o->argc)
        return fault_usage(f, "--%s needs a value: %s", row->name, row->value);
    return store_value(o, row, o->argv[(*at)++], f);
}

/* What is wrong with options that are fine each by itself; and defaults that depend on others. */
static int check(options *o, fault *f)
{
    if (o->connections < 2 * o->threads)
        return fault_usage(
            f, "--connections: %llu are too few for %llu threads: two each, to share state between",
            (unsigned long long)o->connections, (unsigned long long)o->threads);
    if (o->checks[CHECK_CRASH] && o->checks_given && !o->server_cmd)
        return fault_usage(f, "--check crash: there is no --server-cmd to kill and start again");
    if (o->server_cmd && o->socket)
        return fault_usage(f,
                           "--socket and --server-cmd exclude each other: write {socket} into the command");
    if (!o->server_cmd) {
        o->checks[CHECK_CRASH] = false;
        if (!o->port)
            o->port = 6379;
    }
    if (o->user && !o->pass)
        return fault_usage(f, "--user: there is no --pass");
    return 0;
}

int options_parse(options *ret, int argc, char **argv, fault *f)
{
    options o = {
        .host = "127.0.0.1",
        .duration_s = 10,
        .connections = 32,
        .threads = 2,
        .pipeline = 16,
        .keys = 4096,
        .value_size_min = 16,
        .value_size_max = 4096,
        .distribution = DISTRIBUTION_ZIPF,
        .module = MODULE_NOT,
        .checks = { true, true, true, true, true, true },
        .violations = 1,
        .history = 96,
        .overlap = 8,
        .budget = 500000,
        .slack_ms = 5,
        .recycle_ms = 50,
        .timeout_s = 10,
        .crash_s = 1,
        .progress = isatty(2),
        .argc = argc,
        .argv = argv,
    };
    int at = 1;

    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        if (argc != 3)
            return fault_usage(f, "usage: kvstress check FILE");
        o.check_file = argv[2];
        at = argc;
    }
    while (at < argc && !o.help && !o.version) {
        o.help = strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0;
        o.version = strcmp(argv[at], "--version") == 0;
        if (!o.help && !o.version && parse_option(&o, &at, f))
            return -1;
    }
    if (!o.help && !o.version && check(&o, f))
        return -1;
    *ret = o;
    return 0;
}

void options_help(void)
{
    printf(
        "kvstress [options]      proves that a RESP server shares its state correctly, or shows where not\n"
        "kvstress check FILE     judges the histories of a file (see --record)\n\n"
        "Many connections read and write at once; every reply is checked against those of all others:\n"
        "  visibility   what one connection wrote and was acknowledged, every other one sees\n"
        "  linear       the operations on a key fit into one order, in time: registers, counters,\n"
        "               compare-and-set, append, delete, expiry\n"
        "  multikey     MSET, MGET, MULTI/EXEC and WATCH happen at once, or not at all\n"
        "  fifo         a pipeline is answered in order; subscribers get every message, in order\n"
        "  ttl          nothing is served after its deadline, nothing vanishes before\n"
        "  crash        kill -9 and start again: what was acknowledged or read is still there\n\n"
        "Options (numbers may end with k, M or G):\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[64];

        snprintf(left, sizeof left, "--%s %s", OPTION_TABLE[i].name,
                 OPTION_TABLE[i].value ? OPTION_TABLE[i].value : "");
        printf("  %-24s %s\n", left, OPTION_TABLE[i].help);
    }
    printf("\nExit status: 0 nothing found; 1 a violation; 2 a bad option, or a server that refuses, dies, "
           "hangs or\n"
           "answers nonsense; 3 undecided: a history too hard to judge, or a check that found nothing to "
           "check.\n");
}

const char *options_row(int index, const char **ret_value, const char **ret_help)
{
    if (index < 0 || (size_t)index >= OPTIONS)
        return NULL;
    *ret_value = OPTION_TABLE[index].value;
    *ret_help = OPTION_TABLE[index].help;
    return OPTION_TABLE[index].name;
}
