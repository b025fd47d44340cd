/* client_async.c - a thousand increments on the wing at once, on a libevent loop.
 *
 *     cc client_async.c $(pkg-config --cflags --libs kvclient libevent_core) -o client_async && ./client_async redis://127.0.0.1:6379
 *
 * SPDX-License-Identifier: MIT */
#include <kvclient.h>

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct tally {
    int answered, failed;
    int64_t highest;
} tally;

/* Called once for each command, from the loop. */
static void on_sum(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error, void *arg)
{
    tally *t = arg;

    (void)async;
    t->answered++;
    if (status != KVC_OK) {
        t->failed++;
        fprintf(stderr, "%s%s\n", error->message, error->sent ? " (it may have been executed)" : "");
    } else if (kvc_reply_int(reply) > t->highest) {
        t->highest = kvc_reply_int(reply);
    }
    kvc_reply_free(reply);
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    const kvc_slice del[] = { kvc_str("DEL"), kvc_str("sum") }, incr[] = { kvc_str("INCR"), kvc_str("sum") };
    struct event_base *base = event_base_new();
    tally t = { 0 };
    kvc_options options;
    kvc_async *async;
    kvc_error error;
    char *memory = NULL;
    int refused = 0;

    kvc_options_init(&options);
    if (!base || kvc_options_parse_uri(&options, uri, &memory, &error) != KVC_OK ||
        kvc_async_open(base, &options, &async, &error) != KVC_OK) {
        fprintf(stderr, "%s\n", base ? error.message : "no event base");
        return 1;
    }
    refused += kvc_async_command(async, 2, del, 0, NULL, NULL) != KVC_OK;
    for (int i = 0; i < 1000; i++)
        refused += kvc_async_command(async, 2, incr, 0, on_sum, &t) != KVC_OK;
    kvc_async_close(async, true); /* once all of them are answered */
    event_base_dispatch(base);    /* connects, sends, calls back; ends when there is nothing left */
    printf("%d answers, sum %" PRId64 "\n", t.answered, t.highest);
    free(memory);
    event_base_free(base);
    return t.failed || refused ? 1 : 0;
}
