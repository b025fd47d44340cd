/* damage_test.c - logs and snapshots that were damaged: what is served is the state after some of the batches that were written, none left out, or nothing.
 *
 * The log has a base in RDB format and two incremental files. To each of its files is done what disks, crashes and people do; the verdict is
 * one of three:
 *
 *     SAME      nothing was lost
 *     CUT       the end of the last file is gone, and that is said
 *     REFUSED   nothing is served, and the reason is said
 *
 * After the cases that are written down come random ones, from a seed that is always the same, or $KV_SEED: whatever was done, one of
 * the three, and what --check-log says agrees with it.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_base.h"
#include "rdb_load.h"

#define BASE   "a.aof.1.base.rdb"
#define LAST   "a.aof.3.incr.aof"
#define MIDDLE "a.aof.2.incr.aof"
#define ROOM   (1024 * 1024)
#define PAGE   4096
#define RANDOM 2500
#define NOW_MS 1700000000000
#define FILES  4

static const char *const names[FILES] = { BASE, MIDDLE, LAST, MANIFEST };

/* A file as it was written. */
typedef struct original {
    char *bytes;
    size_t len;
} original;

typedef struct scene {
    bed bed;
    size_t base; /* batches that are in the base */
    original files[FILES];
    char *now; /* room for a file that is being changed */
    unsigned seed;
} scene;

static unsigned the_seed(void)
{
    const char *given = getenv("KV_SEED");

    return given ? (unsigned)strtoul(given, NULL, 10) : 1;
}

/* ---- making it ---- */

/* Another incremental file begins. */
static void rotate(bed *b, aof_entry *ret_item)
{
    uint64_t next = b->file.sequence;

    assert_int_equal(aof_file_sync(&b->file), 0);
    aof_file_close(&b->file);
    assert_int_equal(aof_log_new_file(&b->log, next, &b->file, ret_item), 0);
    assert_int_equal(aof_log_add(&b->log, ret_item), 0);
    aof_buffer_forget_db(&b->buffer);
}

static void write_base(bed *b, aof_entry *base)
{
    snapshot *snap = snapshot_new(&(snapshot_options){ .keep_bytes = 1 << 20 }, DBS, b->stores);
    uint64_t bytes;

    *base = (aof_entry){ .name = BASE, .seq = 1, .type = AOF_BASE };
    assert_non_null(snap);
    assert_int_equal(snapshot_begin(snap), 0);
    assert_int_equal(aof_base_write(snap, path_in(b, BASE), true, NULL, NULL, &base->opening, &bytes), 0);
    snapshot_free(snap);
}

static int make_scene(void **state)
{
    scene *s = calloc(1, sizeof *s);
    aof_entry base, since, last;
    bed *b = &s->bed;

    assert_non_null(s);
    s->seed = the_seed();
    s->now = malloc(2 * ROOM);
    make_bed(b);
    write_script(b, false);
    s->base = b->batches;
    rotate(b, &since);
    write_base(b, &base);
    assert_int_equal(aof_log_replace(&b->log, &base, &since), 0);
    run(b, 0, "SET after 1");
    run(b, 1, "SET after 2");
    run(b, 0, "INCR after");
    rotate(b, &last);
    for (int i = 0; i < 8; i++)
        run(b, i % 2, i < 4 ? "INCRBY count 7" : "APPEND text abc");
    for (int i = 0; i < FILES; i++)
        s->files[i].bytes = read_all(path_in(b, names[i]), &s->files[i].len);
    *state = s;
    return 0;
}

static int drop_scene(void **state)
{
    scene *s = *state;

    for (int i = 0; i < FILES; i++)
        free(s->files[i].bytes);
    free(s->now);
    end_bed(&s->bed);
    free(s);
    return 0;
}

/* ---- files ---- */

static const original *file_of(const scene *s, const char *name)
{
    for (int i = 0; i < FILES; i++)
        if (strcmp(names[i], name) == 0)
            return &s->files[i];
    fail_msg("no file %s", name);
    return NULL;
}

