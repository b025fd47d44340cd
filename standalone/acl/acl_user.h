/* acl_user.h - what one user may do: an object that is built by rules, and never changes once it is shared.
 *
 *     acl_user *u = acl_user_new(KV_STR("alice"), &options);
 *     acl_error err = acl_user_apply(u, KV_STR("+@read"), &options);    // words of ACL SETUSER, one by one
 *     ...
 *     acl_verdict verdict = acl_check(u, row, argc, argv, &position);
 *     acl_user_unref(u);
 *
 * A user has passwords and one or more selectors; a command runs when one of the selectors allows all of it: the command,
 * its keys, its channels. The first selector, the root, is the one that rules outside of parentheses change.
 *
 * Threads    acl_user_apply: while nobody else has a reference. Everything else: any thread, at any time.
 * Ownership  Text that is passed in is copied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_USER_H
#define KV_STANDALONE_ACL_USER_H

#include <stdatomic.h>
#include <stdio.h>

#include "acl_text.h"
#include "category.h"
#include "command.h"
#include "sha256.h"

#define ACL_PATTERN_MAX (64 * 1024) /* of keys and channels */
#define ACL_READ        1u
#define ACL_WRITE       2u

/* Bits by the ids of rows; then one for each category, which stands for the commands of a category that has none yet: what a
 * rule says of these must not be forgotten in a file that a later version reads; the last one is for all that there will be. */
#define ACL_CATEGORY(index) (KV_COMMAND_COUNT + (index))
#define ACL_WORDS           (ACL_CATEGORY(KV_CATEGORY_COUNT) / 64 + 1)
#define ACL_FUTURE          (ACL_WORDS * 64 - 1)

typedef struct acl_selector {
    uint64_t commands[ACL_WORDS];
    bool all_keys, all_channels;
    acl_texts keys, channels;
    acl_texts first_args; /* +select|0: a command whose bit is not set may run with these */
} acl_selector;

enum acl_sanitize { ACL_SANITIZE_DEFAULT, ACL_SANITIZE, ACL_SANITIZE_SKIP };

typedef struct acl_user {
    _Atomic unsigned references;
    uint64_t
        born; /* differs for every user that was ever made; kept by what SETUSER makes of it; see acl.c */
    char *name;
    size_t name_len;
    bool on, nopass;
    enum acl_sanitize sanitize; /* kept and shown, but without meaning: no payloads are read */
    unsigned char (*passwords)[SHA256_BYTES];
    size_t password_count;
    acl_selector *selectors; /* the root first */
    size_t selector_count;
    unsigned char quick[KV_COMMAND_COUNT]; /* of acl_user_quicken */
} acl_user;

typedef struct acl_options {
    bool all_channels; /* acl-pubsub-default */
    size_t rules_max;  /* acl-max-rules */
} acl_options;

typedef enum acl_error {
    ACL_OK,
    ACL_EUNKNOWN, /* a command or category that there is not */
    ACL_ESYNTAX,
    ACL_EALLKEYS, /* a key pattern after ~* */
    ACL_EALLCHANNELS,
    ACL_ENOPASSWORD, /* the password to be removed is none */
    ACL_EHASH,       /* not 64 hexadecimal digits */
    ACL_EDUPLICATE,  /* a user that is defined twice */
    ACL_EFIRSTARG,   /* +config|get|x */
    ACL_ETOOMANY,
    ACL_ENOMEM,
} acl_error;

/* Redis's sentence. */
const char *acl_error_text(acl_error error);

/* ---- life (acl_user.c) ---- */

/* Off, without passwords, and may do nothing. NULL: memory is out. */
acl_user *acl_user_new(kv_slice name, const acl_options *options);
acl_user *acl_user_copy(const acl_user *u);
acl_user *acl_user_ref(acl_user *u);
void acl_user_unref(acl_user *u);

void acl_selector_done(acl_selector *s);
/* Appends *s, whose contents it takes over. False: memory is out. */
bool acl_user_add_selector(acl_user *u, const acl_selector *s);

/* ---- rules (acl_rules.c) ---- */

