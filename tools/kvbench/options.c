/* options.c - see options.h.
 *
 * One table row per option: its name, the modes that know it, where its value goes, its bounds and its
 * line of help. The parser and the help both read it; nothing else lists options.
 *
 * SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantity.h"

enum option_kind {
    OPTION_FLAG,
    OPTION_NO,
    OPTION_COUNT,
    OPTION_SECONDS,
    OPTION_TEXT,
    OPTION_EXTRA,
    OPTION_SIZES
};

#define S         (1u << MODE_SERVER)
#define M         (1u << MODE_MAP)
#define C         (1u << MODE_CONTENTION)
#define H         (1u << MODE_CACHE)
#define P         (1u << MODE_FANOUT)
#define O         (1u << MODE_OVERLOAD)
#define D         (1u << MODE_DURABLE)
#define T         (1u << MODE_TLS)
#define F         (1u << MODE_FLOOR)
#define AT(field) offsetof(options, field)

typedef struct option {
    const char *name, *value; /* value: how the help calls it; NULL for flags */
    unsigned modes;
    enum option_kind kind;
    size_t at;         /* the field */
    uint64_t min, max; /* of counts */
    const char *help;
} option;

static const option OPTION_TABLE[] = {
    { "callgrind", NULL, S, OPTION_FLAG, AT(callgrind), 0, 0,
      "count user-space instructions per request instead (valgrind); repeatable" },
    { "keep", "DIR", S, OPTION_TEXT, AT(keep), 0, 0,
      "keep callgrind's files in DIR, for callgrind_annotate" },
    { "strategies", NULL, S, OPTION_FLAG, AT(strategies), 0, 0,
      "compare kvserver's sharing strategies: sharded, mutex, actor" },
    { "only", "NAMES", S | H | P | O | D | T, OPTION_TEXT, AT(only), 0, 0,
      "measure only these, separated by commas: kvserver, redis-server, valkey-server, memcached, floor" },
    { "kvserver", "FILE", S | C | H | P | O | D | T, OPTION_TEXT, AT(kvserver), 0, 0,
      "the kvserver to run (default: the one built with this)" },
    { "kvserver-args", "WORDS", S | C | H | P | O | D | T, OPTION_TEXT, AT(kvserver_args), 0, 0,
      "more words for kvserver's command line" },
    { "redis-server", "FILE", S | H | P | O | D | T, OPTION_TEXT, AT(redis_server), 0, 0,
      "the redis-server to run (default: from PATH)" },
    { "valkey-server", "FILE", S | H | P | O | D | T, OPTION_TEXT, AT(valkey_server), 0, 0,
      "the valkey-server to run (default: from PATH)" },
    { "memcached", "FILE", S, OPTION_TEXT, AT(memcached), 0, 0, "the memcached to run (default: from PATH)" },
    { "server", "NAME=LINE", S | H | P | O | D, OPTION_EXTRA, AT(extra), 0, 0,
      "another RESP server; {port} and {dir} in its command line are replaced; up to 4 times" },
    { "sharing", "HOW", S | C | H | P | O | D | T, OPTION_TEXT, AT(sharing), 0, 0,
      "kvserver's --sharing: sharded, mutex or actor" },
    { "threads", "N", S, OPTION_COUNT, AT(threads), 1, 256,
      "threads of every server (default 1; with --strategies: the cores)" },
    { "keys", "N", S, OPTION_COUNT, AT(keys), 1, 1000000000,
      "keys of the main rows (default 1M; callgrind 100k)" },
    { "large-keys", "N", S, OPTION_COUNT, AT(large_keys), 0, 1000000000,
      "keys of the row that does not fit any cache (default 5M; 0: leave it out)" },
    { "memory-keys", "N", S, OPTION_COUNT, AT(memory_keys), 1, 1000000000,
      "keys of the memory rows (default 2M)" },
    { "no-memory", NULL, S, OPTION_NO, AT(memory), 0, 0, "leave out memory per key" },
    { "no-idle", NULL, S, OPTION_NO, AT(idle), 0, 0, "leave out the cost of idle connections" },
    { "no-strace", NULL, S, OPTION_NO, AT(strace), 0, 0, "leave out system calls per request" },
    { "idle-connections", "N", S, OPTION_COUNT, AT(idle_connections), 1, 60000,
      "how many of them (default 10000, or what the limit of open files permits)" },
    { "connections", "N", S | C | D | T, OPTION_COUNT, AT(connections), 1, 10000,
      "of the load (default 50)" },
    { "depth", "N", S | C | P | D | T, OPTION_COUNT, AT(depth), 2, 4096,
      "requests in a pipeline (default 64)" },
    { "load-threads", "N", S, OPTION_COUNT, AT(load_threads), 1, 256,
      "threads of the load (default 1; as many as --threads with --strategies)" },
    { "rounds", "N", S | H | P | D | T, OPTION_COUNT, AT(rounds), 1, 99,
      "times every row is measured, servers taking turns; the median counts (default 3)" },
    { "rounds", "N", M, OPTION_COUNT, AT(rounds), 1, 99,
      "times every row is measured; the best counts (default 3)" },
    { "value-size", "BYTES", S | C | P | D | T | F, OPTION_COUNT, AT(value_size), 1, 65536, "(default 16)" },
    { "value-size", "BYTES", M, OPTION_COUNT, AT(value_size), 1, 1024, "(default 32)" },
    { "keys", "SIZES", M, OPTION_SIZES, AT(sizes), 1, 1000000000,
      "map sizes, separated by commas (default 1000,1M,10M)" },
    { "ttl", NULL, M, OPTION_FLAG, AT(ttl), 0, 0, "give every key a deadline" },
    { "churn-seconds", "S", M, OPTION_SECONDS, AT(churn_seconds), 0, 0,
      "how long keys are deleted and added at constant size (default 5)" },
    { "rows", "WORD", M, OPTION_TEXT, AT(rows), 0, 0, "only the rows whose name contains WORD" },
    { "port", "N", F, OPTION_COUNT, AT(port), 1, 65535, "listen on 127.0.0.1:N" },
    { "seconds", "S", S | M, OPTION_SECONDS, AT(seconds), 0, 0,
      "length of one measurement (default 1; map 0.3)" },
    { "requests", "N", S | M | C, OPTION_COUNT, AT(requests), 1, UINT64_MAX / 2,
      "end a measurement after N requests, even when time is left (callgrind: default 100k)" },
    { "seed", "N", S | M | C | H | D | T, OPTION_COUNT, AT(seed), 0, UINT32_MAX,
      "of the random keys (default 1)" },
    { "keys", "N", C, OPTION_COUNT, AT(keys), 1, 10000000, "that the load fights for (default 10k)" },
    { "threads", "N", C, OPTION_COUNT, AT(threads), 1, 256,
      "workers of kvserver (default: the cores, at least 2)" },
    { "load-threads", "N", C, OPTION_COUNT, AT(load_threads), 1, 256, "of the load (default: as many)" },
    { "seconds", "S", C, OPTION_SECONDS, AT(seconds), 0, 0, "of load (default 3)" },
    { "distribution", "HOW", C, OPTION_TEXT, AT(distribution), 0, 0,
      "of the keys: uniform, zipf or hot: four of five requests to one key in a hundred (default zipf)" },
    { "set-percent", "N", C, OPTION_COUNT, AT(set_percent), 0, 100,
      "of the requests, the others are GETs, which wait for nobody (default 100)" },
    { "top", "N", C, OPTION_COUNT, AT(top), 1, 40, "shards and keys to tell (default 10)" },
    { "keys", "N", H, OPTION_COUNT, AT(keys), 1000, 100000000, "that are asked for (default 200k)" },
    { "value-size", "BYTES", H, OPTION_COUNT, AT(value_size), 1, 65536, "(default 100)" },
    { "requests", "N", H, OPTION_COUNT, AT(requests), 1000, UINT64_MAX / 2,
      "of the trace, the second half of which is counted (default 2M)" },
    { "connections", "N", P, OPTION_COUNT, AT(connections), 1, 20000, "subscribers (default 1000)" },
    { "threads", "N", P, OPTION_COUNT, AT(threads), 1, 256,
      "workers of kvserver (default 2); others have one" },
    { "requests", "N", P, OPTION_COUNT, AT(requests), 10, 100000000,
      "messages of a measurement, a tenth of it without pipelining (default 20k)" },
    { "connections", "N", O, OPTION_COUNT, AT(connections), 1, 5000, "that behave well (default 200)" },
    { "seconds", "S", O, OPTION_SECONDS, AT(seconds), 0, 0, "of a phase (default 2)" },
    { "share", "PART", O, OPTION_SECONDS, AT(share), 0, 0,
      "of those who misbehave: 0.1 is a tenth of them (default 1)" },
    { "rows", "WORD", O, OPTION_TEXT, AT(rows), 0, 0, "only the phases whose name contains WORD" },
    { "keys", "N", D, OPTION_COUNT, AT(keys), 1, 1000000000, "in the snapshot (default 5M)" },
    { "threads", "N", D, OPTION_COUNT, AT(threads), 1, 256,
      "workers of kvserver (default: the cores, at least 2); others have one" },
    { "seconds", "S", D, OPTION_SECONDS, AT(seconds), 0, 0, "of writing, for each row (default 2)" },
    { "keys", "N", T, OPTION_COUNT, AT(keys), 1, 10000000, "that are asked for (default 100k)" },
    { "requests", "N", T, OPTION_COUNT, AT(requests), 10, 100000000,
      "of a measurement, a tenth of it without pipelining (default 200k)" },
    { "handshakes", "N", T, OPTION_COUNT, AT(handshakes), 1, 1000000, "of a measurement (default 500)" },
    { "json", NULL, S | M | C | H | P | O | D | T, OPTION_FLAG, AT(json), 0, 0,
      "print JSON instead of tables" },
    { "chart", "FILE", S | M | C | H | P | O | D | T, OPTION_TEXT, AT(chart), 0, 0,
      "draw it, too: an HTML file that needs nothing else" },
};
#define OPTION_COUNT_OF (sizeof OPTION_TABLE / sizeof *OPTION_TABLE)

