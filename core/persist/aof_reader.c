/* aof_reader.c - see aof_reader.h.
 *
 * The problem: to tell what a crash leaves at the end of a file, which may be cut off, from damage, which must not be served and
 * must not be cut off either, since whole records follow.
 *
 *     opening | header batch | header batch | ??????????????????
 *                                            offset
 *
 * A batch is believed when its header is undamaged, is of this file, has the next sequence, and its bytes agree with the crc. At
 * the first that is not, the rest of the file is searched for headers which are undamaged and of this file. Are there none, the
 * end is torn. Is there one, batches were written and read as whole once that are not any more: damage; unless
 *
 *   1. no header says that the bad batch was on disk when it was written, and
 *   2. the bad part has zeros, or filler (aof_filler.h), up to the end of a page.
 *
 * Then it is what a power cut leaves: of writes that were not yet synced, the pages reach the disk in any order, and those that
 * did not are read as zeros, or as what was there before. Nothing from there on was promised to anybody, and the end is torn, too.
 *
 * Filler up to the end of the file is where nothing was written yet. What redis-server has appended stands behind it.
 *
 * Lines with a sequence that is not the next one are damage in any case: something is missing before them.
 *
 * Commands without batches are only checked for their form. A file of ours may end with some: redis-server appends to the last file
 * of a log that it has loaded, and begins with SELECT. They go up to its end: a header behind them is damage.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_filler.h"
#include "crc32c.h"

#define READ_BYTES (1024u * 1024)
#define UNIT_BYTES (1024u * 1024) /* of commands without batches: about so many at once */
#define PAGE_BYTES 4096u          /* that a file system writes at least */
#define HOLE_BYTES 16u            /* fewer zeros, within a batch, may be a value's own */

/* ---- the window ---- */

static kv_slice window(const aof_reader *r)
{
    return kv_slice_of(r->data + r->start, r->len);
}

__attribute__((format(printf, 3, 4))) static aof_found ends(aof_reader *r, aof_found how, const char *format,
                                                            ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
    return how;
}

static bool grow(aof_reader *r, size_t want)
{
    size_t capacity = want + READ_BYTES;
    char *data;

    if (r->start + want <= r->capacity)
        return true;
    if (r->len)
        memmove(r->data, r->data + r->start, r->len);
    r->start = 0;
    if (want <= r->capacity)
        return true;
    data = realloc(r->data, capacity);
    if (!data)
        return false;
    r->data = data;
    r->capacity = capacity;
    return true;
}

/* Makes the window n bytes long, or as long as the file allows. False: AOF_FAILED. */
static bool fill(aof_reader *r, size_t n)
{
    while (r->len < n) {
        /* Room for what has arrived as much again, so that a length that is only announced costs nothing. */
        size_t want = n - r->len > r->len + READ_BYTES ? 2 * r->len + READ_BYTES : n;
        ssize_t got;

        if (!grow(r, want)) {
            ends(r, AOF_FAILED, "memory is out for %zu bytes", want);
            return false;
        }
        got = read(r->fd, r->data + r->start + r->len, r->capacity - r->start - r->len);
        if (got < 0 && errno != EINTR) {
            ends(r, AOF_FAILED, "it cannot be read: %s", strerror(errno));
            return false;
        }
        if (got == 0)
            break;
        if (got > 0)
            r->len += (size_t)got;
    }
    return true;
}

static void skip(aof_reader *r, size_t n)
{
    r->start += n;
    r->len -= n;
    r->offset += n;
}

static bool begins_with(kv_slice bytes, const char *text)
{
    size_t len = strlen(text);

    return bytes.len >= len && memcmp(bytes.data, text, len) == 0;
}

/* ---- what follows something that is wrong ---- */

/* What was found behind a bad batch. */
typedef struct search {
    aof_header first; /* the first header behind it */
    uint64_t at;      /* and where */
    bool found;
    bool was_durable;       /* one of them says that the bad batch was on disk */
    uint64_t begun;         /* where the bad batch does */
    uint64_t zeros, filler; /* how many of these precede where the search is */
    bool hole;              /* either up to the end of a page, before the first header */
} search;

/* Looks in the window from byte *from on for a header that could be the next one or a later one; *from moves to where to go
 * on with a longer window. */
