/* config_test.c - tests of CONFIG.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static void config_get_takes_patterns(void **state)
{
    session *s = *state;

    expect(s, "*2 $maxclients $10000", "CONFIG", "GET", "maxclients");
    expect(s, "*2 $MaxClients $10000", "CONFIG", "GET", "MaxClients"); /* the name as it was asked for */
    expect(s, "*2 $maxclients $10000", "CONFIG", "GET", "MaxClient?");
    expect(s, "*2 $MAXclients $10000", "CONFIG", "GET", "MAXclients", "maxCLIENTS", "maxclient?");
    expect_sorted(s, "*4 $0 $10000 $MAXCLIENTS $maxmemory", "CONFIG", "GET", "MAXCLIENTS", "maxmemory",
                  "maxclient?");
    expect_sorted(s, "*4 $100 $100 $replica-priority $slave-priority", "CONFIG", "GET", "*-priority");
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

#define FAILED(name) "-ERR CONFIG SET failed (possibly related to argument '" name "') - "

static void words_are_chosen_from_a_list(void **state)
{
    session *s = *state;

    expect(s,
           FAILED("loglevel") "argument(s) must be one of the following: debug, verbose, notice, warning...",
           "CONFIG", "SET", "loglevel", "");
    expect(s,
           FAILED("maxmemory-policy") "argument(s) must be one of the following: volatile-lru, volatile-lfu, "
                                      "volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, "
                                      "allkeys-random, noeviction",
           "CONFIG", "SET", "maxmemory-policy", "some");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", "NoEviction");
    expect(s, FAILED("sanitize-dump-payload") "argument(s) must be one of the following: no, yes, clients",
           "CONFIG", "SET", "sanitize-dump-payload", "x");
    expect(s,
           FAILED("shutdown-on-sigterm") "argument(s) must be one of the following: default, save, nosave, "
                                         "now, force",
           "CONFIG", "SET", "shutdown-on-sigterm", "now later");
    expect(s, "+OK", "CONFIG", "SET", "shutdown-on-sigterm", "force now");
    expect_like(s, "[*]2 $shutdown-on-sigterm $\"* *\"", "CONFIG", "GET", "shutdown-on-sigterm");
    expect(s, "+OK", "CONFIG", "SET", "shutdown-on-sigterm", "default");
    expect(s, "*2 $shutdown-on-sigterm $default", "CONFIG", "GET", "shutdown-on-sigterm");
}

static void some_values_have_rules_of_their_own(void **state)
{
    session *s = *state;

    expect(s, FAILED("maxmemory-clients") "argument must be a memory or percent value", "CONFIG", "SET",
           "maxmemory-clients", "-1%");
    expect(s, FAILED("maxmemory-clients") "argument must be a memory or percent value", "CONFIG", "SET",
           "maxmemory-clients", "some");
    expect(s, FAILED("maxmemory-clients") "percentage argument must be less or equal to 100", "CONFIG", "SET",
           "maxmemory-clients", "101%");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-clients", "0");
    expect(s, FAILED("appendonly") "argument must be 'yes' or 'no'", "CONFIG", "SET", "appendonly", "maybe");
    expect(s,
           FAILED("latency-tracking-info-percentiles") "Invalid latency-tracking-info-percentiles parameters",
           "CONFIG", "SET", "latency-tracking-info-percentiles", "50 x");
    expect(
        s,
        FAILED("latency-tracking-info-percentiles") "latency-tracking-info-percentiles parameters should sit "
                                                    "between [0.0,100.0]",
        "CONFIG", "SET", "latency-tracking-info-percentiles", "50 101");
    expect(s, FAILED("oom-score-adj-values") "wrong number of arguments", "CONFIG", "SET",
           "oom-score-adj-values", "1 2");
    expect(s, FAILED("proc-title-template") "template format is invalid or contains unknown variables",
           "CONFIG", "SET", "proc-title-template", "{name}");
    expect(s, FAILED("bind") "Too many bind addresses specified.", "CONFIG", "SET", "bind",
           "a b c d e f g h i j k l m n o p q");
    expect(s, "+OK", "CONFIG", "SET", "client-output-buffer-limit", "");
}

static void more_clients_than_there_can_be_are_refused(void **state)
{
    session *s = *state;

    not_in_redis(s, "it tries all lower numbers first, which takes it long");
    expect_like(s,
                FAILED("maxclients") "The operating system is not able to handle the specified number of "
                                     "clients, try with [1-9]*",
                "CONFIG", "SET", "maxclients", "4000000000");
    expect(s, "*2 $maxclients $10000", "CONFIG", "GET", "maxclients");
}