typedef struct mode_row {
    const char *name, *about; /* about: of its help; "" where its options say it */
} mode_row;

static const mode_row MODES[] = {
    [MODE_SERVER] = { "server", "Starts the servers, fills them, and measures the same rows for each in "
                                "turn, round after round;\n"
                                "with the defaults that takes about 3 minutes. The first figure is the "
                                "server's own CPU time per\n"
                                "request (its ratio to redis-server's in the same round stands beside it), "
                                "because throughput on\n"
                                "a machine that also runs the load says little.\n\n" },
    [MODE_MAP] = { "map",
                   "Measures the map (core/map) and the store (kvstore.h) in this process: 16-byte keys.\n"
                   "With the defaults that takes about 3 minutes and 2 GB of memory.\n\n" },
    [MODE_CONTENTION] = { "contention", "Starts kvserver, lets many connections write to skewed keys, and "
                                        "prints what LOCKSTAT and INFO\n"
                                        "contention tell of it: how long locks were waited for and held, for "
                                        "which shards and keys.\n\n" },
    [MODE_CACHE] = { "cache", "Gives servers room for a tenth of the keys, asks for keys by Zipf's law, "
                              "stores those that are missing,\n"
                              "and counts the hits, beside a true LRU and a true LFU of the same number of "
                              "keys. Then stores new keys\n"
                              "in a growing store and in a full one, and keys that are there already, and "
                              "compares the server's\nCPU time per SET.\n\n" },
    [MODE_FANOUT] = { "fanout", "Publishes to many subscribers, and divides the server's CPU time by the "
                                "messages that were delivered;\n"
                                "every byte is counted.\n\n" },
    [MODE_OVERLOAD] = { "overload", "Ten kinds of clients that misbehave, at servers with their default "
                                    "settings; how much memory that takes,\n"
                                    "and how long others wait for their answers meanwhile. With the defaults "
                                    "that takes about a minute.\n\n" },
    [MODE_DURABLE] = { "durable", "" },
    [MODE_TLS] = { "tls", "The same requests at a plain port and at one with TLS, and handshakes, beside "
                          "redis-server (which must have\n"
                          "been built with TLS): the server's own CPU time for each.\n\n" },
    [MODE_FLOOR] = { "floor",
                     "A libevent server that answers every GET with the same bytes; until SIGTERM.\n\n" },
};

