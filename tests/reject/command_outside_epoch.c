/* command_outside_epoch.c - a command is run without an epoch round it.
 *
 * REJECT: calling function 'kv_cmd_get' requires holding .*'kv_epoch_held'
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"

void get(kv_call *call, kv_domain *domain);

void get(kv_call *call, kv_domain *domain)
{
#ifdef FIXED
    if (epoch_enter(domain) == 0)
        kv_cmd_get(call);
    epoch_leave(domain);
#else
    (void)domain;
    kv_cmd_get(call);
#endif
}
