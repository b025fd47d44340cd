/* command_effect.h - what a command does to the connection that it is sent on, as far as it matters to who uses that
 * connection next, and to how many replies come.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_COMMAND_EFFECT_H
#define KVC_COMMAND_EFFECT_H

#include "kvclient.h"

typedef enum kvc_effect {
    KVC_EFFECT_NONE,
    KVC_EFFECT_MULTI,
    KVC_EFFECT_EXEC, /* EXEC, DISCARD: end the transaction and the watch */
    KVC_EFFECT_WATCH,
    KVC_EFFECT_UNWATCH,
    KVC_EFFECT_SELECT,
    KVC_EFFECT_SUBSCRIBE, /* SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE, and the same with UN: a reply for each channel */
    KVC_EFFECT_REPLY_ON,
    KVC_EFFECT_REPLY_OFF,  /* no replies from this one on */
    KVC_EFFECT_REPLY_SKIP, /* none to this one and the next */
    KVC_EFFECT_ASKING,     /* ASKING: concerns the next command only */
    KVC_EFFECT_MONITOR,    /* a stream of lines from now on */
    KVC_EFFECT_OTHER,      /* HELLO, AUTH, RESET, QUIT, READONLY, CLIENT SETNAME, CLIENT TRACKING, ... */
} kvc_effect;

kvc_effect kvc_command_effect(size_t argc, const kvc_slice *argv);

#endif
