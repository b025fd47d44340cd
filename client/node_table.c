/* node_table.c - see node_table.h.
 *
 * An array of nodes with holes, and for each slot 1 + the position of its owner in 16 bits: 32 KiB a cluster.
 *
 * Invariants
 *   1. owners[slot] is 0 or names a place that holds a node.
 *   2. The node at place 0 is where we began; it is always listed.
 *
 * SPDX-License-Identifier: MIT */
#include "node_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "failure.h"

struct kvc_node_table {
    kvc_node *nodes[KVC_NODES_MAX];
    size_t places; /* places used so far, holes included */
    size_t count;  /* nodes */
    uint16_t owners[KVC_SLOT_COUNT];
};

/* ---- redirections ----------------------------------------------------------------------- */

/* Reads a decimal number up to max and moves *at behind it; -1: there is none. */
static long read_number(const char **at, const char *end, long max)
{
    long number = 0;

    if (*at == end || **at < '0' || **at > '9')
        return -1;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        number = number * 10 + (**at - '0');
        if (number > max)
            return -1;
    }
    return number;
}

/* "3999 127.0.0.1:6381"; the host may be empty, "?" (not known), or an IPv6 address with colons in it. */
static bool read_target(kvc_redirect *redirect, kvc_slice text)
{
    const char *at = text.data, *end = text.data + text.len, *colon;
    long slot = read_number(&at, end, KVC_SLOT_COUNT - 1), port;
    size_t host_len;

    if (slot < 0 || at == end || *at != ' ')
        return false;
    text = kvc_bytes(at + 1, (size_t)(end - (at + 1)));
    colon = memrchr(text.data, ':', text.len);
    if (!colon)
        return false;
    host_len = (size_t)(colon - text.data);
    at = colon + 1;
    port = read_number(&at, end, 65535);
    if (port <= 0 || (at < end && *at != ' ') || host_len >= sizeof redirect->host ||
        memchr(text.data, '\0', host_len))
        return false;
    if (host_len == 1 && text.data[0] == '?')
        host_len = 0;
    memcpy(redirect->host, text.data, host_len);
    redirect->host[host_len] = '\0';
    redirect->slot = (unsigned)slot;
    redirect->port = (int)port;
    return true;
}

static bool starts_with(kvc_slice text, const char *word)
{
    size_t len = strlen(word);

    return text.len >= len && memcmp(text.data, word, len) == 0 && (text.len == len || text.data[len] == ' ');
}

kvc_redirect kvc_redirect_of(const kvc_reply *reply)
{
    static const struct {
        const char *word;
        kvc_redirect_kind kind;
    } words[] = {
        { "MOVED", KVC_REDIRECT_MOVED },
        { "ASK", KVC_REDIRECT_ASK },
        { "TRYAGAIN", KVC_REDIRECT_AGAIN },
        { "CLUSTERDOWN", KVC_REDIRECT_DOWN },
    };
    kvc_redirect redirect = { .kind = KVC_REDIRECT_NONE };
    kvc_slice text = kvc_reply_text(reply);

    if (kvc_reply_type(reply) != KVC_TYPE_ERROR)
        return redirect;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i].word);

        if (!starts_with(text, words[i].word))
            continue;
        redirect.kind = words[i].kind;
        if (redirect.kind != KVC_REDIRECT_MOVED && redirect.kind != KVC_REDIRECT_ASK)
            break;
        if (text.len == len || !read_target(&redirect, kvc_bytes(text.data + len + 1, text.len - len - 1)))
            redirect.kind = KVC_REDIRECT_NONE;
        break;
    }
    return redirect;
}

/* ---- nodes ------------------------------------------------------------------------------ */

kvc_node_table *kvc_node_table_new(const char *host, int port)
{
    kvc_node_table *table = calloc(1, sizeof *table);
    kvc_node *seed = table ? kvc_node_table_add(table, host, port) : NULL;

    if (!seed) {
        free(table);
        return NULL;
    }
    seed->listed = true;
    return table;
}

static void node_free(kvc_node *node)
{
    free(node->host);
    free(node);
}

void kvc_node_table_free(kvc_node_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->places; i++)
        if (table->nodes[i])
            node_free(table->nodes[i]);
    free(table);
}

size_t kvc_node_table_count(const kvc_node_table *table)
{
    return table->count;
}

/* The place of an address, or a free one, or KVC_NODES_MAX. */
static size_t find_place(const kvc_node_table *table, const char *host, int port)
{
    size_t hole = KVC_NODES_MAX;

    for (size_t i = 0; i < table->places; i++) {
        const kvc_node *node = table->nodes[i];

        if (!node)
            hole = i;
        else if (node->port == port && strcmp(node->host, host) == 0)
            return i;
    }
    return hole < KVC_NODES_MAX ? hole : table->places;
}

kvc_node *kvc_node_table_add(kvc_node_table *table, const char *host, int port)
{
    size_t place = find_place(table, host, port);
    kvc_node *node;

    if (place == KVC_NODES_MAX)
        return NULL;
    if (place < table->places && table->nodes[place])
        return table->nodes[place];
    node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->host = strdup(host);
    if (!node->host) {
        free(node);
        return NULL;
    }
    node->port = port;
    table->nodes[place] = node;
    table->count++;
    if (place == table->places)
        table->places++;
    return node;
}

kvc_node *kvc_node_table_owner(const kvc_node_table *table, unsigned slot)
{
    unsigned owner = table->owners[slot];

    return owner ? table->nodes[owner - 1] : NULL;
}

