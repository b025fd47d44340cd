/* command_facts.h - what the library must know of a command before it sends it.
 *
 *     kvc_command_facts facts = kvc_command_facts_of(argc, argv);
 *     if (facts.first_key)
 *         slot = kvc_key_slot(argv[facts.first_key]);
 *     may_repeat = facts.flags & KVC_FACT_READONLY;
 *
 * The rows of the command table, a short list of Redis's commands that the table does not have, and for all others
 * the guess that the key is the first argument: right for nearly all of Redis's data commands and for the module's
 * KV.* commands. A wrong guess costs a redirection, never a wrong answer: the node that is asked knows.
 *
 * Threads    Constant data.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_COMMAND_FACTS_H
#define KVC_COMMAND_FACTS_H

#include "kvclient.h"

enum kvc_command_fact {
    KVC_FACT_READONLY = 1 << 0,
    KVC_FACT_WRITE = 1 << 1,
    KVC_FACT_BLOCKING = 1 << 2,  /* may wait for longer than a command usually takes */
    KVC_FACT_SERVER = 1 << 3,    /* of our table, and run by a server, not by a store */
    KVC_FACT_CONTAINER = 1 << 4, /* inside: only a name for subcommands */
};

typedef struct kvc_command_facts {
    unsigned flags;
    size_t first_key; /* the position of the first key in argv; 0: there is none */
} kvc_command_facts;

kvc_command_facts kvc_command_facts_of(size_t argc, const kvc_slice *argv);

#endif
