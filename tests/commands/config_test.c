/* config_test.c - tests of CONFIG.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static void config_get_takes_patterns(void **state)
{
    session *s = *state;

    expect(s, "*2 $maxclients $10000", "CONFIG", "GET", "maxclients");
    expect_like(s, "[*]2 $[Mm]ax[Cc]lients $10000", "CONFIG", "GET", "MaxClients");
    expect(s, "*2 $maxclients $10000", "CONFIG", "GET", "MaxClient?");
    expect_like(s, "[*]4 * $10000*", "CONFIG", "GET", "maxclients", "maxmemory", "maxclient?");
    expect_like(s, "[*]*$proto-max-bulk-len $536870912*", "CONFIG", "GET", "proto*");
    expect(s, "*0", "CONFIG", "GET", "nope");
    expect(s, "*2 $databases $16", "CONFIG", "GET", "databases");
    expect_like(s, "%*", "HELLO", "3");
    expect(s, "%1 $maxclients $10000", "CONFIG", "GET", "maxclients");
}

static void config_set_changes_what_config_get_tells(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "*2 $timeout $0", "CONFIG", "GET", "timeout");
    expect(s, "+OK", "CONFIG", "SET", "timeout", "1000");
    expect(other, "*2 $timeout $1000", "CONFIG", "GET", "timeout");
    expect(s, "+OK", "CONFIG", "SET", "TIMEOUT", "0", "maxmemory", "1gb");
    expect_sorted(s, "*4 $0 $1073741824 $maxmemory $timeout", "CONFIG", "GET", "timeout", "maxmemory");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0");
    expect(s, "+OK", "CONFIG", "SET", "loglevel", "verbose");
    expect(s, "*2 $loglevel $verbose", "CONFIG", "GET", "loglevel");
    expect(s, "+OK", "CONFIG", "SET", "loglevel", "notice");
}

static void memory_has_units(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "10k");
    expect(s, "*2 $maxmemory $10000", "CONFIG", "GET", "maxmemory");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "10Kb");
    expect(s, "*2 $maxmemory $10240", "CONFIG", "GET", "maxmemory");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "3m");
    expect(s, "*2 $maxmemory $3000000", "CONFIG", "GET", "maxmemory");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "2gb");
    expect(s, "*2 $maxmemory $2147483648", "CONFIG", "GET", "maxmemory");
    expect(
        s,
        "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value",
        "CONFIG", "SET", "maxmemory", "10q");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0");
}

static void config_set_refuses_what_it_cannot_do(void **state)
{
    session *s = *state;

    expect(s, "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'", "CONFIG", "SET", "nope",
           "1");
    expect(s, "-ERR wrong number of arguments for 'config|set' command", "CONFIG", "SET", "maxmemory");
    expect(s, "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter",
           "CONFIG", "SET", "maxmemory", "1", "maxmemory", "2");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
           "CONFIG", "SET", "databases", "5");
    expect(
        s,
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and "
        "4294967295 inclusive",
        "CONFIG", "SET", "maxclients", "0");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and "
           "2147483647 inclusive",
           "CONFIG", "SET", "timeout", "-1");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed "
           "into an "
           "integer",
           "CONFIG", "SET", "timeout", "soon");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'protected-mode') - argument must be 'yes' "
           "or 'no'",
           "CONFIG", "SET", "protected-mode", "maybe");
    expect(
        s,
        "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the "
        "following: debug, verbose, notice, warning...",
        "CONFIG", "SET", "loglevel", "loud");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Wrong "
           "number of "
           "arguments in buffer limit configuration.",
           "CONFIG", "SET", "client-output-buffer-limit", "normal 1");
}

static void config_set_does_all_or_nothing(void **state)
{
    session *s = *state;

    expect_like(s, "-ERR CONFIG SET failed (possibly related to argument 'timeout') *", "CONFIG", "SET",
                "maxmemory", "12345", "timeout", "x");
    expect(s, "*2 $maxmemory $0", "CONFIG", "GET", "maxmemory");
    expect_like(s, "-ERR CONFIG SET failed (possibly related to argument 'databases') *", "CONFIG", "SET",
                "maxmemory", "12345", "databases", "5");
    expect(s, "*2 $maxmemory $0", "CONFIG", "GET", "maxmemory");
}

static void output_limits_are_set_by_class(void **state)
{
    session *s = *state;
    const char *before = said(s, "CONFIG", "GET", "client-output-buffer-limit");

    expect(s, "+OK", "CONFIG", "SET", "client-output-buffer-limit", "pubsub 64mb 16mb 90");
    expect_like(s, "[*]2 $client-output-buffer-limit $\"normal * slave * pubsub 67108864 16777216 90\"",
                "CONFIG", "GET", "client-output-buffer-limit");
    expect(s, "+OK", "CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60");
    expect(s, before, "CONFIG", "GET", "client-output-buffer-limit");
}

static void rewrite_needs_a_file(void **state)
{
    session *s = *state;

    expect(s, "-ERR The server is running without a config file", "CONFIG", "REWRITE");
}

static void resetstat_counts_from_zero(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GET", "k");
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect_like(s, "*keyspace_hits:0*", "INFO", "stats");
    expect(s, "$v", "GET", "k");
    expect(s, "_", "GET", "absent");
    expect(s, "_", "GET", "absent");
    expect_like(s, "*keyspace_hits:1\\x0d\\x0akeyspace_misses:2\\x0d*", "INFO", "stats");
}

static void config_counts_its_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'config|get' command", "CONFIG", "GET");
    expect(s, "-ERR wrong number of arguments for 'config|set' command", "CONFIG", "SET");
    expect(s, "-ERR wrong number of arguments for 'config|resetstat' command", "CONFIG", "RESETSTAT", "x");
    expect(s, "-ERR wrong number of arguments for 'config' command", "CONFIG");
    expect(s, "-ERR unknown subcommand 'nope'. Try CONFIG HELP.", "CONFIG", "nope");
    expect_like(s, "[*]* +*CONFIG <subcommand>*", "CONFIG", "HELP");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(config_get_takes_patterns),
        conversation(config_set_changes_what_config_get_tells),
        conversation(memory_has_units),
        conversation(config_set_refuses_what_it_cannot_do),
        conversation(config_set_does_all_or_nothing),
        conversation(output_limits_are_set_by_class),
        conversation(rewrite_needs_a_file),
        conversation(resetstat_counts_from_zero),
        conversation(config_counts_its_arguments),
    };

    return run_conversations(argc, argv, tests);
}