static void restore(scene *s)
{
    for (int i = 0; i < FILES; i++)
        write_all(path_in(&s->bed, names[i]), s->files[i].bytes, s->files[i].len);
}

static void put(scene *s, const char *name, size_t len)
{
    write_all(path_in(&s->bed, name), s->now, len);
}

/* ---- verdicts ---- */

enum verdict { SAME, CUT, REFUSED };

static void say_nothing(void *arg, aof_saying how, const char *text)
{
    (void)arg, (void)how, (void)text;
}

/* How many batches are in the state that is served. */
static size_t batches_of(const scene *s, const char *served)
{
    for (size_t n = s->bed.batches; n >= s->base; n--)
        if (strcmp(s->bed.states[n], served) == 0)
            return n;
    fail_msg("seed %u: what is served was never there:\n%s", s->seed, served);
    return 0;
}

/* What the log is found to be; what is served is checked. */
static enum verdict judge(scene *s)
{
    bed *b = &s->bed;
    aof_end end;
    char *served;
    aof_log_found found = load(b, true, &served, &end);
    enum verdict verdict = REFUSED;
    bool cut_off = false;

    if (found == AOF_LOG_LOADED) {
        size_t n = batches_of(s, served);

        verdict = n < b->batches ? CUT : SAME;
        assert_int_equal(end.next, n + 1);
        cut_off = strstr(b->said, "bad tail") != NULL;
        if (cut_off)
            verdict = CUT;
    } else {
        assert_true(strlen(b->said) > 0);
    }
    free(served);
    if ((aof_check(b->directory, false, say_nothing, NULL) != 0) != (verdict == REFUSED || cut_off))
        fail_msg("seed %u: --check-log does not agree: %s", s->seed, b->said);
    return verdict;
}

static void expect(scene *s, const char *what, enum verdict wanted)
{
    static const char *const words[] = { "the same", "cut", "refused" };
    enum verdict got = judge(s);

    if (got != wanted)
        fail_msg("%s: %s instead of %s: %s", what, words[got], words[wanted], s->bed.said);
    restore(s);
}

/* ---- what is done to one file ---- */

static void copy_of(scene *s, const char *name)
{
    memcpy(s->now, file_of(s, name)->bytes, file_of(s, name)->len);
}

static void cut(scene *s, const char *name, size_t len)
{
    copy_of(s, name);
    put(s, name, len);
}

static void flip(scene *s, const char *name, size_t at)
{
    copy_of(s, name);
    s->now[at] ^= 16;
    put(s, name, file_of(s, name)->len);
}

static void zero(scene *s, const char *name, size_t from, size_t to)
{
    copy_of(s, name);
    memset(s->now + from, 0, to - from);
    put(s, name, file_of(s, name)->len);
}

static void lose(scene *s, const char *name, size_t from, size_t to)
{
    const original *f = file_of(s, name);

    copy_of(s, name);
    memmove(s->now + from, s->now + to, f->len - to);
    put(s, name, f->len - (to - from));
}

static void insert(scene *s, const char *name, size_t at, const char *bytes, size_t len)
{
    const original *f = file_of(s, name);

    memcpy(s->now, f->bytes, at);
    memcpy(s->now + at, bytes, len);
    memcpy(s->now + at + len, f->bytes + at, f->len - at);
    put(s, name, f->len + len);
}

/* Where batch i of a file begins. */
static size_t batch(const scene *s, const char *name, size_t i)
{
    const original *f = file_of(s, name);

    return batch_at(f->bytes, f->len, i);
}

static void swap_batches(scene *s, const char *name, size_t i)
{
    const original *f = file_of(s, name);
    size_t one = batch(s, name, i), two = batch(s, name, i + 1), end = batch(s, name, i + 2);

    copy_of(s, name);
    memcpy(s->now + one, f->bytes + two, end - two);
    memcpy(s->now + one + (end - two), f->bytes + one, two - one);
    put(s, name, f->len);
}

