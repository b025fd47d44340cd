/* kvclient.h - talk to a RESP server (kvserver, Redis, Valkey) from C, or to a store in this process.
 *
 *     kvc_client *client;
 *     kvc_error error;
 *     if (kvc_open_uri("redis://127.0.0.1:6379/0", &client, &error) != KVC_OK)
 *         return fail(error.message);
 *     kvc_set(client, kvc_str("user:1"), kvc_str("Ada"), NULL, &error);
 *     kvc_reply *name;
 *     if (kvc_get(client, kvc_str("user:1"), &name, &error) == KVC_OK)
 *         use(kvc_reply_text(name));
 *     kvc_reply_free(name);
 *     kvc_close(client);
 *
 * Threads    A kvc_client is a pool of connections: any thread may use it at any time, and no lock is held while one
 *            waits for the network. A kvc_connection, kvc_pipeline or kvc_subscription belongs to one thread at a time;
 *            a kvc_async to the thread of its event loop. A kvc_reply never changes.
 * Ownership  Every kvc_reply handed out is yours: free it with kvc_reply_free. A kvc_slice passed in is borrowed
 *            during the call; one handed out lives as long as the reply or message it is of. What ends a life takes NULL.
 * Errors     A kvc_status: KVC_OK, KVC_NIL ("no", which is not an error), or a negative KVC_E...; error (which may
 *            be NULL) then tells more. Outputs (ret_...) are always written: NULL or 0 when there is nothing.
 * Time       Every call ends by its deadline (options: 5 s to connect, 5 s for a command, name resolution
 *            included). Timeouts are milliseconds, deadlines of keys milliseconds since the Unix epoch.
 * Retries    A command is sent again only when no byte of it was sent before (see kvc_retry); error.sent tells whether
 *            it may have been executed. A lost connection is replaced, its session (HELLO, AUTH, SELECT, name) replayed.
 * Processes  After fork() the child may only kvc_close what it inherited; anything else answers KVC_ESTATE.
 *
 * Sections: bytes, statuses, replies, options, the client, typed calls, any command, a connection of one's own, pipelines
 * and transactions, publish and subscribe, asynchronous calls, what this build can do.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLIENT_H
#define KVCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KVC_API __attribute__((visibility("default")))
#else
#define KVC_API
#endif

#define KVC_VERSION "0.1.0"

/* ---- bytes ------------------------------------------------------------------------------ */

/* Borrowed, binary-safe bytes: len bytes at data, which may hold NUL and may be empty. */
typedef struct kvc_slice {
    const char *data;
    size_t len;
} kvc_slice;

static inline kvc_slice kvc_bytes(const void *data, size_t len)
{
    kvc_slice slice = { (const char *)data, len };
    return slice;
}

/* A slice of a C string, without its NUL. */
static inline kvc_slice kvc_str(const char *text)
{
    return kvc_bytes(text, strlen(text));
}

/* ---- statuses --------------------------------------------------------------------------- */

/* Every status: its number and what it says. */
#define KVC_STATUSES(X)                                                            \
    X(KVC_OK, 0, "ok")                                                             \
    X(KVC_NIL, 1, "no such key, or the condition was not met")                     \
    X(KVC_EARG, -1, "invalid argument or option")                                  \
    X(KVC_ENOMEM, -2, "out of memory")                                             \
    X(KVC_ERESOLVE, -3, "the host name could not be resolved")                     \
    X(KVC_ECONNECT, -4, "could not connect")                                       \
    X(KVC_ETLS, -5, "TLS failed")                                                  \
    X(KVC_EAUTH, -6, "authentication failed")                                      \
    X(KVC_ETIMEOUT, -7, "the deadline passed")                                     \
    X(KVC_ECLOSED, -8, "the server closed the connection")                         \
    X(KVC_EPROTOCOL, -9, "the server sent what is not RESP, or more than allowed") \
    X(KVC_EIO, -10, "reading or writing failed")                                   \
    X(KVC_EPOOL, -11, "no connection became free in time")                         \
    X(KVC_EREPLY, -12, "the server answered with an error")                        \
    X(KVC_ETYPE, -13, "the reply has another type than expected")                  \
    X(KVC_ESTATE, -14, "not possible in this state")                               \
    X(KVC_EREDIRECT, -15, "too many redirections")                                 \
    X(KVC_ENOTSUP, -16, "not supported by this build or this transport")           \
    X(KVC_EFULL, -17, "too much is waiting to be answered")

