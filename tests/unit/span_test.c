/* span_test.c - spans of lines: no overlap, little left over, and memory that goes back. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "domain.h"
#include "span.h"

#define SPANS 12000

static uint64_t rng = 1;

static size_t draw(size_t below)
{
    rng ^= rng >> 12; /* xorshift64* (Vigna 2016) */
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (size_t)((rng * 0x2545f4914f6cdd1d) >> 32) * below >> 32;
}

static size_t allocated(kv_domain *domain)
{
    domain_memory memory;

    domain_read_memory(domain, &memory);
    return memory.allocated_bytes;
}

typedef struct piece {
    unsigned char *at;
    size_t lines;
    unsigned char mark;
} piece;

static piece piece_new(kv_domain *domain, size_t lines)
{
    piece p = { span_alloc(domain, lines), lines, (unsigned char)draw(256) };

    assert_non_null(p.at);
    assert_int_equal((uintptr_t)p.at % SPAN_LINE, 0);
    memset(p.at, p.mark, lines * SPAN_LINE);
    return p;
}

static void piece_free(kv_domain *domain, piece p)
{
    for (size_t i = 0; i < p.lines * SPAN_LINE; i++)
        assert_int_equal(p.at[i], p.mark);
    span_free(domain, p.at, p.lines);
}

static void spans_of_all_sizes_keep_what_is_in_them(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    static piece pieces[300];
    size_t empty = allocated(domain);

    (void)state;
    for (size_t i = 0; i < 300; i++)
        pieces[i] = piece_new(domain, 2 + draw(SPAN_MAX - 1));
    for (int i = 0; i < 5000; i++) {
        piece *p = &pieces[draw(300)];

        piece_free(domain, *p);
        *p = piece_new(domain, 2 + draw(SPAN_MAX - 1));
    }
    for (size_t i = 0; i < 300; i++)
        piece_free(domain, pieces[i]);
    span_trim(domain);
    assert_true(allocated(domain) - empty < 16384);
    kv_domain_unref(domain);
}

/* As the segments of a growing map do: each is replaced by how_many of another length, in any order. Tells what is had for
 * each byte in use. */
static double replace_all(kv_domain *domain, size_t n, size_t from, size_t to, size_t how_many)
{
    static void *old[SPANS];
    size_t before = allocated(domain);

    for (size_t i = 0; i < n; i++)
        old[i] = span_alloc(domain, from);
    for (size_t left = n; left > 0; left--) {
        size_t i = draw(left);

        for (size_t k = 0; k < how_many; k++)
            assert_non_null(span_alloc(domain, to));
        span_free(domain, old[i], from);
        old[i] = old[left - 1];
    }
    return (double)(allocated(domain) - before) / (double)(n * how_many * to * SPAN_LINE);
}

static void lengths_that_give_way_to_others_leave_few_rests(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);

    (void)state;
    assert_true(replace_all(domain, SPANS, 90, 60, 2) < 1.05);
    kv_domain_unref(domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_of_all_sizes_keep_what_is_in_them),
        cmocka_unit_test(lengths_that_give_way_to_others_leave_few_rests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
