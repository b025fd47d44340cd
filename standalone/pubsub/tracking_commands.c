/* tracking_commands.c - CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "session.h"
#include "tracking.h"

#define PREFIXES_MAX 1024 /* of one client */

/* ---- CLIENT TRACKING ---- */

typedef struct wish {
    unsigned mode;
    uint64_t redirect;
    kv_slice prefixes[PREFIXES_MAX];
    size_t count;
} wish;

static bool refuse(kv_call *call, const char *text)
{
    call->reply->ops->error(call->reply, kv_str(text));
    return false;
}

static bool parse_redirect(kv_call *call, kv_slice value, wish *w)
{
    int64_t id;

    if (w->redirect)
        return refuse(call, "ERR A client can only redirect to a single other client");
    if (!kv_parse_int(value, &id)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return false;
    }
    if (id < 1 || !tracking_client_exists(session_server(call), (uint64_t)id))
        return refuse(call, "ERR The client ID you want redirect to does not exist");
    w->redirect = (uint64_t)id;
    return true;
}

static bool parse_prefix(kv_call *call, kv_slice value, wish *w)
{
    if (w->count == PREFIXES_MAX) {
        kv_reply_errorf(call->reply, "ERR too many prefixes: at most %d for a client", PREFIXES_MAX);
        return false;
    }
    w->prefixes[w->count++] = value;
    return true;
}

static bool parse_options(kv_call *call, wish *w)
{
    static const struct {
        const char *word;
        unsigned mode;
    } words[] = { { "bcast", TRACKING_BCAST },
                  { "optin", TRACKING_OPTIN },
                  { "optout", TRACKING_OPTOUT },
                  { "noloop", TRACKING_NOLOOP } };

    for (int i = 3; i < call->argc; i++) {
        bool more = i + 1 < call->argc, found = false;

        if (kv_word_is(call->argv[i], "redirect") && more) {
            if (!parse_redirect(call, call->argv[++i], w))
                return false;
            continue;
        }
        if (kv_word_is(call->argv[i], "prefix") && more) {
            if (!parse_prefix(call, call->argv[++i], w))
                return false;
            continue;
        }
        for (size_t j = 0; j < sizeof words / sizeof *words && !found; j++)
            if (kv_word_is(call->argv[i], words[j].word)) {
                w->mode |= words[j].mode;
                found = true;
            }
        if (!found) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return false;
        }
    }
    return true;
}

static bool overlap(kv_slice a, kv_slice b)
{
    return memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) == 0;
}

static bool refuse_overlap(kv_call *call, kv_slice a, kv_slice b, const char *which)
{
    kv_reply_errorf(
        call->reply,
        "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client must not overlap.",
        (int)(a.len > 128 ? 128 : a.len), a.data, which, (int)(b.len > 128 ? 128 : b.len), b.data);
    return false;
}

static bool check_overlaps(kv_call *call, const wish *w)
{
    const tracker *old = session_connection(call)->tracker;

    for (size_t i = 0; i < w->count; i++) {
        for (size_t j = 0; old && j < old->prefix_count; j++)
            if (overlap(w->prefixes[i], old->prefixes[j]))
                return refuse_overlap(call, w->prefixes[i], old->prefixes[j], "an existing");
        for (size_t j = i + 1; j < w->count; j++)
            if (overlap(w->prefixes[i], w->prefixes[j]))
                return refuse_overlap(call, w->prefixes[i], w->prefixes[j], "another provided");
    }
    return true;
}

static bool check_wish(kv_call *call, const wish *w)
{
    unsigned old = tracking_mode_of(session_connection(call)), both = TRACKING_OPTIN | TRACKING_OPTOUT;

    if (w->count && !(w->mode & TRACKING_BCAST))
        return refuse(call, "ERR PREFIX option requires BCAST mode to be enabled");
    if (old && ((old ^ w->mode) & TRACKING_BCAST))
        return refuse(call,
                      "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and "
                      "then re-enabling it with a different mode.");
    if ((w->mode & TRACKING_BCAST) && (w->mode & both))
        return refuse(call, "ERR OPTIN and OPTOUT are not compatible with BCAST");
    if ((w->mode & both) == both)
        return refuse(call, "ERR You can't specify both OPTIN mode and OPTOUT mode");
    if (((old | w->mode) & both) == both)
        return refuse(call,
                      "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
                      "then re-enabling it with a different mode.");
    return check_overlaps(call, w);
}

