/* rdb_test.c - RDB: what is written is read again; what redis-server writes is read; what is damaged is refused.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crc64.h"
#include "lzf.h"
#include "payload.h"
#include "rdb.h"

/* ---- helpers ---- */

typedef struct image {
    char *bytes;
    size_t len, size;
} image;

static int append(void *arg, const void *bytes, size_t len)
{
    image *to = arg;

    if (to->size - to->len < len) {
        to->size = (to->size + len) * 2;
        to->bytes = realloc(to->bytes, to->size);
        assert_non_null(to->bytes);
    }
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
    return 0;
}

static rdb_record record_of(kv_slice key, kv_slice value)
{
    return (rdb_record){ .key = key, .value = value, .deadline_ms = KV_FOREVER, .idle_s = -1, .freq = -1 };
}

/* A value with parts that repeat and parts that do not. */
static char *mixed_bytes(size_t len, unsigned seed)
{
    char *bytes = malloc(len + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (seed >> 16) % 7 || i < 40 ? (char)(seed >> 20) : bytes[i - 37];
        if (i % 97 > 50)
            bytes[i] = 'a';
    }
    return bytes;
}

static rdb_reader *reader_of(kv_slice *bytes, bool pass)
{
    rdb_read_options options = { .pass_unsupported = pass };
    rdb_reader *r = rdb_reader_new(&options, rdb_source_slice, bytes);

    assert_non_null(r);
    return r;
}

/* Reads to the end; returns how that was, and how many strings there were. */
static int read_all(kv_slice bytes, bool pass, size_t *ret_strings)
{
    rdb_reader *r = reader_of(&bytes, pass);
    rdb_item item;
    int err;

    *ret_strings = 0;
    while ((err = rdb_read(r, &item)) > 0)
        *ret_strings += item.kind == RDB_STRING;
    rdb_reader_free(r);
    return err;
}

/* ---- tests ---- */

static void the_checksum_is_the_one_of_redis(void **state)
{
    (void)state;
    assert_true(crc64(0, "123456789", 9) == 0xe9c6d914c4b8d9cau);
    assert_true(crc64(crc64(0, "12345", 5), "6789", 4) == 0xe9c6d914c4b8d9cau);
}

static void what_is_packed_unpacks_to_the_same(void **state)
{
    lzf_table table = { .base = 0 };

    (void)state;
    for (size_t len = 1; len < 3000; len += len / 7 + 1) {
        char *bytes = mixed_bytes(len, (unsigned)len), *packed = malloc(len), *back = malloc(len);
        size_t n = lzf_compress(&table, bytes, len, packed, len - 1);

        if (n > 0) {
            assert_true(lzf_decompress(packed, n, back, len));
            assert_memory_equal(bytes, back, len);
            assert_false(lzf_decompress(packed, n - 1, back, len));
            assert_false(lzf_decompress(packed, n, back, len - 1));
        }
        free(bytes);
        free(packed);
        free(back);
    }
}

static void a_run_of_one_byte_packs_well(void **state)
{
    lzf_table table = { .base = 0 };
    char run[1000], packed[1000], back[1000];
    size_t n;

    (void)state;
    memset(run, 'x', sizeof run);
    n = lzf_compress(&table, run, sizeof run, packed, sizeof packed);
    assert_in_range(n, 1, 20);
    assert_true(lzf_decompress(packed, n, back, sizeof back));
    assert_memory_equal(run, back, sizeof run);
}

