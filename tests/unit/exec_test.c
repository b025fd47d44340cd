/* exec_test.c - kv_exec and the trees it gives. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "kvstore/kvstore.h"

#define NOW 1700000000000

/* The words, separated by single spaces, as one command. */
static kv_value *run(kv_store *store, const char *line)
{
    kv_slice argv[16];
    kv_value *reply = NULL;
    int argc = 0;

    for (const char *p = line; p; argc++) {
        const char *space = strchr(p, ' ');

        argv[argc] = kv_slice_of(p, space ? (size_t)(space - p) : strlen(p));
        p = space ? space + 1 : NULL;
    }
    assert_int_equal(kv_exec(store, argc, argv, &reply, NOW), 0);
    assert_non_null(reply);
    return reply;
}

static void expect_text(kv_store *store, kv_reply_type type, const char *text, const char *line)
{
    kv_value *reply = run(store, line);

    assert_int_equal(reply->type, type);
    assert_string_equal(reply->text.data, text); /* it ends with a NUL */
    assert_int_equal(reply->text.len, strlen(text));
    kv_value_free(reply);
}

static void expect_int(kv_store *store, int64_t expected, const char *line)
{
    kv_value *reply = run(store, line);

    assert_int_equal(reply->type, KV_REPLY_INT);
    assert_int_equal(reply->integer, expected);
    kv_value_free(reply);
}

static int open_store(void **state)
{
    *state = kv_store_new(NULL);
    return *state ? 0 : -1;
}

static int open_actor(void **state)
{
    *state = kv_store_new(&(kv_store_options){ .sharing = KV_SHARING_ACTOR });
    return *state ? 0 : -1;
}

static int close_store(void **state)
{
    kv_store_unref(*state);
    return 0;
}

static void replies_have_their_types(void **state)
{
    kv_store *store = *state;
    kv_value *reply;

    expect_text(store, KV_REPLY_SIMPLE, "OK", "SET k v");
    expect_text(store, KV_REPLY_BULK, "v", "get k");
    expect_int(store, 1, "STRLEN k");
    reply = run(store, "GET absent");
    assert_int_equal(reply->type, KV_REPLY_NULL);
    kv_value_free(reply);
    expect_text(store, KV_REPLY_ERROR, "ERR value is not an integer or out of range", "INCR k");
}

static void arrays_are_trees(void **state)
{
    kv_store *store = *state;
    kv_value *reply;

    kv_value_free(run(store, "MSET a 1 b 22"));
    reply = run(store, "MGET a nope b");
    assert_int_equal(reply->type, KV_REPLY_ARRAY);
    assert_int_equal(reply->count, 3);
    assert_string_equal(reply->elements[0].text.data, "1");
    assert_int_equal(reply->elements[1].type, KV_REPLY_NULL);
    assert_string_equal(reply->elements[2].text.data, "22");
    kv_value_free(reply);

    kv_value_free(run(store, "MSET x ohmytext y mynewtext"));
    reply = run(store, "LCS x y IDX WITHMATCHLEN");
    assert_int_equal(reply->type, KV_REPLY_MAP);
    assert_int_equal(reply->count, 4);
    assert_string_equal(reply->elements[0].text.data, "matches");
    assert_int_equal(reply->elements[1].count, 2);
    assert_int_equal(reply->elements[1].elements[0].elements[0].elements[0].integer, 4);
    assert_int_equal(reply->elements[1].elements[0].elements[2].integer, 4);
    assert_int_equal(reply->elements[3].integer, 6);
    kv_value_free(reply);
}

static void an_empty_array_has_no_elements(void **state)
{
    kv_value *reply = run(*state, "KEYS nothing*");

    assert_int_equal(reply->type, KV_REPLY_ARRAY);
    assert_int_equal(reply->count, 0);
    assert_null(reply->elements);
    kv_value_free(reply);
    reply = run(*state, "SCAN 0");
    assert_int_equal(reply->count, 2);
    assert_string_equal(reply->elements[0].text.data, "0");
    assert_int_equal(reply->elements[1].count, 0);
    kv_value_free(reply);
}

