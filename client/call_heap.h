/* call_heap.h - asynchronous calls, ordered by when something is due for them.
 *
 * A binary heap of which each call knows its own place, so that one that is answered leaves it in O(log n).
 *
 * Threads    One at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CALL_HEAP_H
#define KVC_CALL_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what is ordered. */
typedef struct kvc_due {
    int64_t at_ms; /* on kvc_now_ms's clock */
    size_t place;  /* in the heap, from 1 on; 0: not in it */
} kvc_due;

/* Zeroed: empty. */
typedef struct kvc_call_heap {
    kvc_due **items;
    size_t n, capacity;
} kvc_call_heap;

/* False: out of memory. */
bool kvc_call_heap_add(kvc_call_heap *heap, kvc_due *due);
/* Does nothing to one that is not in it. */
void kvc_call_heap_remove(kvc_call_heap *heap, kvc_due *due);
/* The first, or NULL. */
kvc_due *kvc_call_heap_first(const kvc_call_heap *heap);
/* due->at_ms is another now. */
void kvc_call_heap_change(kvc_call_heap *heap, kvc_due *due, int64_t at_ms);
void kvc_call_heap_done(kvc_call_heap *heap);

#endif
