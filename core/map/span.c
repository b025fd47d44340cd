/* span.c - a best-fit allocator of cache lines, for the segments of the index.
 *
 * Segments come in half a dozen sizes between two and six kilobytes, and a growing map moves them all from
 * one size to the next at about the same time. Pages of one size each would stay half empty meanwhile, so
 * here sizes share a chunk and free neighbours melt into one:
 *
 *     chunk   [ header: map of boundaries ][ span ][ free ......... ][ span ][ span ][ free ]
 *     free    first line: links, length       last line: length
 *
 * The map has a bit for each line that begins or ends a free run. Freeing looks at the bits of the line
 * before and of the line behind, and at the lengths written there: boundary tags (Knuth, 1.2.5 of volume 1), but kept
 * out of the spans that are in use, so a span is nothing but lines. Free runs hang on a list per length; the
 * shortest that fits is taken, the rest becomes a run again. An empty chunk goes back.
 *
 * While segments of 90 lines give way to segments of 60, or the other way round, rests of 30 lines are left, of no use to
 * anybody before a neighbour is freed. So there is a second map, of where spans begin: from it the lengths of both neighbours
 * can be told, and the rest is left beside the one that will leave sooner (rest_first). At ten million entries 2 % of
 * the index is such rests; left always behind the span, they were 7 %.
 *
 * One lock; a call costs some dozens of nanoseconds and stands for hundreds of inserts.
 * SPDX-License-Identifier: MIT */
#include "span.h"

#include <assert.h>

#include "chunk.h"
#include "domain_private.h"

#define PURGE_LINES 1024u          /* a free run of 64 KiB */
#define BINS        (SPAN_MAX + 1) /* a run of more lines than SPAN_MAX is in bin SPAN_MAX */

typedef struct run {
    struct run *next, **link;
    size_t lines;
} run;

typedef struct span_chunk {
    struct span_chunk *next, **link; /* all chunks */
    size_t lines, first_line;        /* the first one after this header */
    uint64_t boundary[];             /* a bit per line: a free run begins or ends there; then begins_of */
} span_chunk;

struct spans {
    run *bins[BINS];
    uint64_t filled[(BINS + 63) / 64]; /* bins that are not empty */
    span_chunk *chunks, *small;
    size_t chunk_count, empty_count;
    size_t chunk_bytes; /* of all but the first */
};

static void *line_at(span_chunk *c, size_t line)
{
    return (char *)c + line * SPAN_LINE;
}

static size_t bin_of(size_t lines)
{
    return lines < SPAN_MAX ? lines : SPAN_MAX;
}

/* A bit per line: a span in use begins there. */
static uint64_t *begins_of(span_chunk *c)
{
    return c->boundary + c->lines / 64;
}

static void begins_flip(span_chunk *c, size_t line)
{
    begins_of(c)[line / 64] ^= (uint64_t)1 << (line & 63);
}

static bool boundary(const span_chunk *c, size_t line)
{
    return line < c->lines && (c->boundary[line / 64] >> (line & 63) & 1);
}

static void boundary_set(span_chunk *c, size_t line, bool on)
{
    uint64_t bit = (uint64_t)1 << (line & 63);

    c->boundary[line / 64] = on ? c->boundary[line / 64] | bit : c->boundary[line / 64] & ~bit;
}

/* The length of a run stands in its first line and at the end of its last. */
static size_t *tail_of(span_chunk *c, size_t last_line)
{
    return (size_t *)((char *)line_at(c, last_line) + SPAN_LINE - sizeof(size_t));
}

static void run_add(struct spans *spans, span_chunk *c, size_t line, size_t lines)
{
    run *r = line_at(c, line);
    size_t bin = bin_of(lines);

    KV_UNPOISON(r, SPAN_LINE);
    KV_UNPOISON(tail_of(c, line + lines - 1), sizeof(size_t));
    r->lines = lines;
    *tail_of(c, line + lines - 1) = lines;
    boundary_set(c, line, true);
    boundary_set(c, line + lines - 1, true);
    r->next = spans->bins[bin];
    if (r->next)
        r->next->link = &r->next;
    r->link = &spans->bins[bin];
    spans->bins[bin] = r;
    spans->filled[bin / 64] |= (uint64_t)1 << (bin & 63);
}

