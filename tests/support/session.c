/* session.c - doors, and what is expected behind them.
 *
 * A door is opened once per program and serves every conversation in it: at a socket, a server that the
 * program starts and stops; in process, sixteen stores. A conversation's clients live from session_begin to
 * session_end, and with them every text that was handed out.
 *
 * The door is the one global here: cmocka gives a test no way to hear of main's arguments.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "module_door.h"
#include "process.h"
#include "server.h"

enum { args_max = 64 };

static struct {
    const char *name;
    server *server;        /* kvserver, redis, module */
    bool module;           /* redis-server with the module, and the conversation is with one key of it */
    process_door *process; /* process */
    int64_t now_ms;        /* process: where time stands still */
} door;

struct session {
    conn *conn;
    process_client *client;
    session *next; /* another_client()s of this one */
    char **texts;  /* handed out by said() and decimal() */
    size_t texts_count;
};

/* ---- doors ------------------------------------------------------------------------------ */

static int64_t wall_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool open_process(int argc, char **argv)
{
    kv_sharing sharing = KV_SHARING_SHARDED;

    if (argc > 3 && strcmp(argv[2], "--sharing") == 0 && strcmp(argv[3], "mutex") == 0)
        sharing = KV_SHARING_MUTEX;
    if (argc > 3 && strcmp(argv[2], "--sharing") == 0 && strcmp(argv[3], "actor") == 0)
        sharing = KV_SHARING_ACTOR;
    door.now_ms = wall_clock_ms();
    door.process = process_door_new(sharing);
    return true;
}

static bool open_server(const char *name, int argc, char **argv)
{
    const char *args[args_max] = { NULL };
    const char *program = server_program(name);
    int i;

    if (!program) {
        fprintf(stderr, "%s is not installed\n", name);
        return false;
    }
    for (i = 2; i < argc && i - 2 < args_max - 1; i++)
        args[i - 2] = argv[i];
    door.server = server_start(program, args);
    if (!door.server)
        exit(1);
    return true;
}

static bool open_module(void)
{
    const char *file = module_door_file();

    if (!file) {
        fprintf(stderr, "the module was not built, or cannot be loaded\n");
        return false;
    }
    door.module = true;
    return open_server("redis-server", 4,
                       (char *[]){ NULL, NULL, (char *)"--loadmodule", (char *)(uintptr_t)file, NULL });
}

bool session_open_door(int argc, char **argv)
{
    door.name = argc > 1 ? argv[1] : "process";
    if (strcmp(door.name, "process") == 0)
        return open_process(argc, argv);
    if (strcmp(door.name, "redis") == 0 && !oracle_program()) {
        fprintf(stderr, "redis-server 7.0, which decides what is right, is not installed\n");
        return false;
    }
    if (strcmp(door.name, "redis") == 0)
        return open_server("redis-server", argc, argv);
    if (strcmp(door.name, "kvserver") == 0)
        return open_server("kvserver", argc, argv);
    if (strcmp(door.name, "module") == 0)
        return open_module();
    fprintf(stderr, "usage: %s process | kvserver [option ...] | redis [option ...] | module\n", argv[0]);
    exit(2);
}

int session_close_door(int failures)
{
    bool well = server_stop(door.server);

    process_door_free(door.process);
    return failures || !well;
}

void not_in_redis(session *s, const char *reason)
{
    (void)s;
    if (strcmp(door.name, "redis") == 0) {
        print_message("not at this door: %s\n", reason);
        skip();
    }
}

void needs_server(session *s)
{
    if (!s->conn || door.module)
        skip();
}

int64_t session_now_ms(session *s)
{
    return s->conn ? wall_clock_ms() : door.now_ms;
}

void let_pass(session *s, int64_t ms)
{
    if (s->conn)
        skip();
    door.now_ms += ms;
}

/* ---- clients ---------------------------------------------------------------------------- */

static session *client_new(void)
{
    session *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    if (door.process)
        s->client = process_client_new(door.process);
    else
        s->conn = conn_open_unix(server_socket(door.server));
    if (!s->client && !s->conn) {
        free(s);
        return NULL;
    }
    return s;
}

static void client_free(session *s)
{
    for (size_t i = 0; i < s->texts_count; i++)
        free(s->texts[i]);
    free(s->texts);
    conn_close(s->conn);
    process_client_free(s->client);
    free(s);
}

session *another_client(session *s)
{
    session *other = client_new();

    if (!other)
        fail_msg("no second connection");
    other->next = s->next;
    s->next = other;
    return other;
}

conn *session_conn(session *s)
{
    return s->conn;
}

/* Empties the server, and waits until it has noticed that the clients of the conversation before are gone: so
 * that they are neither listed nor killed nor counted. */
static bool server_is_fresh(conn *c)
{
    char *text = ask(c, "FLUSHALL");
    bool fresh = text && strcmp(text, "+OK") == 0, alone = false;

    free(text);
    for (int i = 0; fresh && !alone && i < 100000; i++) {
        text = ask(c, "INFO", "clients");
        alone = text && strstr(text, "connected_clients:1\\x0d");
        free(text);
    }
    return fresh && alone;
}

int session_begin(void **state)
{
    session *s = client_new();

    if (!s)
        return -1;
    if (door.process)
        process_door_clear(door.process);
    else if (!server_is_fresh(s->conn))
        return -1;
    *state = s;
    return 0;
}

int session_end(void **state)
{
    session *s = *state, *next;

    for (; s; s = next) {
        next = s->next;
        client_free(s);
    }
    return 0;
}

/* ---- asking ----------------------------------------------------------------------------- */

typedef struct place {
    const char *file;
    int line;
} place;

