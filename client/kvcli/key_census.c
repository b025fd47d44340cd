/* key_census.c - one pass over all keys of all databases (of one, with -n), two round trips a page: the types of its keys, then
 * one figure for each: elements or bytes (--bigkeys), MEMORY USAGE (--memkeys), OBJECT FREQ (--hotkeys). A table by type and
 * a list of the most outstanding keys come out. Nothing blocks the server, and memory does not grow with the keys.
 *
 * SPDX-License-Identifier: MIT */
#include "key_census.h"

#include <stdio.h>
#include <stdlib.h>

#include "info.h"
#include "interrupt.h"
#include "json.h"
#include "key_scan.h"

enum { TYPES_MAX = 16, TYPE_NAME_MAX = 32, TOP = 16, DATABASES_MAX = 1024 };

typedef struct kind {
    char name[TYPE_NAME_MAX];
    double keys, sum, most;
    text biggest; /* the key with most */
    int biggest_db;
} kind;

typedef struct outstanding {
    double figure;
    int db;
    text key;
    const char *type;
} outstanding;

typedef struct census {
    conversation *c;
    key_scan scan;
    kind kinds[TYPES_MAX];
    size_t n_kinds;
    outstanding top[TOP]; /* the highest figure first */
    size_t n_top;
    double keys, key_bytes;
    unsigned char *types; /* of the page: the kind of each key; n_kinds: gone meanwhile */
    char refusal[256];
} census;

/* How a type's size is asked for, and in what it is told. */
static const struct {
    const char *type, *command, *unit;
} sizes[] = {
    { "string", "STRLEN", "bytes" }, { "list", "LLEN", "items" },    { "set", "SCARD", "members" },
    { "hash", "HLEN", "fields" },    { "zset", "ZCARD", "members" }, { "stream", "XLEN", "entries" }
};

static const char *size_command(const char *type)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(sizes[i].type, type) == 0)
            return sizes[i].command;
    }
    return NULL;
}

static const char *unit_of(const census *s, const char *type)
{
    if (s->c->settings->mode == MODE_MEMKEYS)
        return "bytes";
    if (s->c->settings->mode == MODE_HOTKEYS)
        return "frequency";
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(sizes[i].type, type) == 0)
            return sizes[i].unit;
    }
    return "";
}

/* ---- a page ---- */

static void make_type(void *arg, size_t i, words *command)
{
    census *s = arg;

    words_add_str(command, "TYPE");
    words_add(command, key_scan_key(&s->scan, i));
}

static void take_type(void *arg, size_t i, const kvc_reply *reply)
{
    census *s = arg;
    kvc_slice name = kvc_reply_text(reply);
    size_t at = 0;

    s->types[i] = TYPES_MAX;
    if (kvc_reply_type(reply) == KVC_TYPE_ERROR) {
        snprintf(s->refusal, sizeof s->refusal, "TYPE: %s", name.data);
        return;
    }
    if (slice_is_word(name, "none"))
        return;
    while (at < s->n_kinds && !slice_is_word(name, s->kinds[at].name))
        at++;
    if (at == s->n_kinds && s->n_kinds < TYPES_MAX) {
        snprintf(s->kinds[at].name, TYPE_NAME_MAX, "%s", name.data);
        s->n_kinds++;
    }
    if (at < s->n_kinds)
        s->types[i] = (unsigned char)at;
}

static void make_figure(void *arg, size_t i, words *command)
{
    census *s = arg;
    const char *type = s->types[i] < s->n_kinds ? s->kinds[s->types[i]].name : "";
    const char *size = size_command(type);
    text samples = { 0 };

    switch (s->c->settings->mode) {
    case MODE_MEMKEYS:
        words_add_str(command, "MEMORY");
        words_add_str(command, "USAGE");
        words_add(command, key_scan_key(&s->scan, i));
        if (s->c->settings->memkeys_samples >= 0) {
            text_printf(&samples, "%ld", s->c->settings->memkeys_samples);
            words_add_str(command, "SAMPLES");
            words_add(command, text_slice(&samples));
        }
        break;
    case MODE_HOTKEYS:
        words_add_str(command, "OBJECT");
        words_add_str(command, "FREQ");
        words_add(command, key_scan_key(&s->scan, i));
        break;
    default:
        words_add_str(command, size ? size : "EXISTS"); /* of a type we do not know: 1 */
        words_add(command, key_scan_key(&s->scan, i));
    }
    text_done(&samples);
}