static void as_if(scene *s, const char *name, const char *other)
{
    copy_of(s, other);
    put(s, name, file_of(s, other)->len);
}

/* ---- the cases ---- */

static void the_last_file(void **state)
{
    scene *s = *state;
    size_t len = file_of(s, LAST)->len, last = batch(s, LAST, 8), middle = batch(s, LAST, 4);

    expect(s, "nothing", SAME);
    cut(s, LAST, len - 1), expect(s, "a byte is missing", CUT);
    cut(s, LAST, last + 10), expect(s, "within a header", CUT);
    cut(s, LAST, last), expect(s, "a whole batch is missing", CUT);
    cut(s, LAST, middle + 3), expect(s, "half is missing", CUT);
    cut(s, LAST, AOF_OPENING_BYTES), expect(s, "all batches are missing", CUT);
    cut(s, LAST, 20), expect(s, "within the opening", CUT);
    cut(s, LAST, 0), expect(s, "it is empty", CUT);
    flip(s, LAST, len - 3), expect(s, "a bit of the last batch", CUT);
    flip(s, LAST, last + 8), expect(s, "a bit of the last header", CUT);
    flip(s, LAST, middle + 8), expect(s, "a bit of a header", REFUSED);
    flip(s, LAST, middle + AOF_HEADER_BYTES + 4), expect(s, "a bit of a batch", REFUSED);
    flip(s, LAST, 12), expect(s, "a bit of the opening", REFUSED);
    zero(s, LAST, last, len), expect(s, "the last batch is zeros", CUT);
    zero(s, LAST, len - 9, len), expect(s, "its end is zeros", CUT);
    zero(s, LAST, middle, middle + 200), expect(s, "zeros in the middle", REFUSED);
    zero(s, LAST, 0, 60), expect(s, "zeros at the beginning", REFUSED);
    zero(s, LAST, 0, len), expect(s, "nothing but zeros", REFUSED);
    lose(s, LAST, middle, batch(s, LAST, 5)), expect(s, "a batch is lost", REFUSED);
    lose(s, LAST, middle + 5, middle + 6), expect(s, "a byte is lost", REFUSED);
    lose(s, LAST, 30, middle), expect(s, "the beginning is lost", REFUSED);
    swap_batches(s, LAST, 3), expect(s, "two batches change places", REFUSED);
    insert(s, LAST, middle, file_of(s, LAST)->bytes + middle, batch(s, LAST, 5) - middle);
    expect(s, "a batch is there twice", REFUSED);
    insert(s, LAST, len, file_of(s, LAST)->bytes + last, len - last);
    expect(s, "the last batch is there twice", REFUSED);
    insert(s, LAST, len, "\0\0\0\0\0\0\0\0\0\0", 10), expect(s, "zeros behind it", CUT);
    insert(s, LAST, len, "rubbish", 7), expect(s, "rubbish behind it", CUT);
    insert(s, LAST, middle, "rubbish", 7), expect(s, "rubbish in it", REFUSED);
    insert(s, LAST, len, file_of(s, MIDDLE)->bytes, file_of(s, MIDDLE)->len);
    expect(s, "another file behind it", CUT);
    as_if(s, LAST, MIDDLE), expect(s, "another file in its place", REFUSED);
    as_if(s, LAST, MANIFEST), expect(s, "another kind of file in its place", REFUSED);
    unlink(path_in(&s->bed, LAST)), expect(s, "it is missing", REFUSED);
}

