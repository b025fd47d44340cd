/* config.h - the server's configuration: redis.conf's directives, their types, defaults and values.
 *
 *     config *c = config_new();
 *     if (config_load(c, argc, argv, &error) != 0) ... error.text says file, line and reason ...
 *     if (config_number(c, CONFIG_ID_timeout) > 0) ...
 *
 * Threads    Any thread may read and set, at any time: numbers are atomics, texts are copied under a lock.
 *            Directives of one CONFIG SET become visible one after the other.
 * Ownership  Slices that are passed in are copied.
 * Errors     0, or -1 with a sentence in the config_error.
 * Units      As in the file: bytes, seconds; BOOLEAN is 0 or 1; CHOICE is the index into its words.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CONFIG_H
#define KV_STANDALONE_CONFIG_H

#include "kvstore/kvstore.h"

enum config_id {
#define DIRECTIVE(id, ...) CONFIG_ID_##id,
#include "config.def"
#undef DIRECTIVE
    CONFIG_COUNT
};

typedef enum config_type {
    CONFIG_BOOLEAN, /* yes, no */
    CONFIG_INTEGER,
    CONFIG_OCTAL,   /* a file mode */
    CONFIG_MEMORY,  /* bytes, with the units 1k 1kb 1m 1mb 1g 1gb */
    CONFIG_PERCENT, /* bytes, or "n%", which is -n */
    CONFIG_CHOICE,  /* one of a list of words */
    CONFIG_FLAGS,   /* several of a list: bit i for word i; the first word stands for none */
    CONFIG_EVENTS,  /* letters of keyspace events, see notify.h */
    CONFIG_TEXT,
    CONFIG_WORDS,         /* several words */
    CONFIG_SAVE,          /* pairs of seconds and changes; lines add up, "" clears */
    CONFIG_OUTPUT_LIMITS, /* class hard soft seconds, for any of the classes */
} config_type;

enum config_flag {
    CONFIG_IMMUTABLE = 1, /* not by CONFIG SET */
    CONFIG_PROTECTED = 2, /* by CONFIG SET only with enable-protected-configs */
    CONFIG_PASSIVE = 4,   /* accepted without meaning */
    CONFIG_OURS = 8,      /* Redis has no such directive */
    CONFIG_HIDDEN = 16,   /* CONFIG GET shows it only to who names it */
    CONFIG_AT_REST = 64,  /* not while the server loads */
    CONFIG_SECRET = 32,   /* its value is a password: never in the log, in SLOWLOG or MONITOR */
};

typedef struct config_directive {
    const char *name, *alias;
    config_type type;
    unsigned flags;
    int64_t min, max;
    const char *preset, *only;
} config_directive;

extern const config_directive config_directives[CONFIG_COUNT];
/* What CHOICE and FLAGS rows choose from, up to a NULL; NULL: of other rows. */
const char *const *config_choices(enum config_id id);
/* What values of a type are called: "a number". */
const char *config_type_name(config_type type);

/* The words of the CHOICE directives, in the order of their values. */
enum { CONFIG_LOG_DEBUG, CONFIG_LOG_VERBOSE, CONFIG_LOG_NOTICE, CONFIG_LOG_WARNING };
enum { CONFIG_UNSUPERVISED, CONFIG_SYSTEMD, CONFIG_AUTO_SUPERVISED, CONFIG_UPSTART };
enum { CONFIG_ALL_CHANNELS, CONFIG_RESET_CHANNELS };
enum { CONFIG_PROTECTED_NO, CONFIG_PROTECTED_YES, CONFIG_PROTECTED_LOCAL };
enum { CONFIG_OOM_NO, CONFIG_OOM_YES, CONFIG_OOM_RELATIVE, CONFIG_OOM_ABSOLUTE };
enum { CONFIG_FORMAT_LEGACY, CONFIG_FORMAT_LOGFMT };
enum { CONFIG_TIME_LEGACY, CONFIG_TIME_ISO8601, CONFIG_TIME_MILLISECONDS };
enum { CONFIG_STOP_SAVE = 2, CONFIG_STOP_NOSAVE = 4, CONFIG_STOP_NOW = 8, CONFIG_STOP_FORCE = 16 };
enum { CONFIG_LOAD_DISABLED, CONFIG_LOAD_ON_EMPTY_DB, CONFIG_LOAD_SWAPDB };
enum { CONFIG_TLS_CLIENTS_NO, CONFIG_TLS_CLIENTS_YES, CONFIG_TLS_CLIENTS_OPTIONAL };