static size_t count_nodes(const kv_value *value)
{
    size_t nodes = 1;

    for (size_t i = 0; i < value->count; i++)
        nodes += count_nodes(&value->elements[i]);
    return nodes;
}

/* Deep and wide: every row with its arguments, and subcommands in maps. */
static void the_documentation_of_all_commands_fits(void **state)
{
    kv_value *docs = run(*state, "COMMAND DOCS"), *info = run(*state, "COMMAND");

    assert_int_equal(docs->type, KV_REPLY_MAP);
    assert_int_equal(docs->count, 2 * info->count);
    assert_true(count_nodes(docs) > 1500);
    assert_int_equal(info->elements[0].count, 10);
    assert_int_equal(info->elements[0].elements[2].type, KV_REPLY_SET);
    kv_value_free(docs);
    kv_value_free(info);
}

static void a_million_bytes_come_whole(void **state)
{
    enum { len = 1000000 };
    char *big = malloc(len);
    kv_slice set[] = { KV_STR("SET"), KV_STR("big"), kv_slice_of(big, len) };
    kv_value *reply;

    assert_non_null(big);
    for (int i = 0; i < len; i++)
        big[i] = (char)(i * 31);
    assert_int_equal(kv_exec(*state, 3, set, &reply, NOW), 0);
    kv_value_free(reply);
    reply = run(*state, "GETSET big small");
    assert_int_equal(reply->text.len, len);
    assert_memory_equal(reply->text.data, big, len);
    assert_int_equal(reply->text.data[len], 0);
    kv_value_free(reply);
    expect_text(*state, KV_REPLY_BULK, "small", "GETDEL big");
    free(big);
}

static void many_keys_come_at_once(void **state)
{
    kv_store *store = *state;
    enum { keys = 5000 };
    kv_slice mget[keys + 1] = { KV_STR("MGET") };
    static char names[keys][16];
    kv_value *reply;

    for (int i = 0; i < keys; i++) {
        snprintf(names[i], sizeof names[i], "key:%d", i);
        mget[i + 1] = kv_str(names[i]);
        assert_int_equal(kv_store_set(store, kv_str(names[i]), kv_str(names[i]), NULL, NOW, NULL), 0);
    }
    assert_int_equal(kv_exec(store, keys + 1, mget, &reply, NOW), 0);
    assert_int_equal(reply->count, keys);
    for (int i = 0; i < keys; i++)
        assert_string_equal(reply->elements[i].text.data, names[i]);
    kv_value_free(reply);
    reply = run(store, "KEYS key:*");
    assert_int_equal(reply->count, keys);
    kv_value_free(reply);
}

static void what_needs_a_server_says_so(void **state)
{
    expect_text(*state, KV_REPLY_ERROR, "ERR 'ping' is a command of servers only", "PING");
    expect_text(*state, KV_REPLY_ERROR, "ERR 'client|id' is a command of servers only", "CLIENT ID");
    expect_text(*state, KV_REPLY_ERROR, "ERR unknown command 'NOPE', with args beginning with: 'x' ",
                "NOPE x");
    expect_text(*state, KV_REPLY_ERROR, "ERR wrong number of arguments for 'get' command", "GET");
    expect_text(*state, KV_REPLY_ERROR, "ERR DB index is out of range", "MOVE k 1");
    expect_text(*state, KV_REPLY_ERROR, "ERR source and destination objects are the same", "MOVE k 0");
}

static void no_words_are_no_command(void **state)
{
    kv_value *reply = NULL;

    assert_int_equal(kv_exec(*state, 0, NULL, &reply, NOW), KV_EINVAL);
    assert_null(reply);
    kv_value_free(NULL);
}

static void a_reply_outlives_the_store(void **state)
{
    kv_store *store = kv_store_new(NULL);
    kv_value *reply;

    (void)state;
    assert_non_null(store);
    kv_value_free(run(store, "SET k value"));
    reply = run(store, "GET k");
    kv_store_unref(store);
    assert_string_equal(reply->text.data, "value");
    kv_value_free(reply);
}

