/* aof_test.c - the log of changes as a format: what was written is read again, and whatever is done to a file, what is served is
 * the state after some whole number of its batches, or nothing.
 *
 * A script of changes is written as one batch each, and the state after each is remembered as text. Then the file is cut at every byte,
 * every bit of it is flipped, its end is overwritten, its middle is lost.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_buffer.h"
#include "aof_log.h"
#include "crc32c.h"

#define NOW        1700000000000
#define DBS        2
#define PREFIX     "a.aof"
#define INCR       "a.aof.1.incr.aof"
#define STATES_MAX 64
#define BIG        (40 * 1024) /* long enough to be retained, not copied */

/* ---- databases that tell what they do ---- */

typedef struct bed {
    char directory[64];
    kv_domain *domain;
    kv_store *stores[DBS];
    kv_databases databases;
    aof_buffer buffer;
    aof_writer writer;
    aof_log log;
    aof_file file;
    char *states[STATES_MAX]; /* after so many batches */
    size_t batches;
    char said[2048];
} bed;

KV_UNDER_LOCK static void note(void *arg, const kv_change *change)
{
    bed *b = arg;
    int db = (int)((kv_store *const *)change->tag - b->stores);
    int other = change->other_tag ? (int)((kv_store *const *)change->other_tag - b->stores) : 0;

    aof_buffer_note(&b->buffer, &b->writer, change, db, other);
}

static void say(void *arg, aof_saying how, const char *text)
{
    bed *b = arg;

    (void)how;
    snprintf(b->said, sizeof b->said, "%s", text);
}

static void open_stores(bed *b)
{
    kv_store_options options = { .domain = NULL };

    b->domain = kv_domain_new(NULL);
    assert_non_null(b->domain);
    options.domain = b->domain;
    for (int i = 0; i < DBS; i++) {
        b->stores[i] = kv_store_new(&options);
        assert_non_null(b->stores[i]);
    }
    b->databases = (kv_databases){ b->stores, DBS };
}

static void close_stores(bed *b)
{
    for (int i = 0; i < DBS; i++)
        kv_store_unref(b->stores[i]);
    kv_domain_unref(b->domain);
}

/* ---- the state as text ---- */

typedef struct listed {
    char text[160];
} listed;

typedef struct listing {
    listed lines[128];
    size_t count;
} listing;

static void list_entry(void *arg, const entry *e)
{
    listing *l = arg;
    kv_slice key = entry_key(e), value = entry_value(e, NULL);

    assert_true(l->count < 128);
    snprintf(l->lines[l->count++].text, sizeof(listed), "%.*s=%.*s(%zu,%08x)@%lld", (int)key.len, key.data,
             (int)(value.len < 32 ? value.len : 32), value.data, value.len, crc32c(0, value.data, value.len),
             (long long)entry_deadline(e));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const listed *)a)->text, ((const listed *)b)->text);
}

