/* port.c - see port.h. SPDX-License-Identifier: MIT */
#include "port.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_free(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (fd >= 0)
        close(fd);
    return is;
}

/* Below those that the kernel gives to who connects: one of these may be taken before a server gets to it. Anywhere among them,
 * because others look for theirs at the same time. */
int free_port(void)
{
    enum { least = 10000, count = 22000 };
    uint16_t start;

    if (getrandom(&start, sizeof start, 0) != sizeof start)
        return -1;
    for (int i = 0; i < count; i++) {
        int port = least + (start + i) % count;

        if (is_free(port))
            return port;
    }
    return -1;
}