static void note_outstanding(census *s, kvc_slice key, const char *type, double figure)
{
    size_t at = s->n_top;

    while (at > 0 && s->top[at - 1].figure < figure)
        at--;
    if (at == TOP)
        return;
    for (size_t i = at; i < s->n_top; i++) { /* a key may come twice */
        if (s->top[i].db == s->c->db && s->top[i].key.len == key.len &&
            memcmp(s->top[i].key.data, key.data, key.len) == 0)
            return;
    }
    if (s->n_top == TOP)
        text_done(&s->top[--s->n_top].key);
    memmove(s->top + at + 1, s->top + at, (s->n_top - at) * sizeof *s->top);
    s->top[at] = (outstanding){ .figure = figure, .db = s->c->db, .type = type };
    text_add_slice(&s->top[at].key, key);
    s->n_top++;
}

static void take_figure(void *arg, size_t i, const kvc_reply *reply)
{
    census *s = arg;
    kvc_slice key = key_scan_key(&s->scan, i);
    double figure = kvc_reply_double(reply);
    kind *k;

    if (s->types[i] >= s->n_kinds || kvc_reply_type(reply) == KVC_TYPE_NIL)
        return;
    if (kvc_reply_type(reply) == KVC_TYPE_ERROR) {
        /* A key that changed its type or went away between the two round trips is no reason to end. */
        if (strncmp(kvc_reply_text(reply).data, "WRONGTYPE", 9) != 0 &&
            !strstr(kvc_reply_text(reply).data, "no such key"))
            snprintf(s->refusal, sizeof s->refusal, "%s", kvc_reply_text(reply).data);
        return;
    }
    k = &s->kinds[s->types[i]];
    s->keys++;
    s->key_bytes += (double)key.len;
    k->keys++;
    k->sum += figure;
    if (figure > k->most || !k->biggest.len) {
        k->most = figure;
        k->biggest_db = s->c->db;
        text_clear(&k->biggest);
        text_add_slice(&k->biggest, key);
    }
    note_outstanding(s, key, k->name, figure);
}

static kvc_status count_page(census *s, kvc_error *error)
{
    size_t n = key_scan_count(&s->scan);
    kvc_status status;

    if (n == 0)
        return KVC_OK;
    s->types = must_have(realloc(s->types, n));
    memset(s->types, TYPES_MAX, n);
    status = key_scan_pipeline(s->c, n, make_type, take_type, s, error);
    if (status == KVC_OK && !*s->refusal)
        status = key_scan_pipeline(s->c, n, make_figure, take_figure, s, error);
    return status;
}

static kvc_status count_database(census *s, kvc_error *error)
{
    kvc_status status = KVC_OK;

    key_scan_begin(&s->scan, s->c);
    while (status == KVC_OK && !*s->refusal && (status = key_scan_next(&s->scan, error)) == KVC_OK)
        status = count_page(s, error);
    key_scan_end(&s->scan);
    return status == KVC_NIL ? KVC_OK : status;
}

/* ---- all databases ---- */

typedef struct databases {
    int numbers[DATABASES_MAX];
    size_t n;
} databases;

static void note_database(void *arg, kvc_slice rest, kvc_slice value)
{
    databases *d = arg;

    (void)value;
    if (d->n < DATABASES_MAX && rest.len && strspn(rest.data, "0123456789") == rest.len)
        d->numbers[d->n++] = atoi(rest.data);
}

static kvc_status count_all(census *s, kvc_error *error)
{
    databases d = { .n = 0 };
    kvc_status status;
    info i = { 0 };

    if (s->c->settings->db_given)
        return count_database(s, error);
    status = info_read(&i, s->c, "keyspace", error);
    info_each(&i, "db", note_database, &d);
    info_done(&i);
    if (status == KVC_EREPLY || d.n == 0) /* not told: the one we are in */
        return count_database(s, error);
    for (size_t k = 0; k < d.n && status == KVC_OK && !*s->refusal; k++) {
        text number = { 0 };

        text_printf(&number, "%d", d.numbers[k]);
        if (d.numbers[k] != s->c->db) {
            const char *const select[] = { "SELECT", text_str(&number), NULL };
            kvc_reply *reply = NULL;

            status = conversation_ask_strings(s->c, select, &reply, error);
            kvc_reply_free(reply);
        }
        text_done(&number);
        if (status == KVC_OK)
            status = count_database(s, error);
    }
    return status;
}

