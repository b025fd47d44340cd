/* module_request_fuzz.c - the module's request parser: wherever the input is cut, it waits, and neither reads further nor
 * thinks otherwise of what it understood. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "port_request.h"
#include "redis_abi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { max_bytes = 4096, size_max = 2000 };

/* What a block of exactly that size, of which nothing else can be read, begins with. */
static request_state parse_exactly(const uint8_t *data, size_t size, port_request *request, size_t *ret_used,
                                   char **ret_block)
{
    const char *why = NULL;
    char *block = malloc(size ? size : 1);
    request_state state;

    if (!block)
        abort();
    if (size)
        memcpy(block, data, size);
    state = request_parse(kv_slice_of(block, size), max_bytes, request, ret_used, &why);
    if ((state == REQUEST_WRONG) != (why != NULL) || (state == REQUEST_WHOLE && *ret_used > size))
        abort();
    for (int i = 0; state == REQUEST_WHOLE && i < request->argc; i++) {
        const kv_slice *word = &request->argv[i];

        if (word->data < block || word->data + word->len > block + size)
            abort();
    }
    *ret_block = block;
    return state;
}

/* Whatever is cut off a request that is whole, nobody takes the rest for whole or for wrong. */
static void cut_everywhere(const uint8_t *data, size_t len)
{
    port_request request = { 0 };
    size_t used;
    char *block;

    for (size_t cut = 0; cut < len; cut++) {
        if (parse_exactly(data, cut, &request, &used, &block) != REQUEST_PARTIAL)
            abort();
        free(block);
    }
    request_done(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    port_request request = { 0 };
    size_t used = 0;
    char *block;

    rm.Alloc = malloc;
    rm.Free = free;
    if (size > size_max)
        size = size_max;
    for (size_t at = 0; at < size; at += used) {
        request_state state = parse_exactly(data + at, size - at, &request, &used, &block);

        free(block);
        if (state != REQUEST_WHOLE)
            break;
        cut_everywhere(data + at, used);
    }
    request_done(&request);
    return 0;
}
