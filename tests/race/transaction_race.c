/* transaction_race.c - what no thread may see of a transaction: half of it.
 *
 * Three databases of one domain, accounts in each, and threads that move money between them in transactions, while
 * others read without locks, sum up, exchange the databases, empty and refill them, let the maps grow and keys expire.
 * Bounded by a number of rounds; meant for ThreadSanitizer, useful without. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "decimal.h"
#include "transaction.h"

#define NOW       1700000000000
#define DATABASES 3
#define ACCOUNTS  16 /* of each database */
#define BALANCE   1000
#define WORDS     24
#define LINES     16

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 2000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ROUNDS 2000
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 10000
#endif

struct race {
    kv_domain *domain;
    kv_store *stores[DATABASES];
    kv_databases databases;
    _Atomic bool stop;
    _Atomic unsigned violations;
    _Atomic int64_t round;
};

/* ---- a sink that remembers the numbers ---- */

struct numbers {
    kv_reply base;
    int64_t sum;  /* of all bulks that are numbers */
    int64_t last; /* integer */
    size_t bulks, nulls, errors;
};

static void ignore(kv_reply *r)
{
    (void)r;
}
static void remember_integer(kv_reply *r, int64_t value)
{
    ((struct numbers *)r)->last = value;
}
static void count_null(kv_reply *r)
{
    ((struct numbers *)r)->nulls++;
}
static void ignore_text(kv_reply *r, kv_slice text)
{
    (void)r;
    (void)text;
}
static void count_error(kv_reply *r, kv_slice text)
{
    (void)text;
    ((struct numbers *)r)->errors++;
}
static void add_bulk(kv_reply *r, kv_slice data, kv_bytes *owner)
{
    struct numbers *n = (struct numbers *)r;
    int64_t value;

    (void)owner;
    if (decimal_parse(data, &value))
        n->sum += value;
    n->bulks++;
}
static void ignore_count(kv_reply *r, size_t count)
{
    (void)r;
    (void)count;
}

static const kv_reply_ops number_ops = {
    .null = count_null,
    .null_array = ignore,
    .integer = remember_integer,
    .simple = ignore_text,
    .error = count_error,
    .bulk = add_bulk,
    .array = ignore_count,
    .map = ignore_count,
    .set = ignore_count,
    .push = ignore_count,
};

/* ---- running ---- */

struct line {
    kv_slice argv[WORDS];
    char text[WORDS * 16];
};

struct script {
    struct line lines[LINES];
    queued_command queue[LINES];
    size_t count;
};

/* Appends a command, its words separated by blanks. */
__attribute__((format(printf, 2, 3))) static void say(struct script *s, const char *format, ...)
{
    struct line *line = &s->lines[s->count];
    int argc = 0;
    va_list args;

    va_start(args, format);
    if (vsnprintf(line->text, sizeof line->text, format, args) >= (int)sizeof line->text)
        abort();
    va_end(args);
    for (char *p = line->text; p; argc++) {
        char *space = strchr(p, ' ');

        if (argc == WORDS)
            abort();
        line->argv[argc] = kv_slice_of(p, space ? (size_t)(space - p) : strlen(p));
        p = space ? space + 1 : NULL;
    }
    s->queue[s->count++] =
        (queued_command){ .row = kv_command_find(line->argv[0]), .argv = line->argv, .argc = argc };
}

KV_REQUIRES(kv_epoch_held)
static void run_one(const struct race *race, const queued_command *q, int *db, int64_t now_ms,
                    struct numbers *to)
{
    kv_counters counters = { 0 };
    uint64_t rng = 1;

    if (q->row->id == KV_COMMAND_select) {
        kv_parse_db(q->argv[1], &race->databases, db);
        return;
    }
    q->row->run(&(kv_call){
        .command = q->row,
        .argv = q->argv,
        .argc = q->argc,
        .db = *db,
        .store = race->stores[*db],
        .databases = &race->databases,
        .now_ms = now_ms,
        .access = store_access_clock(now_ms),
        .reply = &to->base,
        .counters = &counters,
        .rng = &rng,
        .value_max = KV_VALUE_MAX,
    });
}

/* As one act. */
static void exec(struct race *race, const struct script *s, store_hold *hold, struct numbers *to)
{
    transaction t = { .databases = &race->databases, .commands = s->queue, .count = s->count };
    int db = 0;

    *to = (struct numbers){ .base = { .ops = &number_ops, .protocol = 2 } };
    if (epoch_enter(race->domain) != 0)
        abort();
    transaction_lock(&t, hold);
    for (size_t i = 0; i < s->count; i++)
        run_one(race, &s->queue[i], &db, NOW, to);
    store_hold_release(hold);
    epoch_leave(race->domain);
    race->violations += to->errors != 0;
}

