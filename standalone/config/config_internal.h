/* config_internal.h - what the files of this folder share.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CONFIG_INTERNAL_H
#define KV_STANDALONE_CONFIG_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "config.h"
#include "renames.h"

struct config {
    _Atomic int64_t numbers[CONFIG_COUNT];
    _Atomic int64_t limits[CONFIG_CLASSES][3]; /* hard bytes, soft bytes, soft seconds */
    pthread_mutex_t lock;                      /* guards texts */
    char *texts[CONFIG_COUNT];                 /* ended by a zero byte, which is not one of lens */
    size_t lens[CONFIG_COUNT];
    char *file;               /* absolute, or NULL */
    bool given[CONFIG_COUNT]; /* by a file or the command line; not changed after the start */
    bool save_given;          /* a save line was read, so that the default is gone */
    config_words *users;      /* user lines; each is one block */
    size_t user_count;
    kv_renames *renames;        /* NULL: none */
    config_complaint *complain; /* only checked: every mistake is told to it, and reading goes on */
    void *complain_arg;
    int complaints;
};

extern const char *const config_class_names[CONFIG_CLASSES]; /* of clients, for client-output-buffer-limit */

/* Writes the sentence and returns -1. */
int config_fail(config_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
