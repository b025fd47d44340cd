/* uri.c - redis://user:password@host:port/db?name=value, read into options.
 *
 *     scheme :// [ [user] [:password] @ ] host [:port] [/db] [?name=value [&name=value]...]
 *     unix   :// [ [user] [:password] @ ] /path [?name=value...]
 *
 * The text is copied once and cut in place; each piece is then percent-decoded in place, which only makes it shorter.
 * Messages name the word that is wrong, never the password.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "failure.h"
#include "kvclient.h"

static const struct scheme {
    const char *name;
    bool tls, unix_socket;
} schemes[] = {
    { "redis", false, false },  { "rediss", true, false }, { "valkey", false, false },
    { "valkeys", true, false }, { "kv", false, false },    { "kvs", true, false },
    { "unix", false, true },
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX to bytes, in place. what names the part; its text is not repeated, as it may be a secret. */
static kvc_status decode(char *text, const char *what, kvc_error *error)
{
    char *out = text;

    for (; *text; text++) {
        int high, low;

        if (*text != '%') {
            *out++ = *text;
            continue;
        }
        high = hex_digit(text[1]);
        low = high < 0 ? -1 : hex_digit(text[2]);
        if (low < 0)
            return kvc_fail(error, KVC_EARG,
                            "the %s of the URI has a %% that two hexadecimal digits do not follow", what);
        if (high == 0 && low == 0)
            return kvc_fail(error, KVC_EARG, "the %s of the URI has a NUL (%%00), which it cannot have",
                            what);
        *out++ = (char)(high << 4 | low);
        text += 2;
    }
    *out = '\0';
    return KVC_OK;
}

/* A decimal number from least to most; text is not empty of anything else. */
static kvc_status number(const char *text, const char *what, long least, long most, long *ret_number,
                         kvc_error *error)
{
    char *end;
    long value;

    value = *text >= '0' && *text <= '9' && strlen(text) <= 10 ? strtol(text, &end, 10) : -1;
    if (value < least || value > most || *end)
        return kvc_fail(error, KVC_EARG, "the %s of the URI is \"%s\"; expected a number from %ld to %ld",
                        what, text, least, most);
    *ret_number = value;
    return KVC_OK;
}

/* ---- the parts, from left to right; *rest moves behind each ---- */

static const struct scheme *parse_scheme(char **rest, kvc_error *error)
{
    char *end = strstr(*rest, "://");
    size_t len = end ? (size_t)(end - *rest) : 0;

    for (size_t i = 0; end && i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].name) == len && strncmp(schemes[i].name, *rest, len) == 0) {
            *rest = end + 3;
            return &schemes[i];
        }
    }
    if (end)
        kvc_fail(error, KVC_EARG,
                 "the URI's scheme is \"%.*s\"; expected redis, rediss, valkey, valkeys, kv, kvs or unix",
                 len < 64 ? (int)len : 64, *rest);
    else
        kvc_fail(error, KVC_EARG,
                 "the URI has no scheme; expected redis://host:port/db, rediss:// or unix:///path");
    return NULL;
}

/* [[user][:password]@]: ends at the last @ before end. */
static kvc_status parse_user(kvc_options *options, char **rest, const char *end, kvc_error *error)
{
    char *at = memrchr(*rest, '@', (size_t)(end - *rest)), *user = *rest, *colon;
    kvc_status status;

    if (!at)
        return KVC_OK;
    *at = '\0';
    *rest = at + 1;
    colon = strchr(user, ':');
    if (colon) {
        *colon = '\0';
        status = decode(colon + 1, "password", error);
        if (status != KVC_OK)
            return status;
        options->password = colon + 1;
    }
    status = decode(user, "user", error);
    if (*user)
        options->user = user;
    return status;
}

/* host, [v6], host:port; empty parts stay as they were. */
static kvc_status parse_host(kvc_options *options, char *text, kvc_error *error)
{
    char *host = text, *port = NULL, *end;
    kvc_status status;
    long value = 0;

    if (*text == '[') {
        end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return kvc_fail(error, KVC_EARG,
                            "the host of the URI is \"%s\"; expected [address] or [address]:port", text);
        host = text + 1;
        port = end[1] ? end + 2 : NULL;
        *end = '\0';
    } else {
        end = strchr(text, ':');
        if (end) {
            *end = '\0';
            port = end + 1;
        }
        if (port && strchr(port, ':'))
            return kvc_fail(error, KVC_EARG,
                            "the host of the URI is \"%s:%s\"; an IPv6 address goes into [ ]", text, port);
    }
    status = decode(host, "host", error);
    if (status == KVC_OK && port)
        status = number(port, "port", 1, 65535, &value, error);
    if (status != KVC_OK)
        return status;
    if (port)
        options->port = (int)value;
    if (*host)
        options->host = host;
    options->unix_path = NULL;
    return KVC_OK;
}