/* The sizes of a list such as "1000,1M,10M". */
static int parse_sizes(options *o, const option *row, const char *list, fault *f)
{
    o->size_count = 0;
    for (const char *at = list; at; at = strchr(at, ',')) {
        size_t len;

        at += at != list;
        len = strcspn(at, ",");
        if (o->size_count == OPTIONS_SIZES)
            return fault_usage(f, "--%s: more than %d sizes", row->name, OPTIONS_SIZES);
        if (quantity_count(at, len, row->min, row->max, &o->sizes[o->size_count]))
            return fault_usage(f, "--%s: \"%.*s\" is not a number from %llu to %llu", row->name, (int)len, at,
                               (unsigned long long)row->min, (unsigned long long)row->max);
        o->size_count++;
    }
    return 0;
}

static int store_value(options *o, const option *row, const char *value, fault *f)
{
    void *field = (char *)o + row->at;

    switch (row->kind) {
    case OPTION_COUNT:
        if (quantity_count(value, strlen(value), row->min, row->max, field))
            return fault_usage(f, "--%s: \"%s\" is not a number from %llu to %llu", row->name, value,
                               (unsigned long long)row->min, (unsigned long long)row->max);
        return 0;
    case OPTION_SECONDS:
        if (quantity_seconds(value, 86400, field))
            return fault_usage(f, "--%s: \"%s\" is not a number of seconds", row->name, value);
        return 0;
    case OPTION_TEXT:
        *(const char **)field = value;
        return 0;
    case OPTION_SIZES:
        return parse_sizes(o, row, value, f);
    case OPTION_EXTRA:
        if (!strchr(value, '=') || *value == '=')
            return fault_usage(f, "--%s: \"%s\" is not of the form NAME=COMMAND LINE", row->name, value);
        if (o->extra_count == OPTIONS_EXTRA)
            return fault_usage(f, "--%s: given more than %d times", row->name, OPTIONS_EXTRA);
        o->extra[o->extra_count++] = value;
        return 0;
    default:
        *(bool *)field = row->kind == OPTION_FLAG;
        return 0;
    }
}

