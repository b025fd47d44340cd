/* pipe.h - kvcli --pipe and --import-csv: stdin to commands, as fast as the server takes them. SPDX-License-Identifier: MIT */
#ifndef KVCLI_PIPE_H
#define KVCLI_PIPE_H

#include "conversation.h"

exit_status pipe_run(conversation *c);

#endif
