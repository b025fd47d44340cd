/* filler_test.c - logs that are prepared ahead: filler is nothing, and hides nothing.
 *
 * The script's batches are written over filler. What is done to the file then is what a crash, a power cut or a disk does: whatever
 * of the last batch is not there is still filler.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_filler.h"

#define STEP 600
#define PAGE 4096

typedef struct scene {
    bed bed;
    char *bytes;           /* of the file as it was written */
    size_t len, end, last; /* of all of it; where the last batch ends, and begins */
} scene;

static int make_scene(void **state)
{
    scene *s = calloc(1, sizeof *s);

    assert_non_null(s);
    make_bed(&s->bed);
    s->bed.prepare = STEP;
    write_script(&s->bed, false);
    s->bytes = read_all(path_in(&s->bed, INCR), &s->len);
    s->end = batch_at(s->bytes, s->len, s->bed.batches + 1);
    s->last = batch_at(s->bytes, s->len, s->bed.batches);
    assert_int_equal(s->end, s->bed.file.size);
    assert_in_range(s->len - s->end, 1, STEP + AOF_FILLER_LINE);
    assert_int_equal(s->bytes[s->len - 1], '\n');
    *state = s;
    return 0;
}

static int drop_scene(void **state)
{
    scene *s = *state;

    free(s->bytes);
    end_bed(&s->bed);
    free(s);
    return 0;
}

static void put(scene *s, const char *bytes, size_t len)
{
    write_all(path_in(&s->bed, INCR), bytes, len);
}

static void assert_all(scene *s, bool in_silence)
{
    assert_loads(&s->bed, s->bed.batches);
    assert_int_equal(s->bed.said[0] == '\0', in_silence);
}

static void filler_is_nothing(void **state)
{
    scene *s = *state;

    assert_all(s, true);
    for (size_t len = s->end + 2; len < s->len; len++) { /* one byte might be the first of a batch */
        put(s, s->bytes, len);
        assert_all(s, true);
    }
}

static void what_follows_overwrites_it(void **state)
{
    scene *s = *state;
    bed *b = &s->bed;
    aof_end end;
    char *text;

    aof_file_close(&b->file);
    put(s, s->bytes, s->len); /* closing has cut it off */
    assert_int_equal(load(b, true, &text, &end), AOF_LOG_LOADED);
    free(text);
    assert_true(end.has_last && end.last.size == s->end);
    assert_int_equal(end.filler_bytes, s->len - s->end);
    assert_int_equal(end.torn_bytes, 0);
    assert_int_equal(aof_log_continue(&b->log, &end, &b->file), 0);
    aof_buffer_forget_db(&b->buffer);
    for (int i = 0; i < 20; i++)
        run(b, i % 2, "APPEND more x");
    assert_all(s, true);
}

static void closing_cuts_it_off(void **state)
{
    scene *s = *state;
    size_t len;
    char *bytes;

    aof_file_close(&s->bed.file);
    bytes = read_all(path_in(&s->bed, INCR), &len);
    assert_int_equal(len, s->end);
    free(bytes);
    assert_all(s, true);
}

/* redis-server reads lines: each that is no part of a command begins with '#'. */
static void no_batch_leaves_the_end_of_a_line_behind_it(void **state)
{
    scene *s = *state;
    bed *b = &s->bed;
    char words[32 + AOF_FILLER_LINE], x[AOF_FILLER_LINE];
    bool splits = false;

    memset(x, 'x', sizeof x);
    for (size_t i = 0; i < 2 * AOF_FILLER_LINE && b->batches + 1 < STATES_MAX; i++) {
        uint64_t room =
            AOF_FILLER_LINE - 1 - (b->file.size + 5) % AOF_FILLER_LINE; /* 5 in 64 of the ends to come */
        size_t len;
        char *bytes;

        snprintf(words, sizeof words, "SET long %.*s", (int)(1 + (room + i) % 63), x);
        run(b, 0, words);
        bytes = read_all(path_in(b, INCR), &len);
        if (len > b->file.size) {
            splits |= aof_filler_at(b->file.size) == '\n';
            assert_int_equal(bytes[b->file.size], '#');
        }
        free(bytes);
    }
    assert_true(splits);
    assert_all(s, true);
}

static void a_torn_batch_over_it_is_cut(void **state)
{
    scene *s = *state;
    char *now = malloc(s->len);

    assert_non_null(now);
    for (size_t there = s->last; there < s->end; there++) { /* so much of it was written */
        memcpy(now, s->bytes, s->len);
        aof_filler_write(now + there, s->end - there, there);
        put(s, now, s->len);
        assert_loads(&s->bed, s->bed.batches - 1);
    }
    free(now);
}