static void run_remove(struct spans *spans, span_chunk *c, size_t line)
{
    run *r = line_at(c, line);
    size_t bin = bin_of(r->lines);

    boundary_set(c, line, false);
    boundary_set(c, line + r->lines - 1, false);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    if (!spans->bins[bin])
        spans->filled[bin / 64] &= ~((uint64_t)1 << (bin & 63));
}

/* ---- chunks ---- */

static span_chunk *chunk_of(const struct spans *spans, const void *p)
{
    if ((uintptr_t)p - (uintptr_t)spans->small < CHUNK_SMALL)
        return spans->small;
    return (span_chunk *)((uintptr_t)p & ~(spans->chunk_bytes - 1));
}

static size_t chunk_size(const struct spans *spans, const span_chunk *c)
{
    return c == spans->small ? CHUNK_SMALL : spans->chunk_bytes;
}

static bool chunk_add(kv_domain *domain, struct spans *spans)
{
    size_t size = spans->small ? spans->chunk_bytes : CHUNK_SMALL, lines = size / SPAN_LINE;
    span_chunk *c = chunk_acquire(domain, size);

    if (!c)
        return false;
    c->lines = lines;
    c->first_line = (sizeof *c + lines / 4 + SPAN_LINE - 1) / SPAN_LINE;
    memset(c->boundary, 0, lines / 4);
    if (size == CHUNK_SMALL)
        spans->small = c;
    c->next = spans->chunks;
    if (c->next)
        c->next->link = &c->next;
    c->link = &spans->chunks;
    spans->chunks = c;
    spans->chunk_count++;
    spans->empty_count++;
    KV_POISON(line_at(c, c->first_line), (lines - c->first_line) * SPAN_LINE);
    run_add(spans, c, c->first_line, lines - c->first_line);
    return true;
}

static void chunk_drop(kv_domain *domain, struct spans *spans, span_chunk *c)
{
    size_t size = chunk_size(spans, c);

    run_remove(spans, c, c->first_line);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    if (c == spans->small)
        spans->small = NULL;
    spans->chunk_count--;
    spans->empty_count--;
    chunk_release(domain, c, size);
}

static bool chunk_is_empty(const span_chunk *c, size_t line, size_t lines)
{
    return line == c->first_line && lines == c->lines - c->first_line;
}

/* ---- spans ---- */

/* The shortest free run of at least that many lines. */
static run *best_fit(struct spans *spans, size_t lines)
{
    for (size_t word = lines / 64; word < sizeof spans->filled / sizeof spans->filled[0]; word++) {
        uint64_t filled = spans->filled[word];

        if (word == lines / 64)
            filled &= ~(uint64_t)0 << (lines & 63);
        if (filled)
            return spans->bins[word * 64 + (size_t)__builtin_ctzll(filled)];
    }
    return NULL;
}

static struct spans *spans_of(kv_domain *domain)
{
    if (!domain->spans) {
        domain->spans = domain_alloc(domain, sizeof *domain->spans, 8);
        if (domain->spans)
            *domain->spans = (struct spans){ .chunk_bytes = domain->chunk_bytes };
    }
    return domain->spans;
}

/* The length of the span that ends before a line, which is not the first one. */
static size_t length_before(span_chunk *c, size_t line)
{
    const uint64_t *begins = begins_of(c);
    size_t word = (line - 1) / 64;
    uint64_t bits = begins[word] & ~(uint64_t)0 >> (63 - ((line - 1) & 63));

    while (!bits)
        bits = begins[--word];
    return line - (word * 64 + 63 - (size_t)__builtin_clzll(bits));
}

/* The length of the span that begins at a line. */
static size_t length_from(span_chunk *c, size_t line)
{
    const uint64_t *begins = begins_of(c);
    size_t end = line + 1;

    while (end < c->lines) {
        uint64_t bits = (begins[end / 64] | c->boundary[end / 64]) >> (end & 63);

        if (bits)
            return end + (size_t)__builtin_ctzll(bits) - line;
        end = (end | 63) + 1;
    }
    return c->lines - line;
}

/* Whether the rest of a run is left before the span rather than behind it. A rest that is too short to be another such span
 * goes beside a neighbour that will leave soon: one of another length, since sizes give way to each other. Where both sides are
 * alike, to the one on which a neighbour of the run's length, divided in the same way, leaves its own. */
