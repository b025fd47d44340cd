/* connection_describe.c - what CLIENT LIST and INFO tell of one client: names, addresses, the memory it takes.
 *
 * Nothing here changes a connection but for connection_names_of, which makes room for the names.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "connection_internal.h"
#include "multi.h"
#include "pubsub.h"
#include "rest.h"
#include "server.h"
#include "tls.h"
#include "tracking.h"

connection_names *connection_names_of(connection *c)
{
    if (!c->names)
        c->names = calloc(1, sizeof *c->names);
    return c->names;
}

bool address_write(const struct sockaddr_storage *from, char address[CONNECTION_ADDRESS_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;

        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(address, CONNECTION_ADDRESS_MAX, "%s:%d", ip, ntohs(in->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;

        inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip);
        snprintf(address, CONNECTION_ADDRESS_MAX, "[%s]:%d", ip, ntohs(in->sin6_port));
    } else {
        snprintf(address, CONNECTION_ADDRESS_MAX, "?:0");
        return false;
    }
    return true;
}

static void write_address(const connection *c, const struct sockaddr_storage *from,
                          char address[CONNECTION_ADDRESS_MAX])
{
    if (!address_write(from, address))
        snprintf(address, CONNECTION_ADDRESS_MAX, "%.108s:0", c->owner->server->listener.unix_path);
}

void connection_address(const connection *c, char address[CONNECTION_ADDRESS_MAX])
{
    struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof from;

    if (getpeername(c->fd, (struct sockaddr *)&from, &len) != 0 && !(c->flags & CONNECTION_UNIX))
        snprintf(address, CONNECTION_ADDRESS_MAX, "?:0");
    else
        write_address(c, &from, address);
}

void connection_local_address(const connection *c, char address[CONNECTION_ADDRESS_MAX])
{
    struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof from;

    getsockname(c->fd, (struct sockaddr *)&from, &len);
    write_address(c, &from, address);
}

/* Of the arguments so far, what is counted with the input already. */
static size_t owned_arguments(const connection *c)
{
    size_t bytes = 0;

    for (size_t i = 0; c->input && i < c->input->parser.owned.count; i++)
        bytes += kv_bytes_slice(c->input->parser.owned.bytes[i]).len;
    return bytes;
}

void connection_usage(const connection *c, connection_use *ret_use)
{
    const connection_input *in = c->input;
    const output *pending = c->pending;

    *ret_use = (connection_use){ .argument_bytes = 0 };
    if (in) {
        ret_use->argument_bytes = in->parser.base ? in->parser.argument_bytes : 0; /* arrived in part */
        /* What is understood of a request that has not arrived as a whole is no query any more, as with Redis. */
        ret_use->query_bytes = in->len - (in->parser.base ? in->parser.position : 0) + in->parser.grown;
        ret_use->query_free_bytes = in->capacity - in->len;
    }
    if (pending) {
        ret_use->list_length = pending->reference_count - pending->references_sent;
        ret_use->list_length += pending->len > pending->sent;
        ret_use->list_bytes = pending->capacity + pending->reference_bytes +
                              pending->reference_capacity * sizeof *pending->references;
    }
    ret_use->total_bytes = connection_memory(c) + (pending ? pending->reference_bytes : 0);
    if (ret_use->argument_bytes)
        ret_use->total_bytes += ret_use->argument_bytes - owned_arguments(c);
}

void connection_usage_running(const connection *c, const kv_call *call, connection_use *ret_use)
{
    const worker *w = c->owner;

    connection_usage(c, ret_use);
    ret_use->total_bytes -= ret_use->argument_bytes ? ret_use->argument_bytes - owned_arguments(c) : 0;
    ret_use->argument_bytes = 0;
    for (int i = 0; i < call->argc; i++)
        ret_use->argument_bytes += call->argv[i].len;
    if (!c->input) {
        ret_use->query_bytes = w->input_len;
        ret_use->query_free_bytes = WORKER_INPUT_BYTES - w->input_len;
        ret_use->total_bytes += w->input_len; /* the room behind it is the worker's */
    }
    ret_use->buffer_size = ret_use->buffer_peak = w->out.capacity;
    ret_use->buffer_bytes = output_unsent(&w->out);
    ret_use->total_bytes +=
        ret_use->argument_bytes - owned_arguments(c) + w->out.capacity + w->out.reference_bytes;
}

size_t connection_memory(const connection *c)
{
    const output *pending = c->pending;
    size_t bytes = sizeof *c + (c->names ? sizeof *c->names : 0) + multi_memory(c) + rest_memory(c) +
                   tracking_memory_of(c);

    if (c->input)
        bytes += sizeof *c->input + c->input->capacity + resp_own_bytes(&c->input->parser);
    if (pending)
        bytes +=
            sizeof *pending + pending->capacity + pending->reference_capacity * sizeof *pending->references;
    if (c->subscriber)
        bytes += sizeof *c->subscriber + c->subscriber->bytes;
    return bytes + c->tls_bytes;
}
