/* crc64_tables.c - writes crc64_tables.h: what eight bytes at eight distances do to a CRC64.
 *
 * Run by the build. The polynomial is the one Redis uses (after David T. Jones): 0xad93d23594c935a9, bits
 * reflected. SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>

#define REFLECTED 0x95ac9329ac4bc9b5u /* the polynomial, lowest bit first */

int main(int argc, char **argv)
{
    static uint64_t table[8][256];
    FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

    if (!out)
        return 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ REFLECTED : crc >> 1;
        table[0][byte] = crc;
    }
    for (unsigned distance = 1; distance < 8; distance++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t crc = table[distance - 1][byte];

            table[distance][byte] = table[0][crc & 0xff] ^ crc >> 8;
        }
    fputs("/* Written by core/persist/tables/crc64_tables.c. */\nstatic const uint64_t crc64_table[8][256] = "
          "{\n",
          out);
    for (unsigned distance = 0; distance < 8; distance++) {
        fputs("    {", out);
        for (unsigned byte = 0; byte < 256; byte++)
            fprintf(out, "%s0x%016llxu,", byte % 4 ? " " : "\n      ",
                    (unsigned long long)table[distance][byte]);
        fputs("\n    },\n", out);
    }
    fputs("};\n", out);
    return fclose(out) == 0 ? 0 : 1;
}
