/* acl.h - the users of a server.
 *
 *     acl *a = acl_new(config);
 *     acl_user *u = acl_find(a, KV_STR("alice"));      // ours: one reference; NULL: no such user
 *     acl_user *v = acl_user_copy(u);                   // ... apply rules to v ...
 *     err = acl_put(a, v);                              // v is alice from here on
 *
 * What connections do about a change is acl_session.h's.
 *
 * Threads    Any thread; one lock, held for moments. A worker takes it when a client authenticates or connects, not
 *            per command.
 * Ownership  As acl_user.h says; acl_put and acl_replace take over.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_H
#define KV_STANDALONE_ACL_H

#include "acl_user.h"
#include "config.h"

typedef struct acl acl;

/* Users by name, in ascending order. */
typedef struct acl_users {
    acl_user **list;
    size_t count;
} acl_users;

/* With the user "default" alone, who may do everything, and needs a password when requirepass says so. NULL: memory is out. */
acl *acl_new(config *c);
void acl_free(acl *a);

/* acl-pubsub-default and acl-max-rules, as they are now. */
acl_options acl_options_now(const acl *a);
/* acl-max-users. */
size_t acl_users_max(const acl *a);
/* A user of that name, new to all: to be changed, then put. NULL: memory is out. */
acl_user *acl_make(acl *a, kv_slice name);

/* A reference, or NULL. */
acl_user *acl_find(acl *a, kv_slice name);
acl_user *acl_default(acl *a);
/* References to all. False: memory is out. */
bool acl_list(acl *a, acl_users *ret_users);
/* Puts u in the place of the user of its name, or adds it. ACL_ETOOMANY (by acl-max-rules), ACL_ENOMEM; *ret_full: there are as many
 * users as acl-max-users allows. Then u is gone and nothing has changed. */
acl_error acl_put(acl *a, acl_user *u, bool *ret_full);
/* Whether there was one; "default" stays. */
bool acl_delete(acl *a, kv_slice name);
/* Puts other users in the place of all, born anew; only "default" is the one he was. "default" is what requirepass makes of him when fresh has none. Takes over what
 * fresh holds; false: memory is out, and nothing has changed. */
bool acl_replace(acl *a, acl_users *fresh);
/* Makes requirepass the password of "default"; "" is none. ACL_ENOMEM. */
acl_error acl_set_password(acl *a, kv_slice password);

/* Whether there is nobody but "default", as requirepass makes him. */
bool acl_is_plain(acl *a);
/* Whether "default" needs no password, and whether a new connection may begin at once. */
bool acl_default_nopass(const acl *a);
bool acl_default_open(const acl *a);

/* ---- lists of users ---- */

void acl_users_free(acl_users *users);
/* NULL: it is not there. */
acl_user *acl_users_find(const acl_users *users, kv_slice name);
/* Takes over u, whose name is not there yet. False: memory is out, and u is gone. */
bool acl_users_add(acl_users *users, acl_user *u);

#endif
