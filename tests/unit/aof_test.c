/* aof_test.c - the log of changes as a format: what was written is read again, and whatever is done to a file, what is served is
 * the state after some whole number of its batches, or nothing.
 *
 * A script of changes is written as one batch each, and the state after each is remembered as text. Then the file is cut at every byte,
 * every bit of it is flipped, its end is overwritten, its middle is lost.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_bed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_buffer.h"
#include "crc32c.h"

/* ---- tests ---- */

static void the_checksum_is_castagnolis(void **state)
{
    char bytes[100];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    for (size_t at = 0; at < 16; at++)
        for (size_t len = 0; len <= sizeof bytes - at; len++) {
            uint32_t whole = crc32c(7, bytes + at, len);

            assert_int_equal(whole, crc32c_plain(7, bytes + at, len));
            assert_int_equal(whole,
                             crc32c(crc32c(7, bytes + at, len / 3), bytes + at + len / 3, len - len / 3));
        }
}

static void long_pieces_have_the_same_checksum(void **state)
{
    size_t size = 20000;
    unsigned char *bytes = malloc(size);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 131 + (i >> 8) * 7);
    for (size_t len = 200; len < size; len += 61) {
        uint32_t plain = crc32c_plain((uint32_t)len, bytes + len % 8, len - 8);

        assert_int_equal(crc32c((uint32_t)len, bytes + len % 8, len - 8), plain);
        assert_int_equal(crc32c_narrow((uint32_t)len, bytes + len % 8, len - 8), plain);
    }
    free(bytes);
}

static void a_header_is_read_as_it_was_written_and_no_other(void **state)
{
    aof_header header = { 0x123456789abcdef0, 77, 5, 0xdeadbeef }, read = { 0 };
    char line[AOF_HEADER_BYTES];

    (void)state;
    aof_header_write(line, &header, 42);
    assert_true(aof_header_read(line, 42, &read));
    assert_true(read.sequence == header.sequence && read.length == header.length &&
                read.unsynced == header.unsynced && read.crc == header.crc);
    assert_false(aof_header_read(line, 43, &read));
    for (size_t bit = 0; bit < sizeof line * 8; bit++) {
        line[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(aof_header_read(line, 42, &read));
        line[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void what_was_written_is_read_again(void **state)
{
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, true);
    assert_loads(&b, b.batches);
    end_bed(&b);
}

static void cut_anywhere_the_last_whole_batch_is_the_end(void **state)
{
    bed b;

    (void)state;
    make_bed(&b);
    assert_cut_anywhere(&b);
    end_bed(&b);
}

static void no_flipped_bit_is_served(void **state)
{
    size_t len, last;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, INCR), &len);
    last = batch_at(bytes, len, b.batches);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        write_all(path_in(&b, INCR), bytes, len);
        if (bit / 8 < last)
            assert_refused(&b, "damaged at byte");
        else
            assert_loads(&b, b.batches - 1); /* not to be told from a batch that a crash has torn */
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    free(bytes);
    end_bed(&b);
}

static void no_flipped_bit_of_the_manifest_is_believed(void **state)
{
    size_t len;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, PREFIX ".manifest"), &len);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        write_all(path_in(&b, PREFIX ".manifest"), bytes, len);
        assert_refused(&b, "manifest");
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < len; n++) {
        write_all(path_in(&b, PREFIX ".manifest"), bytes, n);
        assert_refused(&b, "manifest");
    }
    free(bytes);
    end_bed(&b);
}

static void a_tail_of_zeros_or_garbage_is_cut(void **state)
{
    static const char *const tails[] = { "\0",       "garbage",  "#",
                                         "#KV1 ",    "*",        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$999\r\nx",
                                         "*1\r\n$x", "#KVLOG1 ", "\r\n",
                                         "$3\r\n" };
    size_t len;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, INCR), &len);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t n = i ? strlen(tails[i]) : 5000;

        memset(bytes + len, 0, 5000);
        memcpy(bytes + len, tails[i], i ? n : 1);
        write_all(path_in(&b, INCR), bytes, len + n);
        assert_loads(&b, b.batches);
        assert_non_null(strstr(b.said, "bad tail"));
    }
    free(bytes);
    end_bed(&b);
}

