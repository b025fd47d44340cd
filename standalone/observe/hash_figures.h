/* hash_figures.h - what DEBUG HTSTATS says of a database. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_HASH_FIGURES_H
#define KV_STANDALONE_HASH_FIGURES_H

#include "store.h"

/* A text, yours; NULL: memory is out. Visits every key. */
char *hash_figures_text(kv_store *store) KV_REQUIRES(kv_epoch_held);

#endif
