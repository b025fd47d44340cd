/* slab_test.c - blocks: size, alignment, no overlap, and memory that goes back. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "domain.h"

/* An allocator that counts, and fails when told. */
typedef struct counter {
    size_t bytes, calls, fail_from;
} counter;

static void *counted_alloc(void *arg, size_t size, size_t alignment)
{
    counter *c = arg;
    void *memory;

    if (++c->calls >= c->fail_from && c->fail_from)
        return NULL;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    c->bytes += size;
    return memory;
}

static void counted_free(void *arg, void *memory, size_t size)
{
    counter *c = arg;

    c->bytes -= size;
    free(memory);
}

static kv_domain *counted_domain(counter *c)
{
    kv_allocator allocator = { counted_alloc, counted_free, c };
    kv_domain_options options = { .allocator = &allocator };

    return kv_domain_new(&options);
}

static void a_block_is_as_large_as_asked_and_hardly_larger(void **state)
{
    (void)state;
    for (size_t size = 1; size <= SLAB_MAX; size++) {
        size_t block = slab_block_size(size);

        assert_true(block >= size);
        assert_true(block <= (size <= 16 ? 16 : size <= 256 ? size + 7 : size + size / 4));
    }
}

static void blocks_do_not_overlap(void **state)
{
    enum { N = 3000 };
    static unsigned char *blocks[N];
    kv_domain *domain = kv_domain_new(NULL);

    (void)state;
    assert_non_null(domain);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) {
            size_t size = 1 + i * 7919 % SLAB_MAX;

            blocks[i] = slab_alloc(domain, size);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % (slab_block_size(size) % 64 ? 8 : 64), 0);
            memset(blocks[i], (int)(i & 255), size);
        }
        for (size_t i = 0; i < N; i++) {
            size_t size = 1 + i * 7919 % SLAB_MAX;

            assert_int_equal(blocks[i][0], i & 255);
            assert_int_equal(blocks[i][size - 1], i & 255);
            slab_free(domain, blocks[i], size);
        }
    }
    kv_domain_unref(domain);
}

static void a_small_block_wastes_less_than_half_a_byte(void **state)
{
    enum { N = 200000 };
    static const size_t sizes[] = { 40, 64 };

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        kv_domain *domain = kv_domain_new(NULL);
        domain_memory memory;
        void **blocks = malloc(N * sizeof *blocks);

        assert_true(domain && blocks);
        for (size_t i = 0; i < N; i++)
            assert_non_null(blocks[i] = slab_alloc(domain, sizes[s]));
        domain_read_memory(domain, &memory);
        assert_true((double)memory.slab_bytes / N < (double)sizes[s] + 0.5);
        for (size_t i = 0; i < N; i++)
            slab_free(domain, blocks[i], sizes[s]);
        free(blocks);
        kv_domain_unref(domain);
    }
}

static void freed_pages_go_back_to_the_allocator(void **state)
{
    enum { N = 300000 };
    counter c = { 0 };
    kv_domain *domain = counted_domain(&c);
    void **blocks = malloc(N * sizeof *blocks);

    (void)state;
    assert_true(domain && blocks);
    for (size_t i = 0; i < N; i++)
        assert_non_null(blocks[i] = slab_alloc(domain, 64));
    size_t full = c.bytes;

    for (size_t i = 0; i < N; i++)
        slab_free(domain, blocks[i], 64);
    assert_true(full > N * 64);
    assert_true(c.bytes < full / 4);
    free(blocks);
    kv_domain_unref(domain);
    assert_int_equal(c.bytes, 0);
}

/* Pages of this process: what /proc/self/statm says of its address space and of what of it is resident. */
static void read_pages(size_t *ret_size, size_t *ret_resident)
{
    FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", ret_size, ret_resident), 2);
    fclose(file);
}

enum { mibs = 96, block = 64, blocks_max = (mibs << 20) / block };

/* Takes blocks of all those bytes, with a value of its own in each. */
static void take_blocks(kv_domain *domain, uint32_t *blocks[])
{
    for (uint32_t i = 0; i < blocks_max; i++) {
        assert_non_null(blocks[i] = slab_alloc(domain, block));
        *blocks[i] = i;
    }
}

/* Frees those whose number is no multiple of every, and sees that the others are what they were. */
static void free_most(kv_domain *domain, uint32_t *blocks[], uint32_t every)
{
    for (uint32_t i = 0; i < blocks_max; i++)
        if (!every || i % every)
            slab_free(domain, blocks[i], block);
    for (uint32_t i = 0; every && i < blocks_max; i += every)
        assert_int_equal(*blocks[i], i);
}

