/* hints.c - a walk along what was typed, beside the command's syntax.
 *
 * Required arguments come in order; options (arguments with a token, or words) in any order behind them, so a word is first looked
 * up among the options not yet used, then taken for the next required argument. The hint is what is left: the rest of an option
 * that was begun, the arguments to come, the options not used.
 *
 * SPDX-License-Identifier: MIT */
#include "hints.h"

static bool was_used(const syntax_walk *walk, size_t i)
{
    return i < 64 && walk->used >> i & 1;
}

static void use(syntax_walk *walk, size_t i)
{
    if (i < 64)
        walk->used |= UINT64_C(1) << i;
}

/* What follows a's token: nothing, its value, or its parts. */
static void begin(syntax_walk *walk, const syntax *a)
{
    walk->pending = a->kind == SYNTAX_WORD ? NULL : a->kind == SYNTAX_BLOCK ? a->sub : a;
    walk->pending_one = a->kind != SYNTAX_BLOCK;
}

/* Does word begin a? Then the walk goes on inside. */
static bool enter(syntax_walk *walk, const syntax *a, kvc_slice word)
{
    if (a->token) {
        if (!slice_is_word(word, a->token))
            return false;
        begin(walk, a);
        return true;
    }
    if (a->kind == SYNTAX_ONEOF) {
        for (const syntax *sub = a->sub; sub->name; sub++) {
            if (enter(walk, sub, word))
                return true;
        }
    } else if (a->kind == SYNTAX_BLOCK && a->sub->token && slice_is_word(word, a->sub->token)) {
        begin(walk, a->sub);
        if (a->sub->kind == SYNTAX_WORD) {
            walk->pending = a->sub + 1;
            walk->pending_one = false;
        }
        return true;
    }
    return false;
}

static bool enter_option(syntax_walk *walk, kvc_slice word)
{
    for (size_t i = 0; walk->arguments[i].name; i++) {
        const syntax *a = &walk->arguments[i];

        if (was_used(walk, i) && !a->multiple)
            continue;
        if (i > walk->next && !walk->arguments[walk->next].optional && !walk->arguments[walk->next].multiple)
            return false; /* a required argument comes first */
        if (enter(walk, a, word)) {
            use(walk, i);
            if (!a->optional && i == walk->next && !a->multiple)
                walk->next++;
            return true;
        }
    }
    return false;
}

/* The next argument that is a plain value: required, or optional without a token. */
static void take_value(syntax_walk *walk)
{
    const syntax *a = &walk->arguments[walk->next];

    while (a->name && (a->token || a->kind == SYNTAX_WORD || a->kind == SYNTAX_ONEOF) && a->optional)
        a = &walk->arguments[++walk->next];
    if (!a->name)
        return;
    if (a->kind == SYNTAX_BLOCK && a->sub[1].name) {
        walk->pending = a->sub + 1;
        walk->pending_one = false;
    }
    use(walk, walk->next);
    if (!a->multiple)
        walk->next++;
}

static void take_pending(syntax_walk *walk)
{
    const syntax *a = walk->pending;

    if (walk->pending_one)
        walk->pending = NULL;
    else if (!a->multiple)
        walk->pending = a[1].name ? a + 1 : NULL;
}

void syntax_walk_along(syntax_walk *walk, const syntax *arguments, size_t argc, const kvc_slice *argv)
{
    *walk = (syntax_walk){ .arguments = arguments };
    for (size_t i = 0; arguments && i < argc; i++) {
        if (walk->pending && !(walk->pending->multiple && enter_option(walk, argv[i])))
            take_pending(walk);
        else if (!walk->pending && !enter_option(walk, argv[i]))
            take_value(walk);
    }
}

const syntax *syntax_walk_expects(const syntax_walk *walk)
{
    const syntax *a = walk->pending;

    if (!a && walk->arguments)
        a = &walk->arguments[walk->next];
    while (a && a->name && a->kind == SYNTAX_BLOCK && !a->token)
        a = a->sub;
    return a && a->name ? a : NULL;
}

/* ---- words that may come ---- */

static void visit_words(const syntax *a, syntax_word_fn *visit, void *arg)
{
    if (a->token)
        visit(arg, a->token);
    else if (a->kind == SYNTAX_ONEOF)
        for (const syntax *sub = a->sub; sub->name; sub++)
            visit_words(sub, visit, arg);
    else if (a->kind == SYNTAX_BLOCK)
        visit_words(a->sub, visit, arg);
}

void syntax_walk_words(const syntax_walk *walk, syntax_word_fn *visit, void *arg)
{
    if (walk->pending) {
        if (walk->pending->kind == SYNTAX_ONEOF) {
            for (const syntax *sub = walk->pending->sub; sub->name; sub++)
                visit_words(sub, visit, arg);
        }
        return;
    }
    for (size_t i = 0; walk->arguments && walk->arguments[i].name; i++) {
        const syntax *a = &walk->arguments[i];

        if (!was_used(walk, i) || a->multiple)
            visit_words(a, visit, arg);
        if (i >= walk->next && !a->optional)
            return;
    }
}

/* ---- the hint ---- */

static void add_separated(text *out, const syntax *a)
{
    if (out->len)
        text_add_char(out, ' ');
    syntax_print_one(a, out);
}

static void add_pending(const syntax_walk *walk, text *out)
{
    const syntax *a = walk->pending;

    if (a && walk->pending_one) {
        syntax value = *a;

        value.token = NULL;
        value.optional = value.multiple = false;
        add_separated(out, &value);
        return;
    }
    for (; a && a->name; a++)
        add_separated(out, a);
}

static void add_rest(const syntax_walk *walk, text *out)
{
    for (size_t i = 0; walk->arguments[i].name; i++) {
        const syntax *a = &walk->arguments[i];
        bool used = was_used(walk, i);

        if (used && a->multiple && i >= walk->next) {
            text more = { 0 };
            syntax again = *a;

            again.optional = again.multiple = false;
            if (!a->multiple_token)
                again.token = NULL;
            syntax_print_one(&again, &more);
            text_printf(out, "%s[%s ...]", out->len ? " " : "", text_str(&more));
            text_done(&more);
        } else if (!used &&
                   (i >= walk->next || a->token || a->kind == SYNTAX_ONEOF || a->kind == SYNTAX_WORD)) {
            add_separated(out, a);
        }
    }
}

void hint_for(kvc_slice line, text *out)
{
    words typed = { 0 };
    size_t name_words = 0;
    const command_row *row =
        words_split(line, &typed) ? NULL : command_find(typed.n, typed.items, &name_words);
    text rest = { 0 };

    if (row && row->arguments) {
        syntax_walk walk;

        syntax_walk_along(&walk, row->arguments, typed.n - name_words, typed.items + name_words);
        add_pending(&walk, &rest);
        add_rest(&walk, &rest);
    }
    if (rest.len) {
        char last = line.data[line.len - 1];

        if (last != ' ' && last != '\t')
            text_add_char(out, ' ');
        text_add_slice(out, text_slice(&rest));
    }
    text_done(&rest);
    words_done(&typed);
}
