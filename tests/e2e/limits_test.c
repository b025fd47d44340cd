/* limits_test.c - nothing that a client can make grow grows without end.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "e2e.h"

static const long long megabyte = 1 << 20;

/* ---- connections ------------------------------------------------------------------------ */

/* Until a new client is served: once the server has noticed that others have left. */
static void wait_for_welcome(server *s)
{
    for (bool welcome = false; !welcome;) {
        conn *late = connect_to(s);
        char *text = ask(late, "PING");

        welcome = text && strcmp(text, "+PONG") == 0;
        free(text);
        conn_close(late);
    }
}

static void more_than_maxclients_are_turned_away(void **state)
{
    server *s = begin("--maxclients", "5", "--threads", "2");
    conn *clients[5], *late;

    (void)state;
    for (int i = 0; i < 5; i++) {
        clients[i] = connect_to(s);
        says(clients[i], "+PONG", "PING");
    }
    for (int i = 0; i < 20; i++) {
        late = connect_to(s);
        next_is(late, "-ERR max number of clients reached");
        assert_true(conn_ended(late));
        conn_close(late);
    }
    says(clients[4], "+PONG", "PING");
    says(clients[0], "+OK", "QUIT");
    assert_true(conn_ended(clients[0]));
    conn_close(clients[0]);
    wait_for_welcome(s);
    for (int i = 1; i < 5; i++)
        conn_close(clients[i]);
    end(s);
}

