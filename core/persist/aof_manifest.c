/* aof_manifest.c - see aof_manifest.h. SPDX-License-Identifier: MIT */
#include "aof_manifest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_file.h"
#include "crc32c.h"

#define SUM_MARK     "#KVSUM "
#define LINE_MAX_    1024
#define MANIFEST_MAX (16u * 1024 * 1024)
#define WORDS_MAX    32
#define WORDS_LEAST  6 /* file, seq and type, each with its value */

/* ---- reading ---- */

typedef struct parsing {
    aof_manifest *manifest;
    char *reason;
    size_t reason_size;
    unsigned line;
    bool any_ours, summed;
} parsing;

__attribute__((format(printf, 2, 3))) static int bad(parsing *p, const char *format, ...)
{
    va_list args;
    int n = snprintf(p->reason, p->reason_size, "line %u: ", p->line);

    va_start(args, format);
    if (n > 0 && (size_t)n < p->reason_size)
        vsnprintf(p->reason + n, p->reason_size - (size_t)n, format, args);
    va_end(args);
    return -EBADMSG;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes a word in double quotes at *from, with the escapes that Redis writes, decoding it where it stands. */
static char *take_quoted(char **from)
{
    char *to = *from + 1, *word = to, *at = to;

    while (*at && *at != '"') {
        if (at[0] == '\\' && at[1] == 'x' && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
            *to++ = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
            at += 4;
        } else if (at[0] == '\\' && at[1]) {
            *to++ = at[1];
            at += 2;
        } else {
            *to++ = *at++;
        }
    }
    if (*at != '"' || (at[1] && at[1] != ' '))
        return NULL;
    *from = at + 1;
    *to = '\0';
    return word;
}

/* The words of a line, which it cuts into pieces; -1: a quote has no end. */
static int split(char *line, char *words[WORDS_MAX])
{
    int n = 0;

    while (*line && n < WORDS_MAX) {
        if (*line == ' ' || *line == '\t' || *line == '\r') {
            *line++ = '\0';
        } else if (*line == '"') {
            words[n] = take_quoted(&line);
            if (!words[n++])
                return -1;
        } else {
            words[n++] = line;
            line += strcspn(line, " \t\r");
        }
    }
    return n;
}

static bool parse_hex(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 16)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
        value = value << 4 | (unsigned)hex_digit(text[i]);
    }
    *ret_value = value;
    return true;
}