static void a_file_before_it(void **state)
{
    scene *s = *state;
    size_t len = file_of(s, MIDDLE)->len, last = batch(s, MIDDLE, 3);

    cut(s, MIDDLE, len - 1), expect(s, "a byte is missing", REFUSED);
    cut(s, MIDDLE, last), expect(s, "a whole batch is missing", REFUSED);
    cut(s, MIDDLE, AOF_OPENING_BYTES), expect(s, "all batches are missing", REFUSED);
    cut(s, MIDDLE, 0), expect(s, "it is empty", REFUSED);
    flip(s, MIDDLE, len - 3), expect(s, "a bit of the last batch", REFUSED);
    flip(s, MIDDLE, last - 3), expect(s, "a bit of a batch", REFUSED);
    zero(s, MIDDLE, last, len), expect(s, "the last batch is zeros", REFUSED);
    insert(s, MIDDLE, len, "\0\0\0\0\0", 5), expect(s, "zeros behind it", REFUSED);
    insert(s, MIDDLE, len, file_of(s, MIDDLE)->bytes + last, len - last);
    expect(s, "the last batch is there twice", REFUSED);
    as_if(s, MIDDLE, LAST), expect(s, "another file in its place", REFUSED);
    unlink(path_in(&s->bed, MIDDLE)), expect(s, "it is missing", REFUSED);
}

static void the_base(void **state)
{
    scene *s = *state;
    size_t len = file_of(s, BASE)->len;

    cut(s, BASE, len - 1), expect(s, "a byte is missing", REFUSED);
    cut(s, BASE, len / 2), expect(s, "half is missing", REFUSED);
    cut(s, BASE, 0), expect(s, "it is empty", REFUSED);
    flip(s, BASE, 3), expect(s, "a bit of its name", REFUSED);
    flip(s, BASE, len / 2), expect(s, "a bit in the middle", REFUSED);
    flip(s, BASE, len - 2), expect(s, "a bit of the checksum", REFUSED);
    zero(s, BASE, len / 3, len / 2), expect(s, "zeros in the middle", REFUSED);
    zero(s, BASE, len - 16, len), expect(s, "zeros at the end", REFUSED);
    insert(s, BASE, len, "rubbish", 7), expect(s, "rubbish behind it", REFUSED);
    as_if(s, BASE, LAST), expect(s, "another file in its place", REFUSED);
    unlink(path_in(&s->bed, BASE)), expect(s, "it is missing", REFUSED);
}

/* ---- the manifest, also as somebody would write it who knows nothing of ours ---- */

static void write_manifest(scene *s, const char *text)
{
    strcpy(s->now, text);
    put(s, MANIFEST, strlen(text));
}

static void the_manifest(void **state)
{
    scene *s = *state;
    const original *f = file_of(s, MANIFEST);
    char *second = (char *)memchr(f->bytes, '\n', f->len) + 1;
    size_t first_len = (size_t)(second - f->bytes);
    size_t second_len = (size_t)((char *)memchr(second, '\n', f->len - first_len) + 1 - second);

    lose(s, MANIFEST, 0, first_len), expect(s, "the line of the base is lost", REFUSED);
    lose(s, MANIFEST, first_len, first_len + second_len), expect(s, "a line is lost", REFUSED);
    insert(s, MANIFEST, 0, second, second_len), expect(s, "a line is there twice", REFUSED);
    cut(s, MANIFEST, f->len - 16), expect(s, "its checksum is lost", REFUSED);
    cut(s, MANIFEST, first_len), expect(s, "only the base is left", REFUSED);
    cut(s, MANIFEST, 0), expect(s, "it is empty", REFUSED);
    as_if(s, MANIFEST, LAST), expect(s, "another file in its place", REFUSED);
#define LINE(name, seq, type) "file " name " seq " seq " type " type "\n"
    write_manifest(s, LINE(BASE, "1", "b") LINE(MIDDLE, "2", "i") LINE(LAST, "3", "i"));
    expect(s, "in Redis's words", SAME);
    write_manifest(s, LINE(BASE, "1", "b") LINE(LAST, "2", "i") LINE(MIDDLE, "3", "i"));
    expect(s, "two files change places", REFUSED);
    write_manifest(s, LINE(BASE, "1", "b") LINE(MIDDLE, "3", "i") LINE(LAST, "2", "i"));
    expect(s, "out of order", REFUSED);
    write_manifest(s, LINE(BASE, "1", "b") LINE(MIDDLE, "2", "i") LINE(MIDDLE, "3", "i"));
    expect(s, "a file is there twice", REFUSED);
    write_manifest(s, LINE(BASE, "1", "b") LINE(BASE, "2", "i") LINE(LAST, "3", "i"));
    expect(s, "a base between incremental files", REFUSED);
    write_manifest(s, LINE("../" BASE, "1", "b"));
    expect(s, "a file elsewhere", REFUSED);
    write_manifest(s, LINE(BASE, "1", "x"));
    expect(s, "a type that there is not", REFUSED);
#undef LINE
}

