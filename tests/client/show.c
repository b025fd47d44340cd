/* show.c - see show.h.
 *
 * SPDX-License-Identifier: MIT */
#include "show.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void show_into(FILE *out, const kvc_reply *reply)
{
    static const char *const marks[] = {
        [KVC_TYPE_NIL] = "_",    [KVC_TYPE_STRING] = "$",   [KVC_TYPE_SIMPLE] = "+", [KVC_TYPE_ERROR] = "-",
        [KVC_TYPE_INT] = ":",    [KVC_TYPE_ARRAY] = "*",    [KVC_TYPE_DOUBLE] = ",", [KVC_TYPE_BOOL] = "#",
        [KVC_TYPE_BIGNUM] = "(", [KVC_TYPE_VERBATIM] = "=", [KVC_TYPE_MAP] = "%",    [KVC_TYPE_SET] = "~",
        [KVC_TYPE_PUSH] = ">",
    };
    kvc_type type = kvc_reply_type(reply);
    kvc_slice text = kvc_reply_text(reply);

    fputs(marks[type], out);
    if (type == KVC_TYPE_INT)
        fprintf(out, "%" PRId64, kvc_reply_int(reply));
    else if (type == KVC_TYPE_BOOL)
        fputc(kvc_reply_int(reply) ? 't' : 'f', out);
    else
        fwrite(text.data, 1, text.len, out);
    if (type != KVC_TYPE_ARRAY && type < KVC_TYPE_MAP)
        return;
    fputc('[', out);
    for (size_t i = 0; i < kvc_reply_count(reply); i++) {
        if (i)
            fputc(' ', out);
        show_into(out, kvc_reply_at(reply, i));
    }
    fputc(']', out);
}

char *show(const kvc_reply *reply)
{
    size_t size;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    show_into(out, reply);
    fclose(out);
    return text;
}

void show_check(kvc_reply *reply, const char *text, const char *file, int line)
{
    char *said = show(reply);

    kvc_reply_free(reply);
    _assert_string_equal(said, text, file, line);
    free(said);
}
