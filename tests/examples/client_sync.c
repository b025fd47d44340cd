/* client_sync.c - a program that shares state with others through a server.
 *
 *     cc client_sync.c $(pkg-config --cflags --libs kvclient) -o client_sync && ./client_sync redis://127.0.0.1:6379
 *
 * SPDX-License-Identifier: MIT */
#include <kvclient.h>

#include <inttypes.h>
#include <stdio.h>

static int fail(const kvc_error *error)
{
    fprintf(stderr, "%s (%s)\n", error->message, kvc_status_name(error->status));
    return 1;
}

/* Compare and set, on any server: watch the key, read it, write it if nobody wrote meanwhile; else again. */
static kvc_status shout(kvc_client *client, kvc_slice key, kvc_error *error)
{
    const kvc_slice get[] = { kvc_str("GET"), key };
    kvc_pipeline *pipeline;
    kvc_status status = kvc_pipeline_new(client, KVC_TRANSACTION, &pipeline, error);

    if (status != KVC_OK)
        return status;
    do {
        kvc_reply *name = NULL, *replies = NULL;
        char text[64];

        status = kvc_pipeline_watch(pipeline, &key, 1, error);
        if (status == KVC_OK)
            status = kvc_pipeline_read(pipeline, 2, get, &name, error);
        if (status == KVC_OK) {
            int len = snprintf(text, sizeof text, "%s!", kvc_reply_text(name).data);
            const kvc_slice set[] = { kvc_str("SET"), key, kvc_bytes(text, (size_t)len) };

            status = kvc_pipeline_add(pipeline, 3, set, error);
        }
        if (status == KVC_OK)
            status = kvc_pipeline_run(pipeline, &replies, error); /* KVC_NIL: somebody wrote */
        kvc_reply_free(name);
        kvc_reply_free(replies);
    } while (status == KVC_NIL);
    kvc_pipeline_free(pipeline);
    return status;
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    kvc_slice ada = kvc_str("user:1");
    kvc_client *client;
    kvc_error error;
    kvc_reply *name;
    int64_t visits;

    if (kvc_open_uri(uri, &client, &error) != KVC_OK)
        return fail(&error);
    if (kvc_set(client, ada, kvc_str("Ada"), &(kvc_set_options){ .ttl_ms = 60 * 1000 }, &error) != KVC_OK ||
        kvc_delete(client, &(kvc_slice){ "visits", 6 }, 1, NULL, &error) != KVC_OK ||
        kvc_increment(client, kvc_str("visits"), 42, &visits, &error) != KVC_OK ||
        shout(client, ada, &error) != KVC_OK || kvc_get(client, ada, &name, &error) != KVC_OK) {
        kvc_close(client);
        return fail(&error);
    }
    printf("%s, visit %" PRId64 "\n", kvc_reply_text(name).data, visits);
    kvc_reply_free(name);
    kvc_close(client);
    return 0;
}
