/* quantity.c - see quantity.h. SPDX-License-Identifier: MIT */
#include "quantity.h"

#include <math.h>
#include <stdlib.h>

int quantity_count(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0, unit = 1;
    size_t i = 0;

    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
            return -1;
    if (i == 0)
        return -1;
    if (i + 1 == len) {
        unit = text[i] == 'k' ? 1000 : text[i] == 'M' ? 1000000 : text[i] == 'G' ? 1000000000 : 0;
        i++;
    }
    if (i != len || unit == 0 || __builtin_mul_overflow(n, unit, &n) || n < min || n > max)
        return -1;
    *ret = n;
    return 0;
}

int quantity_seconds(const char *text, double max, double *ret)
{
    char *end;
    double s = strtod(text, &end);

    if (end == text || *end || !isfinite(s) || s <= 0 || s > max)
        return -1;
    *ret = s;
    return 0;
}