/* Every length at which something changes, and every kind of number. */
static void what_is_written_is_read_again(void **state)
{
    static const char *const texts[] = {
        "",       "0",           "-1", "127",  "128", "-128",        "-129",        "32767",
        "-32768", "32768",       "00", "-0",   "+1",  "2147483647",  "-2147483648", "2147483648",
        "1e3",    "12345678901", "-",  "0x10", " 1",  "99999999999", "1234"
    };
    static const size_t sizes[] = { 1,     20,     21,     63,     64,     65,     16383,
                                    16384, 131071, 131072, 131073, 300000, 1200000 };
    enum { TEXTS = sizeof texts / sizeof texts[0], SIZES = sizeof sizes / sizeof sizes[0] };

    (void)state;
    for (int compress = 0; compress <= 1; compress++) {
        rdb_write_options options = { .compress = compress };
        image file = { 0 };
        rdb_writer *w = rdb_writer_new(&options, append, &file);
        rdb_item item;

        assert_int_equal(rdb_write_aux(w, KV_STR("redis-ver"), KV_STR("7.0.15")), 0);
        assert_int_equal(rdb_write_aux_int(w, KV_STR("least"), INT64_MIN), 0);
        assert_int_equal(rdb_write_db(w, 3, TEXTS + SIZES, 1), 0);
        for (size_t i = 0; i < TEXTS; i++) {
            rdb_record record = record_of(kv_str(texts[i]), kv_str(texts[TEXTS - 1 - i]));

            record.deadline_ms = i % 3 ? KV_FOREVER : 1700000000000 + (int64_t)i;
            record.idle_s = i % 4 == 1 ? (int64_t)i * 100 : -1;
            record.freq = i % 4 == 2 ? (int)i : -1;
            assert_int_equal(rdb_write_string(w, &record), 0);
        }
        for (size_t i = 0; i < SIZES; i++) {
            char *value = mixed_bytes(sizes[i], (unsigned)i);
            rdb_record record = record_of(kv_slice_of(value, sizes[i]), kv_slice_of(value, sizes[i]));

            assert_int_equal(rdb_write_string(w, &record), 0);
            free(value);
        }
        assert_int_equal(rdb_write_end(w), 0);
        assert_int_equal(rdb_writer_bytes(w), file.len);
        rdb_writer_free(w);

        kv_slice rest = kv_slice_of(file.bytes, file.len);
        rdb_reader *r = reader_of(&rest, false);

        assert_int_equal(rdb_read(r, &item), 1);
        assert_int_equal(item.kind, RDB_AUX);
        assert_true(kv_slice_equal(item.record.value, KV_STR("7.0.15")));
        assert_int_equal(rdb_read(r, &item), 1);
        assert_true(kv_slice_equal(item.record.value, KV_STR("-9223372036854775808")));
        assert_int_equal(rdb_read(r, &item), 1);
        assert_int_equal(item.kind, RDB_DB);
        assert_int_equal(item.record.db, 3);
        assert_int_equal(rdb_read(r, &item), 1);
        assert_int_equal(item.keys, TEXTS + SIZES);
        for (size_t i = 0; i < TEXTS; i++) {
            assert_int_equal(rdb_read(r, &item), 1);
            assert_int_equal(item.kind, RDB_STRING);
            assert_int_equal(item.record.db, 3);
            assert_true(kv_slice_equal(item.record.key, kv_str(texts[i])));
            assert_true(kv_slice_equal(item.record.value, kv_str(texts[TEXTS - 1 - i])));
            assert_int_equal(item.record.deadline_ms, i % 3 ? KV_FOREVER : 1700000000000 + (int64_t)i);
            assert_int_equal(item.record.idle_s, i % 4 == 1 ? (int64_t)i * 100 : -1);
            assert_int_equal(item.record.freq, i % 4 == 2 ? (int)i : -1);
        }
        for (size_t i = 0; i < SIZES; i++) {
            char *value = mixed_bytes(sizes[i], (unsigned)i);

            assert_int_equal(rdb_read(r, &item), 1);
            assert_true(kv_slice_equal(item.record.key, kv_slice_of(value, sizes[i])));
            assert_true(kv_slice_equal(item.record.value, kv_slice_of(value, sizes[i])));
            free(value);
        }
        assert_int_equal(rdb_read(r, &item), 0);
        rdb_reader_free(r);
        free(file.bytes);
    }
}

/* A small file with one of everything that is written. */
static image small_file(void)
{
    rdb_write_options options = { .compress = true };
    image file = { 0 };
    rdb_writer *w = rdb_writer_new(&options, append, &file);
    char *value = mixed_bytes(300, 5);
    rdb_record records[] = { record_of(KV_STR("text"), KV_STR("some text")),
                             record_of(KV_STR("number"), KV_STR("70000")),
                             record_of(KV_STR("7"), kv_slice_of(value, 300)) };

    records[1].deadline_ms = 1900000000000;
    rdb_write_aux(w, KV_STR("redis-ver"), KV_STR("7.0.15"));
    rdb_write_db(w, 0, 3, 1);
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
        rdb_write_string(w, &records[i]);
    assert_int_equal(rdb_write_end(w), 0);
    rdb_writer_free(w);
    free(value);
    return file;
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    image file = small_file();
    size_t strings;

    (void)state;
    assert_int_equal(read_all(kv_slice_of(file.bytes, file.len), false, &strings), 0);
    assert_int_equal(strings, 3);
    for (size_t len = 0; len < file.len; len++)
        assert_true(read_all(kv_slice_of(file.bytes, len), false, &strings) < 0);
    free(file.bytes);
}

