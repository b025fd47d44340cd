/* acl_rules.c - the words of ACL SETUSER, of user lines and ACL files: what each does to a user.
 *
 *     on off nopass >p <p #h !h resetpass reset        about the user
 *     ~k %R~k allkeys &c +cmd -cmd +@cat ...           about its root selector
 *     (rules)                                          a selector of its own
 *
 * Everything here is what Redis 7.0 makes of the same word, order and errors included. The exceptions: "%R" without a "~" is a
 * syntax error, as in its later versions, and so is a selector with quotes that do not match.
 *
 * Bounds: no list of a user grows beyond acl-max-rules here, and acl.c refuses a user with more than that in all.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "acl_user.h"
#include "args.h"
#include "resp.h"

const char *acl_error_text(acl_error error)
{
    static const char *const texts[] = {
        [ACL_OK] = "",
        [ACL_EUNKNOWN] = "Unknown command or category name in ACL",
        [ACL_ESYNTAX] = "Syntax error",
        [ACL_EALLKEYS] =
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not "
            "have any effect. Try 'resetkeys' to start with an empty list of patterns",
        [ACL_EALLCHANNELS] = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid "
                             "and does not have any "
                             "effect. Try 'resetchannels' to start with an empty list of channels",
        [ACL_ENOPASSWORD] = "The password you are trying to remove from the user does not exist",
        [ACL_EHASH] =
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
            "characters",
        [ACL_EDUPLICATE] = "Duplicate user found. A user can only be defined once in config files",
        [ACL_EFIRSTARG] = "Allowing first-arg of a subcommand is not supported",
        [ACL_ETOOMANY] = "The user would have more rules than acl-max-rules allows",
        [ACL_ENOMEM] = "out of memory",
    };

    return texts[error];
}

bool acl_name_ok(kv_slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (isspace((unsigned char)name.data[i]) || !name.data[i])
            return false;
    return true;
}

/* ---- commands ---- */

static void selector_bit(acl_selector *s, int id, bool on)
{
    uint64_t bit = UINT64_C(1) << (id % 64);

    if (on)
        s->commands[id / 64] |= bit;
    else
        s->commands[id / 64] &= ~bit;
}

/* Forgets the first arguments of a row. */
static void forget_first_args(acl_selector *s, int id)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->first_args.count; i++) {
        acl_text *text = &s->first_args.list[i];

        if (text->about == (unsigned)id)
            free(text->data);
        else
            s->first_args.list[kept++] = *text;
    }
    s->first_args.count = kept;
}

void acl_selector_row(acl_selector *s, const kv_command *row, bool on)
{
    size_t count;
    const kv_command *subs = kv_command_subcommands(row, &count);

    selector_bit(s, row->id, on);
    forget_first_args(s, row->id);
    for (size_t i = 0; i < count; i++)
        selector_bit(s, subs[i].id, on);
}

void acl_selector_category(acl_selector *s, unsigned categories, bool on)
{
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        if (kv_category_of(&kv_command_table[id]) & categories)
            acl_selector_row(s, &kv_command_table[id], on);
    for (int i = 0; i < KV_CATEGORY_COUNT; i++)
        if (categories & 1u << i)
            selector_bit(s, ACL_CATEGORY(i), on);
}

void acl_selector_all(acl_selector *s, bool on)
{
    memset(s->commands, on ? 0xff : 0, sizeof s->commands);
    acl_texts_clear(&s->first_args);
}

static acl_error add_text(acl_texts *texts, kv_slice text, unsigned about, const acl_options *options)
{
    if (texts->count >= options->rules_max)
        return ACL_ETOOMANY;
    return acl_texts_add(texts, text, about) ? ACL_OK : ACL_ENOMEM;
}

/* +name|word. A subcommand is a row; of a command without any, the word is a first argument: without spaces (which Redis
 * takes), because a file that shows the user could not be read again. */
static acl_error allow_part(acl_selector *s, kv_slice name, kv_slice word, kv_slice whole,
                            const acl_options *options)
{
    const kv_command *row = kv_command_find_full(name), *sub;
    size_t subcommands;

    if (!row)
        return ACL_EUNKNOWN;
    if (row->container)
        return ACL_EFIRSTARG;
    if (!word.len || !acl_name_ok(word) || word.len > ACL_PATTERN_MAX)
        return ACL_ESYNTAX;
    kv_command_subcommands(row, &subcommands);
    if (subcommands) {
        sub = kv_command_find_full(whole);
        if (!sub)
            return ACL_EUNKNOWN;
        acl_selector_row(s, sub, true);
        return ACL_OK;
    }
    for (size_t i = 0; i < s->first_args.count; i++) {
        const acl_text *known = &s->first_args.list[i];

        if (known->about == (unsigned)row->id && known->len == word.len &&
            strncasecmp(known->data, word.data, word.len) == 0)
            return ACL_OK;
    }
    return add_text(&s->first_args, word, (unsigned)row->id, options);
}

