/* command_table_test.c - rows, and how names find them. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>

#include "command.h"

/* ---- a sink that keeps the last error ---- */

struct catcher {
    kv_reply reply;
    char error[600];
};

static void catch_error(kv_reply *reply, kv_slice text)
{
    struct catcher *c = (struct catcher *)reply;

    assert_true(text.len < sizeof c->error);
    snprintf(c->error, sizeof c->error, "%.*s", (int)text.len, text.data);
}

static const kv_reply_ops catcher_ops = { .error = catch_error };

/* The row that the words run; its error, if there is none, is in c. */
static const kv_command *resolve(struct catcher *c, int argc, const char *const words[])
{
    kv_slice argv[16];

    for (int i = 0; i < argc; i++)
        argv[i] = kv_str(words[i]);
    *c = (struct catcher){ .reply = { .ops = &catcher_ops, .protocol = 2 } };
    return kv_command_resolve(argc, argv, &c->reply);
}

#define WORDS(...)                                                                              \
    (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)), (const char *const[]) \
    {                                                                                           \
        __VA_ARGS__                                                                             \
    }

/* ---- the rows ---- */

static void every_row_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < KV_COMMAND_COUNT; i++) {
        const kv_command *row = &kv_command_table[i];
        bool container = i + 1 < KV_COMMAND_COUNT && row[1].container && !row->container;

        assert_int_equal(row->id, i);
        assert_non_null(row->name);
        assert_int_not_equal(row->arity, 0);
        assert_non_null(row->group);
        assert_non_null(row->since);
        assert_non_null(row->summary);
        if (row->container) /* stands behind its container */
            assert_true(strcmp(row[-1].container ? row[-1].container : row[-1].name, row->container) == 0);
        if (!container || row->run) /* the host runs what has no function */
            assert_int_equal(row->run == NULL, (row->flags & KV_CMD_SESSION) != 0);
        assert_false((row->flags & KV_CMD_WRITE) && (row->flags & KV_CMD_READONLY));
        if (row->flags & KV_CMD_MOVABLEKEYS)
            assert_true(row->keys.numkeys > 0 || row->keys2.keyword);
        if (row->keys.first)
            assert_true(row->keys.step > 0 && row->keys.flags != 0);
    }
}

static void every_name_finds_its_row_in_any_case(void **state)
{
    (void)state;
    for (int i = 0; i < KV_COMMAND_COUNT; i++) {
        const kv_command *row = &kv_command_table[i];
        char upper[32], mixed[32];
        size_t len = strlen(row->name);

        if (row->container)
            continue;
        for (size_t j = 0; j <= len; j++) {
            upper[j] = (char)toupper((unsigned char)row->name[j]);
            mixed[j] = j % 2 ? upper[j] : row->name[j];
        }
        assert_ptr_equal(kv_command_find(kv_str(row->name)), row);
        assert_ptr_equal(kv_command_find(kv_str(upper)), row);
        assert_ptr_equal(kv_command_find(kv_str(mixed)), row);
    }
}

static void other_names_find_nothing(void **state)
{
    static const char *const names[] = { "",
                                         "g",
                                         "ge",
                                         "gett",
                                         "g\x05t",
                                         "G@T",
                                         "ge\x14",
                                         "se",
                                         "sett",
                                         "del ",
                                         "incrbyfloa",
                                         "incrbyfloatt",
                                         "a123456789012345",
                                         "a1234567890123456789",
                                         "encoding",
                                         "object|encoding" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_null(kv_command_find(kv_str(names[i])));
    assert_null(kv_command_find(kv_slice_of("get\0", 4)));
    assert_null(kv_command_find(kv_slice_of("\0\0\0", 3)));
}

/* One byte of a name replaced by each of the others: found exactly if it is the same letter. */
static void a_name_off_by_one_byte_is_another(void **state)
{
    (void)state;
    for (int i = 0; i < KV_COMMAND_COUNT; i++) {
        const kv_command *row = &kv_command_table[i];
        size_t len = strlen(row->name);
        char name[32];

        if (row->container)
            continue;
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                const kv_command *found;

                memcpy(name, row->name, len);
                name[at] = (char)byte;
                found = kv_command_find(kv_slice_of(name, len));
                if (byte < 128 && tolower(byte) == row->name[at])
                    assert_ptr_equal(found, row);
                else
                    assert_ptr_not_equal(found, row);
            }
        }
    }
}

/* ---- resolving ---- */

static void a_container_hands_over_to_its_subcommand(void **state)
{
    struct catcher c;

    (void)state;
    assert_int_equal(resolve(&c, WORDS("OBJECT", "Encoding", "k"))->id, KV_COMMAND_object_encoding);
    assert_int_equal(resolve(&c, WORDS("client", "no-evict", "on"))->id, KV_COMMAND_client_no_evict);
    assert_int_equal(resolve(&c, WORDS("command"))->id, KV_COMMAND_command);
    assert_int_equal(resolve(&c, WORDS("command", "count"))->id, KV_COMMAND_command_count);
}