static bool find_header(const aof_reader *r, size_t *from, aof_header *ret_header)
{
    kv_slice w = window(r);

    while (w.len >= *from + AOF_HEADER_BYTES) {
        const char *at = memchr(w.data + *from, '#', w.len - *from - AOF_HEADER_BYTES + 1);

        if (!at) {
            *from = w.len - AOF_HEADER_BYTES + 1;
            return false;
        }
        *from = (size_t)(at - w.data);
        if (aof_header_read(at, r->opening.id, ret_header) && ret_header->sequence >= r->next)
            return true;
        ++*from;
    }
    return false;
}

static void note_header(const aof_reader *r, search *s, const aof_header *header, size_t from)
{
    if (!s->found) {
        s->first = *header;
        s->at = r->offset + from;
    }
    s->found = true;
    s->was_durable |= header->unsynced < UINT32_MAX && header->sequence - header->unsynced > r->next;
}

/* Whether so many bytes that are alike, up to `end`, are what was never written. */
static bool is_hole(const search *s, uint64_t alike, uint64_t end)
{
    return alike >= HOLE_BYTES || (alike && alike == end - s->begun);
}

/* Looks for zeros and filler among the first n bytes of the window. */
static void find_hole(const aof_reader *r, search *s, size_t n)
{
    const char *bytes = window(r).data;

    for (size_t i = 0; i < n && !(s->found && r->offset + i == s->at); i++) {
        uint64_t at = r->offset + i;

        s->zeros = bytes[i] ? 0 : s->zeros + 1;
        s->filler = bytes[i] == aof_filler_at(at) || (at == s->begun && bytes[i] == '#') ? s->filler + 1 : 0;
        s->hole |=
            (at + 1) % PAGE_BYTES == 0 && (is_hole(s, s->zeros, at + 1) || is_hole(s, s->filler, at + 1));
    }
}

/* Searches the rest of the file. False: AOF_FAILED. */
static bool search_rest(aof_reader *r, search *s)
{
    size_t from = 1;
    aof_header header;
    bool more;

    do {
        size_t before = r->len;
        bool hole_known = s->found;

        if (!fill(r, r->len + READ_BYTES))
            return false;
        more = r->len > before;
        for (; find_header(r, &from, &header); from++)
            note_header(r, s, &header, from);
        if (!hole_known)
            find_hole(r, s, from);
        skip(r, from);
        from = 0;
    } while (more && !s->was_durable);
    if (!s->found) /* too short for a header */
        find_hole(r, s, r->len);
    return true;
}

/* The batch at offset is bad. Is it the end, as far as anything was on disk? */
static aof_found judge(aof_reader *r, const char *what)
{
    uint64_t offset = r->offset;
    search s = { .begun = offset };
    bool searched = search_rest(r, &s);

    r->offset = offset;
    if (!searched)
        return AOF_FAILED;
    if (!s.found) {
        r->filler = s.filler;
        return ends(r, AOF_TORN, "%s", what);
    }
    if (s.hole && !s.was_durable)
        return ends(r, AOF_TORN,
                    "%s, in a page of which the end was not written; batch %" PRIu64 " at byte %" PRIu64
                    " is dropped, too",
                    what, s.first.sequence, s.at);
    return ends(r, AOF_DAMAGED, "%s, and batch %" PRIu64 " follows at byte %" PRIu64, what, s.first.sequence,
                s.at);
}

/* ---- filler ---- */

static bool seek(aof_reader *r, uint64_t offset)
{
    r->start = r->len = 0;
    r->offset = offset;
    if (lseek(r->fd, (off_t)offset, SEEK_SET) >= 0)
        return true;
    ends(r, AOF_FAILED, "it cannot be read: %s", strerror(errno));
    return false;
}

static bool begins_plain(const aof_reader *r)
{
    return begins_with(window(r), "*") || begins_with(window(r), "#TS:");
}

/* A batch could stand here. AOF_UNIT: read on here, which is behind the filler if there was some and commands follow. */
static aof_found pass_filler(aof_reader *r)
{
    uint64_t begun = r->offset;
    size_t n;

    do {
        if (!fill(r, READ_BYTES))
            return AOF_FAILED;
        n = aof_filler_span(window(r), r->offset, r->offset == begun);
        skip(r, n);
    } while (n && r->len == 0);
    if (r->offset == begun || begins_plain(r))
        return AOF_UNIT;
    if (r->len)
        return seek(r, begun) ? AOF_UNIT : AOF_FAILED;
    r->filler = r->offset - begun;
    r->offset = begun;
    return AOF_END;
}

/* ---- batches ---- */

static aof_found judge_batch(aof_reader *r, const char *what)
{
    char text[128];

    snprintf(text, sizeof text, "batch %" PRIu64 " %s", r->next, what);
    return judge(r, text);
}

