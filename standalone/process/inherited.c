/* inherited.c - see inherited.h. SPDX-License-Identifier: MIT */
#include "inherited.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

#define FIRST_FD 3

/* How many the environment promises to this process. It does not promise them to those we start. */
static int promised(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    int n = pid && count && atol(pid) == (long)getpid() ? atoi(count) : 0;

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return n < 0 ? 0 : n > INHERITED_MAX ? INHERITED_MAX : n;
}

void inherited_take(inherited *in)
{
    int count = promised();

    for (int fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
            continue;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        in->sockets[in->count++] = (inherited_socket){ .fd = fd };
    }
}

/* The address that fd listens at as a stream. False: it does not. */
static bool listening_address(int fd, struct sockaddr_storage *ret_address)
{
    int type = 0, listening = 0;
    socklen_t len = sizeof type;

    memset(ret_address, 0, sizeof *ret_address);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
        return false;
    len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
        return false;
    len = sizeof *ret_address;
    return getsockname(fd, (struct sockaddr *)ret_address, &len) == 0;
}

/* Whether a socket at [::] takes connections of IPv4, too. */
static bool takes_both(int fd)
{
    int only = 1;
    socklen_t len = sizeof only;

    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && !only;
}

static bool listens_at(int fd, const struct sockaddr *wanted)
{
    struct sockaddr_storage have;
    const struct sockaddr_in *have4 = (const struct sockaddr_in *)&have,
                             *in4 = (const struct sockaddr_in *)wanted;
    const struct sockaddr_in6 *have6 = (const struct sockaddr_in6 *)&have,
                              *in6 = (const struct sockaddr_in6 *)wanted;

    if (!listening_address(fd, &have))
        return false;
    if (have.ss_family == AF_INET && wanted->sa_family == AF_INET)
        return have4->sin_port == in4->sin_port && have4->sin_addr.s_addr == in4->sin_addr.s_addr;
    if (have.ss_family == AF_INET6 && wanted->sa_family == AF_INET6)
        return have6->sin6_port == in6->sin6_port &&
               memcmp(&have6->sin6_addr, &in6->sin6_addr, sizeof in6->sin6_addr) == 0;
    return have.ss_family == AF_INET6 && wanted->sa_family == AF_INET && have6->sin6_port == in4->sin_port &&
           in4->sin_addr.s_addr == htonl(INADDR_ANY) && IN6_IS_ADDR_UNSPECIFIED(&have6->sin6_addr) &&
           takes_both(fd);
}

int inherited_tcp(inherited *in, const struct sockaddr *address, bool *ret_covered)
{
    *ret_covered = false;
    for (int i = 0; i < in->count; i++) {
        inherited_socket *socket = &in->sockets[i];

        if (!listens_at(socket->fd, address))
            continue;
        *ret_covered = socket->in_use;
        socket->in_use = true;
        return *ret_covered ? -1 : socket->fd;
    }
    return -1;
}

int inherited_unix(inherited *in, const char *path)
{
    for (int i = 0; i < in->count; i++) {
        struct sockaddr_storage have;
        const struct sockaddr_un *address = (const struct sockaddr_un *)&have;

        if (!in->sockets[i].in_use && listening_address(in->sockets[i].fd, &have) &&
            have.ss_family == AF_UNIX && strcmp(address->sun_path, path) == 0) {
            in->sockets[i].in_use = true;
            return in->sockets[i].fd;
        }
    }
    return -1;
}

/* Where fd listens, for the log. */
static void describe(int fd, char text[256])
{
    struct sockaddr_storage have;
    char ip[INET6_ADDRSTRLEN] = "?";

    if (!listening_address(fd, &have))
        snprintf(text, 256, "which is no listening stream socket");
    else if (have.ss_family == AF_INET)
        snprintf(text, 256, "%s:%d",
                 inet_ntop(AF_INET, &((struct sockaddr_in *)&have)->sin_addr, ip, sizeof ip),
                 ntohs(((struct sockaddr_in *)&have)->sin_port));
    else if (have.ss_family == AF_INET6)
        snprintf(text, 256, "[%s]:%d",
                 inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&have)->sin6_addr, ip, sizeof ip),
                 ntohs(((struct sockaddr_in6 *)&have)->sin6_port));
    else
        snprintf(text, 256, "%.200s", ((struct sockaddr_un *)&have)->sun_path);
}

void inherited_close_others(server *s)
{
    inherited *in = &s->listener.inherited;
    char text[256];

    for (int i = 0; i < in->count; i++) {
        if (in->sockets[i].in_use)
            continue;
        describe(in->sockets[i].fd, text);
        log_write(&s->log, CONFIG_LOG_WARNING, "Inherited descriptor %d closed, no directive asks for it: %s",
                  in->sockets[i].fd, text);
        close(in->sockets[i].fd);
    }
    in->count = 0;
}
