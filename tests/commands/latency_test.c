/* latency_test.c - tests of LATENCY: events that took long, and how long commands take.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static void nothing_is_kept_without_a_threshold(void **state)
{
    session *s = *state;

    expect_between(s, 0, 100, "LATENCY", "RESET");
    expect(s, "*0", "LATENCY", "LATEST");
    expect(s, "*0", "LATENCY", "HISTORY", "command");
    expect(s, ":0", "LATENCY", "RESET", "command", "nope");
    expect(s, "-ERR No samples available for event 'command'", "LATENCY", "GRAPH", "command");
    expect_like(s, "$*latency-monitor-threshold*", "LATENCY", "DOCTOR");
    expect_like(s, "*[0-9]* +\"LATENCY <subcommand> *", "LATENCY", "HELP");
}

/* DEBUG SLEEP is the one command whose time is known. */
static void a_slow_command_is_an_event(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "latency-monitor-threshold", "3");
    expect_between(s, 0, 100, "LATENCY", "RESET");
    expect_like(s, "$*no latency spike was *e*", "LATENCY", "DOCTOR");
    if (*said(s, "DEBUG", "SLEEP", "0.005") == '+') {
        expect_like(s, "*$command :1* :* :**", "LATENCY", "LATEST");
        expect_like(s, "*1 *2 :1* :*", "LATENCY", "HISTORY", "command");
        expect_like(s, "$command - high * ms, low * ms (all time high * ms)*", "LATENCY", "GRAPH", "command");
        expect_like(s, "$*1. command: 1 latency spikes (average *ms, mean deviation 0ms, period *", "LATENCY",
                    "DOCTOR");
        expect(s, ":1", "LATENCY", "RESET", "command");
        expect(s, "*0", "LATENCY", "HISTORY", "command");
    }
    expect(s, "+OK", "CONFIG", "SET", "latency-monitor-threshold", "0");
}

static void histograms_tell_how_long_commands_took(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect_like(s, "*2 $config|resetstat *4 $calls :1 $histogram_usec *2 :* :1", "LATENCY", "HISTOGRAM");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "SET", "b", "1");
    expect(s, "$1", "GET", "a");
    expect_like(s, "*2 $set *4 $calls :2 $histogram_usec * :* :2", "LATENCY", "HISTOGRAM", "set");
    expect_like(s, "*2 $get *4 $calls :1 $histogram_usec *2 :* :1", "LATENCY", "HISTOGRAM", "blabla", "GET");
    expect(s, "*0", "LATENCY", "HISTOGRAM", "blabla", "mget");
    expect_like(s, ":*", "CLIENT", "ID");
    expect_like(s, "*2 $client|id *4 $calls :1 *", "LATENCY", "HISTOGRAM", "client|id");
    expect_like(s, "*2 $client|id *4 $calls :1 *", "LATENCY", "HISTOGRAM", "client");
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect(s, "*0", "LATENCY", "HISTOGRAM", "set");
}

static void histograms_can_be_done_without(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking", "no");
    expect(s, "_", "GET", "a");
    expect(s, "*0", "LATENCY", "HISTOGRAM", "get");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking", "yes");
    expect(s, "_", "GET", "a");
    expect_like(s, "*2 $get *4 $calls :1 *", "LATENCY", "HISTOGRAM", "get");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(nothing_is_kept_without_a_threshold),
        conversation(a_slow_command_is_an_event),
        conversation(histograms_tell_how_long_commands_took),
        conversation(histograms_can_be_done_without),
    };

    return run_conversations(argc, argv, tests);
}
