/* transaction.c - see transaction.h.
 *
 * What a command may touch comes from its row alone, so a new command needs nothing here: its key specs; without
 * one, everything in its database; with KV_CMD_ALL_STORES, the same keys in all databases (MOVE, COPY DB), or all of
 * all (FLUSHALL, SWAPDB). To lock too much is allowed, too little is not: the map's debug checks find it.
 *
 * SELECT changes the database for what follows. It is read here by the same function that runs it, so both agree
 * on what is an index.
 *
 * SPDX-License-Identifier: MIT */
#include "transaction.h"

#define KEYS_ON_STACK 32

_Static_assert(sizeof(queued_command) % sizeof(uint64_t) == 0, "the hashes of a queue have a stride");

/* ---- conditions ---- */

static condition_kind check_word(kv_slice word)
{
    static const struct {
        const char *word;
        condition_kind kind;
    } words[] = {
        { "nx", CONDITION_NX },     { "xx", CONDITION_XX },       { "ifeq", CONDITION_IFEQ },
        { "ifne", CONDITION_IFNE }, { "ifver", CONDITION_IFVER },
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (kv_word_is(word, words[i].word))
            return words[i].kind;
    return CONDITION_NONE;
}

int transaction_check_words(int argc, const kv_slice argv[])
{
    condition_kind kind = check_word(argv[0]);
    int words = kind == CONDITION_NX || kind == CONDITION_XX ? 2 : 3;

    return kind == CONDITION_NONE || words > argc ? 0 : words;
}

int transaction_parse_checks(int argc, const kv_slice argv[], key_check checks[])
{
    int count = 0;

    for (int i = 0; i < argc; count++) {
        condition_kind kind = check_word(argv[i]);
        int words = transaction_check_words(argc - i, argv + i);

        if (!words)
            return KV_ESYNTAX;
        checks[count] = (key_check){ .condition.kind = kind, .key = argv[i + 1] };
        if (words == 3)
            checks[count].condition.value = argv[i + 2];
        if (kind == CONDITION_IFVER && !kv_parse_uint(argv[i + 2], &checks[count].condition.number))
            return KV_ENOTINT;
        i += words;
    }
    return count;
}

/* ---- what is touched ---- */

static void hold_key(const transaction *t, store_hold *hold, const kv_command *row, int db, uint64_t hash)
{
    if (!(row->flags & KV_CMD_ALL_STORES)) {
        store_hold_key(hold, t->databases->stores[db], hash);
        return;
    }
    for (int i = 0; i < t->databases->count; i++)
        store_hold_key(hold, t->databases->stores[i], hash);
}

static void hold_everything(const transaction *t, store_hold *hold, const kv_command *row, int db)
{
    for (int i = 0; i < t->databases->count; i++)
        if (i == db || (row->flags & KV_CMD_ALL_STORES))
            store_hold_store(hold, t->databases->stores[i]);
}

/* All keys of a command that has several. */
static void hold_keys(const transaction *t, store_hold *hold, const queued_command *c, int db)
{
    kv_domain *domain = kv_store_domain(t->databases->stores[db]);
    int few[KEYS_ON_STACK], *positions = few;
    int n = kv_command_keys(c->row, c->argc, c->argv, few, KEYS_ON_STACK);
    size_t bytes = n > 0 ? (size_t)n * sizeof *positions : 0;

    if (n > KEYS_ON_STACK) {
        positions = domain_alloc(domain, bytes, _Alignof(int));
        if (positions)
            kv_command_keys(c->row, c->argc, c->argv, positions, n);
    }
    if (n < 0 || !positions) { /* the arguments do not say which, or there is no memory to find out */
        hold_everything(t, hold, c->row, db);
        return;
    }
    for (int i = 0; i < n; i++)
        hold_key(t, hold, c->row, db, domain_hash(domain, c->argv[positions[i]]));
    if (positions != few)
        domain_free(domain, positions, bytes);
}

static bool has_one_key(const kv_command *row)
{
    return row->keys.first && row->keys.last == row->keys.first && !row->keys.numkeys && !row->keys2.first;
}

static void hold_command(const transaction *t, store_hold *hold, const queued_command *c, int db)
{
    if (!c->row->run)
        return; /* a session command touches no keys */
    if (has_one_key(c->row) && c->hashed)
        hold_key(t, hold, c->row, db, c->hash);
    else if (c->row->keys.first)
        hold_keys(t, hold, c, db);
    else if (c->row->flags & (KV_CMD_WRITE | KV_CMD_READONLY))
        hold_everything(t, hold, c->row, db);
}

/* Whether nothing but the first key has to be asked of commands of the row: most are so. */
static bool is_plain(const kv_command *row)
{
    return row->run && has_one_key(row) && !(row->flags & KV_CMD_ALL_STORES);
}

static void name_commands(const transaction *t, store_hold *hold)
{
    const queued_command *c = t->commands, *end = c + t->count;
    int db = t->db;

    for (size_t n; c < end; c += n) {
        n = 1;
        if (c->row->id == KV_COMMAND_select) {
            kv_parse_db(c->argv[1], t->databases, &db);
        } else if (c->hashed && is_plain(c->row)) {
            n = queued_alike(c, end);
            store_hold_run(hold, t->databases->stores[db], n, &c->hash, sizeof *c / sizeof c->hash);
        } else {
            hold_command(t, hold, c, db);
        }
    }
}

static void name_all(const transaction *t, store_hold *hold)
{
    store_hold_begin(hold);
    name_commands(t, hold);
    for (size_t i = 0; i < t->check_count; i++) {
        kv_store *store = t->databases->stores[t->db];

        store_hold_key(hold, store, store_key_of(store, t->checks[i].key).hash);
    }
    for (const watched_key *w = t->watched; w; w = w->next)
        store_hold_key(hold, w->watch.store, w->watch.key.hash);
}

KV_UNCHECKED void transaction_lock(const transaction *t, store_hold *hold)
{
    do {
        name_all(t, hold);
    } while (!store_hold_lock(hold));
}

int transaction_check(const transaction *t, int64_t now_ms)
{
    kv_store *store = t->databases->stores[t->db];

    for (watched_key *w = t->watched; w; w = w->next)
        if (store_watch_changed(&w->watch, now_ms))
            return KV_ECOND;
    for (size_t i = 0; i < t->check_count; i++) {
        const entry *e = store_find(store, store_key_of(store, t->checks[i].key), now_ms);
        int err = condition_check(&t->checks[i].condition, e);

        if (err)
            return err;
    }
    return 0;
}