typedef enum kvc_status {
#define KVC_STATUS_ENUM(name, number, text) name = number,
    KVC_STATUSES(KVC_STATUS_ENUM)
#undef KVC_STATUS_ENUM
} kvc_status;

/* What happened, in full. Filled whenever a call answers a negative status. */
typedef struct kvc_error {
    kvc_status status;
    int sys_errno;     /* errno, or 0 */
    bool sent;         /* at least one byte was sent: the command may have been executed */
    char code[24];     /* the server's error word: "WRONGTYPE", "MOVED"; else "" */
    char message[256]; /* one sentence, no newline: the server's text, or ours with the address it concerns */
} kvc_error;

/* "KVC_ETIMEOUT", and its sentence of the list above; never NULL. */
KVC_API const char *kvc_status_name(kvc_status status);
KVC_API const char *kvc_status_text(kvc_status status);

/* ---- replies ---------------------------------------------------------------------------- */

typedef enum kvc_type {
    KVC_TYPE_NIL,
    KVC_TYPE_STRING,
    KVC_TYPE_SIMPLE, /* +OK */
    KVC_TYPE_ERROR,
    KVC_TYPE_INT,
    KVC_TYPE_ARRAY,
    KVC_TYPE_DOUBLE, /* from here on RESP3 only */
    KVC_TYPE_BOOL,
    KVC_TYPE_BIGNUM,
    KVC_TYPE_VERBATIM,
    KVC_TYPE_MAP,
    KVC_TYPE_SET,
    KVC_TYPE_PUSH,
} kvc_type;

typedef struct kvc_reply kvc_reply;

/* Of a NULL reply: KVC_TYPE_NIL. */
KVC_API kvc_type kvc_reply_type(const kvc_reply *reply);
/* The bytes of a STRING, SIMPLE, ERROR, BIGNUM, VERBATIM (without its "txt:"), or of a DOUBLE as the server wrote it; else
 * empty. Followed by a NUL that len does not count. */
KVC_API kvc_slice kvc_reply_text(const kvc_reply *reply);
/* Of an INT, a BOOL (0, 1), or a string that is a decimal integer; else 0. */
KVC_API int64_t kvc_reply_int(const kvc_reply *reply);
/* Of a DOUBLE, an INT, or a string that is a number; else 0. */
KVC_API double kvc_reply_double(const kvc_reply *reply);
/* The elements of an ARRAY, SET or PUSH; of a MAP keys and values, alternating: 2 a pair. */
KVC_API size_t kvc_reply_count(const kvc_reply *reply);
/* Borrowed from reply; NULL when i is too large. */
KVC_API const kvc_reply *kvc_reply_at(const kvc_reply *reply, size_t i);
/* The value of a MAP (or of an ARRAY of pairs, as RESP2 has it) whose key is this text; NULL: none. */
KVC_API const kvc_reply *kvc_reply_find(const kvc_reply *map, const char *key);
KVC_API void kvc_reply_free(kvc_reply *reply);

/* ---- options ---------------------------------------------------------------------------- */

typedef enum kvc_retry {
    KVC_RETRY_UNSENT, /* only when no byte of the command was sent: the default */
    KVC_RETRY_NEVER,
    KVC_RETRY_READONLY, /* also commands that change nothing */
} kvc_retry;

typedef enum kvc_log_level { KVC_LOG_DEBUG, KVC_LOG_INFO, KVC_LOG_WARNING } kvc_log_level;

