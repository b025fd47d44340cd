/* lcs.c - LCS: the longest common subsequence of two strings.
 *
 * The classical table: length[i][j] is the length of the LCS of the first i bytes of a and the first j of b.
 * Only two rows of it are kept. What the way back needs is one bit per cell: whether, where the bytes differ,
 * dropping the last byte of a is strictly better than dropping that of b (whether they are equal can be seen
 * again). So N*M cells cost N*M/8 bytes instead of 4*N*M; LCS ... LEN, which needs no way back, costs a row.
 *
 *            b  j ->
 *       a  0 0 0 0        equal: one up and left, and the byte is part of the answer
 *       i  0 . . .        else:  up if length[i-1][j] > length[i][j-1], else left
 *       |  0 . . .
 *
 * The bound on the work is Redis's: a full table of 4-byte cells must not exceed proto-max-bulk-len.
 *
 * SPDX-License-Identifier: MIT */
#include "read.h"

#define NEED_IDX "ERR If you want both the length and indexes, please just use IDX."

struct lcs_options {
    bool len, idx, with_match_len;
    int64_t min_match_len;
};

/* A run of bytes common to both: inclusive positions. */
struct match {
    int64_t a_start, a_end, b_start, b_end;
};

struct lcs {
    kv_slice a, b;
    kv_domain *domain;
    uint32_t *row; /* of length, b.len + 1 cells */
    size_t row_bytes;
    unsigned char *up; /* the bit of each cell, row by row; NULL: not wanted */
    size_t up_bytes;
    uint32_t length;
    char *text; /* the subsequence, when wanted */
    struct match *matches;
    size_t match_count, match_room;
};

static void lcs_done(struct lcs *l)
{
    if (l->row)
        domain_free(l->domain, l->row, l->row_bytes);
    if (l->up)
        domain_free(l->domain, l->up, l->up_bytes);
    if (l->text)
        domain_free(l->domain, l->text, l->length);
    if (l->matches)
        domain_free(l->domain, l->matches, l->match_room * sizeof l->matches[0]);
}

/* Fills the table: l->length and, when l->up is there, the bits of the way back. */
static void lcs_fill(struct lcs *l)
{
    memset(l->row, 0, l->row_bytes);
    for (size_t i = 0; i < l->a.len; i++) {
        uint32_t diagonal = 0; /* length[i][j] of the row above, before it was overwritten */

        for (size_t j = 0; j < l->b.len; j++) {
            uint32_t above = l->row[j + 1], left = l->row[j];
            size_t cell = i * l->b.len + j;

            if (l->a.data[i] == l->b.data[j])
                l->row[j + 1] = diagonal + 1;
            else
                l->row[j + 1] = above > left ? above : left;
            if (l->up && above > left)
                l->up[cell / 8] |= (unsigned char)(1u << (cell & 7));
            diagonal = above;
        }
    }
    l->length = l->row[l->b.len];
}

static int lcs_add_match(struct lcs *l, const struct match *match, int64_t min_len)
{
    if (match->a_end - match->a_start + 1 < min_len)
        return 0;
    if (l->match_count == l->match_room) {
        size_t room = l->match_room ? 2 * l->match_room : 16;
        struct match *grown = domain_alloc(l->domain, room * sizeof *grown, 16);

        if (!grown)
            return KV_ENOMEM;
        if (l->matches) {
            memcpy(grown, l->matches, l->match_count * sizeof *grown);
            domain_free(l->domain, l->matches, l->match_room * sizeof *grown);
        }
        l->matches = grown;
        l->match_room = room;
    }
    l->matches[l->match_count++] = *match;
    return 0;
}

/* Goes back from the end of both strings, collecting the bytes or the matches, the last match first. */
static int lcs_trace(struct lcs *l, int64_t min_len)
{
    int64_t i = (int64_t)l->a.len, j = (int64_t)l->b.len;
    uint32_t left = l->length;
    struct match run = { 0 };
    bool running = false;
    int err = 0;

    while (i > 0 && j > 0 && !err) {
        if (l->a.data[i - 1] == l->b.data[j - 1]) {
            i--, j--;
            if (l->text)
                l->text[--left] = l->a.data[i];
            if (running && run.a_start == i + 1 && run.b_start == j + 1) {
                run.a_start = i;
                run.b_start = j;
                continue;
            }
            if (running)
                err = lcs_add_match(l, &run, min_len);
            run = (struct match){ i, i, j, j };
            running = true;
        } else {
            size_t cell = (size_t)(i - 1) * l->b.len + (size_t)(j - 1);

            if (l->up[cell / 8] >> (cell & 7) & 1)
                i--;
            else
                j--;
        }
    }
    if (running && !err)
        err = lcs_add_match(l, &run, min_len);
    return err;
}

