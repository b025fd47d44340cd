/* acl_file.c - see acl_file.h.
 *
 * A file is lines as ACL LIST writes them. It is read into a list of users beside those in use; only when no line has an error
 * does it take their place. All errors are told at once, each with file and line; what they quote is never a password.
 *
 * Bounds: files of FILE_MAX bytes, acl-max-users users, acl-max-rules rules each. SPDX-License-Identifier: MIT */
#include "acl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "whole_file.h"

#define FILE_MAX (256 * 1024 * 1024)

/* ---- reading ---- */

/* A file that is being read. */
typedef struct reading {
    acl *acl;
    acl_options options;
    const char *path;
    int line;
    FILE *errors;
    bool failed;
    acl_users users;
} reading;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static kv_slice trim(kv_slice text)
{
    while (text.len && is_blank(text.data[0]))
        text = kv_slice_of(text.data + 1, text.len - 1);
    while (text.len && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* The words between blanks; words has room for all. */
static int split(kv_slice line, kv_slice words[])
{
    int n = 0;

    for (size_t at = 0; at < line.len;) {
        size_t start = at;

        while (at < line.len && line.data[at] != ' ')
            at++;
        if (at > start)
            words[n++] = trim(kv_slice_of(line.data + start, at - start));
        at++;
    }
    return n;
}

static void fail_line(reading *r, const char *text)
{
    r->failed = true;
    fprintf(r->errors, "%s:%d: %s. ", r->path, r->line, text);
}

/* Of several errors that may follow from each other the first is told; unknown commands are told each. */
static void apply_words(reading *r, acl_user *u, int count, const kv_slice words[])
{
    bool told = false;

    for (int i = 0; i < count; i++) {
        acl_error err = acl_user_apply(u, words[i], &r->options);

        if (err == ACL_EUNKNOWN) {
            r->failed = true;
            fprintf(r->errors, "%s:%d: Error in applying operation '%.*s': %s. ", r->path, r->line,
                    (int)words[i].len, words[i].data, acl_error_text(err));
        } else if (err && !told) {
            fail_line(r, acl_error_text(err));
            told = true;
        }
    }
}

/* The words behind the name. */
static void read_rules(reading *r, acl_user *u, int count, const kv_slice words[])
{
    kv_slice *into = malloc((size_t)(count ? count : 1) * sizeof *into);
    char *joined = NULL;
    int open, n = into ? acl_join_selectors(count, words, into, &joined, &open) : -2;

    if (n < 0) {
        r->failed = true;
        fprintf(r->errors, "%s:%d: %s.", r->path, r->line,
                n == -1 ? "Unmatched parenthesis in selector definition" : "out of memory");
    } else {
        apply_words(r, u, n, into);
    }
    if (acl_user_rules(u) > r->options.rules_max)
        fail_line(r, acl_error_text(ACL_ETOOMANY));
    free(joined);
    free(into);
}

static void read_user(reading *r, int count, const kv_slice words[])
{
    acl_user *u;

    if (count < 2 || !kv_slice_equal(words[0], KV_STR("user"))) {
        r->failed = true;
        fprintf(r->errors, "%s:%d should start with user keyword followed by the username. ", r->path,
                r->line);
        return;
    }
    if (!acl_name_ok(words[1])) {
        fail_line(r, "the username contains invalid characters");
        return;
    }
    if (acl_users_find(&r->users, words[1])) {
        r->failed = true;
        fprintf(r->errors, "WARNING: Duplicate user '%.*s' found on line %d. ", (int)words[1].len,
                words[1].data, r->line);
        return;
    }
    u = acl_make(r->acl, words[1]);
    if (!u) {
        fail_line(r, "out of memory");
        return;
    }
    read_rules(r, u, count - 2, words + 2);
    if (!acl_users_add(&r->users, u))
        fail_line(r, "out of memory");
}

static void read_line(reading *r, kv_slice line)
{
    kv_slice trimmed = trim(line);
    kv_slice *words = trimmed.len ? malloc((trimmed.len / 2 + 1) * sizeof *words) : NULL;

    if (words)
        read_user(r, split(trimmed, words), words);
    else if (trimmed.len)
        fail_line(r, "out of memory");
    free(words);
}

static void read_lines(reading *r, const char *text, size_t len)
{
    const char *end = text + len;

    for (const char *at = text; at < end; r->line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        read_line(r, kv_slice_of(at, (size_t)((newline ? newline : end) - at)));
        at = newline ? newline + 1 : end;
    }
}

static void read_file(reading *r)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    size_t len = 0;

    if (fd < 0 || whole_file_read(fd, FILE_MAX, &text, &len) != 0) {
        r->failed = true;
        fprintf(r->errors, "Error loading ACLs, opening file '%s': %s", r->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    close(fd);
    read_lines(r, text, len);
    free(text);
    if (r->users.count > acl_users_max(r->acl)) {
        r->failed = true;
        fprintf(r->errors, "%s: more users than acl-max-users allows. ", r->path);
    }
    if (r->failed)
        fputs("WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
              r->errors);
}

bool acl_file_read(acl *a, const char *path, acl_users *ret_users, char **ret_errors)
{
    reading r = { .acl = a, .options = acl_options_now(a), .path = path, .line = 1 };
    size_t len;

    *ret_errors = NULL;
    r.errors = open_memstream(ret_errors, &len);
    if (!r.errors)
        return false;
    read_file(&r);
    if (fclose(r.errors) != 0) {
        free(*ret_errors);
        *ret_errors = NULL;
        r.failed = true;
    }
    if (r.failed) {
        acl_users_free(&r.users);
        return false;
    }
    free(*ret_errors);
    *ret_errors = NULL;
    *ret_users = r.users;
    return true;
}

bool acl_file_load(acl *a, const char *path, char **ret_errors)
{
    acl_users users;

    if (!acl_file_read(a, path, &users, ret_errors))
        return false;
    if (acl_replace(a, &users))
        return true;
    acl_users_free(&users);
    return false;
}

/* ---- writing ---- */

/* As the configuration's grammar wants it: a word with quotes in it stands in quotes. */
static void write_quoted(FILE *out, kv_slice word)
{
    if (!word.len || (!memchr(word.data, '"', word.len) && !memchr(word.data, '\'', word.len))) {
        fwrite(word.data, 1, word.len, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < word.len; i++)
        fprintf(out, strchr("\"\\", word.data[i]) ? "\\%c" : "%c", word.data[i]);
    fputc('"', out);
}

static void write_words(FILE *out, kv_slice line)
{
    while (line.len) {
        const char *blank = memchr(line.data, ' ', line.len);
        size_t len = blank ? (size_t)(blank - line.data) : line.len;

        write_quoted(out, kv_slice_of(line.data, len));
        if (blank)
            fputc(' ', out);
        len += blank != NULL;
        line = kv_slice_of(line.data + len, line.len - len);
    }
}

static bool write_user(FILE *out, const acl_user *u, bool quoted)
{
    size_t len;
    char *line = acl_describe(u, &len);

    if (!line)
        return false;
    fputs("user ", out);
    if (quoted)
        write_words(out, kv_slice_of(line, len));
    else
        fwrite(line, 1, len, out);
    fputc('\n', out);
    free(line);
    return true;
}

bool acl_write_lines(acl *a, FILE *out, bool quoted)
{
    acl_users users;
    bool whole = acl_list(a, &users);

    for (size_t i = 0; whole && i < users.count; i++)
        whole = write_user(out, users.list[i], quoted);
    acl_users_free(&users);
    return whole;
}

char *acl_config_lines(acl *a, config *c, size_t *ret_len)
{
    bool in_file = !config_text_empty(c, CONFIG_ID_aclfile);
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);
    bool whole = out && (in_file || acl_is_plain(a) || acl_write_lines(a, out, true));

    if (out && fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}

int acl_file_write(acl *a, const char *path, config_error *ret_error)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    bool whole = out && acl_write_lines(a, out, false);
    int result = -1;

    errno = ENOMEM;
    if (out && fclose(out) == 0 && whole)
        result = whole_file_replace(path, 0600, text, len);
    if (result != 0)
        snprintf(ret_error->text, sizeof ret_error->text, "Saving ACLs to '%.300s': %s", path,
                 strerror(errno));
    free(text);
    return result;
}

/* ---- at the start ---- */

static int load_lines(acl *a, config *c, config_error *error)
{
    acl_options options = acl_options_now(a);

    for (size_t i = 0; i < config_user_count(c); i++) {
        const config_words *line = config_user(c, i);
        acl_user *u = acl_find(a, line->words[0]),
                 *fresh = u ? acl_user_copy(u) : acl_make(a, line->words[0]);
        acl_failure failure = { .error = ACL_ENOMEM };
        bool ok, full = false;

        acl_user_unref(u);
        if (fresh && u)
            acl_user_apply(fresh, KV_STR("reset"), &options);
        ok = fresh && acl_user_apply_all(fresh, line->count - 1, line->words + 1, &options, &failure);
        if (fresh && !ok)
            acl_user_unref(fresh);
        else if (fresh) {
            failure.error = acl_put(a, fresh, &full);
            ok = !failure.error && !full;
        }
        if (!ok) {
            snprintf(
                error->text, sizeof error->text, "Error loading the user '%.100s': %s", line->words[0].data,
                full ? "there are as many users as acl-max-users allows" : acl_error_text(failure.error));
            return -1;
        }
    }
    return 0;
}

int acl_load_at_start(acl *a, config *c, config_error *ret_error)
{
    char *path = config_text(c, CONFIG_ID_aclfile), *errors = NULL;
    int result = -1;

    if (!path) {
        snprintf(ret_error->text, sizeof ret_error->text, "out of memory");
    } else if (*path && config_user_count(c)) {
        snprintf(ret_error->text, sizeof ret_error->text,
                 "Configuring kvserver with users defined in its configuration and at the same setting an "
                 "ACL file path is "
                 "invalid. This setup is very likely to lead to configuration errors and security holes, "
                 "please define "
                 "either an ACL file or declare users directly in your configuration, but not both.");
    } else if (!*path) {
        result = load_lines(a, c, ret_error);
    } else if (!acl_file_load(a, path, &errors)) {
        snprintf(ret_error->text, sizeof ret_error->text, "Aborting the start because of ACL errors: %.900s",
                 errors ? errors : "out of memory");
    } else {
        result = 0;
    }
    free(errors);
    free(path);
    return result;
}