static void what_is_hidden_is_shown_to_who_names_it(void **state)
{
    session *s = *state;

    expect(s, "*2 $Key-load-delay $0", "CONFIG", "GET", "Key-load-delay");
    assert_null(strstr(said(s, "CONFIG", "GET", "*"), "key-load-delay"));
    expect(s, "*0", "CONFIG", "GET", "key-load-dela?");
}

static void hz_is_brought_into_its_range(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "hz", "1000");
    expect(s, "*2 $hz $500", "CONFIG", "GET", "hz");
    expect(s, "+OK", "CONFIG", "SET", "hz", "0");
    expect(s, "*2 $hz $1", "CONFIG", "GET", "hz");
    expect(s, "+OK", "CONFIG", "SET", "hz", "10");
}

static void a_name_and_its_alias_may_both_be_set(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "slave-priority", "7", "replica-priority", "8");
    expect(s, "*2 $slave-priority $8", "CONFIG", "GET", "slave-priority");
    expect_like(s, FAILED("timeout") "*", "CONFIG", "SET", "slave-priority", "9", "replica-priority", "10",
                "timeout", "x");
    expect(s, "*2 $slave-priority $8", "CONFIG", "GET", "slave-priority");
    expect(s, FAILED("TIMEOUT") "duplicate parameter", "CONFIG", "SET", "timeout", "1", "TIMEOUT", "1");
    expect(s, "+OK", "CONFIG", "SET", "replica-priority", "100");
}

static void nothing_is_saved_unless_asked_for(void **state)
{
    session *s = *state;

    not_in_redis(s, "it does save, and was told not to");
    expect(s, "*2 $save $\"\"", "CONFIG", "GET", "save");
    expect_like(s, FAILED("save") "*", "CONFIG", "SET", "save", "60");
    expect(s, "+OK", "CONFIG", "SET", "save", "60 1 30 10");
    expect(s, "*2 $save $\"60 1 30 10\"", "CONFIG", "GET", "save");
    expect(s, "+OK", "CONFIG", "SET", "save", "");
    expect(s, "*2 $save $\"\"", "CONFIG", "GET", "save");
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

static void modules_are_none_and_loading_them_is_protected(void **state)
{
    session *s = *state;
    const char *refusal =
        "-ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can "
        "run it from a local connection, otherwise you need to set this option in the configuration "
        "file, and then restart the server.";

    expect(s, "*0", "MODULE", "LIST");
    expect(s, refusal, "MODULE", "LOAD", "/no/such/file");
    expect(s, refusal, "MODULE", "LOADEX", "/no/such/file");
    expect(s, refusal, "MODULE", "UNLOAD", "x");
    expect(s, "-ERR wrong number of arguments for 'module|load' command", "MODULE", "LOAD");
    expect(s, "-ERR unknown subcommand 'x'. Try MODULE HELP.", "MODULE", "x");
}

static void protected_directives_are_refused(void **state)
{
    session *s = *state;

    expect(s, "-ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config",
           "CONFIG", "SET", "dir", "/");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'dbfilename') - can't set protected config",
           "CONFIG", "SET", "dbfilename", "x.rdb");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'enable-debug-command') - can't set "
           "immutable config",
           "CONFIG", "SET", "enable-debug-command", "yes");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'enable-module-command') - can't set "
           "immutable config",
           "CONFIG", "SET", "enable-module-command", "yes");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'enable-protected-configs') - can't set "
           "immutable config",
           "CONFIG", "SET", "enable-protected-configs", "yes");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(config_get_takes_patterns),
        conversation(config_set_changes_what_config_get_tells),
        conversation(memory_has_units),
        conversation(config_set_refuses_what_it_cannot_do),
        conversation(words_are_chosen_from_a_list),
        conversation(some_values_have_rules_of_their_own),
        conversation(more_clients_than_there_can_be_are_refused),
        conversation(what_is_hidden_is_shown_to_who_names_it),
        conversation(hz_is_brought_into_its_range),
        conversation(a_name_and_its_alias_may_both_be_set),
        conversation(nothing_is_saved_unless_asked_for),
        conversation(config_set_does_all_or_nothing),
        conversation(output_limits_are_set_by_class),
        conversation(rewrite_needs_a_file),
        conversation(resetstat_counts_from_zero),
        conversation(config_counts_its_arguments),
        conversation(modules_are_none_and_loading_them_is_protected),
        conversation(protected_directives_are_refused),
    };

    return run_conversations(argc, argv, tests);
}