static size_t place_of(const kvc_node_table *table, const kvc_node *node)
{
    size_t i = 0;

    while (i < table->places && table->nodes[i] != node)
        i++;
    return i;
}

void kvc_node_table_set_owner(kvc_node_table *table, unsigned slot, kvc_node *node)
{
    node->listed = true;
    table->owners[slot] = (uint16_t)(1 + place_of(table, node));
}

kvc_node *kvc_node_table_after(const kvc_node_table *table, const kvc_node *node)
{
    size_t place = node ? place_of(table, node) + 1 : 0;

    while (place < table->places && !table->nodes[place])
        place++;
    return table->nodes[place < table->places ? place : 0];
}

bool kvc_node_table_find(const kvc_node_table *table, size_t *place)
{
    size_t found = KVC_NODES_MAX;
    bool any = false;

    for (size_t slot = 0; slot < KVC_SLOT_COUNT; slot++) {
        size_t owner = table->owners[slot];

        any |= owner > 0;
        if (owner > *place && owner - 1 < found)
            found = owner - 1;
    }
    if (!any && *place == 0)
        found = 0;
    *place = found;
    return found < KVC_NODES_MAX;
}

kvc_node *kvc_node_table_at(const kvc_node_table *table, size_t place)
{
    return place < table->places ? table->nodes[place] : NULL;
}

bool kvc_node_table_sweep(kvc_node_table *table, void **ret_peer)
{
    for (size_t i = 1; i < table->places; i++) {
        kvc_node *node = table->nodes[i];

        if (!node || node->listed || node->users > 0)
            continue;
        *ret_peer = node->peer;
        node_free(node);
        table->nodes[i] = NULL;
        table->count--;
        return true;
    }
    *ret_peer = NULL;
    return false;
}

bool kvc_node_table_take_peer(kvc_node_table *table, void **ret_peer)
{
    for (size_t i = 0; i < table->places; i++) {
        if (!table->nodes[i] || !table->nodes[i]->peer)
            continue;
        *ret_peer = table->nodes[i]->peer;
        table->nodes[i]->peer = NULL;
        return true;
    }
    return false;
}

/* ---- CLUSTER SLOTS ---------------------------------------------------------------------- */

/* The node of one entry's [host, port, id, ...]; NULL with *ret_status. */
static kvc_node *entry_node(kvc_node_table *table, const kvc_reply *master, const char *asked_host,
                            kvc_status *ret_status)
{
    kvc_slice host = kvc_reply_text(kvc_reply_at(master, 0));
    int64_t port = kvc_reply_int(kvc_reply_at(master, 1));
    char name[KVC_HOST_SIZE];
    kvc_node *node;

    *ret_status = KVC_EPROTOCOL;
    if (kvc_reply_count(master) < 2 || port < 1 || port > 65535 || host.len >= sizeof name ||
        (host.len && memchr(host.data, '\0', host.len)))
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)host.len, host.data);
    node =
        kvc_node_table_add(table, name[0] == '\0' || strcmp(name, "?") == 0 ? asked_host : name, (int)port);
    *ret_status = node ? KVC_OK : KVC_ENOMEM;
    return node;
}

/* [first, last, [host, port, ...], replicas ...] */
static kvc_status load_entry(kvc_node_table *table, const kvc_reply *entry, const char *asked_host,
                             uint16_t owners[KVC_SLOT_COUNT])
{
    const kvc_reply *first = kvc_reply_at(entry, 0), *last = kvc_reply_at(entry, 1);
    int64_t from = kvc_reply_int(first), to = kvc_reply_int(last);
    kvc_status status;
    kvc_node *node;

    if (kvc_reply_type(first) != KVC_TYPE_INT || kvc_reply_type(last) != KVC_TYPE_INT || from < 0 ||
        to < from || to >= KVC_SLOT_COUNT)
        return KVC_EPROTOCOL;
    node = entry_node(table, kvc_reply_at(entry, 2), asked_host, &status);
    if (!node)
        return status;
    for (int64_t slot = from; slot <= to; slot++)
        owners[slot] = (uint16_t)(1 + place_of(table, node));
    return KVC_OK;
}

/* Listed is who owns a slot, and where we began. */
static void list_owners(kvc_node_table *table)
{
    for (size_t i = 1; i < table->places; i++)
        if (table->nodes[i])
            table->nodes[i]->listed = false;
    for (size_t slot = 0; slot < KVC_SLOT_COUNT; slot++)
        if (table->owners[slot])
            table->nodes[table->owners[slot] - 1]->listed = true;
}

kvc_status kvc_node_table_load(kvc_node_table *table, const kvc_reply *slots, const char *asked_host,
                               kvc_error *error)
{
    size_t count = kvc_reply_count(slots);
    uint16_t *owners = calloc(KVC_SLOT_COUNT, sizeof *owners);
    kvc_status status = owners ? KVC_OK : KVC_ENOMEM;

    if (kvc_reply_type(slots) != KVC_TYPE_ARRAY)
        status = KVC_EPROTOCOL;
    for (size_t i = 0; i < count && status == KVC_OK; i++)
        status = load_entry(table, kvc_reply_at(slots, i), asked_host, owners);
    if (status == KVC_OK) {
        memcpy(table->owners, owners, sizeof table->owners);
        list_owners(table);
    } else if (status == KVC_ENOMEM) {
        kvc_fail(error, status, "out of memory, or more than %d nodes in a cluster", KVC_NODES_MAX);
    } else {
        kvc_fail(error, status, "CLUSTER SLOTS was answered with what is no list of slots");
    }
    free(owners);
    return status;
}
