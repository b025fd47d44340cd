/* command_facts.h - what the library must know of a command before it sends it.
 *
 *     kvc_command_facts facts = kvc_command_facts_of(argc, argv);
 *     if (facts.flags & KVC_FACT_CONNECTION)
 *         return refuse();                      // MULTI, SELECT, ...: not on a pooled connection
 *     if (facts.first_key)
 *         slot = kvc_key_slot(argv[facts.first_key]);
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
    KVC_FACT_BLOCKING = 1 << 2,   /* may wait for longer than a command usually takes */
    KVC_FACT_CONNECTION = 1 << 3, /* changes the connection it is sent on, or what may be sent there next */
    KVC_FACT_CONTAINER = 1 << 4,  /* only a name for subcommands */
    KVC_FACT_SUBSCRIBE = 1 << 5,  /* SUBSCRIBE and its kin: answered by messages, not by a reply */
};

typedef struct kvc_command_facts {
    unsigned flags;
    size_t first_key; /* the position of the first key in argv; 0: there is none */
} kvc_command_facts;

kvc_command_facts kvc_command_facts_of(size_t argc, const kvc_slice *argv);

#endif