/* ---- replies ---- */

static void reply_range(kv_reply *r, int64_t start, int64_t end)
{
    kv_reply_array(r, 2);
    kv_reply_int(r, start);
    kv_reply_int(r, end);
}

static void reply_matches(kv_reply *r, const struct lcs *l, bool with_len)
{
    r->ops->map(r, 2);
    kv_reply_bulk(r, KV_STR("matches"));
    kv_reply_array(r, l->match_count);
    for (size_t i = 0; i < l->match_count; i++) {
        const struct match *m = &l->matches[i];

        kv_reply_array(r, with_len ? 3 : 2);
        reply_range(r, m->a_start, m->a_end);
        reply_range(r, m->b_start, m->b_end);
        if (with_len)
            kv_reply_int(r, m->a_end - m->a_start + 1);
    }
    kv_reply_bulk(r, KV_STR("len"));
    kv_reply_int(r, l->length);
}

/* ---- the command ---- */

/* The options after LCS key1 key2; false: an error was replied. */
static bool lcs_options(kv_call *call, struct lcs_options *options)
{
    for (int i = 3; i < call->argc; i++) {
        kv_slice word = call->argv[i];
        int err = 0;

        if (kv_word_is(word, "len"))
            options->len = true;
        else if (kv_word_is(word, "idx"))
            options->idx = true;
        else if (kv_word_is(word, "withmatchlen"))
            options->with_match_len = true;
        else if (kv_word_is(word, "minmatchlen") && i + 1 < call->argc)
            err = kv_arg_int(call, ++i, &options->min_match_len);
        else
            err = KV_ESYNTAX;
        if (err) {
            kv_reply_error(call->reply, err);
            return false;
        }
    }
    if (options->len && options->idx) {
        kv_reply_errorf(call->reply, NEED_IDX);
        return false;
    }
    return true;
}

/* Gets the memory of the table. 0, KV_ETOOBIG, KV_ENOMEM. */
static int lcs_prepare(struct lcs *l, bool way_back, size_t value_max)
{
    size_t cells;

    if (__builtin_mul_overflow(l->a.len + 1, l->b.len + 1, &cells) || cells > value_max / sizeof(uint32_t))
        return KV_ETOOBIG;
    l->row_bytes = (l->b.len + 1) * sizeof l->row[0];
    l->row = domain_alloc(l->domain, l->row_bytes, 16);
    if (!l->row)
        return KV_ENOMEM;
    if (way_back) {
        l->up_bytes = cells / 8 + 1;
        l->up = domain_alloc(l->domain, l->up_bytes, 16);
        if (!l->up)
            return KV_ENOMEM;
        memset(l->up, 0, l->up_bytes);
    }
    return 0;
}

static int lcs_run(struct lcs *l, const struct lcs_options *options, size_t value_max)
{
    int err = lcs_prepare(l, !options->len, value_max);

    if (err)
        return err;
    lcs_fill(l);
    if (options->len)
        return 0;
    if (!options->idx && l->length > 0) {
        l->text = domain_alloc(l->domain, l->length, 1);
        if (!l->text)
            return KV_ENOMEM;
    }
    return lcs_trace(l, options->idx ? options->min_match_len : INT64_MAX);
}

/* LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN] */
void kv_cmd_lcs(kv_call *call)
{
    const entry *a = kv_read(call, 1), *b = kv_read(call, 2);
    struct lcs_options options = { .len = false };
    struct lcs l = { .domain = kv_store_domain(call->store) };
    int err;

    if ((a && entry_type(a) != ENTRY_STRING) || (b && entry_type(b) != ENTRY_STRING)) {
        kv_reply_errorf(call->reply, "ERR The specified keys must contain string values");
        return;
    }
    if (!lcs_options(call, &options))
        return;
    l.a = a ? entry_value(a, NULL) : KV_STR("");
    l.b = b ? entry_value(b, NULL) : KV_STR("");
    err = lcs_run(&l, &options, call->value_max);
    if (err == KV_ETOOBIG)
        kv_reply_errorf(call->reply,
                        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    else if (err)
        kv_reply_error(call->reply, err);
    else if (options.len)
        kv_reply_int(call->reply, l.length);
    else if (options.idx)
        reply_matches(call->reply, &l, options.with_match_len);
    else
        kv_reply_bulk(call->reply, kv_slice_of(l.text ? l.text : "", l.length));
    lcs_done(&l);
}
