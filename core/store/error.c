/* error.c - the text of every error. SPDX-License-Identifier: MIT */
#include "kvstore/kvstore.h"

const char *kv_error_text(int error)
{
    switch (error) {
    case KV_OK:
        return "OK";
#define KV_ERROR_CASE(name, number, text) \
    case name:                            \
        return text;
        KV_ERRORS(KV_ERROR_CASE)
#undef KV_ERROR_CASE
    default:
        return "ERR unknown error";
    }
}