static void random_keys_differ_at_one_moment(void **state)
{
    char first[32];
    bool differs = false;

    kv_value_free(run(*state, "MSET a 1 b 2 c 3 d 4 e 5 f 6"));
    kv_value *reply = run(*state, "RANDOMKEY");
    snprintf(first, sizeof first, "%s", reply->text.data);
    kv_value_free(reply);
    for (int i = 0; i < 200 && !differs; i++) {
        reply = run(*state, "RANDOMKEY");
        differs = strcmp(first, reply->text.data) != 0;
        kv_value_free(reply);
    }
    assert_true(differs);
}

/* ---- several as one act ---- */

/* Lines as commands; the words stay where they are. */
struct lines {
    kv_exec_command commands[8];
    kv_slice words[8][8];
    size_t count;
};

static void add_line(struct lines *l, const char *line)
{
    int argc = 0;

    for (const char *p = line; p; argc++) {
        const char *space = strchr(p, ' ');

        l->words[l->count][argc] = kv_slice_of(p, space ? (size_t)(space - p) : strlen(p));
        p = space ? space + 1 : NULL;
    }
    l->commands[l->count] = (kv_exec_command){ argc, l->words[l->count] };
    l->count++;
}

static int run_many(kv_store *store, const struct lines *l, const kv_exec_check *check, kv_value **ret_reply,
                    size_t *ret_refused)
{
    kv_transaction t = {
        .command_count = l->count, .commands = l->commands, .check_count = check != NULL, .checks = check
    };

    *ret_reply = NULL;
    return kv_exec_many(store, &t, ret_reply, ret_refused, NOW);
}

static void several_commands_give_an_array(void **state)
{
    struct lines l = { .count = 0 };
    kv_value *reply;

    add_line(&l, "SET a 1");
    add_line(&l, "INCRBY a 4");
    add_line(&l, "MSET b 2 c 3 d 4");
    add_line(&l, "MGET a b nope");
    add_line(&l, "INCR text");
    add_line(&l, "DBSIZE");
    add_line(&l, "KEYS d*");
    kv_value_free(run(*state, "SET text x"));
    assert_int_equal(run_many(*state, &l, NULL, &reply, NULL), 0);
    assert_int_equal(reply->type, KV_REPLY_ARRAY);
    assert_int_equal(reply->count, 7);
    assert_string_equal(reply->elements[0].text.data, "OK");
    assert_int_equal(reply->elements[1].integer, 5);
    assert_int_equal(reply->elements[3].count, 3);
    assert_string_equal(reply->elements[3].elements[0].text.data, "5");
    assert_int_equal(reply->elements[3].elements[2].type, KV_REPLY_NULL);
    assert_int_equal(reply->elements[4].type, KV_REPLY_ERROR);
    assert_int_equal(reply->elements[5].integer, 5);
    assert_string_equal(reply->elements[6].elements[0].text.data, "d");
    kv_value_free(reply);
}

static void no_commands_give_an_empty_array(void **state)
{
    struct lines l = { .count = 0 };
    kv_value *reply;

    assert_int_equal(run_many(*state, &l, NULL, &reply, NULL), 0);
    assert_int_equal(reply->type, KV_REPLY_ARRAY);
    assert_int_equal(reply->count, 0);
    kv_value_free(reply);
}

static void a_command_that_cannot_run_refuses_all(void **state)
{
    static const char *const wrong[] = { "NOSUCH x", "SET a", "PING", "OBJECT NOPE a" };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct lines l = { .count = 0 };
        size_t refused = 99;
        kv_value *reply;

        add_line(&l, "SET a 1");
        add_line(&l, wrong[i]);
        assert_int_equal(run_many(*state, &l, NULL, &reply, &refused), KV_EINVAL);
        assert_int_equal(refused, 1);
        assert_int_equal(reply->type, KV_REPLY_ERROR);
        assert_memory_equal(reply->text.data, "ERR ", 4);
        kv_value_free(reply);
        expect_int(*state, 0, "EXISTS a");
    }
}