/* ---- what came out ---- */

static void add_key(const census *s, const text *key, int db, text *out)
{
    if (!s->c->settings->db_given)
        text_printf(out, "[%d] ", db);
    text_quoted_utf8(out, text_slice(key));
}

static void add_table(const census *s, text *out)
{
    text_printf(out,
                "\nSampled %.0f keys in the keyspace!\nTotal key length in bytes is %.0f (avg len %.2f)\n\n",
                s->keys, s->key_bytes, s->keys ? s->key_bytes / s->keys : 0);
    if (!s->keys)
        return;
    text_printf(out, "%-10s %12s %7s %16s %14s %14s  %-9s %s\n", "type", "keys", "share", "total", "average",
                "most", "", "key");
    for (size_t i = 0; i < s->n_kinds; i++) {
        const kind *k = &s->kinds[i];

        if (!k->keys)
            continue;
        text_printf(out, "%-10s %12.0f %6.2f%% %16.0f %14.2f %14.0f  %-9s ", k->name, k->keys,
                    100 * k->keys / s->keys, k->sum, k->sum / k->keys, k->most, unit_of(s, k->name));
        add_key(s, &k->biggest, k->biggest_db, out);
        text_add_char(out, '\n');
    }
    text_printf(out, "\n%s\n",
                s->c->settings->mode == MODE_HOTKEYS   ? "Used most often:"
                : s->c->settings->mode == MODE_MEMKEYS ? "Largest in memory:"
                                                       : "Largest:");
    for (size_t i = 0; i < s->n_top; i++) {
        text_printf(out, "%14.0f %-9s %-8s ", s->top[i].figure, unit_of(s, s->top[i].type), s->top[i].type);
        add_key(s, &s->top[i].key, s->top[i].db, out);
        text_add_char(out, '\n');
    }
}

static void add_json(const census *s, text *out)
{
    const char *between = "";

    text_printf(out, "{\"keys\":%.0f,\"key_bytes\":%.0f,\"types\":{", s->keys, s->key_bytes);
    for (size_t i = 0; i < s->n_kinds; i++) {
        const kind *k = &s->kinds[i];

        if (!k->keys)
            continue;
        text_add_str(out, between);
        between = ",";
        json_string(kvc_str(k->name), false, out);
        text_printf(out, ":{\"keys\":%.0f,\"total\":%.0f,\"most\":%.0f,\"db\":%d,\"key\":", k->keys, k->sum,
                    k->most, k->biggest_db);
        json_string(text_slice(&k->biggest), false, out);
        text_add_char(out, '}');
    }
    text_add_str(out, "},\"top\":[");
    for (size_t i = 0; i < s->n_top; i++) {
        text_printf(out, "%s{\"type\":", i ? "," : "");
        json_string(kvc_str(s->top[i].type), false, out);
        text_printf(out, ",\"db\":%d,\"figure\":%.0f,\"key\":", s->top[i].db, s->top[i].figure);
        json_string(text_slice(&s->top[i].key), false, out);
        text_add_char(out, '}');
    }
    text_add_str(out, "]}\n");
}

static void census_done(census *s)
{
    for (size_t i = 0; i < s->n_kinds; i++)
        text_done(&s->kinds[i].biggest);
    for (size_t i = 0; i < s->n_top; i++)
        text_done(&s->top[i].key);
    free(s->types);
}

exit_status key_census_run(conversation *c)
{
    census s = { .c = c };
    exit_status result = EXIT_FINE;
    kvc_error error;
    kvc_status status = count_all(&s, &error);
    text out = { 0 };

    if (interrupt_happened())
        result = EXIT_INTERRUPTED; /* what was found until then is printed */
    else if (status != KVC_OK)
        result = complain(exit_status_of(&error), "%s", error.message);
    else if (*s.refusal)
        result = complain(EXIT_SERVER, "%s", s.refusal);
    if (result == EXIT_FINE || result == EXIT_INTERRUPTED) {
        if (c->settings->format.kind == FORMAT_JSON || c->settings->format.kind == FORMAT_JSON_ASCII)
            add_json(&s, &out);
        else
            add_table(&s, &out);
        fwrite(out.data, 1, out.len, stdout);
    }
    text_done(&out);
    census_done(&s);
    return result;
}