/* Set up by kvc_options_init; strings are copied by kvc_open. A number of 0 means the default. */
typedef struct kvc_options {
    size_t size;           /* sizeof(kvc_options), so that the struct may grow */
    const char *host;      /* default 127.0.0.1 */
    int port;              /* default 6379 */
    const char *unix_path; /* a unix socket instead of host and port */
    const char *user, *password;
    int db;
    const char *client_name;
    int protocol; /* 0: RESP3 where build and server can; 2; 3 */

    uint32_t connect_timeout_ms; /* 5000; resolving, connecting, TLS and the handshake together */
    uint32_t command_timeout_ms; /* 5000; UINT32_MAX: none */
    uint32_t keepalive_s;        /* 60 */

    uint32_t pool_max;       /* 8 connections; opened when needed */
    uint32_t pool_wait_ms;   /* 5000; how long a call waits for one to become free */
    uint32_t idle_close_s;   /* 300: an idle connection is closed after this */
    uint32_t backoff_min_ms; /* 50: after a failed connect the next try waits a random time up to */
    uint32_t backoff_max_ms; /* min * 2^failures, at most this: 5000 */
    kvc_retry retry;
    uint32_t max_retries; /* 3 */

    bool cluster;           /* follow MOVED and ASK to other nodes; otherwise they are errors */
    uint32_t max_redirects; /* 5 */

    size_t max_reply_bytes;    /* 1 GiB: of one reply, nested ones included */
    uint32_t max_reply_depth;  /* 32 (hiredis 0.14 itself stops at 7) */
    size_t max_reply_elements; /* 16 Mi in one reply */
    size_t async_queue_bytes;  /* 64 MiB: of requests that kvc_async holds until they are answered */

    bool tls;
    bool tls_insecure; /* do not verify the server's certificate */
    const char *tls_sni, *tls_ca_file, *tls_ca_dir, *tls_cert_file, *tls_key_file, *tls_ciphers,
        *tls_ciphersuites;

    void (*log)(void *arg, kvc_log_level level, const char *message); /* NULL: silent */
    void *log_arg;
    void (*on_state)(void *arg, const char *address,
                     bool up); /* a connection came up or went down; NULL: not told */
    void *state_arg;
} kvc_options;

KVC_API void kvc_options_init(kvc_options *options);

/* Reads a URI over *options, which must be set up; what the URI does not say, stays. The strings are kept in *ret_memory,
 * which you free(3) when options is no longer used.
 *
 *     redis://[[user][:password]@]host[:port][/db][?name=value&...]       TCP      (also valkey:// kv://)
 *     rediss://...                                                        TLS      (also valkeys:// kvs://)
 *     unix://[[user][:password]@]/path[?db=n&...]                         a unix socket
 *
 * with %XX in every part, [::1] for IPv6, and the query names db, client_name, protocol, timeout_ms, connect_timeout_ms, cluster
 * (0 or 1). KVC_EARG: error.message names the word that is wrong and says what was expected. */
KVC_API kvc_status kvc_options_parse_uri(kvc_options *options, const char *uri, char **ret_memory,
                                         kvc_error *error);

/* ---- the client ------------------------------------------------------------------------- */

typedef struct kvc_client kvc_client;

/* Opens the pool and its first connection, so that a wrong address or password shows here. */
KVC_API kvc_status kvc_open(const kvc_options *options, kvc_client **ret_client, kvc_error *error);
KVC_API kvc_status kvc_open_uri(const char *uri, kvc_client **ret_client, kvc_error *error);
/* The same calls on a store of this process (kvstore.h): no server, no socket. The client takes a reference to the store. Data
 * commands of the table, pipelines, and transactions with their watch; what needs a connection (leases, subscriptions, commands of
 * servers but PING and ECHO) answers KVC_ENOTSUP. In libkvclient_store, so that libkvclient needs no engine. */
struct kv_store;
KVC_API kvc_status kvc_open_store(struct kv_store *store, kvc_client **ret_client, kvc_error *error);
/* No call may be running. Leases, pipelines and subscriptions must have been ended. */
KVC_API void kvc_close(kvc_client *client);

