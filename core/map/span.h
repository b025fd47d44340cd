/* span.h - memory in whole cache lines, for segments: sizes of any number of lines, little waste.
 * Private to core/map. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_SPAN_H
#define KV_MAP_SPAN_H

#include "domain.h"

#define SPAN_LINE 64u
#define SPAN_MAX  128u /* lines of the largest span */

/* lines (2..SPAN_MAX) lines, aligned to a line; NULL: memory is out. */
void *span_alloc(kv_domain *domain, size_t lines);
void span_free(kv_domain *domain, void *span, size_t lines);
/* Gives back the empty chunks that are kept for later. */
void span_trim(kv_domain *domain);
void span_done(kv_domain *domain);

#endif
