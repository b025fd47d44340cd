/* rdb_pass.c - passing over values of types that are not supported: what they consist of, as far as that takes.
 *
 * Most are one string (a listpack, a ziplist, an intset) or a counted row of strings. Streams and the values of modules are
 * records of numbers and strings. Nothing of them is kept, and none is believed to be shorter or longer than it says.
 *
 * SPDX-License-Identifier: MIT */
#include "rdb_format.h"
#include "rdb_input.h"

/* Over a length; its value is of no interest. */
static int pass_lengths(rdb_input *in, unsigned n)
{
    uint64_t unused;

    while (n-- > 0)
        if (rdb_input_length(in, &unused))
            return in->error;
    return 0;
}

/* ---- rows of strings ---- */

static int pass_counted(rdb_input *in, unsigned strings_each)
{
    uint64_t n;

    if (rdb_input_length(in, &n))
        return in->error;
    if (n > UINT64_MAX / strings_each)
        return rdb_input_fail(in, RDB_EDAMAGED, "a value of more elements than there can be");
    return rdb_input_pass_texts(in, n * strings_each);
}

/* A score as text: its length, or what stands for not-a-number and the infinities. */
static int pass_text_score(rdb_input *in)
{
    unsigned len;

    if (rdb_input_byte(in, &len))
        return in->error;
    return len >= 253 ? 0 : rdb_input_pass(in, len);
}

static int pass_sorted_set(rdb_input *in, bool binary_scores)
{
    uint64_t n;

    if (rdb_input_length(in, &n))
        return in->error;
    while (n-- > 0)
        if (rdb_input_pass_text(in) || (binary_scores ? rdb_input_pass(in, 8) : pass_text_score(in)))
            return in->error;
    return 0;
}

/* Nodes, each with a number that says how it is packed. */
static int pass_quicklist_2(rdb_input *in)
{
    uint64_t n;

    if (rdb_input_length(in, &n))
        return in->error;
    while (n-- > 0)
        if (pass_lengths(in, 1) || rdb_input_pass_text(in))
            return in->error;
    return 0;
}

/* Fields with deadlines of their own. */
static int pass_hash_with_deadlines(rdb_input *in)
{
    uint64_t n;

    if (rdb_input_pass(in, 8) || rdb_input_length(in, &n))
        return in->error;
    while (n-- > 0)
        if (pass_lengths(in, 1) || rdb_input_pass_texts(in, 2))
            return in->error;
    return 0;
}

/* ---- streams ---- */

static int pass_consumers(rdb_input *in, bool active_times)
{
    uint64_t n, pending;

    if (rdb_input_length(in, &n))
        return in->error;
    while (n-- > 0) {
        if (rdb_input_pass_text(in) || rdb_input_pass(in, active_times ? 16 : 8) ||
            rdb_input_length(in, &pending))
            return in->error;
        while (pending-- > 0)
            if (rdb_input_pass(in, 16))
                return in->error;
    }
    return 0;
}

static int pass_groups(rdb_input *in, unsigned type)
{
    uint64_t n, pending;

    if (rdb_input_length(in, &n))
        return in->error;
    while (n-- > 0) {
        if (rdb_input_pass_text(in) || pass_lengths(in, type == RDB_TYPE_STREAM ? 2 : 3) ||
            rdb_input_length(in, &pending))
            return in->error;
        while (pending-- > 0)
            if (rdb_input_pass(in, 16 + 8) || pass_lengths(in, 1))
                return in->error;
        if (pass_consumers(in, type == RDB_TYPE_STREAM_3))
            return in->error;
    }
    return 0;
}

static int pass_stream(rdb_input *in, unsigned type)
{
    /* Elements and the last id; since version 2 also the first id, the greatest deleted one, and elements ever added. */
    if (pass_counted(in, 2) || pass_lengths(in, type == RDB_TYPE_STREAM ? 3 : 8))
        return in->error;
    return pass_groups(in, type);
}

/* ---- modules ---- */

enum module_piece { PIECE_END, PIECE_SIGNED, PIECE_UNSIGNED, PIECE_FLOAT, PIECE_DOUBLE, PIECE_STRING };

/* Pieces that each say what they are, up to the end. */
static int pass_module_pieces(rdb_input *in)
{
    uint64_t piece = PIECE_STRING;

    while (piece != PIECE_END) {
        if (rdb_input_length(in, &piece))
            return in->error;
        if (piece == PIECE_SIGNED || piece == PIECE_UNSIGNED)
            pass_lengths(in, 1);
        else if (piece == PIECE_FLOAT || piece == PIECE_DOUBLE)
            rdb_input_pass(in, piece == PIECE_FLOAT ? 4 : 8);
        else if (piece == PIECE_STRING)
            rdb_input_pass_text(in);
        else if (piece != PIECE_END)
            rdb_input_fail(in, RDB_EDAMAGED, "a module's value has a piece of unknown kind %llu",
                           (unsigned long long)piece);
        if (in->error)
            return in->error;
    }
    return 0;
}

void rdb_module_name(uint64_t id, char *ret_name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (unsigned i = 0; i < 9; i++)
        ret_name[i] = letters[id >> (58 - 6 * i) & 63];
    ret_name[9] = '\0';
}

int rdb_pass_module_aux(rdb_input *in, char *ret_name)
{
    uint64_t id;

    if (rdb_input_length(in, &id))
        return in->error;
    rdb_module_name(id, ret_name);
    /* When it is to be loaded: a piece, too. */
    return pass_module_pieces(in);
}

/* ---- all of them ---- */

int rdb_pass_value(rdb_input *in, unsigned type)
{
    switch (type) {
    case RDB_TYPE_LIST:
    case RDB_TYPE_SET:
    case RDB_TYPE_LIST_QUICKLIST:
        return pass_counted(in, 1);
    case RDB_TYPE_HASH:
        return pass_counted(in, 2);
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_2:
        return pass_sorted_set(in, type == RDB_TYPE_ZSET_2);
    case RDB_TYPE_LIST_QUICKLIST_2:
        return pass_quicklist_2(in);
    case RDB_TYPE_STRING:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_ZSET_LISTPACK:
    case RDB_TYPE_SET_LISTPACK:
        return rdb_input_pass_text(in);
    case RDB_TYPE_STREAM:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3:
        return pass_stream(in, type);
    case RDB_TYPE_MODULE:
        return pass_lengths(in, 1) ? in->error : pass_module_pieces(in);
    case RDB_TYPE_HASH_FIELD_TTL:
        return pass_hash_with_deadlines(in);
    case RDB_TYPE_HASH_LISTPACK_TTL:
        return rdb_input_pass(in, 8) ? in->error : rdb_input_pass_text(in);
    default:
        return rdb_input_fail(in, RDB_EUNSUPPORTED, "a value of type %u cannot be passed over", type);
    }
}
