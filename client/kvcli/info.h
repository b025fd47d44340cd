/* info.h - the reply to INFO, and looking things up in it.
 *
 *     info i = { 0 };
 *     if (info_read(&i, conversation, "memory", &error) == KVC_OK)
 *         used = info_number(&i, "used_memory", 0);
 *     info_done(&i);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_INFO_H
#define KVCLI_INFO_H

#include "conversation.h"

typedef struct info {
    text lines;
} info;

/* INFO section; section NULL: the default ones. An error reply answers KVC_EREPLY. */
kvc_status info_read(info *i, conversation *c, const char *section, kvc_error *error);
void info_done(info *i);
/* The value of the line "name:value"; data NULL: there is none. Borrowed. */
kvc_slice info_find(const info *i, const char *name);
/* The same as a number, or otherwise when there is none. */
double info_number(const info *i, const char *name, double otherwise);
/* The value as text, or otherwise. Adds to out. */
void info_text(const info *i, const char *name, const char *otherwise, text *out);
/* Calls visit for each line "<prefix><rest>:<value>". */
typedef void info_line_fn(void *arg, kvc_slice rest, kvc_slice value);
void info_each(const info *i, const char *prefix, info_line_fn *visit, void *arg);
/* Of a value "calls=5,usec=17": the number behind "calls=", or otherwise. */
double info_field(kvc_slice value, const char *field, double otherwise);

#endif
