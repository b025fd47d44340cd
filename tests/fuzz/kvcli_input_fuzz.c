/* kvcli_input_fuzz.c - what kvcli reads: words, RESP and lines, CSV, templates, and the line under a hint.
 *
 * Everything is read whole and in two parts, cut where the first byte says: both must find the same.
 *
 * SPDX-License-Identifier: MIT */
#include "csv.h"
#include "fuzz.h"
#include "hints.h"
#include "pipe_scan.h"
#include "words.h"

static void try_words(kvc_slice input)
{
    words w = { 0 };
    const char *wrong = words_split(input, &w);

    must(!wrong || w.n == 0);
    for (size_t i = 0; i < w.n; i++) { /* quoted, each is one word again */
        text quoted = { 0 };
        words again = { 0 };

        text_quoted(&quoted, w.items[i]);
        must(!words_split(text_slice(&quoted), &again) && again.n == 1 &&
             again.items[0].len == w.items[i].len);
        must(memcmp(again.items[0].data, w.items[i].data, w.items[i].len) == 0);
        words_done(&again);
        text_done(&quoted);
    }
    words_done(&w);
}

static void try_pipe(kvc_slice input, size_t cut)
{
    pipe_scan whole = { 0 }, parts = { 0 };
    size_t commands, first, second, used = pipe_scan_feed(&whole, input, &commands);
    size_t used_first = pipe_scan_feed(&parts, kvc_bytes(input.data, cut), &first);

    must(used <= input.len && used_first <= cut);
    used_first += pipe_scan_feed(&parts, kvc_bytes(input.data + used_first, input.len - used_first), &second);
    must(used == used_first && commands == first + second);
    must(!whole.wrong == !parts.wrong && pipe_scan_is_open(&whole) == pipe_scan_is_open(&parts));
}

static void try_csv(kvc_slice input)
{
    csv_record record = { 0 };
    csv_template template;
    const char *wrong;
    size_t at = 0, used, missing;
    text out = { 0 };
    bool usable;

    used = csv_read(&record, input, true, &wrong);
    usable = csv_template_read(&template, "SET $1 x$2", NULL) == NULL;
    must(usable);
    while (used > 0) {
        must(!wrong && record.n > 0 && record.ends[record.n - 1] == record.bytes.len);
        must(csv_template_expand(&template, &record, &out, &missing) == (record.n >= 2));
        at += used;
        must(at <= input.len);
        used = csv_read(&record, kvc_bytes(input.data + at, input.len - at), true, &wrong);
    }
    must(wrong || at == input.len);
    csv_template_done(&template);
    csv_record_done(&record);
    text_done(&out);
}

static void try_line(const char *line)
{
    csv_template template;
    text out = { 0 };

    csv_template_read(&template, line, NULL);
    csv_template_done(&template);
    hint_for(kvc_str(line), &out);
    text_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    kvc_slice input;

    if (!copy || size == 0) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    copy[size] = 0;
    input = kvc_bytes(copy + 1, size - 1);
    try_words(input);
    try_pipe(input, input.len ? data[0] % input.len : 0);
    try_csv(input);
    try_line(copy + 1);
    free(copy);
    return 0;
}
