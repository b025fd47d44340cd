/* tls_links_test.c - what servers say to each other behind TLS: replication in both directions, MIGRATE, and a data set as a file.
 *
 * Skipped without the openssl program, or without redis-server 7.0. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificates.h"
#include "replica.h"

enum { options_max = 32 };

static char *directory; /* where the certificates lie */

static const char *path(const char *name)
{
    return certificate_path(directory, name);
}

/* A server that has a port for TLS. */
typedef struct side {
    server *server;
    conn *c;
    int port;
    char port_text[16];
} side;

/* Of the program: kvserver, or (redis) redis-server. authority: of the others' certificates. */
static void start_side(side *s, bool redis, const char *authority, const char *const more[])
{
    const char *options[options_max] = { "--tls-cert-file",
                                         path("server.crt"),
                                         "--tls-key-file",
                                         path("server.key"),
                                         "--tls-ca-cert-file",
                                         path(authority),
                                         "--tls-port",
                                         s->port_text,
                                         "--repl-diskless-sync-delay",
                                         "0",
                                         "--repl-timeout",
                                         "300",
                                         "--tls-replication",
                                         "yes",
                                         "--tls-cluster",
                                         "yes",
                                         NULL };
    size_t n = 16;

    s->port = free_port();
    snprintf(s->port_text, sizeof s->port_text, "%d", s->port);
    for (; *more; more++)
        options[n++] = *more;
    options[n] = NULL;
    s->server = redis ? replica_begin_redis(options) : e2e_begin(false, options);
    s->c = connect_to(s->server);
}

#define start(s, redis, ...) start_side(s, redis, "ca.crt", (const char *const[]){ __VA_ARGS__, NULL })

static void stop(side *s)
{
    conn_close(s->c);
    assert_true(server_stop(s->server));
}

/* ---- replication ---- */

/* More than a record of TLS, and than a chunk of a data set. */
static void fill(conn *c)
{
    enum { size = 700 * 1000 };
    char *value = malloc(size + 1);

    assert_non_null(value);
    for (int i = 0; i < size; i++)
        value[i] = (char)('a' + i * 7 % 26);
    value[size] = '\0';
    says(c, "+OK", "SET", "large", value);
    free(value);
    for (unsigned seed = 1, i = 0; i < 10; i++)
        load_batch(c, &seed);
    says(c, "+OK", "SELECT", "0");
}

static void follows_through_tls(bool redis_leads, bool redis_follows)
{
    side primary, replica;

    start(&primary, redis_leads, NULL);
    start(&replica, redis_follows, NULL);
    fill(primary.c);
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", primary.port_text);
    wait_for_field(replica.c, "master_link_status", "up");
    fill(primary.c);
    wait_for_offset(primary.c, replica.c);
    assert_same_content(primary.c, replica.c, load_databases);
    assert_int_equal(info_number(primary.c, "connected_slaves"), 1);
    stop(&replica);
    stop(&primary);
}

static void kvserver_follows_redis_through_tls(void **state)
{
    (void)state;
    follows_through_tls(true, false);
}

static void redis_follows_kvserver_through_tls(void **state)
{
    (void)state;
    follows_through_tls(false, true);
}

static void kvserver_follows_kvserver_through_tls(void **state)
{
    (void)state;
    follows_through_tls(false, false);
}

/* What a replica says it listens on is what others are to connect to. */
static void a_replica_tells_its_port_of_tls(void **state)
{
    side primary, replica;
    char expected[64], *line;

    (void)state;
    start(&primary, false, NULL);
    start(&replica, false, NULL);
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", primary.port_text);
    wait_for_field(replica.c, "master_link_status", "up");
    snprintf(expected, sizeof expected, "port=%d,", replica.port);
    line = info_value(primary.c, "slave0");
    assert_non_null(line);
    assert_non_null(strstr(line, expected));
    free(line);
    stop(&replica);
    stop(&primary);
}

/* ---- who is refused ---- */

static void wait_for_error(conn *replica, const char *text)
{
    wait_for_field(replica, "master_link_error", text);
}

static void a_primary_of_another_authority_is_not_followed(void **state)
{
    side primary, replica;

    (void)state;
    start(&primary, false, NULL);
    start_side(&replica, false, "other.crt", (const char *const[]){ NULL });
    says(primary.c, "+OK", "SET", "k", "v");
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", primary.port_text);
    wait_for_error(replica.c, "no connection: TLS: certificate verify failed");
    says(replica.c, ":0", "DBSIZE");
    stop(&replica);
    stop(&primary);
}

static void a_primary_without_tls_is_not_followed(void **state)
{
    server *plain = begin_tcp(NULL);
    side replica;
    char port[16];

    (void)state;
    start(&replica, false, NULL);
    snprintf(port, sizeof port, "%d", server_port(plain));
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", port);
    wait_for_error(replica.c, "no connection: TLS: ");
    stop(&replica);
    end(plain);
}

