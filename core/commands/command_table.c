/* command_table.c - the rows of commands.def, and how a name finds its row.
 *
 * On the way of every request, so it costs some twenty instructions: the name is read as two words with the
 * case folded away (index/name_words.h), one multiplication gives a slot of a perfect hash that the build made
 * (index/generate.c), and the words stored there must be equal. Everything is constant: no initialisation, no
 * lock, one table for all stores of the process.
 *
 * Subcommands are few and rarely asked for: they stand behind their container, and a walk finds them.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdio.h>
#include <strings.h>

#include "args.h"
#include "renames.h"

#include "index/name_words.h"
#include <strings.h>

/* ---- the rows ---- */

/* Short names for commands.def. */
enum {
    RO = KV_KEY_RO,
    RW = KV_KEY_RW,
    OW = KV_KEY_OW,
    RM = KV_KEY_RM,
    ACCESS = KV_KEY_ACCESS,
    UPDATE = KV_KEY_UPDATE,
    INSERT = KV_KEY_INSERT,
    DELETE = KV_KEY_DELETE,
    VARIABLE = KV_KEY_VARIABLE,
    INCOMPLETE = KV_KEY_INCOMPLETE,
};

#define KEYS(first_, last_, step_, ...)                                     \
    {                                                                       \
        .first = first_, .last = last_, .step = step_, .flags = __VA_ARGS__ \
    }
#define ARGS(...)    ((const kv_arg[]){ __VA_ARGS__, { .name = NULL } })
#define HISTORY(...) ((const kv_history[]){ __VA_ARGS__, { .since = NULL } })
#define ARG(name_, ...)                    \
    {                                      \
        .name = name_, .type = __VA_ARGS__ \
    }
#define TOKEN(name_, word)                                 \
    {                                                      \
        .name = name_, .type = KV_ARG_TOKEN, .token = word \
    }

/* Arguments that several rows share. */
#define KEY ARG("key", KV_ARG_KEY)
#define KEY_VALUE \
    ARG("key_value", KV_ARG_BLOCK, .flags = KV_ARG_MULTIPLE, .sub = ARGS(KEY, ARG("value", KV_ARG_STRING)))
#define EXPIRE_CONDITION                                                       \
    ARG("condition", KV_ARG_ONEOF, .since = "7.0.0", .flags = KV_ARG_OPTIONAL, \
        .sub = ARGS(TOKEN("nx", "NX"), TOKEN("xx", "XX"), TOKEN("gt", "GT"), TOKEN("lt", "LT")))
#define EXPIRE_VERSION \
    ARG("version", KV_ARG_INT, .token = "IFVER", .since = "0.1.0", .flags = KV_ARG_OPTIONAL)
#define FLUSH_MODE                                                                  \
    ARG("async", KV_ARG_ONEOF, .flags = KV_ARG_OPTIONAL,                            \
        .sub = ARGS(ARG("async", KV_ARG_TOKEN, .token = "ASYNC", .since = "4.0.0"), \
                    ARG("sync", KV_ARG_TOKEN, .token = "SYNC", .since = "6.2.0")))

