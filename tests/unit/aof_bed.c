/* aof_bed.c - see aof_bed.h. SPDX-License-Identifier: MIT */
#include "aof_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "rdb_load.h"

#define NOW 1700000000000
#define BIG (40 * 1024)

/* ---- databases that tell what they do ---- */

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

void open_stores(bed *b)
{
    kv_store_options options = { .domain = NULL };

    b->domain = kv_domain_new(NULL);
    assert_non_null(b->domain);
    options.domain = b->domain;
    for (int i = 0; i < DBS; i++) {
        b->stores[i] = kv_store_new(&options);
        assert_non_null(b->stores[i]);
    }
    b->databases = (kv_databases){ .stores = b->stores, .count = DBS };
}

void close_stores(bed *b)
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

char *state_of(bed *b)
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

void make_bed(bed *b)
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

char *path_in(const bed *b, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    return path;
}

void end_bed(bed *b)
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

void end_batch(bed *b)
{
    aof_queue queue = { 0 };
    uint64_t end;

    assert_int_equal(aof_buffer_take(&b->buffer, &queue, &end), AOF_TAKEN);
    if (queue.bytes) {
        assert_int_equal(aof_file_prepare(&b->file, queue.bytes, b->prepare), 0);
        assert_int_equal(aof_file_write(&b->file, &queue), 0);
        b->batches++;
        assert_true(b->batches < STATES_MAX);
        b->states[b->batches] = state_of(b);
    }
    aof_queue_clear(&queue);
}

void run(bed *b, int db, const char *words)
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

void begin_log(bed *b)
{
    aof_end end = { .next = 1 };

    assert_int_equal(aof_log_open(&b->log), -ENOENT);
    assert_int_equal(aof_log_continue(&b->log, &end, &b->file), 0);
    b->states[0] = state_of(b);
}

void write_script(bed *b, bool with_big)
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

static aof_log_found load_base(void *arg, const char *path, uint64_t *ret_bytes)
{
    bed *fresh = arg;

    rdb_load job = { .stores = fresh->stores, .count = DBS, .threads = 1, .now_ms = INT64_MIN };
    int err = rdb_load_file(&job, path, ret_bytes);

    if (err)
        snprintf(fresh->said, sizeof fresh->said, "%s", err > 0 ? "it is not there" : job.reason);
    return err ? AOF_LOG_REFUSED : AOF_LOG_LOADED;
}

aof_log_found load(bed *b, bool cut_tail, char **ret_state, aof_end *ret_end)
{
    bed fresh = { .log = { .directory = b->directory, .prefix = PREFIX, .say = say, .arg = b } };
    aof_load_options options = { .now_ms = NOW,
                                 .threads = b->threads,
                                 .alone = 1,
                                 .cut_tail = cut_tail,
                                 .load_rdb = load_base,
                                 .rdb_arg = &fresh };
    aof_log_found found = AOF_LOG_REFUSED;

    b->said[0] = '\0';
    open_stores(&fresh);
    options.databases = &fresh.databases;
    if (aof_log_open(&fresh.log) == 0)
        found = aof_log_load(&fresh.log, &options, ret_end);
    if (fresh.said[0])
        memcpy(b->said, fresh.said, sizeof b->said);
    *ret_state = state_of(&fresh);
    aof_log_close(&fresh.log);
    close_stores(&fresh);
    return found;
}

void assert_loads(bed *b, size_t batches)
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

void assert_refused(bed *b, const char *why)
{
    aof_end end;
    char *state;

    assert_int_equal(load(b, true, &state, &end), AOF_LOG_REFUSED);
    if (!strstr(b->said, why))
        fail_msg("not '%s' but: %s", why, b->said);
    free(state);
}

char *read_all(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    char *bytes = malloc(1024 * 1024);

    assert_non_null(file);
    assert_non_null(bytes);
    *ret_len = fread(bytes, 1, 1024 * 1024, file);
    fclose(file);
    return bytes;
}

void write_all(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

size_t batch_at(const char *bytes, size_t len, size_t i)
{
    size_t at = AOF_OPENING_BYTES;

    for (; i > 1 && at < len; i--) {
        char digits[17] = { 0 };

        memcpy(digits, bytes + at + 22, 16);
        at += AOF_HEADER_BYTES + strtoull(digits, NULL, 16);
    }
    return at;
}

void assert_cut_anywhere(bed *b)
{
    size_t len, whole = 0;
    char *bytes;

    write_script(b, false);
    bytes = read_all(path_in(b, INCR), &len);
    for (size_t n = 0; n <= len; n++) {
        while (whole < b->batches && batch_at(bytes, len, whole + 2) <= n)
            whole++;
        write_all(path_in(b, INCR), bytes, n);
        assert_loads(b, whole);
        if (n > AOF_OPENING_BYTES && n < batch_at(bytes, len, whole + 1) + 1)
            assert_string_equal(b->said, "");
    }
    free(bytes);
}
