/* acl_check.c - whether a user may run a command.
 *
 *     the row's bit -> its keys, each with what the command does to it -> its channels
 *
 * Everything is read from the command table: which row it is, where keys stand, what happens to them. The same key specs
 * tell clusters and transactions which keys a command has, so what runs and what is allowed cannot differ; where they
 * cannot tell, the answer is no. Of several selectors one must allow all of it.
 *
 * Cost: for a user who may do everything, nothing: dispatch does not come here. Of others it is known for each command whether
 * the root allows it, and whether its one key is the first argument; then patterns are compared, and only where the user is limited
 * to some: a GET with one pattern that is a prefix takes some 60 instructions more. What is not that simple is checked as a
 * whole, and so is what is denied, since the reason must be told. SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "acl_user.h"
#include "args.h"
#include "pattern.h"
#include "transaction.h"

#define NONE (-1) /* no argument is denied */

/* ---- keys ---- */

static unsigned needed_permissions(unsigned use)
{
    return (use & KV_KEY_ACCESS ? ACL_READ : 0u) |
           (use & (KV_KEY_INSERT | KV_KEY_DELETE | KV_KEY_UPDATE) ? ACL_WRITE : 0u);
}

/* Most patterns are a prefix and a star, or a name: that is compared, and nothing else. */
static inline bool is_matched(const acl_text *pattern, kv_slice text)
{
    if (text.len < pattern->literal || memcmp(text.data, pattern->data, pattern->literal) != 0)
        return false;
    if (pattern->literal + 1 == pattern->len && pattern->data[pattern->literal] == '*')
        return true;
    return pattern_match(kv_slice_of(pattern->data, pattern->len), text, false);
}

/* A key that is neither read nor changed, as EXISTS has them, needs any pattern. */
static inline bool key_allowed(const acl_selector *s, kv_slice key, unsigned permissions)
{
    for (size_t i = 0; i < s->keys.count; i++) {
        const acl_text *pattern = &s->keys.list[i];

        if ((pattern->about & permissions) == permissions && is_matched(pattern, key))
            return true;
    }
    return false;
}

/* The position of the first key of the spec that is not allowed, or NONE. Those that cannot be told are denied as
 * the command's name. */
static int denied_key_of(const acl_selector *s, const kv_key_spec *spec, int argc, const kv_slice argv[])
{
    int last;
    unsigned permissions;

    if (kv_command_key_range(spec, argc, argv, &last) != 0)
        return 0;
    permissions = needed_permissions(kv_command_key_use(spec, argc, argv));
    for (int i = spec->first; i <= last; i += spec->step)
        if (!key_allowed(s, argv[i], permissions))
            return i;
    return NONE;
}

/* The conditions of EXEC name keys, and tell about them. */
static int denied_condition(const acl_selector *s, int argc, const kv_slice argv[])
{
    for (int i = 1, words; i < argc; i += words) {
        words = transaction_check_words(argc - i, argv + i);
        if (!words)
            return i;
        if (!key_allowed(s, argv[i + 1], ACL_READ))
            return i + 1;
    }
    return NONE;
}

/* Whether the first argument is the one key of every call of the command. */
static inline bool has_one_key(const kv_command *row)
{
    const kv_key_spec *keys = &row->keys;

    return keys->first == 1 && keys->last == 1 && !keys->numkeys && !row->keys2.first &&
           !row->keys2.keyword && !(keys->flags & (KV_KEY_VARIABLE | KV_KEY_NOT_KEY));
}

static int denied_key(const acl_selector *s, const kv_command *row, int argc, const kv_slice argv[])
{
    kv_key_spec specs[2];
    int position;

    if (s->all_keys)
        return NONE;
    if (has_one_key(row))
        return key_allowed(s, argv[1], needed_permissions(row->keys.flags)) ? NONE : 1;
    if (row->id == KV_COMMAND_exec)
        return denied_condition(s, argc, argv);
    kv_command_key_specs(row, argc, argv, specs);
    position = denied_key_of(s, &specs[0], argc, argv);
    return position != NONE ? position : denied_key_of(s, &specs[1], argc, argv);
}

/* ---- channels ---- */

static bool channel_allowed(const acl_selector *s, kv_slice channel, bool is_pattern)
{
    if (s->all_channels)
        return true;
    for (size_t i = 0; i < s->channels.count; i++) {
        const acl_text *pattern = &s->channels.list[i];

        if (is_pattern ? kv_slice_equal(kv_slice_of(pattern->data, pattern->len), channel)
                       : is_matched(pattern, channel))
            return true;
    }
    return false;
}

