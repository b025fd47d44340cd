/* resp_fuzz.c - the two request parsers must agree, and cutting the stream must not matter.
 *
 * The input is a stream of requests, cut at places that its first bytes choose. It is parsed three times: by
 * the state machine from one piece, by the fast parser with the state machine behind it, and by the state machine
 * from the cut pieces, each of which arrives in a new buffer of exactly the size it needs, so that a
 * pointer into an old one, or a read behind the slack, is seen by AddressSanitizer. All three must give the
 * same requests and the same error.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood, as text. */
typedef struct transcript {
    char *text;
    size_t len;
    FILE *out;
    bool ended; /* by an error */
} transcript;

static void note_request(transcript *t, int argc, const kv_slice argv[])
{
    fprintf(t->out, "%d", argc);
    for (int i = 0; i < argc; i++) {
        fprintf(t->out, " %zu:", argv[i].len);
        fwrite(argv[i].data, 1, argv[i].len, t->out);
    }
    fputc('\n', t->out);
}

/* Takes requests from the front of data and returns how many bytes are done with. */
static size_t take_requests(transcript *t, resp_parser *parser, const resp_limits *limits, char *data,
                            size_t len, bool fast)
{
    size_t done = 0;

    while (!t->ended) {
        kv_slice argv[RESP_SMALL_ARGS];
        size_t used = 0;
        int argc = fast && !parser->base ? resp_parse_small(data + done, len - done, argv, &used) : 0;

        if (argc) {
            note_request(t, argc, argv);
            done += used;
            continue;
        }
        switch (resp_parse(parser, limits, data + done, len - done, &used)) {
        case RESP_REQUEST:
            note_request(t, parser->argc, parser->argv);
            break;
        case RESP_ERROR:
            fprintf(t->out, "-%s\n", parser->error);
            t->ended = true;
            break;
        case RESP_NOMEM:
            abort();
        case RESP_MORE:
            return done + used;
        }
        done += used;
    }
    return done;
}

/* A new buffer with the bytes that were kept, more bytes behind them, and the slack. */
static char *renew(char *old, size_t kept_at, size_t kept, const uint8_t *more, size_t len)
{
    char *fresh = malloc(kept + len + RESP_SLACK);

    if (!fresh)
        abort();
    if (kept)
        memcpy(fresh, old + kept_at, kept);
    if (len)
        memcpy(fresh + kept, more, len);
    memset(fresh + kept + len, '$', RESP_SLACK);
    free(old);
    return fresh;
}

/* cuts: how long the pieces are, in turn; none: one piece. */
static transcript parse(const uint8_t *data, size_t size, const uint8_t *cuts, size_t cut_count, bool fast,
                        bool trusted)
{
    transcript t = { .ended = false };
    resp_parser parser = { 0 };
    resp_limits limits = { .bulk_max = 1 << 20, .authenticated = trusted };
    char *buffer = NULL;
    size_t kept = 0, done = 0, at = 0;

    t.out = open_memstream(&t.text, &t.len);
    if (!t.out)
        abort();
    for (size_t i = 0; at < size && !t.ended; i++) {
        size_t piece = cut_count ? (size_t)cuts[i % cut_count] % 32 + 1 : size;

        piece = piece < size - at ? piece : size - at;
        buffer = renew(buffer, done, kept, data + at, piece);
        at += piece;
        kept += piece;
        done = take_requests(&t, &parser, &limits, buffer, kept, fast);
        kept -= done;
    }
    free(buffer);
    resp_parser_done(&parser);
    fclose(t.out);
    return t;
}

static void expect_same(const transcript *a, const transcript *b)
{
    if (a->len != b->len || memcmp(a->text, b->text, a->len) != 0) {
        fprintf(stderr, "--- one\n%s--- other\n%s", a->text, b->text);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    transcript whole, fast, cut;
    bool trusted;

    if (size < 5)
        return 0;
    trusted = data[0] & 1;
    whole = parse(data + 5, size - 5, NULL, 0, false, trusted);
    fast = parse(data + 5, size - 5, NULL, 0, true, true);
    cut = parse(data + 5, size - 5, data + 1, 4, false, trusted);
    expect_same(&whole, &cut);
    if (trusted)
        expect_same(&whole, &fast);
    free(whole.text);
    free(fast.text);
    free(cut.text);
    return 0;
}
