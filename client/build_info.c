/* build_info.c - what this build can do.
 *
 * SPDX-License-Identifier: MIT */
#include "kvclient.h"

#include <hiredis/hiredis.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

static const kvc_build build = {
    .version = KVC_VERSION,
    .hiredis_version = TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH),
#ifdef KVC_HIREDIS_RESP3
    .resp3 = true,
#endif
#ifdef KVC_HAVE_TLS
    .tls = true,
#endif
};

const kvc_build *kvc_build_info(void)
{
    return &build;
}