/* One after the other. */
static void run(struct race *race, const struct script *s, struct numbers *to)
{
    int db = 0;

    *to = (struct numbers){ .base = { .ops = &number_ops, .protocol = 2 } };
    for (size_t i = 0; i < s->count; i++) {
        if (epoch_enter(race->domain) != 0)
            abort();
        run_one(race, &s->queue[i], &db, NOW, to);
        epoch_leave(race->domain);
    }
}

static store_hold *new_hold(struct race *race)
{
    store_hold *hold = store_hold_new(race->domain, DATABASES);

    if (!hold)
        abort();
    return hold;
}

/* ---- what the threads do ---- */

static void say_fill(struct script *s)
{
    for (int db = 0; db < DATABASES; db++) {
        say(s, "SELECT %d", db);
        say(s, "MSET a0 1000 a1 1000 a2 1000 a3 1000 a4 1000 a5 1000 a6 1000 a7 1000");
        say(s, "MSET b0 1000 b1 1000 b2 1000 b3 1000 b4 1000 b5 1000 b6 1000 b7 1000");
    }
}

/* Moves money between two accounts, and leaves the number of the round in every database. */
static void *transfer(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);
    unsigned seed = (unsigned)atomic_fetch_add(&race->round, 1);
    struct numbers to;

    for (int i = 0; i < ROUNDS; i++) {
        struct script s = { .count = 0 };
        int from = rand_r(&seed) % DATABASES, target = rand_r(&seed) % DATABASES;

        say(&s, "SELECT %d", from);
        say(&s, "DECRBY %c%d %d", "ab"[rand_r(&seed) % 2], rand_r(&seed) % 8, i % 7);
        say(&s, "SELECT %d", target);
        say(&s, "INCRBY %c%d %d", "ab"[rand_r(&seed) % 2], rand_r(&seed) % 8, i % 7);
        for (int db = 0; db < DATABASES; db++) {
            say(&s, "SELECT %d", db);
            say(&s, "INCR round");
        }
        exec(race, &s, hold, &to);
    }
    store_hold_free(hold);
    return NULL;
}

static void say_sum(struct script *s)
{
    for (int db = 0; db < DATABASES; db++) {
        say(s, "SELECT %d", db);
        say(s, "MGET a0 a1 a2 a3 a4 a5 a6 a7 b0 b1 b2 b3 b4 b5 b6 b7");
    }
}

/* The sum of all accounts is always the same. */
static void *sum_up(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);
    struct script s = { .count = 0 };
    struct numbers to;

    say_sum(&s);
    while (!race->stop) {
        exec(race, &s, hold, &to);
        race->violations += to.sum != DATABASES * ACCOUNTS * BALANCE || to.nulls;
    }
    store_hold_free(hold);
    return NULL;
}

/* Without a lock: who has seen a round in one database sees no earlier one in another. */
static void *read_rounds(void *arg)
{
    struct race *race = arg;
    struct script script[DATABASES] = { { .count = 0 } };
    struct numbers first, second;

    for (int db = 0; db < DATABASES; db++) {
        say(&script[db], "SELECT %d", db);
        say(&script[db], "GET round");
    }
    for (int i = 0; !race->stop; i++) {
        run(race, &script[i % DATABASES], &first);
        run(race, &script[(i + 1) % DATABASES], &second);
        race->violations += second.sum < first.sum;
    }
    return NULL;
}

/* Exchanges databases, and empties and refills all of them as one act. */
static void *disturb(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);
    struct numbers to;

    for (int i = 0; !race->stop; i++) {
        struct script s = { .count = 0 };

        if (i % 3) {
            say(&s, "SWAPDB %d %d", i % DATABASES, (i + 1) % DATABASES);
            if (i % 2)
                run(race, &s, &to);
            else
                exec(race, &s, hold, &to);
            continue;
        }
        say(&s, "SELECT 1");
        say(&s, "RENAME round kept");
        say(&s, "COPY kept round");
        say(&s, "DEL kept");
        say(&s, "KEYS *");
        say(&s, "DBSIZE");
        exec(race, &s, hold, &to);
    }
    store_hold_free(hold);
    return NULL;
}

static void *empty_and_refill(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);
    struct script s = { .count = 0 };
    struct numbers to;

    say(&s, "FLUSHALL");
    say_fill(&s);
    for (int i = 0; !race->stop; i++)
        exec(race, &s, hold, &to);
    store_hold_free(hold);
    return NULL;
}