/* +name, -name, +name|word, +@category, -@category. */
static acl_error apply_command(acl_selector *s, kv_slice rule, const acl_options *options)
{
    bool on = rule.data[0] == '+';
    kv_slice name = kv_slice_of(rule.data + 1, rule.len - 1);
    const kv_command *row;
    const char *bar;
    unsigned category;

    if (name.len && name.data[0] == '@') {
        category = kv_category_find(kv_slice_of(name.data + 1, name.len - 1));
        if (!category)
            return ACL_EUNKNOWN;
        acl_selector_category(s, category, on);
        return ACL_OK;
    }
    bar = on && name.len ? memrchr(name.data, '|', name.len) : NULL;
    if (bar)
        return allow_part(s, kv_slice_of(name.data, (size_t)(bar - name.data)),
                          kv_slice_of(bar + 1, name.len - (size_t)(bar - name.data) - 1), name, options);
    row = kv_command_find_full(name);
    if (!row)
        return ACL_EUNKNOWN;
    acl_selector_row(s, row, on);
    return ACL_OK;
}

/* ---- keys and channels ---- */

/* The letters of %RW~; false: they are none. */
static bool parse_permissions(kv_slice rule, unsigned *ret_permissions, size_t *ret_pattern)
{
    unsigned permissions = 0;

    for (size_t i = 1; i < rule.len; i++) {
        unsigned one = rule.data[i] == 'R' || rule.data[i] == 'r'   ? ACL_READ
                       : rule.data[i] == 'W' || rule.data[i] == 'w' ? ACL_WRITE
                                                                    : 0;

        if (rule.data[i] == '~' && permissions) {
            *ret_permissions = permissions;
            *ret_pattern = i + 1;
            return true;
        }
        if (!one || permissions & one)
            return false;
        permissions |= one;
    }
    return false;
}

/* ~pattern, %RW~pattern */
static acl_error apply_key(acl_selector *s, kv_slice rule, const acl_options *options)
{
    unsigned permissions = ACL_READ | ACL_WRITE;
    size_t at = 1;
    kv_slice pattern;
    acl_text *known;

    if (s->all_keys)
        return ACL_EALLKEYS;
    if (rule.data[0] == '%' && !parse_permissions(rule, &permissions, &at))
        return ACL_ESYNTAX;
    pattern = kv_slice_of(rule.data + at, rule.len - at);
    if (!acl_name_ok(pattern) || pattern.len > ACL_PATTERN_MAX)
        return ACL_ESYNTAX;
    known = acl_texts_find(&s->keys, pattern);
    if (!known)
        return add_text(&s->keys, pattern, permissions, options);
    known->about |= permissions;
    return ACL_OK;
}

/* &pattern */
static acl_error apply_channel(acl_selector *s, kv_slice rule, const acl_options *options)
{
    kv_slice pattern = kv_slice_of(rule.data + 1, rule.len - 1);

    if (s->all_channels)
        return ACL_EALLCHANNELS;
    if (!acl_name_ok(pattern) || pattern.len > ACL_PATTERN_MAX)
        return ACL_ESYNTAX;
    return acl_texts_find(&s->channels, pattern) ? ACL_OK : add_text(&s->channels, pattern, 0, options);
}

static void set_all(bool *all, acl_texts *texts, bool on)
{
    *all = on;
    acl_texts_clear(texts);
}

