/* config_file.c - redis.conf's grammar and redis-server's command line.
 *
 * A file is lines; a line is words (resp_split_line: the quoting rules are those of inline requests); the first
 * word is a directive, or "include" with a path that may hold wildcards. A "#" begins a comment only at the start
 * of a line. The command line is the same thing: "--name a b" is the line "name a b", read after the file.
 *
 * An unknown directive, a wrong value, quotes that do not match: each refuses the start and says where. Errors
 * have the form of Redis's, with the name of the file added, since includes make the line number alone
 * ambiguous.
 *
 * A check (config_check) goes on after each of them, so that all are told at once.
 *
 * Bounds: files of 16 MiB, 128 words in a line, includes nested 16 deep. SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acl_user.h"
#include "config_internal.h"
#include "pattern.h"
#include "resp.h"
#include "whole_file.h"

#define WORDS_MAX    128
#define DEPTH_MAX    16
#define FILE_MAX     (16 * 1024 * 1024)
#define COMMAND_LINE "the command line"

/* Where a line stands. */
typedef struct place {
    const char *source;
    int line;  /* 0: the source has no lines */
    int depth; /* of includes */
} place;

static int load_file(config *c, const char *path, int depth, config_error *error);

/* How much of a line may be shown: of one with a password only its first word. */
static size_t shown_length(const char *line, size_t len)
{
    size_t word = 0;
    int id;

    while (word < len && line[word] != ' ' && line[word] != '\t')
        word++;
    id = config_find(kv_slice_of(line, word));
    if (id >= 0 ? config_directives[id].flags & CONFIG_SECRET
                : word == 4 && strncasecmp(line, "user", 4) == 0)
        return word;
    return len;
}

static void complain(config *c, const char *text)
{
    c->complaints++;
    c->complain(c->complain_arg, text);
}

/* Puts the frame round a bare reason in error, or tells it where there is a check, and returns 0. Passwords are not shown. */
static int fail_at(config *c, config_error *error, const place *at, const char *line, size_t len)
{
    char reason[256], where[32] = "";

    snprintf(reason, sizeof reason, "%.200s", error->text);
    len = shown_length(line, len);
    if (c->complain) {
        if (at->line)
            snprintf(where, sizeof where, ":%d", at->line);
        config_fail(error, "%.300s%s: %s: '%.*s'", at->source, where, reason, (int)(len > 200 ? 200 : len),
                    line);
        complain(c, error->text);
        return 0;
    }
    if (at->line)
        snprintf(where, sizeof where, ", at line %d", at->line);
    return config_fail(error,
                       "\n*** FATAL CONFIG FILE ERROR (kvserver " KV_VERSION ") ***\n"
                       "Reading %s%.300s%s\n>>> '%.*s'\n%s",
                       at->line ? "the configuration file " : "", at->source, where,
                       (int)(len > 200 ? 200 : len), line, reason);
}

/* Includes the files of directory whose names match, in the order of the alphabet. */
static int include_matching(config *c, const place *at, const char *directory, const char *pattern,
                            config_error *error)
{
    struct dirent **names = NULL;
    int n = scandir(*directory ? directory : ".", &names, NULL, alphasort), result = 0;

    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        bool hidden = names[i]->d_name[0] == '.' && pattern[0] != '.';

        if (result == 0 && !hidden && pattern_match(kv_str(pattern), kv_str(names[i]->d_name), false)) {
            if (snprintf(path, sizeof path, "%s%s", directory, names[i]->d_name) >= (int)sizeof path)
                result = config_fail(error, "the path is too long");
            else
                result = load_file(c, path, at->depth + 1, error);
        }
        free(names[i]);
    }
    free(names);
    return result;
}

/* include path: the last part of the path may hold wildcards. */
static int include_files(config *c, const place *at, kv_slice word, config_error *error)
{
    char path[PATH_MAX], directory[PATH_MAX] = "";
    char *name;

    if (at->depth + 1 >= DEPTH_MAX)
        return config_fail(error, "includes are nested too deeply");
    if (word.len >= sizeof path)
        return config_fail(error, "the path is too long");
    memcpy(path, word.data, word.len);
    path[word.len] = '\0';
    name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (!strpbrk(name, "*?["))
        return load_file(c, path, at->depth + 1, error);
    memcpy(directory, path, (size_t)(name - path));
    return include_matching(c, at, directory, name, error);
}

/* A copy of words in one block, NULL: memory is out. */
static kv_slice *copy_words(int count, const kv_slice words[])
{
    size_t bytes = (size_t)count * sizeof *words;
    kv_slice *copy;
    char *at;

    for (int i = 0; i < count; i++)
        bytes += words[i].len + 1;
    copy = malloc(bytes);
    if (!copy)
        return NULL;
    at = (char *)(copy + count);
    for (int i = 0; i < count; i++) {
        if (words[i].len)
            memcpy(at, words[i].data, words[i].len);
        at[words[i].len] = '\0';
        copy[i] = kv_slice_of(at, words[i].len);
        at += words[i].len + 1;
    }
    return copy;
}

