/* flawed_data.c - the commands about keys, and how each may be wrong. See flawed.h. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flawed.h"

/* ---- strings ---- */

static bool equal(const content *v, const char *bytes, size_t len)
{
    return v->bytes && v->len == len && memcmp(v->bytes, bytes, len) == 0;
}

static void after_write(client *c, entry *e)
{
    if (shows(c->server, FLAW_lost_write))
        take_back(c, e);
    else if (shows(c->server, FLAW_write_gone))
        later_holds(c, e, content_copy(&e->before), 1000);
}

void do_set(client *c, request **argv, size_t argc)
{
    server *s = c->server;
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);
    content old = content_copy(v);
    int64_t deadline_ms = s->flaw == FLAW_set_keeps_deadline ? v->deadline_ms : 0;
    bool give_old = false, go = true;

    for (size_t i = 3; i < argc; i++) {
        if (word_is(argv[i], "NX"))
            go = !v->bytes || shows(s, FLAW_setnx_twice);
        else if (word_is(argv[i], "XX"))
            go = v->bytes;
        else if (word_is(argv[i], "KEEPTTL"))
            deadline_ms = v->deadline_ms;
        else if (word_is(argv[i], "GET"))
            give_old = true;
        else if (word_is(argv[i], "PX") && i + 1 < argc)
            deadline_ms = now_ms() + atoll(argv[++i]->str);
        else if (word_is(argv[i], "EX") && i + 1 < argc)
            deadline_ms = now_ms() + atoll(argv[++i]->str) * 1000;
        else if (word_is(argv[i], "IFEQ") && i + 1 < argc) {
            i++;
            go = equal(v, argv[i]->str, argv[i]->len) || shows(s, FLAW_cas_rarely) ||
                 (s->flaw == FLAW_cas_twice && equal(&e->before, argv[i]->str, argv[i]->len));
        } else {
            say(c, "-ERR syntax error");
            content_free(&old);
            return;
        }
    }
    if (go) {
        put(c, e, argv[2]->str, argv[2]->len, deadline_ms);
        after_write(c, e);
    }
    if (give_old)
        say_bytes(c, old.bytes, old.len);
    else
        say(c, go ? "+OK" : "$-1");
    content_free(&old);
}

void do_get(client *c, request **argv, size_t argc)
{
    const content *v = seen(c, find(c, argv[1]));
    content changed = content_copy(v);

    (void)argc;
    if (changed.len && shows(c->server, FLAW_corrupted))
        changed.bytes[changed.len - 1] ^= 1;
    say_bytes(c, changed.bytes, changed.len);
    content_free(&changed);
}

void do_getrange(client *c, request **argv, size_t argc)
{
    const content *v = seen(c, find(c, argv[1]));

    (void)argc;
    say_bytes(c, v->bytes ? v->bytes : "", v->len); /* only 0 -1 is asked for */
}

void do_getset(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);

    (void)argc;
    say_bytes(c, v->bytes, v->len);
    put(c, e, argv[2]->str, argv[2]->len, 0);
}

void do_getdel(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);

    (void)argc;
    say_bytes(c, v->bytes, v->len);
    if (v->bytes && !shows(c->server, FLAW_getdel_keeps))
        clear(c, e);
}

void do_setnx(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    bool go = !held(c, e)->bytes || shows(c->server, FLAW_setnx_twice);

    (void)argc;
    if (go)
        put(c, e, argv[2]->str, argv[2]->len, 0);
    say_number(c, go);
}

void do_psetex(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);

    (void)argc;
    put(c, e, argv[3]->str, argv[3]->len, now_ms() + atoll(argv[2]->str));
    say(c, "+OK");
}

void do_append(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    const content *v = held(c, e);
    size_t len = v->len + argv[2]->len;
    char *joined = malloc(len + 1);
    int64_t deadline_ms = v->deadline_ms;

    (void)argc;
    if (!joined)
        abort();
    memcpy(joined, v->bytes ? v->bytes : "", v->len);
    memcpy(joined + v->len, argv[2]->str, argv[2]->len);
    put(c, e, joined, len, deadline_ms);
    if (shows(c->server, FLAW_lost_append))
        take_back(c, e);
    free(joined);
    say_number(c, (long long)len);
}

