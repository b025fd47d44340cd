/* acl_fuzz.c - words of ACL SETUSER, as a stranger may write them.
 *
 * Input: words, separated by newlines. Whatever they are: each is applied whole or not at all, and the user that comes out is
 * described by words that make the same user, through the very way that a file takes.
 *
 * SPDX-License-Identifier: MIT */
#include "acl_user.h"

#include <string.h>

#include "fuzz.h"

enum { words_max = 256 };

static const acl_options options = { .rules_max = 64 };

static int split(const char *text, size_t len, char by, kv_slice words[])
{
    const char *end = text + len;
    int n = 0;

    while (text < end && n < words_max) {
        const char *stop = memchr(text, by, (size_t)(end - text));

        stop = stop ? stop : end;
        words[n++] = kv_slice_of(text, (size_t)(stop - text));
        text = stop + 1;
    }
    return n;
}

static acl_user *new_user(void)
{
    acl_user *u = acl_user_new(KV_STR("u"), &options);

    must(u);
    return u;
}

/* Words that fail leave the user as he was. */
static void apply_each(acl_user *u, int count, const kv_slice words[])
{
    for (int i = 0; i < count; i++) {
        size_t before_len, after_len;
        char *before = acl_describe(u, &before_len), *after;
        acl_error err = acl_user_apply(u, words[i], &options);

        must(before);
        if (err) {
            must(acl_error_text(err)[0]);
            after = acl_describe(u, &after_len);
            must(after && after_len == before_len && memcmp(before, after, after_len) == 0);
            free(after);
        }
        free(before);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kv_slice words[words_max];
    acl_user *u = new_user(), *again = new_user(), *copy;
    acl_failure failure;
    size_t len, again_len;
    char *text, *again_text;
    int n;

    apply_each(u, split((const char *)data, size, '\n', words), words);
    text = acl_describe(u, &len);
    must(text && memchr(text, '\n', len) == NULL);
    n = split(text, len, ' ', words);
    if (n < words_max) {
        must(acl_user_apply_all(again, n - 1, words + 1, &options, &failure));
        again_text = acl_describe(again, &again_len);
        must(again_text && again_len == len && memcmp(text, again_text, len) == 0);
        free(again_text);
    }
    copy = acl_user_copy(u);
    must(copy && acl_user_rules(copy) == acl_user_rules(u));
    free(text);
    acl_user_unref(copy);
    acl_user_unref(again);
    acl_user_unref(u);
    return 0;
}
