/* promoted_test.c - a primary dies, one of its replicas is promoted, and the others go on with that one where they were.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica.h"

/* No server says more than the test makes it say: offsets stand still when the test does. */
#define QUIET "--repl-ping-replica-period", "3600"

/* 'k': kvserver, 'a': with a state thread, 'r': redis-server. */
static server *begin_kind(char kind)
{
    if (kind == 'r')
        return begin_redis("--save", "", QUIET, "--repl-diskless-sync-delay", "0");
    return kind == 'a' ? begin_tcp("--threads", "2", "--sharing", "actor", QUIET)
                       : begin_tcp("--threads", "2", QUIET);
}

enum { PRIMARY, HEIR, SIBLING, NEPHEW, MOST };

typedef struct family {
    server *servers[MOST];
    conn *c[MOST];
    int count;
} family;

static void add(family *f, char kind)
{
    f->servers[f->count] = begin_kind(kind);
    f->c[f->count] = connect_to(f->servers[f->count]);
    f->count++;
}

static void follow(family *f, int who, int whom)
{
    follow_port(f->c[who], server_port(f->servers[whom]));
    wait_for_field(f->c[who], "master_link_status", "up");
}

/* One that follows through others has it. */
static void wait_for_all(family *f)
{
    char *offset = info_value(f->c[PRIMARY], "master_repl_offset");

    for (int i = HEIR; i < f->count; i++)
        wait_for_field(f->c[i], "slave_repl_offset", offset);
    free(offset);
}

static void write_load(server *to)
{
    load l;

    load_begin(&l, to);
    load_end(&l);
}

static void primary_dies(family *f)
{
    conn_close(f->c[PRIMARY]);
    assert_true(server_kill(f->servers[PRIMARY]));
    f->servers[PRIMARY] = NULL;
    for (int i = HEIR; i <= SIBLING; i++)
        wait_for_field(f->c[i], "master_link_status", "down");
}

static void end_family(family *f)
{
    for (int i = 0; i < f->count; i++) {
        if (!f->servers[i])
            continue;
        conn_close(f->c[i]);
        end(f->servers[i]);
    }
}

static void assert_field(conn *c, const char *field, const char *value)
{
    char *got = info_value(c, field);

    assert_non_null(got);
    assert_string_equal(got, value);
    free(got);
}

/* ---- it is gone on with ---- */

static void sibling_goes_on(const char *kinds)
{
    family f = { .count = 0 };
    char *old_id, *new_id, second[32];
    long long offset;

    for (const char *kind = kinds; *kind; kind++)
        add(&f, *kind);
    says(f.c[PRIMARY], "+OK", "SET", "first", "1");
    follow(&f, HEIR, PRIMARY);
    follow(&f, SIBLING, PRIMARY);
    write_load(f.servers[PRIMARY]);
    wait_for_all(&f);
    old_id = info_value(f.c[PRIMARY], "master_replid");
    offset = info_number(f.c[PRIMARY], "master_repl_offset");
    primary_dies(&f);
    says(f.c[HEIR], "+OK", "REPLICAOF", "NO", "ONE");
    snprintf(second, sizeof second, "%lld", offset + 1);
    assert_field(f.c[HEIR], "master_replid2", old_id);
    assert_field(f.c[HEIR], "second_repl_offset", second);
    says(f.c[HEIR], "+OK", "SET", "alone", "1");
    follow(&f, SIBLING, HEIR);
    write_load(f.servers[HEIR]);
    wait_for_offset(f.c[HEIR], f.c[SIBLING]);
    assert_int_equal(info_number(f.c[HEIR], "sync_partial_ok"), 1);
    assert_int_equal(info_number(f.c[HEIR], "sync_full"), 0);
    new_id = info_value(f.c[HEIR], "master_replid");
    assert_string_not_equal(new_id, old_id);
    assert_field(f.c[SIBLING], "master_replid", new_id);
    assert_field(f.c[SIBLING], "master_replid2", old_id);
    assert_field(f.c[SIBLING], "second_repl_offset", second);
    assert_same_content(f.c[HEIR], f.c[SIBLING], load_databases);
    free(old_id);
    free(new_id);
    end_family(&f);
}