/* Of the pieces of the last batch some are there, in every combination. */
static void a_batch_in_pieces_is_cut(void **state)
{
    enum { pieces = 8 };
    scene *s = *state;
    char *now = malloc(s->len);
    size_t len = (s->end - s->last + pieces - 1) / pieces;

    assert_non_null(now);
    for (unsigned lost = 1; lost < 1u << pieces; lost++) {
        memcpy(now, s->bytes, s->len);
        for (size_t i = 0, at = s->last; at < s->end; i++, at += len)
            if (lost >> i & 1)
                aof_filler_write(now + at, at + len < s->end ? len : s->end - at, at);
        put(s, now, s->len);
        assert_loads(&s->bed, s->bed.batches - 1);
    }
    free(now);
}

/* One of each byte: aof_test.c flips all. */
static void no_flipped_bit_is_served(void **state)
{
    scene *s = *state;

    for (size_t at = 0; at < s->len; at++) {
        s->bytes[at] ^= (char)(1 << at % 8);
        put(s, s->bytes, s->len);
        if (at < s->last)
            assert_refused(&s->bed, "damaged at byte");
        else
            assert_loads(&s->bed, s->bed.batches - (at < s->end));
        s->bytes[at] ^= (char)(1 << at % 8);
    }
}

static void zeros_behind_it_are_cut(void **state)
{
    scene *s = *state;
    char *now = calloc(1, s->len + 2 * PAGE);

    assert_non_null(now);
    memcpy(now, s->bytes, s->len);
    put(s, now, s->len + 2 * PAGE);
    assert_all(s, false);
    memset(now + s->end, 0, s->len - s->end);
    put(s, now, s->len);
    assert_all(s, false);
    free(now);
}

/* A batch that was there is filler again, and the ones behind it say that it was on disk. */
static void a_batch_that_was_on_disk_is_missed(void **state)
{
    scene *s = *state;
    bed *b = &s->bed;
    size_t len, from, to;
    char *bytes;

    assert_int_equal(aof_file_sync(&b->file), 0);
    run(b, 0, "SET one more");
    bytes = read_all(path_in(b, INCR), &len);
    for (size_t i = 1; i < b->batches; i++) {
        char *now = malloc(len);

        assert_non_null(now);
        memcpy(now, bytes, len);
        from = batch_at(bytes, len, i);
        to = batch_at(bytes, len, i + 1);
        aof_filler_write(now + from, to - from, from);
        put(s, now, len);
        assert_refused(b, "damaged at byte");
        free(now);
    }
    free(bytes);
}

/* Two batches that were not synced: the page with the first was not written, that with the second was. */
static void a_page_that_was_not_written_is_cut(void **state)
{
    scene *s = *state;
    bed *b = &s->bed;
    char words[1000] = "SET long ";
    size_t kept, len, page;
    char *bytes;

    assert_int_equal(aof_file_sync(&b->file), 0);
    kept = b->batches;
    b->prepare = 3 * PAGE;
    memset(words + 9, 'x', 200);
    do
        run(b, 0, words);
    while (b->file.size < PAGE + 100);
    run(b, 0, words);
    bytes = read_all(path_in(b, INCR), &len);
    page = PAGE;
    aof_filler_write(bytes + s->end, page - s->end, s->end);
    put(s, bytes, len);
    assert_loads(b, kept);
    assert_non_null(strstr(b->said, "is dropped, too"));
    free(bytes);
}

static void commands_behind_it_are_loaded(void **state)
{
    static const char more[] =
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nredis\r\n$1\r\n1\r\n";
    scene *s = *state;
    char *now = malloc(s->len + sizeof more), *text;
    aof_end end;

    assert_non_null(now);
    memcpy(now, s->bytes, s->len);
    memcpy(now + s->len, more, sizeof more - 1);
    put(s, now, s->len + sizeof more - 1);
    assert_int_equal(load(&s->bed, true, &text, &end), AOF_LOG_LOADED);
    assert_non_null(strstr(text, "redis=1"));
    assert_int_equal(end.next, s->bed.batches + 1);
    free(text);
    free(now);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scene, drop_scene)
    const struct CMUnitTest tests[] = {
        TEST(filler_is_nothing),
        TEST(what_follows_overwrites_it),
        TEST(closing_cuts_it_off),
        TEST(no_batch_leaves_the_end_of_a_line_behind_it),
        TEST(a_torn_batch_over_it_is_cut),
        TEST(a_batch_in_pieces_is_cut),
        TEST(no_flipped_bit_is_served),
        TEST(zeros_behind_it_are_cut),
        TEST(a_batch_that_was_on_disk_is_missed),
        TEST(a_page_that_was_not_written_is_cut),
        TEST(commands_behind_it_are_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
