/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <string.h>

#define PRIME ((UINT64_C(1) << 61) - 1)
#define POINT UINT64_C(0x12b9b0a7d3f1c65d) /* below PRIME */

static uint64_t multiply(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    uint64_t sum = (uint64_t)(product & PRIME) + (uint64_t)(product >> 61);

    return sum >= PRIME ? sum - PRIME : sum;
}

static uint64_t power(uint32_t exponent)
{
    uint64_t result = 1, square = POINT;

    for (; exponent; exponent >>= 1, square = multiply(square, square))
        if (exponent & 1)
            result = multiply(result, square);
    return result;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum = a + b;

    return sum >= PRIME ? sum - PRIME : sum;
}

size_t value_print(int64_t number, char out[20])
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char digits[20];
    size_t n = 0, len = 0;

    do
        digits[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        out[len++] = '-';
    while (n)
        out[len++] = digits[--n];
    return len;
}

/* Whether bytes are a number in the only form that INCR takes. */
static bool read_number(const char *bytes, size_t len, int64_t *ret)
{
    char again[20];
    uint64_t n = 0;
    bool negative = len && bytes[0] == '-';

    if (len == 0 || len > 20)
        return false;
    for (size_t i = negative; i < len; i++)
        if (bytes[i] < '0' || bytes[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(bytes[i] - '0'), &n))
            return false;
    *ret = (int64_t)(negative ? -n : n);
    return value_print(*ret, again) == len && memcmp(again, bytes, len) == 0;
}

value value_of(const char *bytes, size_t len)
{
    value v = { .len = (uint32_t)len };

    for (size_t i = 0; i < len; i++)
        v.hash = add(multiply(v.hash, POINT), (uint64_t)(unsigned char)bytes[i] + 1);
    v.is_number = read_number(bytes, len, &v.number);
    if (!v.is_number)
        v.number = 0;
    return v;
}

value value_of_number(int64_t number)
{
    char text[20];
    size_t len = value_print(number, text);
    value v = { .len = (uint32_t)len, .number = number, .is_number = true };

    for (size_t i = 0; i < len; i++)
        v.hash = add(multiply(v.hash, POINT), (uint64_t)(unsigned char)text[i] + 1);
    return v;
}

/* Numbers that are joined ("1" and "2") may make a number; the models need that only where it is read back, so
 * the sum is built from the digits of both. */
static bool join_numbers(value first, value second, int64_t *ret)
{
    char text[40];
    size_t len = 0;

    if (first.len == 0 || second.len == 0 || !first.is_number || first.len + second.len > 20)
        return false;
    len += value_print(first.number, text);
    if (!second.is_number || second.number < 0)
        return false; /* "-5" after a digit; digits with zeros in front are no number of their own */
    len += value_print(second.number, text + len);
    return read_number(text, len, ret);
}

value value_joined(value first, value second)
{
    value v = { .len = first.len + second.len };

    v.hash = add(multiply(first.hash, power(second.len)), second.hash);
    if (first.len == 0 || second.len == 0) {
        v.number = first.len ? first.number : second.number;
        v.is_number = first.len ? first.is_number : second.is_number;
    } else {
        v.is_number = join_numbers(first, second, &v.number);
        if (!v.is_number)
            v.number = 0;
    }
    return v;
}
