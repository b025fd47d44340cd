/* acl_user_test.c - tests of acl_user.c, acl_rules.c, acl_describe.c and acl_check.c.
 *
 * SPDX-License-Identifier: MIT */
#include "acl_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const acl_options options = { .all_channels = false, .rules_max = 1000 };

/* A user made of rules, which end with NULL; all of them must be right. */
static acl_user *user_of(const char *const rules[])
{
    acl_user *u = acl_user_new(KV_STR("u"), &options);

    assert_non_null(u);
    for (; *rules; rules++)
        assert_int_equal(acl_user_apply(u, kv_str(*rules), &options), ACL_OK);
    return u;
}
#define USER(...) user_of((const char *const[]){ __VA_ARGS__, NULL })

static void expect_described(acl_user *u, const char *text)
{
    size_t len;
    char *got = acl_describe(u, &len);

    assert_non_null(got);
    assert_string_equal(got, text);
    free(got);
    acl_user_unref(u);
}

static acl_verdict verdict_of(const acl_user *u, const char *const words[], int *ret_position)
{
    kv_slice argv[16];
    int argc = 0;
    const kv_command *row, *sub;

    for (; words[argc]; argc++)
        argv[argc] = kv_str(words[argc]);
    row = kv_command_find(argv[0]);
    assert_non_null(row);
    sub = argc > 1 ? kv_command_find_sub(row, argv[1]) : NULL;
    return acl_check(u, sub ? sub : row, argc, argv, ret_position);
}
#define VERDICT(u, position, ...) verdict_of(u, (const char *const[]){ __VA_ARGS__, NULL }, position)

static void rules_add_up_to_a_line(void **state)
{
    (void)state;
    expect_described(USER("on", "+get"), "u on resetchannels -@all +get");
    expect_described(USER("~a", "%R~a", "%W~b", "%R~b", "&c", "&c"), "u off ~a ~b resetchannels &c -@all");
    expect_described(USER("+@all", "-get", "-config|set"), "u off resetchannels +@all -get -config|set");
    expect_described(USER("+@all", "-get", "+get"), "u off resetchannels +@all");
    expect_described(USER("+@transaction"), "u off resetchannels -@all +@transaction");
    expect_described(USER("+client|id", "+get|x", "-get"), "u off resetchannels -@all +client|id");
    expect_described(USER("(+get ~a)", "(%W~b &c)"),
                     "u off resetchannels -@all (~a resetchannels -@all +get) (%W~b resetchannels &c -@all)");
    expect_described(
        USER("nopass", ">a"),
        "u off #ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb resetchannels -@all");
}

/* Their line in a file would be another user's. */
static void what_a_line_cannot_say_is_refused(void **state)
{
    acl_user *u = USER("on");
    const char *const rules[] = {
        "+get|a b", "+get|a\n", "~a b", "&a b", "(~a) +get)", "(+get ~a))", "(~\"a)"
    };

    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        assert_int_equal(acl_user_apply(u, kv_str(rules[i]), &options), ACL_ESYNTAX);
    expect_described(u, "u on resetchannels -@all");
    expect_described(USER("+get|(a)", "~a)"), "u off ~a) resetchannels -@all +get|(a)");
}

/* What a rule says of commands that there will be must be there when they are. */
static void categories_without_commands_are_not_forgotten(void **state)
{
    unsigned some = 0;

    (void)state;
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        some |= kv_category_of(&kv_command_table[id]);
    for (int i = 0; i < KV_CATEGORY_COUNT; i++) {
        char rule[40], line[80];

        if (some & 1u << i)
            continue;
        snprintf(rule, sizeof rule, "-@%s", kv_category_name(i));
        snprintf(line, sizeof line, "u off resetchannels +@all %s", rule);
        expect_described(USER("+@all", rule), line);
        rule[0] = '+';
        snprintf(line, sizeof line, "u off resetchannels -@all %s +get", rule);
        expect_described(USER("+get", rule), line);
    }
}