static void a_flip_of_any_bit_is_refused(void **state)
{
    image file = small_file();
    size_t strings;

    (void)state;
    for (size_t bit = 0; bit < file.len * 8; bit++)
        for (int pass = 0; pass <= 1; pass++) {
            file.bytes[bit / 8] ^= (char)(1 << bit % 8);
            int err = read_all(kv_slice_of(file.bytes, file.len), pass, &strings);

            file.bytes[bit / 8] ^= (char)(1 << bit % 8);
            assert_true(err < 0);
        }
    free(file.bytes);
}

static ssize_t one_byte(void *arg, void *into, size_t max)
{
    (void)max;
    return rdb_source_slice(arg, into, 1);
}

static void a_source_that_gives_a_byte_at_a_time_is_enough(void **state)
{
    image file = small_file();
    kv_slice rest = kv_slice_of(file.bytes, file.len);
    rdb_reader *r = rdb_reader_new(NULL, one_byte, &rest);
    rdb_item item;
    size_t strings = 0;
    int err;

    (void)state;
    while ((err = rdb_read(r, &item)) > 0)
        strings += item.kind == RDB_STRING;
    assert_int_equal(err, 0);
    assert_int_equal(strings, 3);
    rdb_reader_free(r);
    free(file.bytes);
}

static void what_follows_the_file_is_left_over(void **state)
{
    image file = small_file();
    rdb_item item;

    (void)state;
    append(&file, "*1\r\n", 4);
    kv_slice rest = kv_slice_of(file.bytes, file.len);
    rdb_reader *r = reader_of(&rest, false);

    while (rdb_read(r, &item) > 0)
        ;
    assert_true(kv_slice_equal(rdb_reader_rest(r), KV_STR("*1\r\n")));
    rdb_reader_free(r);
    free(file.bytes);
}

static void a_promise_of_half_a_gigabyte_costs_nothing(void **state)
{
    static const char file[] = "REDIS0010\x00\x01k\x80\x1f\xff\xff\xff";
    size_t strings;

    (void)state;
    assert_int_equal(read_all(kv_slice_of(file, sizeof file - 1), false, &strings), RDB_EDAMAGED);
}

static void a_payload_is_the_one_of_redis(void **state)
{
    static const char hello[] =
        "\x00\x05\x68\x65\x6c\x6c\x6f\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a"; /* DUMP by redis-server 7.0.15 */
    char *payload;
    size_t len;

    (void)state;
    assert_int_equal(payload_encode(KV_STR("hello"), true, &payload, &len), 0);
    assert_int_equal(len, sizeof hello - 1);
    assert_memory_equal(payload, hello, len);
    free(payload);
}

static void a_payload_gives_its_value_back_and_any_flip_is_refused(void **state)
{
    char *value = mixed_bytes(200, 9), *payload, *memory;
    size_t sizes[] = { 0, 1, 5, 20, 21, 200 }, len;
    kv_slice back;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(payload_encode(kv_slice_of(value, sizes[i]), true, &payload, &len), 0);
        assert_int_equal(payload_decode(kv_slice_of(payload, len), &back, &memory, NULL), 0);
        assert_true(kv_slice_equal(back, kv_slice_of(value, sizes[i])));
        free(memory);
        for (size_t bit = 0; bit < len * 8; bit++) {
            payload[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_equal(payload_decode(kv_slice_of(payload, len), &back, &memory, NULL),
                             PAYLOAD_ECHECKSUM);
            payload[bit / 8] ^= (char)(1 << bit % 8);
        }
        free(payload);
    }
    assert_int_equal(payload_encode(KV_STR("-77"), true, &payload, &len), 0);
    assert_int_equal(payload_decode(kv_slice_of(payload, len), &back, &memory, NULL), 0);
    assert_true(kv_slice_equal(back, KV_STR("-77")));
    free(memory);
    free(payload);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_the_one_of_redis),
        cmocka_unit_test(what_is_packed_unpacks_to_the_same),
        cmocka_unit_test(a_run_of_one_byte_packs_well),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_flip_of_any_bit_is_refused),
        cmocka_unit_test(a_source_that_gives_a_byte_at_a_time_is_enough),
        cmocka_unit_test(what_follows_the_file_is_left_over),
        cmocka_unit_test(a_promise_of_half_a_gigabyte_costs_nothing),
        cmocka_unit_test(a_payload_is_the_one_of_redis),
        cmocka_unit_test(a_payload_gives_its_value_back_and_any_flip_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
