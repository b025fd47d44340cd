/* sha256_test.c - both hashes against the vectors of FIPS 180-4's examples, and against each other.
 *
 * SPDX-License-Identifier: MIT */
#include "sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_digest(const char *digits, const void *data, size_t len)
{
    void (*const hashes[])(const void *, size_t, unsigned char[SHA256_BYTES]) = { sha256, sha256_plain };

    for (int i = 0; i < 2; i++) {
        unsigned char digest[SHA256_BYTES];
        char text[2 * SHA256_BYTES + 1];

        hashes[i](data, len, digest);
        for (size_t j = 0; j < SHA256_BYTES; j++)
            snprintf(text + 2 * j, 3, "%02x", digest[j]);
        assert_string_equal(text, digits);
    }
}

static void the_examples_of_the_standard(void **state)
{
    char *million = malloc(1000000);

    (void)state;
    expect_digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "", 0);
    expect_digest("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc", 3);
    expect_digest("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
                  "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    expect_digest("cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
                  "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlm"
                  "nopqrsmnopqrst"
                  "nopqrstu",
                  112);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    expect_digest("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", million, 1000000);
    free(million);
}

/* Around the ends of blocks lies what padding can get wrong. */
static void both_agree_on_every_length(void **state)
{
    unsigned char data[300], one[SHA256_BYTES], other[SHA256_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + 1);
    for (size_t len = 0; len <= sizeof data; len++) {
        sha256(data, len, one);
        sha256_plain(data, len, other);
        assert_memory_equal(one, other, SHA256_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_standard),
        cmocka_unit_test(both_agree_on_every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
