/* aof_replay.c - see aof_replay.h. SPDX-License-Identifier: MIT */
#include "aof_replay.h"

#include <stdlib.h>
#include <string.h>

#include "aof_reader.h"
#include "decimal.h"
#include "store.h"

static bool is(const aof_command *c, const char *name, int argc)
{
    return c->argc >= argc && kv_slice_equal(c->argv[0], kv_str(name));
}

static int number(kv_slice text)
{
    int64_t value = -1;

    return decimal_parse(text, &value) ? (int)value : -1;
}

static bool run_one(aof_replay *r, const aof_command *c)
{
    kv_store *store = r->stores[r->db];

    if (is(c, "SELECT", 2))
        return (r->db = number(c->argv[1])) >= 0;
    if (is(c, "SET", 3))
        return kv_store_set(store, c->argv[1], c->argv[2], NULL, 1, NULL) == 0;
    if (is(c, "DEL", 2))
        return kv_store_delete(store, c->argv[1], NULL, 1) == 0;
    if (is(c, "FLUSHDB", 1))
        return store_clear(store, false) == 0;
    if (is(c, "SWAPDB", 3)) {
        store_swap(r->stores[number(c->argv[1])], r->stores[number(c->argv[2])], 1);
        return true;
    }
    return is(c, "MULTI", 1) || is(c, "EXEC", 1);
}

bool aof_replay_run(aof_replay *r, const aof_queue *queue)
{
    char *bytes = malloc(queue->bytes + 1);
    size_t len = 0, used;
    aof_command command = { 0 };
    bool well = bytes != NULL;

    for (const aof_chunk *chunk = queue->first; well && chunk; len += chunk->len, chunk = chunk->next)
        memcpy(bytes + len, chunk->data, chunk->len);
    for (size_t at = 0; well && at < len; at += used, r->commands++)
        well = aof_command_parse(&command, kv_slice_of(bytes + at, len - at), &used) == AOF_WHOLE &&
               run_one(r, &command);
    aof_command_done(&command);
    free(bytes);
    return well;
}
