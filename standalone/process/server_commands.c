/* server_commands.c - TIME SHUTDOWN LOLWUT SAVE BGSAVE LASTSAVE. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <time.h>

#include "persistence.h"
#include "session.h"

/* TIME */
void session_time(kv_call *call)
{
    struct timespec now;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    kv_reply_array(call->reply, 2);
    kv_reply_bulk(call->reply,
                  kv_slice_of(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)now.tv_sec)));
    kv_reply_bulk(call->reply,
                  kv_slice_of(text, (size_t)snprintf(text, sizeof text, "%ld", now.tv_nsec / 1000)));
}

/* SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]: success is a closed connection. */
void session_shutdown(kv_call *call)
{
    server *s = session_server(call);
    bool save = false, abort_ = false, now = false, nosave = false, force = false;

    for (int i = 1; i < call->argc; i++) {
        bool *word = kv_word_is(call->argv[i], "save")     ? &save
                     : kv_word_is(call->argv[i], "nosave") ? &nosave
                     : kv_word_is(call->argv[i], "abort")  ? &abort_
                     : kv_word_is(call->argv[i], "now")    ? &now
                     : kv_word_is(call->argv[i], "force")  ? &force
                                                           : NULL;

        if (!word) {
            kv_reply_error(call->reply, KV_ESYNTAX);
            return;
        }
        *word = true;
    }
    if ((save && nosave) || (abort_ && (save || nosave || now || force))) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    if (abort_) {
        if (shutdown_abort(s))
            kv_reply_ok(call->reply);
        else
            kv_reply_errorf(call->reply, "ERR No shutdown in progress.");
        return;
    }
    log_write(&s->log, CONFIG_LOG_WARNING, "User requested shutdown...");
    save = !persistence_is_loading(s->persistence) &&
           (save || (!nosave && persistence_has_points(s->persistence)));
    if (shutdown_begin(s, session_connection(call),
                       &(shutdown_how){ .save = save, .force = force, .now = now }) != 0)
        kv_reply_error(call->reply, KV_ENOMEM);
}

/* ---- snapshots ---- */

static void refuse_second(kv_call *call)
{
    kv_reply_errorf(call->reply, "ERR Background save already in progress");
}

/* SAVE */
void session_save(kv_call *call)
{
    if (persistence_save_for(session_server(call)->persistence, session_connection(call)) == PERSISTENCE_BUSY)
        refuse_second(call);
}

/* BGSAVE [SCHEDULE] */
void session_bgsave(kv_call *call)
{
    persistence *p = session_server(call)->persistence;
    bool schedule = call->argc > 1, in_exec = session_in_exec(call);
    enum persistence_answer answer;

    if (call->argc > 2 || (schedule && !kv_word_is(call->argv[1], "schedule"))) {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    answer = persistence_begin(p, schedule || in_exec);
    if (answer == PERSISTENCE_STARTED && !in_exec)
        call->reply->ops->simple(call->reply, KV_STR("Background saving started"));
    else if (answer != PERSISTENCE_BUSY)
        call->reply->ops->simple(call->reply, KV_STR("Background saving scheduled"));
    else if (persistence_is_saving(p))
        refuse_second(call);
    else
        kv_reply_errorf(call->reply,
                        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use "
                        "BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.");
}

/* LASTSAVE */
void session_lastsave(kv_call *call)
{
    persistence_figures figures;

    persistence_read_figures(session_server(call)->persistence, &figures);
    kv_reply_int(call->reply, figures.last_save_s);
}

/* A bucket of the map with its seven slots, some of them taken: each time another picture. */
static int draw_segment(char *text, size_t size, uint64_t random)
{
    size_t len = 0;

    for (int row = 0; row < 8; row++) {
        for (int slot = 0; slot < 7 && len + 8 < size;
             slot++, random = random * 6364136223846793005u + 1442695040888963407u)
            len += (size_t)snprintf(text + len, size - len, random >> 62 ? "[#]" : "[ ]");
        len += (size_t)snprintf(text + len, size - len, "\n");
    }
    return (int)len;
}

/* LOLWUT [VERSION version] */
void session_lolwut(kv_call *call)
{
    char text[512];
    int64_t version;
    int len;

    if (call->argc >= 3 && kv_word_is(call->argv[1], "version") && !kv_parse_int(call->argv[2], &version)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return;
    }
    len = draw_segment(text, sizeof text - 128, (*call->rng += 0x9e3779b97f4a7c15u));

    len +=
        snprintf(text + len, sizeof text - (size_t)len,
                 "\nEight buckets of a map. Redis ver. %s, kvserver " KV_VERSION "\n", SERVER_REDIS_VERSION);
    call->reply->ops->verbatim(call->reply, kv_slice_of(text, (size_t)len), "txt");
}