/* ---- typed calls ------------------------------------------------------------------------ */

typedef enum kvc_condition {
    KVC_ALWAYS,
    KVC_IF_ABSENT,
    KVC_IF_PRESENT,
    KVC_IF_EQUAL,     /* SET IFEQ, DELIFEQ: kvserver, Valkey 8.1, Redis 8.4 */
    KVC_IF_NOT_EQUAL, /* SET IFNE */
    KVC_IF_VERSION,   /* IFVER: kvserver and the module */
} kvc_condition;

/* Zeroed: unconditionally and for ever. */
typedef struct kvc_set_options {
    kvc_condition condition;
    kvc_slice compare;   /* KVC_IF_EQUAL, KVC_IF_NOT_EQUAL */
    uint64_t version;    /* KVC_IF_VERSION */
    int64_t ttl_ms;      /* more than 0: from now */
    int64_t deadline_ms; /* more than 0: since the epoch; not both */
    bool keep_ttl;
} kvc_set_options;

/* A value with what kvserver knows of it. */
typedef struct kvc_versioned {
    kvc_reply *value; /* yours */
    uint64_t version;
    int64_t ttl_ms; /* -1: none */
} kvc_versioned;

KVC_API kvc_status kvc_ping(kvc_client *client, kvc_error *error);
/* KVC_NIL: absent. */
KVC_API kvc_status kvc_get(kvc_client *client, kvc_slice key, kvc_reply **ret_value, kvc_error *error);
/* Copies at most size bytes; *ret_len is the whole length. KVC_NIL: absent. */
KVC_API kvc_status kvc_get_into(kvc_client *client, kvc_slice key, void *buffer, size_t size, size_t *ret_len,
                                kvc_error *error);
KVC_API kvc_status kvc_get_versioned(kvc_client *client, kvc_slice key, kvc_versioned *ret_value,
                                     kvc_error *error);
/* options NULL: always. KVC_NIL: the condition was not met. */
KVC_API kvc_status kvc_set(kvc_client *client, kvc_slice key, kvc_slice value, const kvc_set_options *options,
                           kvc_error *error);
/* SET ... GET: *ret_old is the old value or NULL. */
KVC_API kvc_status kvc_get_set(kvc_client *client, kvc_slice key, kvc_slice value, kvc_reply **ret_old,
                               kvc_error *error);
KVC_API kvc_status kvc_get_delete(kvc_client *client, kvc_slice key, kvc_reply **ret_old, kvc_error *error);
/* *ret_removed may be NULL. In a cluster the keys must share a slot, here and below. */
KVC_API kvc_status kvc_delete(kvc_client *client, const kvc_slice *keys, size_t n, int64_t *ret_removed,
                              kvc_error *error);
/* KVC_NIL: absent, or another value (version). */
KVC_API kvc_status kvc_delete_if_equal(kvc_client *client, kvc_slice key, kvc_slice value, kvc_error *error);
KVC_API kvc_status kvc_delete_if_version(kvc_client *client, kvc_slice key, uint64_t version,
                                         kvc_error *error);
KVC_API kvc_status kvc_exists(kvc_client *client, kvc_slice key, bool *ret_exists, kvc_error *error);
KVC_API kvc_status kvc_increment(kvc_client *client, kvc_slice key, int64_t by, int64_t *ret_sum,
                                 kvc_error *error);
KVC_API kvc_status kvc_append(kvc_client *client, kvc_slice key, kvc_slice value, int64_t *ret_len,
                              kvc_error *error);
