/* options.c - defaults, checks and copies of kvc_options.
 *
 * A copy is one block: the struct, then its strings. A caller compiled against an older header has a shorter struct: its
 * size tells how much of it to read, and what it does not know is 0, which is the default.
 *
 * SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>

#include "failure.h"

enum {
    pool_most = 10000,
    depth_most = 1000, /* replies are freed recursively */
};

/* Every string of the options. */
#define STRINGS(X)   \
    X(host)          \
    X(unix_path)     \
    X(user)          \
    X(password)      \
    X(client_name)   \
    X(tls_sni)       \
    X(tls_ca_file)   \
    X(tls_ca_dir)    \
    X(tls_cert_file) \
    X(tls_key_file)  \
    X(tls_ciphers)   \
    X(tls_ciphersuites)

/* What 0 stands for. */
#define DEFAULTS(X)                         \
    X(port, 6379)                           \
    X(connect_timeout_ms, 5000)             \
    X(command_timeout_ms, 5000)             \
    X(keepalive_s, 60)                      \
    X(pool_max, 8)                          \
    X(pool_wait_ms, 5000)                   \
    X(idle_close_s, 300)                    \
    X(backoff_min_ms, 50)                   \
    X(backoff_max_ms, 5000)                 \
    X(max_retries, 3)                       \
    X(max_redirects, 5)                     \
    X(max_reply_bytes, (size_t)1 << 30)     \
    X(max_reply_depth, 32)                  \
    X(max_reply_elements, (size_t)16 << 20) \
    X(async_queue_bytes, (size_t)64 << 20)

static void fill_in(kvc_options *options)
{
#define FILL_IN(field, value) \
    if (!options->field)      \
        options->field = value;
    DEFAULTS(FILL_IN)
#undef FILL_IN
    if (!options->host)
        options->host = "127.0.0.1";
}

void kvc_options_init(kvc_options *options)
{
    *options = (kvc_options){ .size = sizeof *options };
    fill_in(options);
}

/* ---- checking ---- */

static bool is_printable_word(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static kvc_status check(const kvc_options *options, kvc_error *error)
{
    if (options->port < 1 || options->port > 65535)
        return kvc_fail(error, KVC_EARG, "port is %d; expected 1 to 65535", options->port);
    if (options->db < 0)
        return kvc_fail(error, KVC_EARG, "db is %d; expected 0 or more", options->db);
    if (options->protocol != 0 && options->protocol != 2 && options->protocol != 3)
        return kvc_fail(error, KVC_EARG, "protocol is %d; expected 0 (whichever there is), 2 or 3",
                        options->protocol);
    if (options->cluster && options->unix_path)
        return kvc_fail(error, KVC_EARG, "cluster goes with host and port, not with a unix socket");
    if (options->client_name && !is_printable_word(options->client_name))
        return kvc_fail(error, KVC_EARG,
                        "client_name is \"%s\"; expected printable characters without spaces",
                        options->client_name);
    if (options->pool_max > pool_most)
        return kvc_fail(error, KVC_EARG, "pool_max is %u; expected at most %d", options->pool_max, pool_most);
    if (options->max_reply_depth > depth_most)
        return kvc_fail(error, KVC_EARG, "max_reply_depth is %u; expected at most %d",
                        options->max_reply_depth, depth_most);
    if (!!options->tls_cert_file != !!options->tls_key_file)
        return kvc_fail(error, KVC_EARG, "tls_cert_file and tls_key_file go together: only %s is set",
                        options->tls_cert_file ? "tls_cert_file" : "tls_key_file");
    if (options->tls && options->unix_path && !options->tls_sni && !options->tls_insecure)
        return kvc_fail(error, KVC_EARG, "TLS over a unix socket: set tls_sni to the name to verify");
    return KVC_OK;
}

/* ---- copying ---- */

typedef struct copy {
    kvc_options options; /* first: it is what the holder sees */
    char text[];
} copy;

static size_t text_size(const kvc_options *options)
{
    size_t size = 0;

#define ADD_SIZE(field) size += options->field ? strlen(options->field) + 1 : 0;
    STRINGS(ADD_SIZE)
#undef ADD_SIZE
    return size;
}

static kvc_options *copy_strings(const kvc_options *options)
{
    copy *made = malloc(sizeof *made + text_size(options));
    char *end;

    if (!made)
        return NULL;
    made->options = *options;
    end = made->text;
#define COPY_STRING(field)                                             \
    if (options->field) {                                              \
        made->options.field = end;                                     \
        end = memcpy(end, options->field, strlen(options->field) + 1); \
        end += strlen(end) + 1;                                        \
    }
    STRINGS(COPY_STRING)
#undef COPY_STRING
    return &made->options;
}

kvc_status kvc_options_copy(const kvc_options *options, kvc_options **ret_copy, kvc_error *error)
{
    kvc_options whole = { 0 };
    kvc_status status;

    *ret_copy = NULL;
    if (options && options->size == 0)
        return kvc_fail(error, KVC_EARG, "options.size is 0: set them up with kvc_options_init");
    if (options)
        memcpy(&whole, options, options->size < sizeof whole ? options->size : sizeof whole);
    whole.size = sizeof whole;
    fill_in(&whole);
    status = check(&whole, error);
    if (status != KVC_OK)
        return status;
    *ret_copy = copy_strings(&whole);
    return *ret_copy ? KVC_OK : kvc_fail_nomem(error);
}

kvc_status kvc_options_copy_for(const kvc_options *options, const char *host, int port,
                                kvc_options **ret_copy, kvc_error *error)
{
    kvc_options other = *options;

    other.host = host;
    other.port = port;
    other.unix_path = NULL;
    return kvc_options_copy(&other, ret_copy, error);
}

void kvc_options_free(kvc_options *options)
{
    free(options); /* the first member of its copy */
}

void kvc_options_address(const kvc_options *options, char address[kvc_address_size])
{
    if (options->unix_path)
        snprintf(address, kvc_address_size, "%s", options->unix_path);
    else
        snprintf(address, kvc_address_size, strchr(options->host, ':') ? "[%s]:%d" : "%s:%d", options->host,
                 options->port);
}
