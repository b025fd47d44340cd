/* profile.h - the configuration file (settings.h shows one). SPDX-License-Identifier: MIT */
#ifndef KVCLI_PROFILE_H
#define KVCLI_PROFILE_H

#include "settings.h"

/* Applies [default], and [name] when name is not NULL. A file that is not there is fine without a name. False: kvcli is to end
 * with *ret_status, all has been said. */
bool profile_read(settings *s, const char *name, exit_status *ret_status);

#endif