/* The link is made anew with what is configured then. */
static void tls_can_be_turned_on_while_the_server_runs(void **state)
{
    side primary, replica;

    (void)state;
    start(&primary, false, NULL);
    start(&replica, false, "--tls-replication", "no", "--tls-cluster", "no");
    says(primary.c, "+OK", "SET", "k", "v");
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", primary.port_text);
    wait_for_field(replica.c, "master_link_status", "down");
    says(replica.c, "-ERR CONFIG SET failed (possibly related to argument 'tls-ca-cert-file')", "CONFIG",
         "SET", "tls-ca-cert-file", path("nothing.crt"), "tls-replication", "yes");
    says(replica.c, "*2 $tls-replication $no", "CONFIG", "GET", "tls-replication");
    says(replica.c, "+OK", "CONFIG", "SET", "tls-replication", "yes");
    wait_for_field(replica.c, "master_link_status", "up");
    says(replica.c, "$v", "GET", "k");
    stop(&replica);
    stop(&primary);
}

static void another_certificate_can_be_shown_to_primaries(void **state)
{
    side primary, replica;

    (void)state;
    start(&primary, true, NULL);
    start(&replica, false, "--tls-client-cert-file", path("client.crt"), "--tls-client-key-file",
          path("client.key"));
    says(primary.c, "+OK", "SET", "k", "v");
    says(replica.c, "+OK", "REPLICAOF", "127.0.0.1", primary.port_text);
    wait_for_offset(primary.c, replica.c);
    says(replica.c, "$v", "GET", "k");
    says(replica.c, "-ERR CONFIG SET failed", "CONFIG", "SET", "tls-client-key-file", path("other.key"));
    stop(&replica);
    stop(&primary);
}

/* ---- MIGRATE ---- */

static void moves_through_tls(bool from_redis, bool to_redis)
{
    side from, to;

    start(&from, from_redis, NULL);
    start(&to, to_redis, NULL);
    for (int round = 0; round < 2; round++) { /* the second time the connection is there */
        says(from.c, "+OK", "MSET", "a", "1", "b", "2");
        says(from.c, "+OK", "MIGRATE", "127.0.0.1", to.port_text, "", "0", "60000", "REPLACE", "KEYS", "a",
             "b");
        says(from.c, ":0", "DBSIZE");
        says(to.c, "*2 $1 $2", "MGET", "a", "b");
    }
    stop(&to);
    stop(&from);
}

static void keys_move_to_redis_through_tls(void **state)
{
    (void)state;
    moves_through_tls(false, true);
}

static void keys_come_from_redis_through_tls(void **state)
{
    (void)state;
    moves_through_tls(true, false);
}

static void keys_are_not_moved_to_who_has_no_tls(void **state)
{
    server *plain = begin_tcp(NULL);
    side from;
    char port[16];

    (void)state;
    start(&from, false, NULL);
    snprintf(port, sizeof port, "%d", server_port(plain));
    says(from.c, "+OK", "SET", "a", "1");
    says(from.c, "-IOERR ", "MIGRATE", "127.0.0.1", port, "a", "0", "60000");
    says(from.c, "$1", "GET", "a");
    stop(&from);
    end(plain);
}

/* ---- kvcli --rdb ---- */

static void kvcli_takes_a_data_set_through_tls(void **state)
{
    const char *kvcli = server_program("kvcli");

    (void)state;
    if (!kvcli)
        skip();
    for (int redis = 0; redis <= 1; redis++) {
        side s, other;
        char *output, file[300];

        start(&s, redis, NULL);
        fill(s.c);
        assert_int_equal(
            run_program((const char *const[]){ kvcli, "-p", s.port_text, "--tls", "--cacert", path("ca.crt"),
                                               "--cert", path("client.crt"), "--key", path("client.key"),
                                               "--rdb", "dump.rdb", NULL },
                        directory, &output),
            0);
        free(output);
        snprintf(file, sizeof file, "%s", directory);
        start(&other, false, "--dir", file);
        assert_same_content(s.c, other.c, load_databases);
        stop(&other);
        stop(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kvserver_follows_redis_through_tls),
        cmocka_unit_test(redis_follows_kvserver_through_tls),
        cmocka_unit_test(kvserver_follows_kvserver_through_tls),
        cmocka_unit_test(a_replica_tells_its_port_of_tls),
        cmocka_unit_test(a_primary_of_another_authority_is_not_followed),
        cmocka_unit_test(a_primary_without_tls_is_not_followed),
        cmocka_unit_test(tls_can_be_turned_on_while_the_server_runs),
        cmocka_unit_test(another_certificate_can_be_shown_to_primaries),
        cmocka_unit_test(keys_move_to_redis_through_tls),
        cmocka_unit_test(keys_come_from_redis_through_tls),
        cmocka_unit_test(keys_are_not_moved_to_who_has_no_tls),
        cmocka_unit_test(kvcli_takes_a_data_set_through_tls),
    };
    int failed;

    directory = new_directory();
    if (!directory || !certificates_make(directory))
        return 77;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_directory(directory);
    return failed;
}
