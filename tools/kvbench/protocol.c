/* SPDX-License-Identifier: MIT */
#include "protocol.h"

#include <stdio.h>
#include <string.h>

#define FRAME_REPLY_MAX \
    1024 /* the longest replies that come together: of a transaction with up to 128 SETs */

/* Eight letters 'a'..'p', one per nibble of x. Letters, because a value of digits only would be stored
 * as an integer by some servers and not by others. */
static uint64_t letters(uint32_t x)
{
    uint64_t v = x;

    v = (v | v << 16) & 0x0000ffff0000ffff;
    v = (v | v << 8) & 0x00ff00ff00ff00ff;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
    return v + 0x6161616161616161;
}

/* Made and stored as the two words that a hash or a comparison will load: a load that spans several stores waits until they
 * have left the store buffer, some 14 ns, which in a measurement in process would count as the map's. */
void key_bytes(uint64_t key, char out[KEY_SIZE])
{
    const uint64_t prefix = 'k' | 'e' << 8 | 'y' << 16 | ':' << 24;
    uint64_t low = letters((uint32_t)key), high = letters((uint32_t)(key >> 32));
    uint64_t first = prefix | low << 32, second = low >> 32 | high << 32;

    memcpy(out, &first, sizeof first);
    memcpy(out + sizeof first, &second, sizeof second);
}

/* 16 bytes that a value repeats: the finaliser of splitmix64 (Steele, Lea, Flood 2014), spelled. */
static void value_unit(uint64_t key, char out[16])
{
    uint64_t x = key + 0x9e3779b97f4a7c15, half;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;
    half = letters((uint32_t)x);
    memcpy(out, &half, 8);
    half = letters((uint32_t)(x >> 32));
    memcpy(out + 8, &half, 8);
}

void value_bytes(uint64_t key, char *out, size_t size)
{
    char unit[16];

    value_unit(key, unit);
    for (; size >= sizeof unit; size -= sizeof unit, out += sizeof unit)
        memcpy(out, unit, sizeof unit);
    memcpy(out, unit, size);
}

bool value_matches(uint64_t key, const char *in, size_t size)
{
    char unit[16];

    value_unit(key, unit);
    for (; size >= sizeof unit; size -= sizeof unit, in += sizeof unit)
        if (memcmp(in, unit, sizeof unit) != 0)
            return false;
    return memcmp(in, unit, size) == 0;
}

void protocol_init(protocol *p, protocol_kind kind, size_t value_size)
{
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->value_size = value_size;
    if (kind == PROTOCOL_RESP) {
        snprintf(p->get_reply, sizeof p->get_reply, "$%zu\r\n", value_size);
        snprintf(p->set_head, sizeof p->set_head, "\r\n$%zu\r\n", value_size);
    } else {
        snprintf(p->get_reply, sizeof p->get_reply, " 0 %zu\r\n", value_size);
        snprintf(p->set_head, sizeof p->set_head, " 0 0 %zu\r\n", value_size);
    }
    p->get_reply_len = strlen(p->get_reply);
    p->set_head_len = strlen(p->set_head);
}

size_t protocol_max(const protocol *p)
{
    return p->value_size + FRAME_REPLY_MAX;
}

static char *put(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}
#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

size_t protocol_put(const protocol *p, char *out, request r)
{
    char *at = out;

    if (r.frame == FRAME_FIRST || r.frame == FRAME_ONLY)
        at = PUT(at, "*1\r\n$5\r\nMULTI\r\n");
    if (p->kind == PROTOCOL_RESP)
        at = r.set ? PUT(at, "*3\r\n$3\r\nSET\r\n$16\r\n") : PUT(at, "*2\r\n$3\r\nGET\r\n$16\r\n");
    else
        at = r.set ? PUT(at, "set ") : PUT(at, "get ");
    key_bytes(r.key, at);
    at += KEY_SIZE;
    if (r.set) {
        at = put(at, p->set_head, p->set_head_len);
        value_bytes(r.key, at, p->value_size);
        at += p->value_size;
    }
    at = PUT(at, "\r\n");
    if (r.frame == FRAME_LAST || r.frame == FRAME_ONLY)
        at = PUT(at, "*1\r\n$4\r\nEXEC\r\n");
    return (size_t)(at - out);
}

