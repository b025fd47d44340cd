/* redis_abi.c - looks up the server's functions by name. SPDX-License-Identifier: MIT */
#include "redis_abi.h"

rm_api rm;

typedef int get_function(const char *name, void *ret_function);

const char *rm_bind(rm_ctx *ctx)
{
    get_function *get = *(get_function **)(void *)ctx;

#define BIND_REQUIRED(type, name, arguments)                  \
    if (get("RedisModule_" #name, (void *)&rm.name) != RM_OK) \
        return #name;
#define BIND_OPTIONAL(type, name, arguments)                  \
    if (get("RedisModule_" #name, (void *)&rm.name) != RM_OK) \
        rm.name = NULL;
    RM_FUNCTIONS(BIND_REQUIRED, BIND_OPTIONAL)
#undef BIND_REQUIRED
#undef BIND_OPTIONAL
    void *ignored;

    rm.valkey = get("ValkeyModule_Alloc", &ignored) == RM_OK;
    return NULL;
}
