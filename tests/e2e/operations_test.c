/* operations_test.c - what an operator sees: the check of a configuration, warnings, the log's formats, the report of a crash,
 * a daemon.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "e2e.h"

static int count(const char *text, const char *part)
{
    int n = 0;

    for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

/* ---- configuration ---- */

static void a_check_tells_all_mistakes_at_once(void **state)
{
    char *directory = new_directory(), path[256], included[256], text[600], *output = NULL;

    (void)state;
    write_file_in(directory, "more.conf", "timeout 5\n\nmaxclients 0\n", included);
    snprintf(
        text, sizeof text,
        "port 0\ntimeout x\n# fine\nnope 1\ninclude %s\nrequirepass \"geheim\nloglevel loud\nmaxmemory 1mb\n"
        "tls-key-file-pass a b geheim\n",
        included);
    write_file_in(directory, "kv.conf", text, path);
    assert_int_equal(
        run_kvserver(&output, directory, "--check-config", path, "--hz", "soon", "--maxmemory", "2mb"), 1);
    assert_says(output, "kv.conf:2: ");
    assert_says(output, "'timeout x'");
    assert_says(output, "kv.conf:4: ");
    assert_says(output, "more.conf:3: ");
    assert_says(output, "kv.conf:6: Unbalanced quotes");
    assert_says(output, "kv.conf:7: ");
    assert_says(output, "kv.conf:9: ");
    assert_says(output, "the command line: ");
    assert_says(output, "7 mistakes");
    assert_null(strstr(output, "geheim"));
    assert_null(strstr(output, "maxmemory"));
    free(output);
    write_file_in(directory, "kv.conf", "port 0\nlist-compress-depth 1\n", path);
    assert_int_equal(run_kvserver(&output, directory, "--check-config", path), 0);
    assert_says(output, "'list-compress-depth' is accepted, but has no meaning");
    assert_null(strstr(output, "Ready to accept connections"));
    free(output);
    remove_directory(directory);
}

/* The directives that Debian's redis.conf sets, with values like its own. Paths and port are for the test. */
static const char debian[] =
    "bind 127.0.0.1 -::1\nprotected-mode yes\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\n"
    "loglevel notice\ndatabases 16\nalways-show-logo no\nset-proc-title yes\n"
    "proc-title-template \"{title} {listen-addr} {server-mode}\"\n"
    "stop-writes-on-bgsave-error yes\nrdbcompression yes\nrdbchecksum yes\n"
    "dbfilename dump.rdb\nrdb-del-sync-files no\nreplica-serve-stale-data yes\n"
    "replica-read-only yes\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 5\n"
    "repl-diskless-sync-max-replicas 0\nrepl-diskless-load disabled\n"
    "repl-disable-tcp-nodelay no\nreplica-priority 100\nacllog-max-len 128\n"
    "lazyfree-lazy-eviction no\nlazyfree-lazy-expire no\nlazyfree-lazy-server-del no\n"
    "replica-lazy-flush no\nlazyfree-lazy-user-del no\nlazyfree-lazy-user-flush no\n"
    "oom-score-adj no\noom-score-adj-values 0 200 800\ndisable-thp yes\nappendonly no\n"
    "appendfilename \"appendonly.aof\"\nappenddirname \"appendonlydir\"\n"
    "appendfsync everysec\nno-appendfsync-on-rewrite no\nauto-aof-rewrite-percentage 100\n"
    "auto-aof-rewrite-min-size 64mb\naof-load-truncated yes\naof-use-rdb-preamble yes\n"
    "aof-timestamp-enabled no\nslowlog-log-slower-than 10000\nslowlog-max-len 128\n"
    "latency-monitor-threshold 0\nnotify-keyspace-events \"\"\n"
    "hash-max-listpack-entries 512\nhash-max-listpack-value 64\n"
    "list-max-listpack-size -2\nlist-compress-depth 0\nset-max-intset-entries 512\n"
    "zset-max-listpack-entries 128\nzset-max-listpack-value 64\n"
    "hll-sparse-max-bytes 3000\nstream-node-max-bytes 4096\nstream-node-max-entries 100\n"
    "activerehashing yes\nclient-output-buffer-limit normal 0 0 0\n"
    "client-output-buffer-limit replica 256mb 64mb 60\n"
    "client-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\ndynamic-hz yes\n"
    "aof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\n"
    "jemalloc-bg-thread yes\n";

