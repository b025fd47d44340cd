/* scan.h - kvcli --scan, and --scan --unlink. SPDX-License-Identifier: MIT */
#ifndef KVCLI_SCAN_H
#define KVCLI_SCAN_H

#include "conversation.h"

exit_status scan_run(conversation *c);

#endif