static aof_found take_batch(aof_reader *r, aof_unit *ret_unit)
{
    aof_header header;
    kv_slice w;

    if (!fill(r, AOF_HEADER_BYTES))
        return AOF_FAILED;
    w = window(r);
    if (w.len == 0)
        return AOF_END;
    if (w.len < AOF_HEADER_BYTES)
        return judge_batch(r, "is cut short");
    if (!aof_header_read(w.data, r->opening.id, &header))
        return judge_batch(r, "has no valid header");
    if (header.sequence != r->next)
        return ends(r, AOF_DAMAGED, "batch %" PRIu64 " is expected and batch %" PRIu64 " is there", r->next,
                    header.sequence);
    if (header.length <= r->size && !fill(r, AOF_HEADER_BYTES + (size_t)header.length))
        return AOF_FAILED;
    w = window(r);
    if (w.len - AOF_HEADER_BYTES < header.length)
        return judge_batch(r, "is cut short");
    if (crc32c(0, w.data + AOF_HEADER_BYTES, (size_t)header.length) != header.crc)
        return judge_batch(r, "does not agree with its checksum");
    *ret_unit = (aof_unit){ .bytes = kv_slice_of(w.data + AOF_HEADER_BYTES, (size_t)header.length),
                            .offset = r->offset + AOF_HEADER_BYTES,
                            .sequence = header.sequence };
    skip(r, AOF_HEADER_BYTES + (size_t)header.length);
    r->next++;
    return AOF_UNIT;
}

/* ---- commands without batches ---- */

/* Whether there is nothing but zeros from here to the end: a file that had grown before its bytes were written. */
static bool only_zeros(aof_reader *r)
{
    uint64_t offset = r->offset;
    bool zeros = true;

    while (zeros && fill(r, READ_BYTES) && r->len > 0) {
        kv_slice w = window(r);

        for (size_t i = 0; i < w.len && zeros; i++)
            zeros = w.data[i] == 0;
        if (zeros)
            skip(r, w.len);
    }
    r->offset = offset;
    return zeros;
}

