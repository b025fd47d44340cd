/* old_standin_test.c - a server that lacks every function that the module can do without: what those were for is missing, and
 * nothing else. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin.h"

static void fields_are_written_and_read(void **state)
{
    (void)state;
    standin_expect("+OK", "KV.SET", "k", "f", "1", "PX", "1000");
    standin_expect(":2", "KV.INCR", "k", "f");
    standin_expect("*3 $2 ...", "KV.GETV", "k", "f");
    standin_expect("+OK", "KV.MSET", "k", "g", "x", "h", "y");
    standin_expect("*2 $g $x", "KV.ALL", "k", "MATCH", "g");
    standin_expect("*12 $form $pack...", "KV.INFO", "k");
    atomic_fetch_add(&standin_now, 2000);
    standin_turn();
    standin_expect(":2", "KV.LEN", "k");
}

static void a_large_key_is_read_and_copied(void **state)
{
    char field[16];
    size_t len;
    char *payload;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(field, sizeof field, "f:%d", i);
        standin_expect("+OK", "KV.SET", "large", field, "1");
    }
    standin_expect(":2000", "KV.COUNT", "large");
    standin_copy("large", "copy");
    payload = standin_save("copy", &len);
    assert_true(standin_restore("restored", payload, len, 1));
    free(payload);
    standin_expect(":2000", "KV.COUNT", "restored");
}

static void find_port_command(void *arg, const standin_command *c)
{
    if (strcmp(c->name, "KV.ATTACH") == 0)
        *(bool *)arg = true;
}

static void count_names(void *arg, const char *name)
{
    if (strncmp(name, "kv.", 3) == 0)
        ++*(int *)arg;
}

static void there_is_neither_a_setting_nor_a_read_port(void **state)
{
    bool found = false;
    int settings = 0;

    (void)state;
    standin_commands(find_port_command, &found);
    assert_false(found);
    standin_names(count_names, &settings);
    assert_int_equal(settings, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_written_and_read),
        cmocka_unit_test(a_large_key_is_read_and_copied),
        cmocka_unit_test(there_is_neither_a_setting_nor_a_read_port),
    };
    int failed;

    standin_load_as_old(getenv("KV_MODULE_FILE"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    standin_shutdown();
    return failed;
}