static bool turn_on(kv_call *call, wish *w)
{
    connection *c = session_connection(call);

    if (!check_wish(call, w))
        return false;
    if ((w->mode & TRACKING_BCAST) && w->count == 0 && !(c->tracker && c->tracker->prefix_count))
        w->prefixes[w->count++] = KV_STR(""); /* all keys */
    if (tracking_set(c, w->mode | TRACKING_ON, w->redirect, w->count, w->prefixes) == 0)
        return true;
    kv_reply_error(call->reply, KV_ENOMEM);
    return false;
}

/* CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP] */
void session_client_tracking(kv_call *call)
{
    wish *w = calloc(1, sizeof *w);

    if (!w) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    if (!parse_options(call, w))
        goto out;
    if (kv_word_is(call->argv[2], "on")) {
        if (turn_on(call, w)) {
            kv_reply_ok(call->reply);
            tracking_wait(session_connection(call));
        }
    } else if (kv_word_is(call->argv[2], "off")) {
        tracking_set(session_connection(call), 0, 0, 0, NULL);
        kv_reply_ok(call->reply);
    } else {
        kv_reply_error(call->reply, KV_ESYNTAX);
    }
out:
    free(w);
}

/* ---- CLIENT CACHING ---- */

/* CLIENT CACHING YES | NO */
void session_client_caching(kv_call *call)
{
    connection *c = session_connection(call);
    unsigned mode = tracking_mode_of(c);
    bool yes = kv_word_is(call->argv[2], "yes");

    if (!(mode & TRACKING_ON))
        refuse(
            call,
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT "
            "mode enabled");
    else if (!yes && !kv_word_is(call->argv[2], "no"))
        kv_reply_error(call->reply, KV_ESYNTAX);
    else if (yes && !(mode & TRACKING_OPTIN))
        refuse(call, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    else if (!yes && !(mode & TRACKING_OPTOUT))
        refuse(call, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    else {
        tracking_set_caching(c, true);
        kv_reply_ok(call->reply);
    }
}

/* ---- CLIENT GETREDIR, TRACKINGINFO ---- */

static int64_t redirect_of(const connection *c)
{
    return c->tracker ? (int64_t)c->tracker->redirect : -1;
}

/* CLIENT GETREDIR */
void session_client_getredir(kv_call *call)
{
    kv_reply_int(call->reply, redirect_of(session_connection(call)));
}

static void reply_flags(kv_reply *r, unsigned mode)
{
    const char *words[7];
    size_t count = 0;

    words[count++] = mode & TRACKING_ON ? "on" : "off";
    if (mode & TRACKING_BCAST)
        words[count++] = "bcast";
    if (mode & TRACKING_OPTIN)
        words[count++] = "optin";
    if ((mode & TRACKING_OPTIN) && (mode & TRACKING_CACHING))
        words[count++] = "caching-yes";
    if (mode & TRACKING_OPTOUT)
        words[count++] = "optout";
    if ((mode & TRACKING_OPTOUT) && (mode & TRACKING_CACHING))
        words[count++] = "caching-no";
    if (mode & TRACKING_NOLOOP)
        words[count++] = "noloop";
    if (mode & TRACKING_BROKEN)
        words[count++] = "broken_redirect";
    r->ops->set(r, count);
    for (size_t i = 0; i < count; i++)
        kv_reply_bulk(r, kv_str(words[i]));
}

/* CLIENT TRACKINGINFO */
void session_client_trackinginfo(kv_call *call)
{
    const connection *c = session_connection(call);
    size_t count = c->tracker ? c->tracker->prefix_count : 0;
    kv_reply *r = call->reply;

    r->ops->map(r, 3);
    kv_reply_bulk(r, KV_STR("flags"));
    reply_flags(r, tracking_mode_of(c));
    kv_reply_bulk(r, KV_STR("redirect"));
    kv_reply_int(r, redirect_of(c));
    kv_reply_bulk(r, KV_STR("prefixes"));
    kv_reply_array(r, count);
    for (size_t i = 0; i < count; i++)
        kv_reply_bulk(r, c->tracker->prefixes[i]);
}
