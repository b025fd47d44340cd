/* push_plan.c - see push_plan.h.
 *
 * Templates of requests are filled with a few keys, values, channels and patterns, so that they meet. What both servers
 * do on purpose in different ways is left out; each of these rules says what that is.
 *
 * SPDX-License-Identifier: MIT */
#include "push_plan.h"

#include <stdio.h>
#include <string.h>

bool step_is(const step *s, const char *name)
{
    return strcmp(s->words[0], name) == 0;
}

static uint64_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

#define PICK(list) list[draw(sizeof list / sizeof *list)]

static const char *const channels[] = { "a", "b", "news", "__redis__:invalidate", "__keyevent@0__:set" };
static const char *const patterns[] = { "*", "a*", "?", "[ab]", "__keyspace@0__:*", "__keyevent*" };
static const char *const keys[] = { "k", "k1", "k2", "key", "x" };
static const char *const values[] = { "1", "2", "v", "" };

/* Templates: C channel, P pattern, K key, V value, I a client's id; a '?' in front of a letter: or nothing. */
static const char *const requests[] = {
    "SUBSCRIBE C",
    "SUBSCRIBE C ?C ?C",
    "SUBSCRIBE C",
    "UNSUBSCRIBE C ?C",
    "PSUBSCRIBE P ?P",
    "PSUBSCRIBE P",
    "PUNSUBSCRIBE P ?P",
    "SSUBSCRIBE C ?C",
    "SUNSUBSCRIBE C",
    "PUBLISH C V",
    "PUBLISH C V",
    "PUBLISH C V",
    "SPUBLISH C V",
    "PUBSUB NUMSUB a b news",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDNUMSUB a b",
    "PUBSUB CHANNELS a",
    "PING",
    "PING V",
    "SET K V",
    "SET K V",
    "SET K V",
    "SET K V GET",
    "SET K V NX",
    "SET K V XX",
    "SETNX K V",
    "MSET K V K V K V",
    "MSETNX K V K V",
    "GETSET K V",
    "APPEND K V",
    "INCR K",
    "INCRBYFLOAT K 1.5",
    "SETRANGE K 1 V",
    "DEL K ?K ?K",
    "UNLINK K ?K",
    "GETDEL K",
    "GETEX K PERSIST",
    "GETEX K EXAT 9999999999",
    "EXPIREAT K 9999999999",
    "EXPIREAT K 1",
    "PERSIST K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "MOVE K 1",
    "GET K",
    "GET K",
    "GET K",
    "MGET K K ?K",
    "STRLEN K",
    "EXISTS K ?K",
    "TTL K",
    "TYPE K",
    "TOUCH K",
    "OBJECT ENCODING K",
    "SELECT 0",
    "SELECT 1",
    "SELECT 0",
    "SELECT 0",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB 0 1",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON BCAST PREFIX k",
    "CLIENT TRACKING ON BCAST PREFIX k1 PREFIX x NOLOOP",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON OPTOUT NOLOOP",
    "CLIENT TRACKING ON REDIRECT I",
    "CLIENT TRACKING ON REDIRECT I BCAST",
    "CLIENT TRACKING ON REDIRECT I BCAST PREFIX k",
    "CLIENT TRACKING ON REDIRECT I NOLOOP",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "MULTI",
    "MULTI",
    "WATCH K",
    "WATCH K K",
    "UNWATCH",
    "EXEC",
    "DISCARD",
    "NOSUCHCOMMAND K",
    "GET",
    "HELLO 3",
    "HELLO 2",
    "RESET",
    "RESET",
};

static void add_word(step *s, const char *word)
{
    if (s->count < words_max)
        snprintf(s->words[s->count++], sizeof s->words[0], "%s", word);
}

static void add_drawn(step *s, const char *word)
{
    char id[8];

    if (word[0] == '?') {
        if (draw(2))
            return;
        word++;
    }
    if (strcmp(word, "C") == 0)
        add_word(s, PICK(channels));
    else if (strcmp(word, "P") == 0)
        add_word(s, PICK(patterns));
    else if (strcmp(word, "K") == 0)
        add_word(s, PICK(keys));
    else if (strcmp(word, "V") == 0)
        add_word(s, PICK(values));
    else if (strcmp(word, "I") == 0) {
        snprintf(id, sizeof id, "id%d", told_client);
        add_word(s, id);
    } else
        add_word(s, word);
}