const kv_command kv_command_table[KV_COMMAND_COUNT] = {
#define COMMAND(id_, ...)         { .name = #id_, .run = kv_cmd_##id_, .id = KV_COMMAND_##id_, __VA_ARGS__ },
#define SESSION_COMMAND(id_, ...) { .name = #id_, .id = KV_COMMAND_##id_, __VA_ARGS__ },
#define CONTAINER(id_, ...)       { .name = #id_, .id = KV_COMMAND_##id_, __VA_ARGS__ },
#define SUBCOMMAND(container_, id_, name_, ...) \
    { .name = name_,                            \
      .container = #container_,                 \
      .run = kv_cmd_##container_##_##id_,       \
      .id = KV_COMMAND_##container_##_##id_,    \
      __VA_ARGS__ },
#define SESSION_SUBCOMMAND(container_, id_, name_, ...) \
    { .name = name_, .container = #container_, .id = KV_COMMAND_##container_##_##id_, __VA_ARGS__ },
#include "commands.def"
};

/* ---- finding ---- */

typedef struct command_index_name {
    name_words words;
    uint32_t len;
    uint32_t id;
} command_index_name;

#include "command_index.h"

const kv_command *kv_command_find(kv_slice name)
{
    if (name.len - 1 >= NAME_WORDS_MAX)
        return NULL;

    name_words words = name_words_of(name.data, name.len);
    unsigned slot = name_words_slot(words, name.len, COMMAND_INDEX_MULTIPLIER, COMMAND_INDEX_BITS);
    const command_index_name *found;

    if (!command_index_slots[slot])
        return NULL;
    found = &command_index_names[command_index_slots[slot] - 1];
    if (found->words.lo != words.lo || found->words.hi != words.hi || found->len != name.len)
        return NULL;
    return &kv_command_table[found->id];
}

const kv_command *kv_command_subcommands(const kv_command *row, size_t *ret_count)
{
    const kv_command *end = kv_command_table + KV_COMMAND_COUNT, *sub = row + 1;

    *ret_count = 0;
    if (row->container)
        return sub;
    while (sub + *ret_count < end && sub[*ret_count].container)
        ++*ret_count;
    return sub;
}

const kv_command *kv_command_find_sub(const kv_command *row, kv_slice name)
{
    size_t count;
    const kv_command *sub = kv_command_subcommands(row, &count);

    for (size_t i = 0; i < count; i++)
        if (kv_word_is(name, sub[i].name))
            return &sub[i];
    return NULL;
}

const kv_command *kv_command_find_full(kv_slice name)
{
    return kv_renames_find_full(NULL, name);
}

kv_slice kv_command_name(const kv_command *row, char buffer[KV_COMMAND_NAME_MAX])
{
    int len = row->container ? snprintf(buffer, KV_COMMAND_NAME_MAX, "%s|%s", row->container, row->name)
                             : snprintf(buffer, KV_COMMAND_NAME_MAX, "%s", row->name);

    return kv_slice_of(buffer, (size_t)len);
}

/* ---- resolving ---- */

static void reply_unknown_command(int argc, const kv_slice argv[], kv_reply *reply)
{
    char args[KV_ECHO_MAX + 4];
    size_t len = 0;

    args[0] = '\0';
    for (int i = 1; i < argc && len < KV_ECHO_MAX; i++) {
        int echo = kv_echo_len(argv[i], KV_ECHO_MAX - len);

        len += (size_t)snprintf(args + len, sizeof args - len, "'%.*s' ", echo, argv[i].data);
    }
    kv_reply_errorf(reply, "ERR unknown command '%.*s', with args beginning with: %s",
                    kv_echo_len(argv[0], KV_ECHO_MAX), argv[0].data, args);
}

static void reply_unknown_subcommand(const kv_command *row, kv_slice name, kv_reply *reply)
{
    char container[NAME_WORDS_MAX + 1];
    size_t len = strlen(row->name);

    for (size_t i = 0; i <= len; i++)
        container[i] = kv_upper(row->name[i]);
    kv_reply_errorf(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", kv_echo_len(name, KV_ECHO_MAX),
                    name.data, container);
}

const kv_command *kv_command_resolve(int argc, const kv_slice argv[], kv_reply *reply)
{
    return kv_command_resolve_from(kv_command_find(argv[0]), argc, argv, reply);
}

const kv_command *kv_command_resolve_from(const kv_command *row, int argc, const kv_slice argv[],
                                          kv_reply *reply)
{
    char name[KV_COMMAND_NAME_MAX];
    size_t subcommands;

    if (!row) {
        reply_unknown_command(argc, argv, reply);
        return NULL;
    }
    kv_command_subcommands(row, &subcommands);
    if (subcommands && argc > 1) {
        const kv_command *sub = kv_command_find_sub(row, argv[1]);

        if (!sub) {
            reply_unknown_subcommand(row, argv[1], reply);
            return NULL;
        }
        row = sub;
    }
    if (!kv_command_arity_ok(row, argc)) {
        kv_command_name(row, name);
        kv_reply_errorf(reply, "ERR wrong number of arguments for '%s' command", name);
        return NULL;
    }
    return row;
}

/* ---- keys ---- */

int kv_command_key_range(const kv_key_spec *spec, int argc, const kv_slice argv[], int *ret_last)
{
    int64_t n;

    *ret_last = -1;
    if (!spec->first || (spec->flags & KV_KEY_NOT_KEY))
        return 0;
    if (!spec->numkeys) {
        *ret_last = spec->last < 0 ? argc + spec->last : spec->last;
    } else {
        if (spec->numkeys >= argc || !kv_parse_int(argv[spec->numkeys], &n) || n < 1 ||
            n > (argc - spec->first) / spec->step)
            return KV_EINVAL;
        *ret_last = spec->first + ((int)n - 1) * spec->step;
    }
    return *ret_last < argc ? 0 : KV_EINVAL;
}

/* SET says what it does to its key only by its options: without GET and without a comparison it does not look at the
 * old value. */
unsigned kv_command_key_use(const kv_key_spec *spec, int argc, const kv_slice argv[])
{
    if (!(spec->flags & KV_KEY_VARIABLE))
        return spec->flags;
    for (int i = 3; i < argc; i++)
        if (kv_word_is(argv[i], "get") || (argv[i].len > 2 && kv_word_is(kv_slice_of(argv[i].data, 2), "if")))
            return spec->flags & ~(unsigned)KV_KEY_VARIABLE;
    return KV_KEY_OW | KV_KEY_UPDATE;
}

/* Appends the positions of one key spec to those of another; see kv_command_keys. */
static int spec_positions(const kv_key_spec *spec, int argc, const kv_slice argv[], int positions[], int max,
                          int count)
{
    int last, err = kv_command_key_range(spec, argc, argv, &last);

    if (err)
        return err;
    for (int i = spec->first; i <= last; i += spec->step, count++)
        if (count < max)
            positions[count] = i;
    return count;
}

/* Where the keyword of a spec stands behind the key of another; 0: nowhere. The words of AUTH and AUTH2 are passed over. */
static int find_keyword(const kv_command *row, int argc, const kv_slice argv[])
{
    for (int i = row->keys.last + 1; row->keys2.keyword && i < argc; i++) {
        if (argv[i].len == strlen(row->keys2.keyword) &&
            strncasecmp(argv[i].data, row->keys2.keyword, argv[i].len) == 0)
            return i;
        if (kv_word_is(argv[i], "auth"))
            i++;
        else if (kv_word_is(argv[i], "auth2"))
            i += 2;
    }
    return 0;
}

void kv_command_key_specs(const kv_command *row, int argc, const kv_slice argv[], kv_key_spec ret_specs[2])
{
    int keyword = find_keyword(row, argc, argv);

    ret_specs[0] = row->keys;
    ret_specs[1] = row->keys2;
    /* An empty key in front of KEYS (MIGRATE) only says that the keys come later. */
    if (keyword && argv[row->keys.first].len == 0)
        ret_specs[0].first = 0;
    if (row->keys2.keyword)
        ret_specs[1].first = keyword ? keyword + 1 : 0;
}

int kv_command_keys(const kv_command *row, int argc, const kv_slice argv[], int positions[], int max)
{
    kv_key_spec specs[2];
    int count;

    kv_command_key_specs(row, argc, argv, specs);
    count = spec_positions(&specs[0], argc, argv, positions, max, 0);
    return count < 0 ? count : spec_positions(&specs[1], argc, argv, positions, max, count);
}
