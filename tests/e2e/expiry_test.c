/* expiry_test.c - what has expired goes without being asked for, and its memory with it.
 *
 * The keys have expired before they are set, so nobody waits for that: only for the server to notice.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2e.h"

enum { keys = 50000, tick_ms = 10, patience_ms = 60000 };

static long long size_of(conn *c)
{
    char *text = ask(c, "DBSIZE");
    long long n = -1;

    assert_non_null(text);
    assert_int_equal(sscanf(text, ":%lld", &n), 1);
    free(text);
    return n;
}

/* keys keys that have expired, but for one in a hundred. */
static void set_expired_keys(conn *c)
{
    enum { at_once = 500 };
    char request[128];

    for (int i = 0; i < keys; i++) {
        snprintf(request, sizeof request, "SET key:%d a-value-of-some-length PXAT %s\r\n", i,
                 i % 100 ? "1" : "33177117420123");
        assert_true(conn_send(c, kv_str(request)));
        for (int n = 0; i % at_once == at_once - 1 && n < at_once; n++)
            next_is(c, "+OK");
    }
}

static void expired_keys_go_by_themselves(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s);
    struct timespec tick = { .tv_nsec = tick_ms * 1000000L };
    int waited = 0;

    (void)state;
    set_expired_keys(c);
    for (; size_of(c) > keys / 100 && waited < patience_ms; waited += tick_ms)
        nanosleep(&tick, NULL);
    print_message("gone after %d ms\n", waited);
    assert_int_equal(size_of(c), keys / 100);
    says(c, "$a-value", "GET", "key:100");
    says(c, "_", "GET", "key:101");
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(expired_keys_go_by_themselves) };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
