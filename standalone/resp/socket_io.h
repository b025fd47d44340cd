/* socket_io.h - recv(2) and send(2) without what glibc wraps round them.
 *
 * In a process with threads, glibc's functions are cancellation points: each takes some fifty instructions to
 * say so before and after, which is a tenth of a request. Nobody cancels a thread of ours.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SOCKET_IO_H
#define KV_STANDALONE_SOCKET_IO_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "kvstore/capability.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define KV_PLAIN_SOCKETS 1 /* sanitizers look at the functions of the library */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define KV_PLAIN_SOCKETS 1
#endif
#endif

static inline ssize_t socket_receive(int fd, void *data, size_t size) KV_EXCLUDES(kv_shard_held);
static inline ssize_t socket_send(int fd, const void *data, size_t len) KV_EXCLUDES(kv_shard_held);

/* As recv(fd, data, size, 0). */
static inline ssize_t socket_receive(int fd, void *data, size_t size)
{
#if defined(SYS_recvfrom) && !defined(KV_PLAIN_SOCKETS)
    return syscall(SYS_recvfrom, fd, data, size, 0, NULL, NULL);
#else
    return recv(fd, data, size, 0);
#endif
}

/* As send(fd, data, len, MSG_NOSIGNAL). */
static inline ssize_t socket_send(int fd, const void *data, size_t len)
{
#if defined(SYS_sendto) && !defined(KV_PLAIN_SOCKETS)
    return syscall(SYS_sendto, fd, data, len, MSG_NOSIGNAL, NULL, 0);
#else
    return send(fd, data, len, MSG_NOSIGNAL);
#endif
}

#endif