static void a_sibling_goes_on_with_the_heir(void **state)
{
    (void)state;
    sibling_goes_on("kkk");
    sibling_goes_on("aaa");
}

static void so_it_is_among_both_kinds_of_servers(void **state)
{
    (void)state;
    sibling_goes_on("rkk");
    sibling_goes_on("kkr");
    sibling_goes_on("krk");
    sibling_goes_on("rkr");
}

/* A paused replica has received what it has not applied, and loses that with the link. */
static void what_it_had_not_received_comes_from_the_heir(void **state)
{
    family f = { .count = 0 };

    (void)state;
    for (int i = PRIMARY; i <= SIBLING; i++)
        add(&f, 'k');
    follow(&f, HEIR, PRIMARY);
    follow(&f, SIBLING, PRIMARY);
    says(f.c[PRIMARY], "+OK", "SELECT", "3");
    says(f.c[PRIMARY], "+OK", "SET", "there", "1");
    wait_for_all(&f);
    says(f.c[SIBLING], "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    says(f.c[PRIMARY], "+OK", "SET", "later", "2"); /* no SELECT stands before it */
    wait_for_offset(f.c[PRIMARY], f.c[HEIR]);
    primary_dies(&f);
    says(f.c[HEIR], "+OK", "REPLICAOF", "NO", "ONE");
    follow(&f, SIBLING, HEIR);
    says(f.c[SIBLING], "+OK", "CLIENT", "UNPAUSE");
    wait_for_offset(f.c[HEIR], f.c[SIBLING]);
    says(f.c[SIBLING], "+OK", "SELECT", "3");
    says(f.c[SIBLING], "*2 $1 $2", "MGET", "there", "later");
    assert_int_equal(info_number(f.c[HEIR], "sync_full"), 0);
    end_family(&f);
}

/* The middle one passes on what it hears, to one that has fetched its data set from it; in a database that was selected before. */
static void chain(const char *kinds)
{
    family f = { .count = 0 };
    char *id;

    for (const char *kind = kinds; *kind; kind++)
        add(&f, *kind);
    follow(&f, HEIR, PRIMARY);
    follow(&f, SIBLING, PRIMARY);
    says(f.c[PRIMARY], "+OK", "SELECT", "2");
    says(f.c[PRIMARY], "+OK", "SET", "before", "1");
    wait_for_offset(f.c[PRIMARY], f.c[HEIR]);
    follow(&f, NEPHEW, HEIR);
    says(f.c[PRIMARY], "+OK", "SET", "after", "2");
    wait_for_all(&f);
    write_load(f.servers[PRIMARY]);
    wait_for_all(&f);
    id = info_value(f.c[PRIMARY], "master_replid");
    assert_field(f.c[NEPHEW], "master_replid", id);
    assert_same_content(f.c[PRIMARY], f.c[NEPHEW], load_databases);
    primary_dies(&f);
    says(f.c[HEIR], "+OK", "REPLICAOF", "NO", "ONE");
    free(id);
    id = info_value(f.c[HEIR], "master_replid");
    wait_for_field(f.c[NEPHEW], "master_replid", id);
    follow(&f, SIBLING, NEPHEW);
    write_load(f.servers[HEIR]);
    wait_for_offset(f.c[HEIR], f.c[NEPHEW]);
    wait_for_offset(f.c[HEIR], f.c[SIBLING]);
    assert_same_content(f.c[HEIR], f.c[SIBLING], load_databases);
    assert_int_equal(info_number(f.c[HEIR], "sync_full"), 1); /* of the beginning */
    assert_int_equal(info_number(f.c[NEPHEW], "sync_full"), 0);
    free(id);
    end_family(&f);
}

static void one_history_goes_through_a_chain(void **state)
{
    (void)state;
    chain("kkkk");
    chain("kkrr");
}

/* A data set for one that follows a replica is taken while that applies what comes. */
static void who_follows_a_busy_replica_has_what_it_has(void **state)
{
    family f = { .count = 0 };
    load l;

    (void)state;
    add(&f, 'k');
    add(&f, 'k');
    follow(&f, HEIR, PRIMARY);
    load_begin(&l, f.servers[PRIMARY]);
    for (int i = SIBLING; i <= NEPHEW; i++) {
        add(&f, i == NEPHEW ? 'r' : 'k');
        follow(&f, i, HEIR);
    }
    load_end(&l);
    wait_for_all(&f);
    assert_same_content(f.c[PRIMARY], f.c[SIBLING], load_databases);
    assert_same_content(f.c[PRIMARY], f.c[NEPHEW], load_databases);
    end_family(&f);
}

/* ---- it is not ---- */

static void begin_three(family *f, char primary)
{
    *f = (family){ .count = 0 };
    add(f, primary);
    add(f, 'k');
    add(f, 'k');
    follow(f, HEIR, PRIMARY);
    follow(f, SIBLING, PRIMARY);
}

static void sibling_fetches_everything(family *f)
{
    primary_dies(f);
    says(f->c[HEIR], "+OK", "REPLICAOF", "NO", "ONE");
    assert_field(f->c[HEIR], "master_replid2", "0000000000000000000000000000000000000000");
    assert_field(f->c[HEIR], "second_repl_offset", "-1");
    says(f->c[HEIR], "+OK", "SET", "more", "1");
    follow(f, SIBLING, HEIR);
    wait_for_offset(f->c[HEIR], f->c[SIBLING]);
    assert_int_equal(info_number(f->c[HEIR], "sync_full"), 1);
    assert_same_content(f->c[HEIR], f->c[SIBLING], load_databases);
    end_family(f);
}

static void not_with_one_that_clients_may_write_to(void **state)
{
    family f;

    (void)state;
    begin_three(&f, 'k');
    says(f.c[HEIR], "+OK", "CONFIG", "SET", "replica-read-only", "no");
    says(f.c[HEIR], "+OK", "SET", "own", "1");
    says(f.c[PRIMARY], "+OK", "SET", "theirs", "1");
    wait_for_all(&f);
    sibling_fetches_everything(&f);
}

static void not_with_one_that_has_passed_something_over(void **state)
{
    family f;

    (void)state;
    begin_three(&f, 'r');
    says(f.c[PRIMARY], "+OK", "SET", "text", "1");
    says(f.c[PRIMARY], ":1", "LPUSH", "list", "1");
    wait_for_all(&f);
    sibling_fetches_everything(&f);
}

static void not_when_the_heir_has_received_less(void **state)
{
    family f;

    (void)state;
    begin_three(&f, 'k');
    says(f.c[PRIMARY], "+OK", "SET", "both", "1");
    wait_for_all(&f);
    says(f.c[HEIR], "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    says(f.c[PRIMARY], "+OK", "SET", "lost", "1");
    wait_for_offset(f.c[PRIMARY], f.c[SIBLING]);
    primary_dies(&f);
    says(f.c[HEIR], "+OK", "REPLICAOF", "NO", "ONE");
    says(f.c[HEIR], "+OK", "CLIENT", "UNPAUSE");
    follow(&f, SIBLING, HEIR);
    wait_for_offset(f.c[HEIR], f.c[SIBLING]);
    assert_int_equal(info_number(f.c[HEIR], "sync_partial_err"), 1);
    says(f.c[SIBLING], "*2 $1 _", "MGET", "both", "lost");
    end_family(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sibling_goes_on_with_the_heir),
        cmocka_unit_test(so_it_is_among_both_kinds_of_servers),
        cmocka_unit_test(what_it_had_not_received_comes_from_the_heir),
        cmocka_unit_test(one_history_goes_through_a_chain),
        cmocka_unit_test(who_follows_a_busy_replica_has_what_it_has),
        cmocka_unit_test(not_with_one_that_clients_may_write_to),
        cmocka_unit_test(not_with_one_that_has_passed_something_over),
        cmocka_unit_test(not_when_the_heir_has_received_less),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