/* What may stand in a selector. */
static acl_error apply_to_selector(acl_selector *s, kv_slice rule, const acl_options *options)
{
    if (kv_word_is(rule, "allkeys") || kv_word_is(rule, "~*"))
        set_all(&s->all_keys, &s->keys, true);
    else if (kv_word_is(rule, "resetkeys"))
        set_all(&s->all_keys, &s->keys, false);
    else if (kv_word_is(rule, "allchannels") || kv_word_is(rule, "&*"))
        set_all(&s->all_channels, &s->channels, true);
    else if (kv_word_is(rule, "resetchannels"))
        set_all(&s->all_channels, &s->channels, false);
    else if (kv_word_is(rule, "allcommands") || kv_word_is(rule, "+@all"))
        acl_selector_all(s, true);
    else if (kv_word_is(rule, "nocommands") || kv_word_is(rule, "-@all"))
        acl_selector_all(s, false);
    else if (rule.len && (rule.data[0] == '~' || rule.data[0] == '%'))
        return apply_key(s, rule, options);
    else if (rule.len && rule.data[0] == '&')
        return apply_channel(s, rule, options);
    else if (rule.len && (rule.data[0] == '+' || rule.data[0] == '-'))
        return apply_command(s, rule, options);
    else
        return ACL_ESYNTAX;
    return ACL_OK;
}

/* ---- selectors ---- */

/* Within a selector quotes do not stand for themselves, and a word's last parenthesis ends the selector of a file's line: what
 * is shown with these could not be read again. */
static bool is_ambiguous(kv_slice word)
{
    return word.len && (memchr(word.data, '"', word.len) || memchr(word.data, '\'', word.len) ||
                        word.data[word.len - 1] == ')');
}

/* "(rules)" */
static acl_error apply_selector(acl_user *u, kv_slice rule, const acl_options *options)
{
    acl_selector s = { .all_channels = options->all_channels };
    size_t len = rule.len - 2;
    char *copy = malloc(len + 1);
    kv_slice *words = malloc((len / 2 + 1) * sizeof *words);
    acl_error err = copy && words ? ACL_OK : ACL_ENOMEM;
    int count = 0;

    if (!err) {
        memcpy(copy, rule.data + 1, len);
        copy[len] = '\0';
        count = resp_split_line(copy, len, words, (int)(len / 2 + 1));
        err = count < 0 ? ACL_ESYNTAX : ACL_OK;
    }
    for (int i = 0; i < count && !err; i++)
        err = is_ambiguous(words[i]) ? ACL_ESYNTAX : apply_to_selector(&s, words[i], options);
    if (!err && u->selector_count >= options->rules_max)
        err = ACL_ETOOMANY;
    if (!err && !acl_user_add_selector(u, &s))
        err = ACL_ENOMEM;
    if (err)
        acl_selector_done(&s);
    free(words);
    free(copy);
    return err;
}

static void clear_selectors(acl_user *u)
{
    while (u->selector_count > 1)
        acl_selector_done(&u->selectors[--u->selector_count]);
}

/* Whether a word begins a selector that goes on in the next one. */
static bool opens(kv_slice word)
{
    return word.len && word.data[0] == '(' && word.data[word.len - 1] != ')';
}

/* Appends word to *to, behind a blank unless it is the first; returns where the next one goes. */
static char *append_word(kv_slice *to, char *at, kv_slice word)
{
    if (to->len)
        *at++ = ' ';
    memcpy(at, word.data, word.len);
    at += word.len;
    to->len = (size_t)(at - to->data);
    return at;
}

int acl_join_selectors(int count, const kv_slice words[], kv_slice into[], char **ret_joined, int *ret_open)
{
    size_t bytes = 1;
    int n = 0, open = -1;
    char *at;

    for (int i = 0; i < count; i++)
        bytes += words[i].len + 1;
    *ret_joined = at = malloc(bytes);
    if (!at)
        return -2;
    for (int i = 0; i < count; i++) {
        kv_slice word = words[i];

        if (open < 0 && !opens(word)) {
            into[n++] = word;
            continue;
        }
        if (open < 0)
            into[n] = kv_slice_of(at, 0);
        if (open < 0 || opens(word))
            open = i; /* the last one is told */
        at = append_word(&into[n], at, word);
        if (word.len && word.data[word.len - 1] == ')') {
            open = -1;
            n++;
        }
    }
    *ret_open = open;
    return open < 0 ? n : -1;
}