/* Whether the rules of a user line can be applied, as far as that can be known before the server starts. */
static int check_user(const config *c, int count, const kv_slice words[], config_error *error)
{
    acl_options options = { .rules_max = SIZE_MAX };
    acl_failure failure = { .error = ACL_EDUPLICATE };
    acl_user *u;
    bool ok = true;

    if (!acl_name_ok(words[0]))
        return config_fail(error, "Spaces not allowed in ACL usernames");
    for (size_t i = 0; i < c->user_count && ok; i++)
        ok = !kv_slice_equal(c->users[i].words[0], words[0]);
    u = acl_user_new(words[0], &options);
    if (!u)
        return config_fail(error, "out of memory");
    ok = ok && acl_user_apply_all(u, count - 1, words + 1, &options, &failure);
    acl_user_unref(u);
    if (ok)
        return 0;
    if (failure.error == ACL_EUNKNOWN)
        return config_fail(error, "Error in user declaration '%s': %s", failure.word,
                           acl_error_text(failure.error));
    return config_fail(error, "Error in user declaration '%.*s': %s",
                       (int)(words[0].len > 100 ? 100 : words[0].len), words[0].data,
                       failure.unmatched ? "Unmatched parenthesis in a selector"
                                         : acl_error_text(failure.error));
}

/* user name [rule ...] */
static int add_user(config *c, int count, const kv_slice words[], config_error *error)
{
    config_words *users;
    kv_slice *copy;

    if (count < 1)
        return config_fail(error, "Bad directive or wrong number of arguments");
    if (check_user(c, count, words, error) != 0)
        return -1;
    users = realloc(c->users, (c->user_count + 1) * sizeof *users);
    copy = copy_words(count, words);
    if (users)
        c->users = users;
    if (!users || !copy) {
        free(copy);
        return config_fail(error, "out of memory");
    }
    users[c->user_count++] = (config_words){ count, copy };
    return 0;
}

/* rename-command name newname */
static int add_rename(config *c, int count, const kv_slice words[], config_error *error)
{
    if (count != 2)
        return config_fail(error, "Bad directive or wrong number of arguments");
    if (!c->renames)
        c->renames = kv_renames_new();
    switch (c->renames ? kv_renames_add(c->renames, words[0], words[1]) : KV_RENAME_ENOMEM) {
    case KV_RENAME_OK:
        return 0;
    case KV_RENAME_UNKNOWN:
        return config_fail(error, "No such command in rename-command");
    case KV_RENAME_TAKEN:
        return config_fail(error, "Target command name already exists");
    case KV_RENAME_FULL:
        return config_fail(error, "too many commands are renamed");
    default:
        return config_fail(error, "out of memory");
    }
}

/* Sets what the words of a line say. A bare reason in error, or a framed one from an included file. */
static int run_line(config *c, const place *at, int argc, const kv_slice argv[], bool *ret_framed,
                    config_error *error)
{
    int id = config_find(argv[0]);

    *ret_framed = false;
    if (argv[0].len == 7 && strncasecmp(argv[0].data, "include", 7) == 0) {
        int result;

        if (argc != 2)
            return config_fail(error, "wrong number of arguments");
        result = include_files(c, at, argv[1], error);
        *ret_framed = result != 0 && error->text[0] == '\n';
        return result;
    }
    if (argv[0].len == 14 && strncasecmp(argv[0].data, "rename-command", 14) == 0)
        return add_rename(c, argc - 1, argv + 1, error);
    if (argv[0].len == 4 && strncasecmp(argv[0].data, "user", 4) == 0)
        return add_user(c, argc - 1, argv + 1, error);
    if (id < 0)
        return config_fail(error, "Bad directive or wrong number of arguments");
    if (config_set(c, (enum config_id)id, argc - 1, argv + 1, true, error) != 0)
        return -1;
    c->given[id] = true;
    return 0;
}