static unsigned long next_random(unsigned long *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* A random rule about commands. */
static void random_rule(unsigned long *seed, char rule[100])
{
    char name[KV_COMMAND_NAME_MAX];
    unsigned long draw = next_random(seed) % 8;
    char sign = next_random(seed) % 2 ? '+' : '-';

    kv_command_name(&kv_command_table[next_random(seed) % KV_COMMAND_COUNT], name);
    if (draw == 0)
        snprintf(rule, 100, "%c@all", sign);
    else if (draw < 4)
        snprintf(rule, 100, "%c@%s", sign, kv_category_name((int)(next_random(seed) % KV_CATEGORY_COUNT)));
    else
        snprintf(rule, 100, "%c%s", sign, name);
}

/* A second user made of what the first is described as. */
static acl_user *read_back(const acl_user *u)
{
    size_t len;
    char *text = acl_describe(u, &len), *rest = text;
    acl_user *copy = acl_user_new(KV_STR("u"), &options);

    assert_non_null(copy);
    strsep(&rest, " ");
    for (char *word; (word = strsep(&rest, " "));)
        assert_int_equal(acl_user_apply(copy, kv_str(word), &options), ACL_OK);
    free(text);
    return copy;
}

static void a_description_gives_the_same_user(void **state)
{
    unsigned long seed = 20260101;

    (void)state;
    for (int round = 0; round < 300; round++) {
        acl_user *u = acl_user_new(KV_STR("u"), &options), *copy;
        unsigned long rules = next_random(&seed) % 12;
        char rule[100];

        while (rules--) {
            random_rule(&seed, rule);
            assert_int_equal(acl_user_apply(u, kv_str(rule), &options), ACL_OK);
        }
        copy = read_back(u);
        for (int id = 0; id < KV_COMMAND_COUNT; id++)
            assert_int_equal(acl_selector_allows(copy->selectors, id), acl_selector_allows(u->selectors, id));
        assert_int_equal(acl_selector_allows(copy->selectors, ACL_FUTURE),
                         acl_selector_allows(u->selectors, ACL_FUTURE));
        assert_int_equal(acl_user_unlimited(u), false);
        acl_user_unref(copy);
        acl_user_unref(u);
    }
}

static void a_copy_is_the_same_and_apart(void **state)
{
    acl_user *u = USER("on", ">p", "~a", "&b", "+get", "+select|1", "(+set ~c)"), *copy = acl_user_copy(u);

    (void)state;
    assert_non_null(copy);
    assert_int_equal(acl_user_apply(u, KV_STR("reset"), &options), ACL_OK);
    assert_true(acl_user_knows(copy, KV_STR("p")));
    assert_false(acl_user_knows(u, KV_STR("p")));
    acl_user_unref(u);
    expect_described(
        copy,
        "u on #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940 ~a resetchannels &b -@all "
        "+get +select|1 (~c resetchannels -@all +set)");
}

static void keys_are_checked_for_what_is_done_to_them(void **state)
{
    acl_user *u = USER("+@all", "%R~r", "%W~w", "~rw", "allchannels");
    int position;

    (void)state;
    assert_int_equal(VERDICT(u, &position, "get", "r"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "get", "w"), ACL_DENIED_KEY);
    assert_int_equal(position, 1);
    assert_int_equal(VERDICT(u, &position, "set", "w", "v"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "set", "w", "v", "get"), ACL_DENIED_KEY);
    assert_int_equal(VERDICT(u, &position, "set", "w", "v", "ifeq", "x"), ACL_DENIED_KEY);
    assert_int_equal(VERDICT(u, &position, "set", "rw", "v", "get"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "copy", "r", "w"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "copy", "w", "r"), ACL_DENIED_KEY);
    assert_int_equal(VERDICT(u, &position, "mset", "w", "v", "rw", "v", "r", "v"), ACL_DENIED_KEY);
    assert_int_equal(position, 5);
    assert_int_equal(VERDICT(u, &position, "exists", "w", "r"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "exists", "w", "x"), ACL_DENIED_KEY);
    assert_int_equal(VERDICT(u, &position, "object", "encoding", "x"), ACL_DENIED_KEY);
    assert_int_equal(position, 2);
    assert_int_equal(VERDICT(u, &position, "msetex", "x", "w", "v"), ACL_DENIED_KEY);
    assert_int_equal(position, 0);
    assert_int_equal(VERDICT(u, &position, "dbsize"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "migrate", "x", "1", "rw", "0", "5"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "migrate", "x", "1", "r", "0", "5"), ACL_DENIED_KEY);
    assert_int_equal(VERDICT(u, &position, "migrate", "x", "1", "", "0", "5", "keys", "rw"), ACL_ALLOWED);
    assert_int_equal(VERDICT(u, &position, "migrate", "x", "1", "", "0", "5", "auth", "keys", "KEYS", "rw"),
                     ACL_ALLOWED);
    assert_int_equal(
        VERDICT(u, &position, "migrate", "x", "1", "", "0", "5", "auth2", "a", "keys", "KEYS", "rw", "w"),
        ACL_DENIED_KEY);
    assert_int_equal(position, 11);
    assert_int_equal(VERDICT(u, &position, "exec", "ifeq", "r", "v", "xx", "w"), ACL_DENIED_KEY);
    assert_int_equal(position, 5);
    acl_user_unref(u);
}

/* Every row that has keys asks for them, whatever their place. */
static void no_command_with_keys_runs_for_who_has_none(void **state)
{
    acl_user *u = USER("+@all", "allchannels");

    (void)state;
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];
        kv_slice argv[8];
        int argc = row->arity < 0 ? -row->arity : row->arity, position;

        argc = argc > 8 ? 8 : argc < 7 && row->arity < 0 ? 7 : argc;
        for (int i = 0; i < argc; i++)
            argv[i] = KV_STR("1");
        if (row->keys.first && !(row->keys.flags & KV_KEY_NOT_KEY))
            assert_int_equal(acl_check(u, row, argc, argv, &position), ACL_DENIED_KEY);
        else
            assert_int_equal(acl_check(u, row, argc, argv, &position),
                             row->id == KV_COMMAND_exec ? ACL_DENIED_KEY : ACL_ALLOWED);
    }
    acl_user_unref(u);
}

