/* acl_check.c - whether a user may run a command.
 *
 *     the row's bit -> its keys, each with what the command does to it -> its channels
 *
 * Everything is read from the command table: which row it is, where keys stand, what happens to them. The same key specs
 * tell clusters and transactions which keys a command has, so what runs and what is allowed cannot differ; where they
 * cannot tell, the answer is no. Of several selectors one must allow all of it.
 *
 * Cost: for a user who may do everything, nothing: dispatch does not come here. Others: a test of a bit, and patterns only
 * where the user is limited to some. SPDX-License-Identifier: MIT */
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

/* A key that is neither read nor changed, as EXISTS has them, needs any pattern. */
static bool key_allowed(const acl_selector *s, kv_slice key, unsigned permissions)
{
    for (size_t i = 0; i < s->keys.count; i++) {
        const acl_text *pattern = &s->keys.list[i];

        if ((pattern->about & permissions) == permissions &&
            pattern_match(kv_slice_of(pattern->data, pattern->len), key, false))
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

static int denied_key(const acl_selector *s, const kv_command *row, int argc, const kv_slice argv[])
{
    kv_key_spec specs[2];
    int position;

    if (s->all_keys)
        return NONE;
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
        kv_slice pattern = kv_slice_of(s->channels.list[i].data, s->channels.list[i].len);

        if (is_pattern ? kv_slice_equal(pattern, channel) : pattern_match(pattern, channel, false))
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
