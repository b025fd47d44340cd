/* client_pubsub.c - one thread listens to messages, another publishes them.
 *
 *     cc client_pubsub.c $(pkg-config --cflags --libs kvclient) -lpthread -o client_pubsub && ./client_pubsub redis://127.0.0.1:6379
 *
 * SPDX-License-Identifier: MIT */
#include <kvclient.h>

#include <pthread.h>
#include <stdio.h>

static void *publish(void *arg)
{
    static const char *const words[] = { "to", "be", "end" };
    kvc_client *client = arg;
    kvc_error error;

    for (int i = 0; i < 3; i++)
        if (kvc_publish(client, kvc_str("news.today"), kvc_str(words[i]), NULL, &error) != KVC_OK)
            fprintf(stderr, "%s\n", error.message);
    return NULL;
}

/* Handles events until "end" comes; false: the server does not let us go on. */
static bool listen_to_end(kvc_client *client, kvc_subscription *news)
{
    kvc_message message = { .event = KVC_EVENT_DISCONNECTED };
    pthread_t publisher;
    bool publishing = false;
    kvc_error error;

    do {
        if (kvc_subscription_next(news, UINT32_MAX, &message, &error) != KVC_OK) {
            fprintf(stderr, "%s\n", error.message);
            break;
        }
        switch (message.event) {
        case KVC_EVENT_SUBSCRIBED:
            publishing = pthread_create(&publisher, NULL, publish, client) == 0;
            break;
        case KVC_EVENT_MESSAGE:
            printf("%.*s: %.*s\n", (int)message.channel.len, message.channel.data, (int)message.payload.len,
                   message.payload.data);
            break;
        case KVC_EVENT_DISCONNECTED:
            printf("messages may be missing from here\n");
            break;
        default:
            break;
        }
    } while (message.event != KVC_EVENT_MESSAGE || message.payload.len != 3);
    if (publishing)
        pthread_join(publisher, NULL);
    return message.event == KVC_EVENT_MESSAGE;
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    kvc_client *client = NULL;
    kvc_subscription *news = NULL;
    kvc_error error;
    bool well = false;

    if (kvc_open_uri(uri, &client, &error) != KVC_OK ||
        kvc_subscription_new(client, &news, &error) != KVC_OK ||
        kvc_subscribe(news, KVC_PATTERN, kvc_str("news.*"), &error) != KVC_OK)
        fprintf(stderr, "%s (%s)\n", error.message, kvc_status_name(error.status));
    else
        well = listen_to_end(client, news);
    kvc_subscription_free(news);
    kvc_close(client);
    return well ? 0 : 1;
}
