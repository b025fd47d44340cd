/* tls_link_none.c - tls_link.h where OpenSSL was not found. SPDX-License-Identifier: MIT */
#include "tls_link.h"

const bool tls_link_available = false;

static int refuse(fault *f)
{
    return fault_set(f, "this kvbench was built without TLS, since OpenSSL 3 was not found");
}

int tls_link_certify(const char *dir, fault *f)
{
    (void)dir;
    return refuse(f);
}

tls_links *tls_links_new(fault *f)
{
    refuse(f);
    return NULL;
}

void tls_links_free(tls_links *t)
{
    (void)t;
}

tls_link *tls_link_open(tls_links *t, int port, bool secure, tls_link *like, fault *f)
{
    (void)t;
    (void)port;
    (void)secure;
    (void)like;
    refuse(f);
    return NULL;
}

void tls_link_close(tls_link *l)
{
    (void)l;
}

bool tls_link_resumed(const tls_link *l)
{
    (void)l;
    return false;
}

int tls_link_send(tls_link *l, const char *bytes, size_t len, fault *f)
{
    (void)l;
    (void)bytes;
    (void)len;
    return refuse(f);
}

int tls_link_receive(tls_link *l, char *bytes, size_t size, size_t *ret_len, fault *f)
{
    (void)l;
    (void)bytes;
    (void)size;
    (void)ret_len;
    return refuse(f);
}