static void draw_words(step *s)
{
    char text[96], *at = text;

    s->count = 0;
    snprintf(text, sizeof text, "%s", PICK(requests));
    for (char *word; (word = strsep(&at, " "));)
        add_drawn(s, word);
}

/* To the client that invalidations are redirected to, those of its own writes come before the reply in redis-server, and after it in
 * kvserver: so that one does not write. And it listens all the time, since kvserver looks for what other workers have for a client before
 * it answers only where the client listens. */
static bool may_be_told(const step *s)
{
    static const char *const names[] = { "PUBLISH", "PUBSUB", "PING",   "GET",   "MGET",
                                         "TTL",     "TYPE",   "CLIENT", "HELLO", "SPUBLISH" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(s->words[0], names[i]) == 0)
            return true;
    return strstr(s->words[0], "SUBSCRIBE") != NULL;
}

/* Who has a prefix and asks for all keys as well is told twice by redis-server, and once by kvserver: so a part of the
 * conversation has the one, or the other. */
static bool has_wrong_prefix(const step *s, bool prefixes)
{
    bool broadcasts = false, has = false;

    for (int i = 0; i < s->count; i++) {
        broadcasts |= strcmp(s->words[i], "BCAST") == 0;
        has |= strcmp(s->words[i], "PREFIX") == 0;
    }
    return broadcasts && has != prefixes;
}

/* Commands that a queue may hold with the same replies on both sides, whatever is on the way. apart: what looks like an event is
 * compared among events, which a state thread tells of on a way of its own. */
static bool may_be_queued(const step *s, bool apart)
{
    const char *name = s->words[0];

    if (apart && strcmp(name, "PUBLISH") == 0 && strncmp(s->words[1], "__key", 5) == 0)
        return false;
    return !strstr(name, "SUBSCRIBE") && strcmp(name, "HELLO") != 0 && strcmp(name, "PING") != 0 &&
           !(strcmp(name, "CLIENT") == 0 && strcmp(s->words[1], "TRACKING") == 0);
}

/* What can be told of a client from here. */
typedef struct state {
    bool in_multi;
    bool listens; /* has subscribed */
    bool tracks;
    bool tracked; /* and does no more */
} state;

static bool is_tracking(const step *s, const char *how)
{
    return step_is(s, "CLIENT") && strcmp(s->words[1], "TRACKING") == 0 && strcmp(s->words[2], how) == 0;
}

/* Nobody hears messages in a transaction: redis-server says them between the elements of EXEC's reply. Nobody tracks a second time:
 * redis-server remembers what the client read at the first. */
static bool fits(const step *s, const state *of, bool prefixes, bool apart)
{
    if (of->in_multi && !may_be_queued(s, apart))
        return false;
    if ((of->listens && step_is(s, "MULTI")) || (of->tracked && is_tracking(s, "ON")))
        return false;
    return (s->client != told_client || may_be_told(s)) && !has_wrong_prefix(s, prefixes);
}

static void follow(state *of, const step *s)
{
    bool resets = step_is(s, "RESET");

    if (step_is(s, "MULTI"))
        of->in_multi = true;
    if (step_is(s, "EXEC") || step_is(s, "DISCARD") || resets)
        of->in_multi = false;
    of->tracks |= is_tracking(s, "ON");
    of->listens |= strstr(s->words[0], "SUBSCRIBE") != NULL;
    of->tracked |= of->tracks && (resets || is_tracking(s, "OFF"));
    if (resets)
        of->listens = of->tracks = false;
}

/* Caches hold nothing of which database a key is, so that kvserver says that all is stale when two are exchanged; redis-server says
 * nothing. So nobody exchanges them while somebody has a cache. */
static bool is_safe_for_caches(const step *s, const state states[])
{
    bool cached = false;

    for (int i = 0; i < clients; i++)
        cached |= states[i].tracks;
    return !cached || !step_is(s, "SWAPDB");
}

static void draw_step(step *s, state states[], bool prefixes, bool apart)
{
    s->client = (int)draw(clients);
    do
        draw_words(s);
    while (!fits(s, &states[s->client], prefixes, apart) || !is_safe_for_caches(s, states));
    if (states[s->client].in_multi && draw(5) == 0) {
        s->count = 0;
        add_word(s, draw(8) ? "EXEC" : "DISCARD");
    }
    follow(&states[s->client], s);
}

void push_plan_draw(uint64_t number, bool apart, step steps[], size_t count)
{
    state states[clients] = { { false } };

    random_state = number * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < count; i++)
        draw_step(&steps[i], states, number % 2 == 0, apart);
}