/* Ends the test; the description of what was sent goes first. */
static void fail_at(place at, size_t argc, const kv_slice argv[], const char *wanted, const char *got)
{
    print_error("%s:%d:", at.file, at.line);
    for (size_t i = 0; i < argc; i++)
        print_error(" %.*s", (int)(argv[i].len < 60 ? argv[i].len : 60), argv[i].data);
    print_error("\n  expected %s\n  got      %.2000s\n", wanted, got);
    _fail(at.file, at.line);
}

static reply *ask_at(session *s, place at, size_t argc, const kv_slice argv[])
{
    reply *r = NULL;

    if (door.module) {
        if (!module_door_ask(s->conn, argc, argv, &r)) {
            print_message("not at this door: %.*s\n", (int)argv[0].len, argv[0].data);
            skip();
        }
    } else {
        r = s->conn ? conn_ask(s->conn, argc, argv) : process_ask(s->client, argc, argv, door.now_ms);
    }
    if (!r)
        fail_at(at, argc, argv, "a reply", s->conn ? conn_trouble(s->conn) : "none");
    return r;
}

static size_t slices_of(const char *const args[], kv_slice argv[args_max])
{
    size_t argc = 0;

    for (; args[argc]; argc++) {
        if (argc == args_max)
            fail_msg("more than %d arguments: use expect_bytes", args_max);
        argv[argc] = kv_str(args[argc]);
    }
    return argc;
}

static const char *keep(session *s, char *text)
{
    char **texts = realloc(s->texts, (s->texts_count + 1) * sizeof *texts);

    if (!texts)
        abort();
    s->texts = texts;
    s->texts[s->texts_count++] = text;
    return text;
}

const char *decimal(session *s, long long value)
{
    char *text = NULL;

    if (asprintf(&text, "%lld", value) < 0)
        abort();
    return keep(s, text);
}

/* The compact form of the reply, kept. */
static const char *text_at(session *s, place at, size_t argc, const kv_slice argv[], bool sorted)
{
    reply *r = ask_at(s, at, argc, argv);
    char *text;

    if (sorted)
        reply_sort(r);
    text = reply_text(r);
    reply_free(r);
    return keep(s, text);
}

/* Equal, or beginning alike when wanted ends in "...". */
static bool as_wanted(const char *wanted, const char *got)
{
    size_t len = strlen(wanted);

    if (len > 3 && strcmp(wanted + len - 3, "...") == 0)
        return strncmp(wanted, got, len - 3) == 0;
    return strcmp(wanted, got) == 0;
}

void session_expect_bytes(session *s, const char *file, int line, const char *text, size_t argc,
                          const kv_slice argv[])
{
    place at = { file, line };
    const char *got = text_at(s, at, argc, argv, false);

    if (!as_wanted(text, got))
        fail_at(at, argc, argv, text, got);
}

void session_expect(session *s, const char *file, int line, const char *text, const char *const args[])
{
    kv_slice argv[args_max];
    size_t argc = slices_of(args, argv);

    session_expect_bytes(s, file, line, text, argc, argv);
}

void session_expect_sorted(session *s, const char *file, int line, const char *text, const char *const args[])
{
    place at = { file, line };
    kv_slice argv[args_max];
    size_t argc = slices_of(args, argv);
    const char *got = text_at(s, at, argc, argv, true);

    if (strcmp(text, got) != 0)
        fail_at(at, argc, argv, text, got);
}

void session_expect_between(session *s, const char *file, int line, long long least, long long most,
                            const char *const args[])
{
    place at = { file, line };
    kv_slice argv[args_max];
    size_t argc = slices_of(args, argv);
    reply *r = ask_at(s, at, argc, argv);
    char wanted[64], *got = reply_text(r);
    bool within = r->type == ':' && r->integer >= least && r->integer <= most;

    keep(s, got);
    reply_free(r);
    snprintf(wanted, sizeof wanted, ":%lld to %lld", least, most);
    if (!within)
        fail_at(at, argc, argv, wanted, got);
}

void session_expect_like(session *s, const char *file, int line, const char *pattern,
                         const char *const args[])
{
    place at = { file, line };
    kv_slice argv[args_max];
    size_t argc = slices_of(args, argv);
    const char *got = text_at(s, at, argc, argv, false);

    if (fnmatch(pattern, got, FNM_NOESCAPE) != 0)
        fail_at(at, argc, argv, pattern, got);
}

const char *session_said(session *s, const char *file, int line, const char *const args[])
{
    place at = { file, line };
    kv_slice argv[args_max];
    size_t argc = slices_of(args, argv);

    return text_at(s, at, argc, argv, false);
}

reply *session_reply(session *s, size_t argc, const kv_slice argv[])
{
    place at = { __FILE__, __LINE__ };

    return ask_at(s, at, argc, argv);
}

/* ---- raw bytes -------------------------------------------------------------------------- */

void session_send(session *s, const char *file, int line, kv_slice bytes)
{
    place at = { file, line };

    needs_server(s);
    if (!conn_send(s->conn, bytes))
        fail_at(at, 1, &bytes, "to send it", conn_trouble(s->conn));
}

void session_expect_next(session *s, const char *file, int line, const char *text)
{
    place at = { file, line };
    reply *r = conn_read(s->conn);
    char *got;

    if (!r)
        fail_at(at, 0, NULL, text, conn_trouble(s->conn));
    got = reply_text(r);
    keep(s, got);
    reply_free(r);
    if (!as_wanted(text, got))
        fail_at(at, 0, NULL, text, got);
}

void session_expect_closed(session *s, const char *file, int line)
{
    place at = { file, line };

    if (!conn_ended(s->conn))
        fail_at(at, 0, NULL, "the end of the connection", "something else");
}