static void errors_are_redis_words(void **state)
{
    struct catcher c;

    (void)state;
    assert_null(resolve(&c, WORDS("foo", "a", "b")));
    assert_string_equal(c.error, "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    assert_null(resolve(&c, WORDS("foo")));
    assert_string_equal(c.error, "ERR unknown command 'foo', with args beginning with: ");
    assert_null(resolve(&c, WORDS("client", "x")));
    assert_string_equal(c.error, "ERR unknown subcommand 'x'. Try CLIENT HELP.");
    assert_null(resolve(&c, WORDS("Get")));
    assert_string_equal(c.error, "ERR wrong number of arguments for 'get' command");
    assert_null(resolve(&c, WORDS("client", "KILL")));
    assert_string_equal(c.error, "ERR wrong number of arguments for 'client|kill' command");
    assert_null(resolve(&c, WORDS("client")));
    assert_string_equal(c.error, "ERR wrong number of arguments for 'client' command");
}

static void errors_repeat_no_more_than_128_bytes(void **state)
{
    char longer[301], expected[600];
    struct catcher c;

    (void)state;
    memset(longer, 'x', 300);
    longer[300] = '\0';
    assert_null(resolve(&c, WORDS(longer, "a", longer, "never")));
    snprintf(expected, sizeof expected,
             "ERR unknown command '%.128s', with args beginning with: 'a' '%.124s' ", longer, longer);
    assert_string_equal(c.error, expected);
    assert_null(resolve(&c, WORDS("client", longer)));
    snprintf(expected, sizeof expected, "ERR unknown subcommand '%.128s'. Try CLIENT HELP.", longer);
    assert_string_equal(c.error, expected);
}

/* ---- keys ---- */

static int keys_of(const char *expected, int argc, const char *const words[])
{
    kv_slice argv[16];
    int positions[16], count;
    char got[200] = "";
    struct catcher c;
    const kv_command *row = resolve(&c, argc, words);

    assert_non_null(row);
    for (int i = 0; i < argc; i++)
        argv[i] = kv_str(words[i]);
    count = kv_command_keys(row, argc, argv, positions, 16);
    for (int i = 0; i < count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%d ", positions[i]);
    assert_string_equal(got, expected);
    return count;
}

static void keys_stand_where_the_row_says(void **state)
{
    (void)state;
    keys_of("1 ", WORDS("get", "a"));
    keys_of("1 2 3 ", WORDS("del", "a", "b", "a"));
    keys_of("1 3 ", WORDS("mset", "a", "1", "b", "2"));
    keys_of("1 2 ", WORDS("copy", "a", "b", "replace"));
    keys_of("1 2 ", WORDS("lcs", "a", "b", "len"));
    keys_of("2 ", WORDS("object", "encoding", "a"));
    keys_of("2 4 ", WORDS("msetex", "2", "a", "1", "b", "2", "nx"));
    keys_of("", WORDS("ping"));
    keys_of("", WORDS("swapdb", "0", "1"));
}

static void a_wrong_number_of_keys_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(keys_of("", WORDS("msetex", "3", "a", "1", "b", "2")), KV_EINVAL);
    assert_int_equal(keys_of("", WORDS("msetex", "0", "a", "1")), KV_EINVAL);
    assert_int_equal(keys_of("", WORDS("msetex", "-1", "a", "1")), KV_EINVAL);
    assert_int_equal(keys_of("", WORDS("msetex", "x", "a", "1")), KV_EINVAL);
    assert_int_equal(keys_of("", WORDS("msetex", "9223372036854775807", "a", "1")), KV_EINVAL);
}

static void more_keys_than_room_are_counted(void **state)
{
    kv_slice argv[] = { KV_STR("del"), KV_STR("a"), KV_STR("b"), KV_STR("c") };
    int positions[2] = { 0, 0 };

    (void)state;
    assert_int_equal(kv_command_keys(kv_command_find(argv[0]), 4, argv, positions, 2), 3);
    assert_int_equal(positions[0], 1);
    assert_int_equal(positions[1], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(every_name_finds_its_row_in_any_case),
        cmocka_unit_test(other_names_find_nothing),
        cmocka_unit_test(a_name_off_by_one_byte_is_another),
        cmocka_unit_test(a_container_hands_over_to_its_subcommand),
        cmocka_unit_test(errors_are_redis_words),
        cmocka_unit_test(errors_repeat_no_more_than_128_bytes),
        cmocka_unit_test(keys_stand_where_the_row_says),
        cmocka_unit_test(a_wrong_number_of_keys_is_an_error),
        cmocka_unit_test(more_keys_than_room_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