KVC_API kvc_status kvc_strlen(kvc_client *client, kvc_slice key, int64_t *ret_len, kvc_error *error);
/* KVC_NIL: no such key. */
KVC_API kvc_status kvc_expire(kvc_client *client, kvc_slice key, int64_t ttl_ms, kvc_error *error);
KVC_API kvc_status kvc_persist(kvc_client *client, kvc_slice key, kvc_error *error);
/* *ret_ttl_ms is -1 for a key without deadline; KVC_NIL: no such key. */
KVC_API kvc_status kvc_ttl(kvc_client *client, kvc_slice key, int64_t *ret_ttl_ms, kvc_error *error);
KVC_API kvc_status kvc_rename(kvc_client *client, kvc_slice from, kvc_slice to, kvc_error *error);
/* *ret_values: an array of n replies, NIL for the absent. */
KVC_API kvc_status kvc_get_many(kvc_client *client, const kvc_slice *keys, size_t n, kvc_reply **ret_values,
                                kvc_error *error);
KVC_API kvc_status kvc_set_many(kvc_client *client, const kvc_slice *keys, const kvc_slice *values, size_t n,
                                kvc_error *error);
/* *ret_receivers may be NULL. */
KVC_API kvc_status kvc_publish(kvc_client *client, kvc_slice channel, kvc_slice message,
                               int64_t *ret_receivers, kvc_error *error);
/* Called for each key, outside of any lock; another value than 0 stops the scan, which then answers KVC_OK. */
typedef int kvc_scan_fn(void *arg, kvc_slice key);
/* match NULL: all; count 0: 100 a round trip. A key may come twice, as with SCAN. In a cluster node after node is scanned; a key
 * whose slot moves meanwhile may be missed. */
KVC_API kvc_status kvc_scan(kvc_client *client, const char *match, uint32_t count, kvc_scan_fn *visit,
                            void *arg, kvc_error *error);

/* ---- any command ------------------------------------------------------------------------ */

/* An error reply answers KVC_EREPLY with *ret_reply NULL; a null reply KVC_OK with a reply of type NIL. Commands that
 * change the connection (MULTI, WATCH, SUBSCRIBE, SELECT, CLIENT REPLY, MONITOR, ...) answer KVC_ESTATE: lease one. */
KVC_API kvc_status kvc_command(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                               kvc_error *error);
/* argv of C strings, ended by NULL. */
KVC_API kvc_status kvc_command_strings(kvc_client *client, const char *const *argv, kvc_reply **ret_reply,
                                       kvc_error *error);

/* ---- a connection of one's own ---------------------------------------------------------- */

typedef struct kvc_connection kvc_connection;

/* Takes a connection out of the pool until kvc_release. wait_ms 0: as the options say. */
KVC_API kvc_status kvc_lease(kvc_client *client, uint32_t wait_ms, kvc_connection **ret_connection,
                             kvc_error *error);
/* Gives it back; one left inside MULTI, WATCH, a subscription, another database or with replies outstanding is closed instead. */
KVC_API void kvc_release(kvc_connection *connection);
/* Sends and waits for the reply. An error reply is a reply here: KVC_OK, and *ret_reply has type ERROR. */
KVC_API kvc_status kvc_connection_command(kvc_connection *connection, size_t argc, const kvc_slice *argv,
                                          kvc_reply **ret_reply, kvc_error *error);
/* The same in steps: queue, send, take the replies in order. timeout_ms 0: the command timeout; UINT32_MAX: none. Pushes
 * (RESP3) and messages come through kvc_connection_next as replies of type PUSH or ARRAY. On a timeout of next
 * the connection stays usable: call again. */
KVC_API kvc_status kvc_connection_append(kvc_connection *connection, size_t argc, const kvc_slice *argv,
                                         kvc_error *error);
/* Bytes that are RESP or inline commands already; you say how many replies they bring. */
KVC_API kvc_status kvc_connection_append_raw(kvc_connection *connection, kvc_slice bytes, size_t replies,
                                             kvc_error *error);
/* Reads replies meanwhile when the server does not read on: a long pipeline cannot lock up. */
KVC_API kvc_status kvc_connection_flush(kvc_connection *connection, kvc_error *error);
KVC_API kvc_status kvc_connection_next(kvc_connection *connection, uint32_t timeout_ms, kvc_reply **ret_reply,
                                       kvc_error *error);
