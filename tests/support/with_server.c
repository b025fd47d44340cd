/* with_server.c - runs a program while a server is there for it.
 *
 *     with_server [-o output] kvserver program [argument ...]
 *
 * The server's URI is the program's last argument. With -o, what the program writes must be exactly that. Its exit status is
 * ours; 77 when the server is not installed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

enum { args_max = 32, output_max = 4096 };

/* Reads fd to its end; false: that is not the text. */
static bool says(int fd, const char *text)
{
    char output[output_max + 1];
    size_t len = 0;
    ssize_t n;

    while (len < output_max && (n = read(fd, output + len, output_max - len)) > 0)
        len += (size_t)n;
    output[len] = '\0';
    if (strcmp(output, text) == 0)
        return true;
    fprintf(stderr, "with_server: it said:\n%s\nnot:\n%s\n", output, text);
    return false;
}

/* expected NULL: its output goes where ours goes. */
static int run(char **argv, const char *expected)
{
    int output[2], status;
    bool as_expected = true;
    pid_t child;

    if (pipe(output) != 0)
        return 1;
    child = fork();
    if (child == 0) {
        if (expected)
            dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        close(output[1]);
        execv(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    close(output[1]);
    if (child > 0 && expected)
        as_expected = says(output[0], expected);
    close(output[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || !as_expected)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    char *args[args_max] = { NULL };
    const char *expected = NULL, *program;
    char uri[200];
    server *s;
    int status;

    if (argc > 3 && strcmp(argv[1], "-o") == 0) {
        expected = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc < 3 || argc > args_max) {
        fprintf(stderr, "usage: with_server [-o output] kvserver|redis-server program [argument ...]\n");
        return 2;
    }
    program = server_program(argv[1]);
    if (!program)
        return 77;
    s = server_start(program, NULL);
    if (!s)
        return 1;
    snprintf(uri, sizeof uri, "unix://%s", server_socket(s));
    for (int i = 2; i < argc; i++)
        args[i - 2] = argv[i];
    args[argc - 2] = uri;
    status = run(args, expected);
    return server_stop(s) ? status : 1;
}
