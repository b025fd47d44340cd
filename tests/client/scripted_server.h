/* scripted_server.h - a fake server that answers GET and INCR as a test's script says, and clients for it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_TESTS_SCRIPTED_SERVER_H
#define KV_TESTS_SCRIPTED_SERVER_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_server.h"
#include "kvclient.h"

/* What the server does with a GET or INCR; everything else it answers with +OK. */
enum then { THEN_GO_ON, THEN_HANG_UP, THEN_RESET };
typedef struct script {
    const char *bytes;
    size_t len;
    enum then then;
    const char *hello; /* instead of a handshake, or NULL */
} script;

/* What a test has as its state. */
typedef struct scripted {
    fake_server *server;
    kvc_options options;  /* of clients that are opened */
    atomic_int asked;     /* GETs and INCRs that came */
    pthread_mutex_t lock; /* guards the following: the server has a thread of its own */
    script plan;
} scripted;

#define scripted_test(name) cmocka_unit_test_setup_teardown(name, scripted_set_up, scripted_tear_down)
int scripted_set_up(void **state);
int scripted_tear_down(void **state);

/* From now on len of the bytes are the answer, and then this happens. */
void say_then(scripted *s, const char *bytes, size_t len, enum then then);
void say(scripted *s, const char *bytes);
/* Instead of a handshake. */
void greet(scripted *s, const char *hello);

kvc_client *open_client(const scripted *s);
/* GET k answers this, and error tells the same. */
void expect_get(kvc_client *client, kvc_status expected, bool sent);
#define scripted_key ((kvc_slice){ "k", 1 })

#endif
