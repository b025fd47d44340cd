/* decimal.c - see decimal.h. SPDX-License-Identifier: MIT */
#include "decimal.h"

bool decimal_parse(kv_slice text, int64_t *ret_value)
{
    const char *p = text.data, *end = text.data + text.len;
    uint64_t sum = 0;
    bool negative;

    if (text.len == 0 || text.len > DECIMAL_MAX)
        return false;
    negative = *p == '-';
    p += negative;
    if (p == end || *p < '0' || *p > '9' || (*p == '0' && (negative || text.len > 1)))
        return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';

        if (digit > 9 || sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    if (sum > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

kv_slice decimal_format(char buffer[DECIMAL_MAX], int64_t value)
{
    char digits[DECIMAL_MAX];
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t n = 0, len = 0;

    do {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        buffer[len++] = '-';
    while (n)
        buffer[len++] = digits[--n];
    return kv_slice_of(buffer, len);
}
