/* crash.c - what is written when the process dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT: the signal, the address,
 * what command each worker ran last, the registers, the stack. Then the default action, so that a core is dumped where that is
 * asked for, and who waits for the process sees the signal.
 *
 * Nothing here may allocate, lock or use stdio: the fault may have come from within. So numbers are made by hand, everything
 * goes out with write(2), and the one function that is not safe the first time, backtrace(3), which loads a library
 * then, is called once at the start. Names and arguments are not written: a command's name is of the table, its
 * arguments may be secrets.
 *
 * A handler is given no pointer of ours, so this is the one file with a variable of its own. Where a sanitizer is at
 * work the handlers are its. SPDX-License-Identifier: MIT */
#include "crash.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "server.h"
#include "socket_io.h"

#define STACK_BYTES ((size_t)64 * 1024)
#define FRAMES_MAX  100

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
#define SIGNALS (sizeof signals / sizeof *signals)

static _Atomic(server *) watched;
static _Atomic bool reporting;

/* ---- writing ---- */

static void put(int fd, const char *text)
{
    ssize_t ignored = write(fd, text, strlen(text));

    (void)ignored;
}

static void put_number(int fd, uint64_t number, unsigned base)
{
    char text[24];
    size_t at = sizeof text - 1;

    text[at] = '\0';
    do {
        text[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number && at);
    put(fd, text + at);
}

static void put_register(int fd, const char *name, uint64_t value)
{
    put(fd, name);
    put(fd, ":0x");
    put_number(fd, value, 16);
    put(fd, " ");
}

static void put_registers(int fd, const ucontext_t *context)
{
    put(fd, "\n------ REGISTERS ------\n");
#if defined(__x86_64__)
    static const struct {
        const char *name;
        int index;
    } registers[] = {
        { "RIP", REG_RIP }, { "RSP", REG_RSP }, { "RBP", REG_RBP }, { "RAX", REG_RAX }, { "RBX", REG_RBX },
        { "RCX", REG_RCX }, { "RDX", REG_RDX }, { "RSI", REG_RSI }, { "RDI", REG_RDI }, { "R8", REG_R8 },
        { "R9", REG_R9 },   { "R10", REG_R10 }, { "R11", REG_R11 }, { "R12", REG_R12 }, { "R13", REG_R13 },
        { "R14", REG_R14 }, { "R15", REG_R15 }, { "EFL", REG_EFL },
    };

    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++)
        put_register(fd, registers[i].name, (uint64_t)context->uc_mcontext.gregs[registers[i].index]);
#elif defined(__aarch64__)
    put_register(fd, "PC", context->uc_mcontext.pc);
    put_register(fd, "SP", context->uc_mcontext.sp);
    for (int i = 0; i < 31; i++) {
        char name[4] = { 'X', (char)('0' + i / 10), (char)('0' + i % 10), '\0' };

        put_register(fd, name, context->uc_mcontext.regs[i]);
    }
#else
    (void)context;
    put(fd, "not known on this processor");
#endif
    put(fd, "\n");
}

/* What the workers ran last; an arrow points at the one that died. */
static void put_commands(int fd, const server *s)
{
    put(fd, "\n------ COMMANDS ------\n");
    for (int i = 0; i < s->worker_count; i++) {
        const worker *w = &s->workers[i];
        const kv_command *row = w->call.command;

        put(fd, pthread_equal(w->thread, pthread_self()) ? "-> worker " : "   worker ");
        put_number(fd, (uint64_t)i, 10);
        put(fd, w->in_turn ? " runs " : " waits, ran last ");
        put(fd, row ? row->name : "nothing");
        put(fd, "\n");
    }
}

static void put_report(int fd, const server *s, int number, const siginfo_t *info, const ucontext_t *context)
{
    void *frames[FRAMES_MAX];
    int count;

    put(fd, "\n=== KVSTORE BUG REPORT START ===\nkvserver " KV_VERSION " crashed by signal: ");
    put_number(fd, (uint64_t)number, 10);
    put(fd, ", si_code: ");
    if (info->si_code < 0)
        put(fd, "-");
    put_number(fd, (uint64_t)(info->si_code < 0 ? -(int64_t)info->si_code : info->si_code), 10);
    if (info->si_code <= 0) {
        put(fd, "\nKilled by PID: ");
        put_number(fd, (uint64_t)info->si_pid, 10);
        put(fd, ", UID: ");
        put_number(fd, (uint64_t)info->si_uid, 10);
    } else {
        put(fd, "\nAccessing address: 0x");
        put_number(fd, (uint64_t)(uintptr_t)info->si_addr, 16);
    }
    put(fd, "\n\n------ STACK TRACE ------\n");
    count = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, count, fd);
    put_registers(fd, context);
    put_commands(fd, s);
    put(fd, "\n=== KVSTORE BUG REPORT END. Please report it with the lines above, and the binary's version "
            "===\n\n");
}

/* ---- the handler ---- */

static void on_fault(int number, siginfo_t *info, void *context)
{
    server *s = atomic_load(&watched);
    int saved = errno;

    signal(number, SIG_DFL);
    if (s && config_number(s->config, CONFIG_ID_crash_log_enabled) && !atomic_exchange(&reporting, true))
        put_report(s->log.fd, s, number, info, context);
    errno = saved;
    raise(number);
}

void crash_watch(server *s)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK };
    void *frames[2];

    backtrace(frames, 2);
    atomic_store(&watched, s);
    action.sa_sigaction = on_fault;
    sigemptyset(&action.sa_mask);
#ifndef KV_PLAIN_SOCKETS /* no sanitizer */
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, NULL);
#endif
}

void crash_thread(void **ret_stack)
{
    stack_t stack = { .ss_size = STACK_BYTES };

    *ret_stack = stack.ss_sp = malloc(STACK_BYTES);
    if (stack.ss_sp)
        sigaltstack(&stack, NULL);
}

void crash_thread_done(void **stack)
{
    stack_t none = { .ss_flags = SS_DISABLE };

    sigaltstack(&none, NULL);
    free(*stack);
    *stack = NULL;
}

void crash_unblock(sigset_t *set)
{
    for (size_t i = 0; i < SIGNALS; i++)
        sigdelset(set, signals[i]);
}
