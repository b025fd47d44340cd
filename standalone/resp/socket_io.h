/* socket_io.h - recv(2) and send(2) without what glibc wraps round them.
 *
 * In a process with threads, glibc's functions are cancellation points: each takes some fifty instructions to
 * say so before and after, which is a tenth of a request. Nobody cancels a thread of ours. On x86-64 the call stands here
 * by itself: syscall(2) moves eight registers round it for a dozen more.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SOCKET_IO_H
#define KV_STANDALONE_SOCKET_IO_H

#include <errno.h>
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

#if defined(__x86_64__) && !defined(__ILP32__)
/* The kernel's convention: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9; it spoils rcx and r11, and answers
 * -errno for an error. fd, data, len and flags, with no address of a peer. */
static inline ssize_t socket_call(long number, int fd, const void *data, size_t len, int flags)
{
    register long r10 __asm__("r10") = flags;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 0;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"((long)fd), "S"(data), "d"(len), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (__builtin_expect(result < 0, 0)) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
#else
#define socket_call(number, fd, data, len, flags) syscall(number, fd, data, len, flags, NULL, 0)
#endif

static inline ssize_t socket_receive(int fd, void *data, size_t size) KV_EXCLUDES(kv_shard_held);
static inline ssize_t socket_send(int fd, const void *data, size_t len) KV_EXCLUDES(kv_shard_held);

/* As recv(fd, data, size, 0). */
static inline ssize_t socket_receive(int fd, void *data, size_t size)
{
#if defined(SYS_recvfrom) && !defined(KV_PLAIN_SOCKETS)
    return socket_call(SYS_recvfrom, fd, data, size, 0);
#else
    return recv(fd, data, size, 0);
#endif
}

/* As send(fd, data, len, MSG_NOSIGNAL). */
static inline ssize_t socket_send(int fd, const void *data, size_t len)
{
#if defined(SYS_sendto) && !defined(KV_PLAIN_SOCKETS)
    return socket_call(SYS_sendto, fd, data, len, MSG_NOSIGNAL);
#else
    return send(fd, data, len, MSG_NOSIGNAL);
#endif
}

#endif