/* Takes bytes as they come, instead of replies: after a command, queued by append_raw with no replies and flushed, that answers
 * with something else (SYNC). At least one byte, at most size. The connection is of no other use from then on. */
KVC_API kvc_status kvc_connection_read(kvc_connection *connection, void *buffer, size_t size,
                                       uint32_t timeout_ms, size_t *ret_len, kvc_error *error);
/* How many replies are outstanding; the socket, to poll with others (-1: none); the address as text; 2 or 3. */
KVC_API size_t kvc_connection_pending(const kvc_connection *connection);
KVC_API int kvc_connection_fd(const kvc_connection *connection);
KVC_API const char *kvc_connection_address(const kvc_connection *connection);
KVC_API int kvc_connection_protocol(const kvc_connection *connection);
/* HELLO's reply of the handshake, or NULL where the server has no HELLO. Borrowed. */
KVC_API const kvc_reply *kvc_connection_hello(const kvc_connection *connection);
/* Makes a next, flush or command that waits in another thread return KVC_ESTATE. From any thread; from a signal handler. */
KVC_API void kvc_connection_wake(kvc_connection *connection);

/* ---- pipelines and transactions --------------------------------------------------------- */

typedef struct kvc_pipeline kvc_pipeline;

typedef enum kvc_pipeline_mode {
    KVC_PIPELINE,    /* one round trip */
    KVC_TRANSACTION, /* one round trip, one act: MULTI ... EXEC */
} kvc_pipeline_mode;

/* In a cluster the keys of a transaction must share a slot (KVC_EARG); a pipeline is cut by node, and keeps the order of
 * commands for each slot. */
KVC_API kvc_status kvc_pipeline_new(kvc_client *client, kvc_pipeline_mode mode, kvc_pipeline **ret_pipeline,
                                    kvc_error *error);
/* Transactions only, before the first add: a key watched now makes run answer KVC_NIL when it changes before. */
KVC_API kvc_status kvc_pipeline_watch(kvc_pipeline *pipeline, const kvc_slice *keys, size_t n,
                                      kvc_error *error);
/* Reads within the watch, at once. */
KVC_API kvc_status kvc_pipeline_read(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv,
                                     kvc_reply **ret_reply, kvc_error *error);
KVC_API kvc_status kvc_pipeline_add(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv,
                                    kvc_error *error);
/* Runs what was added and empties it. *ret_replies: an array, one reply a command; error replies among them stay replies. A
 * transaction that was not executed: KVC_NIL (watched key changed) or KVC_EREPLY (EXECABORT; the reason in error). */
KVC_API kvc_status kvc_pipeline_run(kvc_pipeline *pipeline, kvc_reply **ret_replies, kvc_error *error);
KVC_API void kvc_pipeline_free(kvc_pipeline *pipeline);

/* ---- publish and subscribe -------------------------------------------------------------- */

typedef struct kvc_subscription kvc_subscription;

typedef enum kvc_event {
    KVC_EVENT_MESSAGE,
    KVC_EVENT_SUBSCRIBED,
    KVC_EVENT_UNSUBSCRIBED,
    KVC_EVENT_DISCONNECTED, /* messages may be lost from here ... */
    KVC_EVENT_RECONNECTED,  /* ... to here; everything is subscribed again */
} kvc_event;

typedef enum kvc_channel_kind { KVC_CHANNEL, KVC_PATTERN, KVC_SHARD_CHANNEL } kvc_channel_kind;

/* The slices live until the next call of kvc_subscription_next. */
typedef struct kvc_message {
    kvc_event event;
    kvc_channel_kind kind;
    kvc_slice channel; /* of SUBSCRIBED, UNSUBSCRIBED with KVC_PATTERN: the pattern */
    kvc_slice pattern; /* of a MESSAGE that came through a pattern */
    kvc_slice payload;
} kvc_message;

/* A connection of its own, outside the pool. */
KVC_API kvc_status kvc_subscription_new(kvc_client *client, kvc_subscription **ret_subscription,
                                        kvc_error *error);