static bool rest_first(span_chunk *c, size_t line, size_t lines, size_t rest)
{
    size_t end = line + lines + rest;

    if (rest == 0 || rest >= lines)
        return false;
    bool before_stays = line == c->first_line || length_before(c, line) == lines;
    bool behind_stays = end == c->lines || length_from(c, end) == lines;

    return before_stays != behind_stays ? behind_stays : (line - c->first_line) / rest & 1;
}

void *span_alloc(kv_domain *domain, size_t lines)
{
    void *span = NULL;

    assert(lines >= 2 && lines <= SPAN_MAX);
    lock_acquire(&domain->span_lock);
    struct spans *spans = spans_of(domain);
    run *r = spans ? best_fit(spans, lines) : NULL;

    if (!r && spans && chunk_add(domain, spans))
        r = best_fit(spans, lines);
    if (!r)
        goto out;
    span_chunk *c = chunk_of(spans, r);
    size_t line = (size_t)((char *)r - (char *)c) / SPAN_LINE, rest = r->lines - lines;

    if (chunk_is_empty(c, line, r->lines))
        spans->empty_count--;
    run_remove(spans, c, line);
    if (rest_first(c, line, lines, rest)) {
        run_add(spans, c, line, rest);
        line += rest;
    } else if (rest) {
        run_add(spans, c, line + lines, rest);
    }
    begins_flip(c, line);
    span = line_at(c, line);
    KV_UNPOISON(span, lines * SPAN_LINE);
out:
    lock_release(&domain->span_lock);
    return span;
}

/* Lets the kernel have what is between the ends of a run that has become long by the melting of runs of at most longest
 * lines: each time that it passes a multiple of PURGE_LINES, so that not every free pays for it. */
static void purge(kv_domain *domain, const struct spans *spans, span_chunk *c, size_t line, size_t lines,
                  size_t longest)
{
    if (c != spans->small && lines / PURGE_LINES > longest / PURGE_LINES)
        chunk_purge(domain, line_at(c, line + 1), (lines - 2) * SPAN_LINE);
}

void span_free(kv_domain *domain, void *span, size_t lines)
{
    lock_acquire(&domain->span_lock);
    struct spans *spans = domain->spans;
    span_chunk *c = chunk_of(spans, span);
    size_t line = (size_t)((char *)span - (char *)c) / SPAN_LINE, longest = 0;

    KV_POISON(span, lines * SPAN_LINE);
    begins_flip(c, line);
    if (boundary(c, line + lines)) {
        size_t behind = ((run *)line_at(c, line + lines))->lines;

        run_remove(spans, c, line + lines);
        lines += behind;
        longest = behind;
    }
    if (line > c->first_line && boundary(c, line - 1)) {
        size_t before = *tail_of(c, line - 1);

        run_remove(spans, c, line - before);
        line -= before;
        lines += before;
        longest = before > longest ? before : longest;
    }
    run_add(spans, c, line, lines);
    purge(domain, spans, c, line, lines, longest);
    if (chunk_is_empty(c, line, lines)) {
        spans->empty_count++;
        if (spans->empty_count > (spans->chunk_count > SPARE_CHUNK_FROM ? 1 : 0))
            chunk_drop(domain, spans, c);
    }
    lock_release(&domain->span_lock);
}

void span_trim(kv_domain *domain)
{
    lock_acquire(&domain->span_lock);
    struct spans *spans = domain->spans;

    for (span_chunk *c = spans ? spans->chunks : NULL, *next; c; c = next) {
        next = c->next;
        if (boundary(c, c->first_line) &&
            chunk_is_empty(c, c->first_line, ((run *)line_at(c, c->first_line))->lines))
            chunk_drop(domain, spans, c);
    }
    lock_release(&domain->span_lock);
}

void span_done(kv_domain *domain)
{
    struct spans *spans = domain->spans;

    if (!spans)
        return;
    while (spans->chunks) {
        span_chunk *c = spans->chunks;

        spans->chunks = c->next;
        chunk_release(domain, c, chunk_size(spans, c));
    }
    domain_free(domain, spans, sizeof *spans);
    domain->spans = NULL;
}