static void a_debian_configuration_starts_with_a_warning_for_what_means_nothing(void **state)
{
    static const char *const meaningless[] = { "activerehashing",     "always-show-logo",   "dynamic-hz",
                                               "list-compress-depth", "jemalloc-bg-thread", "disable-thp" };
    char *directory = new_directory(), path[256], *log, wanted[128];
    server *s;
    conn *c;

    (void)state;
    write_file_in(directory, "redis.conf", debian, path);
    s = begin(path, NULL);
    c = connect_to(s);
    says(c, "+PONG", "PING");
    log = server_log(s);
    for (size_t i = 0; i < sizeof meaningless / sizeof *meaningless; i++) {
        snprintf(wanted, sizeof wanted, "Directive '%s' is accepted, but has no meaning", meaningless[i]);
        assert_int_equal(count(log, wanted), 1);
    }
    assert_null(strstr(log, "Directive 'timeout'"));
    free(log);
    conn_close(c);
    end(s);
    remove_directory(directory);
}

/* ---- the log ---- */

static void lines_of_the_log_have_the_format_asked_for(void **state)
{
    char *directory = new_directory(), *output = NULL;
    int pid, day, year, level = 0;
    char role, month[4];

    (void)state;
    assert_int_equal(run_kvserver(&output, directory, "--port", "0"), 1);
    assert_int_equal(
        sscanf(output, "%d:%c %d %3s %d %*d:%*d:%*d.%*d %c", &pid, &role, &day, month, &year, (char *)&level),
        6);
    assert_int_equal(role, 'C');
    assert_int_equal(level, '*');
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--port", "0", "--log-format", "logfmt"), 1);
    assert_says(output, "pid=");
    assert_says(output, " role=primary timestamp=\"");
    assert_says(output, "\" level=warning message=\"Configured to not listen anywhere, exiting.\"\n");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--port", "0", "--log-format", "logfmt", "--unixsocket",
                                  "/nowhere/\"quoted\"", "--log-timestamp-format", "milliseconds"),
                     1);
    assert_says(output, "timestamp=\"1");
    assert_says(output, "/nowhere/\\\"quoted\\\"");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--port", "0", "--log-timestamp-format", "iso8601"), 1);
    assert_int_equal(sscanf(output, "%d:%c %d-%*d-%*dT%*d:%*d:%*d.%*d", &pid, &role, &year), 3);
    assert_true(year > 2000);
    free(output);
    remove_directory(directory);
}

static void the_journal_gets_priorities_and_no_times(void **state)
{
    char *directory = new_directory(), *output = NULL, command[700];

    (void)state;
    snprintf(command, sizeof command,
             "export JOURNAL_STREAM=$(stat -L -c %%d:%%i /proc/$$/fd/1) && exec '%s' --port 0",
             kvserver_path());
    assert_int_equal(run_program((const char *const[]){ "/bin/sh", "-c", command, NULL }, directory, &output),
                     1);
    assert_says(output, "<5>kvserver " KV_VERSION " starting");
    assert_says(output, "\n<4>Configured to not listen anywhere, exiting.\n");
    free(output);
    snprintf(command, sizeof command, "JOURNAL_STREAM=1:2 exec '%s' --port 0", kvserver_path());
    assert_int_equal(run_program((const char *const[]){ "/bin/sh", "-c", command, NULL }, directory, &output),
                     1);
    assert_null(strstr(output, "<4>"));
    free(output);
    remove_directory(directory);
}

/* ---- the end, and the background ---- */

static void a_crash_is_reported(void **state)
{
    (void)state;
#ifdef KV_SANITIZED
    skip(); /* the sanitizer has handlers of its own */
#endif
    for (int wanted = 0; wanted <= 1; wanted++) {
        server *s = begin("--threads", "2", "--crash-log-enabled", wanted ? "yes" : "no");
        conn *c = connect_to(s);
        char *log;
        int status;

        says(c, "+OK", "SET", "k", "the value is not for the log");
        kill(server_pid(s), SIGSEGV);
        status = server_wait(s);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
        log = server_log(s);
        if (wanted) {
            assert_says(log, "crashed by signal: 11, si_code: 0");
            assert_says(log, "------ STACK TRACE ------");
            assert_true(count(log, "[0x") >= 3);
            assert_says(log, "-> worker ");
            assert_says(log, " set\n");
        }
        assert_int_equal(strstr(log, "crashed by signal") != NULL, wanted);
        assert_null(strstr(log, "the value is not for the log"));
        free(log);
        conn_close(c);
        server_forget(s);
    }
}

