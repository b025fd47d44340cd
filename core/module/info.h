/* info.h - the module's section of INFO. SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_INFO_H
#define KV_MODULE_INFO_H

#include "redis_abi.h"

void info_register(rm_ctx *ctx);

#endif
