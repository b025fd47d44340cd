/* demo.c - shows the main job in a few seconds: many connections, one state.
 *
 * Starts the kvserver it is given on a socket in a directory of its own, then with hiredis, and with the
 * kvcli and the kvstress it is given:
 *   1. one connection writes, another reads;
 *   2. connections on all workers increment one counter, and none is lost;
 *   3. a pipeline shows how fast, and kvcli what is there;
 *   4. kvstress checks every reply that many connections get, for some seconds.
 * Stops the server and exits 0 only if everything was as it must be.
 *
 * SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 100
#define INCREMENTS  500
#define PIPELINE    64
#define ROUNDS      8000

#define CHECK_SECONDS "3"

struct demo {
    char directory[64];
    char socket[96];
    pid_t server;
};

static double seconds_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- the server ---- */

static bool start_server(struct demo *demo, const char *path)
{
    strcpy(demo->directory, "/tmp/kvdemo.XXXXXX");
    if (!mkdtemp(demo->directory)) {
        perror("demo: mkdtemp");
        return false;
    }
    snprintf(demo->socket, sizeof demo->socket, "%s/kv.sock", demo->directory);
    demo->server = fork();
    if (demo->server == 0) {
        execl(path, path, "--port", "0", "--unixsocket", demo->socket, "--loglevel", "warning", "--save", "",
              (char *)NULL);
        fprintf(stderr, "demo: %s: %s\n", path, strerror(errno));
        _exit(127);
    }
    return demo->server > 0;
}

static bool stop_server(struct demo *demo)
{
    int status = -1;

    if (demo->server > 0) {
        kill(demo->server, SIGTERM);
        waitpid(demo->server, &status, 0);
    }
    unlink(demo->socket);
    rmdir(demo->directory);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A connection, waiting up to ten seconds for the server to listen; NULL after a message. */
static redisContext *connect_to(struct demo *demo)
{
    redisContext *c = NULL;

    for (int attempt = 0; attempt < 1000; attempt++) {
        struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

        c = redisConnectUnix(demo->socket);
        if (c && !c->err)
            return c;
        redisFree(c);
        c = NULL;
        if (waitpid(demo->server, NULL, WNOHANG) == demo->server) {
            demo->server = 0;
            break;
        }
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "demo: the server does not answer\n");
    return NULL;
}

/* ---- talking to it ---- */

/* Prints what is sent and what comes back, as a session in a terminal would look. */
static redisReply *say(redisContext *c, int connection, const char *command)
{
    redisReply *reply = redisCommand(c, command);

    printf("  connection %d> %s\n", connection, command);
    if (!reply)
        printf("  (%s)\n", c->errstr);
    else if (reply->type == REDIS_REPLY_INTEGER)
        printf("  (integer) %lld\n", reply->integer);
    else if (reply->type == REDIS_REPLY_NIL)
        printf("  (nil)\n");
    else if (reply->str)
        printf("  %s\n", reply->str);
    return reply;
}

static bool show_sharing(redisContext *writer, redisContext *reader)
{
    redisReply *set = say(writer, 1, "SET greeting hello");
    redisReply *get = say(reader, 2, "GET greeting");
    bool ok = get && get->type == REDIS_REPLY_STRING && strcmp(get->str, "hello") == 0;

    freeReplyObject(set);
    freeReplyObject(get);
    if (!ok)
        fprintf(stderr, "demo: what one connection wrote, the other does not see\n");
    return ok;
}

/* Sends INCREMENTS increments on every connection before it reads a reply, so that all are under way at once. */
static bool show_counter(redisContext *connections[])
{
    long long total = 0;

    for (int i = 0; i < CONNECTIONS; i++) {
        for (int n = 0; n < INCREMENTS; n++)
            redisAppendCommand(connections[i], "INCR visits");
    }
    for (int flushed = 0, i = 0; i < CONNECTIONS; i++, flushed = 0) {
        while (!flushed && redisBufferWrite(connections[i], &flushed) == REDIS_OK)
            ;
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        for (int n = 0; n < INCREMENTS; n++) {
            void *reply = NULL;

            if (redisGetReply(connections[i], &reply) != REDIS_OK)
                return false;
            freeReplyObject(reply);
        }
    }
    printf("  %d connections increment one counter %d times each\n", CONNECTIONS, INCREMENTS);
    redisReply *sum = say(connections[0], 1, "GET visits");
    if (sum && sum->str)
        total = atoll(sum->str);
    freeReplyObject(sum);
    if (total != (long long)CONNECTIONS * INCREMENTS)
        fprintf(stderr, "demo: increments were lost\n");
    return total == (long long)CONNECTIONS * INCREMENTS;
}

static bool show_speed(redisContext *c)
{
    double start = seconds_now();

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PIPELINE; i++)
            redisAppendCommand(c, i % 8 ? "GET key:%d" : "SET key:%d value", (round * 31 + i) % 10000);
        for (int i = 0; i < PIPELINE; i++) {
            void *reply = NULL;

            if (redisGetReply(c, &reply) != REDIS_OK)
                return false;
            freeReplyObject(reply);
        }
    }
    printf("  %d requests in pipelines of %d over one connection: %.0f per second (client's time included)\n",
           ROUNDS * PIPELINE, PIPELINE, ROUNDS * PIPELINE / (seconds_now() - start));
    return true;
}

/* What a user would type now. kvcli writes to our stdout. */
static bool show_kvcli(struct demo *demo, const char *kvcli)
{
    int status = -1;
    pid_t pid;

    printf("\n  $ kvcli peek visits\n");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl(kvcli, kvcli, "-s", demo->socket, "peek", "visits", (char *)NULL);
        fprintf(stderr, "demo: %s: %s\n", kvcli, strerror(errno));
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Its exit status tells whether it found anything. */
static bool show_check(const struct demo *demo, const char *kvstress)
{
    int status = -1;
    pid_t pid;

    printf("\nIs it shared correctly? kvstress checks every reply for %s seconds:\n", CHECK_SECONDS);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl(kvstress, kvstress, "--socket", demo->socket, "--duration", CHECK_SECONDS, "--no-progress",
              (char *)NULL);
        fprintf(stderr, "demo: %s: %s\n", kvstress, strerror(errno));
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    redisContext *connections[CONNECTIONS] = { NULL };
    struct demo demo = { .server = 0 };
    bool ok;

    if (argc != 4) {
        fprintf(stderr, "usage: %s /path/to/kvserver /path/to/kvcli /path/to/kvstress\n", argv[0]);
        return 2;
    }
    ok = start_server(&demo, argv[1]);
    for (int i = 0; ok && i < CONNECTIONS; i++)
        ok = (connections[i] = connect_to(&demo)) != NULL;
    if (ok) {
        printf("\nState shared by all connections:\n");
        ok = show_sharing(connections[0], connections[CONNECTIONS - 1]);
    }
    ok = ok && show_counter(connections);
    ok = ok && show_speed(connections[1]);
    ok = ok && show_kvcli(&demo, argv[2]);
    ok = ok && show_check(&demo, argv[3]);
    for (int i = 0; i < CONNECTIONS; i++)
        redisFree(connections[i]);
    ok = stop_server(&demo) && ok;
    printf(ok ? "\nThe server has stopped; everything was as it must be.\n\n" : "\nThe demo FAILED.\n\n");
    return ok ? 0 : 1;
}