/* A positive decimal without ornaments. */
static bool parse_seq(const char *text, int64_t *ret_value)
{
    char *end;

    errno = 0;
    *ret_value = strtoll(text, &end, 10);
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool is_file_name(const char *name)
{
    return *name && strlen(name) < AOF_NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int take_pair(parsing *p, aof_entry *entry, const char *key, const char *value)
{
    if (strcmp(key, "file") == 0) {
        if (!is_file_name(value))
            return bad(p, "'%s' is no file name", value);
        strcpy(entry->name, value);
    } else if (strcmp(key, "seq") == 0) {
        if (!parse_seq(value, &entry->seq))
            return bad(p, "'%s' is no sequence number", value);
    } else if (strcmp(key, "type") == 0) {
        if (value[0] == '\0' || value[1] != '\0' || !strchr("bhi", value[0]))
            return bad(p, "'%s' is no type of file", value);
        entry->type = (aof_file_type)value[0];
    } else if (strcmp(key, "summed") == 0) {
        p->any_ours = true;
    } else if (strcmp(key, "log") == 0) {
        entry->ours = true;
        if (!parse_hex(value, &entry->opening.id))
            return bad(p, "'%s' is no id of a log file", value);
    } else if (strcmp(key, "first") == 0 && !parse_hex(value, &entry->opening.first)) {
        return bad(p, "'%s' is no sequence number of a batch", value);
    }
    return 0;
}

/* Order: one base at most, before everything; the others by ascending seq. */
static int check_order(parsing *p, const aof_entry *entry)
{
    const aof_entry *last = aof_manifest_last(p->manifest);

    if (entry->type == AOF_BASE && aof_manifest_base(p->manifest))
        return bad(p, "there is a second base file");
    if (entry->type == AOF_INCREMENT && last && last->seq >= entry->seq)
        return bad(p, "the files are not in order");
    return 0;
}

static int take_entry(parsing *p, char *line)
{
    char *words[WORDS_MAX];
    aof_entry entry = { .seq = 0 };
    int n = split(line, words), err = 0;

    if (n < WORDS_LEAST || n % 2)
        return bad(p, "it is not made of pairs of a key and a value");
    for (int i = 0; i < n && !err; i += 2)
        err = take_pair(p, &entry, words[i], words[i + 1]);
    if (err)
        return err;
    if (!entry.name[0] || !entry.seq || !entry.type)
        return bad(p, "file, seq or type is missing");
    err = check_order(p, &entry);
    p->any_ours |= entry.ours;
    return err ? err : aof_manifest_add(p->manifest, &entry);
}

/* before: all bytes of the manifest in front of the line. */
static int take_sum(parsing *p, const char *line, const char *text, size_t before)
{
    uint64_t sum;

    if (!parse_hex(line + sizeof SUM_MARK - 1, &sum) || sum != crc32c(0, text, before))
        return bad(p, "the checksum does not agree with what is above");
    p->summed = true;
    return 0;
}

static int take_line(parsing *p, char *line, const char *text, size_t before)
{
    if (p->summed)
        return bad(p, "there is something behind the checksum");
    if (strncmp(line, SUM_MARK, sizeof SUM_MARK - 1) == 0)
        return take_sum(p, line, text, before);
    return line[0] == '#' ? 0 : take_entry(p, line);
}

int aof_manifest_parse(aof_manifest *manifest, const char *text, size_t len, char *reason, size_t reason_size)
{
    parsing p = { .manifest = manifest, .reason = reason, .reason_size = reason_size };
    int err = 0;

    *manifest = (aof_manifest){ 0 };
    for (size_t at = 0; at < len && !err;) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t n = newline ? (size_t)(newline - text) - at : 0;
        char line[LINE_MAX_];

        p.line++;
        if (!newline || n >= sizeof line || memchr(text + at, '\0', n))
            err = bad(&p, newline ? "it is too long, or binary" : "its end is missing");
        if (err)
            break;
        memcpy(line, text + at, n);
        line[n] = '\0';
        err = take_line(&p, line, text, at);
        at += n + 1;
    }
    if (!err && p.any_ours && !p.summed)
        err = bad(&p, "the checksum behind it is missing");
    if (!err && manifest->count == 0)
        err = bad(&p, "no file is named");
    if (err)
        aof_manifest_done(manifest);
    return err;
}

int aof_manifest_read(aof_manifest *manifest, const char *path, char *reason, size_t reason_size)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t len = 0;
    int err = -ENOMEM;

    *manifest = (aof_manifest){ 0 };
    if (!file) {
        snprintf(reason, reason_size, "%s", strerror(errno));
        return -errno;
    }
    for (size_t room = 4096; room <= MANIFEST_MAX; room *= 2) {
        char *more = realloc(text, room);

        if (!more)
            break;
        text = more;
        len += fread(text + len, 1, room - len, file);
        if (len < room) {
            err = ferror(file) ? -EIO : 0;
            break;
        }
    }
    fclose(file);
    if (err)
        snprintf(reason, reason_size, "%s", strerror(-err));
    else
        err = aof_manifest_parse(manifest, text, len, reason, reason_size);
    free(text);
    return err;
}

/* ---- what is in it ---- */

void aof_manifest_done(aof_manifest *manifest)
{
    free(manifest->entries);
    *manifest = (aof_manifest){ 0 };
}

int aof_manifest_add(aof_manifest *manifest, const aof_entry *entry)
{
    if (manifest->count == manifest->capacity) {
        size_t capacity = manifest->capacity ? 2 * manifest->capacity : 8;
        aof_entry *entries = realloc(manifest->entries, capacity * sizeof *entries);

        if (!entries)
            return -ENOMEM;
        manifest->entries = entries;
        manifest->capacity = capacity;
    }
    manifest->entries[manifest->count++] = *entry;
    return 0;
}

