/* e2e.c - SPDX-License-Identifier: MIT */
#include "e2e.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *kvserver_path(void)
{
    const char *path = server_program("kvserver");

    if (!path) {
        fprintf(stderr, "kvserver was not built\n");
        exit(77);
    }
    return path;
}

server *e2e_begin(bool tcp, const char *const options[])
{
    server *s = tcp ? server_start_tcp(kvserver_path(), options) : server_start(kvserver_path(), options);

    assert_non_null(s);
    return s;
}

void end(server *s)
{
    assert_true(server_stop(s));
}

conn *connect_to(server *s)
{
    conn *c = conn_open_unix(server_socket(s));

    if (!c) {
        print_error("no connection to kvserver, which is stopped now, to see in what state it was\n");
        server_stop(s);
        fail();
    }
    return c;
}

static void check(conn *c, const char *file, int line, const char *wanted, char *got)
{
    bool as_wanted = got && strncmp(got, wanted, strlen(wanted)) == 0;

    if (!as_wanted) {
        print_error("%s:%d: expected %s\n  got %.1000s\n", file, line, wanted, got ? got : conn_trouble(c));
        free(got);
        _fail(file, line);
    }
    free(got);
}

void e2e_says(conn *c, const char *file, int line, const char *text, const char *const args[])
{
    check(c, file, line, text, conn_ask_text(c, args));
}

void e2e_next_is(conn *c, const char *file, int line, const char *text)
{
    reply *r = conn_read(c);
    char *got = r ? reply_text(r) : NULL;

    reply_free(r);
    check(c, file, line, text, got);
}

/* ---- files, and what programs say ---- */

void assert_says(const char *output, const char *text)
{
    if (!strstr(output, text))
        fail_msg("no \"%s\" in:\n%s", text, output);
}

void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void write_file_in(const char *directory, const char *name, const char *text, char path[256])
{
    snprintf(path, 256, "%s/%s", directory, name);
    write_file(path, text);
}

char *read_file(const char *path)
{
    const size_t max = 1 << 20;
    FILE *file = fopen(path, "r");
    char *text = calloc(1, max);

    assert_true(file && text);
    assert_true(fread(text, 1, max - 1, file) > 0);
    fclose(file);
    return text;
}

/* ---- /proc ------------------------------------------------------------------------------ */

long long resident_bytes(pid_t pid)
{
    char path[64];
    long long pages = 0;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "%*d %lld", &pages), 1);
    fclose(in);
    return pages * sysconf(_SC_PAGESIZE);
}

void assert_grown_less(const server *s, long long before, long long bytes)
{
#ifdef KV_SANITIZED
    bytes += 512LL << 20;
#endif
    assert_true(resident_bytes(server_pid(s)) - before < bytes);
}

int thread_count(pid_t pid)
{
    char path[64];
    int n = 0;
    DIR *d;

    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

long long cpu_ms(pid_t pid)
{
    char path[64], text[1024], *after_name;
    unsigned long user, system;
    size_t n;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    in = fopen(path, "r");
    assert_non_null(in);
    n = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[n] = 0;
    after_name = strrchr(text, ')');
    assert_non_null(after_name);
    assert_int_equal(
        sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    return (long long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}
