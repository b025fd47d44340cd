/* scan.c - SPDX-License-Identifier: MIT */
#include "scan.h"

#include <stdio.h>

#include "interrupt.h"
#include "json.h"
#include "key_scan.h"
#include "stopwatch.h"

static exit_status ended(kvc_status status, const kvc_error *error)
{
    if (interrupt_happened())
        return EXIT_INTERRUPTED;
    return status == KVC_NIL ? EXIT_FINE : complain(exit_status_of(error), "%s", error->message);
}

static void print_key(const settings *s, kvc_slice key)
{
    text out = { 0 };

    switch (s->format.kind) {
    case FORMAT_RAW:
        text_add_slice(&out, key);
        break;
    case FORMAT_JSON:
    case FORMAT_JSON_ASCII:
        json_string(key, s->format.kind == FORMAT_JSON_ASCII, &out);
        break;
    case FORMAT_TERMINAL:
        if (s->format.utf8)
            text_quoted_utf8(&out, key);
        else
            text_quoted(&out, key);
        break;
    default:
        text_quoted(&out, key);
    }
    text_add_char(&out, '\n');
    fwrite(out.data, 1, out.len, stdout);
    text_done(&out);
}

static exit_status print_keys(conversation *c)
{
    kvc_status status;
    kvc_error error;
    key_scan scan;

    key_scan_begin(&scan, c);
    /* Where the keys scroll by, a line of progress would only disturb them. */
    scan.progress.shown = scan.progress.shown && !c->settings->stdout_is_terminal;
    while ((status = key_scan_next(&scan, &error)) == KVC_OK) {
        for (size_t i = 0; i < key_scan_count(&scan); i++)
            print_key(c->settings, key_scan_key(&scan, i));
        if (ferror(stdout))
            break;
    }
    key_scan_end(&scan);
    return status == KVC_OK ? EXIT_IO : ended(status, &error);
}

/* ---- --unlink ---- */

typedef struct unlinking {
    conversation *c;
    double matched, unlinked, began;
} unlinking;

/* One UNLINK for each key of the page, so that keys of a cluster's slots need not go together. */
static void make_unlink(void *arg, size_t i, words *command)
{
    words_add_str(command, "UNLINK");
    words_add(command, key_scan_key(arg, i));
}

typedef struct page {
    key_scan scan; /* first, for make_unlink */
    unlinking *u;
    char refusal[256];
} page;

static void take_unlink(void *arg, size_t i, const kvc_reply *reply)
{
    page *p = arg;

    (void)i;
    if (kvc_reply_type(reply) == KVC_TYPE_ERROR)
        snprintf(p->refusal, sizeof p->refusal, "UNLINK: %s", kvc_reply_text(reply).data);
    p->u->unlinked += (double)kvc_reply_int(reply);
}

/* Waits until the rate allows what was unlinked. */
static void keep_rate(const unlinking *u)
{
    double due = u->c->settings->rate ? u->unlinked / (double)u->c->settings->rate : 0;
    double ahead = due - (stopwatch_seconds() - u->began);

    if (ahead > 0)
        interrupt_sleep(ahead);
}

/* A page may be larger than the rate allows in a second: then -i and --count are the user's means. */
static kvc_status unlink_page(page *p, kvc_error *error)
{
    size_t n = key_scan_count(&p->scan);
    kvc_status status = KVC_OK;

    p->u->matched += (double)n;
    if (p->u->c->settings->dry_run) {
        for (size_t i = 0; i < n; i++)
            print_key(p->u->c->settings, key_scan_key(&p->scan, i));
        return KVC_OK;
    }
    if (n > 0)
        status = key_scan_pipeline(p->u->c, n, make_unlink, take_unlink, p, error);
    keep_rate(p->u);
    return status;
}

static exit_status unlink_keys(conversation *c)
{
    unlinking u = { .c = c, .began = stopwatch_seconds() };
    page p = { .u = &u };
    kvc_status status = KVC_OK;
    exit_status result;
    kvc_error error;

    key_scan_begin(&p.scan, c);
    while (status == KVC_OK && !*p.refusal && (status = key_scan_next(&p.scan, &error)) == KVC_OK)
        status = unlink_page(&p, &error);
    key_scan_end(&p.scan);
    if (*p.refusal)
        result = complain(EXIT_SERVER, "%s", p.refusal);
    else
        result = ended(status, &error);
    if (c->settings->dry_run)
        fprintf(stderr, "%.0f keys would be unlinked.\n", u.matched);
    else
        printf("%.0f keys unlinked.\n", u.unlinked);
    return result;
}

/* On a terminal nobody should lose all keys for a forgotten --pattern. */
static bool may_unlink(const settings *s)
{
    char answer[64];

    if (s->yes || s->dry_run || !s->stdin_is_terminal || !s->stdout_is_terminal)
        return true;
    printf("This unlinks every key that matches %s%s%s. Go on? [y/N] ", s->pattern ? s->pattern : "*",
           s->type ? " and is of type " : "", s->type ? s->type : "");
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

exit_status scan_run(conversation *c)
{
    if (!c->settings->unlink)
        return print_keys(c);
    return may_unlink(c->settings) ? unlink_keys(c) : EXIT_FINE;
}
