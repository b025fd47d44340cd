/* threads_standin_test.c - the module's threads read while the main thread writes, in a server that a sanitizer can look
 * into. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin.h"

enum { fields = 3000, readers = 6, rounds = 6 };

static void fill(const char *key)
{
    char name[24];

    for (int i = 0; i < fields; i++) {
        snprintf(name, sizeof name, "field:%d", i);
        free(standin_say("KV.SET", key, name, "value"));
    }
}

static standin_call *start(const char *command, const char *key)
{
    const kv_slice argv[] = { kv_str(command), kv_str(key) };

    return standin_ask(2, argv);
}

/* Every field that nobody removes is told once, with a value that somebody wrote. */
static void judge_all(reply *r)
{
    size_t stable = 0;

    assert_int_equal(r->type, '*');
    for (size_t i = 0; i + 1 < r->count; i += 2) {
        assert_int_equal(strncmp(r->elements[i + 1].text, "value", 5), 0);
        stable += strncmp(r->elements[i].text, "field:", 6) == 0;
    }
    assert_int_equal(stable, fields);
    reply_free(r);
}

/* One write of many kinds to the key that is being read. */
static void write_one(int i)
{
    char stable[24], fleeting[24], value[24];

    snprintf(stable, sizeof stable, "field:%d", i * 7 % fields);
    snprintf(fleeting, sizeof fleeting, "more:%d", i % 500);
    snprintf(value, sizeof value, "value%d", i);
    free(standin_say("KV.SET", "large", stable, value));
    free(standin_say("KV.SET", "large", fleeting, value));
    if (i % 5 == 0)
        free(standin_say("KV.MSET", "large", stable, value, "field:0", value));
    if (i % 3 == 0)
        free(standin_say("KV.SET", "large", fleeting, value, "PX", "50"));
    if (i % 4 == 0)
        free(standin_say("KV.DEL", "large", fleeting));
    atomic_fetch_add(&standin_now, 3);
    standin_turn();
}

static void reads_of_all_fields_go_on_beside_writes(void **state)
{
    standin_call *calls[readers];
    int writes = 0;

    (void)state;
    fill("large");
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < readers; i++)
            calls[i] = start("KV.ALL", "large");
        for (int i = 0; i < readers; i++) {
            while (!standin_answered(calls[i]))
                write_one(writes++);
            judge_all(standin_reply(calls[i]));
        }
    }
    assert_true(standin_info("offloaded_reads") >= readers * rounds);
    assert_true(writes > 0);
}

/* What the child of a background save does, while threads read. */
static void a_key_is_saved_while_it_is_read(void **state)
{
    standin_call *calls[readers];
    size_t len;
    char *payload;

    (void)state;
    for (int i = 0; i < readers; i++)
        calls[i] = start(i % 2 ? "KV.KEYS" : "KV.COUNT", "large");
    for (int i = 0; i < 3; i++) {
        payload = standin_save("large", &len);
        assert_true(standin_restore("copy", payload, len, 1));
        free(payload);
        standin_copy("copy", "copy of the copy");
        standin_expect("$value...", "KV.GET", "copy of the copy", "field:1");
    }
    for (int i = 0; i < readers; i++)
        reply_free(standin_reply(calls[i]));
    standin_delete("copy");
    standin_delete("copy of the copy");
}

static void end_key(int how)
{
    switch (how) {
    case 0:
        standin_delete("large");
        break;
    case 1:
        standin_rename("large", "elsewhere");
        break;
    case 2:
        standin_flush(true);
        break;
    default:
        standin_flush(false);
    }
}

static void a_key_may_end_while_it_is_read(void **state)
{
    standin_call *calls[readers];

    (void)state;
    for (int round = 0; round < 4; round++) {
        fill("large");
        for (int i = 0; i < readers; i++)
            calls[i] = start("KV.ALL", "large");
        end_key(round);
        for (int i = 0; i < readers; i++) {
            if (i % 2)
                standin_hang_up(calls[i]);
            else
                judge_all(standin_reply(calls[i]));
        }
        standin_flush(false);
    }
    assert_true(standin_info("keys") == 0);
    assert_true(standin_info("stores") == 0);
}

static void where_no_client_may_wait_it_is_read_at_once(void **state)
{
    unsigned long long before = standin_info("offloaded_reads");

    (void)state;
    fill("large");
    standin_flags(RM_IN_MULTI);
    standin_expect(":3000", "KV.COUNT", "large");
    standin_flags(RM_DENY_BLOCKING);
    standin_expect(":3000", "KV.COUNT", "large");
    standin_flags(0);
    assert_true(standin_config("offload-threads", 0));
    standin_expect(":3000", "KV.COUNT", "large");
    assert_true(standin_config("offload-threads", 2));
    assert_true(standin_info("offloaded_reads") == before);
    standin_flush(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_of_all_fields_go_on_beside_writes),
        cmocka_unit_test(a_key_is_saved_while_it_is_read),
        cmocka_unit_test(a_key_may_end_while_it_is_read),
        cmocka_unit_test(where_no_client_may_wait_it_is_read_at_once),
    };
    int failed;

    standin_load(getenv("KV_MODULE_FILE"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    standin_shutdown();
    return failed;
}
