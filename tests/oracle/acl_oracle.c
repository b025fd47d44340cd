/* acl_oracle.c - the same random rules to redis-server and to kvserver: what they say of each, and what a user may do then, must
 * be the same.
 *
 *     acl_oracle [--seed n] [--rounds n] [--option server-option ...]
 *
 * A round makes a user of some random words of ACL SETUSER, about one in six of them wrong, and compares the replies; then it
 * compares ACL GETUSER, but for the commands, whose description depends on which commands a server has, and ACL DRYRUN of random
 * commands that both know. What differs is printed with the whole history of the user.
 *
 * Exit status: 0 the same, 1 different, 2 something else went wrong, 77 redis-server is not installed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"
#include "server.h"

enum { words_max = 12, history_max = 4096 };

static uint64_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

#define PICK(list) list[draw(sizeof list / sizeof *list)]

static const char *const categories[] = { "all",       "keyspace",   "read",        "write", "string",
                                          "pubsub",    "admin",      "fast",        "slow",  "blocking",
                                          "dangerous", "connection", "transaction", "nope",  "" };
static const char *const commands[] = {
    "get",          "set",         "del",        "mset",     "copy",     "rename",      "exists",
    "expire",       "scan",        "publish",    "spublish", "config",   "config|get",  "client",
    "client|id",    "client|kill", "multi",      "exec",     "select",   "object",      "object|freq",
    "memory|usage", "subscribe",   "psubscribe", "getdel",   "flushall", "nope",        "auth",
    "client|nope",  "get|",        "select|0",   "SELECT|1", "GET",      "config|get|x"
};
static const char *const patterns[] = { "a", "a*", "b", "?", "[ab]", "*", "c\\*", "", "a b" };
static const char *const letters[] = { "R", "W", "RW", "wr", "RR", "X", "" };
static const char *const whole[] = { "on",
                                     "off",
                                     "nopass",
                                     "resetpass",
                                     "reset",
                                     "allkeys",
                                     "resetkeys",
                                     "allchannels",
                                     "resetchannels",
                                     "allcommands",
                                     "nocommands",
                                     "clearselectors",
                                     ">p",
                                     "<p",
                                     "blah",
                                     "#12",
                                     "!12",
                                     "sanitize-payload",
                                     ">q",
                                     "<q",
                                     "+",
                                     "%",
                                     "skip-sanitize-payload",
                                     "()" };

static void random_word(char *word, size_t size, bool in_selector)
{
    switch (draw(in_selector ? 5 : 8)) {
    case 0:
        snprintf(word, size, "%c@%s", draw(3) ? '+' : '-', PICK(categories));
        break;
    case 1:
    case 2:
        snprintf(word, size, "%c%s", draw(3) ? '+' : '-', PICK(commands));
        break;
    case 3:
        if (draw(2))
            snprintf(word, size, "~%s", PICK(patterns));
        else
            snprintf(word, size, "%%%s~%s", PICK(letters), PICK(patterns));
        break;
    case 4:
        snprintf(word, size, "&%s", PICK(patterns));
        break;
    default:
        snprintf(word, size, "%s", PICK(whole));
    }
}

/* "(word word)", some of them without an end: open allows it, once in a line, since redis-server forgets the first of
 * two that are open. */
static void random_selector(char *word, size_t size, bool *open)
{
    char inner[80];
    size_t len = (size_t)snprintf(word, size, "(");

    for (unsigned n = draw(5); n; n--) {
        random_word(inner, sizeof inner, true);
        len += (size_t)snprintf(word + len, size - len, "%s%s", len > 1 ? " " : "", inner);
    }
    if (*open || draw(20))
        snprintf(word + len, size - len, ")");
    else
        *open = true;
}

/* ---- both servers ------------------------------------------------------------------------ */

typedef struct pair {
    conn *left, *right;
    char history[history_max]; /* what the user was made of */
    size_t history_len;
    unsigned differences;
} pair;

/* The commands of a reply to GETUSER are described by what there is: they become nothing. */
static void forget_commands(reply *r)
{
    for (size_t i = 0; i + 1 < r->count; i++) {
        reply *name = &r->elements[i], *value = &r->elements[i + 1];

        if (name->type == '$' && name->text && strcmp(name->text, "commands") == 0 && value->type == '$') {
            value->len = 0;
            value->text[0] = '\0';
        }
    }
    for (size_t i = 0; i < r->count; i++)
        if (r->elements[i].count)
            forget_commands(&r->elements[i]);
}

static char *answer(conn *c, size_t argc, const kv_slice argv[])
{
    reply *r = conn_ask(c, argc, argv);
    char *text;

    if (!r) {
        fprintf(stderr, "no reply: %s\n", conn_trouble(c));
        exit(2);
    }
    forget_commands(r);
    text = reply_text(r);
    reply_free(r);
    return text;
}

