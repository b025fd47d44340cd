/* rdb_read.c - reading RDB, item by item.
 *
 * A reader understands a file from its first byte to its checksum, or says where and why it stops: there is no damage
 * after which it goes on. Items are given out before the checksum was reached, so that a file of any size can be read in
 * bounded memory: who serves them must not before the end.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rdb_format.h"
#include "rdb_input.h"

struct rdb_reader {
    rdb_read_options options;
    rdb_input in;
    rdb_text key, value;
    unsigned version; /* of the file; 0: its head was not read yet */
    unsigned db;
    bool ended;
    char module[64]; /* "value of module NAME" */
};

rdb_reader *rdb_reader_new(const rdb_read_options *options, rdb_source_fn *source, void *arg)
{
    rdb_reader *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    if (options)
        r->options = *options;
    rdb_input_init(&r->in, source, arg);
    return r;
}

void rdb_reader_free(rdb_reader *r)
{
    if (!r)
        return;
    rdb_input_done(&r->in);
    rdb_text_done(&r->key);
    rdb_text_done(&r->value);
    free(r);
}

const char *rdb_reader_reason(const rdb_reader *r)
{
    return r->in.reason;
}

uint64_t rdb_reader_offset(const rdb_reader *r)
{
    return rdb_input_offset(&r->in);
}

kv_slice rdb_reader_rest(const rdb_reader *r)
{
    return kv_slice_of(r->in.buffer + r->in.at, r->in.end - r->in.at);
}

/* ---- the head and the foot ---- */

static int read_head(rdb_reader *r)
{
    const unsigned char *head;

    if (rdb_input_take(&r->in, 9, &head))
        return r->in.error;
    if (memcmp(head, "REDIS", 5) != 0)
        return rdb_input_fail(&r->in, RDB_EDAMAGED, "it does not begin as an RDB file does");
    for (unsigned i = 5; i < 9; i++) {
        if (head[i] < '0' || head[i] > '9')
            return rdb_input_fail(&r->in, RDB_EDAMAGED, "its version is no number");
        r->version = r->version * 10 + (head[i] - '0');
    }
    if (r->version < 1 || r->version > RDB_VERSION_READ)
        return rdb_input_fail(&r->in, RDB_EUNSUPPORTED, "RDB version %u: 1 to %d are supported", r->version,
                              RDB_VERSION_READ);
    return 0;
}

static int read_foot(rdb_reader *r)
{
    const unsigned char *foot;
    uint64_t crc = rdb_input_crc(&r->in), written;

    r->ended = true;
    if (r->version < 5)
        return 0;
    if (rdb_input_take(&r->in, 8, &foot))
        return r->in.error;
    written = rdb_get_little(foot, 8);
    if (written != 0 && written != crc && !r->options.no_checksum)
        return rdb_input_fail(&r->in, RDB_EDAMAGED,
                              "its checksum is %016llx, but that of its content %016llx",
                              (unsigned long long)written, (unsigned long long)crc);
    return 0;
}

/* ---- items ---- */

static int read_db(rdb_reader *r, rdb_item *item)
{
    uint64_t db;

    if (rdb_input_length(&r->in, &db))
        return r->in.error;
    if (db > INT32_MAX)
        return rdb_input_fail(&r->in, RDB_EDAMAGED, "there is no database %llu", (unsigned long long)db);
    item->kind = RDB_DB;
    r->db = item->record.db = (unsigned)db;
    return 1;
}

static int read_resize(rdb_reader *r, rdb_item *item)
{
    item->kind = RDB_DB;
    if (rdb_input_length(&r->in, &item->keys) || rdb_input_length(&r->in, &item->with_deadline))
        return r->in.error;
    return 1;
}

static int read_aux(rdb_reader *r, rdb_item *item)
{
    if (rdb_input_text(&r->in, &r->key) || rdb_input_text(&r->in, &r->value))
        return r->in.error;
    item->kind = RDB_AUX;
    item->record.key = rdb_text_slice(&r->in, &r->key);
    item->record.value = rdb_text_slice(&r->in, &r->value);
    return 1;
}

/* What is not supported, and was found at that offset: passes over it, or fails. key: what it belongs to, or NULL. */
static int refuse(rdb_reader *r, const char *type, const rdb_text *key, uint64_t offset)
{
    kv_slice name = key ? rdb_text_slice(&r->in, key) : KV_STR("");

    return rdb_input_fail(&r->in, RDB_EUNSUPPORTED, "%s%s%.*s%s at offset %llu is not supported", type,
                          key ? " \"" : "", (int)(name.len < 80 ? name.len : 80), name.data, key ? "\"" : "",
                          (unsigned long long)offset);
}

static int read_function(rdb_reader *r, rdb_item *item, uint64_t offset)
{
    if (!r->options.pass_unsupported)
        return refuse(r, "a library of functions", NULL, offset);
    item->kind = RDB_PASSED;
    item->type = "library of functions";
    return rdb_input_pass_text(&r->in) ? r->in.error : 1;
}

/* What modules keep beside keys is of no use without them, and passed over always. */
static int read_module_aux(rdb_reader *r, rdb_item *item)
{
    char name[10];

    if (rdb_pass_module_aux(&r->in, name))
        return r->in.error;
    item->kind = RDB_PASSED;
    snprintf(r->module, sizeof r->module, "data of module %s", name);
    item->type = r->module;
    return 1;
}

