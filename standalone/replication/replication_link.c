/* replication_link.c - the link to a primary as a client of this server: what CLIENT LIST shows with the flag M, and CLIENT KILL ends.
 *
 * The link belongs to the task, not to a worker. It shows itself while the primary's commands are applied, as a copy under
 * figures_lock; who ends it shuts its socket, which the task then sees as a link that was lost: it connects again, and goes on where
 * it was. The task closes the descriptor only after it has taken the copy back, so that no other's is ever shut.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "replication_internal.h"

void replication_show_link(replication *r)
{
    replication_link link = { .fd = r->link.fd, .created_ms = peer_clock_ms(), .active_ms = peer_clock_ms() };
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof address;

    link.id = atomic_fetch_add_explicit(&r->server->next_client_id, 1, memory_order_relaxed) + 1;
    getpeername(link.fd, (struct sockaddr *)&address, &len);
    address_write(&address, link.address);
    address = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
    len = sizeof address;
    getsockname(link.fd, (struct sockaddr *)&address, &len);
    address_write(&address, link.local_address);
    pthread_mutex_lock(&r->figures_lock);
    r->shown = link;
    r->is_shown = true;
    pthread_mutex_unlock(&r->figures_lock);
}

void replication_note_link(replication *r)
{
    pthread_mutex_lock(&r->figures_lock);
    r->shown.active_ms = peer_clock_ms();
    r->shown.db = stream_db(r->stream);
    r->shown.last_command = stream_last_command(r->stream);
    r->shown.query_bytes = r->link.len;
    r->shown.query_free_bytes = r->link.capacity - r->link.len;
    r->shown.total_bytes = sizeof *r + r->link.capacity + r->link.tls_bytes;
    pthread_mutex_unlock(&r->figures_lock);
}

void replication_hide_link(replication *r)
{
    pthread_mutex_lock(&r->figures_lock);
    r->is_shown = false;
    pthread_mutex_unlock(&r->figures_lock);
}

bool replication_read_link(server *s, replication_link *ret_link)
{
    replication *r = s->replication;
    bool is_shown;

    pthread_mutex_lock(&r->figures_lock);
    is_shown = r->is_shown;
    *ret_link = r->shown;
    pthread_mutex_unlock(&r->figures_lock);
    return is_shown;
}

void replication_end_link(server *s, uint64_t id)
{
    replication *r = s->replication;

    pthread_mutex_lock(&r->figures_lock);
    if (r->is_shown && r->shown.id == id) {
        shutdown(r->shown.fd, SHUT_RDWR);
        r->is_shown = false;
    }
    pthread_mutex_unlock(&r->figures_lock);
}

char *replication_describe_link(const replication_link *link)
{
    int64_t now_ms = peer_clock_ms();
    const kv_command *row = link->last_command;
    char *line;

    if (asprintf(
            &line,
            "id=%llu addr=%s laddr=%s fd=%d name= age=%lld idle=%lld flags=M db=%d sub=0 psub=0 ssub=0 "
            "multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 "
            "tot-mem=%zu events=r cmd=%s%s%s user=(superuser) redir=-1 resp=2 lib-name= lib-ver= watch=0",
            (unsigned long long)link->id, link->address, link->local_address, link->fd,
            (long long)(now_ms - link->created_ms) / 1000, (long long)(now_ms - link->active_ms) / 1000,
            link->db < 0 ? 0 : link->db, link->query_bytes, link->query_free_bytes, link->total_bytes,
            row && row->container ? row->container : "", row && row->container ? "|" : "",
            row ? row->name : "NULL") < 0)
        return NULL;
    return line;
}
