/* client_store.c - one program, two places for its state: a store of its own, or a server that it shares with others.
 *
 *     cc client_store.c $(pkg-config --cflags --libs kvclient_store) -o client_store
 *     ./client_store                            # embedded
 *     ./client_store redis://127.0.0.1:6379     # served
 *
 * SPDX-License-Identifier: MIT */
#include <kvclient.h>
#include <kvstore/kvstore.h>

#include <inttypes.h>
#include <stdio.h>

/* The program. It knows nothing of where its state is. */
static kvc_status count_visit(kvc_client *client, kvc_error *error)
{
    const kvc_slice keys[] = { kvc_str("visits"), kvc_str("last") };
    int64_t visits;
    kvc_status status = kvc_delete(client, keys, 2, NULL, error);

    for (int i = 0; i < 42 && status == KVC_OK; i++)
        status = kvc_increment(client, keys[0], 1, &visits, error);
    if (status == KVC_OK)
        status = kvc_set(client, keys[1], kvc_str("Ada"), NULL, error);
    if (status == KVC_OK)
        printf("visit %" PRId64 "\n", visits);
    return status;
}

int main(int argc, char **argv)
{
    kv_store *store = NULL;
    kvc_client *client;
    kvc_error error;
    kvc_status status;

    if (argc > 1) {
        status = kvc_open_uri(argv[1], &client, &error);
    } else {
        store = kv_store_new(NULL);
        status = kvc_open_store(store, &client, &error);
    }
    if (status == KVC_OK)
        status = count_visit(client, &error);
    if (status != KVC_OK)
        fprintf(stderr, "%s (%s)\n", error.message, kvc_status_name(status));
    kvc_close(client);
    kv_store_unref(store);
    return status == KVC_OK ? 0 : 1;
}
