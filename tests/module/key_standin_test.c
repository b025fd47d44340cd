/* key_standin_test.c - what is told to replicas and logs rebuilds a key; damage is refused; memory may run out anywhere.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "standin.h"

/* ---- which commands there are ---- */

static const kv_command *row_of(const char *name)
{
    char row[64];
    size_t i = 0;

    for (; name[3 + i] && i < sizeof row - 1; i++)
        row[i] = (char)(name[3 + i] | ' ');
    row[i] = '\0';
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        if (!kv_command_table[id].container && strcmp(kv_command_table[id].name, row) == 0)
            return &kv_command_table[id];
    }
    return NULL;
}

static void judge_command(void *arg, const standin_command *c)
{
    const kv_command *row = row_of(c->name);
    unsigned *rows = arg;

    assert_int_equal(strncmp(c->name, "KV.", 3), 0);
    if (!row || strcmp(c->name, "KV.KEYS") == 0 || strcmp(c->name, "KV.INFO") == 0)
        return; /* the module's own */
    rows[row->id]++;
    assert_false(row->flags & (KV_CMD_SESSION | KV_CMD_ALL_STORES | KV_CMD_ADMIN | KV_CMD_BLOCKING));
    assert_true(strcmp(row->group, "string") == 0 || strcmp(row->group, "generic") == 0);
    assert_int_equal(strstr(c->flags, "write") != NULL, (row->flags & KV_CMD_WRITE) != 0);
    assert_int_equal(strstr(c->flags, "deny-oom") != NULL, (row->flags & KV_CMD_DENYOOM) != 0);
    assert_int_equal(c->arity, row->arity > 0 ? row->arity + 1 : row->arity - 1);
}

static void what_makes_sense_within_a_key_is_a_command_and_nothing_else(void **state)
{
    static const char *const never[] = { "FLUSHALL", "FLUSHDB", "SWAPDB", "DBSIZE", "COMMAND", "MOVE",
                                         "COPY",     "OBJECT",  "MULTI",  "AUTH",   "CONFIG",  "INFO" };
    static const char *const always[] = { "SCAN", "RANDOMKEY", "TYPE", "EXPIRE", "GETV", "RENAME", "TOUCH" };
    unsigned rows[KV_COMMAND_COUNT] = { 0 };
    char name[64];

    (void)state;
    standin_commands(judge_command, rows);
    for (int id = 0; id < KV_COMMAND_COUNT; id++) { /* every command on strings makes sense */
        const kv_command *row = &kv_command_table[id];

        if (row->run && strcmp(row->group, "string") == 0 && !row->container && rows[id] != 1)
            fail_msg("KV.%s is missing", row->name);
    }
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        snprintf(name, sizeof name, "KV.%s", never[i]);
        if (row_of(name) && rows[row_of(name)->id])
            fail_msg("%s is there", name);
    }
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        snprintf(name, sizeof name, "KV.%s", always[i]);
        assert_int_equal(rows[row_of(name)->id], 1);
    }
}

/* ---- the manual ---- */

static void find_in_manual(void *arg, const char *name)
{
    const char *manual = arg, *at = manual;
    size_t len = strlen(name);

    while ((at = strstr(at, name)) != NULL && strchr("-_.", at[len]) && at[len])
        at += len;
    if (!at)
        fail_msg("the manual does not name %s", name);
}

static void find_command_in_manual(void *arg, const standin_command *c)
{
    if (!row_of(c->name) || strcmp(c->name, "KV.KEYS") == 0 || strcmp(c->name, "KV.INFO") == 0)
        find_in_manual(arg, c->name);
}

static void the_manual_names_every_setting_figure_and_command_of_the_module(void **state)
{
    char manual[32768];
    FILE *in = getenv("KV_MODULE_MANUAL") ? fopen(getenv("KV_MODULE_MANUAL"), "re") : NULL;
    size_t len;

    (void)state;
    assert_non_null(in);
    len = fread(manual, 1, sizeof manual - 1, in);
    fclose(in);
    manual[len] = '\0';
    standin_names(find_in_manual, manual);
    standin_commands(find_command_in_manual, manual);
}

/* ---- rebuilding ---- */

static void forget_replicated(void)
{
    size_t len;

    free(standin_replicated(&len));
}

/* Writes of all kinds to keys of both forms, some of whose fields expire. */
static void write_much(void)
{
    char key[16], field[24], value[24];
    unsigned seed = 4711;

    for (int i = 0; i < 6000; i++) {
        seed = seed * 1103515245 + 12345;
        snprintf(key, sizeof key, "k:%u", seed >> 9 & 7);
        snprintf(field, sizeof field, "f:%u", seed >> 12 & ((seed >> 9 & 7) > 1 ? 15 : 255));
        snprintf(value, sizeof value, "%u", seed >> 16);
        switch (seed >> 24 & 7) {
        case 0:
            free(standin_say("KV.DEL", key, field));
            break;
        case 1:
            free(standin_say("KV.SET", key, field, value, "PX", seed & 1 << 20 ? "20" : "100000000"));
            break;
        case 2:
            free(standin_say("KV.APPEND", key, field, value));
            break;
        case 3:
            free(standin_say("KV.RENAME", key, field, "renamed"));
            break;
        case 4:
            free(standin_say("KV.MSET", key, field, value, "other", "1"));
            break;
        default:
            free(standin_say("KV.SET", key, field, value));
        }
        if (i % 16 == 0)
            atomic_fetch_add(&standin_now, 10);
        standin_turn();
    }
}