/* Keeps the key: passing over the value lets go of the window. */
static int keep_key(rdb_reader *r)
{
    kv_slice key = rdb_text_slice(&r->in, &r->key);

    if (r->key.where != RDB_IN_BUFFER)
        return 0;
    char *copy = malloc(key.len ? key.len : 1);

    if (!copy)
        return rdb_input_fail(&r->in, RDB_ENOMEM, "memory is out");
    memcpy(copy, key.data, key.len);
    free(r->key.unpacked);
    r->key.unpacked = copy;
    r->key.unpacked_size = key.len;
    r->key.where = RDB_UNPACKED;
    return 0;
}

static int pass_value(rdb_reader *r, rdb_item *item, unsigned type, uint64_t offset)
{
    const char *name = rdb_type_name(type);

    if (!name)
        return rdb_input_fail(&r->in, RDB_EDAMAGED, "there is no type %u", type);
    if (!r->options.pass_unsupported)
        return refuse(r, name, &r->key, offset);
    if (keep_key(r) || rdb_pass_value(&r->in, type))
        return r->in.error;
    item->kind = RDB_PASSED;
    item->type = name;
    item->record.key = rdb_text_slice(&r->in, &r->key);
    return 1;
}

static int read_key(rdb_reader *r, rdb_item *item, unsigned type, uint64_t offset)
{
    if (!rdb_type_name(type))
        return rdb_input_fail(&r->in, RDB_EDAMAGED, "there is no type %u", type);
    if (rdb_input_text(&r->in, &r->key))
        return r->in.error;
    if (type != RDB_TYPE_STRING)
        return pass_value(r, item, type, offset);
    if (rdb_input_text(&r->in, &r->value))
        return r->in.error;
    item->kind = RDB_STRING;
    item->record.key = rdb_text_slice(&r->in, &r->key);
    item->record.value = rdb_text_slice(&r->in, &r->value);
    return 1;
}

/* What stands before a key: when it ends, how it was used. 0: it was something else. */
static int read_attribute(rdb_reader *r, rdb_item *item, unsigned op)
{
    const unsigned char *bytes;
    uint64_t idle;

    switch (op) {
    case RDB_OP_EXPIRE_MS:
        if (rdb_input_take(&r->in, 8, &bytes))
            return r->in.error;
        item->record.deadline_ms = (int64_t)rdb_get_little(bytes, 8);
        return 1;
    case RDB_OP_EXPIRE_S:
        if (rdb_input_take(&r->in, 4, &bytes))
            return r->in.error;
        item->record.deadline_ms = (int64_t)(int32_t)rdb_get_little(bytes, 4) * 1000;
        return 1;
    case RDB_OP_IDLE:
        if (rdb_input_length(&r->in, &idle))
            return r->in.error;
        item->record.idle_s = idle < INT32_MAX ? (int64_t)idle : INT32_MAX;
        return 1;
    case RDB_OP_FREQ:
        if (rdb_input_take(&r->in, 1, &bytes))
            return r->in.error;
        item->record.freq = bytes[0];
        return 1;
    default:
        return 0;
    }
}

static int read_item(rdb_reader *r, rdb_item *item)
{
    for (;;) {
        uint64_t offset = rdb_input_offset(&r->in), slot[3];
        unsigned op;
        int err = rdb_input_byte(&r->in, &op);

        if (err || (err = read_attribute(r, item, op)) < 0)
            return r->in.error;
        if (err > 0)
            continue;
        switch (op) {
        case RDB_OP_END:
            return read_foot(r);
        case RDB_OP_DB:
            return read_db(r, item);
        case RDB_OP_RESIZE:
            return read_resize(r, item);
        case RDB_OP_AUX:
            return read_aux(r, item);
        case RDB_OP_FUNCTION:
            return read_function(r, item, offset);
        case RDB_OP_FUNCTION_EARLY:
            return refuse(r, "a function of a release candidate", NULL, offset);
        case RDB_OP_MODULE_AUX:
            return read_module_aux(r, item);
        case RDB_OP_SLOT_INFO: /* what a cluster node knows of the slot to come */
            for (unsigned i = 0; i < 3; i++)
                if (rdb_input_length(&r->in, &slot[i]))
                    return r->in.error;
            continue;
        default:
            return read_key(r, item, op, offset);
        }
    }
}

int rdb_read(rdb_reader *r, rdb_item *ret_item)
{
    if (r->in.error)
        return r->in.error;
    if (r->ended)
        return 0;
    if (r->version == 0 && read_head(r))
        return r->in.error;
    rdb_input_mark(&r->in);
    memset(ret_item, 0, sizeof *ret_item);
    ret_item->record = (rdb_record){
        .db = r->db, .deadline_ms = KV_FOREVER, .idle_s = RDB_IDLE_NONE, .freq = RDB_FREQ_NONE
    };
    return read_item(r, ret_item);
}

/* ---- sources ---- */

ssize_t rdb_source_fd(void *arg, void *into, size_t max)
{
    ssize_t got;

    do
        got = read(*(int *)arg, into, max);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

ssize_t rdb_source_slice(void *arg, void *into, size_t max)
{
    kv_slice *rest = arg;
    size_t n = rest->len < max ? rest->len : max;

    if (n > 0)
        memcpy(into, rest->data, n);
    rest->data += n;
    rest->len -= n;
    return (ssize_t)n;
}
