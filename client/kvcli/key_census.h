/* key_census.h - kvcli --bigkeys, --memkeys and --hotkeys: which keys stand out. SPDX-License-Identifier: MIT */
#ifndef KVCLI_KEY_CENSUS_H
#define KVCLI_KEY_CENSUS_H

#include "conversation.h"

exit_status key_census_run(conversation *c);

#endif