static void who_may_do_everything_is_known(void **state)
{
    acl_user *u = USER("+@all", "~*", "&*");

    (void)state;
    assert_true(acl_user_unlimited(u));
    acl_user_apply(u, KV_STR("-get"), &options);
    assert_false(acl_user_unlimited(u));
    acl_user_apply(u, KV_STR("+get"), &options);
    assert_true(acl_user_unlimited(u));
    acl_user_apply(u, KV_STR("resetkeys"), &options);
    assert_false(acl_user_unlimited(u));
    acl_user_apply(u, KV_STR("(+@all ~* &*)"), &options);
    assert_true(acl_user_unlimited(u));
    acl_user_unref(u);
}

static void lists_have_a_limit(void **state)
{
    const acl_options few = { .rules_max = 2 };
    acl_user *u = acl_user_new(KV_STR("u"), &few);

    (void)state;
    assert_int_equal(acl_user_apply(u, KV_STR("~a"), &few), ACL_OK);
    assert_int_equal(acl_user_apply(u, KV_STR("~b"), &few), ACL_OK);
    assert_int_equal(acl_user_apply(u, KV_STR("~a"), &few), ACL_OK);
    assert_int_equal(acl_user_apply(u, KV_STR("~c"), &few), ACL_ETOOMANY);
    assert_int_equal(acl_user_apply(u, KV_STR("(~a ~b ~c)"), &few), ACL_ETOOMANY);
    assert_int_equal(acl_user_apply(u, KV_STR(">a"), &few), ACL_OK);
    assert_int_equal(acl_user_apply(u, KV_STR(">b"), &few), ACL_OK);
    assert_int_equal(acl_user_apply(u, KV_STR(">c"), &few), ACL_ETOOMANY);
    acl_user_unref(u);
}

/* The quick answer about a user is the whole one, for each row with these keys. */
static void expect_the_same_quickly(acl_user *u)
{
    static const char *const keys[] = { "app:1", "app:", "app", "ap", "b", "x*", "", "1" };
    int position;

    acl_user_quicken(u);
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];
        int arity = row->arity < 0 ? -row->arity + 2 : row->arity;

        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            kv_slice argv[16];

            for (int i = 0; i < arity && i < 16; i++)
                argv[i] = kv_str(keys[k]);
            if (acl_permits(u, row, arity, argv) !=
                (acl_check(u, row, arity, argv, &position) == ACL_ALLOWED))
                fail_msg("command %d, key \"%s\"", id, keys[k]);
        }
    }
    acl_user_unref(u);
}

static void what_is_known_beforehand_is_what_a_check_finds(void **state)
{
    acl_user *u;
    const kv_slice get[] = { KV_STR("GET"), KV_STR("app:1") };
    int position;

    (void)state;
    expect_the_same_quickly(USER("+@read", "~app:*"));
    expect_the_same_quickly(USER("+@all", "~app:*", "&b"));
    expect_the_same_quickly(USER("+@all", "%R~app:*", "%W~b", "~x\\*"));
    expect_the_same_quickly(USER("+@write", "~app:?"));
    expect_the_same_quickly(USER("allkeys", "+@all", "-get", "&*"));
    expect_the_same_quickly(USER("+get", "~[a]pp:*", "(+set ~b)", "(+publish &app*)"));
    expect_the_same_quickly(USER("+get|app:1", "~*"));
    u = USER("+get", "~*");
    acl_user_quicken(u);
    assert_true(acl_permits(u, kv_command_find(get[0]), 2, get));
    assert_int_equal(acl_user_apply(u, KV_STR("-get"), &options), ACL_OK); /* what was known is forgotten */
    assert_false(acl_permits(u, kv_command_find(get[0]), 2, get));
    assert_int_equal(acl_check(u, kv_command_find(get[0]), 2, get, &position), ACL_DENIED_COMMAND);
    acl_user_unref(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_add_up_to_a_line),
        cmocka_unit_test(what_a_line_cannot_say_is_refused),
        cmocka_unit_test(categories_without_commands_are_not_forgotten),
        cmocka_unit_test(a_description_gives_the_same_user),
        cmocka_unit_test(a_copy_is_the_same_and_apart),
        cmocka_unit_test(keys_are_checked_for_what_is_done_to_them),
        cmocka_unit_test(no_command_with_keys_runs_for_who_has_none),
        cmocka_unit_test(who_may_do_everything_is_known),
        cmocka_unit_test(lists_have_a_limit),
        cmocka_unit_test(what_is_known_beforehand_is_what_a_check_finds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
