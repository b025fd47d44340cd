/* process.h - a server as a child process: started, watched, measured, stopped.
 *
 *     process p;
 *     if (process_start(&p, argv, dir, fault)) ...
 *     cpu = process_cpu(&p);  ...  process_memory(&p, &bytes)
 *     process_stop(&p, 5);
 *
 * What the child prints goes to a file in dir, which process_explain quotes when it died. The child dies
 * with the tool that started it, however that ends.
 *
 * SPDX-License-Identifier: MIT */
#ifndef HARNESS_PROCESS_H
#define HARNESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fault.h"

typedef struct process {
    pid_t pid;     /* 0: none */
    int status;    /* as waitpid gives it, once pid is 0 */
    char log[256]; /* path of what it printed */
} process;

/* Runs argv (found by PATH) in directory dir. */
int process_start(process *p, char *const argv[], const char *dir, fault *f);
/* Whether it still runs; when it has ended, it is reaped and its status tells how. */
bool process_alive(process *p);
/* Whether it has ended, or does within so many seconds. */
bool process_ended(process *p, double patience);
/* CPU seconds, user and system, of all its threads so far; negative when it is gone. */
double process_cpu(const process *p);
/* Resident bytes; -1 when they cannot be read. */
int process_memory(const process *p, size_t *ret_bytes, fault *f);
/* Asks it to end (SIGTERM), kills it after so many seconds. Returns whether it ended by itself. */
bool process_stop(process *p, double patience);
/* Waits for it to end, or to be ended by somebody else; kills it after so many seconds. Returns whether it
 * ended by itself. */
bool process_wait(process *p, double patience);
/* The one child that it has (a tool that runs a server has the server), or 0. */
pid_t process_child(const process *p);
/* Adds the last lines that it printed to the fault. Always -1. */
int process_explain(const process *p, fault *f);

/* A new empty directory for servers to run in, called after the tool; process_remove_dir deletes it and all
 * that is in it. */
int process_make_dir(const char *name, char path[], size_t size, fault *f);
void process_remove_dir(const char *path);

#endif
