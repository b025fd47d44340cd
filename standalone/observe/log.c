/* log.c - see log.h. SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* Whether the standard output is the socket that JOURNAL_STREAM, "device:inode", speaks of. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat is;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDOUT_FILENO, &is) == 0 &&
           is.st_dev == device && is.st_ino == inode;
}

void log_apply(log *l, config *c)
{
    atomic_store_explicit(&l->level, (int)config_number(c, CONFIG_ID_loglevel), memory_order_relaxed);
    atomic_store_explicit(&l->format, (int)config_number(c, CONFIG_ID_log_format), memory_order_relaxed);
    atomic_store_explicit(&l->time_format, (int)config_number(c, CONFIG_ID_log_timestamp_format),
                          memory_order_relaxed);
}

int log_open(log *l, config *c)
{
    char *path = config_text(c, CONFIG_ID_logfile);
    size_t len = path ? strlen(path) : 0;

    log_apply(l, c);
    l->to_journal = len == 0 && is_journal();
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

/* ---- a line ---- */

static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING };

/* A line that grows to its room and no further. */
typedef struct log_line {
    char text[LINE_MAX_BYTES];
    size_t len;
} log_line;

static void add(log_line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(log_line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line->text + line->len, room, format, args);
    va_end(args);
    line->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static void add_time(log_line *line, int format)
{
    struct timespec now;
    struct tm when;
    char text[64], zone[8];
    int ms;

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (int)(now.tv_nsec / 1000000);
    if (format == CONFIG_TIME_MILLISECONDS) {
        add(line, "%lld", (long long)now.tv_sec * 1000 + ms);
        return;
    }
    localtime_r(&now.tv_sec, &when);
    strftime(text, sizeof text, format == CONFIG_TIME_LEGACY ? "%d %b %Y %H:%M:%S" : "%Y-%m-%dT%H:%M:%S",
             &when);
    add(line, "%s.%03d", text, ms);
    if (format == CONFIG_TIME_ISO8601 && strftime(zone, sizeof zone, "%z", &when) == 5)
        add(line, "%.3s:%s", zone, zone + 3);
}

/* In quotes, with what would end them or the line escaped. */
static void add_quoted(log_line *line, const char *text)
{
    add(line, "\"");
    for (; *text && line->len < sizeof line->text - 8; text++)
        switch (*text) {
        case '"':
        case '\\':
            add(line, "\\%c", *text);
            break;
        case '\n':
            add(line, "\\n");
            break;
        case '\r':
            add(line, "\\r");
            break;
        default:
            add(line, "%c", *text);
        }
    add(line, "\"");
}

static void add_logfmt(log_line *line, log *l, int level, const char *message)
{
    static const char *const levels[] = { "debug", "info", "notice", "warning" };
    char role = l->role;

    if (!l->to_journal)
        add(line, "pid=%d ", (int)getpid());
    add(line, "role=%s ", role == 'C' ? "starting" : role == 'S' ? "replica" : "primary");
    if (!l->to_journal) {
        add(line, "timestamp=\"");
        add_time(line, atomic_load_explicit(&l->time_format, memory_order_relaxed));
        add(line, "\" ");
    }
    add(line, "level=%s message=", levels[level]);
    add_quoted(line, message);
}

static void add_legacy(log_line *line, log *l, int level, const char *message)
{
    if (!l->to_journal) {
        add(line, "%d:%c ", (int)getpid(), l->role);
        add_time(line, atomic_load_explicit(&l->time_format, memory_order_relaxed));
        add(line, " %c ", ".-*#"[level]);
    }
    add(line, "%s", message);
}

static void write_line(log *l, int level, const char *format, va_list args)
{
    char message[LINE_MAX_BYTES];
    log_line line = { .len = 0 };
    ssize_t ignored;

    vsnprintf(message, sizeof message, format, args);
    if (l->to_syslog)
        syslog(priorities[level], "%s", message);
    if (l->to_journal)
        add(&line, "<%d>", priorities[level]);
    if (atomic_load_explicit(&l->format, memory_order_relaxed) == CONFIG_FORMAT_LOGFMT)
        add_logfmt(&line, l, level, message);
    else
        add_legacy(&line, l, level, message);
    line.text[line.len++] = '\n';
    ignored = write(l->fd, line.text, line.len);
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