/* ---- random ones ---- */

/* A position, often near the end. */
static size_t somewhere(scene *s, size_t len)
{
    size_t n = (size_t)rand_r(&s->seed) % (len + 1);

    return rand_r(&s->seed) % 3 ? n : len - n / 16;
}

/* Does something to the bytes in s->now; the new length. */
static size_t change(scene *s, size_t len)
{
    size_t from = somewhere(s, len), to = somewhere(s, len), n;

    if (from > to)
        n = from, from = to, to = n;
    n = to - from;
    switch (rand_r(&s->seed) % 7) {
    case 0:
        return from;
    case 1:
        if (len)
            s->now[from % len] ^= (char)(1 << rand_r(&s->seed) % 8);
        return len;
    case 2:
        memset(s->now + from, 0, n);
        return len;
    case 3:
        memmove(s->now + from, s->now + to, len - to);
        return len - n;
    case 4: /* a part of it again, at the end */
        memcpy(s->now + len, s->now + from, n);
        return len + n;
    case 5:
        memset(s->now + len, rand_r(&s->seed) % 2 ? 0 : rand_r(&s->seed), 100);
        return len + (size_t)rand_r(&s->seed) % 100;
    default: /* one part in the place of another */
        n = n < len - to ? n : len - to;
        memmove(s->now + to, s->now + from, n);
        return len;
    }
}

/* Of the manifest see the_manifest, and aof_test: bytes that are chosen well make one of Redis of it, which has no checksum. */
static void whatever_is_done(void **state)
{
    scene *s = *state;

    for (int i = 0; i < RANDOM; i++) {
        const char *name = names[rand_r(&s->seed) % (FILES - 1)];
        size_t len = file_of(s, name)->len;

        copy_of(s, name);
        for (int times = rand_r(&s->seed) % 2; times >= 0 && len < ROOM / 4; times--)
            len = change(s, len);
        put(s, name, len);
        judge(s);
        restore(s);
    }
}

/* ---- a power cut ---- */

/* A value of some bytes that are no zeros. */
static void set_random(bed *b, unsigned *seed)
{
    char key[16], *value = malloc(3 * PAGE);
    size_t len = (size_t)rand_r(seed) % (3 * PAGE);

    memset(value, 'v', len);
    snprintf(key, sizeof key, "key%d", rand_r(seed) % 8);
    assert_int_equal(kv_store_set(b->stores[0], kv_str(key), kv_slice_of(value, len), NULL, NOW_MS, NULL), 0);
    free(value);
    end_batch(b);
}

/* Pages behind what was synced may not have reached the disk, in any order. */
static void what_was_synced_survives_a_power_cut(void **state)
{
    unsigned seed = the_seed(), begun = seed;

    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t len, synced_len = 0, synced = 0;
        aof_end end;
        char *bytes, *served;
        bed b;

        make_bed(&b);
        begin_log(&b);
        for (int i = 0; i < 20; i++) {
            set_random(&b, &seed);
            if (rand_r(&seed) % 12 == 0) {
                assert_int_equal(aof_file_sync(&b.file), 0);
                synced = b.batches;
                synced_len = b.file.size;
            }
        }
        bytes = read_all(path_in(&b, INCR), &len);
        for (size_t page = synced_len / PAGE; page <= len / PAGE; page++)
            if (rand_r(&seed) % 3 == 0)
                for (size_t at = page * PAGE; at < (page + 1) * PAGE && at < len; at++)
                    if (at >= synced_len && at >= AOF_OPENING_BYTES)
                        bytes[at] = 0;
        if (rand_r(&seed) % 2 && len > synced_len)
            len = synced_len + (size_t)rand_r(&seed) % (len - synced_len);
        write_all(path_in(&b, INCR), bytes, len);
        if (load(&b, true, &served, &end) != AOF_LOG_LOADED)
            fail_msg("seed %u: refused: %s", begun, b.said);
        assert_true(end.next > synced && end.next <= b.batches + 1);
        assert_string_equal(served, b.states[end.next - 1]);
        free(served);
        free(bytes);
        end_bed(&b);
    }
}

