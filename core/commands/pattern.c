/* pattern.c - see pattern.h.
 *
 * Two positions walk side by side. At a '*' both are remembered and the star takes nothing; on a mismatch the
 * last star takes one byte more and the walk resumes behind it. An earlier star never needs to be tried
 * again: whatever it could take more, the later one can take too. So there is no recursion, and the worst
 * case is the product of the lengths, which a limit cuts off: a step is a byte of the pattern read. Redis recurses, and gives up after 1000 stars: so do we, since what a
 * pattern matches is not a matter of the server.
 *
 * SPDX-License-Identifier: MIT */
#include "pattern.h"

static unsigned char fold(char c, bool ignore_case)
{
    return (unsigned char)(ignore_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Reads the byte that stands at p inside brackets, an escape resolved, and steps over it. */
static unsigned char class_byte(const char **p, const char *end, bool ignore_case)
{
    if (**p == '\\' && end - *p >= 2)
        ++*p;
    return fold(*(*p)++, ignore_case);
}

/* Whether c is in the bracket that opens at *p; steps behind the bracket. */
static bool class_match(const char **p, const char *end, unsigned char c, bool ignore_case)
{
    bool negated, found = false;

    ++*p;
    negated = *p < end && **p == '^';
    *p += negated;
    while (*p < end && **p != ']') {
        bool escaped = **p == '\\' && end - *p >= 2;
        unsigned char low = class_byte(p, end, ignore_case), high = low;

        if (!escaped && end - *p >= 2 && **p == '-') {
            ++*p;
            high = fold(*(*p)++, ignore_case);
        }
        if (low > high) {
            unsigned char swap = low;

            low = high;
            high = swap;
        }
        found |= c >= low && c <= high;
    }
    *p += *p < end; /* the ']' */
    return found != negated;
}

/* Whether the element at *p, which is no '*', matches c; steps behind it. */
static bool element_match(const char **p, const char *end, char c, bool ignore_case)
{
    switch (**p) {
    case '?':
        ++*p;
        return true;
    case '[':
        return class_match(p, end, fold(c, ignore_case), ignore_case);
    default:
        return class_byte(p, end, ignore_case) == fold(c, ignore_case);
    }
}

bool pattern_match_counting(kv_slice pattern, kv_slice text, bool ignore_case, uint64_t *steps)
{
    const char *p = pattern.data, *p_end = p + pattern.len;
    const char *t = text.data, *t_end = t + text.len;
    const char *star = NULL,
               *star_text = NULL; /* behind the last '*', and where its text begins to be free */
    int stars = 0;                /* each is met once; neighbours are one */
    uint64_t most = *steps + PATTERN_STEPS_MAX;

    for (++*steps; t < t_end && *steps < most; ++*steps) {
        const char *before = p;

        if (p < p_end && *p == '*') {
            while (p < p_end && *p == '*')
                p++;
            if (p == p_end)
                return true;
            if (++stars > PATTERN_STARS_MAX)
                return false;
            star = p;
            star_text = t;
        } else if (p < p_end && element_match(&p, p_end, *t, ignore_case)) {
            t++;
            *steps += (uint64_t)(p - before);
        } else if (star) {
            *steps += (uint64_t)(p - before);
            p = star;
            t = ++star_text;
        } else {
            *steps += (uint64_t)(p - before);
            return false;
        }
    }
    if (t < t_end)
        return false;
    while (p < p_end && *p == '*')
        p++;
    return p == p_end;
}
