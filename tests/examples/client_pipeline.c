/* client_pipeline.c - many commands in one round trip, and some of them as one act.
 *
 *     cc client_pipeline.c $(pkg-config --cflags --libs kvclient) -o client_pipeline && ./client_pipeline redis://127.0.0.1:6379
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

/* Queues account:i += amount, for n accounts. */
static kvc_status add_payments(kvc_pipeline *pipeline, int n, const char *amount, kvc_error *error)
{
    kvc_status status = KVC_OK;

    for (int i = 0; i < n && status == KVC_OK; i++) {
        char account[32];
        kvc_slice argv[] = { kvc_str("INCRBY"), kvc_str(account), kvc_str(amount) };

        argv[1].len = (size_t)snprintf(account, sizeof account, "account:%d", i);
        status = kvc_pipeline_add(pipeline, 3, argv, error); /* copies the words */
    }
    return status;
}

/* Runs what was queued; *ret_sum is the sum of the integers that came back. */
static kvc_status run(kvc_pipeline *pipeline, int64_t *ret_sum, kvc_error *error)
{
    kvc_reply *replies;
    kvc_status status = kvc_pipeline_run(pipeline, &replies, error);

    *ret_sum = 0;
    for (size_t i = 0; i < kvc_reply_count(replies); i++) {
        const kvc_reply *reply = kvc_reply_at(replies, i);

        if (kvc_reply_type(reply) == KVC_TYPE_ERROR) /* of this one command; the others were executed */
            fprintf(stderr, "%s\n", kvc_reply_text(reply).data);
        *ret_sum += kvc_reply_int(reply);
    }
    kvc_reply_free(replies);
    return status;
}

static kvc_status pay(kvc_client *client, kvc_pipeline_mode mode, const char *amount, int64_t *ret_sum,
                      kvc_error *error)
{
    kvc_pipeline *pipeline;
    kvc_status status = kvc_pipeline_new(client, mode, &pipeline, error);

    if (status == KVC_OK)
        status = add_payments(pipeline, 1000, amount, error);
    if (status == KVC_OK)
        status = run(pipeline, ret_sum, error);
    kvc_pipeline_free(pipeline);
    return status;
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    int64_t paid, taken_back;
    kvc_client *client;
    kvc_error error;

    if (kvc_open_uri(uri, &client, &error) != KVC_OK)
        return fail(&error);
    if (pay(client, KVC_PIPELINE, "5", &paid, &error) != KVC_OK ||
        pay(client, KVC_TRANSACTION, "-5", &taken_back, &error) != KVC_OK) {
        kvc_close(client);
        return fail(&error);
    }
    printf("%" PRId64 " in 1000 accounts, then %" PRId64 "\n", paid, taken_back);
    kvc_close(client);
    return 0;
}
