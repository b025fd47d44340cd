/* client_link_fuzz.c - what a server sends must not matter beyond what it says, and neither must how it is cut.
 *
 * The first byte decides what the client asked before (nothing but its handshake, or some of the commands below), the second how
 * long the pieces are that the rest arrives in. The same bytes are read twice, in one piece and in those; both must give the same
 * replies, of the same kind, and the same end.
 *
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <inttypes.h>
#include <string.h>

#include "link.h"

static const char *const commands[][4] = {
    { "GET", "k" }, { "SUBSCRIBE", "a", "b" },     { "MULTI" },       { "EXEC" },
    { "MONITOR" },  { "CLIENT", "REPLY", "SKIP" }, { "SELECT", "3" },
};

static void note_reply(FILE *out, const kvc_reply *reply)
{
    kvc_slice text = kvc_reply_text(reply);

    fprintf(out, "(%d %" PRId64 " %zu:", (int)kvc_reply_type(reply), kvc_reply_int(reply), text.len);
    fwrite(text.data, 1, text.len, out);
    must(text.data[text.len] == '\0');
    for (size_t i = 0; i < kvc_reply_count(reply); i++)
        note_reply(out, kvc_reply_at(reply, i));
    must(kvc_reply_at(reply, kvc_reply_count(reply)) == NULL);
    kvc_reply_find(reply, "proto");
    fputc(')', out);
}

/* Reads to the end of what there is. */
static kvc_status hear(kvc_link *link, const void *data, size_t len, FILE *out)
{
    kvc_error error = { .status = KVC_OK };
    kvc_link_kind kind;
    kvc_reply *reply;
    kvc_status status = kvc_link_feed(link, data, len, &error);

    while (status == KVC_OK) {
        size_t pending = kvc_link_pending(link);

        status = kvc_link_next(link, &kind, &reply, &error);
        must(kvc_link_pending(link) <= pending);
        if (status == KVC_OK) {
            fprintf(out, "%d ", (int)kind);
            note_reply(out, reply);
            kvc_reply_free(reply);
        }
    }
    must(status == KVC_NIL || (status < 0 && error.status == status && *error.message));
    return status;
}

static void ask(kvc_link *link, unsigned which)
{
    static const char welcome[] = "*0\r\n+OK\r\n+OK\r\n";
    FILE *nowhere = fmemopen(NULL, 1024, "w");

    must(nowhere && hear(link, welcome, sizeof welcome - 1, nowhere) == KVC_NIL);
    fclose(nowhere);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        kvc_slice argv[3];
        size_t argc = 0;

        if (!(which >> i & 1))
            continue;
        for (; argc < 3 && commands[i][argc]; argc++)
            argv[argc] = kvc_str(commands[i][argc]);
        must(kvc_link_append(link, argc, argv, NULL) == KVC_OK);
    }
}

/* What was understood, as text. */
static char *transcript(const uint8_t *data, size_t size, size_t piece, unsigned which)
{
    kvc_options options;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    kvc_link *link;
    kvc_status status = KVC_NIL;

    kvc_options_init(&options);
    options.protocol = 2;
    options.password = which & 1 ? "secret" : NULL;
    options.max_reply_bytes = 8192;
    options.max_reply_depth = 5;
    options.max_reply_elements = 100;
    link = kvc_link_new(&options, "fuzz");
    must(out && link && kvc_link_begin(link, NULL) == KVC_OK);
    if (which & 0x80)
        ask(link, which);
    while (size > 0 && status == KVC_NIL) {
        size_t n = piece < size ? piece : size;

        status = hear(link, data, n, out);
        data += n;
        size -= n;
    }
    fprintf(out, "%s %zu %d", kvc_status_name(status), kvc_link_pending(link), kvc_link_dirty(link));
    fclose(out);
    kvc_link_free(link);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *whole, *pieces;

    if (size < 2 || size > kvc_link_feed_max)
        return 0;
    whole = transcript(data + 2, size - 2, size, data[0]);
    pieces = transcript(data + 2, size - 2, 1 + data[1], data[0]);
    if (strcmp(whole, pieces) != 0)
        fprintf(stderr, "in one piece:\n%s\nin pieces:\n%s\n", whole, pieces);
    must(strcmp(whole, pieces) == 0);
    free(whole);
    free(pieces);
    return 0;
}
