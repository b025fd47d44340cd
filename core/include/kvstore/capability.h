/* capability.h - names for clang's thread-safety analysis; nothing for other compilers.
 *
 * A *capability* is something a thread may hold: a lock, or a role such as "some shard is
 * locked". Functions say what they need, take and give back, and clang (-Wthread-safety)
 * refuses a program in which a path leaks a lock, waits under one, or reads without one.
 *
 * Three roles stand for what cannot be named in C:
 *   kv_shard_held   this thread has at least one shard locked;
 *   kv_epoch_held   this thread is inside an epoch: what it found in the map stays readable;
 *   kv_hold_held    this thread holds the shards of an act of several commands: each verb of the store
 *                   finds its shards held, and runs as ever.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTORE_CAPABILITY_H
#define KVSTORE_CAPABILITY_H

#if defined(__clang__)
#define KV_ATTRIBUTE(x) __attribute__((x))
#else
#define KV_ATTRIBUTE(x)
#endif

#define KV_CAPABILITY(name) KV_ATTRIBUTE(capability(name))
#define KV_ACQUIRES(...)    KV_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define KV_RELEASES(...)    KV_ATTRIBUTE(release_capability(__VA_ARGS__))
#define KV_REQUIRES(...)    KV_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define KV_EXCLUDES(...)    KV_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define KV_ASSERTS(...)     KV_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define KV_TRIES(...)       KV_ATTRIBUTE(try_acquire_capability(__VA_ARGS__)) /* (what it returns then, role) */
#define KV_UNCHECKED        KV_ATTRIBUTE(no_thread_safety_analysis)

struct KV_CAPABILITY("role") kv_role {
    char unused;
};
extern struct kv_role kv_shard_held;
extern struct kv_role kv_epoch_held;
extern struct kv_role kv_hold_held;

/* A callback that runs under a shard's lock: it may compute, but not wait, do I/O or call a
 * kv_store function. */
#define KV_UNDER_LOCK KV_REQUIRES(kv_shard_held)

#endif
