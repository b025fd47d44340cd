/* protocol.h - the two wire protocols of the load: requests written, replies recognised and checked.
 *
 *     protocol p;
 *     protocol_init(&p, PROTOCOL_RESP, 16);
 *     len = protocol_put(&p, out, (request){ .key = 7, .set = true });
 *     ...
 *     len = protocol_take(&p, in, in_len, sent, &outcome);     // 0: not all there yet
 *
 * Keys are numbers on our side and 16 bytes on the wire. The value of a key follows from its number, so
 * that every GET is checked without remembering what was SET: a server that mixes up two answers, or
 * tears one, is found out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_PROTOCOL_H
#define KVBENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KEY_SIZE 16u /* bytes of every key on the wire */

typedef enum protocol_kind { PROTOCOL_RESP, PROTOCOL_MEMCACHED } protocol_kind;

typedef struct protocol {
    protocol_kind kind;
    size_t value_size;  /* bytes, at least 1 */
    bool any_value;     /* accept any bytes of the right size: for the floor, which stores nothing */
    char get_reply[64]; /* what a hit begins with, up to the value (RESP) */
    size_t get_reply_len;
    char set_head[64]; /* what stands between a SET's key and its value */
    size_t set_head_len;
} protocol;

/* Where a request stands in a transaction: MULTI goes with the first, EXEC with the last one. */
typedef enum frame { FRAME_NONE, FRAME_FIRST, FRAME_INSIDE, FRAME_LAST, FRAME_ONLY } frame;

typedef struct request {
    uint64_t key;
    bool set;
    frame frame;
    unsigned queued; /* LAST, ONLY: commands of the transaction, all of them SETs */
} request;

typedef enum outcome { OUTCOME_HIT, OUTCOME_MISS, OUTCOME_STORED } outcome;

void protocol_init(protocol *p, protocol_kind kind, size_t value_size);
/* The most bytes that one request, or one reply, takes. */
size_t protocol_max(const protocol *p);
/* Writes a request to out, which has room for protocol_max. Returns its length. */
size_t protocol_put(const protocol *p, char *out, request r);
/* Looks for the whole reply to r at in. Returns its length, 0 when more bytes are needed, -1 when this
 * is not an answer to r. */
ssize_t protocol_take(const protocol *p, const char *in, size_t len, request r, outcome *ret_outcome);

/* The key's bytes, and size bytes of its value. */
void key_bytes(uint64_t key, char out[KEY_SIZE]);
void value_bytes(uint64_t key, char *out, size_t size);
/* Whether size bytes at in are the key's value. */
bool value_matches(uint64_t key, const char *in, size_t size);

#endif
