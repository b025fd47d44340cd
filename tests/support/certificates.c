/* certificates.c - see certificates.h. Keys on a curve: they are made in no time. SPDX-License-Identifier: MIT */
#include "certificates.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "server.h"

#define RUN_MAX 40

static bool run(const char *directory, const char *const words[])
{
    const char *argv[RUN_MAX] = { server_program("openssl") };
    char *output = NULL;
    bool done;

    if (!argv[0])
        return false;
    for (int i = 0; words[i] && i < RUN_MAX - 2; i++)
        argv[i + 1] = words[i];
    done = run_program(argv, directory, &output) == 0;
    if (!done)
        fprintf(stderr, "openssl: %s\n", output ? output : "it did not run");
    free(output);
    return done;
}

#define openssl(directory, ...) run(directory, (const char *const[]){ __VA_ARGS__, NULL })

/* The words that ask for a new key without a password. */
#define NEW_KEY "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"

/* A key and a certificate that vouches for itself. */
static bool make_own(const char *directory, const char *subject, const char *key, const char *certificate)
{
    return openssl(directory, "req", "-x509", NEW_KEY, "-days", "2", "-subj", subject, "-keyout", key, "-out",
                   certificate);
}

/* A key and a certificate that the authority vouches for. */
static bool make_signed(const char *directory, const char *subject, const char *key, const char *certificate)
{
    return openssl(directory, "req", NEW_KEY, "-subj", subject, "-addext",
                   "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", "request") &&
           openssl(directory, "x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key",
                   "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", certificate);
}

bool certificates_make(const char *directory)
{
    return make_own(directory, "/CN=an authority", "ca.key", "ca.crt") &&
           make_own(directory, "/CN=another", "other.key", "other.crt") &&
           make_signed(directory, "/CN=server", "server.key", "server.crt") &&
           make_signed(directory, "/CN=client", "client.key", "client.crt") &&
           openssl(directory, "pkey", "-in", "server.key", "-aes128", "-passout", "pass:open sesame", "-out",
                   "locked.key");
}

const char *certificate_path(const char *directory, const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned turn;
    char *text = paths[turn++ % 8];

    snprintf(text, PATH_MAX, "%s/%s", directory, name);
    return text;
}