/* Whether in begins with text: 1 yes, 0 not yet to be told, -1 no. */
static int begins(const char *in, size_t len, const char *text, size_t text_len)
{
    size_t have = len < text_len ? len : text_len;

    if (memcmp(in, text, have) != 0)
        return -1;
    return have == text_len;
}

/* A reply that is one fixed line. */
static ssize_t take_line(const char *in, size_t len, const char *line, size_t line_len)
{
    int found = begins(in, len, line, line_len);

    return found > 0 ? (ssize_t)line_len : found;
}
#define TAKE_LINE(in, len, literal) take_line(in, len, literal, sizeof(literal) - 1)

/* The value and what ends it, after head_len bytes that have been recognised. */
static ssize_t take_value(const protocol *p, const char *in, size_t len, request r, size_t head_len,
                          const char *end, size_t end_len)
{
    size_t whole = head_len + p->value_size + end_len;

    if (len < whole)
        return 0;
    if (memcmp(in + head_len + p->value_size, end, end_len) != 0)
        return -1;
    if (!p->any_value && !value_matches(r.key, in + head_len, p->value_size))
        return -1;
    return (ssize_t)whole;
}

static ssize_t take_get_resp(const protocol *p, const char *in, size_t len, request r, outcome *ret_outcome)
{
    int hit = begins(in, len, p->get_reply, p->get_reply_len);

    *ret_outcome = OUTCOME_HIT;
    if (hit > 0)
        return take_value(p, in, len, r, p->get_reply_len, "\r\n", 2);
    if (hit == 0)
        return 0;
    *ret_outcome = OUTCOME_MISS;
    return TAKE_LINE(in, len, "$-1\r\n");
}

static ssize_t take_get_memcached(const protocol *p, const char *in, size_t len, request r,
                                  outcome *ret_outcome)
{
    char head[128] = "VALUE ";
    size_t head_len = 6 + KEY_SIZE + p->get_reply_len;
    int hit;

    key_bytes(r.key, head + 6);
    memcpy(head + 6 + KEY_SIZE, p->get_reply, p->get_reply_len);
    hit = begins(in, len, head, head_len);
    *ret_outcome = OUTCOME_HIT;
    if (hit > 0)
        return take_value(p, in, len, r, head_len, "\r\nEND\r\n", 7);
    if (hit == 0)
        return 0;
    *ret_outcome = OUTCOME_MISS;
    return TAKE_LINE(in, len, "END\r\n");
}

/* The replies to a SET in a transaction, with those to MULTI and EXEC. */
static ssize_t take_framed(const char *in, size_t len, request r)
{
    char reply[FRAME_REPLY_MAX];
    int n = snprintf(reply, sizeof reply, "%s+QUEUED\r\n",
                     r.frame == FRAME_FIRST || r.frame == FRAME_ONLY ? "+OK\r\n" : "");

    if (r.frame == FRAME_LAST || r.frame == FRAME_ONLY)
        n += snprintf(reply + n, sizeof reply - (size_t)n, "*%u\r\n", r.queued);
    for (unsigned i = 0; i < r.queued && (size_t)n + 6 < sizeof reply; i++)
        n += snprintf(reply + n, sizeof reply - (size_t)n, "+OK\r\n");
    return take_line(in, len, reply, (size_t)n);
}

ssize_t protocol_take(const protocol *p, const char *in, size_t len, request r, outcome *ret_outcome)
{
    if (len == 0)
        return 0;
    if (r.set) {
        *ret_outcome = OUTCOME_STORED;
        if (r.frame)
            return take_framed(in, len, r);
        return p->kind == PROTOCOL_RESP ? TAKE_LINE(in, len, "+OK\r\n") : TAKE_LINE(in, len, "STORED\r\n");
    }
    return p->kind == PROTOCOL_RESP ? take_get_resp(p, in, len, r, ret_outcome)
                                    : take_get_memcached(p, in, len, r, ret_outcome);
}
