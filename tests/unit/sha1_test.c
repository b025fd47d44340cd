/* sha1_test.c - the examples of RFC 3174, and every length around the ends of a block.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "sha1.h"

static void expect_hash(kv_slice data, const char *hex)
{
    unsigned char hash[SHA1_BYTES];
    char text[2 * SHA1_BYTES + 1];

    sha1(data, hash);
    for (int i = 0; i < SHA1_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(text, hex);
}

static void the_examples_of_the_standard(void **state)
{
    (void)state;
    expect_hash(KV_STR(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect_hash(KV_STR("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect_hash(KV_STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

/* The hashes of "aaa..." of 55, 56, 63, 64, 65, 119, 120 and 1000 bytes, by sha1sum. */
static void lengths_at_the_ends_of_blocks(void **state)
{
    static const struct {
        size_t len;
        const char *hex;
    } cases[] = {
        { 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a" },
        { 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699" },
        { 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5" },
        { 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d" },
        { 65, "11655326c708d70319be2610e8a57d9a5b959d3b" },
        { 119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56" },
        { 120, "f34c1488385346a55709ba056ddd08280dd4c6d6" },
        { 1000, "291e9a6c66994949b57ba5e650361e98fc36b1ba" },
    };
    char text[1000];

    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_hash(kv_slice_of(text, cases[i].len), cases[i].hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_standard),
        cmocka_unit_test(lengths_at_the_ends_of_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
