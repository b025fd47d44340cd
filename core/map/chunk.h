/* chunk.h - the big aligned pieces of memory that a domain's blocks and segments are cut from.
 * Private to core/map. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_CHUNK_H
#define KV_MAP_CHUNK_H

#include "domain.h"

#define CHUNK_SMALL ((size_t)64 << 10) /* what a small domain begins with */
#define CHUNK_BIG   ((size_t)2 << 20)  /* a huge page: what it goes on with, see domain->chunk_bytes */

/* Memory of CHUNK_SMALL or domain->chunk_bytes, aligned to its size; its content is undefined. NULL: memory is out. */
void *chunk_acquire(kv_domain *domain, size_t size_bytes);
void chunk_release(kv_domain *domain, void *memory, size_t size_bytes);

/* Lets the kernel have the whole pages within a part of a chunk of domain->chunk_bytes: its content is lost, and it costs
 * nothing until it is used again. The chunk is no huge page any more. */
void chunk_purge(kv_domain *domain, void *part, size_t size_bytes);

/* For a domain with a helper: begins to keep memory for later. KV_ENOMEM. */
int chunk_stock(kv_domain *domain);
/* For the helper thread: whether a chunk should be made ready ahead of need, and making one (false:
 * there is no memory). */
bool chunk_wanted(kv_domain *domain);
bool chunk_prepare(kv_domain *domain);
/* Whether there is one that was made ready, and giving one back that nobody took. */
bool chunk_ready(kv_domain *domain);
void chunk_give_back(kv_domain *domain);
/* Whether there are chunks of small pages that should be huge pages, and making one of them so. */
bool chunk_untidy(kv_domain *domain);
void chunk_tidy(kv_domain *domain);
/* At the end of the domain: gives back what was made ready or reserved and never used. */
void chunk_done(kv_domain *domain);

#endif