static void replicated_records_rebuild_every_key(void **state)
{
    uint64_t digest;
    size_t len;
    char *commands;

    (void)state;
    forget_replicated();
    write_much();
    digest = standin_digest();
    commands = standin_replicated(&len);
    assert_true(len > 0);
    standin_flush(false);
    standin_flags(RM_IS_REPLICA);
    atomic_fetch_add(&standin_now, 1000000); /* a replica's clock makes no difference */
    standin_apply(commands, len);
    standin_turn();
    assert_true(standin_digest() == digest);
    atomic_fetch_sub(&standin_now, 1000000);
    standin_flags(0);
    free(commands);
    forget_replicated();
}

static void a_rewritten_log_and_a_payload_rebuild_a_key(void **state)
{
    uint64_t digest;
    char key[16], *commands, *payload;
    size_t len;

    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        if (!standin_exists(key))
            continue;
        digest = standin_digest();
        commands = standin_rewrite(key, &len);
        standin_delete(key);
        standin_apply(commands, len);
        assert_true(standin_digest() == digest);
        free(commands);
        payload = standin_save(key, &len);
        assert_true(standin_restore(key, payload, len, 1));
        assert_true(standin_digest() == digest);
        assert_false(standin_restore(key, payload, len, 2)); /* of a module to come */
        assert_true(standin_digest() == digest);
        free(payload);
    }
    standin_flush(false);
    forget_replicated();
}

/* ---- damage ---- */

static void restore_damaged(const char *payload, size_t len)
{
    char *exact = malloc(len ? len : 1); /* so that a byte read beyond it is seen */

    assert_non_null(exact);
    if (len)
        memcpy(exact, payload, len);
    if (standin_restore("target", exact, len, 1)) { /* then it is a key like any */
        free(standin_say("KV.ALL", "target"));
        free(standin_say("KV.SET", "target", "more", "1"));
    }
    free(exact);
}

static void damage_key(const char *key)
{
    size_t len;
    char *payload = standin_save(key, &len);

    for (size_t cut = 0; cut < len; cut++)
        assert_false(standin_restore("target", payload, cut, 1));
    for (size_t bit = 0; bit < len * 8; bit++) {
        payload[bit / 8] ^= (char)(1 << bit % 8);
        restore_damaged(payload, len);
        payload[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(standin_restore("target", payload, len, 1));
    free(payload);
}

static void a_damaged_payload_is_refused_at_every_bit_and_cut(void **state)
{
    char field[16];

    (void)state;
    free(standin_say("KV.MSET", "small", "name", "Ada", "city", "London", "empty", ""));
    free(standin_say("KV.SET", "small", "session", "s", "PX", "100000"));
    for (int i = 0; i < 20; i++) {
        snprintf(field, sizeof field, "field:%d", i);
        free(standin_say("KV.SET", "store", field, field));
    }
    damage_key("small");
    damage_key("store");
    standin_flush(false);
    forget_replicated();
}

/* ---- memory ---- */

/* One write; false: it says that memory is out. Then what was there is there still. */
static bool write_succeeds(const char *key, const char *field, const char *value)
{
    char *said = standin_say("KV.SET", key, field, value);
    bool done = strcmp(said, "+OK") == 0;

    if (!done && strncmp(said, "-OOM", 4) != 0)
        fail_msg("%s", said);
    free(said);
    return done;
}

/* Whatever allocation fails: a write is done or refused, and other fields are as they were. */
static void fail_each(const char *key, size_t value_len)
{
    char *value = calloc(1, value_len + 1);
    bool done = false;

    memset(value, 'v', value_len);
    for (long n = 0; !done; n++) {
        assert_true(n < 200);
        standin_fail_memory(n);
        done = write_succeeds(key, "new", value) && !standin_memory_failed();
        standin_fail_memory(-1);
        standin_expect("$1", "KV.GET", key, "kept");
        if (!done)
            free(standin_say("KV.DEL", key, "new"));
    }
    standin_expect("$vvv...", "KV.GET", key, "new");
    free(value);
}

static void memory_may_run_out_at_every_allocation(void **state)
{
    char field[16];

    (void)state;
    assert_true(write_succeeds("small", "kept", "1"));
    fail_each("small", 10);
    for (int i = 0; i < 14; i++) { /* one more makes it a store */
        snprintf(field, sizeof field, "field:%d", i);
        assert_true(write_succeeds("small", field, "x"));
    }
    free(standin_say("KV.DEL", "small", "new"));
    assert_true(write_succeeds("small", "sixteenth", "x"));
    fail_each("small", 10);
    fail_each("small", 10);
    assert_true(write_succeeds("long", "kept", "1"));
    fail_each("long", 5000);
    assert_true(write_succeeds("copied", "kept", "1"));
    standin_flush(false);
    forget_replicated();
}

static void nothing_is_kept_of_keys_that_are_gone(void **state)
{
    long before;

    (void)state;
    standin_flush(false);
    before = standin_blocks();
    for (int i = 0; i < 3; i++) {
        write_much();
        standin_flush(i % 2);
        standin_turn();
        forget_replicated();
    }
    assert_true(standin_info("keys") == 0 && standin_info("stores") == 0);
    assert_true(standin_blocks() < before + 20); /* the engine keeps some for its next store */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_makes_sense_within_a_key_is_a_command_and_nothing_else),
        cmocka_unit_test(the_manual_names_every_setting_figure_and_command_of_the_module),
        cmocka_unit_test(replicated_records_rebuild_every_key),
        cmocka_unit_test(a_rewritten_log_and_a_payload_rebuild_a_key),
        cmocka_unit_test(a_damaged_payload_is_refused_at_every_bit_and_cut),
        cmocka_unit_test(memory_may_run_out_at_every_allocation),
        cmocka_unit_test(nothing_is_kept_of_keys_that_are_gone),
    };
    int failed;

    standin_load(getenv("KV_MODULE_FILE"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    standin_shutdown();
    return failed;
}
