/* pipe_scan.h - finds where commands end in a stream of RESP and inline commands.
 *
 *     pipe_scan scan = { 0 };
 *     size_t commands, used = pipe_scan_feed(&scan, bytes, &commands);
 *     send(bytes, used), and expect that many replies more;
 *     if (scan.wrong)
 *         ...                                        // the bytes behind are no command
 *     carry what was not used over to the next feed.
 *
 * Only the headers of a command are looked at: its values are counted, not read, and may come in many feeds. A command is RESP when
 * it begins with '*', else a line; empty lines and arrays of no elements are answered by no server, and not counted.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_PIPE_SCAN_H
#define KVCLI_PIPE_SCAN_H

#include "kvclient.h"

/* As the server's: of a line, and of the numbers that RESP announces. */
enum { PIPE_LINE_MAX = 64 * 1024, PIPE_ARGUMENTS_MAX = 1024 * 1024 };
#define PIPE_BULK_MAX (512LL * 1024 * 1024)

typedef struct pipe_scan {
    long arguments;    /* that the command still lacks */
    size_t bulk;       /* bytes that the argument still lacks, CRLF included; 0: a header comes */
    const char *wrong; /* what is wrong with the bytes that were not used; NULL: nothing */
} pipe_scan;

size_t pipe_scan_feed(pipe_scan *scan, kvc_slice bytes, size_t *ret_commands);
/* In the middle of a command. */
bool pipe_scan_is_open(const pipe_scan *scan);

#endif
