/* pack_test.c - a handful of fields in one block. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "pack.h"
#include "redis_abi.h"

static pack_field field(const char *name, const char *value, int64_t deadline_ms, uint64_t version)
{
    return (pack_field){ kv_str(name), kv_str(value), deadline_ms, version };
}

static void assert_same(const pack_field *a, const pack_field *b)
{
    assert_true(kv_slice_equal(a->name, b->name));
    assert_true(kv_slice_equal(a->value, b->value));
    assert_true(a->deadline_ms == b->deadline_ms);
    assert_true(a->version == b->version);
}

static void what_is_packed_comes_back(void **state)
{
    const pack_field fields[] = {
        field("name", "Ada", KV_FOREVER, 7),
        field("", "", 1, 1),
        field("session", "0123456789", 1700000000000, UINT64_MAX - 1),
    };
    size_t at = 0;
    pack_field got;
    pack *p;

    (void)state;
    assert_int_equal(pack_new(fields, 3, UINT64_MAX, &p), 0);
    assert_int_equal(p->count, 3);
    assert_true(p->version == UINT64_MAX);
    assert_true(p->next_deadline_ms == 1);
    for (size_t i = 0; i < 3; i++) {
        assert_true(pack_next(p, &at, &got));
        assert_same(&got, &fields[i]);
    }
    assert_false(pack_next(p, &at, &got));
    pack_free(p);
}

static void lengths_at_the_edges_of_their_encoding_come_back(void **state)
{
    static const size_t lengths[] = { 0, 1, 127, 128, 129, 255, 256, 500 };
    char bytes[512];

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (unsigned shift = 0; shift < 64; shift += 7) {
            pack_field one = { kv_slice_of(bytes, lengths[i]), kv_slice_of(bytes, 500 - lengths[i]),
                               KV_FOREVER, UINT64_MAX - ((uint64_t)1 << shift) };
            size_t at = 0;
            pack_field got;
            pack *p, *copy;

            assert_int_equal(pack_new(&one, 1, UINT64_MAX, &p), 0);
            copy = pack_copy(p);
            pack_free(p);
            assert_true(pack_next(copy, &at, &got));
            assert_same(&got, &one);
            assert_int_equal(at, copy->bytes);
            pack_free(copy);
        }
    }
}

static void too_much_is_no_pack(void **state)
{
    char *big = calloc(1, PACK_BYTES_MAX + 1);
    pack_field fields[2] = { { kv_slice_of(big, PACK_BYTES_MAX + 1), KV_STR(""), KV_FOREVER, 1 },
                             { KV_STR("b"), kv_slice_of(big, PACK_BYTES_MAX / 2), KV_FOREVER, 1 } };
    pack *p = NULL;

    (void)state;
    assert_int_equal(pack_new(fields, 1, 1, &p), KV_ETOOBIG);
    fields[0] = (pack_field){ KV_STR("a"), kv_slice_of(big, PACK_BYTES_MAX / 2), KV_FOREVER, 1 };
    assert_int_equal(pack_new(fields, 1, 1, &p), 0);
    pack_free(p);
    assert_int_equal(pack_new(fields, 2, 1, &p), KV_ETOOBIG);
    free(big);
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

static void without_memory_there_is_no_pack(void **state)
{
    pack_field one = field("a", "b", KV_FOREVER, 1);
    pack *p = NULL, *kept;

    (void)state;
    assert_int_equal(pack_new(&one, 1, 1, &kept), 0);
    rm.TryAlloc = no_memory;
    assert_int_equal(pack_new(&one, 1, 1, &p), KV_ENOMEM);
    assert_null(pack_copy(kept));
    rm.TryAlloc = NULL;
    pack_free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(lengths_at_the_edges_of_their_encoding_come_back),
        cmocka_unit_test(too_much_is_no_pack),
        cmocka_unit_test(without_memory_there_is_no_pack),
    };

    rm.Alloc = malloc;
    rm.Free = free;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
