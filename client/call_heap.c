/* call_heap.c - see call_heap.h. items[i] is at place i + 1.
 *
 * SPDX-License-Identifier: MIT */
#include "call_heap.h"

#include <stdlib.h>

static void put(kvc_call_heap *heap, size_t place, kvc_due *due)
{
    heap->items[place - 1] = due;
    due->place = place;
}

static void sift_up(kvc_call_heap *heap, kvc_due *due)
{
    size_t place = due->place;

    while (place > 1 && heap->items[place / 2 - 1]->at_ms > due->at_ms) {
        put(heap, place, heap->items[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, due);
}

static void sift_down(kvc_call_heap *heap, kvc_due *due)
{
    size_t place = due->place;

    for (;;) {
        size_t child = 2 * place;

        if (child < heap->n && heap->items[child]->at_ms < heap->items[child - 1]->at_ms)
            child++;
        if (child > heap->n || heap->items[child - 1]->at_ms >= due->at_ms)
            break;
        put(heap, place, heap->items[child - 1]);
        place = child;
    }
    put(heap, place, due);
}

bool kvc_call_heap_add(kvc_call_heap *heap, kvc_due *due)
{
    if (heap->n == heap->capacity) {
        size_t capacity = heap->capacity ? 2 * heap->capacity : 64;
        kvc_due **items = realloc(heap->items, capacity * sizeof *items);

        if (!items)
            return false;
        heap->items = items;
        heap->capacity = capacity;
    }
    heap->n++;
    put(heap, heap->n, due);
    sift_up(heap, due);
    return true;
}

void kvc_call_heap_remove(kvc_call_heap *heap, kvc_due *due)
{
    size_t place = due->place;
    kvc_due *last;

    if (place == 0)
        return;
    last = heap->items[--heap->n];
    due->place = 0;
    if (last == due)
        return;
    put(heap, place, last);
    sift_up(heap, last);
    sift_down(heap, last);
}

kvc_due *kvc_call_heap_first(const kvc_call_heap *heap)
{
    return heap->n ? heap->items[0] : NULL;
}

void kvc_call_heap_change(kvc_call_heap *heap, kvc_due *due, int64_t at_ms)
{
    due->at_ms = at_ms;
    sift_up(heap, due);
    sift_down(heap, due);
}

void kvc_call_heap_done(kvc_call_heap *heap)
{
    free(heap->items);
    *heap = (kvc_call_heap){ 0 };
}