/* Removes or repeats whole batches, each of them undamaged. */
static void batches_that_are_missing_or_double_are_noticed(void **state)
{
    size_t len;
    char *bytes, *changed = malloc(1024 * 1024);
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, INCR), &len);
    for (size_t i = 1; i < b.batches; i++) {
        size_t from = batch_at(bytes, len, i), to = batch_at(bytes, len, i + 1);

        memcpy(changed, bytes, from);
        memcpy(changed + from, bytes + to, len - to);
        write_all(path_in(&b, INCR), changed, len - (to - from));
        assert_refused(&b, "is expected and batch");
        memcpy(changed, bytes, to);
        memcpy(changed + to, bytes + from, len - from);
        write_all(path_in(&b, INCR), changed, len + (to - from));
        assert_refused(&b, "is expected and batch");
        memcpy(changed, bytes, len);
        memset(changed + from, 0, to - from);
        write_all(path_in(&b, INCR), changed, len);
        assert_refused(&b, "follows at byte");
    }
    free(changed);
    free(bytes);
    end_bed(&b);
}

static void a_bad_tail_stays_unless_it_may_be_cut(void **state)
{
    aof_end end;
    char *text;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    assert_int_equal(truncate(path_in(&b, INCR), (off_t)b.file.size - 1), 0);
    assert_int_equal(load(&b, false, &text, &end), AOF_LOG_REFUSED);
    assert_non_null(strstr(b.said, "aof-load-truncated is no"));
    free(text);
    assert_loads(&b, b.batches - 1);
    end_bed(&b);
}

/* Twice cut and gone on with: the sequences stay without a gap. */
static void a_cut_log_goes_on(void **state)
{
    aof_end end;
    char *text;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    for (int crash = 0; crash < 2; crash++) {
        assert_int_equal(truncate(path_in(&b, INCR), (off_t)b.file.size - 3), 0);
        aof_file_close(&b.file);
        assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
        assert_true(end.has_last);
        assert_int_equal(end.next, b.batches);
        free(text);
        assert_int_equal(aof_log_continue(&b.log, &end, &b.file), 0);
        free(b.states[b.batches--]);
        b.states[b.batches + 1] = NULL;
        aof_buffer_forget_db(&b.buffer);
        run(&b, 0, crash ? "SETRANGE k 10 z" : "SET last 1");
    }
    free(b.states[b.batches]);
    assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
    b.states[b.batches] = text;
    assert_non_null(strstr(text, "(11,"));
    assert_null(strstr(text, "last"));
    end_bed(&b);
}

/* A log as redis-server writes it has nothing but commands. */
static void commands_without_batches_are_loaded(void **state)
{
    static const char commands[] =
        "#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
        "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
        "*1\r\n$4\r\nEXEC\r\n";
    static const char manifest[] = "file " INCR " seq 1 type i\n";
    static const char *const wanted[] = { "", "1 k=v(1,", "1 n=2(1,", NULL };
    aof_end end;
    char *text;
    bed b;

    (void)state;
    make_bed(&b);
    write_all(path_in(&b, PREFIX ".manifest"), manifest, sizeof manifest - 1);
    for (size_t n = 0; n < sizeof commands; n++) {
        write_all(path_in(&b, INCR), commands, n);
        assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
        assert_true((strstr(text, wanted[1]) != NULL) == (n >= 66));
        assert_true((strstr(text, wanted[2]) != NULL) ==
                    (n == sizeof commands - 1)); /* all of it or nothing */
        assert_null(strstr(text, "n=1"));
        assert_false(end.has_last);
        free(text);
    }
    write_all(path_in(&b, INCR), "*2\r\n$4\r\nHGET\r\n$1\r\nk\r\n", 22);
    assert_refused(&b, "'HGET' is a command that this server does not have");
    write_all(path_in(&b, INCR), "*1\r\n$4\r\nINCR\r\n", 14);
    assert_refused(&b, "wrong number of arguments");
    write_all(path_in(&b, INCR), "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\nrubbish", 28);
    assert_refused(&b, "byte 21: what stands there is no command");
    end_bed(&b);
}

