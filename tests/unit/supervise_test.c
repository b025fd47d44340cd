/* supervise_test.c - the watchdog hears nothing while one worker is stuck. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

static void a_stuck_worker_silences_the_watchdog(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    server *s = calloc(1, sizeof *s);
    int64_t now_ms = (int64_t)(clock_ns() / 1000000);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char name[64], said[64];

    (void)state;
    assert_non_null(s);
    assert_true(fd >= 0);
    snprintf(name, sizeof name, "@kvstore-supervise-test-%ld", (long)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    log_init(&s->log);
    s->worker_count = 2;
    s->workers = aligned_alloc(64, (2 * sizeof *s->workers + 63) / 64 * 64);
    assert_non_null(s->workers);
    memset(s->workers, 0, 2 * sizeof *s->workers);
    s->supervision = (supervision){ .by = SUPERVISOR_SYSTEMD, .watchdog_ms = 3600000 };
    atomic_store(&s->workers[0].ticked_ms, now_ms);
    atomic_store(&s->workers[1].ticked_ms, now_ms - 3600000);
    s->supervision.fed_ms = now_ms - 3600000;
    supervise_tick(s);
    assert_int_equal(recv(fd, said, sizeof said, MSG_DONTWAIT), -1);
    atomic_store(&s->workers[1].ticked_ms, now_ms);
    supervise_tick(s);
    assert_int_equal(recv(fd, said, sizeof said, MSG_DONTWAIT), 11);
    supervise_tick(s); /* it was fed just now */
    assert_int_equal(recv(fd, said, sizeof said, MSG_DONTWAIT), -1);
    free(s->workers);
    free(s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_stuck_worker_silences_the_watchdog) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
