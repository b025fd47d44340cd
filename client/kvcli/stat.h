/* stat.h - kvcli --stat: a line about the server every second. SPDX-License-Identifier: MIT */
#ifndef KVCLI_STAT_H
#define KVCLI_STAT_H

#include "conversation.h"

exit_status stat_run(conversation *c);

#endif
