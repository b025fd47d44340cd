/* key_scan.h - all keys of a database, a round trip of SCAN at a time.
 *
 *     key_scan scan;
 *     key_scan_begin(&scan, conversation);
 *     while (key_scan_next(&scan, &error) == KVC_OK)        // KVC_NIL: that was all
 *         for (size_t i = 0; i < key_scan_count(&scan); i++)
 *             use(key_scan_key(&scan, i));
 *     key_scan_end(&scan);
 *
 * With the settings' --pattern, --count, --type and -i. A key may come twice, as with SCAN.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_KEY_SCAN_H
#define KVCLI_KEY_SCAN_H

#include "conversation.h"
#include "progress.h"

typedef struct key_scan {
    conversation *c;
    text cursor;
    kvc_reply *reply;
    long round_trips;
    double seen, total; /* keys the server went over, about; DBSIZE at the beginning */
    bool begun;
    progress progress;
} key_scan;

/* Asks DBSIZE, for the progress line. */
void key_scan_begin(key_scan *scan, conversation *c);
/* KVC_OK: a page, which may be empty. KVC_NIL: there are no more. KVC_ESTATE: Ctrl-C. KVC_EREPLY: the server refused. */
kvc_status key_scan_next(key_scan *scan, kvc_error *error);
size_t key_scan_count(const key_scan *scan);
kvc_slice key_scan_key(const key_scan *scan, size_t i);
void key_scan_end(key_scan *scan);

/* Sends n commands at once and hands out their replies in order. make adds the words of the i-th. */
typedef void key_scan_make_fn(void *arg, size_t i, words *command);
typedef void key_scan_take_fn(void *arg, size_t i, const kvc_reply *reply);
kvc_status key_scan_pipeline(conversation *c, size_t n, key_scan_make_fn *make, key_scan_take_fn *take,
                             void *arg, kvc_error *error);

#endif