/* line is decoded in place, so errors quote a copy of it. */
static int load_line(config *c, const place *at, char *line, size_t len, config_error *error)
{
    kv_slice words[WORDS_MAX];
    char quoted[256];
    size_t quoted_len = len < sizeof quoted ? len : sizeof quoted;
    bool framed = false;
    int argc, result;

    while (len && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    while (len && (*line == ' ' || *line == '\t'))
        line++, len--;
    if (len == 0 || *line == '#')
        return 0;
    quoted_len = len < quoted_len ? len : quoted_len;
    memcpy(quoted, line, quoted_len);
    argc = resp_split_line(line, len, words, WORDS_MAX);
    if (argc == 0)
        return 0;
    if (argc < 0)
        result = config_fail(error, "Unbalanced quotes in configuration line");
    else if (argc > WORDS_MAX)
        result = config_fail(error, "too many words in the line");
    else
        result = run_line(c, at, argc, words, &framed, error);
    return result == 0 || framed ? result : fail_at(c, error, at, quoted, quoted_len);
}

static int load_lines(config *c, place at, char *text, size_t len, config_error *error)
{
    char *end = text + len;

    for (char *line = text; line < end; at.line++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *line_end = newline ? newline : end;

        if (load_line(c, &at, line, (size_t)(line_end - line), error) != 0)
            return -1;
        line = line_end + 1;
    }
    return 0;
}

int config_load_text(config *c, const char *source, char *text, size_t len, config_error *ret_error)
{
    place at = { .source = source, .line = 1 };

    return load_lines(c, at, text, len, ret_error);
}

static int load_descriptor(config *c, int fd, const char *source, int depth, config_error *error)
{
    place at = { .source = source, .line = 1, .depth = depth };
    char *text;
    size_t len;
    int result;

    if (whole_file_read(fd, FILE_MAX, &text, &len) != 0)
        return config_fail(error, "Fatal error, can't read config file '%.300s': %s", source,
                           strerror(errno));
    result = load_lines(c, at, text, len, error);
    free(text);
    return result;
}

static int load_file(config *c, const char *path, int depth, config_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result;

    if (fd < 0)
        return config_fail(error, "Fatal error, can't open config file '%.300s': %s", path, strerror(errno));
    result = load_descriptor(c, fd, path, depth, error);
    close(fd);
    return result;
}

/* What errors quote: name "a" "b". */
static void quote_words(int n, const kv_slice words[], char *text, size_t size)
{
    size_t len = 0;

    for (int i = 0; i < n && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, i ? " \"%.*s\"" : "%.*s", (int)words[i].len,
                                words[i].data);
}

/* The words of one argument, "--name a 'b c'"; copy holds them. */
static int split_argument(char *copy, kv_slice words[])
{
    int n = resp_split_line(copy, strlen(copy), words, WORDS_MAX);

    return n > WORDS_MAX ? -1 : n;
}

static bool is_option(const char *argument)
{
    return strncmp(argument, "--", 2) == 0;
}

/* How many of argv belong to the option argv[0]: one value, whatever it looks like, and those behind it up to the next option. As in
 * Redis "--save" may stand for an empty value. */
static int option_length(int argc, char *const argv[])
{
    int n = 1;

    if (argc > 1 && is_option(argv[0]) && !strchr(argv[0], ' ') &&
        !(strcasecmp(argv[0], "--save") == 0 && is_option(argv[1])))
        n = 2;
    while (n < argc && n < WORDS_MAX && !is_option(argv[n]))
        n++;
    return n;
}

/* "--name a b", or "--name a b" in one argument, or "name a b" right behind the file. Returns how many arguments of argv it took, or
 * -1. */
static int load_option(config *c, int argc, char *const argv[], config_error *error)
{
    place at = { .source = COMMAND_LINE };
    kv_slice words[WORDS_MAX];
    bool framed = false;
    int taken = option_length(argc, argv), n = taken, result = -1;
    char *copy = strdup(argv[0] + (is_option(argv[0]) ? 2 : 0)), quoted[256] = "";

    if (!copy)
        return config_fail(error, "out of memory");
    if (taken == 1 && strchr(copy, ' '))
        n = split_argument(copy, words);
    else
        for (int i = 0; i < n; i++)
            words[i] = kv_str(i ? argv[i] : copy);
    if (n <= 0) {
        config_fail(error, "Unbalanced quotes, or no words at all");
        n = 0;
    } else
        result = run_line(c, &at, n, words, &framed, error);
    if (result != 0 && !framed) {
        quote_words(n, words, quoted, sizeof quoted);
        result = fail_at(c, error, &at, quoted, strlen(quoted));
    }
    free(copy);
    return result == 0 ? taken : -1;
}

int config_load(config *c, int argc, char *const argv[], config_error *ret_error)
{
    int i = 1;
    bool standard_input = argc > 1 && strcmp(argv[argc - 1], "-") == 0;

    if (i < argc && !is_option(argv[i]) && strcmp(argv[i], "-") != 0) {
        if (argv[i][0] == '-')
            return config_fail(ret_error, "Unknown option '%.100s'. Try kvserver --help.", argv[i]);
        free(c->file);
        c->file = realpath(argv[i], NULL);
        if (load_file(c, argv[i], 0, ret_error) != 0)
            return -1;
        i++;
    }
    if (standard_input && load_descriptor(c, STDIN_FILENO, "(standard input)", 0, ret_error) != 0)
        return -1;
    while (i < argc - standard_input) {
        int taken;

        taken = load_option(c, argc - standard_input - i, argv + i, ret_error);
        if (taken < 0)
            return -1;
        i += taken;
    }
    return 0;
}

int config_check(config *c, int argc, char *const argv[], config_complaint *complaint, void *arg)
{
    config_error error;

    c->complain = complaint;
    c->complain_arg = arg;
    if (config_load(c, argc, argv, &error) != 0)
        complain(c, error.text);
    return c->complaints;
}
