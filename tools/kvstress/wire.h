/* wire.h - requests on their way out.
 *
 *     wire_command(&w, 3);
 *     wire_arg(&w, "SET", 3);
 *     wire_arg(&w, key, key_len);
 *     wire_number(&w, 17);
 *
 * Out of memory is remembered in `failed`, and looked at once, before anything is sent.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_WIRE_H
#define KVSTRESS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wire {
    char *bytes;
    size_t len, sent, room;
    bool failed;
} wire;

/* Begins a command of so many words, its name included. */
void wire_command(wire *w, unsigned words);
void wire_arg(wire *w, const char *bytes, size_t len);
void wire_text(wire *w, const char *text);
void wire_number(wire *w, int64_t number);
/* Room for an argument of len bytes, to be written by the caller at once; NULL when memory is out. */
char *wire_space(wire *w, size_t len);
/* Forgets what has been sent. */
void wire_compact(wire *w);
void wire_done(wire *w);

#endif