const aof_entry *aof_manifest_base(const aof_manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++)
        if (manifest->entries[i].type == AOF_BASE)
            return &manifest->entries[i];
    return NULL;
}

aof_entry *aof_manifest_last(const aof_manifest *manifest)
{
    for (size_t i = manifest->count; i-- > 0;)
        if (manifest->entries[i].type == AOF_INCREMENT)
            return &manifest->entries[i];
    return NULL;
}

bool aof_entry_is_rdb(const aof_entry *entry)
{
    size_t len = strlen(entry->name);

    return entry->type == AOF_BASE && len > 4 && strcmp(entry->name + len - 4, ".rdb") == 0;
}

int64_t aof_manifest_seq(const aof_manifest *manifest, aof_file_type type)
{
    int64_t seq = 0;

    for (size_t i = 0; i < manifest->count; i++)
        if ((manifest->entries[i].type == type || manifest->entries[i].type == AOF_HISTORY) &&
            manifest->entries[i].seq > seq)
            seq = manifest->entries[i].seq;
    return seq;
}

/* ---- writing ---- */

/* As it is, or in quotes where Redis would split or misread it. */
static void write_name(FILE *out, const char *name)
{
    bool plain = true;

    for (const char *at = name; *at; at++)
        plain &= *at > ' ' && *at < 127 && *at != '"' && *at != '\'' && *at != '\\';
    if (!plain)
        fputc('"', out);
    for (const char *at = name; *at; at++) {
        if (!plain && (*at == '"' || *at == '\\'))
            fprintf(out, "\\%c", *at);
        else if (*at < ' ' || *at >= 127)
            fprintf(out, "\\x%02x", (unsigned char)*at);
        else
            fputc(*at, out);
    }
    if (!plain)
        fputc('"', out);
}

static void write_entries(FILE *out, const aof_manifest *manifest, bool history)
{
    for (size_t i = 0; i < manifest->count; i++) {
        const aof_entry *entry = &manifest->entries[i];

        if ((entry->type == AOF_HISTORY) != history)
            continue;
        fputs("file ", out);
        write_name(out, entry->name);
        fprintf(out, " seq %lld type %c", (long long)entry->seq, entry->type);
        if (entry->ours)
            fprintf(out, " log %016llx first %llx", (unsigned long long)entry->opening.id,
                    (unsigned long long)entry->opening.first);
        else
            fputs(" summed yes", out);
        fputc('\n', out);
    }
}

/* The text of a manifest, to be freed; NULL: memory is out. */
static char *format(const aof_manifest *manifest, size_t *ret_len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);

    if (!out)
        return NULL;
    write_entries(out, manifest, false);
    write_entries(out, manifest, true);
    if (fflush(out) == 0)
        fprintf(out, SUM_MARK "%08x\n", crc32c(0, text, *ret_len));
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static int write_file(const char *path, const char *text, size_t len, fault_plan *faults)
{
    int fd = fault_open(faults, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = 0;

    if (fd < 0)
        return -errno;
    while (len > 0 && !err) {
        ssize_t n = fault_write(faults, fd, text, len);

        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            err = n == 0 ? -ENOSPC : -errno;
        }
    }
    if (!err && fault_fsync(faults, fd) != 0)
        err = -errno;
    close(fd);
    return err;
}

int aof_manifest_write(const aof_manifest *manifest, const char *directory, const char *name,
                       fault_plan *faults)
{
    size_t room = strlen(directory) + strlen(name) + sizeof "/temp-", len;
    char *path = malloc(room), *temporary = malloc(room), *text = format(manifest, &len);
    int err = -ENOMEM;

    if (!path || !temporary || !text)
        goto out;
    snprintf(path, room, "%s/%s", directory, name);
    snprintf(temporary, room, "%s/temp-%s", directory, name);
    err = write_file(temporary, text, len, faults);
    fault_point(faults, "manifest-written");
    if (!err && fault_rename(faults, temporary, path) != 0)
        err = -errno;
    fault_point(faults, "manifest-renamed");
    if (err)
        unlink(temporary);
    else
        err = aof_directory_sync(directory, faults);
out:
    free(text);
    free(temporary);
    free(path);
    return err;
}