static void add(client *c, const request *key, long long by)
{
    entry *e = find(c, key);
    const content *v = held(c, e), *base = v;
    long long number;
    char text[32], *end;

    if (v->bytes && e->before.bytes && e->writer != c->serial && shows(c->server, FLAW_lost_update))
        base = &e->before;
    number = base->bytes ? strtoll(base->bytes, &end, 10) : 0;
    if (base->bytes && (*end || base->len == 0)) {
        say(c, "-ERR value is not an integer or out of range");
        return;
    }
    number += by;
    put(c, e, text, (size_t)snprintf(text, sizeof text, "%lld", number), v->deadline_ms);
    say_number(c, number);
}

void do_incr(client *c, request **argv, size_t argc)
{
    long long by = argc > 2 ? atoll(argv[2]->str) : 1;

    add(c, argv[1], argv[0]->str[0] == 'd' || argv[0]->str[0] == 'D' ? -by : by);
}

void do_del(client *c, request **argv, size_t argc)
{
    long long count = 0;

    for (size_t i = 1; i < argc; i++) {
        entry *e = find(c, argv[i]);

        if (!held(c, e)->bytes)
            continue;
        clear(c, e);
        count++;
        if (shows(c->server, FLAW_resurrected))
            later_holds(c, e, content_copy(&e->before), 1000);
    }
    say_number(c, count);
}

void do_exists(client *c, request **argv, size_t argc)
{
    long long count = 0;

    for (size_t i = 1; i < argc; i++)
        count += seen(c, find(c, argv[i]))->bytes != NULL;
    say_number(c, count);
}

void do_strlen(client *c, request **argv, size_t argc)
{
    (void)argc;
    say_number(c, (long long)seen(c, find(c, argv[1]))->len);
}

/* ---- several keys ---- */

static void mset(client *c, request **argv, size_t argc)
{
    bool torn = shows(c->server, FLAW_torn_mset), partial = shows(c->server, FLAW_torn_mset_rarely);

    for (size_t i = 1; i + 1 < argc; i += 2) {
        entry *e = find(c, argv[i]);

        put(c, e, argv[i + 1]->str, argv[i + 1]->len, 0);
        if (torn && i > argc / 2)
            put_off(c, e, 0);
        if (partial && i + 2 >= argc)
            take_back(c, e);
    }
}

void do_mset(client *c, request **argv, size_t argc)
{
    mset(c, argv, argc);
    say(c, "+OK");
}

void do_msetnx(client *c, request **argv, size_t argc)
{
    bool go = true;

    for (size_t i = 1; i + 1 < argc; i += 2)
        go = go && !held(c, find(c, argv[i]))->bytes;
    if (go)
        mset(c, argv, argc);
    say_number(c, go);
}

void do_mget(client *c, request **argv, size_t argc)
{
    bool torn = shows(c->server, FLAW_torn_mget);

    evbuffer_add_printf(c->out, "*%zu\r\n", argc - 1);
    for (size_t i = 1; i < argc; i++) {
        entry *e = find(c, argv[i]);
        const content *v = torn && i == argc - 1 && e->version > 1 ? &e->before : seen(c, e);

        say_bytes(c, v->bytes, v->len);
    }
}

/* ---- deadlines ---- */

void do_expire(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));
    int64_t unit = argv[0]->str[0] == 'p' || argv[0]->str[0] == 'P' ? 1 : 1000;

    (void)argc;
    if (v.bytes)
        put(c, e, v.bytes, v.len, now_ms() + atoll(argv[2]->str) * unit);
    say_number(c, v.bytes != NULL);
    content_free(&v);
}

void do_persist(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));
    bool go = v.bytes && v.deadline_ms;

    (void)argc;
    if (go && c->server->flaw != FLAW_persist_ignored)
        put(c, e, v.bytes, v.len, 0);
    say_number(c, go);
    content_free(&v);
}

void do_getex(client *c, request **argv, size_t argc)
{
    entry *e = find(c, argv[1]);
    content v = content_copy(held(c, e));

    say_bytes(c, v.bytes, v.len);
    if (v.bytes && argc == 4 && word_is(argv[2], "PX"))
        put(c, e, v.bytes, v.len, now_ms() + atoll(argv[3]->str));
    content_free(&v);
}

void do_ttl(client *c, request **argv, size_t argc)
{
    const content *v = held(c, find(c, argv[1]));
    int64_t left_ms = v->deadline_ms - now_ms();

    (void)argc;
    if (left_ms < 0)
        left_ms = 0;
    if (shows(c->server, FLAW_pttl_wrong))
        left_ms /= 2;
    if (!v->bytes || !v->deadline_ms)
        say_number(c, v->bytes ? -1 : -2);
    else
        say_number(c, argv[0]->str[0] == 'p' || argv[0]->str[0] == 'P' ? left_ms : (left_ms + 500) / 1000);
}
