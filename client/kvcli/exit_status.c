/* exit_status.c - SPDX-License-Identifier: MIT */
#include "exit_status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

exit_status complain(exit_status status, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("kvcli: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return status;
}

exit_status exit_status_of(const kvc_error *error)
{
    switch (error->status) {
    case KVC_OK:
    case KVC_NIL:
        return EXIT_FINE;
    case KVC_EARG:
    case KVC_ENOTSUP:
        return EXIT_USAGE;
    case KVC_ERESOLVE:
    case KVC_ECONNECT:
    case KVC_ETLS:
        return EXIT_CONNECT;
    case KVC_EAUTH:
        return EXIT_AUTH;
    case KVC_ETIMEOUT:
        return EXIT_TIMEOUT;
    case KVC_EREPLY:
    case KVC_ETYPE:
    case KVC_EREDIRECT:
        return EXIT_SERVER;
    default:
        return EXIT_IO;
    }
}

exit_status exit_status_first(exit_status a, exit_status b)
{
    return a != EXIT_FINE ? a : b;
}

void *must_have(void *memory)
{
    if (!memory)
        exit(complain(EXIT_IO, "out of memory"));
    return memory;
}
