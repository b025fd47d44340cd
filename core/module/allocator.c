/* allocator.c - see allocator.h.
 *
 * The server's allocator has no aligned allocation; what it gives is aligned to 16 bytes. So some bytes more are
 * asked for, and the address that was given is kept in the word before the one that is handed out:
 *
 *     given ......... [given] aligned ........................
 *
 * That is for the engine, which asks rarely and for much; the module's own small things take the server's allocator
 * as it is.
 *
 * The chunks of the slab are aligned to their own size, so that each would cost twice. They are the mass of a large
 * store; so they are carved, some at a time, out of one block, whose size follows what is there already.
 *
 * SPDX-License-Identifier: MIT */
#include "allocator.h"

#include <pthread.h>
#include <stdint.h>

#include "redis_abi.h"

#define NATURAL     16u /* what everything is aligned to at least */
#define CHUNK       (64u * 1024)
#define GROUP_MAX   15u /* chunks that are asked for at once */
#define GROUP_SHARE 4u  /* so many chunks before one more is asked for at once */

/* Chunks out of one block. */
typedef struct group {
    struct group *next, **link;
    void *given;
    char *chunks;
    uint32_t count, used_mask; /* a bit for each that is in use */
} group;

static struct {
    pthread_mutex_t lock;
    group *groups;
    size_t chunks; /* in use */
} carver = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- aligned blocks ---- */

static void *aligned_new(size_t size, size_t alignment)
{
    char *given;
    uintptr_t at;

    if (alignment < NATURAL)
        alignment = NATURAL;
    if (size > SIZE_MAX / 2)
        return NULL;
    given = rm_alloc(size + alignment);
    if (!given)
        return NULL;
    at = ((uintptr_t)given + alignment) & ~(uintptr_t)(alignment - 1); /* at least NATURAL bytes further */
    memcpy((char *)at - sizeof(void *), &given, sizeof given);
    return (char *)at;
}

static void aligned_free(void *memory)
{
    void *given;

    memcpy(&given, (char *)memory - sizeof(void *), sizeof given);
    rm.Free(given);
}

/* ---- chunks ---- */

/* With the lock held. */
static group *group_new(void)
{
    size_t count = 1 + carver.chunks / GROUP_SHARE;
    group *g = rm_alloc(sizeof *g);

    if (count > GROUP_MAX)
        count = GROUP_MAX;
    if (!g)
        return NULL;
    *g = (group){ .count = (uint32_t)count, .next = carver.groups, .link = &carver.groups };
    g->given = rm_alloc((count + 1) * CHUNK);
    if (!g->given) {
        rm.Free(g);
        return NULL;
    }
    g->chunks = (char *)(((uintptr_t)g->given + CHUNK - 1) & ~(uintptr_t)(CHUNK - 1));
    if (g->next)
        g->next->link = &g->next;
    carver.groups = g;
    return g;
}

static void *chunk_take(void)
{
    void *chunk = NULL;
    group *g;

    pthread_mutex_lock(&carver.lock);
    for (g = carver.groups; g && __builtin_popcount(g->used_mask) == (int)g->count; g = g->next)
        ;
    if (!g)
        g = group_new();
    if (g) {
        unsigned i = (unsigned)__builtin_ctz(~g->used_mask);

        g->used_mask |= 1u << i;
        chunk = g->chunks + (size_t)i * CHUNK;
        carver.chunks++;
    }
    pthread_mutex_unlock(&carver.lock);
    return chunk;
}

/* The group that memory is a chunk of, or NULL. With the lock held. */
static group *group_of(const char *memory)
{
    group *g = carver.groups;

    while (g && (memory < g->chunks || memory >= g->chunks + (size_t)g->count * CHUNK))
        g = g->next;
    return g;
}

/* False: it is no chunk. */
static bool chunk_give(char *chunk)
{
    pthread_mutex_lock(&carver.lock);
    group *g = group_of(chunk);
    bool empty = false;

    if (g) {
        g->used_mask &= ~(1u << (size_t)(chunk - g->chunks) / CHUNK);
        carver.chunks--;
        empty = !g->used_mask;
    }
    if (empty) {
        *g->link = g->next;
        if (g->next)
            g->next->link = g->link;
    }
    pthread_mutex_unlock(&carver.lock);
    if (empty) {
        rm.Free(g->given);
        rm.Free(g);
    }
    return g != NULL;
}

/* ---- the allocator ---- */

static void *module_alloc(void *arg, size_t size, size_t alignment)
{
    (void)arg;
    return size == CHUNK && alignment == CHUNK ? chunk_take() : aligned_new(size, alignment);
}

static void module_free(void *arg, void *memory, size_t size)
{
    (void)arg;
    if (size != CHUNK || !chunk_give(memory))
        aligned_free(memory);
}

const kv_allocator module_allocator = { module_alloc, module_free, NULL };
