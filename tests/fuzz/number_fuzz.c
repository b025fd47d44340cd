/* number_fuzz.c - numbers in text: an integer has one spelling, and a fraction that was printed reads as itself.
 *
 * SPDX-License-Identifier: MIT */
#include "number.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "decimal.h"
#include "fuzz.h"

/* Digits with at most a minus before them, and no zero in front: 64 bits of that. */
static bool is_integer(kv_slice text, int64_t *ret_value)
{
    char copy[32], *end;
    size_t sign = text.len && text.data[0] == '-';

    if (text.len <= sign || text.len >= sizeof copy)
        return false;
    for (size_t i = sign; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    if (text.data[sign] == '0' && text.len > 1)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    errno = 0;
    *ret_value = strtoll(copy, &end, 10);
    return errno == 0 && *end == 0;
}

static void check_integer(kv_slice text)
{
    int64_t value = 0, wanted = 0;
    bool is = is_integer(text, &wanted);
    char buffer[DECIMAL_MAX];

    must(decimal_parse(text, &value) == is);
    must(!is || value == wanted);
    must(!is || kv_slice_equal(decimal_format(buffer, value), text));
}

static void check_fraction(kv_slice text)
{
    static char first[NUMBER_TEXT_MAX], second[NUMBER_TEXT_MAX];
    long double value, again;
    kv_slice printed, reprinted;

    if (!number_parse(text, &value))
        return;
    must(!isnan(value));
    must(number_format(value, first, &printed) == isfinite(value));
    if (!isfinite(value))
        return;
    must(printed.len > 0 && printed.len < NUMBER_TEXT_MAX);
    must(!memchr(printed.data, 'e', printed.len));
    must(!memchr(printed.data, '.', printed.len) || printed.data[printed.len - 1] != '0');
    must(number_parse(printed, &again));
    must(number_format(again, second, &reprinted));
    must(kv_slice_equal(printed, reprinted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kv_slice text = kv_slice_of(data, size);

    check_integer(text);
    check_fraction(text);
    return 0;
}
