/* hash_figures.c - see hash_figures.h.
 *
 * The text has the shape of Redis's, whose table is an array of chains. Here a chain is what has the same home bucket: entries that a
 * lookup may have to tell apart. They stand in that bucket and those behind it, seven in each; how many buckets a lookup reads
 * is told besides. There is no table of deadlines: they stand with the keys.
 *
 * SPDX-License-Identifier: MIT */
#include "hash_figures.h"

#include <stdio.h>

static double share(size_t of, size_t all)
{
    return all ? (double)of / (double)all : 0;
}

static void write_keys(FILE *out, const map_layout *l)
{
    fprintf(out,
            " table size: %zu\n number of elements: %zu\n different slots: %zu\n max chain length: %zu\n"
            " avg chain length (counted): %.2f\n avg chain length (computed): %.2f\n",
            l->buckets, l->entries, l->homes_used, l->longest, share(l->entries, l->homes_used),
            share(l->entries, l->homes_used));
    fprintf(out, " buckets read for a key: %.3f\n shards: %zu\n segments: %zu\n Chain length distribution:\n",
            share(l->looks, l->entries), l->shards, l->segments);
    for (size_t i = 0; i < MAP_LAYOUT_HOMES; i++)
        if (l->homes[i])
            fprintf(out, "   %s%zu: %zu (%.2f%%)\n", i == MAP_LAYOUT_HOMES - 1 ? ">= " : "", i, l->homes[i],
                    100 * share(l->homes[i], l->buckets));
}

static void write_table(FILE *out, const char *name, const map_layout *keys, size_t elements)
{
    fprintf(out, "[%s HT]\nHash table 0 stats (main hash table):\n", name);
    if (elements == 0)
        fprintf(out, "No stats available for empty dictionaries\n");
    else if (keys)
        write_keys(out, keys);
    else
        fprintf(out, " number of elements: %zu\n They stand in the table of keys.\n", elements);
}

char *hash_figures_text(kv_store *store)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    map_layout layout;
    map_stats stats;

    if (!out)
        return NULL;
    map_read_layout(store_map(store), &layout);
    map_read_stats(store_map(store), &stats);
    write_table(out, "Dictionary", &layout, layout.entries);
    write_table(out, "Expires", NULL, stats.with_deadline);
    return fclose(out) == 0 ? text : NULL;
}
