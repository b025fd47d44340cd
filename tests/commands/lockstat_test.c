/* lockstat_test.c - tests of LOCKSTAT and INFO contention: their form. What they count is tested where somebody waits:
 * tests/unit/contention_test.c, tests/e2e/sharing_test.c.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

#define TIMES \
    "[*]16 $count :* $total-ns :* $max-ns :* $p50-ns :* $p90-ns :* $p99-ns :* $p999-ns :* $histogram [*]*"

static void lockstat_reports(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no locks");
    expect_like(s,
                "[*]18 $sharing $* $measured :[01] $since-ms :* $wait " TIMES " $hold " TIMES
                " $shards-waited-for :* $unlisted-waits :* $shards [*]* $keys [*]*",
                "LOCKSTAT");
    expect_like(s, "*$shards [*]0 $keys [*]0", "LOCKSTAT", "TOP", "0");
    expect_like(s, "[*]18 *", "lockstat", "top", "9223372036854775807");
    expect_like(s, "%*", "HELLO", "3");
    expect_like(s, "%9 $sharing *$wait %8 *", "LOCKSTAT");
}

static void lockstat_counts_from_zero(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no locks");
    expect(s, "+OK", "LOCKSTAT", "RESET");
    expect_like(s, "[*]18 *", "LOCKSTAT", "TOP", "3", "RESET");
    expect_like(s, "*$wait [*]16 $count :0 $total-ns :0 $max-ns :0 *$histogram [*]0 $hold [*]16 $count :0 *",
                "LOCKSTAT");
}

static void lockstat_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no locks");
    expect(s, "-ERR syntax error", "LOCKSTAT", "TOP");
    expect(s, "-ERR syntax error", "LOCKSTAT", "NOPE");
    expect(s, "-ERR syntax error", "LOCKSTAT", "TOP", "1", "2");
    expect(s, "-ERR syntax error", "LOCKSTAT", "RESET", "TOP", "1");
    expect(s, "-ERR value is not an integer or out of range", "LOCKSTAT", "TOP", "many");
    expect(s, "-ERR value is not an integer or out of range", "LOCKSTAT", "TOP", "-1");
    expect_like(s, "[*]* +*LOCKSTAT *", "LOCKSTAT", "HELP");
}

static void info_contention_has_the_sums(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no locks");
    expect_like(
        s,
        "$# Contention*lock_measured:[01]*lock_since_ms:*lock_waits:*lock_wait_total_ns:*lock_wait_max_ns:*"
        "lock_wait_p50_ns:*lock_wait_p99_ns:*lock_wait_p999_ns:*lock_holds:*lock_hold_total_ns:*"
        "lock_shards_waited_for:*lock_unlisted_waits:*",
        "INFO", "contention");
    expect_like(s, "*# Contention*", "INFO", "everything");
    assert_null(strstr(said(s, "INFO"), "# Contention"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(lockstat_reports),
        conversation(lockstat_counts_from_zero),
        conversation(lockstat_refuses_what_it_does_not_know),
        conversation(info_contention_has_the_sums),
    };

    return run_conversations(argc, argv, tests);
}
