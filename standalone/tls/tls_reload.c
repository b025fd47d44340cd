/* tls_reload.c - see tls_reload.h. SPDX-License-Identifier: MIT */
#include "tls_reload.h"

#include <stdio.h>

#include "server.h"

bool tls_reload_concerns(enum config_id id)
{
    switch (id) {
    case CONFIG_ID_tls_port:
    case CONFIG_ID_tls_cert_file:
    case CONFIG_ID_tls_key_file:
    case CONFIG_ID_tls_key_file_pass:
    case CONFIG_ID_tls_ca_cert_file:
    case CONFIG_ID_tls_ca_cert_dir:
    case CONFIG_ID_tls_auth_clients:
    case CONFIG_ID_tls_protocols:
    case CONFIG_ID_tls_ciphers:
    case CONFIG_ID_tls_ciphersuites:
    case CONFIG_ID_tls_prefer_server_ciphers:
    case CONFIG_ID_tls_session_caching:
    case CONFIG_ID_tls_session_cache_size:
    case CONFIG_ID_tls_session_cache_timeout:
    case CONFIG_ID_tls_dh_params_file:
    case CONFIG_ID_tls_client_cert_file:
    case CONFIG_ID_tls_client_key_file:
    case CONFIG_ID_tls_client_key_file_pass:
    case CONFIG_ID_tls_replication:
    case CONFIG_ID_tls_cluster:
        return true;
    default:
        return false;
    }
}

int tls_reload_prepare(server *s, tls_context **ret_fresh, config_error *ret_error)
{
    config_error reason;

    *ret_fresh = NULL;
    if (!tls_is_wanted(s->config) || tls_context_new(s->config, ret_fresh, &reason) == 0)
        return 0;
    log_write(&s->log, CONFIG_LOG_WARNING, "Failed to configure TLS: %s", reason.text);
    snprintf(ret_error->text, sizeof ret_error->text, "Unable to update TLS configuration. %.900s",
             reason.text);
    return -1;
}

tls_context *tls_reload_adopt(server *s, tls_context *fresh)
{
    tls_context *old;

    pthread_mutex_lock(&s->tls_lock);
    old = s->tls;
    s->tls = fresh;
    pthread_mutex_unlock(&s->tls_lock);
    return old;
}

void tls_reload_now(server *s)
{
    tls_context *fresh;
    config_error error;

    pthread_mutex_lock(&s->config_lock);
    if (tls_reload_prepare(s, &fresh, &error) == 0) {
        tls_context_unref(tls_reload_adopt(s, fresh));
        if (fresh)
            log_write(&s->log, CONFIG_LOG_NOTICE, "TLS certificates were read again");
    }
    pthread_mutex_unlock(&s->config_lock);
}

tls_context *tls_reload_context(server *s)
{
    tls_context *context;

    pthread_mutex_lock(&s->tls_lock);
    context = tls_context_ref(s->tls);
    pthread_mutex_unlock(&s->tls_lock);
    return context;
}

tls_session *tls_reload_session(server *s, int fd)
{
    tls_context *context = tls_reload_context(s);
    tls_session *session = context ? tls_session_new(context, fd) : NULL;

    tls_context_unref(context);
    return session;
}