/* Makes the maps grow into many shards and shrink again, with keys that expire. */
static void *grow(void *arg)
{
    struct race *race = arg;
    struct numbers to;

    for (int i = 0; !race->stop; i++) {
        struct script s = { .count = 0 };

        say(&s, "SELECT %d", i % DATABASES);
        say(&s, "SET filler:%d x PXAT %lld", i % 9000, (long long)NOW + 1 + i % 2 * 1000000);
        say(&s, "DEL filler:%d", (i + 4500) % 9000);
        run(race, &s, &to);
        if (i % 500 == 0)
            for (int db = 0; db < DATABASES; db++)
                store_expire_cycle(race->stores[db], NOW + 10, 0, NULL);
    }
    return NULL;
}

/* ---- tests ---- */

static void open_race(struct race *race, kv_sharing sharing)
{
    memset(race, 0, sizeof *race);
    race->domain = kv_domain_new(NULL);
    assert_non_null(race->domain);
    for (int i = 0; i < DATABASES; i++) {
        kv_store_options options = { .domain = race->domain,
                                     .sharing = sharing,
                                     .version_start = (uint64_t)i,
                                     .version_step = DATABASES };

        race->stores[i] = kv_store_new(&options);
        assert_non_null(race->stores[i]);
    }
    race->databases = (kv_databases){ .stores = race->stores, .count = DATABASES };
}

static void close_race(struct race *race)
{
    assert_int_equal(race->violations, 0);
    for (int i = 0; i < DATABASES; i++) {
        store_check(race->stores[i]);
        kv_store_unref(race->stores[i]);
    }
    kv_domain_unref(race->domain);
}

static void with(kv_sharing sharing, void *(*reader)(void *), void *(*disturber)(void *))
{
    struct race race;
    store_hold *hold;
    struct script s = { .count = 0 };
    struct numbers to;
    pthread_t threads[5];

    open_race(&race, sharing);
    hold = new_hold(&race);
    say_fill(&s);
    for (int db = 0; db < DATABASES; db++) {
        say(&s, "SELECT %d", db);
        say(&s, "SET round 0");
    }
    exec(&race, &s, hold, &to);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, transfer, &race), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, reader, &race), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, disturber, &race), 0);
    assert_int_equal(pthread_create(&threads[4], NULL, grow, &race), 0);
    for (int i = 0; i < 5; i++) {
        race.stop = i >= 2;
        pthread_join(threads[i], NULL);
    }
    store_hold_free(hold);
    close_race(&race);
}

static void the_sum_of_all_accounts_stays(void **state)
{
    (void)state;
    with(KV_SHARING_SHARDED, sum_up, disturb);
    with(KV_SHARING_MUTEX, sum_up, disturb);
}

static void the_sum_stays_while_all_is_emptied_and_refilled(void **state)
{
    (void)state;
    with(KV_SHARING_SHARDED, sum_up, empty_and_refill);
}

static void a_reader_without_locks_sees_no_half(void **state)
{
    (void)state;
    with(KV_SHARING_SHARDED, read_rounds, disturb);
    with(KV_SHARING_MUTEX, read_rounds, disturb);
}

/* ---- a database as a whole ---- */

#define INNER "1000000"

/* Puts eight keys in the place of eight others, and has one more only in between. */
static void *change_all(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);
    struct numbers to;

    for (int i = 0; i < ROUNDS; i++) {
        struct script s = { .count = 0 };
        int new = i % 2 ? 10 : 20, old = 30 - new;

        say(&s, "SET " INNER " x");
        say(&s, "MSET %d0 a %d1 a %d2 a %d3 a %d4 a %d5 a %d6 a %d7 a", new, new, new, new, new, new, new,
            new);
        say(&s, "DEL %d0 %d1 %d2 %d3 %d4 %d5 %d6 %d7", old, old, old, old, old, old, old, old);
        say(&s, "DEL " INNER);
        exec(race, &s, hold, &to);
    }
    store_hold_free(hold);
    return NULL;
}

/* There are always eight, all of the new ones or all of the old ones. */
static void *look_at_all(void *arg)
{
    struct race *race = arg;
    struct script count = { .count = 0 }, keys = { .count = 0 }, draw = { .count = 0 };
    struct numbers to;

    say(&count, "DBSIZE");
    say(&keys, "KEYS *");
    say(&draw, "RANDOMKEY");
    while (!race->stop) {
        run(race, &count, &to);
        race->violations += to.last != 8;
        run(race, &keys, &to);
        race->violations += to.bulks != 8 || (to.sum != 8 * 100 + 28 && to.sum != 8 * 200 + 28);
        run(race, &draw, &to);
        race->violations += to.bulks != 1 || to.sum >= 1000000;
    }
    return NULL;
}

