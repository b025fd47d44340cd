/* syntax.c - SPDX-License-Identifier: MIT */
#include "syntax.h"

#include "command_rows.h"

enum { ROWS = sizeof rows / sizeof rows[0] };

const command_row *command_rows(size_t *ret_count)
{
    *ret_count = ROWS;
    return rows;
}

const command_row *command_find(size_t argc, const kvc_slice *argv, size_t *ret_name_words)
{
    const command_row *container = NULL;

    *ret_name_words = 1;
    for (size_t i = 0; argc && i < ROWS; i++) {
        if (!slice_is_word(argv[0], rows[i].name))
            continue;
        if (!rows[i].sub) {
            container = &rows[i];
        } else if (argc > 1 && slice_is_word(argv[1], rows[i].sub)) {
            *ret_name_words = 2;
            return &rows[i];
        }
    }
    return container;
}

static bool has_word(size_t argc, const kvc_slice *argv, const char *word)
{
    for (size_t i = 1; i < argc; i++) {
        if (slice_is_word(argv[i], word))
            return true;
    }
    return false;
}

bool command_blocks(size_t argc, const kvc_slice *argv)
{
    static const char *const blocking[] = { "blpop",    "brpop",    "brpoplpush", "blmove", "blmpop",
                                            "bzpopmin", "bzpopmax", "bzmpop",     "wait",   "waitaof" };
    size_t name_words;
    const command_row *row = command_find(argc, argv, &name_words);

    if (row && row->flags & COMMAND_BLOCKING)
        return true;
    for (size_t i = 0; argc && i < sizeof blocking / sizeof *blocking; i++) {
        if (slice_is_word(argv[0], blocking[i]))
            return true;
    }
    if (argc && (slice_is_word(argv[0], "xread") || slice_is_word(argv[0], "xreadgroup")))
        return has_word(argc, argv, "block");
    return argc > 1 && slice_is_word(argv[0], "debug") && slice_is_word(argv[1], "sleep");
}

bool command_is_readonly(size_t argc, const kvc_slice *argv)
{
    size_t name_words;
    const command_row *row = command_find(argc, argv, &name_words);

    return row && row->flags & COMMAND_READONLY;
}

/* ---- arguments as text ---- */

static void print_list(const syntax *arguments, const char *between, text *out)
{
    for (const syntax *a = arguments; a && a->name; a++) {
        if (a != arguments)
            text_add_str(out, between);
        syntax_print_one(a, out);
    }
}

/* Without its token, brackets and repetition. */
static void print_core(const syntax *a, bool grouped, text *out)
{
    switch (a->kind) {
    case SYNTAX_WORD:
        break;
    case SYNTAX_ONEOF:
        text_add_str(out, grouped ? "<" : "");
        print_list(a->sub, " | ", out);
        text_add_str(out, grouped ? ">" : "");
        break;
    case SYNTAX_BLOCK:
        print_list(a->sub, " ", out);
        break;
    default:
        text_add_str(out, a->name);
    }
}

static void print_once(const syntax *a, bool with_token, text *out)
{
    if (a->token && with_token)
        text_printf(out, "%s%s", a->token, a->kind == SYNTAX_WORD ? "" : " ");
    print_core(a, !a->optional || a->token, out);
}

void syntax_print_one(const syntax *a, text *out)
{
    if (a->optional)
        text_add_char(out, '[');
    print_once(a, true, out);
    if (a->multiple) {
        text_add_str(out, " [");
        print_once(a, a->multiple_token, out);
        text_add_str(out, " ...]");
    }
    if (a->optional)
        text_add_char(out, ']');
}

void syntax_print(const syntax *arguments, text *out)
{
    print_list(arguments, " ", out);
}
