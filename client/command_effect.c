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
    size_t len;
    kvc_effect effect;
} word_effect;

#define WORD(word, effect)                          \
    {                                               \
        word, sizeof(word) - 1, KVC_EFFECT_##effect \
    }

static const word_effect commands[] = {
    WORD("multi", MULTI),
    WORD("exec", EXEC),
    WORD("discard", EXEC),
    WORD("watch", WATCH),
    WORD("unwatch", UNWATCH),
    WORD("select", SELECT),
    WORD("subscribe", SUBSCRIBE),
    WORD("psubscribe", SUBSCRIBE),
    WORD("ssubscribe", SUBSCRIBE),
    WORD("unsubscribe", SUBSCRIBE),
    WORD("punsubscribe", SUBSCRIBE),
    WORD("sunsubscribe", SUBSCRIBE),
    WORD("monitor", MONITOR),
    WORD("hello", OTHER),
    WORD("auth", OTHER),
    WORD("reset", OTHER),
    WORD("quit", OTHER),
    WORD("readonly", OTHER),
    WORD("readwrite", OTHER),
    WORD("asking", ASKING),
    WORD("sync", OTHER),
    WORD("psync", OTHER),
    WORD("replconf", OTHER),
};

/* Of CLIENT; any other subcommand changes nothing. */
static const word_effect client_commands[] = {
    WORD("setname", OTHER),  WORD("setinfo", OTHER),  WORD("tracking", OTHER), WORD("caching", OTHER),
    WORD("no-evict", OTHER), WORD("no-touch", OTHER), WORD("capa", OTHER),
};

static const word_effect reply_modes[] = {
    WORD("on", REPLY_ON),
    WORD("off", REPLY_OFF),
    WORD("skip", REPLY_SKIP),
};

static bool is_word(kvc_slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static kvc_effect look_up(kvc_slice text, const word_effect *words, size_t n)
{
    for (size_t i = 0; i < n; i++) /* nearly all commands differ in length or first letter */
        if (text.len == words[i].len && (text.data[0] | 0x20) == words[i].word[0] &&
            strncasecmp(text.data, words[i].word, text.len) == 0)
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