static void all_of_a_database_is_seen_as_of_one_moment(void **state)
{
    struct race race;
    store_hold *hold;
    struct script s = { .count = 0 };
    struct numbers to;
    pthread_t threads[3];

    (void)state;
    for (int shards = 1; shards <= 64; shards *= 64) {
        kv_store_options options = { .shards = (size_t)shards };

        s.count = 0;
        open_race(&race, KV_SHARING_SHARDED);
        options.domain = race.domain;
        kv_store_unref(race.stores[0]);
        race.stores[0] = kv_store_new(&options);
        assert_non_null(race.stores[0]);
        hold = new_hold(&race);
        say(&s, "MSET 100 a 101 a 102 a 103 a 104 a 105 a 106 a 107 a");
        exec(&race, &s, hold, &to);
        assert_int_equal(pthread_create(&threads[0], NULL, change_all, &race), 0);
        for (int i = 1; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, look_at_all, &race), 0);
        for (int i = 0; i < 3; i++) {
            race.stop = i >= 1;
            pthread_join(threads[i], NULL);
        }
        store_hold_free(hold);
        close_race(&race);
    }
}

/* ---- WATCH ---- */

/* Each adds one with WATCH, GET, EXEC SET, again and again until it succeeds: no increment is lost. The key goes
 * away between any two rounds, so absence is watched, too. */
static void *count_by_watching(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);

    for (int done = 0; done < ROUNDS;) {
        watched_key watched = { .watch.store = race->stores[0] };
        struct script get = { .count = 0 }, set = { .count = 0 };
        struct numbers to;
        transaction t = { .databases = &race->databases, .watched = &watched };
        int db = 0;

        watched.watch.key = store_key_of(race->stores[0], KV_STR("counter"));
        if (epoch_enter(race->domain) != 0 || store_watch_begin(&watched.watch, NOW) != 0)
            abort();
        say(&get, "GET counter");
        run(race, &get, &to);
        say(&set, "SET counter %lld", (long long)to.sum + 1);
        say(&set, "SET other %d", done);
        t.commands = set.queue;
        t.count = set.count;
        transaction_lock(&t, hold);
        if (transaction_check(&t, NOW) == 0) {
            for (size_t i = 0; i < t.count; i++)
                run_one(race, &t.commands[i], &db, NOW, &to);
            done++;
        }
        store_hold_release(hold);
        store_watch_end(&watched.watch);
        epoch_leave(race->domain);
    }
    store_hold_free(hold);
    return NULL;
}

static void no_increment_is_lost_by_watchers(void **state)
{
    struct race race;
    struct script s = { .count = 0 };
    struct numbers to;
    pthread_t threads[3];

    (void)state;
    open_race(&race, KV_SHARING_SHARDED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_by_watching, &race), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    say(&s, "GET counter");
    run(&race, &s, &to);
    assert_int_equal(to.sum, 3 * ROUNDS);
    close_race(&race);
}

/* Of those that find a key absent and watch it, one alone may create it; who has it takes it away again. */
static void *take_turns(void *arg)
{
    struct race *race = arg;
    store_hold *hold = new_hold(race);

    for (int done = 0; done < ROUNDS;) {
        watched_key watched = { .watch.store = race->stores[0] };
        struct script set = { .count = 0 }, del = { .count = 0 };
        struct numbers to = { .base = { .ops = &number_ops } };
        transaction t = { .databases = &race->databases, .watched = &watched };
        bool mine = false;
        int db = 0;

        say(&set, "SET lock mine");
        say(&del, "DEL lock");
        watched.watch.key = store_key_of(race->stores[0], KV_STR("lock"));
        if (epoch_enter(race->domain) != 0 || store_watch_begin(&watched.watch, NOW) != 0)
            abort();
        t.commands = set.queue;
        t.count = set.count;
        if (watched.watch.version == 0) {
            transaction_lock(&t, hold);
            mine = transaction_check(&t, NOW) == 0;
            if (mine)
                run_one(race, &t.commands[0], &db, NOW, &to);
            store_hold_release(hold);
        }
        store_watch_end(&watched.watch);
        epoch_leave(race->domain);
        if (mine) {
            race->violations += atomic_fetch_add(&race->round, 1) != 0; /* somebody else has it, too */
            race->violations += atomic_fetch_sub(&race->round, 1) != 1;
            run(race, &del, &to);
            done++;
        }
    }
    store_hold_free(hold);
    return NULL;
}

static void an_absent_key_is_created_by_one(void **state)
{
    struct race race;
    pthread_t threads[3];

    (void)state;
    open_race(&race, KV_SHARING_SHARDED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &race), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    close_race(&race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_of_all_accounts_stays),
        cmocka_unit_test(the_sum_stays_while_all_is_emptied_and_refilled),
        cmocka_unit_test(a_reader_without_locks_sees_no_half),
        cmocka_unit_test(all_of_a_database_is_seen_as_of_one_moment),
        cmocka_unit_test(no_increment_is_lost_by_watchers),
        cmocka_unit_test(an_absent_key_is_created_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
