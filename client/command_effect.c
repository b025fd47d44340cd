/* command_effect.c - the words that change a connection.
 *
 * A list of its own, though there is the command table: the servers this library talks to know more commands than ours,
 * and the table does not tell effects apart.
 *
 * SPDX-License-Identifier: MIT */
#include "command_effect.h"

#include <strings.h>

typedef struct word_effect {
    const char *word;
    kvc_effect effect;
} word_effect;

static const word_effect commands[] = {
    { "multi", KVC_EFFECT_MULTI },
    { "exec", KVC_EFFECT_EXEC },
    { "discard", KVC_EFFECT_EXEC },
    { "watch", KVC_EFFECT_WATCH },
    { "unwatch", KVC_EFFECT_UNWATCH },
    { "select", KVC_EFFECT_SELECT },
    { "subscribe", KVC_EFFECT_SUBSCRIBE },
    { "psubscribe", KVC_EFFECT_SUBSCRIBE },
    { "ssubscribe", KVC_EFFECT_SUBSCRIBE },
    { "unsubscribe", KVC_EFFECT_SUBSCRIBE },
    { "punsubscribe", KVC_EFFECT_SUBSCRIBE },
    { "sunsubscribe", KVC_EFFECT_SUBSCRIBE },
    { "monitor", KVC_EFFECT_MONITOR },
    { "hello", KVC_EFFECT_OTHER },
    { "auth", KVC_EFFECT_OTHER },
    { "reset", KVC_EFFECT_OTHER },
    { "quit", KVC_EFFECT_OTHER },
    { "readonly", KVC_EFFECT_OTHER },
    { "readwrite", KVC_EFFECT_OTHER },
    { "asking", KVC_EFFECT_ASKING },
    { "sync", KVC_EFFECT_OTHER },
    { "psync", KVC_EFFECT_OTHER },
    { "replconf", KVC_EFFECT_OTHER },
};

/* Of CLIENT; any other subcommand changes nothing. */
static const word_effect client_commands[] = {
    { "setname", KVC_EFFECT_OTHER }, { "setinfo", KVC_EFFECT_OTHER },  { "tracking", KVC_EFFECT_OTHER },
    { "caching", KVC_EFFECT_OTHER }, { "no-evict", KVC_EFFECT_OTHER }, { "no-touch", KVC_EFFECT_OTHER },
    { "capa", KVC_EFFECT_OTHER },
};

static const word_effect reply_modes[] = {
    { "on", KVC_EFFECT_REPLY_ON },
    { "off", KVC_EFFECT_REPLY_OFF },
    { "skip", KVC_EFFECT_REPLY_SKIP },
};

static bool is_word(kvc_slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static kvc_effect look_up(kvc_slice text, const word_effect *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_word(text, words[i].word))
            return words[i].effect;
    return KVC_EFFECT_NONE;
}

#define LOOK_UP(text, words) look_up(text, words, sizeof(words) / sizeof *(words))

kvc_effect kvc_command_effect(size_t argc, const kvc_slice *argv)
{
    if (argc >= 2 && is_word(argv[0], "client")) {
        if (argc == 3 && is_word(argv[1], "reply"))
            return LOOK_UP(argv[2], reply_modes);
        return LOOK_UP(argv[1], client_commands);
    }
    if (argc >= 2 && is_word(argv[0], "script") && is_word(argv[1], "debug"))
        return KVC_EFFECT_OTHER;
    return argc ? LOOK_UP(argv[0], commands) : KVC_EFFECT_NONE;
}