/* ---- passwords ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash(kv_slice text, unsigned char hash[SHA256_BYTES])
{
    if (text.len != 2 * SHA256_BYTES)
        return false;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static acl_error add_password(acl_user *u, const unsigned char hash[SHA256_BYTES], const acl_options *options)
{
    unsigned char(*list)[SHA256_BYTES];

    if (acl_user_find_password(u, hash) == u->password_count) {
        if (u->password_count >= options->rules_max)
            return ACL_ETOOMANY;
        list = realloc(u->passwords, (u->password_count + 1) * sizeof *list);
        if (!list)
            return ACL_ENOMEM;
        u->passwords = list;
        memcpy(list[u->password_count++], hash, SHA256_BYTES);
    }
    u->nopass = false;
    return ACL_OK;
}

static acl_error remove_password(acl_user *u, const unsigned char hash[SHA256_BYTES])
{
    size_t at = acl_user_find_password(u, hash);

    if (at == u->password_count)
        return ACL_ENOPASSWORD;
    u->password_count--;
    memmove(u->passwords[at], u->passwords[at + 1], (u->password_count - at) * sizeof *u->passwords);
    return ACL_OK;
}

/* >password #hash <password !hash */
static acl_error apply_password(acl_user *u, kv_slice rule, const acl_options *options)
{
    kv_slice text = kv_slice_of(rule.data + 1, rule.len - 1);
    unsigned char hash[SHA256_BYTES];

    if (rule.data[0] == '>' || rule.data[0] == '<')
        sha256(text.data, text.len, hash);
    else if (!parse_hash(text, hash))
        return ACL_EHASH;
    return rule.data[0] == '>' || rule.data[0] == '#' ? add_password(u, hash, options)
                                                      : remove_password(u, hash);
}

static void set_nopass(acl_user *u, bool nopass)
{
    u->nopass = nopass;
    u->password_count = 0;
}

/* ---- applying ---- */

static void reset(acl_user *u, const acl_options *options)
{
    acl_selector *root = u->selectors;

    set_nopass(u, false);
    set_all(&root->all_keys, &root->keys, false);
    set_all(&root->all_channels, &root->channels, options->all_channels);
    u->on = false;
    u->sanitize = ACL_SANITIZE;
    clear_selectors(u);
    acl_selector_all(root, false);
}

/* Words about the user itself; false: it is none of these. */
static bool apply_word(acl_user *u, kv_slice rule, const acl_options *options)
{
    if (kv_word_is(rule, "on") || kv_word_is(rule, "off"))
        u->on = kv_word_is(rule, "on");
    else if (kv_word_is(rule, "nopass") || kv_word_is(rule, "resetpass"))
        set_nopass(u, kv_word_is(rule, "nopass"));
    else if (kv_word_is(rule, "sanitize-payload"))
        u->sanitize = ACL_SANITIZE;
    else if (kv_word_is(rule, "skip-sanitize-payload"))
        u->sanitize = ACL_SANITIZE_SKIP;
    else if (kv_word_is(rule, "clearselectors"))
        clear_selectors(u);
    else if (kv_word_is(rule, "reset"))
        reset(u, options);
    else
        return false;
    return true;
}

/* Whether the rule begins with one of the characters of set. */
static bool begins_with(kv_slice rule, const char *set)
{
    return rule.len && rule.data[0] && strchr(set, rule.data[0]);
}

acl_error acl_user_apply(acl_user *u, kv_slice rule, const acl_options *options)
{
    memset(u->quick, 0, sizeof u->quick);
    if (rule.len == 0 || apply_word(u, rule, options))
        return ACL_OK;
    if (begins_with(rule, "><#!"))
        return apply_password(u, rule, options);
    if (rule.data[0] == '(' && rule.len > 1 && rule.data[rule.len - 1] == ')')
        return apply_selector(u, rule, options);
    return apply_to_selector(u->selectors, rule, options);
}

static bool fail(acl_failure *failure, acl_error error, bool unmatched, kv_slice word)
{
    failure->error = error;
    failure->unmatched = unmatched;
    snprintf(failure->word, sizeof failure->word, "%.*s", kv_echo_len(word, sizeof failure->word - 1),
             word.data);
    return false;
}

bool acl_user_apply_all(acl_user *u, int count, const kv_slice words[], const acl_options *options,
                        acl_failure *ret_failure)
{
    kv_slice *into = malloc((size_t)(count ? count : 1) * sizeof *into);
    char *joined = NULL;
    int open = -1, n = into ? acl_join_selectors(count, words, into, &joined, &open) : -2;
    bool ok = n >= 0;

    if (n == -1)
        fail(ret_failure, ACL_ESYNTAX, true, words[open]);
    else if (n == -2)
        fail(ret_failure, ACL_ENOMEM, false, KV_STR(""));
    for (int i = 0; i < n && ok; i++) {
        acl_error err = acl_user_apply(u, into[i], options);

        ok = err == ACL_OK || fail(ret_failure, err, false, into[i]);
    }
    free(joined);
    free(into);
    return ok;
}