/* The arguments from 1 on that are channels: how many. Ending a subscription is always allowed. */
static int channel_count(const kv_command *row, int argc)
{
    switch (row->id) {
    case KV_COMMAND_publish:
    case KV_COMMAND_spublish:
        return 1;
    case KV_COMMAND_subscribe:
    case KV_COMMAND_ssubscribe:
    case KV_COMMAND_psubscribe:
        return argc - 1;
    default:
        return 0;
    }
}

static int denied_channel(const acl_selector *s, const kv_command *row, int argc, const kv_slice argv[])
{
    int count = s->all_channels ? 0 : channel_count(row, argc);

    for (int i = 1; i <= count; i++)
        if (!channel_allowed(s, argv[i], row->id == KV_COMMAND_psubscribe))
            return i;
    return NONE;
}

bool acl_user_may_listen(const acl_user *u, kv_slice channel, bool is_pattern)
{
    for (size_t i = 0; i < u->selector_count; i++)
        if (channel_allowed(&u->selectors[i], channel, is_pattern))
            return true;
    return false;
}

/* ---- commands ---- */

static bool command_allowed(const acl_selector *s, const kv_command *row, int argc, const kv_slice argv[])
{
    if (acl_selector_allows(s, row->id) || (row->flags & KV_CMD_NO_AUTH))
        return true;
    for (size_t i = 0; i < s->first_args.count && argc > 1; i++) {
        const acl_text *word = &s->first_args.list[i];

        if (word->about == (unsigned)row->id && word->len == argv[1].len &&
            strncasecmp(word->data, argv[1].data, word->len) == 0)
            return true;
    }
    return false;
}

static acl_verdict check_selector(const acl_selector *s, const kv_command *row, int argc,
                                  const kv_slice argv[], int *ret_position)
{
    int key, channel;

    *ret_position = 0;
    if (!command_allowed(s, row, argc, argv))
        return ACL_DENIED_COMMAND;
    key = denied_key(s, row, argc, argv);
    channel = key == NONE ? denied_channel(s, row, argc, argv) : NONE;
    if (key == NONE && channel == NONE)
        return ACL_ALLOWED;
    *ret_position = key != NONE ? key : channel;
    return key != NONE ? ACL_DENIED_KEY : ACL_DENIED_CHANNEL;
}

acl_verdict acl_check(const acl_user *u, const kv_command *row, int argc, const kv_slice argv[],
                      int *ret_position)
{
    acl_verdict worst = ACL_DENIED_COMMAND;

    *ret_position = 0;
    for (size_t i = 0; i < u->selector_count; i++) {
        int position;
        acl_verdict verdict = check_selector(&u->selectors[i], row, argc, argv, &position);

        if (verdict == ACL_ALLOWED)
            return verdict;
        if (verdict > worst || (verdict == worst && position > *ret_position)) {
            worst = verdict;
            *ret_position = position;
        }
    }
    return worst;
}

/* ---- quickly ---- */

enum { QUICK_FREE = 4, QUICK_ONE_KEY = 8 }; /* beside ACL_READ and ACL_WRITE: what the one key needs */

static unsigned char quick_of(const acl_selector *s, const kv_command *row)
{
    bool channels = !s->all_channels && channel_count(row, 2) > 0;

    if (!(acl_selector_allows(s, row->id) || (row->flags & KV_CMD_NO_AUTH)) || channels)
        return 0;
    if (s->all_keys)
        return QUICK_FREE;
    if (row->id == KV_COMMAND_exec)
        return 0;
    if (has_one_key(row))
        return (unsigned char)(QUICK_ONE_KEY | needed_permissions(row->keys.flags));
    return row->keys.first || row->keys2.first || row->keys2.keyword ? 0 : QUICK_FREE;
}

void acl_user_quicken(acl_user *u)
{
    for (int id = 0; id < KV_COMMAND_COUNT; id++)
        u->quick[id] = quick_of(&u->selectors[0], &kv_command_table[id]);
}

bool acl_permits(const acl_user *u, const kv_command *row, int argc, const kv_slice argv[])
{
    unsigned quick = u->quick[row->id];
    int position;

    if (quick & QUICK_FREE)
        return true;
    if ((quick & QUICK_ONE_KEY) && key_allowed(&u->selectors[0], argv[1], quick & (ACL_READ | ACL_WRITE)))
        return true;
    return acl_check(u, row, argc, argv, &position) == ACL_ALLOWED;
}