/* All keys of all databases, sorted; to be freed. */
static char *state_of(bed *b)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    for (int db = 0; db < DBS; db++) {
        listing l = { .count = 0 };
        uint64_t cursor = 0;

        assert_int_equal(epoch_enter(b->domain), 0);
        do
            cursor = store_scan(b->stores[db], cursor, list_entry, &l, INT64_MIN);
        while (cursor);
        epoch_leave(b->domain);
        qsort(l.lines, l.count, sizeof(listed), by_text);
        for (size_t i = 0; i < l.count; i++)
            fprintf(out, "%d %s\n", db, l.lines[i].text);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

/* ---- writing a log ---- */

static void make_bed(bed *b)
{
    *b = (bed){ .file.fd = -1 };
    strcpy(b->directory, "/tmp/aof-test-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    b->log = (aof_log){ .directory = b->directory, .prefix = PREFIX, .say = say, .arg = b };
    open_stores(b);
    aof_buffer_init(&b->buffer);
    for (int i = 0; i < DBS; i++)
        kv_store_on_change(b->stores[i], note, b, &b->stores[i]);
}

static char *path_in(const bed *b, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    return path;
}

static void end_bed(bed *b)
{
    char command[128];

    aof_file_close(&b->file);
    aof_log_close(&b->log);
    aof_buffer_done(&b->buffer);
    aof_writer_done(&b->writer);
    close_stores(b);
    for (size_t i = 0; i < STATES_MAX; i++)
        free(b->states[i]);
    snprintf(command, sizeof command, "rm -rf %s", b->directory);
    assert_int_equal(system(command), 0);
}

/* What was told since the last one becomes a batch. */
static void end_batch(bed *b)
{
    aof_queue queue = { 0 };
    uint64_t end;

    assert_int_equal(aof_buffer_take(&b->buffer, &queue, &end), AOF_TAKEN);
    if (queue.bytes) {
        assert_int_equal(aof_file_write(&b->file, &queue), 0);
        b->batches++;
        assert_true(b->batches < STATES_MAX);
        b->states[b->batches] = state_of(b);
    }
    aof_queue_clear(&queue);
}

/* Runs a command of the table, without its reply. */
static void run(bed *b, int db, const char *words)
{
    char copy[256], *rest = copy;
    kv_slice argv[16];
    int argc = 0;
    kv_value *value;

    strcpy(copy, words);
    for (char *word; (word = strsep(&rest, " "));)
        argv[argc++] = kv_str(word);
    assert_int_equal(kv_exec(b->stores[db], argc, argv, &value, NOW), 0);
    kv_value_free(value);
    end_batch(b);
}

static void set_big(bed *b, const char *key)
{
    char *value = malloc(BIG);

    memset(value, 'b', BIG);
    assert_int_equal(kv_store_set(b->stores[0], kv_str(key), kv_slice_of(value, BIG), NULL, NOW, NULL), 0);
    free(value);
    end_batch(b);
}

static void move_between(bed *b)
{
    kv_store *one = b->stores[0], *two = b->stores[1];

    assert_int_equal(epoch_enter(b->domain), 0);
    assert_int_equal(store_transfer_key(one, store_key_of(one, KV_STR("moved")), two,
                                        store_key_of(two, KV_STR("moved")), STORE_MOVE, false, NOW),
                     0);
    epoch_leave(b->domain);
    end_batch(b);
}

static void begin_log(bed *b)
{
    aof_end end = { .next = 1 };

    assert_int_equal(aof_log_open(&b->log), -ENOENT);
    assert_int_equal(aof_log_continue(&b->log, &end, &b->file), 0);
    b->states[0] = state_of(b);
}

static void write_script(bed *b, bool with_big)
{
    begin_log(b);
    run(b, 0, "SET k 1");
    run(b, 0, "MSET a 1 b 2 c 3");
    run(b, 1, "SET k other PX 100000");
    run(b, 0, "APPEND k 23");
    run(b, 0, "RENAME a d");
    run(b, 0, "EXPIRE b 100");
    run(b, 0, "SET moved x");
    move_between(b);
    run(b, 0, "PERSIST b");
    if (with_big)
        set_big(b, "big");
    run(b, 1, "INCRBY n 41");
    run(b, 0, "DEL b c none");
    store_swap(b->stores[0], b->stores[1], 0);
    end_batch(b);
    run(b, 1, "FLUSHDB");
    run(b, 0, "SETRANGE k 10 z");
}

/* ---- reading it again ---- */

/* Loads what is in the directory into new databases; *ret_state is theirs. */
static aof_log_found load(bed *b, bool cut_tail, char **ret_state, aof_end *ret_end)
{
    bed fresh = { .log = { .directory = b->directory, .prefix = PREFIX, .say = say, .arg = b } };
    aof_load_options options = { .now_ms = NOW, .cut_tail = cut_tail };
    aof_log_found found = AOF_LOG_REFUSED;

    b->said[0] = '\0';
    open_stores(&fresh);
    options.databases = &fresh.databases;
    if (aof_log_open(&fresh.log) == 0)
        found = aof_log_load(&fresh.log, &options, ret_end);
    *ret_state = state_of(&fresh);
    aof_log_close(&fresh.log);
    close_stores(&fresh);
    return found;
}

static void assert_loads(bed *b, size_t batches)
{
    aof_end end;
    char *state;
    aof_log_found found = load(b, true, &state, &end);

    if (found != AOF_LOG_LOADED)
        fail_msg("refused: %s", b->said);
    assert_string_equal(state, b->states[batches]);
    assert_int_equal(end.next, batches + 1);
    free(state);
}

static void assert_refused(bed *b, const char *why)
{
    aof_end end;
    char *state;

    assert_int_equal(load(b, true, &state, &end), AOF_LOG_REFUSED);
    if (!strstr(b->said, why))
        fail_msg("not '%s' but: %s", why, b->said);
    free(state);
}

static char *read_all(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    char *bytes = malloc(1024 * 1024);

    assert_non_null(file);
    assert_non_null(bytes);
    *ret_len = fread(bytes, 1, 1024 * 1024, file);
    fclose(file);
    return bytes;
}

/* In place: to write a file anew each time would make the file system sync it. */
static void write_all(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

/* Where batch i (from 1) begins; i one too high: the end. */
static size_t batch_at(const char *bytes, size_t len, size_t i)
{
    size_t at = AOF_OPENING_BYTES;

    for (; i > 1 && at < len; i--) {
        char digits[17] = { 0 };

        memcpy(digits, bytes + at + 22, 16);
        at += AOF_HEADER_BYTES + strtoull(digits, NULL, 16);
    }
    return at;
}

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

static void a_header_is_read_as_it_was_written_and_no_other(void **state)
{
    aof_header header = { 0x123456789abcdef0, 77, 0xdeadbeef }, read = { 0 };
    char line[AOF_HEADER_BYTES];

    (void)state;
    aof_header_write(line, &header, 42);
    assert_true(aof_header_read(line, 42, &read));
    assert_true(read.sequence == header.sequence && read.length == header.length && read.crc == header.crc);
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
    size_t len, whole = 0;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    write_script(&b, false);
    bytes = read_all(path_in(&b, INCR), &len);
    for (size_t n = 0; n <= len; n++) {
        while (whole < b.batches && batch_at(bytes, len, whole + 2) <= n)
            whole++;
        write_all(path_in(&b, INCR), bytes, n);
        assert_loads(&b, whole);
        if (n > AOF_OPENING_BYTES && n < batch_at(bytes, len, whole + 1) + 1)
            assert_string_equal(b.said, "");
    }
    free(bytes);
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
        cmocka_unit_test(commands_behind_batches_are_loaded),
        cmocka_unit_test(memory_that_is_out_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
