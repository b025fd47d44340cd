/* password.c - SPDX-License-Identifier: MIT */
#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 4096 };

/* The first line of what fd gives, without its end; -1: reading failed, or it is too long. */
static ssize_t read_line(int fd, char buffer[PASSWORD_MAX])
{
    size_t n = 0;

    while (n < PASSWORD_MAX) {
        ssize_t got = read(fd, buffer + n, 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0 || buffer[n] == '\n')
            break;
        n++;
    }
    if (n == PASSWORD_MAX) {
        errno = EFBIG;
        return -1;
    }
    while (n && buffer[n - 1] == '\r')
        n--;
    return (ssize_t)n;
}

static const char *keep(settings *s, const char *bytes, size_t len)
{
    words_add(&s->memory, kvc_bytes(bytes, len));
    return s->memory.items[s->memory.n - 1].data;
}

/* From the terminal, without echo; from stdin where there is no terminal. */
static bool ask(settings *s)
{
    static const char prompt[] = "Please input password: ";
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC), fd = tty >= 0 ? tty : STDIN_FILENO;
    struct termios before, silent;
    bool is_terminal = tcgetattr(fd, &before) == 0;
    char line[PASSWORD_MAX];
    ssize_t len;

    if (is_terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(fd, TCSAFLUSH, &silent);
        if (write(tty >= 0 ? tty : STDERR_FILENO, prompt, sizeof prompt - 1) < 0)
            is_terminal = true;
    }
    len = read_line(fd, line);
    if (is_terminal) {
        tcsetattr(fd, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (len >= 0)
        s->password = keep(s, line, (size_t)len);
    if (tty >= 0)
        close(tty);
    return len >= 0;
}

static bool read_file(settings *s)
{
    int fd = open(s->pass_file, O_RDONLY | O_CLOEXEC);
    char line[PASSWORD_MAX];
    ssize_t len = fd >= 0 ? read_line(fd, line) : -1;
    int reason = errno;

    if (len >= 0)
        s->password = keep(s, line, (size_t)len);
    if (fd >= 0)
        close(fd);
    errno = reason;
    return len >= 0;
}

static void read_environment(settings *s)
{
    const char *value = getenv("KVCLI_AUTH");

    if (!value)
        value = getenv("REDISCLI_AUTH");
    if (value && *value)
        s->password = value;
}

bool password_find(settings *s, exit_status *ret_status)
{
    if (s->askpass) {
        if (!ask(s)) {
            *ret_status = complain(EXIT_USAGE, "--askpass: %s", strerror(errno));
            return false;
        }
    } else if (s->password) {
        if (s->password_on_command_line && s->stderr_is_terminal && !s->no_auth_warning)
            complain(EXIT_FINE, "a password on the command line can be seen by others (see --pass-file)");
    } else if (s->pass_file) {
        if (!read_file(s)) {
            *ret_status = complain(EXIT_USAGE, "--pass-file %s: %s", s->pass_file, strerror(errno));
            return false;
        }
    } else {
        read_environment(s);
    }
    s->server.password = s->password;
    if (s->server.user && !s->password) {
        *ret_status = complain(EXIT_USAGE, "--user %s needs a password", s->server.user);
        return false;
    }
    return true;
}

/* ---- secrets in commands ---- */

static bool any_is(size_t argc, const kvc_slice *argv, size_t from, size_t step, const char *const *names)
{
    for (size_t i = from; i < argc; i += step) {
        for (const char *const *name = names; *name; name++) {
            if (slice_is_word(argv[i], *name))
                return true;
        }
    }
    return false;
}

bool password_is_in(size_t argc, const kvc_slice *argv)
{
    static const char *const acl[] = { "deluser", "setuser", "getuser", NULL };
    static const char *const config[] = { "masterauth",
                                          "masteruser",
                                          "requirepass",
                                          "primaryauth",
                                          "primaryuser",
                                          "tls-key-file-pass",
                                          "tls-client-key-file-pass",
                                          NULL };
    static const char *const auth[] = { "auth", "auth2", NULL };
    static const char *const sentinel[] = { "auth-pass", "auth-user", "sentinel-pass", "sentinel-user",
                                            NULL };

    if (!argc)
        return false;
    if (slice_is_word(argv[0], "auth"))
        return true;
    if (slice_is_word(argv[0], "acl"))
        return argc > 1 && any_is(2, argv, 1, 1, acl);
    if (slice_is_word(argv[0], "config"))
        return argc > 2 && slice_is_word(argv[1], "set") && any_is(argc, argv, 2, 2, config);
    if (slice_is_word(argv[0], "hello") || slice_is_word(argv[0], "migrate"))
        return any_is(argc, argv, 1, 1, auth);
    if (slice_is_word(argv[0], "sentinel"))
        return any_is(argc, argv, 1, 1, sentinel);
    return false;
}