static const option *find(const char *name, size_t len, bench_mode mode)
{
    for (size_t i = 0; i < OPTION_COUNT_OF; i++)
        if ((OPTION_TABLE[i].modes & 1u << mode) && strncmp(OPTION_TABLE[i].name, name, len) == 0 &&
            OPTION_TABLE[i].name[len] == '\0')
            return &OPTION_TABLE[i];
    return NULL;
}

/* One option, in the form --name value or --name=value. Moves *at over its words. */
static int parse_option(options *o, char **argv, int argc, int *at, fault *f)
{
    const char *word = argv[*at], *name = word + 2, *equals;
    const option *row;
    size_t len;

    if (strncmp(word, "--", 2) != 0)
        return fault_usage(f, "\"%s\" is not an option", word);
    equals = strchr(name, '=');
    len = equals ? (size_t)(equals - name) : strlen(name);
    row = find(name, len, o->mode);
    if (!row)
        return fault_usage(f, "kvbench %s knows no option \"%.*s\"", MODES[o->mode].name, (int)len + 2, word);
    ++*at;
    if (!row->value)
        return equals ? fault_usage(f, "--%s takes no value", row->name) : store_value(o, row, NULL, f);
    if (equals)
        return store_value(o, row, equals + 1, f);
    if (*at == argc)
        return fault_usage(f, "--%s needs a value: %s", row->name, row->value);
    return store_value(o, row, argv[(*at)++], f);
}

