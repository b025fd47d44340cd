/* title.h - what the list of processes shows of the server: proc-title-template.
 *
 *     title_take(&s->title, argc, argv);   // first of all in main
 *     title_show(s);                       // when the configuration is read, and whenever what it names has changed
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TITLE_H
#define KV_STANDALONE_TITLE_H

#include <stddef.h>

struct server;

/* The memory that the kernel shows: that of the arguments and of the environment. */
typedef struct title {
    char *start;
    size_t size; /* 0: it is not ours to write */
    char *name;  /* argv[0] */
} title;

/* Before there are other threads. argv and the environment point to copies from then on, which live until the process ends;
 * when memory is out nothing is moved, and the list shows the command line. */
void title_take(title *t, int argc, char *argv[]);
/* With config_lock, or before others run. Nothing with set-proc-title no. */
void title_show(struct server *s);

#endif
