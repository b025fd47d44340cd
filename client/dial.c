/* dial.c - tries one address after the other until one answers.
 *
 * Each address gets its share of the time that is left (half of it while others wait), so that one that swallows packets
 * does not eat the deadline of the next. The error of the last address is the one told, with the address.
 *
 * SPDX-License-Identifier: MIT */
#include "dial.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "clock.h"
#include "failure.h"
#include "options.h"
#include "resolve.h"

struct kvc_dial {
    const kvc_options *options; /* borrowed */
    kvc_tls *tls;               /* borrowed, or NULL */
    int64_t deadline_ms, address_deadline_ms;
    kvc_resolution *resolution; /* until the list is there */
    struct addrinfo *list, *next;
    struct sockaddr_un unix_address;
    bool unix_tried;
    kvc_transport *transport; /* to the address being tried */
    kvc_error failure;        /* of the last address */
    char server[kvc_address_size];
};

static bool is_unix(const kvc_dial *dial)
{
    return dial->options->unix_path != NULL;
}

static kvc_status prepare_unix(kvc_dial *dial, kvc_error *error)
{
    const char *path = dial->options->unix_path;
    size_t len = strlen(path);

    if (len >= sizeof dial->unix_address.sun_path)
        return kvc_fail(error, KVC_EARG, "unix_path has %zu bytes; a unix socket's path has at most %zu", len,
                        sizeof dial->unix_address.sun_path - 1);
    dial->unix_address.sun_family = AF_UNIX;
    memcpy(dial->unix_address.sun_path, path, len + 1);
    return KVC_OK;
}

kvc_status kvc_dial_begin(const kvc_options *options, kvc_tls *tls, int64_t deadline_ms, kvc_dial **ret_dial,
                          kvc_error *error)
{
    kvc_dial *dial = calloc(1, sizeof *dial);
    kvc_status status;

    *ret_dial = NULL;
    if (!dial)
        return kvc_fail_nomem(error);
    dial->options = options;
    dial->tls = tls;
    dial->deadline_ms = deadline_ms;
    kvc_options_address(options, dial->server);
    if (is_unix(dial))
        status = prepare_unix(dial, error);
    else
        status = kvc_resolve(options->host, options->port, &dial->resolution, error);
    if (status != KVC_OK) {
        kvc_dial_free(dial);
        return status;
    }
    *ret_dial = dial;
    return KVC_OK;
}

/* Which address a failure was about, when the name alone does not tell. */
static void describe(const kvc_dial *dial, const struct addrinfo *address, char *text, size_t size)
{
    char host[64];

    if (!address || strcmp(dial->options->host, "") == 0 ||
        getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0 ||
        strcmp(host, dial->options->host) == 0)
        snprintf(text, size, "%s", dial->server);
    else
        snprintf(text, size, "%s (%s)", dial->server, host);
}

/* Puts the server in front of what went wrong. */
static void remember_failure(kvc_dial *dial, const kvc_error *failure, const struct addrinfo *address)
{
    char server[kvc_address_size + 80], reason[sizeof failure->message];

    memcpy(reason, failure->message, sizeof reason);
    describe(dial, address, server, sizeof server);
    kvc_fail(&dial->failure, failure->status, "%s: %s", server, reason);
    dial->failure.sys_errno = failure->sys_errno;
}

static void set_address_deadline(kvc_dial *dial, int64_t now_ms, bool last)
{
    dial->address_deadline_ms = dial->deadline_ms;
    if (!last && dial->deadline_ms != KVC_NEVER)
        dial->address_deadline_ms = now_ms + (dial->deadline_ms - now_ms) / 2;
}

/* Begins with the next address; false: there is none. */
static bool open_next(kvc_dial *dial, int64_t now_ms)
{
    while (!dial->transport) {
        struct addrinfo *address = dial->next;
        kvc_error failure;
        kvc_status status;

        if (is_unix(dial) ? dial->unix_tried : !address)
            return false;
        if (is_unix(dial)) {
            dial->unix_tried = true;
            status = kvc_transport_open((struct sockaddr *)&dial->unix_address, sizeof dial->unix_address,
                                        dial->options, dial->tls, &dial->transport, &failure);
        } else {
            dial->next = address->ai_next;
            status = kvc_transport_open(address->ai_addr, address->ai_addrlen, dial->options, dial->tls,
                                        &dial->transport, &failure);
        }
        if (status != KVC_OK)
            remember_failure(dial, &failure, is_unix(dial) ? NULL : address);
    }
    set_address_deadline(dial, now_ms, is_unix(dial) || !dial->next);
    return true;
}

/* The address that dial->transport goes to. */
static const struct addrinfo *current(const kvc_dial *dial)
{
    const struct addrinfo *address = dial->list;

    while (address && address->ai_next != dial->next)
        address = address->ai_next;
    return address;
}

static void give_up_address(kvc_dial *dial, const kvc_error *failure)
{
    remember_failure(dial, failure, current(dial));
    kvc_transport_close(dial->transport);
    dial->transport = NULL;
}

static kvc_status timed_out(const kvc_dial *dial, const char *doing, kvc_error *error)
{
    return kvc_fail(error, KVC_ETIMEOUT, "%s %s took longer than %u ms", doing, dial->server,
                    dial->options->connect_timeout_ms);
}

static kvc_status step_resolution(kvc_dial *dial, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    kvc_status status = kvc_resolution_take(dial->resolution, &dial->list, error);

    if (status == KVC_NIL && now_ms >= dial->deadline_ms)
        return timed_out(dial, "resolving the name of", error);
    if (status == KVC_NIL)
        *ret_wait = (kvc_dial_wait){ .fd = kvc_resolution_fd(dial->resolution),
                                     .events = POLLIN,
                                     .until_ms = dial->deadline_ms };
    if (status != KVC_OK)
        return status;
    kvc_resolution_free(dial->resolution);
    dial->resolution = NULL;
    dial->next = dial->list;
    return KVC_OK;
}

kvc_status kvc_dial_step(kvc_dial *dial, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    kvc_error failure;
    kvc_status status;
    short events = 0;

    if (dial->resolution) {
        status = step_resolution(dial, now_ms, ret_wait, error);
        if (status != KVC_OK)
            return status;
    }
    while (dial->transport || open_next(dial, now_ms)) {
        status = kvc_transport_establish(dial->transport, &events, &failure);
        if (status == KVC_OK)
            return KVC_OK;
        if (status == KVC_NIL && now_ms < dial->address_deadline_ms) {
            *ret_wait = (kvc_dial_wait){ .fd = kvc_transport_fd(dial->transport),
                                         .events = events,
                                         .until_ms = dial->address_deadline_ms };
            return KVC_NIL;
        }
        if (status == KVC_NIL)
            kvc_fail(&failure, KVC_ETIMEOUT, "connecting took longer than %u ms",
                     dial->options->connect_timeout_ms);
        give_up_address(dial, &failure);
    }
    if (error)
        *error = dial->failure;
    return dial->failure.status;
}

kvc_transport *kvc_dial_take(kvc_dial *dial)
{
    kvc_transport *transport = dial->transport;

    dial->transport = NULL;
    return transport;
}

void kvc_dial_free(kvc_dial *dial)
{
    if (!dial)
        return;
    kvc_resolution_free(dial->resolution);
    kvc_transport_close(dial->transport);
    if (dial->list)
        freeaddrinfo(dial->list);
    free(dial);
}