/* Asks both; false: they differ. */
static bool same(pair *p, size_t argc, const kv_slice argv[])
{
    char *left = answer(p->left, argc, argv), *right = answer(p->right, argc, argv);
    bool equal = strcmp(left, right) == 0;

    if (!equal) {
        p->differences++;
        printf("%s\n>", p->history);
        for (size_t i = 0; i < argc; i++)
            printf(" '%.*s'", (int)argv[i].len, argv[i].data);
        printf("\n  redis-server: %s\n  kvserver:     %s\n", left, right);
    }
    free(left);
    free(right);
    return equal;
}

static void set_user(pair *p)
{
    char words[words_max][512];
    kv_slice argv[words_max + 3] = { KV_STR("ACL"), KV_STR("SETUSER"), KV_STR("u") };
    unsigned count = 1 + draw(4);
    bool open = false;

    for (unsigned i = 0; i < count; i++) {
        if (draw(6))
            random_word(words[i], sizeof words[i], false);
        else
            random_selector(words[i], sizeof words[i], &open);
        argv[3 + i] = kv_str(words[i]);
        p->history_len +=
            (size_t)snprintf(p->history + p->history_len, history_max - p->history_len, " '%s'", words[i]);
        p->history_len = p->history_len < history_max ? p->history_len : history_max - 1;
    }
    p->history_len += (size_t)snprintf(p->history + p->history_len, history_max - p->history_len, " ;");
    p->history_len = p->history_len < history_max ? p->history_len : history_max - 1;
    same(p, 3 + count, argv);
}

static void dry_run(pair *p)
{
    static const char *const lines[] = {
        "get %s",
        "set %s v",
        "set %s v get",
        "mset %s v %s v",
        "copy %s %s",
        "rename %s %s",
        "exists %s %s",
        "del %s",
        "scan 0",
        "publish %s m",
        "spublish %s m",
        "subscribe %s %s",
        "psubscribe %s",
        "ssubscribe %s",
        "unsubscribe %s",
        "config get x",
        "config set x y",
        "client id",
        "client kill x",
        "multi",
        "exec",
        "select 0",
        "select 1",
        "object freq %s",
        "memory usage %s",
        "expire %s 10",
        "getdel %s",
        "getex %s",
        "auth x",
        "hello",
        "watch %s %s",
        "lcs %s %s",
        "object help",
        "get",
        "nope %s",
        "client nope",
        "flushall",
        "dbsize",
        "command",
        "acl whoami",
        "acl list",
        "ping",
        "setrange %s 0 x",
        "append %s x",
        "strlen %s",
        "touch %s",
        "unlink %s %s",
        "msetnx %s v %s v",
        "type %s",
        "ttl %s",
        "persist %s",
        "incr %s",
        "getset %s v",
        "substr %s 0 1",
    };
    static const char *const names[] = { "a", "b", "ab", "c", "c*", "a*" };
    char line[200], copy[200];
    kv_slice argv[12] = { KV_STR("ACL"), KV_STR("DRYRUN"), KV_STR("u") };
    size_t argc = 3;
    char *rest = copy;

    snprintf(line, sizeof line, "%s", PICK(lines));
    for (char *at; (at = strstr(line, "%s"));) {
        snprintf(copy, sizeof copy, "%.*s%s%s", (int)(at - line), line, PICK(names), at + 2);
        memcpy(line, copy, sizeof line);
    }
    memcpy(copy, line, sizeof copy);
    for (char *word; (word = strsep(&rest, " "));)
        argv[argc++] = kv_str(word);
    same(p, argc, argv);
}

static void play(pair *p, unsigned rounds)
{
    const kv_slice forget[] = { KV_STR("ACL"), KV_STR("DELUSER"), KV_STR("u") },
                   make[] = { KV_STR("ACL"), KV_STR("SETUSER"), KV_STR("u") },
                   show[] = { KV_STR("ACL"), KV_STR("GETUSER"), KV_STR("u") };

    for (unsigned i = 0; i < rounds && p->differences < 10; i++) {
        if (i % 8 == 0) {
            same(p, 3, forget);
            same(p, 3, make);
            p->history_len = 0;
            p->history[0] = '\0';
        }
        set_user(p);
        same(p, 3, show);
        for (int j = 0; j < 12; j++)
            dry_run(p);
    }
}

int main(int argc, char **argv)
{
    const char *options[32] = { NULL };
    size_t option_count = 0;
    unsigned rounds = 1000;
    pair p = { .history_len = 0 };
    server *left, *right;

    random_state = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            random_state = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--option") == 0 && option_count < 31)
            options[option_count++] = argv[i + 1];
    }
    if (!oracle_program() || !server_program("kvserver"))
        return 77;
    left = server_start(oracle_program(), (const char *const[]){ NULL });
    right = server_start(server_program("kvserver"), options);
    if (!left || !right)
        return 2;
    p.left = conn_open_unix(server_socket(left));
    p.right = conn_open_unix(server_socket(right));
    if (!p.left || !p.right)
        return 2;
    play(&p, rounds);
    conn_close(p.left);
    conn_close(p.right);
    if (!server_stop(left) || !server_stop(right))
        return 2;
    printf("%u rounds, %u differences\n", rounds, p.differences);
    return p.differences ? 1 : 0;
}
