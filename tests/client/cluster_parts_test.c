/* cluster_parts_test.c - slots, keys of commands, redirections, the table of nodes. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "command_facts.h"
#include "key_slot.h"
#include "node_table.h"
#include "reply.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- slots ---- */

/* The value of the specification for "123456789" is 0x31c3; the others are CLUSTER KEYSLOT's answers of redis-server 7.0. */
static void a_key_has_the_slot_that_redis_gives_it(void **state)
{
    (void)state;
    assert_int_equal(kvc_key_slot(kvc_str("123456789")), 0x31c3);
    assert_int_equal(kvc_key_slot(kvc_str("")), 0);
    assert_int_equal(kvc_key_slot(kvc_str("foo")), 12182);
    assert_int_equal(kvc_key_slot(kvc_str("bar")), 5061);
    assert_int_equal(kvc_key_slot(kvc_str("hello")), 866);
    assert_int_equal(kvc_key_slot(kvc_bytes("\0\xff", 2)), 7920);
}

static void a_tag_alone_decides_the_slot(void **state)
{
    (void)state;
    assert_int_equal(kvc_key_slot(kvc_str("{foo}.x")), 12182);
    assert_int_equal(kvc_key_slot(kvc_str("a{foo}{bar}")), 12182);
    assert_int_equal(kvc_key_slot(kvc_str("{}foo")), kvc_key_slot(kvc_str("{}foo")));
    assert_int_not_equal(kvc_key_slot(kvc_str("{}foo")), 12182);
    assert_int_not_equal(kvc_key_slot(kvc_str("{foo")), 12182);
    assert_int_equal(kvc_key_slot(kvc_str("x}{foo}")), 12182);
    assert_int_equal(kvc_key_slot(kvc_str("{{foo}")), kvc_key_slot(kvc_str("{foo")));
}

/* ---- commands ---- */

static kvc_command_facts facts_of(const char *line)
{
    static char words[256];
    kvc_slice argv[16];
    size_t argc = 0;
    char *rest = NULL;

    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word && argc < COUNT(argv);
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = kvc_str(word);
    return kvc_command_facts_of(argc, argv);
}