static int score_of(const server *s)
{
    char path[64];
    int score = -9999;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%ld/oom_score_adj", (long)server_pid(s));
    in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "%d", &score), 1);
    fclose(in);
    return score;
}

static void the_kernel_is_told_whom_to_kill_first(void **state)
{
    server *s = begin(NULL);
    conn *c = connect_to(s);
    int start = score_of(s);

    (void)state;
    says(c, "+OK", "CONFIG", "SET", "oom-score-adj", "relative", "oom-score-adj-values", "70 200 800");
    assert_int_equal(score_of(s), start + 70 > 1000 ? 1000 : start + 70);
    says(c, "+OK", "CONFIG", "SET", "oom-score-adj", "absolute", "oom-score-adj-values", "990 200 800");
    assert_int_equal(score_of(s), 990);
    says(c, "-ERR CONFIG SET failed (possibly related to argument 'oom-score-adj-values')", "CONFIG", "SET",
         "oom-score-adj-values", "1 2 3000");
    assert_int_equal(score_of(s), 990);
    conn_close(c);
    end(s);
}

/* The command line as the kernel shows it, up to its first zero byte. */
static void title_of(const server *s, char text[4096])
{
    char path[64];
    size_t n;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)server_pid(s));
    in = fopen(path, "r");
    assert_non_null(in);
    n = fread(text, 1, 4095, in);
    text[n] = '\0';
    fclose(in);
}

static void the_list_of_processes_shows_the_title(void **state)
{
    char title[4096], wanted[600];
    server *s = begin_tcp("--requirepass", "geheim", "--masterauth", "geheim");
    conn *c = connect_to(s);

    (void)state;
    title_of(s, title);
    snprintf(wanted, sizeof wanted, "%s 127.0.0.1:%d", kvserver_path(), server_port(s));
    assert_string_equal(title, wanted);
    says(c, "+OK", "AUTH", "geheim");
    says(c, "+OK", "CONFIG", "SET", "proc-title-template",
         "TEST {listen-addr} {port} {tls-port} {unixsocket} {config-file}x");
    title_of(s, title);
    snprintf(wanted, sizeof wanted, "TEST 127.0.0.1:%d %d 0 %s x", server_port(s), server_port(s),
             server_socket(s));
    assert_string_equal(title, wanted);
    says(c, "-ERR CONFIG SET failed", "CONFIG", "SET", "proc-title-template", "{nope}");
    title_of(s, title);
    assert_string_equal(title, wanted);
    conn_close(c);
    end(s);
    s = begin("--set-proc-title", "no");
    title_of(s, title);
    assert_string_equal(title, kvserver_path());
    end(s);
}

static void a_daemon_goes_on_in_the_background(void **state)
{
    char *directory = new_directory(), pidfile[256], socket[256], *output = NULL;
    struct stat is;
    long pid = 0;
    FILE *in;
    conn *c = NULL;

    (void)state;
    snprintf(pidfile, sizeof pidfile, "%s/pid", directory);
    snprintf(socket, sizeof socket, "%s/socket", directory);
    assert_int_equal(run_kvserver(&output, directory, "--daemonize", "yes", "--pidfile", pidfile, "--port",
                                  "0", "--unixsocket", socket, "--logfile", "daemon.log"),
                     0);
    free(output);
    for (int waited = 0; !(c = conn_open_unix(socket)) && waited < conn_patience_ms; waited += 2)
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    assert_non_null(c);
    in = fopen(pidfile, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "%ld", &pid), 1);
    fclose(in);
    assert_int_not_equal(pid, 0);
    assert_int_equal(getsid((pid_t)pid), pid);
    assert_true(conn_send(c, KV_STR("SHUTDOWN NOSAVE\r\n")));
    assert_true(conn_ended(c));
    conn_close(c);
    for (int waited = 0; stat(pidfile, &is) == 0 && waited < conn_patience_ms; waited += 2)
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    assert_int_not_equal(stat(pidfile, &is), 0);
    remove_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_tells_all_mistakes_at_once),
        cmocka_unit_test(a_debian_configuration_starts_with_a_warning_for_what_means_nothing),
        cmocka_unit_test(lines_of_the_log_have_the_format_asked_for),
        cmocka_unit_test(the_journal_gets_priorities_and_no_times),
        cmocka_unit_test(a_crash_is_reported),
        cmocka_unit_test(the_kernel_is_told_whom_to_kill_first),
        cmocka_unit_test(the_list_of_processes_shows_the_title),
        cmocka_unit_test(a_daemon_goes_on_in_the_background),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
