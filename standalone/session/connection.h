/* connection.h - one client: its socket, its session, and what is unfinished of its input and output.
 *
 * Life: connection_new -> requests -> connection_close (from anywhere on the owner's thread, callbacks
 * included) -> connection_free, by the worker after the turn, when no message is under way that will come back
 * for it. Nobody else frees, and no other thread touches one.
 *
 * A connection waits for one thing at a time:
 *     READ      for requests
 *     WRITE     for its client to take replies; meanwhile none of its requests run: that is the back-pressure
 *     BOTH      the same, and its further requests are kept, up to a limit: a client that writes a long pipeline
 *               before it reads a reply must get to its end
 *     NOTHING   parked: an answer of another thread is under way, or it stands in the worker's runnable list
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CONNECTION_H
#define KV_STANDALONE_CONNECTION_H

#include "listener.h"
#include "worker.h"

enum connection_flag {
    CONNECTION_AUTHENTICATED = 1 << 0,
    CONNECTION_CLOSING = 1 << 1,     /* closed; freed after the turn */
    CONNECTION_CLOSE_AFTER = 1 << 2, /* when the replies are sent */
    CONNECTION_PARKED = 1 << 3,
    CONNECTION_RUNNABLE = 1 << 4, /* in the worker's list */
    CONNECTION_UNIX = 1 << 5,
    CONNECTION_REPLY_OFF = 1 << 6,
    CONNECTION_REPLY_SKIP = 1 << 7,      /* this command's */
    CONNECTION_REPLY_SKIP_NEXT = 1 << 8, /* the next one's */
    CONNECTION_NO_TOUCH = 1 << 9,
    CONNECTION_NO_EVICT = 1 << 10,
    CONNECTION_READY = 1 << 11,         /* its input may begin with a whole request */
    CONNECTION_DRAINING = 1 << 13,      /* the server stops: closed when its replies are sent */
    CONNECTION_HALF_CLOSED = 1 << 14,   /* the client has said that no more will come */
    CONNECTION_ACTOR_WAITING = 1 << 12, /* in the list for a place in the actor's queue */
    CONNECTION_MULTI = 1 << 15,         /* commands are queued, or EXEC runs them */
    CONNECTION_UNFINISHED = 1 << 16,    /* a request goes on: see rest.h, transaction_commands.c */
    CONNECTION_DIRTY = 1 << 17,         /* a watched key had changed when CLIENT LIST last looked */
    CONNECTION_BLOCKED = 1 << 18,       /* parked until what it waits for comes: blocking.h */
    CONNECTION_PAUSED = 1 << 19,        /* this batch: there is a pause, see CLIENT PAUSE */
    CONNECTION_SUBSCRIBED = 1 << 20,    /* listens to something, see pubsub.h */
    CONNECTION_RESTRICTED = 1 << 21,    /* so in RESP2, where only few commands may run then */
    CONNECTION_TRACKING = 1 << 23,      /* CLIENT TRACKING is on */
    CONNECTION_LIMITED = 1 << 30,       /* its user may not do everything: acl_session.h */
    CONNECTION_MAILED = 1 << 22,        /* in the worker's list of those that were handed something */
    CONNECTION_MONITOR = 1 << 26,       /* is shown commands */
    CONNECTION_WATCHED = 1 << 27,       /* this batch: there are monitors, who see its commands */
    CONNECTION_TLS = 1 << 24,           /* its bytes go through c->tls */
    CONNECTION_HANDSHAKE = 1 << 25,     /* no bytes yet: TLS has to be agreed on */
    CONNECTION_HELD = 1 << 28,          /* what it has pending waits for the log: see aof_hold.c */
    CONNECTION_MAY_WRITE = 1 << 29,     /* when its last batch began, the log was well */
};

typedef enum connection_wait {
    CONNECTION_READ,
    CONNECTION_WRITE,
    CONNECTION_BOTH,
    CONNECTION_NOTHING,
} connection_wait;

/* Input that is not yet run: bytes start .. start + len of data. */
typedef struct connection_input {
    char *data;
    size_t start, len, capacity;
    resp_parser parser; /* of the request at start, when it is half parsed */
} connection_input;

typedef struct connection_names {
    char *name, *library, *library_version; /* any may be NULL */
} connection_names;

/* Requests that the state thread is to run, see actor_batch.h. */
typedef struct actor_batch actor_batch;