/* The same zeros where all was on disk are damage: what is behind them was promised. */
static void zeros_in_what_was_synced_are_damage(void **state)
{
    unsigned seed = 1;
    size_t len, at;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    begin_log(&b);
    for (int i = 0; i < 20; i++)
        set_random(&b, &seed);
    assert_int_equal(aof_file_sync(&b.file), 0);
    assert_int_equal(aof_file_mark(&b.file), 0);
    bytes = read_all(path_in(&b, INCR), &len);
    for (size_t page = 1; (page + 1) * PAGE < len; page++) {
        char saved[PAGE];

        memcpy(saved, bytes + page * PAGE, PAGE);
        memset(bytes + page * PAGE, 0, PAGE);
        write_all(path_in(&b, INCR), bytes, len);
        assert_refused(&b, "is damaged at byte");
        memcpy(bytes + page * PAGE, saved, PAGE);
    }
    at = batch_at(bytes, len, 20) + AOF_HEADER_BYTES +
         5; /* the last batch before the mark is told from a torn one, too */
    bytes[at] ^= 1;
    write_all(path_in(&b, INCR), bytes, len);
    assert_refused(&b, "is damaged at byte");
    bytes[at] ^= 1;
    write_all(path_in(&b, INCR), bytes, len - 1); /* the mark itself is worth nothing */
    b.batches++;
    b.states[b.batches] = strdup(b.states[b.batches - 1]);
    assert_loads(&b, b.batches - 1);
    free(bytes);
    end_bed(&b);
}

/* ---- snapshots ---- */

static char *loaded_snapshot(bed *b, const char *path, int *ret_err)
{
    bed fresh = { .batches = 0 };
    rdb_load job = { .count = DBS, .threads = 2, .now_ms = NOW_MS };
    char *text;

    open_stores(&fresh);
    job.stores = fresh.stores;
    *ret_err = rdb_load_file(&job, path, NULL);
    text = state_of(&fresh);
    close_stores(&fresh);
    snprintf(b->said, sizeof b->said, "%s", job.reason);
    return text;
}

static void a_damaged_snapshot_is_refused(void **state)
{
    scene *s = *state;
    const original *f = file_of(s, BASE);
    size_t refused = 0;
    int err;
    char *text = loaded_snapshot(&s->bed, path_in(&s->bed, BASE), &err), *whole = text;

    assert_int_equal(err, 0);
    for (int i = 0; i < RANDOM; i++) {
        size_t len;

        copy_of(s, BASE);
        len = change(s, f->len);
        put(s, BASE, len);
        text = loaded_snapshot(&s->bed, path_in(&s->bed, BASE), &err);
        if (err == 0 && strcmp(text, whole) != 0)
            fail_msg("seed %u: what is served was never there:\n%s", s->seed, text);
        if (err && !strstr(s->bed.said, "at offset "))
            fail_msg("no offset: %s", s->bed.said);
        refused += err != 0;
        free(text);
    }
    assert_true(refused > RANDOM / 2);
    free(whole);
    restore(s);
}

#define with_scene(test) cmocka_unit_test_setup_teardown(test, make_scene, drop_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_scene(the_last_file),
        with_scene(a_file_before_it),
        with_scene(the_base),
        with_scene(the_manifest),
        with_scene(whatever_is_done),
        cmocka_unit_test(what_was_synced_survives_a_power_cut),
        cmocka_unit_test(zeros_in_what_was_synced_are_damage),
        with_scene(a_damaged_snapshot_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
