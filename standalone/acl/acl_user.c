/* acl_user.c - the life of a user, and the rules that make one.
 *
 * The problem: a worker must know for each command of each connection whether its user may run it, while users are changed
 * by others. Here a user is an object that nobody changes once it is shared: who changes one copies it, applies rules to
 * the copy, and puts that in its place (acl.c). So connections hold a reference and read it without a lock.
 *
 * What a selector allows is a bit for each row of the command table. Rules about categories and containers set the bits of
 * rows, so that a check is one bit; the rules that were typed are forgotten, and acl_describe.c finds some that give
 * the same bits, as Redis 7.0 does.
 *
 *     user -> name, passwords (SHA-256), selectors[0] root: +get ~a*     | a command needs one
 *                                        selectors[1]       (+set ~b)    | that allows all of it
 *
 * Rules are applied one by one and each is whole or not at all; that a list of them is, is for the caller, by the copy.
 *
 * SPDX-License-Identifier: MIT */
#include "acl_user.h"

#include <stdlib.h>

#include "secret.h"

void acl_selector_done(acl_selector *s)
{
    acl_texts_clear(&s->keys);
    acl_texts_clear(&s->channels);
    acl_texts_clear(&s->first_args);
}

static void user_free(acl_user *u)
{
    for (size_t i = 0; i < u->selector_count; i++)
        acl_selector_done(&u->selectors[i]);
    free(u->selectors);
    free(u->passwords);
    free(u->name);
    free(u);
}

/* Appends a selector: an empty one, or what *from has, which is taken over. */
bool acl_user_add_selector(acl_user *u, const acl_selector *from)
{
    acl_selector *list = realloc(u->selectors, (u->selector_count + 1) * sizeof *list);

    if (!list)
        return false;
    u->selectors = list;
    list[u->selector_count++] = *from;
    return true;
}

acl_user *acl_user_new(kv_slice name, const acl_options *options)
{
    acl_user *u = calloc(1, sizeof *u);
    acl_selector root = { .all_channels = options->all_channels };

    if (!u)
        return NULL;
    atomic_init(&u->references, 1);
    u->name = malloc(name.len + 1);
    if (!u->name || !acl_user_add_selector(u, &root)) {
        user_free(u);
        return NULL;
    }
    if (name.len)
        memcpy(u->name, name.data, name.len);
    u->name[name.len] = '\0';
    u->name_len = name.len;
    return u;
}

static bool copy_selector(acl_user *to, const acl_selector *from)
{
    acl_selector copy = { .all_keys = from->all_keys, .all_channels = from->all_channels };

    memcpy(copy.commands, from->commands, sizeof copy.commands);
    if (acl_texts_copy(&copy.keys, &from->keys) && acl_texts_copy(&copy.channels, &from->channels) &&
        acl_texts_copy(&copy.first_args, &from->first_args) && acl_user_add_selector(to, &copy))
        return true;
    acl_selector_done(&copy);
    return false;
}

static bool copy_passwords(acl_user *to, const acl_user *from)
{
    size_t bytes = from->password_count * sizeof *from->passwords;

    if (!bytes)
        return true;
    to->passwords = malloc(bytes);
    if (!to->passwords)
        return false;
    memcpy(to->passwords, from->passwords, bytes);
    to->password_count = from->password_count;
    return true;
}

acl_user *acl_user_copy(const acl_user *u)
{
    acl_user *copy = acl_user_new(acl_user_name(u), &(acl_options){ .all_channels = false });
    bool whole = copy != NULL;

    if (!copy)
        return NULL;
    copy->born = u->born;
    copy->on = u->on;
    copy->nopass = u->nopass;
    copy->sanitize = u->sanitize;
    copy->selector_count = 0; /* the root is empty: nothing is lost of it */
    for (size_t i = 0; i < u->selector_count && whole; i++)
        whole = copy_selector(copy, &u->selectors[i]);
    if (whole && copy_passwords(copy, u))
        return copy;
    user_free(copy);
    return NULL;
}

acl_user *acl_user_ref(acl_user *u)
{
    atomic_fetch_add_explicit(&u->references, 1, memory_order_relaxed);
    return u;
}

void acl_user_unref(acl_user *u)
{
    if (u && atomic_fetch_sub_explicit(&u->references, 1, memory_order_acq_rel) == 1)
        user_free(u);
}

/* The place of a hash, or password_count. Looks at all of them, whichever it is. */
size_t acl_user_find_password(const acl_user *u, const unsigned char hash[SHA256_BYTES])
{
    size_t found = u->password_count;

    for (size_t i = 0; i < u->password_count; i++)
        if (secret_equal(u->passwords[i], hash, SHA256_BYTES))
            found = i;
    return found;
}

bool acl_user_knows(const acl_user *u, kv_slice password)
{
    unsigned char hash[SHA256_BYTES];
    bool known;

    sha256(password.data, password.len, hash);
    known = acl_user_find_password(u, hash) < u->password_count;
    secret_wipe(hash, sizeof hash);
    return known || u->nopass;
}

size_t acl_user_rules(const acl_user *u)
{
    size_t count = u->password_count;

    for (size_t i = 0; i < u->selector_count; i++)
        count += 1 + u->selectors[i].keys.count + u->selectors[i].channels.count +
                 u->selectors[i].first_args.count;
    return count;
}

/* The bits of all rows that there are. */
static bool allows_all_rows(const acl_selector *s)
{
    for (int word = 0; word < KV_COMMAND_COUNT / 64; word++)
        if (s->commands[word] != UINT64_MAX)
            return false;
    for (int id = KV_COMMAND_COUNT / 64 * 64; id < KV_COMMAND_COUNT; id++)
        if (!acl_selector_allows(s, id))
            return false;
    return true;
}

bool acl_user_unlimited(const acl_user *u)
{
    for (size_t i = 0; i < u->selector_count; i++) {
        const acl_selector *s = &u->selectors[i];

        if (s->all_keys && s->all_channels && allows_all_rows(s))
            return true;
    }
    return false;
}