static int parse_mode(options *o, const char *word, fault *f)
{
    for (unsigned i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (strcmp(word, MODES[i].name) == 0) {
            o->mode = (bench_mode)i;
            return 0;
        }
    return fault_usage(f,
                       "\"%s\" is neither server nor map nor contention nor cache nor fanout nor overload "
                       "nor durable nor tls nor floor",
                       word);
}

/* What is wrong with options that are fine each by itself; and defaults that depend on others. */
static int check(options *o, fault *f)
{
    if (o->sharing && strcmp(o->sharing, "sharded") != 0 && strcmp(o->sharing, "mutex") != 0 &&
        strcmp(o->sharing, "actor") != 0)
        return fault_usage(f, "--sharing: \"%s\" is neither sharded nor mutex nor actor", o->sharing);
    if (o->callgrind && o->strategies)
        return fault_usage(f, "--callgrind and --strategies exclude each other");
    if (o->sharing && o->strategies)
        return fault_usage(f, "--sharing and --strategies exclude each other");
    if (o->load_threads > o->connections && o->connections)
        return fault_usage(f, "--load-threads: there are only %llu connections",
                           (unsigned long long)o->connections);
    if ((o->connections ? o->connections : 50) * o->depth * (o->value_size + 128) > 1ull << 30)
        return fault_usage(f,
                           "--connections x --depth x --value-size is more than 1 GiB of requests under way");
    if (o->distribution && strcmp(o->distribution, "uniform") != 0 && strcmp(o->distribution, "zipf") != 0 &&
        strcmp(o->distribution, "hot") != 0)
        return fault_usage(f, "--distribution: \"%s\" is neither uniform nor zipf nor hot", o->distribution);
    if (o->mode == MODE_FLOOR && o->port == 0)
        return fault_usage(f, "--port is missing");
    return 0;
}

int options_parse(options *ret, int argc, char **argv, fault *f)
{
    options o = { .seed = 1,
                  .depth = 64,
                  .rounds = 3,
                  .set_percent = 100,
                  .top = 10,
                  .strace = true,
                  .memory = true,
                  .idle = true,
                  .large_keys = 5000000,
                  .memory_keys = 2000000,
                  .sizes = { 1000, 1000000, 10000000 },
                  .size_count = 3,
                  .idle_connections = 10000 };

    if (argc < 2)
        return fault_usage(f, "say what to measure: kvbench server, map, contention, cache, fanout, "
                              "overload, durable or tls (kvbench --help)");
    if (strcmp(argv[1], "--version") == 0) {
        o.version = true;
        *ret = o;
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        options_help(-1);
        o.help = true;
        *ret = o;
        return 0;
    }
    if (parse_mode(&o, argv[1], f))
        return -1;
    for (int at = 2; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            options_help((int)o.mode);
            o.help = true;
            break;
        }
        if (parse_option(&o, argv, argc, &at, f))
            return -1;
    }
    if (!o.help && check(&o, f))
        return -1;
    *ret = o;
    return 0;
}

static void help_options(bench_mode mode)
{
    for (size_t i = 0; i < OPTION_COUNT_OF; i++) {
        const option *row = &OPTION_TABLE[i];
        char left[64];

        if (!(row->modes & 1u << mode))
            continue;
        snprintf(left, sizeof left, "--%s %s", row->name, row->value ? row->value : "");
        printf("  %-24s %s\n", left, row->help);
    }
}

static void help_overview(void)
{
    printf("kvbench - how fast, and how much memory\n\n"
           "  kvbench server [options]   kvserver beside redis-server, memcached and a server that\n"
           "                             stores nothing (the floor): CPU time, throughput, memory\n"
           "  kvbench map [options]      the map and the store in process, without any socket\n"
           "  kvbench contention [options]  who waits for which lock of kvserver, under a chosen skew\n"
           "  kvbench cache [options]    eviction: hit rates beside true LRU and LFU, and what it costs\n"
           "  kvbench fanout [options]   one publisher and many subscribers\n"
           "  kvbench overload [options] clients that misbehave: the server's memory, and the others' "
           "waiting\n"
           "  kvbench durable [options]  the log of changes and snapshots: writes a second, pauses, "
           "start-up\n"
           "  kvbench tls [options]      what TLS costs: for each request, and for each handshake\n"
           "  kvbench floor --port N     run the floor server by itself\n\n"
           "kvbench server --help, map --help and so on tell their options.\n"
           "Exit status: 0 measured; 1 a bad option; 2 a server died, hung or answered nonsense.\n"
           "All servers run on 127.0.0.1, on free ports, and are stopped again.\n");
}

void options_help(int mode)
{
    if (mode < 0) {
        help_overview();
        return;
    }
    printf("kvbench %s [options]\n\n%s", MODES[mode].name, MODES[mode].about);
    printf("Options (numbers may end with k, M or G):\n");
    help_options((bench_mode)mode);
}

const char *options_mode(int mode)
{
    return mode >= 0 && mode < (int)(sizeof MODES / sizeof *MODES) ? MODES[mode].name : NULL;
}

const char *options_row(int mode, int index, const char **ret_value, const char **ret_help)
{
    for (size_t i = 0; i < OPTION_COUNT_OF; i++) {
        if (!(OPTION_TABLE[i].modes & 1u << mode) || index--)
            continue;
        *ret_value = OPTION_TABLE[i].value;
        *ret_help = OPTION_TABLE[i].help;
        return OPTION_TABLE[i].name;
    }
    return NULL;
}
