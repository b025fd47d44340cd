/* acl_describe.c - rules that make a user what it is.
 *
 * A selector is a set of bits, and many lists of rules give the same bits. Redis 7.0 finds a short one so, and ACL LIST shows
 * it; what is shown there is compared by tools and tests, so it is found the same way here:
 *
 *     start from -@all, or from +@all when commands to come are allowed
 *     while some category has more rows that are as wanted than rows that are not:
 *         take the one with the fewest that are not (of those, the one with the most that are)
 *     put the rest right, row by row
 *
 * With fewer commands than Redis has, a category may fit where it did not there, and then have most of its rows taken
 * away again. So the same is done without categories, and the shorter of both is shown: +client +get stays what it was.
 *
 * The result applied to nothing gives the very same bits; a test does that with random users. Cost: some hundred microseconds
 * at worst, for ACL LIST and files. SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>

#include "acl_user.h"
#define ACL_BITS ACL_CATEGORY(KV_CATEGORY_COUNT)

/* ---- commands ---- */

/* The categories of all bits that stand for commands, so that this is found out once. */
static void read_categories(unsigned of[ACL_BITS])
{
    unsigned some = 0;

    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        of[id] = kv_category_of(&kv_command_table[id]);
        some |= of[id];
    }
    for (int i = 0; i < KV_CATEGORY_COUNT; i++)
        of[ACL_CATEGORY(i)] = some & 1u << i ? 0 : 1u << i;
}

/* Rows of a category that s allows, and that it does not. */
static void count_rows(const acl_selector *s, const unsigned of[], unsigned category, int *ret_on,
                       int *ret_off)
{
    *ret_on = *ret_off = 0;
    for (int id = 0; id < ACL_BITS; id++)
        if (of[id] & category) {
            *ret_on += acl_selector_allows(s, id);
            *ret_off += !acl_selector_allows(s, id);
        }
}

/* The index of the category that fits best, or -1: none does more good than harm. */
static int best_category(const acl_selector *s, const unsigned of[], unsigned applied, bool additive)
{
    int best = -1, least = INT_MAX, most = 0;

    for (int i = 0; i < KV_CATEGORY_COUNT; i++) {
        int on, off, wrong, right;

        if (applied & 1u << i)
            continue;
        count_rows(s, of, 1u << i, &on, &off);
        wrong = additive ? off : on;
        right = additive ? on : off;
        if (right > wrong && (wrong < least || (wrong == least && right > most))) {
            best = i;
            least = wrong;
            most = right;
        }
    }
    return best;
}

/* Writes the categories, and applies them to made. */
static void describe_categories(FILE *out, const acl_selector *s, const unsigned of[], acl_selector *made,
                                bool additive)
{
    unsigned applied = 0;
    acl_selector rest = { .all_keys = false };
    int best;

    memcpy(rest.commands, s->commands, sizeof rest.commands);
    while ((best = best_category(&rest, of, applied, additive)) >= 0) {
        fprintf(out, " %c@%s", additive ? '+' : '-', kv_category_name(best));
        acl_selector_category(made, 1u << best, additive);
        acl_selector_category(&rest, 1u << best, !additive);
        applied |= 1u << best;
    }
}

static void write_first_args(FILE *out, const acl_selector *s, const kv_command *row)
{
    for (size_t i = 0; i < s->first_args.count; i++) {
        const acl_text *text = &s->first_args.list[i];

        if (text->about != (unsigned)row->id)
            continue;
        fprintf(out, " +%s|", row->name);
        fwrite(text->data, 1, text->len, out);
    }
}

/* What is said of categories without commands, unless made has it. */
static void describe_empty(FILE *out, const acl_selector *s, const unsigned of[], const acl_selector *made)
{
    for (int i = 0; i < KV_CATEGORY_COUNT; i++) {
        bool wanted = acl_selector_allows(s, ACL_CATEGORY(i));

        if (of[ACL_CATEGORY(i)] && wanted != acl_selector_allows(made, ACL_CATEGORY(i)))
            fprintf(out, " %c@%s", wanted ? '+' : '-', kv_category_name(i));
    }
}

