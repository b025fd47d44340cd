/* launch.h - a server that kvstress starts itself (--server-cmd), kills, and starts again.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_LAUNCH_H
#define KVSTRESS_LAUNCH_H

#include "options.h"
#include "process.h"
#include "target.h"

#define LAUNCH_WORDS 128

typedef struct launch {
    process process;
    bool running;
    char dir[256], socket[300];
    char *words[LAUNCH_WORDS + 1];
} launch;

/* Makes the command's directory, chooses a port, and puts both into the command; sets the address in *o. */
int launch_init(launch *l, options *o, fault *f);
/* Starts it and waits until it answers. */
int launch_start(launch *l, const target *t, fault *f);
/* kill -9. -1 when it had died by itself. */
int launch_kill(launch *l, fault *f);
/* Whether it still runs; else the fault tells how it ended. */
bool launch_alive(launch *l, fault *f);
/* Ends it and removes its directory. */
void launch_done(launch *l);

#endif