static void expect_checked(kv_store *store, int err, kv_exec_check check)
{
    struct lines l = { .count = 0 };
    kv_value *reply;

    add_line(&l, "INCR runs");
    assert_int_equal(run_many(store, &l, &check, &reply, NULL), err);
    assert_true((reply == NULL) == (err != 0));
    kv_value_free(reply);
}

static void checks_decide(void **state)
{
    kv_store *store = *state;
    kv_meta meta;

    kv_value_free(run(store, "SET a 1"));
    assert_int_equal(kv_store_copy(store, KV_STR("a"), NULL, 0, &meta, NOW), 0);
    expect_checked(store, 0, (kv_exec_check){ KV_STR("a"), KV_IF_VERSION, meta.version, { 0 } });
    expect_checked(store, 0, (kv_exec_check){ KV_STR("b"), KV_IF_VERSION, 0, { 0 } });
    expect_checked(store, 0, (kv_exec_check){ KV_STR("b"), KV_IF_ABSENT, 0, { 0 } });
    expect_checked(store, 0, (kv_exec_check){ KV_STR("a"), KV_IF_PRESENT, 0, { 0 } });
    expect_checked(store, 0, (kv_exec_check){ KV_STR("a"), KV_IF_EQUAL, 0, KV_STR("1") });
    expect_checked(store, 0, (kv_exec_check){ KV_STR("a"), KV_ALWAYS, 0, { 0 } });
    expect_text(store, KV_REPLY_BULK, "6", "GET runs");
    kv_value_free(run(store, "SET a 1"));
    expect_checked(store, KV_ECOND, (kv_exec_check){ KV_STR("a"), KV_IF_VERSION, meta.version, { 0 } });
    expect_checked(store, KV_ECOND, (kv_exec_check){ KV_STR("a"), KV_IF_ABSENT, 0, { 0 } });
    expect_checked(store, KV_ECOND, (kv_exec_check){ KV_STR("b"), KV_IF_PRESENT, 0, { 0 } });
    expect_checked(store, KV_ECOND, (kv_exec_check){ KV_STR("a"), KV_IF_EQUAL, 0, KV_STR("2") });
    expect_checked(store, KV_ECOND, (kv_exec_check){ KV_STR("b"), KV_IF_EQUAL, 0, KV_STR("") });
    expect_text(store, KV_REPLY_BULK, "6", "GET runs");
}

static void note_kinds(void *arg, const kv_change *change)
{
    strncat(arg, &"SADXEVcsB)"[change->kind], 1);
}

static void changes_stand_between_begin_and_end(void **state)
{
    struct lines l = { .count = 0 };
    char heard[32] = "";
    kv_value *reply;

    kv_store_on_change(*state, note_kinds, heard, NULL);
    add_line(&l, "GET a");
    add_line(&l, "SET a 1");
    add_line(&l, "APPEND a 2");
    add_line(&l, "DEL a");
    add_line(&l, "GET a");
    assert_int_equal(run_many(*state, &l, NULL, &reply, NULL), 0);
    kv_value_free(reply);
    assert_string_equal(heard, "BSAX)");
    l.count = 0;
    add_line(&l, "GET a");
    assert_int_equal(run_many(*state, &l, NULL, &reply, NULL), 0);
    kv_value_free(reply);
    assert_string_equal(heard, "BSAX)"); /* an act that changes nothing is not heard of */
}

#define on_both(test)                                               \
    cmocka_unit_test_setup_teardown(test, open_store, close_store), \
        cmocka_unit_test_setup_teardown(test, open_actor, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_both(replies_have_their_types),
        on_both(arrays_are_trees),
        on_both(an_empty_array_has_no_elements),
        on_both(the_documentation_of_all_commands_fits),
        on_both(a_million_bytes_come_whole),
        on_both(many_keys_come_at_once),
        on_both(what_needs_a_server_says_so),
        on_both(no_words_are_no_command),
        on_both(random_keys_differ_at_one_moment),
        cmocka_unit_test(a_reply_outlives_the_store),
        on_both(several_commands_give_an_array),
        on_both(no_commands_give_an_empty_array),
        on_both(a_command_that_cannot_run_refuses_all),
        on_both(checks_decide),
        on_both(changes_stand_between_begin_and_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