static kvc_status parse_path(kvc_options *options, char *text, kvc_error *error)
{
    kvc_status status = decode(text, "path", error);

    if (status == KVC_OK && *text != '/')
        return kvc_fail(error, KVC_EARG, "the path of the URI is \"%s\"; expected unix:///absolute/path",
                        text);
    options->unix_path = text;
    return status;
}

static kvc_status parse_parameter(kvc_options *options, const char *name, char *value, kvc_error *error)
{
    static const struct {
        const char *name;
        long least, most;
    } numbers[] = {
        { "db", 0, INT32_MAX },
        { "protocol", 2, 3 },
        { "timeout_ms", 1, INT32_MAX },
        { "connect_timeout_ms", 1, INT32_MAX },
        { "cluster", 0, 1 },
    };
    long chosen = 0;
    kvc_status status = KVC_EARG;
    size_t i;

    if (strcmp(name, "client_name") == 0) {
        options->client_name = value;
        return KVC_OK;
    }
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0)
            break;
    if (i == sizeof numbers / sizeof *numbers)
        return kvc_fail(error, KVC_EARG,
                        "the URI's query has \"%s\"; expected db, client_name, protocol, timeout_ms, "
                        "connect_timeout_ms or cluster",
                        name);
    status = number(value, name, numbers[i].least, numbers[i].most, &chosen, error);
    if (status != KVC_OK)
        return status;
    switch (i) {
    case 0:
        options->db = (int)chosen;
        break;
    case 1:
        options->protocol = (int)chosen;
        break;
    case 2:
        options->command_timeout_ms = (uint32_t)chosen;
        break;
    case 3:
        options->connect_timeout_ms = (uint32_t)chosen;
        break;
    default:
        options->cluster = chosen != 0;
        break;
    }
    return KVC_OK;
}

static kvc_status parse_query(kvc_options *options, char *query, kvc_error *error)
{
    kvc_status status = KVC_OK;
    char *next, *value;

    for (char *name = query; name && *name && status == KVC_OK; name = next) {
        next = strchr(name, '&');
        if (next)
            *next++ = '\0';
        value = strchr(name, '=');
        if (!value)
            return kvc_fail(error, KVC_EARG, "the URI's query has \"%s\"; expected name=value", name);
        *value++ = '\0';
        status = decode(name, "query", error);
        if (status == KVC_OK)
            status = decode(value, "query", error);
        if (status == KVC_OK)
            status = parse_parameter(options, name, value, error);
    }
    return status;
}

/* All of it, in a copy that may be cut. */
static kvc_status parse(kvc_options *options, char *text, kvc_error *error)
{
    char *rest = text, *query, *db = NULL;
    const struct scheme *scheme;
    kvc_status status;
    long number_of_db = 0;
    const char *end;

    if (strchr(text, '#'))
        return kvc_fail(error, KVC_EARG, "the URI has a '#'; in a password it is written %%23");
    scheme = parse_scheme(&rest, error);
    if (!scheme)
        return KVC_EARG;
    query = strchr(rest, '?');
    if (query)
        *query++ = '\0';
    end = scheme->unix_socket ? strchrnul(rest, '/') : rest + strlen(rest); /* a path may have an @ */
    status = parse_user(options, &rest, end, error);
    if (status != KVC_OK)
        return status;
    if (!scheme->unix_socket) {
        db = strchr(rest, '/');
        if (db)
            *db++ = '\0';
    }
    status = scheme->unix_socket ? parse_path(options, rest, error) : parse_host(options, rest, error);
    if (status == KVC_OK && db && *db) {
        status = number(db, "database", 0, INT32_MAX, &number_of_db, error);
        options->db = (int)number_of_db;
    }
    if (scheme->tls)
        options->tls = true;
    return status == KVC_OK && query ? parse_query(options, query, error) : status;
}

kvc_status kvc_options_parse_uri(kvc_options *options, const char *uri, char **ret_memory, kvc_error *error)
{
    kvc_options parsed = *options;
    char *text = strdup(uri);
    kvc_status status;

    *ret_memory = NULL;
    if (!text)
        return kvc_fail_nomem(error);
    status = parse(&parsed, text, error);
    if (status != KVC_OK) {
        free(text);
        return status;
    }
    *options = parsed;
    *ret_memory = text;
    return KVC_OK;
}
