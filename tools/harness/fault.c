/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fault_set(fault *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    f->usage = false;
    return -1;
}

int fault_usage(fault *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    f->usage = true;
    return -1;
}

int fault_prefix(fault *f, const char *format, ...)
{
    char prefix[256];
    size_t room = sizeof f->text, len;
    va_list args;

    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    len = strlen(prefix);
    memmove(f->text + len, f->text, room - len);
    f->text[room - 1] = '\0';
    memcpy(f->text, prefix, len);
    return -1;
}