/* by_category: with categories, else row by row. */
static void describe_commands(FILE *out, const acl_selector *s, const unsigned of[], bool by_category)
{
    acl_selector made = { .all_keys = false };
    bool additive = !acl_selector_allows(s, ACL_FUTURE);
    char name[KV_COMMAND_NAME_MAX];

    acl_selector_all(&made, !additive);
    fputs(additive ? "-@all" : "+@all", out);
    if (by_category)
        describe_categories(out, s, of, &made, additive);
    describe_empty(out, s, of, &made);
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];
        bool wanted = acl_selector_allows(s, id);

        if (wanted != acl_selector_allows(&made, id)) {
            kv_command_name(row, name);
            fprintf(out, " %c%s", wanted ? '+' : '-', name);
            acl_selector_row(&made, row, wanted);
        }
        if (!wanted)
            write_first_args(out, s, row);
    }
}

void acl_describe_commands(FILE *out, const acl_selector *s)
{
    char *texts[2] = { NULL, NULL };
    size_t lens[2] = { SIZE_MAX, SIZE_MAX };
    unsigned of[ACL_BITS];

    read_categories(of);
    for (int by_category = 0; by_category < 2; by_category++) {
        FILE *one = open_memstream(&texts[by_category], &lens[by_category]);

        if (one)
            describe_commands(one, s, of, by_category);
        if (!one || fclose(one) != 0)
            lens[by_category] = SIZE_MAX;
    }
    if (lens[0] == SIZE_MAX && lens[1] == SIZE_MAX)
        describe_commands(out, s, of, true);
    else
        fwrite(texts[lens[1] <= lens[0]], 1, lens[lens[1] <= lens[0]], out);
    free(texts[0]);
    free(texts[1]);
}

/* ---- keys, channels ---- */

void acl_describe_keys(FILE *out, const acl_selector *s)
{
    static const char *const prefixes[] = { "", "%R", "%W", "" };

    if (s->all_keys)
        fputs("~*", out);
    for (size_t i = 0; i < s->keys.count; i++) {
        const acl_text *text = &s->keys.list[i];

        fprintf(out, "%s%s~", i ? " " : "", prefixes[text->about]);
        fwrite(text->data, 1, text->len, out);
    }
}

void acl_describe_channels(FILE *out, const acl_selector *s)
{
    if (s->all_channels)
        fputs("&*", out);
    for (size_t i = 0; i < s->channels.count; i++) {
        fputs(i ? " &" : "&", out);
        fwrite(s->channels.list[i].data, 1, s->channels.list[i].len, out);
    }
}

/* ---- all of it ---- */

/* "~a resetchannels &b -@all +get" */
static void describe_selector(FILE *out, const acl_selector *s)
{
    acl_describe_keys(out, s);
    if (s->all_keys || s->keys.count)
        fputc(' ', out);
    if (!s->all_channels)
        fputs("resetchannels ", out);
    acl_describe_channels(out, s);
    if (s->all_channels || s->channels.count)
        fputc(' ', out);
    acl_describe_commands(out, s);
}

static void describe(FILE *out, const acl_user *u)
{
    char hash[2 * SHA256_BYTES + 1];

    fwrite(u->name, 1, u->name_len, out);
    fputs(u->on ? " on" : " off", out);
    if (u->nopass)
        fputs(" nopass", out);
    if (u->sanitize != ACL_SANITIZE_DEFAULT)
        fputs(u->sanitize == ACL_SANITIZE ? " sanitize-payload" : " skip-sanitize-payload", out);
    for (size_t i = 0; i < u->password_count; i++) {
        acl_write_hash(u->passwords[i], hash);
        fprintf(out, " #%s", hash);
    }
    fputc(' ', out);
    describe_selector(out, &u->selectors[0]);
    for (size_t i = 1; i < u->selector_count; i++) {
        fputs(" (", out);
        describe_selector(out, &u->selectors[i]);
        fputc(')', out);
    }
}

void acl_write_hash(const unsigned char hash[SHA256_BYTES], char text[2 * SHA256_BYTES + 1])
{
    for (int i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", hash[i]);
}

char *acl_describe(const acl_user *u, size_t *ret_len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);

    if (!out)
        return NULL;
    describe(out, u);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