/* What redis-server has written is not gone on with, but followed by a new file: so its bad tail is cut off, or the next start would
 * find it in the middle. base: the file is one. */
static void assert_cut_commands_go_on(bool base)
{
    static const char commands[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*3\r\n$3\r\nSE";
    const char *manifest = base ? "file " INCR " seq 1 type b\n" : "file " INCR " seq 1 type i\n";
    aof_end end;
    char *text;
    bed b;

    make_bed(&b);
    write_all(path_in(&b, MANIFEST), manifest, strlen(manifest));
    write_all(path_in(&b, INCR), commands, sizeof commands - 1);
    assert_int_equal(aof_log_open(&b.log), 0);
    assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
    assert_int_equal(end.torn_bytes, 10);
    free(text);
    assert_int_equal(aof_log_continue(&b.log, &end, &b.file), 0);
    run(&b, 0, "SET after 1");
    assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
    assert_int_equal(end.torn_bytes, 0);
    assert_non_null(strstr(text, "k=v("));
    assert_non_null(strstr(text, "after=1("));
    free(text);
    end_bed(&b);
}

static void a_cut_log_of_commands_goes_on(void **state)
{
    (void)state;
    assert_cut_commands_go_on(false);
    assert_cut_commands_go_on(true);
}

/* redis-server appends to the last file of ours that it has loaded. */
static void commands_behind_batches_are_loaded(void **state)
{
    static const char more[] =
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nredis\r\n$1\r\n1\r\n";
    aof_end end;
    size_t len;
    char *bytes, *text;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, INCR), &len);
    memcpy(bytes + len, more, sizeof more - 1);
    write_all(path_in(&b, INCR), bytes, len + sizeof more - 1);
    assert_int_equal(load(&b, true, &text, &end), AOF_LOG_LOADED);
    assert_non_null(strstr(text, "redis=1"));
    assert_false(end.has_last); /* the next batch stands in a new file */
    assert_int_equal(end.next, b.batches + 1);
    free(text);
    free(bytes);
    end_bed(&b);
}

/* No shard is there to be held. */
KV_UNCHECKED static void note_alone(aof_buffer *buffer, aof_writer *writer, const kv_change *change)
{
    aof_buffer_note(buffer, writer, change, 0, 0);
}

/* The sanitizers' allocators, too, are to say that there is no memory. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void memory_that_is_out_is_noticed(void **state)
{
    kv_change change = { .kind = KV_CHANGE_SET, .key = { "k", SIZE_MAX / 2 }, .deadline_ms = KV_FOREVER };
    aof_queue queue = { 0 };
    aof_buffer buffer;
    aof_writer writer = { 0 };
    uint64_t end;

    (void)state;
    aof_buffer_init(&buffer);
    note_alone(&buffer, &writer, &change);
    assert_int_equal(aof_buffer_take(&buffer, &queue, &end), AOF_LOST);
    aof_buffer_clear(&buffer);
    assert_int_equal(aof_buffer_take(&buffer, &queue, &end), AOF_TAKEN);
    aof_queue_clear(&queue);
    aof_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_castagnolis),
        cmocka_unit_test(long_pieces_have_the_same_checksum),
        cmocka_unit_test(a_header_is_read_as_it_was_written_and_no_other),
        cmocka_unit_test(what_was_written_is_read_again),
        cmocka_unit_test(cut_anywhere_the_last_whole_batch_is_the_end),
        cmocka_unit_test(no_flipped_bit_is_served),
        cmocka_unit_test(no_flipped_bit_of_the_manifest_is_believed),
        cmocka_unit_test(a_tail_of_zeros_or_garbage_is_cut),
        cmocka_unit_test(batches_that_are_missing_or_double_are_noticed),
        cmocka_unit_test(a_bad_tail_stays_unless_it_may_be_cut),
        cmocka_unit_test(a_cut_log_goes_on),
        cmocka_unit_test(commands_without_batches_are_loaded),
        cmocka_unit_test(a_cut_log_of_commands_goes_on),
        cmocka_unit_test(commands_behind_batches_are_loaded),
        cmocka_unit_test(memory_that_is_out_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