static void the_first_key_of_a_command_is_found(void **state)
{
    static const struct {
        const char *line;
        size_t first_key;
    } cases[] = {
        { "GET k", 1 },
        { "set k v", 1 },
        { "PING", 0 },
        { "PING hello", 0 },
        { "DBSIZE", 0 },
        { "SCAN 0", 0 },
        { "FLUSHALL ASYNC", 0 },
        { "INFO memory", 0 },
        { "CONFIG GET maxmemory", 0 },
        { "OBJECT ENCODING k", 2 },
        { "object help", 0 },
        { "CLIENT LIST", 0 },
        { "MSETEX 2 a 1 b 2", 2 },
        { "HSET k f v", 1 },
        { "EVAL script 1 k a", 3 },
        { "EVAL script 0 a", 0 },
        { "EVAL_RO script 1 k", 3 },
        { "EVALSHA sha 2 k l", 3 },
        { "FCALL f 1 k", 3 },
        { "BITOP AND dest src", 2 },
        { "XREAD COUNT 2 STREAMS s 0", 4 },
        { "XREADGROUP GROUP g c STREAMS s >", 5 },
        { "XREAD COUNT 2", 0 },
        { "XINFO STREAM s", 2 },
        { "ZUNION 2 a b", 2 },
        { "BLMPOP 0 1 k LEFT", 3 },
        { "MEMORY USAGE k", 2 },
        { "MEMORY DOCTOR", 0 },
        { "PUBLISH channel text", 0 },
        { "SPUBLISH channel text", 1 },
        { "CLUSTER SLOTS", 0 },
        { "KV.GET store k", 1 },
        { "KV.SCAN store 0", 1 },
        { "KV.DBSIZE", 0 },
        { "GET", 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (facts_of(cases[i].line).first_key != cases[i].first_key)
            fail_msg("%s: first key %zu", cases[i].line, facts_of(cases[i].line).first_key);
    assert_int_equal(kvc_command_facts_of(0, NULL).first_key, 0);
}

static void what_only_reads_is_known(void **state)
{
    static const char *const readers[] = { "GET k",         "mget a b",   "TTL k",
                                           "OBJECT FREQ k", "KV.GET s k", "XREAD STREAMS s 0" };
    static const char *const others[] = {
        "SET k v", "GETDEL k", "KV.SET s k v", "NOSUCH k", "EVAL s 1 k", ""
    };

    (void)state;
    for (size_t i = 0; i < COUNT(readers); i++)
        assert_true(facts_of(readers[i]).flags & KVC_FACT_READONLY);
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(facts_of(others[i]).flags & KVC_FACT_READONLY);
}

static void a_name_that_is_none_is_no_command(void **state)
{
    char longest[200];
    kvc_slice argv[2] = { kvc_bytes("GE\0T", 4), kvc_str("k") };

    (void)state;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(kvc_command_facts_of(2, argv).flags, 0);
    argv[0] = kvc_bytes(longest, sizeof longest);
    assert_int_equal(kvc_command_facts_of(2, argv).flags, 0);
    argv[0] = kvc_str("");
    assert_int_equal(kvc_command_facts_of(2, argv).flags, 0);
    argv[0] = kvc_str("OBJECT");
    argv[1] = kvc_bytes(longest, sizeof longest);
    assert_int_equal(kvc_command_facts_of(2, argv).first_key, 0);
}

/* ---- redirections ---- */

static kvc_redirect redirect_of(const char *text)
{
    kvc_reply *reply = kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str(text));
    kvc_redirect redirect = kvc_redirect_of(reply);

    kvc_reply_free(reply);
    return redirect;
}

static void a_redirection_names_slot_host_and_port(void **state)
{
    kvc_redirect r = redirect_of("MOVED 3999 127.0.0.1:6381");

    (void)state;
    assert_int_equal(r.kind, KVC_REDIRECT_MOVED);
    assert_int_equal(r.slot, 3999);
    assert_string_equal(r.host, "127.0.0.1");
    assert_int_equal(r.port, 6381);
    r = redirect_of("ASK 16383 ::1:7");
    assert_int_equal(r.kind, KVC_REDIRECT_ASK);
    assert_int_equal(r.slot, 16383);
    assert_string_equal(r.host, "::1");
    assert_int_equal(r.port, 7);
    assert_string_equal(redirect_of("MOVED 1 :6381").host, "");
    assert_string_equal(redirect_of("MOVED 1 ?:6381").host, "");
    assert_int_equal(redirect_of("MOVED 1 :6381").kind, KVC_REDIRECT_MOVED);
    assert_int_equal(redirect_of("TRYAGAIN Multiple keys").kind, KVC_REDIRECT_AGAIN);
    assert_int_equal(redirect_of("CLUSTERDOWN Hash slot not served").kind, KVC_REDIRECT_DOWN);
}

static void what_is_no_redirection_is_not_followed(void **state)
{
    static const char *const texts[] = {
        "",
        "ERR MOVED 1 a:1",
        "MOVED",
        "MOVED ",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED 1 host",
        "MOVED 1 host:",
        "MOVED 1 host:0",
        "MOVED 1 host:65536",
        "MOVED 1 host:12x",
        "MOVED 16384 host:1",
        "MOVED -1 host:1",
        "MOVED x host:1",
        "MOVED 99999999999999999999 host:1",
        "MOVEDX 1 host:1",
        "ASKING 1 host:1",
    };
    char longest[600];
    kvc_reply *text = kvc_reply_new_text(KVC_TYPE_STRING, kvc_str("MOVED 1 a:1"));

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (redirect_of(texts[i]).kind != KVC_REDIRECT_NONE)
            fail_msg("%s", texts[i]);
    assert_int_equal(kvc_redirect_of(text).kind, KVC_REDIRECT_NONE);
    assert_int_equal(kvc_redirect_of(NULL).kind, KVC_REDIRECT_NONE);
    kvc_reply_free(text);
    snprintf(longest, sizeof longest, "MOVED 1 %0400d:1", 0);
    assert_int_equal(redirect_of(longest).kind, KVC_REDIRECT_NONE);
}

/* ---- nodes ---- */

static kvc_reply *list(size_t n, kvc_reply *const items[])
{
    kvc_reply *all = kvc_reply_new(KVC_TYPE_ARRAY);

    for (size_t i = 0; i < n; i++)
        assert_true(kvc_reply_add(all, items[i]));
    return all;
}
#define LIST(...) list(COUNT(((kvc_reply *[]){ __VA_ARGS__ })), (kvc_reply *[]){ __VA_ARGS__ })

static kvc_reply *number(int64_t n)
{
    return kvc_reply_new_int(KVC_TYPE_INT, n);
}

static kvc_reply *range(int64_t from, int64_t to, const char *host, int64_t port)
{
    return LIST(number(from), number(to),
                LIST(kvc_reply_new_text(KVC_TYPE_STRING, kvc_str(host)), number(port),
                     kvc_reply_new_text(KVC_TYPE_STRING, kvc_str("id"))));
}

static void moved_slots_are_remembered(void **state)
{
    kvc_node_table *table = kvc_node_table_new("a", 1);
    kvc_node *a = kvc_node_table_after(table, NULL), *b = kvc_node_table_add(table, "b", 2);

    (void)state;
    assert_null(kvc_node_table_owner(table, 7));
    kvc_node_table_set_owner(table, 7, b);
    assert_ptr_equal(kvc_node_table_owner(table, 7), b);
    assert_null(kvc_node_table_owner(table, 8));
    assert_ptr_equal(kvc_node_table_add(table, "b", 2), b);
    assert_ptr_not_equal(kvc_node_table_add(table, "b", 3), b);
    assert_ptr_equal(kvc_node_table_after(table, a), b);
    assert_int_equal(kvc_node_table_count(table), 3);
    kvc_node_table_free(table);
}

static void the_list_of_slots_replaces_what_was_known(void **state)
{
    kvc_node_table *table = kvc_node_table_new("a", 1);
    kvc_node *old = kvc_node_table_add(table, "old", 9), *seed = kvc_node_table_after(table, NULL);
    kvc_reply *slots = LIST(range(0, 99, "", 1), range(100, 200, "b", 2), range(300, 16383, "?", 3));
    void *peer = &peer;
    int mark;

    (void)state;
    old->peer = &mark;
    kvc_node_table_set_owner(table, 250, old);
    assert_false(kvc_node_table_sweep(table, &peer));
    assert_null(peer);
    assert_int_equal(kvc_node_table_load(table, slots, "a", NULL), KVC_OK);
    assert_ptr_equal(kvc_node_table_owner(table, 99), seed);
    assert_string_equal(kvc_node_table_owner(table, 100)->host, "b");
    assert_string_equal(kvc_node_table_owner(table, 16383)->host, "a");
    assert_int_equal(kvc_node_table_owner(table, 16383)->port, 3);
    assert_null(kvc_node_table_owner(table, 250));

    old->users = 1; /* in use: it stays */
    assert_false(kvc_node_table_sweep(table, &peer));
    old->users = 0;
    assert_true(kvc_node_table_sweep(table, &peer));
    assert_ptr_equal(peer, &mark);
    assert_false(kvc_node_table_sweep(table, &peer));
    assert_int_equal(kvc_node_table_count(table), 3);
    kvc_reply_free(slots);
    kvc_node_table_free(table);
}

static void a_list_of_slots_that_is_none_changes_nothing(void **state)
{
    kvc_node_table *table = kvc_node_table_new("a", 1);
    kvc_node *b = kvc_node_table_add(table, "b", 2);
    kvc_reply *bad[] = {
        number(1),
        LIST(number(1)),
        LIST(LIST(number(0), number(1))),
        LIST(range(0, 16384, "c", 1)),
        LIST(range(5, 4, "c", 1)),
        LIST(range(-1, 4, "c", 1)),
        LIST(range(0, 4, "c", 0)),
        LIST(range(0, 4, "c", 65536)),
        LIST(range(0, 4, "c", 1), LIST(LIST(number(0)), number(1), number(2))),
    };
    kvc_error error;

    (void)state;
    kvc_node_table_set_owner(table, 3, b);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(kvc_node_table_load(table, bad[i], "a", &error), KVC_EPROTOCOL);
        assert_int_equal(error.status, KVC_EPROTOCOL);
        assert_ptr_equal(kvc_node_table_owner(table, 3), b);
        kvc_reply_free(bad[i]);
    }
    kvc_node_table_free(table);
}