/* With a helper and without; a block in every 64 KiB stays, so that no chunk ever becomes empty. */
static void free_pages_go_back_to_the_kernel(void **state)
{
    uint32_t **blocks = malloc(blocks_max * sizeof *blocks);

    (void)state;
    assert_non_null(blocks);
    for (int helper = 0; helper < 2; helper++) {
        kv_domain_options options = { .helper = helper };
        kv_domain *domain = kv_domain_new(&options);
        size_t size, before, full, after;

        assert_non_null(domain);
        memset(blocks, 0, blocks_max * sizeof *blocks); /* so that they are resident before */
        read_pages(&size, &before);
        take_blocks(domain, blocks);
        read_pages(&size, &full);
        assert_true(full - before >= (mibs << 20) / 4096);
        free_most(domain, blocks, (64 << 10) / block);
        read_pages(&size, &after);
#ifndef KV_TSAN /* whose shadow stays */
        assert_true(after - before < (full - before) / 2);
#endif
        for (uint32_t i = 0; i < blocks_max; i++) /* what the kernel had is used again */
            if (i % ((64 << 10) / block)) {
                assert_non_null(blocks[i] = slab_alloc(domain, block));
                *blocks[i] = i;
            }
        free_most(domain, blocks, 1 << 20);
        kv_domain_unref(domain);
    }
    free(blocks);
}

/* All that is reserved, made ready or remembered for later. The first round warms up libc, its threads included. */
static void a_domain_leaves_no_address_space_behind(void **state)
{
    uint32_t **blocks = malloc(blocks_max * sizeof *blocks);
    size_t before = 0, after = 0, resident;

    (void)state;
    assert_non_null(blocks);
    for (int round = 0; round < 4; round++) {
        kv_domain_options options = { .helper = true };
        kv_domain *domain = kv_domain_new(&options);

        assert_non_null(domain);
        take_blocks(domain, blocks);
        free_most(domain, blocks, round % 2 ? 1 << 10 : 0);
        kv_domain_unref(domain);
        read_pages(&after, &resident);
        if (round == 0)
            before = after;
    }
    free(blocks);
    assert_true(after <= before + (16 << 20) / 4096);
}

static void an_empty_domain_is_small(void **state)
{
    counter c = { 0 };
    kv_domain *domain = counted_domain(&c);

    (void)state;
    assert_non_null(domain);
    assert_true(c.bytes <= 640);
    kv_domain_unref(domain);
    assert_int_equal(c.bytes, 0);
}

static void memory_that_is_out_is_told_and_comes_back(void **state)
{
    counter c = { 0 };
    kv_domain *domain = counted_domain(&c);
    void *blocks[8192];
    size_t n = 0;

    (void)state;
    assert_non_null(domain);
    c.fail_from = c.calls + 3; /* room for the pool and one small chunk */
    while (n < 8192 && (blocks[n] = slab_alloc(domain, 128)) != NULL)
        n++;
    assert_true(n > 100 && n < 8192);
    assert_null(slab_alloc(domain, 128));
    slab_free(domain, blocks[--n], 128);
    assert_non_null(blocks[n] = slab_alloc(domain, 128));
    c.fail_from = 0;
    assert_non_null(blocks[++n] = slab_alloc(domain, 128));
    for (size_t i = 0; i <= n; i++)
        slab_free(domain, blocks[i], 128);
    kv_domain_unref(domain);
    assert_int_equal(c.bytes, 0);
}

static void churn_at_constant_size_does_not_grow(void **state)
{
    enum { N = 20000 };
    counter c = { 0 };
    kv_domain *domain = counted_domain(&c);
    static void *blocks[N];
    static uint16_t sizes[N];
    uint32_t rng = 1;
    size_t before = 0;

    (void)state;
    assert_non_null(domain);
    for (size_t i = 0; i < 100 * N; i++) {
        size_t at = (rng = rng * 1664525 + 1013904223) >> 8, size;

        at %= N;
        size = 24 + (rng >> 4) % 100;
        if (blocks[at])
            slab_free(domain, blocks[at], sizes[at]);
        assert_non_null(blocks[at] = slab_alloc(domain, size));
        sizes[at] = (uint16_t)size;
        if (i == 20 * N)
            before = c.bytes;
    }
    assert_true(c.bytes <= before + before / 10);
    kv_domain_unref(domain);
    assert_int_equal(c.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_as_large_as_asked_and_hardly_larger),
        cmocka_unit_test(blocks_do_not_overlap),
        cmocka_unit_test(a_small_block_wastes_less_than_half_a_byte),
        cmocka_unit_test(freed_pages_go_back_to_the_allocator),
        cmocka_unit_test(free_pages_go_back_to_the_kernel),
        cmocka_unit_test(a_domain_leaves_no_address_space_behind),
        cmocka_unit_test(an_empty_domain_is_small),
        cmocka_unit_test(memory_that_is_out_is_told_and_comes_back),
        cmocka_unit_test(churn_at_constant_size_does_not_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