typedef enum config_client_class {
    CONFIG_NORMAL,
    CONFIG_REPLICA,
    CONFIG_PUBSUB,
    CONFIG_CLASSES
} config_client_class;

/* What a client of a class may leave unread, 0: unlimited. */
typedef struct config_output_limit {
    int64_t hard_bytes, soft_bytes, soft_seconds;
} config_output_limit;

typedef struct config_error {
    char text[1024];
} config_error;

typedef struct config config;

/* The defaults; NULL when memory is out. */
config *config_new(void);
void config_free(config *c);

/* The command line of redis-server: [file] [--name value ...] [-]. What is given later wins. */
int config_load(config *c, int argc, char *const argv[], config_error *ret_error) KV_EXCLUDES(kv_shard_held);
/* The same, but goes on after a mistake, and tells each: "file:line: reason: 'the line'". Returns how many there were. c is then
 * what the rest says. */
typedef void config_complaint(void *arg, const char *text);
int config_check(config *c, int argc, char *const argv[], config_complaint *complain, void *arg)
    KV_EXCLUDES(kv_shard_held);
/* Lines as in a file; source names them in errors. */
int config_load_text(config *c, const char *source, char *text, size_t len, config_error *ret_error);
/* The file that was given, as an absolute path, or NULL. */
const char *config_file(const config *c);
/* The user lines, in their order: the name and the rules; each name once, but not yet applied to anything. */
typedef struct config_words {
    int count; /* at least 1 */
    const kv_slice *words;
} config_words;
size_t config_user_count(const config *c);
const config_words *config_user(const config *c, size_t index);
/* What rename-command says, or NULL: nothing. */
const struct kv_renames *config_renames(const config *c);
/* Calls warn for each passive directive that a file or the command line set. */
void config_each_warning(const config *c, void (*warn)(void *arg, const char *text), void *arg);

/* By name or alias, without regard to case; -1: there is none. */
int config_find(kv_slice name);

/* ---- values ---- */

/* Of BOOLEAN, INTEGER, OCTAL, MEMORY, PERCENT, CHOICE, FLAGS and EVENTS. */
int64_t config_number(const config *c, enum config_id id);
config_output_limit config_client_limit(const config *c, config_client_class class);
/* Any value as CONFIG GET writes it, a new string to be freed, or NULL when memory is out. */
char *config_text(config *c, enum config_id id);
/* The same with its length: a SECRET may hold zero bytes. */
char *config_copy(config *c, enum config_id id, size_t *ret_len);
bool config_text_empty(config *c, enum config_id id);

/* Sets one directive from its arguments; nothing is changed on an error, which is a bare reason. in_file: as a
 * line of a file, where lines of save add up and everything may be set. */
int config_set(config *c, enum config_id id, int argc, const kv_slice argv[], bool in_file,
               config_error *ret_error);
/* Sets a directive from text as config_copy gave it. */
int config_restore(config *c, enum config_id id, kv_slice text);

/* ---- writing it back (config_rewrite.c) ---- */

/* Brings the file up to date with the values in use, keeping comments and order: a temporary file beside it, synced, then
 * renamed over it. users: lines that stand for all user lines of the file. */
typedef int config_rewriting(config *c, kv_slice users, config_error *ret_error);
config_rewriting config_rewrite KV_EXCLUDES(kv_shard_held);
/* The same with a line for every directive: for tests. */
config_rewriting config_rewrite_all KV_EXCLUDES(kv_shard_held);

#endif