KVC_API kvc_status kvc_subscribe(kvc_subscription *subscription, kvc_channel_kind kind, kvc_slice channel,
                                 kvc_error *error);
KVC_API kvc_status kvc_unsubscribe(kvc_subscription *subscription, kvc_channel_kind kind, kvc_slice channel,
                                   kvc_error *error);
/* Waits for the next event; reconnects with backoff by itself. timeout_ms 0: returns at once; UINT32_MAX: no end.
 * KVC_ETIMEOUT: nothing came. KVC_ESTATE: woken. KVC_EREPLY: the server refuses a channel, which is dropped.
 * KVC_EAUTH, KVC_ETLS, KVC_ENOTSUP: it does not let us in any more. After each of them, calling again goes on. */
KVC_API kvc_status kvc_subscription_next(kvc_subscription *subscription, uint32_t timeout_ms,
                                         kvc_message *ret_message, kvc_error *error);
/* From any thread: the next that waits returns KVC_ESTATE. */
KVC_API void kvc_subscription_wake(kvc_subscription *subscription);
KVC_API void kvc_subscription_free(kvc_subscription *subscription);

/* ---- asynchronous calls ----------------------------------------------------------------- */

/* On the caller's libevent loop and only on its thread. One connection, which reconnects by itself; commands sent meanwhile wait
 * for it until their deadline. Subscriptions have a second one. With kvc_options.cluster there is one to each node
 * that is needed, and redirections are followed; then the order of commands is kept for a key as long as its slot
 * does not move. */
struct event_base;
typedef struct kvc_async kvc_async;

/* Called exactly once for each command that was accepted, never from within kvc_async_command: with KVC_OK and the reply (yours; of
 * type NIL for a null), or with another status, no reply, and error. It may issue further commands, and may call
 * kvc_async_close. */
typedef void kvc_async_fn(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                          void *arg);
/* An event of what was subscribed to (see kvc_event); message lives during the call. */
typedef void kvc_async_message_fn(kvc_async *async, const kvc_message *message, void *arg);

/* Returns at once; the connection is made by the loop. */
KVC_API kvc_status kvc_async_open(struct event_base *base, const kvc_options *options, kvc_async **ret_async,
                                  kvc_error *error);
/* timeout_ms 0: the command timeout; UINT32_MAX: none. Not accepted, and fn (which may be NULL) is not called: KVC_EARG, KVC_ENOMEM,
 * KVC_EFULL (async_queue_bytes: wait for answers), KVC_ESTATE (closing, or a command that changes the connection, see kvc_command). */
KVC_API kvc_status kvc_async_command(kvc_async *async, size_t argc, const kvc_slice *argv,
                                     uint32_t timeout_ms, kvc_async_fn *fn, void *arg);
/* Where messages go; without it, kvc_async_subscribe answers KVC_ESTATE. What is subscribed is subscribed again after a reconnect. */
KVC_API void kvc_async_on_message(kvc_async *async, kvc_async_message_fn *fn, void *arg);
KVC_API kvc_status kvc_async_subscribe(kvc_async *async, kvc_channel_kind kind, kvc_slice channel);
KVC_API kvc_status kvc_async_unsubscribe(kvc_async *async, kvc_channel_kind kind, kvc_slice channel);
/* Ends it: what is outstanding gets its replies first when drain is true (until its deadlines), else KVC_ECLOSED from the loop.
 * async is freed after the last callback; do not use it again. */
KVC_API void kvc_async_close(kvc_async *async, bool drain);

/* ---- what this build can do ------------------------------------------------------------- */

typedef struct kvc_build {
    const char *version;         /* KVC_VERSION */
    const char *hiredis_version; /* it was built with */
    bool resp3;                  /* hiredis 1.0 or newer */
    bool tls;
} kvc_build;

KVC_API const kvc_build *kvc_build_info(void);

#ifdef __cplusplus
}
#endif
#endif