static bool is_command(const aof_command *command, const char *lower, int argc)
{
    kv_slice name = command->argv[0];
    size_t len = strlen(lower);

    if (command->argc != argc || name.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((name.data[i] | 0x20) != lower[i])
            return false;
    return true;
}

typedef struct plain_scan {
    size_t whole; /* bytes of commands and acts that are whole */
    size_t at;    /* what was looked at */
    bool in_act;
    bool marked;    /* a line of ours stands at `at` */
    aof_parse last; /* why the scan ended */
} plain_scan;

/* Goes over the commands in the window. first: they begin with a SELECT, or are none. */
static plain_scan scan_plain(const aof_reader *r, aof_command *command, bool first)
{
    plain_scan scan = { .last = AOF_WHOLE };
    kv_slice w = window(r);

    while (scan.last == AOF_WHOLE && scan.whole < UNIT_BYTES) {
        kv_slice rest = kv_slice_of(w.data + scan.at, w.len - scan.at);
        size_t used;

        scan.marked = begins_with(rest, "#KV");
        scan.last = scan.marked ? AOF_MALFORMED : aof_command_parse(command, rest, &used);
        if (scan.last == AOF_WHOLE && first && scan.at == 0 && !is_command(command, "select", 2))
            scan.last = AOF_MALFORMED;
        if (scan.last != AOF_WHOLE)
            break;
        scan.at += used;
        if (is_command(command, "multi", 1))
            scan.in_act = true;
        else if (is_command(command, "exec", 1))
            scan.in_act = false;
        if (!scan.in_act)
            scan.whole = scan.at;
    }
    return scan;
}

static aof_found give_plain(aof_reader *r, size_t len, aof_unit *ret_unit)
{
    *ret_unit = (aof_unit){ .bytes = kv_slice_of(r->data + r->start, len), .offset = r->offset };
    skip(r, len);
    return AOF_UNIT;
}

/* Whether there is nothing but lines that are skipped. */
static bool only_remarks(kv_slice rest)
{
    while (rest.len && rest.data[0] == '#' && !begins_with(rest, "#KV")) {
        const char *end = memchr(rest.data, '\n', rest.len);

        if (!end)
            return false;
        rest.len -= (size_t)(end + 1 - rest.data);
        rest.data = end + 1;
    }
    return rest.len == 0;
}

static aof_found end_short(aof_reader *r, const plain_scan *scan)
{
    const char *what = scan->in_act ? "a transaction has no end" : "a command is cut short";

    if (!scan->in_act && only_remarks(window(r))) {
        skip(r, r->len);
        return AOF_END;
    }
    return r->ours ? judge(r, what) : ends(r, AOF_TORN, "%s", what);
}

static aof_found end_plain(aof_reader *r, const plain_scan *scan, bool first)
{
    if (scan->last == AOF_NOMEM)
        return ends(r, AOF_FAILED, "memory is out");
    if (scan->last == AOF_SHORT)
        return end_short(r, scan);
    if (scan->marked)
        return ends(r, AOF_DAMAGED, "a batch follows commands that are in none");
    if (!scan->in_act && only_zeros(r))
        return ends(r, AOF_TORN, "there are only zeros");
    if (first)
        return judge_batch(r, "has no valid header");
    r->offset += scan->at;
    return ends(r, AOF_DAMAGED, "what stands there is no command");
}

/* first: directly behind the batches of a file of ours. */
static aof_found take_plain(aof_reader *r, aof_unit *ret_unit, bool first)
{
    aof_command command = { 0 };
    aof_found found = AOF_END;

    for (;;) {
        plain_scan scan = scan_plain(r, &command, first);
        size_t before = r->len;

        if (scan.whole) {
            found = give_plain(r, scan.whole, ret_unit);
            break;
        }
        if (scan.last == AOF_SHORT && !fill(r, 2 * r->len + READ_BYTES)) {
            found = AOF_FAILED;
            break;
        }
        if (scan.last == AOF_SHORT && r->len > before)
            continue;
        if (r->len > 0)
            found = end_plain(r, &scan, first);
        break;
    }
    aof_command_done(&command);
    return found;
}

/* ---- the file ---- */

/* Whether what is there is the beginning of the opening that is expected. */
static bool opening_is_torn(const aof_reader *r)
{
    char line[AOF_OPENING_BYTES];

    if (!r->expects || r->len >= AOF_OPENING_BYTES)
        return false;
    aof_opening_write(line, &r->opening);
    return r->len == 0 || memcmp(line, window(r).data, r->len) == 0;
}

/* The first bytes: whose file it is. AOF_UNIT: go on. */
static aof_found take_opening(aof_reader *r)
{
    aof_opening found;
    kv_slice w;

    if (!fill(r, AOF_OPENING_BYTES))
        return AOF_FAILED;
    w = window(r);
    if (opening_is_torn(r))
        return ends(r, AOF_TORN, "the opening line is cut short");
    if (!r->expects && !begins_with(w, "#KV")) {
        r->plain = true;
        return AOF_UNIT;
    }
    if (w.len < AOF_OPENING_BYTES || !aof_opening_read(w.data, &found))
        return ends(r, AOF_DAMAGED, "the opening line is damaged");
    if (r->expects && (found.id != r->opening.id || found.first != r->opening.first))
        return ends(r, AOF_DAMAGED, "the opening line is that of another file");
    r->opening = found;
    r->ours = true;
    r->next = found.first;
    skip(r, AOF_OPENING_BYTES);
    return AOF_UNIT;
}

aof_found aof_reader_next(aof_reader *r, aof_unit *ret_unit)
{
    bool first = false;

    if (!r->begun) {
        aof_found found = take_opening(r);

        if (found != AOF_UNIT)
            return found;
        r->begun = true;
    }
    if (r->ours && !r->plain) {
        if (!fill(r, AOF_HEADER_BYTES))
            return AOF_FAILED;
        if (aof_filler_span(window(r), r->offset, true) > 1) { /* one may be the first of a batch */
            aof_found found = pass_filler(r);

            if (found != AOF_UNIT)
                return found;
        }
        first = begins_plain(r);
        if (!first)
            return take_batch(r, ret_unit);
    }
    aof_found found = take_plain(r, ret_unit, first);

    r->plain |= found == AOF_UNIT;
    return found;
}

int aof_reader_open(aof_reader *r, const char *path, uint64_t from, const aof_opening *opening)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

    *r = (aof_reader){ .fd = fd, .offset = from, .expects = opening != NULL };
    if (opening)
        r->opening = *opening;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) != 0 || lseek(fd, (off_t)from, SEEK_SET) < 0)
        err = -errno;
    else if (!S_ISREG(status.st_mode))
        err = -EINVAL;
    if (err)
        aof_reader_close(r);
    else
        r->size = (uint64_t)status.st_size;
    return err;
}

void aof_reader_close(aof_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->data);
    r->fd = -1;
    r->data = NULL;
}
