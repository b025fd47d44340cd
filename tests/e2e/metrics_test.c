/* metrics_test.c - a scrape says what INFO says; the port of figures cannot be misused.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e.h"

enum { patience_ms = 60000 };

static char port_text[16];

/* A server with figures at a port of its own. */
static server *begin_metrics(void)
{
    snprintf(port_text, sizeof port_text, "%d", free_port());
    return begin("--threads", "2", "--metrics-port", port_text);
}

/* A connection to that port, or -1. */
static int knock(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port_text)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

static int dial(void)
{
    int fd = knock();

    assert_true(fd >= 0);
    return fd;
}

/* Everything up to the end of the stream, yours. */
static char *read_all(int fd)
{
    size_t len = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    struct pollfd waiting = { .fd = fd, .events = POLLIN };

    assert_non_null(text);
    for (;;) {
        ssize_t n;

        assert_true(poll(&waiting, 1, patience_ms) == 1);
        n = read(fd, text + len, capacity - len - 1);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    return text;
}

/* The answer to a request, yours. */
static char *http(const char *request)
{
    int fd = dial();
    char *text;

    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    text = read_all(fd);
    close(fd);
    return text;
}

static char *get(const char *path)
{
    char request[256];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    return http(request);
}

/* What follows "name " at the beginning of a line. */
static const char *sample(const char *text, const char *name)
{
    char start[256];
    const char *at;

    snprintf(start, sizeof start, "\n%s ", name);
    at = strstr(text, start);
    if (!at)
        fail_msg("no %s", name);
    return at + strlen(start);
}

static double field(const char *info, const char *name)
{
    char start[128];
    const char *at;

    snprintf(start, sizeof start, "\n%s:", name);
    at = strstr(info, start);
    if (!at)
        fail_msg("INFO has no %s", name);
    return atof(at + strlen(start));
}

static char *info(conn *c)
{
    const kv_slice argv[] = { KV_STR("INFO"), KV_STR("everything") };
    reply *r = conn_ask(c, 2, argv);
    char *text;

    assert_non_null(r);
    text = strdup(r->text);
    reply_free(r);
    return text;
}

static void a_scrape_says_what_info_says(void **state)
{
    static const char *const same[][2] = {
        { "redis_connected_clients", "connected_clients" },
        { "redis_blocked_clients", "blocked_clients" },
        { "redis_max_clients", "maxclients" },
        { "redis_memory_max_bytes", "maxmemory" },
        { "redis_keyspace_hits_total", "keyspace_hits" },
        { "redis_keyspace_misses_total", "keyspace_misses" },
        { "redis_expired_keys_total", "expired_keys" },
        { "redis_evicted_keys_total", "evicted_keys" },
        { "redis_connections_received_total", "total_connections_received" },
        { "redis_rejected_connections_total", "rejected_connections" },
        { "redis_rdb_last_save_timestamp_seconds", "rdb_last_save_time" },
        { "redis_total_system_memory_bytes", "total_system_memory" },
        { "redis_cluster_enabled", "cluster_enabled" },
        { "redis_process_id", "process_id" },
        { "kv_threads", "threads" },
        { "redis_config_io_threads", "threads" },
        { "redis_config_maxclients", "maxclients" },
        { "redis_config_maxmemory", "maxmemory" },
        { "kv_lock_measured", "lock_measured" },
    };
    server *s = begin_metrics();
    conn *c = connect_to(s);
    char *text, *told;

    (void)state;
    says(c, "+OK", "SET", "a", "1");
    says(c, "+OK", "SET", "b", "1", "EX", "1000");
    says(c, "$1", "GET", "a");
    says(c, "_", "GET", "nokey");
    says(c, "-ERR", "INCR");
    says(c, "-ERR", "EXPIRE", "a", "soon");
    says(c, "+OK", "CONFIG", "SET", "slowlog-log-slower-than", "0", "maxmemory", "1gb");
    says(c, "+OK", "SELECT", "3");
    says(c, "+OK", "SET", "c", "1");
    told = info(c);
    text = get("/metrics");
    assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_non_null(strstr(text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_true(atof(sample(text, same[i][0])) == field(told, same[i][1]));
    assert_true(atof(sample(text, "redis_up")) == 1);
    assert_true(atof(sample(text, "redis_slowlog_length")) >= 2);
    assert_true(atof(sample(text, "redis_slowlog_last_id")) >= 1);
    assert_true(atof(sample(text, "redis_last_slow_execution_duration_seconds")) < 60);
    assert_true(atof(sample(text, "redis_uptime_in_seconds")) >= field(told, "uptime_in_seconds"));
    assert_true(atof(sample(text, "redis_memory_used_bytes")) > 0);
    assert_true(atof(sample(text, "redis_commands_processed_total")) >= 9);
    assert_true(atof(sample(text, "redis_net_input_bytes_total")) >= field(told, "total_net_input_bytes"));
    assert_true(atof(sample(text, "redis_db_keys{db=\"db0\"}")) == 2);
    assert_true(atof(sample(text, "redis_db_keys_expiring{db=\"db0\"}")) == 1);
    assert_true(atof(sample(text, "redis_db_keys{db=\"db3\"}")) == 1);
    assert_true(atof(sample(text, "redis_db_avg_ttl_seconds{db=\"db0\"}")) > 900);
    assert_true(atof(sample(text, "redis_commands_total{cmd=\"set\"}")) == 3);
    assert_true(atof(sample(text, "redis_commands_duration_seconds_total{cmd=\"set\"}")) < 10);
    assert_true(atof(sample(text, "redis_commands_rejected_calls_total{cmd=\"incr\"}")) == 1);
    assert_true(atof(sample(text, "redis_commands_failed_calls_total{cmd=\"expire\"}")) == 1);
    assert_true(atof(sample(text, "redis_errors_total{err=\"ERR\"}")) == 2);
    assert_non_null(strstr(text, "\nredis_instance_info{role=\"master\",redis_version=\""));
    assert_non_null(strstr(text, "\nredis_latency_percentiles_usec{cmd=\"set\",quantile=\"0.99\"} "));
    free(told);
    free(text);
    conn_close(c);
    end(s);
}

/* Each line is a comment or a sample; each family has its HELP and TYPE before its first sample, and is told once. */
static void the_format_is_that_of_prometheus(void **state)
{
    server *s = begin_metrics();
    char *text = get("/metrics"), *body = strstr(text, "\r\n\r\n"), *line;
    char family[128] = "";

    (void)state;
    assert_non_null(body);
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (body += 4; body && *body && (line = strsep(&body, "\n"));) {
        char again[160];
        size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789");
        char *value, *after;

        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(again, sizeof again, "\n# HELP %s ", family);
            assert_null(body ? strstr(body, again) : NULL);
            continue;
        }
        if (*line == '#')
            continue;
        assert_int_equal(strlen(family), len);
        assert_int_equal(strncmp(line, family, len), 0);
        value = strrchr(line, ' ');
        assert_non_null(value);
        strtod(value + 1, &after);
        assert_true(after > value + 1 && *after == '\0');
    }
    free(text);
    end(s);
}

static void health_is_told(void **state)
{
    server *s = begin_metrics();
    char *text = get("/healthz");

    (void)state;
    assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_non_null(strstr(text, "\r\n\r\nok\n"));
    free(text);
    text = http("HEAD /healthz HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(text, " 200 OK\r\n"));
    assert_null(strstr(text, "\nok\n"));
    free(text);
    end(s);
}

static void who_refuses_its_clients_is_not_well(void **state)
{
    server *s = begin_metrics();
    conn *c = connect_to(s);
    char nobody[16], *text;

    (void)state;
    says(c, "+OK", "CONFIG", "SET", "replica-serve-stale-data", "no");
    snprintf(nobody, sizeof nobody, "%d", free_port());
    says(c, "+OK", "REPLICAOF", "127.0.0.1", nobody);
    text = get("/healthz");
    assert_int_equal(strncmp(text, "HTTP/1.1 503 ", 13), 0);
    free(text);
    says(c, "+OK", "REPLICAOF", "NO", "ONE");
    text = get("/healthz");
    assert_int_equal(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    free(text);
    conn_close(c);
    end(s);
}

static void anything_else_is_refused(void **state)
{
    static const char *const requests[][2] = {
        { "GET /other HTTP/1.1\r\nHost: x\r\n\r\n", " 404 " },
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", " 404 " },
        { "GET /metrics/../healthz HTTP/1.1\r\nHost: x\r\n\r\n", " 404 " },
        { "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", " 501 " },
        { "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", " 501 " },
        { "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", " 4" },
        { "nonsense\r\n\r\n", "" },
    };
    server *s = begin_metrics();
    char *text, long_request[20000];

    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        text = http(requests[i][0]);
        if (!strstr(text, requests[i][1]) || strstr(text, "redis_up"))
            fail_msg("%s: %s", requests[i][0], text);
        free(text);
    }
    memset(long_request, 'a', sizeof long_request - 1);
    memcpy(long_request, "GET /metrics HTTP/1.1\r\nX: ", 26);
    memcpy(long_request + sizeof long_request - 5, "\r\n\r\n", 5);
    text = http(long_request);
    assert_null(strstr(text, "redis_up"));
    free(text);
    text = get("/healthz");
    assert_non_null(strstr(text, " 200 OK"));
    free(text);
    end(s);
}

/* More than it takes connect and say nothing; those that went make room. */
static void idle_guests_take_no_more_than_their_share(void **state)
{
    server *s = begin_metrics();
    conn *c = connect_to(s);
    int guests[40];
    char *text;

    (void)state;
    for (int i = 0; i < 40; i++)
        guests[i] = dial();
    says(c, "+PONG", "PING");
    for (int i = 0; i < 40; i++)
        close(guests[i]);
    for (int i = 0; i < 100; i++) {
        text = get("/healthz");
        assert_non_null(strstr(text, " 200 OK"));
        free(text);
    }
    conn_close(c);
    end(s);
}

static void it_can_be_switched_while_the_server_runs(void **state)
{
    server *s = begin("--threads", "1");
    conn *c = connect_to(s);
    char taken_text[16], *text;
    int taken_fd;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    (void)state;
    snprintf(port_text, sizeof port_text, "%d", free_port());
    says(c, "+OK", "CONFIG", "SET", "metrics-port", port_text, "metrics-bind", "127.0.0.1");
    text = get("/healthz");
    assert_non_null(strstr(text, " 200 OK"));
    free(text);

    /* What cannot be changes nothing, and what was there goes on. */
    taken_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(taken_fd, 1), 0);
    assert_int_equal(getsockname(taken_fd, (struct sockaddr *)&at, &len), 0);
    snprintf(taken_text, sizeof taken_text, "%d", ntohs(at.sin_port));
    says(c, "-ERR CONFIG SET failed (possibly related to argument 'metrics-port')", "CONFIG", "SET",
         "timeout", "9", "metrics-port", taken_text);
    says(c, "-ERR CONFIG SET failed (possibly related to argument 'metrics-bind')", "CONFIG", "SET",
         "metrics-bind", "nowhere");
    says(c, "*2 $timeout $0", "CONFIG", "GET", "timeout");
    text = get("/metrics");
    assert_non_null(strstr(text, "redis_up 1"));
    free(text);
    says(c, "+OK", "CONFIG", "SET", "metrics-port", "0");
    assert_int_equal(knock(), -1);
    close(taken_fd);
    conn_close(c);
    end(s);
}

static void it_is_off_unless_asked_for_and_says_what_is_wrong(void **state)
{
    server *s = begin("--threads", "1");
    conn *c = connect_to(s);
    const char *const wrong[] = {
        kvserver_path(),  "--port",  "0", "--unixsocket", "socket", "--metrics-port", "9121",
        "--metrics-bind", "nowhere", NULL
    };
    char *directory = new_directory(), *output;

    (void)state;
    says(c, "*2 $metrics-port $0", "CONFIG", "GET", "metrics-port");
    says(c, "*2 $metrics-bind $127.0.0.1", "CONFIG", "GET", "metrics-bind");
    conn_close(c);
    end(s);
    assert_int_equal(run_program(wrong, directory, &output), 1);
    assert_non_null(strstr(output, "metrics-bind: 'nowhere' is no address"));
    free(output);
    remove_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scrape_says_what_info_says),
        cmocka_unit_test(the_format_is_that_of_prometheus),
        cmocka_unit_test(health_is_told),
        cmocka_unit_test(who_refuses_its_clients_is_not_well),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(idle_guests_take_no_more_than_their_share),
        cmocka_unit_test(it_can_be_switched_while_the_server_runs),
        cmocka_unit_test(it_is_off_unless_asked_for_and_says_what_is_wrong),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
