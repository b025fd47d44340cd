/* rdb_fetch.h - kvcli --rdb: the data set of a server, as an RDB file. SPDX-License-Identifier: MIT */
#ifndef KVCLI_RDB_FETCH_H
#define KVCLI_RDB_FETCH_H

#include "conversation.h"

exit_status rdb_fetch_run(conversation *c);

#endif