/* Applies one word of ACL SETUSER; a selector's is the whole "(...)". After an error u is as it was. */
acl_error acl_user_apply(acl_user *u, kv_slice rule, const acl_options *options);
/* What went wrong with some words. */
typedef struct acl_failure {
    acl_error error;
    bool unmatched; /* error is ACL_ESYNTAX: nothing closes the parenthesis of word */
    char word[400]; /* the word, or as much of it as fits */
} acl_failure;

/* Applies all words of a line; words that were one selector ("(+get", "~x)") are put together first. False: *ret_failure is
 * about the first that cannot be applied; those before it are. */
bool acl_user_apply_all(acl_user *u, int count, const kv_slice words[], const acl_options *options,
                        acl_failure *ret_failure);
/* Puts words together that were one selector. into has room for count of them; *ret_joined, to be freed, holds what was put
 * together. Returns how many there are, or -1: *ret_open is the word with the parenthesis that nothing closes; -2: memory is
 * out. */
int acl_join_selectors(int count, const kv_slice words[], kv_slice into[], char **ret_joined, int *ret_open);
/* Whether a name may be one of a user: no blanks, no NUL. */
bool acl_name_ok(kv_slice name);

/* ---- asking (acl_user.c) ---- */

static inline kv_slice acl_user_name(const acl_user *u)
{
    return kv_slice_of(u->name, u->name_len);
}
/* Whether the password is one of u's, or any is; in time that does not depend on how much of it is right. */
bool acl_user_knows(const acl_user *u, kv_slice password);
/* The place of a hash among its passwords, or password_count. Looks at all of them, whichever it is. */
size_t acl_user_find_password(const acl_user *u, const unsigned char hash[SHA256_BYTES]);
/* Passwords, patterns, first arguments, selectors: what acl-max-rules limits. */
size_t acl_user_rules(const acl_user *u);
/* Whether it may do everything, so that nothing needs to be checked. */
bool acl_user_unlimited(const acl_user *u);
static inline bool acl_selector_allows(const acl_selector *s, int id)
{
    return s->commands[id / 64] >> (id % 64) & 1;
}

/* ---- as text (acl_describe.c) ---- */

/* Everything behind "user ": a line of ACL LIST and of files. A new string, NULL: memory is out. */
char *acl_describe(const acl_user *u, size_t *ret_len);
/* "-@all +get": the commands of a selector, as rules. */
void acl_describe_commands(FILE *out, const acl_selector *s);
/* "~a %R~b" and "&c &d". */
void acl_describe_keys(FILE *out, const acl_selector *s);
void acl_describe_channels(FILE *out, const acl_selector *s);
/* Sets or clears the bits of all rows of the categories, as +@category and -@category do. */
void acl_selector_category(acl_selector *s, unsigned categories, bool on);
void acl_selector_all(acl_selector *s, bool on);
/* The same of a row, and of its subcommands when it is a container. */
void acl_selector_row(acl_selector *s, const kv_command *row, bool on);
/* 64 lower-case digits and a NUL. */
void acl_write_hash(const unsigned char hash[SHA256_BYTES], char text[2 * SHA256_BYTES + 1]);

/* ---- checking (acl_check.c) ---- */

/* In the order of their weight when selectors differ. */
typedef enum acl_verdict {
    ACL_ALLOWED,
    ACL_DENIED_COMMAND,
    ACL_DENIED_KEY,
    ACL_DENIED_AUTH,
    ACL_DENIED_CHANNEL,
} acl_verdict;

/* Whether u may run the command; its arguments fit row's arity. *ret_position: the argument that is denied, 0 when it is
 * the command. Keys that cannot be told from the arguments are denied. */
acl_verdict acl_check(const acl_user *u, const kv_command *row, int argc, const kv_slice argv[],
                      int *ret_position);
/* The same without telling why not; quick for what the root allows, once the user was quickened. */
bool acl_permits(const acl_user *u, const kv_command *row, int argc, const kv_slice argv[]);
/* Notes of each command what is to be looked at. Before the user is shared, and after its last rule. */
void acl_user_quicken(acl_user *u);
/* Whether u may listen to the channel, or to the pattern. */
bool acl_user_may_listen(const acl_user *u, kv_slice channel, bool is_pattern);

#endif
