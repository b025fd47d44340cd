/* show.h - a kvc_reply as text, for expectations: $text +simple -error :1 _ ,1.5 #t (big =verbatim *[a b] %[k v] ~[a] >[a].
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_CLIENT_SHOW_H
#define TESTS_CLIENT_SHOW_H

#include "kvclient.h"

/* Yours to free. */
char *show(const kvc_reply *reply);

/* Fails the test unless reply, which is freed, shows as text. */
#define assert_shows(reply, text) show_check(reply, text, __FILE__, __LINE__)
void show_check(kvc_reply *reply, const char *text, const char *file, int line);

#endif
