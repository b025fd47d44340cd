/* log.c - see log.h. SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

void log_init(log *l)
{
    memset(l, 0, sizeof *l);
    atomic_init(&l->level, CONFIG_LOG_NOTICE);
    l->fd = STDOUT_FILENO;
    l->role = 'C';
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static int open_syslog(log *l, config *c)
{
    static const int facilities[] = { LOG_USER,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                      LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7 };
    /* syslog keeps the pointer until the process ends. */
    char *ident = config_text(c, CONFIG_ID_syslog_ident);

    if (!ident) {
        errno = ENOMEM;
        return -1;
    }
    openlog(ident, LOG_PID | LOG_NDELAY, facilities[config_number(c, CONFIG_ID_syslog_facility)]);
    l->to_syslog = true;
    return 0;
}

int log_open(log *l, config *c)
{
    char *path = config_text(c, CONFIG_ID_logfile);
    size_t len = path ? strlen(path) : 0;

    atomic_store_explicit(&l->level, (int)config_number(c, CONFIG_ID_loglevel), memory_order_relaxed);
    if (!path || len >= sizeof l->path) {
        free(path);
        errno = len ? ENAMETOOLONG : ENOMEM;
        return -1;
    }
    memcpy(l->path, path, len + 1);
    free(path);
    if (len) {
        int fd = open_file(l->path);

        if (fd < 0)
            return -1;
        l->fd = fd;
    }
    return config_number(c, CONFIG_ID_syslog_enabled) ? open_syslog(l, c) : 0;
}

void log_reopen(log *l)
{
    int fd;

    if (!l->path[0])
        return;
    fd = open_file(l->path);
    if (fd < 0) {
        log_write(l, CONFIG_LOG_WARNING, "Can't open the log file %s: %s", l->path, strerror(errno));
        return;
    }
    /* The number stays the same: other threads need not be told. */
    dup3(fd, l->fd, O_CLOEXEC);
    close(fd);
}

void log_done(log *l)
{
    if (l->fd != STDOUT_FILENO)
        close(l->fd);
    l->fd = STDOUT_FILENO;
    l->path[0] = '\0';
}

static void write_line(log *l, int level, const char *format, va_list args)
{
    static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING };
    char line[LINE_MAX_BYTES];
    struct timespec now;
    struct tm when;
    size_t len, start;
    ssize_t ignored;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &when);
    len = (size_t)snprintf(line, sizeof line, "%d:%c ", (int)getpid(), l->role);
    len += strftime(line + len, sizeof line - len, "%d %b %Y %H:%M:%S.", &when);
    len += (size_t)snprintf(line + len, sizeof line - len, "%03d %c ", (int)(now.tv_nsec / 1000000),
                            ".-*#"[level]);
    start = len;
    len += (size_t)vsnprintf(line + len, sizeof line - len, format, args);
    if (len > sizeof line - 1)
        len = sizeof line - 1;
    if (l->to_syslog)
        syslog(priorities[level], "%.*s", (int)(len - start), line + start);
    line[len++] = '\n';
    ignored = write(l->fd, line, len);
    (void)ignored;
}

void log_write(log *l, int level, const char *format, ...)
{
    va_list args;

    if (level < atomic_load_explicit(&l->level, memory_order_relaxed))
        return;
    va_start(args, format);
    write_line(l, level, format, args);
    va_end(args);
}

void log_limited(log *l, enum log_slot slot, int level, const char *format, ...)
{
    struct timespec now;
    va_list args;

    if (level < atomic_load_explicit(&l->level, memory_order_relaxed))
        return;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (atomic_exchange_explicit(&l->muted_until_s[slot], now.tv_sec + 1, memory_order_relaxed) > now.tv_sec)
        return;
    va_start(args, format);
    write_line(l, level, format, args);
    va_end(args);
}
