/* print.c - SPDX-License-Identifier: MIT */
#include "print.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "interrupt.h"

static const char *pager_of(const settings *s)
{
    const char *pager = getenv("KVCLI_PAGER");

    if (!pager)
        pager = getenv("PAGER");
    return s->pager && s->stdout_is_terminal && s->stdin_is_terminal && pager && *pager ? pager : NULL;
}

static bool is_longer_than_screen(kvc_slice t)
{
    struct winsize size = { 0 };
    size_t lines = 0;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row)
        return false;
    for (size_t i = 0; i < t.len; i++)
        lines += t.data[i] == '\n';
    return lines >= size.ws_row;
}

void print_text(const settings *s, kvc_slice t)
{
    const char *pager = pager_of(s);
    FILE *out = NULL;

    if (pager && is_longer_than_screen(t)) {
        /* A pager that is left early breaks the pipe: not a reason to die. Ctrl-C belongs to the pager. */
        void (*before)(int) = signal(SIGPIPE, SIG_IGN), (*interrupt_before)(int) = signal(SIGINT, SIG_IGN);

        fflush(stdout);
        out = popen(pager, "w");
        if (out) {
            fwrite(t.data, 1, t.len, out);
            pclose(out);
        }
        signal(SIGPIPE, before);
        signal(SIGINT, interrupt_before);
    }
    if (!out)
        fwrite(t.data, 1, t.len, stdout);
}

exit_status print_status_of(const kvc_reply *reply)
{
    kvc_slice said = kvc_reply_text(reply);

    if (kvc_reply_type(reply) != KVC_TYPE_ERROR)
        return EXIT_FINE;
    if (strncmp(said.data, "NOAUTH", 6) == 0 || strncmp(said.data, "WRONGPASS", 9) == 0 ||
        strncmp(said.data, "NOPERM", 6) == 0)
        return EXIT_AUTH;
    return EXIT_SERVER;
}

exit_status print_reply(const settings *s, size_t argc, const kvc_slice *argv, const kvc_reply *reply)
{
    exit_status status = print_status_of(reply);
    format f = s->format;
    text out = { 0 };

    if (status != EXIT_FINE && s->errors_to_stderr) {
        kvc_slice said = kvc_reply_text(reply);

        fflush(stdout);
        fprintf(stderr, "%.*s\n", (int)said.len, said.data);
        return status;
    }
    f.verbatim = format_is_verbatim(argc, argv);
    format_reply(&f, reply, &out);
    print_text(s, text_slice(&out));
    text_done(&out);
    return status;
}

exit_status print_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        clearerr(stdout);
        if (interrupt_happened()) /* Ctrl-C cut the writing short: that is no error, and nobody reads on */
            return EXIT_FINE;
        return complain(EXIT_IO, "standard output: %s", strerror(errno));
    }
    return EXIT_FINE;
}
