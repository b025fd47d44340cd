/* number.c - see number.h.
 *
 * strtold and printf obey the locale of the thread, which a program that embeds the store may have set to one
 * with a decimal comma. glibc's "C" locale object is a constant, so switching to it allocates nothing.
 *
 * SPDX-License-Identifier: MIT */
#include "number.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool number_parse(kv_slice text, long double *ret_value)
{
    char copy[NUMBER_TEXT_MAX];
    locale_t c_locale;
    char *end;
    long double value;
    int err;

    if (text.len == 0 || text.len >= sizeof copy || isspace((unsigned char)text.data[0]))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return false;
    errno = 0;
    value = strtold_l(copy, &end, c_locale);
    err = errno;
    freelocale(c_locale);
    if (end != copy + text.len || isnan(value))
        return false;
    /* Out of range; a denormal result is in it, and so is one that is 0 without having been 0. */
    if (err == ERANGE && (isinf(value) || value == 0))
        return false;
    *ret_value = value;
    return true;
}

bool number_format(long double value, char buffer[NUMBER_TEXT_MAX], kv_slice *ret_text)
{
    locale_t c_locale, before;
    int len;

    if (!isfinite(value))
        return false;
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return false;
    before = uselocale(c_locale);
    len = snprintf(buffer, NUMBER_TEXT_MAX, "%.17Lf", value);
    uselocale(before);
    freelocale(c_locale);
    while (buffer[len - 1] == '0')
        len--;
    if (buffer[len - 1] == '.')
        len--;
    if (len == 2 && buffer[0] == '-' && buffer[1] == '0') {
        buffer[0] = '0';
        len = 1;
    }
    *ret_text = kv_slice_of(buffer, (size_t)len);
    return true;
}
