/* acl.c - see acl.h.
 *
 * The users stand in an array by name. A user that is changed is another object in the same place; who still has the old one
 * reads it until he lets it go. Nobody waits for anybody, and what a worker reads per command is an object that nobody
 * writes.
 *
 *     acl ---- lock ---- [ alice v3 | bob v1 | default v2 ]
 *                             ^                    ^
 *     connections ------------'--------------------'        references, exchanged by acl_session.c
 *
 * born is a number that a user gets when it is made, and keeps through changes: a user that was deleted and made again is
 * another one, and connections of the first are not its. SPDX-License-Identifier: MIT */
#include "acl.h"

#include <pthread.h>
#include <stdlib.h>

#include "secret.h"

struct acl {
    config *config;
    pthread_mutex_t lock; /* guards users, and the writing of the rest */
    acl_users users;
    _Atomic uint64_t next_born;
    _Atomic bool nopass, open; /* of "default" */
};

#define DEFAULT KV_STR("default")

/* ---- lists ---- */

static int compare_names(kv_slice a, kv_slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Where the name is, or belongs. */
static size_t place_of(const acl_users *users, kv_slice name, bool *ret_found)
{
    size_t low = 0, high = users->count;

    *ret_found = false;
    while (low < high && !*ret_found) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(name, acl_user_name(users->list[middle]));

        *ret_found = order == 0;
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

acl_user *acl_users_find(const acl_users *users, kv_slice name)
{
    bool found;
    size_t at = place_of(users, name, &found);

    return found ? users->list[at] : NULL;
}

bool acl_users_add(acl_users *users, acl_user *u)
{
    bool found;
    size_t at = place_of(users, acl_user_name(u), &found);
    acl_user **list = realloc(users->list, (users->count + 1) * sizeof *list);

    if (!list) {
        acl_user_unref(u);
        return false;
    }
    users->list = list;
    acl_user_quicken(u);
    memmove(&list[at + 1], &list[at], (users->count - at) * sizeof *list);
    list[at] = u;
    users->count++;
    return true;
}

void acl_users_free(acl_users *users)
{
    for (size_t i = 0; i < users->count; i++)
        acl_user_unref(users->list[i]);
    free(users->list);
    *users = (acl_users){ NULL, 0 };
}

/* ---- life ---- */

acl_options acl_options_now(const acl *a)
{
    return (acl_options){
        .all_channels = config_number(a->config, CONFIG_ID_acl_pubsub_default) == CONFIG_ALL_CHANNELS,
        .rules_max = (size_t)config_number(a->config, CONFIG_ID_acl_max_rules),
    };
}

size_t acl_users_max(const acl *a)
{
    return (size_t)config_number(a->config, CONFIG_ID_acl_max_users);
}

acl_user *acl_make(acl *a, kv_slice name)
{
    acl_options options = acl_options_now(a);
    acl_user *u = acl_user_new(name, &options);

    if (u)
        u->born = atomic_fetch_add_explicit(&a->next_born, 1, memory_order_relaxed);
    return u;
}

/* Under the lock, or before anybody else knows a. */
static void note_default(acl *a)
{
    const acl_user *u = acl_users_find(&a->users, DEFAULT);

    atomic_store_explicit(&a->nopass, u->nopass, memory_order_relaxed);
    atomic_store_explicit(&a->open, u->nopass && u->on, memory_order_relaxed);
}

static acl_error set_password(const acl *a, acl_user *u, kv_slice password)
{
    acl_options options = acl_options_now(a);
    unsigned char hash[SHA256_BYTES];
    char rule[2 * SHA256_BYTES + 2] = "#";

    if (!password.len)
        return acl_user_apply(u, KV_STR("nopass"), &options);
    acl_user_apply(u, KV_STR("resetpass"), &options);
    sha256(password.data, password.len, hash);
    acl_write_hash(hash, rule + 1);
    return acl_user_apply(u, kv_str(rule), &options);
}

/* He may do everything, with the password of requirepass. NULL: memory is out. */
static acl_user *make_default(acl *a)
{
    static const char *const rules[] = { "on", "~*", "&*", "+@all" };
    acl_options options = acl_options_now(a);
    acl_user *u = acl_make(a, DEFAULT);
    size_t len = 0;
    char *password = config_copy(a->config, CONFIG_ID_requirepass, &len);
    bool ok = u && password;

    for (size_t i = 0; ok && i < sizeof rules / sizeof *rules; i++)
        ok = acl_user_apply(u, kv_str(rules[i]), &options) == ACL_OK;
    ok = ok && set_password(a, u, kv_slice_of(password, len)) == ACL_OK;
    if (password)
        secret_wipe(password, len);
    free(password);
    if (ok)
        return u;
    acl_user_unref(u);
    return NULL;
}

acl *acl_new(config *c)
{
    acl *a = calloc(1, sizeof *a);
    acl_user *u;

    if (!a)
        return NULL;
    a->config = c;
    pthread_mutex_init(&a->lock, NULL);
    u = make_default(a);
    if (u && acl_users_add(&a->users, u)) {
        note_default(a);
        return a;
    }
    acl_free(a);
    return NULL;
}

void acl_free(acl *a)
{
    if (!a)
        return;
    acl_users_free(&a->users);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static bool same_rules(const acl_user *a, const acl_user *b)
{
    size_t a_len = 0, b_len = 0;
    char *a_text = acl_describe(a, &a_len), *b_text = acl_describe(b, &b_len);
    bool same = a_text && b_text && kv_slice_equal(kv_slice_of(a_text, a_len), kv_slice_of(b_text, b_len));

    free(a_text);
    free(b_text);
    return same;
}

bool acl_is_plain(acl *a)
{
    acl_user *plain = make_default(a);
    acl_users users;
    bool same = false;

    if (plain && acl_list(a, &users)) {
        same = users.count == 1 && same_rules(users.list[0], plain);
        acl_users_free(&users);
    }
    acl_user_unref(plain);
    return same;
}

/* ---- looking ---- */

acl_user *acl_find(acl *a, kv_slice name)
{
    acl_user *u;

    pthread_mutex_lock(&a->lock);
    u = acl_users_find(&a->users, name);
    if (u)
        acl_user_ref(u);
    pthread_mutex_unlock(&a->lock);
    return u;
}

acl_user *acl_default(acl *a)
{
    return acl_find(a, DEFAULT);
}

bool acl_list(acl *a, acl_users *ret_users)
{
    pthread_mutex_lock(&a->lock);
    ret_users->count = 0;
    ret_users->list = malloc(a->users.count * sizeof *ret_users->list);
    for (size_t i = 0; ret_users->list && i < a->users.count; i++)
        ret_users->list[ret_users->count++] = acl_user_ref(a->users.list[i]);
    pthread_mutex_unlock(&a->lock);
    return ret_users->list != NULL;
}

bool acl_default_nopass(const acl *a)
{
    return atomic_load_explicit(&a->nopass, memory_order_relaxed);
}

bool acl_default_open(const acl *a)
{
    return atomic_load_explicit(&a->open, memory_order_relaxed);
}

/* ---- changing ---- */

acl_error acl_put(acl *a, acl_user *u, bool *ret_full)
{
    size_t at;
    acl_error err = acl_user_rules(u) > acl_options_now(a).rules_max ? ACL_ETOOMANY : ACL_OK;
    acl_user *old = NULL;
    bool found;

    acl_user_quicken(u);
    pthread_mutex_lock(&a->lock);
    at = place_of(&a->users, acl_user_name(u), &found);
    *ret_full = !err && !found && a->users.count >= acl_users_max(a);
    if (err || *ret_full) {
        old = u;
    } else if (found) {
        old = a->users.list[at];
        a->users.list[at] = u;
    } else {
        err = acl_users_add(&a->users, u) ? ACL_OK : ACL_ENOMEM;
    }
    note_default(a);
    pthread_mutex_unlock(&a->lock);
    acl_user_unref(old);
    return err;
}

bool acl_delete(acl *a, kv_slice name)
{
    acl_user *old = NULL;
    bool found;
    size_t at;

    if (kv_slice_equal(name, DEFAULT))
        return false;
    pthread_mutex_lock(&a->lock);
    at = place_of(&a->users, name, &found);
    if (found) {
        old = a->users.list[at];
        a->users.count--;
        memmove(&a->users.list[at], &a->users.list[at + 1], (a->users.count - at) * sizeof *a->users.list);
    }
    pthread_mutex_unlock(&a->lock);
    acl_user_unref(old);
    return found;
}

bool acl_replace(acl *a, acl_users *fresh)
{
    acl_users old;
    acl_user *u = acl_users_find(fresh, DEFAULT) ? NULL : make_default(a);

    if (u ? !acl_users_add(fresh, u) : !acl_users_find(fresh, DEFAULT))
        return false;
    pthread_mutex_lock(&a->lock);
    old = a->users;
    acl_users_find(fresh, DEFAULT)->born = acl_users_find(&old, DEFAULT)->born;
    a->users = *fresh;
    note_default(a);
    pthread_mutex_unlock(&a->lock);
    *fresh = (acl_users){ NULL, 0 };
    acl_users_free(&old);
    return true;
}

acl_error acl_set_password(acl *a, kv_slice password)
{
    acl_user *old = acl_default(a), *u = acl_user_copy(old);
    acl_error err = u ? set_password(a, u, password) : ACL_ENOMEM;
    bool full;

    acl_user_unref(old);
    if (!err)
        return acl_put(a, u, &full);
    acl_user_unref(u);
    return err;
}