static void a_server_that_names_ever_new_nodes_is_stopped(void **state)
{
    kvc_node_table *table = kvc_node_table_new("a", 1);
    void *peer;

    (void)state;
    for (int port = 2; port <= KVC_NODES_MAX; port++)
        assert_non_null(kvc_node_table_add(table, "a", port));
    assert_null(kvc_node_table_add(table, "b", 1));
    assert_non_null(kvc_node_table_add(table, "a", KVC_NODES_MAX));
    while (kvc_node_table_sweep(table, &peer))
        ;
    assert_int_equal(kvc_node_table_count(table), 1);
    assert_non_null(kvc_node_table_add(table, "b", 1));
    kvc_node_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_the_slot_that_redis_gives_it),
        cmocka_unit_test(a_tag_alone_decides_the_slot),
        cmocka_unit_test(the_first_key_of_a_command_is_found),
        cmocka_unit_test(what_only_reads_is_known),
        cmocka_unit_test(a_name_that_is_none_is_no_command),
        cmocka_unit_test(a_redirection_names_slot_host_and_port),
        cmocka_unit_test(what_is_no_redirection_is_not_followed),
        cmocka_unit_test(moved_slots_are_remembered),
        cmocka_unit_test(the_list_of_slots_replaces_what_was_known),
        cmocka_unit_test(a_list_of_slots_that_is_none_changes_nothing),
        cmocka_unit_test(a_server_that_names_ever_new_nodes_is_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