typedef struct connection {
    struct event event;
    worker *owner;
    struct connection *next, **link; /* in the owner's list of all */
    struct connection *next_runnable, *next_doomed, *next_waiting, *next_mailed;
    struct connection *next_held, **held_link; /* in the owner's list of those that are held */
    uint64_t hold_turn;                        /* of the owner, for whose log it waits */
    int fd;
    unsigned flags;
    connection_wait wait;
    int in_flight; /* messages that will come back for it */
    unsigned
        tls_bytes; /* memory that tls takes, noted since every tick asks and tls is spread over many cache lines */
    int closing_fd; /* of one that was closed: it is freed with it; -1: none */

    uint64_t id;
    int db, protocol;
    int64_t created_ms, active_ms;
    const kv_command *last_command;
    struct acl_user *user;     /* whom it acts for: a reference, see acl_session.h */
    connection_names *names;   /* NULL: none was set */
    struct multi *multi;       /* NULL: neither MULTI nor WATCH */
    struct request_rest *rest; /* NULL, or what is left to do of a request */
    struct blocking *blocking; /* NULL, or what it is BLOCKED by */

    struct replica *replica;        /* NULL, or what it has said as one: replica.h */
    struct tls_session *tls;        /* NULL: what the socket gives is what the client says */
    connection_input *input;        /* NULL: nothing is unfinished */
    output *pending;                /* NULL: everything was sent */
    kv_bytes *mail;                 /* handed over first since the last send; NULL: nothing */
    struct subscriber *subscriber;  /* NULL: never was one */
    struct tracker *tracker;        /* NULL: CLIENT TRACKING is off */
    struct connection *next_person; /* in the directory of clients, see tracking.c */
    size_t counted_bytes;           /* what the sums of the owner count it with */
    int counted_class;              /* 1 + the class of size, or less; see memory.c */
    actor_batch
        *unfinished; /* NULL, or requests that wait until the client has taken the replies before them */
    int64_t over_soft_since_ms; /* pending is over the soft limit since then; 0: it is not */
} connection;

/* Serves a connected socket, which it takes over. NULL: memory is out, or there is no TLS, and fd is closed. */
connection *connection_new(worker *w, int fd, listener_kind kind);
void connection_free(connection *c);
/* Ends it: nothing more is read or sent; it is freed after the turn. */
void connection_close(connection *c) KV_EXCLUDES(kv_shard_held);

/* Where a reply to it goes at the moment. */
output *connection_output(connection *c);
/* Sends what can be sent, keeps the rest, and decides what to wait for. */
void connection_flush(connection *c) KV_EXCLUDES(kv_shard_held);
/* Puts bytes that lie in owner behind what is pending, to be flushed; and the same with the flush. */
void connection_queue_bytes(connection *c, kv_bytes *owner, kv_slice bytes);
void connection_send_bytes(connection *c, kv_bytes *owner, kv_slice bytes) KV_EXCLUDES(kv_shard_held);
/* The same without asking the log: what is pending is safe. */
void connection_send_held(connection *c) KV_EXCLUDES(kv_shard_held);
/* Runs input that was kept, then flushes. */
void connection_resume(connection *c) KV_EXCLUDES(kv_shard_held);
/* Puts it among the runnable ones: it goes on in the worker's next turn. */
void connection_run_later(connection *c);
/* Stops running its requests until connection_unpark; a message will come back for it. */
void connection_park(connection *c);
/* The message came back. False: the connection was closed meanwhile, leave it alone. */
bool connection_unpark(connection *c);
/* Ends it since there is no memory for it. */
void connection_close_for_memory(connection *c);

/* Hands c something that is no reply to its requests: bytes are shared, not copied, when they are long. It is sent by
 * connection_send_mail, or with the replies when serving says that a request of c is running. Closes a c that has
 * left too much unread. */
void connection_mail(connection *c, kv_bytes *bytes, bool serving);
/* Between requests. */
void connection_send_mail(connection *c);

/* Checks the time limits: idle too long, slow reader, slow handshake. */
void connection_check_limits(connection *c);

/* ---- what CLIENT LIST tells ---- */

/* Lazily made; NULL when memory is out. */
connection_names *connection_names_of(connection *c);
/* The client's and our own address, as "ip:port" or "path:0". */
#define CONNECTION_ADDRESS_MAX 128
struct sockaddr_storage;
/* "127.0.0.1:6379", "[::1]:6379"; "?:0" and false for other families. */
bool address_write(const struct sockaddr_storage *from, char address[CONNECTION_ADDRESS_MAX]);
void connection_address(const connection *c, char address[CONNECTION_ADDRESS_MAX]);
void connection_local_address(const connection *c, char address[CONNECTION_ADDRESS_MAX]);
/* What it has of its own; values that it sends by reference are the store's. */
size_t connection_memory(const connection *c);

/* The fields qbuf to tot-mem of CLIENT LIST. An idle connection holds no buffers, so that most are 0. */
typedef struct connection_use {
    size_t query_bytes, query_free_bytes; /* qbuf, qbuf-free */
    size_t argument_bytes;                /* argv-mem */
    size_t buffer_size, buffer_peak,
        buffer_bytes;               /* rbs, rbp, obl: replies that were not offered to the socket */
    size_t list_length, list_bytes; /* oll, omem: those that it did not take, with values by reference */
    size_t total_bytes;             /* tot-mem */
} connection_use;
void connection_usage(const connection *c, connection_use *ret_use);
/* The same of a connection whose request call is running: the worker's buffers are its own. */
void connection_usage_running(const connection *c, const kv_call *call, connection_use *ret_use);

#endif