static void limit_descriptors(const server *s, rlim_t count)
{
    struct rlimit limit;

    assert_int_equal(prlimit(server_pid(s), RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = count;
    assert_int_equal(prlimit(server_pid(s), RLIMIT_NOFILE, &limit, NULL), 0);
}

/* It must not spin: what is measured is this time. */
static void assert_rests(const server *s)
{
    struct timespec window = { .tv_nsec = 300000000 };
    long long before = cpu_ms(server_pid(s));

    nanosleep(&window, NULL);
    assert_true(cpu_ms(server_pid(s)) - before <= 150);
}

static void running_out_of_descriptors_is_survived(void **state)
{
    enum { n = 200 };
    server *s = begin("--threads", "2");
    conn *first = connect_to(s), *clients[n];

    (void)state;
    says(first, "+PONG", "PING");
    limit_descriptors(s, 40);
    for (int i = 0; i < n; i++)
        clients[i] = connect_to(s); /* many of them wait in the backlog */
    says(first, "+OK", "SET", "k", "v");
    assert_rests(s);
    for (int i = 0; i < n; i++)
        conn_close(clients[i]);
    wait_for_welcome(s);
    says(first, "$v", "GET", "k");
    conn_close(first);
    end(s);
}

/* Not even to refuse anybody: they wait, and are served when there are descriptors again. */
static void having_no_descriptor_at_all_is_survived(void **state)
{
    enum { n = 20 };
    server *s = begin("--threads", "2");
    conn *first = connect_to(s), *clients[n];

    (void)state;
    says(first, "+PONG", "PING");
    limit_descriptors(s, 3);
    for (int i = 0; i < n; i++)
        clients[i] = connect_to(s);
    says(first, "+OK", "SET", "k", "v");
    assert_rests(s);
    says(first, "$v", "GET", "k");
    limit_descriptors(s, 200);
    for (int i = 0; i < n; i++) {
        says(clients[i], "$v", "GET", "k");
        conn_close(clients[i]);
    }
    conn_close(first);
    end(s);
}

static void ten_thousand_connections_cost_little(void **state)
{
    struct rlimit limit;
    int n = 10000;
    server *s;
    conn **clients, *probe;
    long long before, each;
    int threads;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if ((long long)limit.rlim_max < n + 200)
        n = (int)limit.rlim_max - 200;
    s = begin("--threads", "2", "--maxclients", "11000");
    clients = calloc((size_t)n, sizeof *clients);
    assert_non_null(clients);
    probe = connect_to(s);
    says(probe, "+PONG", "PING");
    threads = thread_count(server_pid(s));
    before = resident_bytes(server_pid(s));
    for (int i = 0; i < n; i++) {
        clients[i] = connect_to(s);
        says(clients[i], "+PONG", "PING");
    }
    each = (resident_bytes(server_pid(s)) - before) / n;
    print_message("%d connections, %lld bytes resident each\n", n, each);
    assert_int_equal(thread_count(server_pid(s)), threads);
    for (int i = 0; i < n; i += 97)
        says(clients[i], "+OK", "SET", "k", "v");
    says(probe, "$v", "GET", "k");
#ifndef KV_SANITIZED
    assert_true(each <= 1024);
#endif
    for (int i = 0; i < n; i++)
        conn_close(clients[i]);
    says(probe, "$v", "GET", "k");
    conn_close(probe);
    free(clients);
    end(s);
}

static void an_idle_client_is_sent_away(void **state)
{
    server *s = begin("--timeout", "1");
    conn *c = connect_to(s);

    (void)state;
    says(c, "+PONG", "PING");
    assert_true(conn_ended(c));
    conn_close(c);
    end(s);
}

/* ---- output ----------------------------------------------------------------------------- */

static char *megabyte_of(char byte)
{
    char *value = malloc((size_t)megabyte + 1);

    assert_non_null(value);
    memset(value, byte, (size_t)megabyte);
    value[megabyte] = 0;
    return value;
}

/* Sends the request again and again, as far as it is taken without waiting: how many went out whole. */
static int send_many(conn *c, const char *request, int most)
{
    size_t len = strlen(request);
    int n = 0;

    for (; n < most; n++) {
        ssize_t sent = send(conn_fd(c), request, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0)
            break;
        if ((size_t)sent < len) { /* the rest must follow, when there is room */
            if (!conn_send(c, kv_slice_of(request + sent, len - (size_t)sent)))
                break;
        }
    }
    return n;
}

static void a_slow_reader_costs_bounded_memory(void **state)
{
    server *s = begin("--threads", "2");
    conn *slow = connect_to(s), *other = connect_to(s);
    char *value = megabyte_of('v');
    long long before;
    int sent, got = 0;
    reply *r;

    (void)state;
    says(other, "+OK", "SET", "big", value);
    before = resident_bytes(server_pid(s));
    sent = send_many(slow, "GET big\r\n", 3000); /* 3 GB, were they all kept */
    for (int i = 0; i < 200; i++)
        says(other, "+PONG", "PING");
    assert_grown_less(s, before, 150 * megabyte);
    shutdown(conn_fd(slow), SHUT_WR);
    while ((r = conn_read(slow))) {
        assert_int_equal(r->type, '$');
        assert_int_equal(r->len, megabyte);
        reply_free(r);
        got++;
    }
    assert_true(got <= sent + 1);
    assert_grown_less(s, before, 150 * megabyte);
    says(other, "+PONG", "PING");
    free(value);
    conn_close(slow);
    conn_close(other);
    end(s);
}

/* As client libraries do: all requests first, then all replies. The replies are more than sockets hold, so
 * the requests behind them must be taken in. */
static void a_long_pipeline_is_taken_before_a_reply_is_read(void **state)
{
    enum { REQUESTS = 100000 };
    static const char request[] = "GET k\r\n";
    server *s = begin("--threads", "1");
    conn *c = connect_to(s);
    char value[201];
    char *pipeline = malloc(REQUESTS * (sizeof request - 1));
    reply *r;

    (void)state;
    assert_non_null(pipeline);
    memset(value, 'v', 200);
    value[200] = 0;
    says(c, "+OK", "SET", "k", value);
    for (int i = 0; i < REQUESTS; i++)
        memcpy(pipeline + (size_t)i * (sizeof request - 1), request, sizeof request - 1);
    assert_true(conn_send(c, kv_slice_of(pipeline, REQUESTS * (sizeof request - 1))));
    shutdown(conn_fd(c), SHUT_WR);
    for (int i = 0; i < REQUESTS; i++) {
        r = conn_read(c);
        assert_non_null(r);
        assert_int_equal(r->len, 200);
        reply_free(r);
    }
    assert_null(conn_read(c));
    free(pipeline);
    conn_close(c);
    end(s);
}

/* What requests take that the clients have sent ahead of their replies. */
static long long query_bytes(conn *other)
{
    char *list = ask(other, "CLIENT", "LIST");
    long long sum = 0;

    assert_non_null(list);
    for (const char *at = list; (at = strstr(at, " qbuf=")); at += strlen(" qbuf="))
        sum += atoll(at + strlen(" qbuf="));
    free(list);
    return sum;
}

/* A client that sends requests again and again, without reading. */
typedef struct sender {
    conn *conn;
    size_t sent;
} sender;

static void push(sender *from, const char *request, size_t len, size_t most)
{
    while (from->sent < most) {
        size_t at = from->sent % len;
        ssize_t n = send(conn_fd(from->conn), request + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n <= 0)
            return;
        from->sent += (size_t)n;
    }
}

/* Each might have 32 MB, but not all of them; and who had to wait since others had too much goes on when there is room. */
static void requests_sent_ahead_are_bounded_for_all_clients_together(void **state)
{
    enum { SENDERS = 6, REQUESTS = 1200, VALUE = 10000, BIG = 16, ROUNDS = 100 };
    static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$10000\r\n";
    static char request[sizeof head - 1 + VALUE + 2];
    server *s = begin("--threads", "1", "--client-read-ahead-limit", "1mb");
    conn *other = connect_to(s);
    sender those[SENDERS];
    char *value = megabyte_of('v');
    size_t len = sizeof request, most = REQUESTS * len;

    (void)state;
    memset(request, 'x', len);
    memcpy(request, head, sizeof head - 1);
    memcpy(request + len - 2, "\r\n", 2);
    says(other, "+OK", "SET", "big", value);
    free(value);
    for (int i = 0; i < SENDERS; i++) {
        those[i] = (sender){ .conn = connect_to(s) };
        for (int j = 0; j < BIG; j++) /* more than sockets hold */
            assert_true(conn_send(those[i].conn, KV_STR("GET big\r\n")));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SENDERS; i++)
            push(&those[i], request, len, most);
        assert_true(query_bytes(other) < 4 * megabyte);
    }
    says(other, "+OK", "CONFIG", "SET", "client-read-ahead-limit", "100mb");
    for (size_t at = those[0].sent; at < most; at += len - at % len)
        assert_true(conn_send(those[0].conn, kv_slice_of(request + at % len, len - at % len)));
    for (int i = 1; i < SENDERS; i++)
        conn_close(those[i].conn);
    for (int i = 0; i < BIG; i++) {
        reply *r = conn_read(those[0].conn);

        assert_non_null(r);
        assert_int_equal(r->len, megabyte);
        reply_free(r);
    }
    for (int i = 0; i < REQUESTS; i++)
        next_is(those[0].conn, "+OK");
    conn_close(those[0].conn);
    conn_close(other);
    end(s);
}

static void output_past_its_limit_ends_the_connection(void **state)
{
    enum { keys = 60000 }; /* of 1000 bytes each */
    server *s = begin("--client-output-buffer-limit", "normal", "16mb", "0", "0");
    conn *greedy = connect_to(s), *other = connect_to(s);
    kv_slice *argv = malloc((keys + 1) * sizeof *argv);
    char value[1001];
    long long before, received;

    (void)state;
    assert_non_null(argv);
    memset(value, 'v', 1000);
    value[1000] = 0;
    says(other, "+OK", "SET", "k", value);
    before = resident_bytes(server_pid(s));
    argv[0] = KV_STR("MGET");
    for (int i = 1; i <= keys; i++)
        argv[i] = KV_STR("k");
    assert_true(conn_send_args(greedy, keys + 1, argv));
    assert_true(conn_drain(greedy, &received));
    assert_true(received < 60 * megabyte);
    assert_grown_less(s, before, 150 * megabyte);
    says(other, "+PONG", "PING");
    free(argv);
    conn_close(greedy);
    conn_close(other);
    end(s);
}

/* Values by reference count too: each may have been overwritten since. */
static void large_values_count_towards_the_output_limit(void **state)
{
    enum { keys = 64 };
    server *s = begin("--client-output-buffer-limit", "normal", "16mb", "0", "0");
    conn *greedy = connect_to(s), *other = connect_to(s);
    kv_slice argv[keys + 1] = { KV_STR("MGET") };
    char *value = megabyte_of('v');
    long long received;

    (void)state;
    says(other, "+OK", "SET", "k", value);
    for (int i = 1; i <= keys; i++)
        argv[i] = KV_STR("k");
    assert_true(conn_send_args(greedy, keys + 1, argv));
    assert_true(conn_drain(greedy, &received));
    assert_true(received < keys * megabyte);
    says(other, "+PONG", "PING");
    free(value);
    conn_close(greedy);
    conn_close(other);
    end(s);
}

/* One reply may be as long as a value can be, and many of them may be asked for at once. */
static void large_values_are_sent_one_after_the_other(void **state)
{
    static const char *const sharings[] = { "sharded", "mutex", "actor" };
    enum { GETS = 100 };

    (void)state;
    for (size_t i = 0; i < sizeof sharings / sizeof *sharings; i++) {
        server *s =
            begin("--sharing", sharings[i], "--client-output-buffer-limit", "normal", "1mb", "0", "0");
        conn *c = connect_to(s), *other = connect_to(s);
        char *value = megabyte_of('v');
        reply *r;

        says(c, "+OK", "SET", "k", value);
        for (int j = 0; j < 3; j++)
            says(c, ":", "APPEND", "k", value);
        for (int j = 0; j < GETS; j++) {
            assert_true(conn_send(c, KV_STR("GET k\r\n")));
            if (j % 10 == 0)
                assert_true(conn_send(c, KV_STR("STRLEN k\r\n")));
        }
        says(other, "+OK", "SET", "k", "overwritten");
        for (int j = 0; j < GETS; j++) {
            r = conn_read(c);
            assert_non_null(r);
            assert_true(r->len == 4 * (size_t)megabyte || r->len == strlen("overwritten"));
            reply_free(r);
            if (j % 10 == 0)
                next_is(c, ":");
        }
        says(c, "+PONG", "PING");
        free(value);
        conn_close(c);
        conn_close(other);
        end(s);
    }
}

/* What a client leaves unread is told by CLIENT LIST, values by reference included. */
static void client_list_tells_what_waits(void **state)
{
    server *s = begin("--threads", "2");
    conn *slow = connect_to(s), *other = connect_to(s);
    char *value = megabyte_of('v');
    long long omem = 0;

    (void)state;
    says(slow, "+OK", "CLIENT", "SETNAME", "slow");
    says(other, "+OK", "SET", "k", value);
    for (int i = 0; i < 7; i++)
        says(other, ":", "APPEND", "k", value);
    assert_true(conn_send(slow, KV_STR("GET k\r\n")));
    while (omem == 0) {
        char *list = ask(other, "CLIENT", "LIST");
        char *line = list ? strstr(list, "name=slow") : NULL, *field;

        assert_non_null(line);
        field = strstr(line, " omem=");
        assert_non_null(field);
        omem = atoll(field + strlen(" omem="));
        if (omem) {
            assert_non_null(strstr(line, " oll=2 ")); /* the value, and what stands behind it */
            assert_true(atoll(strstr(line, " tot-mem=") + strlen(" tot-mem=")) > omem);
            assert_non_null(strstr(line, " events=rw "));
        }
        free(list);
    }
    assert_true(omem > megabyte);
    assert_true(omem <= 9 * megabyte);
    free(value);
    conn_close(slow);
    conn_close(other);
    end(s);
}

/* ---- input ------------------------------------------------------------------------------ */

static void a_request_past_the_query_buffer_limit_ends_the_connection(void **state)
{
    server *s = begin("--client-query-buffer-limit", "1mb");
    conn *c = connect_to(s), *other = connect_to(s);
    char *value = megabyte_of('v');

    (void)state;
    says(other, "+PONG", "PING");
    if (conn_send(c, KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n")))
        for (int i = 0; i < 4; i++)
            if (!conn_send(c, kv_slice_of(value, (size_t)megabyte)))
                break;
    for (reply *r; (r = conn_read(c));) {
        assert_int_equal(r->type, '-');
        reply_free(r);
    }
    assert_null(strstr(conn_trouble(c), "in time"));
    says(other, "_", "GET", "k");
    free(value);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void many_small_arguments_are_bounded_too(void **state)
{
    server *s = begin("--client-query-buffer-limit", "1mb");
    conn *c = connect_to(s), *other = connect_to(s);
    long long before = resident_bytes(server_pid(s)), received;

    (void)state;
    says(other, "+PONG", "PING");
    if (conn_send(c, KV_STR("*1000000\r\n")))
        for (int i = 0; i < 1000000; i++)
            if (!conn_send(c, KV_STR("$1\r\nx\r\n")))
                break;
    assert_true(conn_drain(c, &received));
    assert_grown_less(s, before, 100 * megabyte);
    says(other, "+PONG", "PING");
    conn_close(c);
    conn_close(other);
    end(s);
}

static void a_value_longer_than_proto_max_bulk_len_is_refused(void **state)
{
    server *s = begin("--proto-max-bulk-len", "1mb");
    conn *c = connect_to(s);
    char *value = megabyte_of('v');

    (void)state;
    says(c, "+OK", "SET", "k", value);
    says(c, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)", "APPEND", "k", "x");
    says(c, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)", "SETRANGE", "k", "1048576", "x");
    says(c, ":1048576", "STRLEN", "k");
    assert_true(conn_send(c, KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")));
    next_is(c, "-ERR Protocol error: invalid bulk length");
    assert_true(conn_ended(c));
    free(value);
    conn_close(c);
    end(s);
}

/* ---- strangers -------------------------------------------------------------------------- */

/* An address of this machine that is not the loopback, or false. */
static bool outer_address(char address[64])
{
    struct ifaddrs *all, *at;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return false;
    for (at = all; at && !found; at = at->ifa_next) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)at->ifa_addr;

        if (!in || in->sin_family != AF_INET || ntohl(in->sin_addr.s_addr) >> 24 == 127)
            continue;
        found = inet_ntop(AF_INET, &in->sin_addr, address, 64) != NULL;
    }
    freeifaddrs(all);
    return found;
}

static void protected_mode_denies_strangers(void **state)
{
    char address[64];
    server *s;
    conn *c, *local;

    (void)state;
    if (!outer_address(address))
        skip();
    s = begin_tcp("--bind", "0.0.0.0");
    c = conn_open_tcp(address, server_port(s));
    assert_non_null(c);
    next_is(c, "-DENIED ");
    assert_true(conn_ended(c));
    conn_close(c);
    local = conn_open_tcp("127.0.0.1", server_port(s));
    assert_non_null(local);
    says(local, "+OK", "CONFIG", "SET", "requirepass", "secret");
    c = conn_open_tcp(address, server_port(s));
    assert_non_null(c);
    says(c, "-NOAUTH", "PING");
    says(c, "+OK", "AUTH", "secret");
    conn_close(c);
    says(local, "+OK", "CONFIG", "SET", "requirepass", "", "protected-mode", "no");
    c = conn_open_tcp(address, server_port(s));
    assert_non_null(c);
    says(c, "+PONG", "PING");
    conn_close(c);
    conn_close(local);
    end(s);
}

static void only_the_loopback_listens_by_default(void **state)
{
    char address[64];
    server *s;

    (void)state;
    if (!outer_address(address))
        skip();
    s = begin_tcp(NULL);
    assert_null(conn_open_tcp(address, server_port(s)));
    end(s);
}

/* The kernel's timer of the server's end of a connection: 0 none, 1 something is not yet acknowledged, 2 keepalive; -1: it is not
 * there. */
static int timer_of(int server_port, int client_port)
{
    FILE *table = fopen("/proc/net/tcp", "r");
    char line[512];
    int found = -1;

    assert_non_null(table);
    while (found < 0 && fgets(line, sizeof line, table)) {
        unsigned local, remote, state;
        int timer;

        if (sscanf(line, "%*d: %*8x:%x %*8x:%x %x %*x:%*x %d:", &local, &remote, &state, &timer) == 4 &&
            local == (unsigned)server_port && remote == (unsigned)client_port)
            found = timer;
    }
    fclose(table);
    return found;
}

/* A new connection has that timer once all is acknowledged. */
static void expect_timer(server *s, int timer)
{
    conn *c = conn_open_tcp("127.0.0.1", server_port(s));
    char *info;
    int port, is = -1;

    assert_non_null(c);
    info = ask(c, "CLIENT", "INFO");
    assert_non_null(info);
    assert_non_null(strstr(info, " addr=127.0.0.1:"));
    port = atoi(strstr(info, " addr=127.0.0.1:") + strlen(" addr=127.0.0.1:"));
    for (int i = 0; i < 4000 && is != timer; i++) { /* 20 seconds */
        is = timer_of(server_port(s), port);
        if (is != timer)
            usleep(5000);
    }
    assert_int_equal(is, timer);
    free(info);
    conn_close(c);
}

static void connections_are_kept_alive_as_they_should_be_now(void **state)
{
    server *s = begin_tcp("--tcp-keepalive", "100");
    conn *c = connect_to(s);

    (void)state;
    expect_timer(s, 2);
    says(c, "+OK", "CONFIG", "SET", "tcp-keepalive", "0");
    expect_timer(s, 0);
    says(c, "+OK", "CONFIG", "SET", "tcp-keepalive", "300");
    expect_timer(s, 2);
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_maxclients_are_turned_away),
        cmocka_unit_test(running_out_of_descriptors_is_survived),
        cmocka_unit_test(having_no_descriptor_at_all_is_survived),
        cmocka_unit_test(ten_thousand_connections_cost_little),
        cmocka_unit_test(an_idle_client_is_sent_away),
        cmocka_unit_test(a_slow_reader_costs_bounded_memory),
        cmocka_unit_test(a_long_pipeline_is_taken_before_a_reply_is_read),
        cmocka_unit_test(requests_sent_ahead_are_bounded_for_all_clients_together),
        cmocka_unit_test(output_past_its_limit_ends_the_connection),
        cmocka_unit_test(large_values_count_towards_the_output_limit),
        cmocka_unit_test(large_values_are_sent_one_after_the_other),
        cmocka_unit_test(client_list_tells_what_waits),
        cmocka_unit_test(a_request_past_the_query_buffer_limit_ends_the_connection),
        cmocka_unit_test(many_small_arguments_are_bounded_too),
        cmocka_unit_test(a_value_longer_than_proto_max_bulk_len_is_refused),
        cmocka_unit_test(connections_are_kept_alive_as_they_should_be_now),
        cmocka_unit_test(protected_mode_denies_strangers),
        cmocka_unit_test(only_the_loopback_listens_by_default),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
