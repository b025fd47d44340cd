/* generate.c - writes command_index.h: a perfect hash of the names in commands.def.
 *
 * Run by the build. C cannot compute on the characters of a name in a constant expression, and an index made
 * at the first call would be mutable global state; so a program makes it. It tries multipliers until no two
 * names share a slot, doubling the table now and then. The result does not depend on the machine but for its
 * byte order.
 *
 * SPDX-License-Identifier: MIT */
#include "name_words.h"

#include <stdbool.h>
#include <stdio.h>

#define TRIES_PER_SIZE 2000000
#define BITS_MIN       9
#define BITS_MAX       14

static const char *const names[] = {
#define COMMAND(id, ...)         #id,
#define SESSION_COMMAND(id, ...) #id,
#define CONTAINER(id, ...)       #id,
#define SUBCOMMAND(container, id, name, ...)
#define SESSION_SUBCOMMAND(container, id, name, ...)
#include "commands.def"
};

enum { NAMES = sizeof names / sizeof names[0] };

static bool name_fits(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= NAME_WORDS_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz") == len;
}

/* Fills slots with 1 + the number of the name in each; false when two names collide. */
static bool place_names(uint64_t multiplier, unsigned bits, unsigned short slots[])
{
    memset(slots, 0, sizeof slots[0] << bits);
    for (unsigned i = 0; i < NAMES; i++) {
        size_t len = strlen(names[i]);
        unsigned slot = name_words_slot(name_words_of(names[i], len), len, multiplier, bits);

        if (slots[slot])
            return false;
        slots[slot] = (unsigned short)(i + 1);
    }
    return true;
}

static void write_index(FILE *out, uint64_t multiplier, unsigned bits, const unsigned short slots[])
{
    fprintf(out,
            "/* Written by core/commands/index/generate.c from commands.def. */\n"
            "#define COMMAND_INDEX_MULTIPLIER UINT64_C(0x%016llx)\n"
            "#define COMMAND_INDEX_BITS %u\n\n"
            "/* 1 + the position in command_index_names, by slot; 0: no name. */\n"
            "static const uint16_t command_index_slots[1 << COMMAND_INDEX_BITS] = {",
            (unsigned long long)multiplier, bits);
    for (unsigned i = 0; i < 1u << bits; i++)
        fprintf(out, "%s%u,", i % 24 ? " " : "\n    ", slots[i]);
    fprintf(out, "\n};\n\nstatic const command_index_name command_index_names[] = {\n");
    for (unsigned i = 0; i < NAMES; i++) {
        name_words w = name_words_of(names[i], strlen(names[i]));

        fprintf(out, "    { { UINT64_C(0x%016llx), UINT64_C(0x%016llx) }, %u, KV_COMMAND_%s },\n",
                (unsigned long long)w.lo, (unsigned long long)w.hi, (unsigned)strlen(names[i]), names[i]);
    }
    fprintf(out, "};\n");
}

int main(int argc, char **argv)
{
    static unsigned short slots[1 << BITS_MAX];
    uint64_t seed = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: %s command_index.h\n", argv[0]);
        return 2;
    }
    for (unsigned i = 0; i < NAMES; i++) {
        if (!name_fits(names[i])) {
            fprintf(stderr, "commands.def: %s: a name has 1 to %d lower-case letters\n", names[i],
                    NAME_WORDS_MAX);
            return 1;
        }
    }
    for (unsigned bits = BITS_MIN; bits <= BITS_MAX; bits++) {
        for (int i = 0; i < TRIES_PER_SIZE; i++) {
            uint64_t multiplier = (seed = seed * 6364136223846793005u + 1442695040888963407u) | 1;

            if (!place_names(multiplier, bits, slots))
                continue;
            FILE *out = fopen(argv[1], "w");
            if (!out) {
                perror(argv[1]);
                return 1;
            }
            write_index(out, multiplier, bits, slots);
            return fclose(out) == 0 ? 0 : 1;
        }
    }
    fprintf(stderr, "commands.def: two names are the same\n");
    return 1;
}
