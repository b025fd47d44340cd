/* completion.c - SPDX-License-Identifier: MIT */
#include "completion.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "hints.h"

typedef struct collector {
    completion *c;
    kvc_slice prefix; /* what of the word is there */
} collector;

/* Adds word when it begins with what is there; in lower case when the user types so. */
static void collect(void *arg, const char *word)
{
    collector *to = arg;
    bool upper = false;
    text cased = { 0 };

    if (strlen(word) < to->prefix.len || strncasecmp(word, to->prefix.data, to->prefix.len) != 0)
        return;
    for (size_t i = 0; i < to->prefix.len; i++)
        upper = upper || isupper((unsigned char)to->prefix.data[i]);
    for (; *word; word++)
        text_add_char(&cased, (char)(upper ? toupper((unsigned char)*word) : tolower((unsigned char)*word)));
    words_add(&to->c->words, text_slice(&cased));
    text_done(&cased);
}

static void collect_commands(collector *to)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    for (size_t i = 0; i < n; i++) {
        if (!rows[i].sub)
            collect(to, rows[i].name);
    }
    for (size_t i = 0; to->c->more && i < to->c->more->n; i++)
        collect(to, to->c->more->items[i].data);
}

static void collect_subcommands(collector *to, const command_row *container)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    for (const command_row *row = container + 1; row < rows + n && row->sub; row++)
        collect(to, row->sub);
}

static void collect_help(collector *to)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    collect_commands(to);
    for (size_t i = 0; i < n; i++) {
        text group = { 0 };

        text_printf(&group, "@%s", rows[i].group);
        collect(to, text_str(&group));
        text_done(&group);
    }
}

static void collect_arguments(collector *to, size_t argc, const kvc_slice *argv)
{
    size_t name_words;
    const command_row *row = command_find(argc, argv, &name_words);
    const syntax *expected;
    syntax_walk walk;

    if (!row)
        return;
    if (row->flags & COMMAND_CONTAINER && argc == 1) {
        collect_subcommands(to, row);
        return;
    }
    syntax_walk_along(&walk, row->arguments, argc - name_words, argv + name_words);
    syntax_walk_words(&walk, collect, to);
    expected = syntax_walk_expects(&walk);
    to->c->key = expected && expected->kind == SYNTAX_KEY;
}

void complete(kvc_slice line, completion *c)
{
    collector to = { .c = c };
    words typed = { 0 };

    c->from = line.len;
    while (c->from && line.data[c->from - 1] != ' ' && line.data[c->from - 1] != '\t')
        c->from--;
    to.prefix = kvc_bytes(line.data + c->from, line.len - c->from);
    if (!words_split(kvc_bytes(line.data, c->from), &typed)) {
        if (typed.n == 0) {
            collect_commands(&to);
            collect(&to, "help");
        } else if (words_at_is(&typed, 0, "help")) {
            if (typed.n == 1)
                collect_help(&to);
            else
                collect_arguments(&to, typed.n - 1, typed.items + 1);
        } else {
            collect_arguments(&to, typed.n, typed.items);
        }
    }
    words_done(&typed);
    completion_sort(c);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const kvc_slice *)a)->data, ((const kvc_slice *)b)->data);
}

void completion_sort(completion *c)
{
    size_t kept = 0;

    if (c->words.n)
        qsort(c->words.items, c->words.n, sizeof *c->words.items, by_bytes);
    for (size_t i = 0; i < c->words.n; i++) {
        if (kept && strcmp(c->words.items[kept - 1].data, c->words.items[i].data) == 0)
            free((char *)c->words.items[i].data);
        else
            c->words.items[kept++] = c->words.items[i];
    }
    c->words.n = kept;
}

kvc_slice completion_common(const completion *c)
{
    kvc_slice common = c->words.n ? c->words.items[0] : kvc_bytes("", 0);

    for (size_t i = 1; i < c->words.n; i++) {
        size_t same = 0;

        while (same < common.len && same < c->words.items[i].len &&
               common.data[same] == c->words.items[i].data[same])
            same++;
        common.len = same;
    }
    return common;
}

void completion_done(completion *c)
{
    words_done(&c->words);
}
