/* aof_frame.c - see aof_frame.h. SPDX-License-Identifier: MIT */
#include "aof_frame.h"

#include <string.h>

#include "crc32c.h"

#define OPENING_CHECK 42 /* where the numbers stand in their lines */
#define HEADER_LENGTH 22
#define HEADER_SYNCED 39
#define HEADER_CRC    48
#define HEADER_CHECK  57

static char *put_hex(char *at, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        at[i] = "0123456789abcdef"[value & 15];
    return at + digits;
}

/* Exactly so many digits, as put_hex writes them. */
static bool get_hex(const char *at, int digits, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (int i = 0; i < digits; i++) {
        unsigned digit = (unsigned char)at[i] - '0';

        if (digit > 9) {
            digit = (unsigned char)at[i] - (unsigned)'a' + 10;
            if (digit < 10 || digit > 15)
                return false;
        }
        value = value << 4 | digit;
    }
    *ret_value = value;
    return true;
}

static void end_line(char *line, int check_at, uint32_t check)
{
    char *at = line + check_at;

    at[-1] = ' ';
    at = put_hex(at, check, 8);
    memcpy(at, "\r\n", 2);
}

static bool line_is_whole(const char *line, int check_at, uint32_t seed)
{
    uint64_t check;

    return line[check_at - 1] == ' ' && get_hex(line + check_at, 8, &check) &&
           check == crc32c(seed, line, (size_t)check_at - 1) && memcmp(line + check_at + 8, "\r\n", 2) == 0;
}

/* ---- the opening ---- */

void aof_opening_write(char line[AOF_OPENING_BYTES], const aof_opening *opening)
{
    char *at = line + sizeof AOF_OPENING_MARK - 1;

    memcpy(line, AOF_OPENING_MARK, sizeof AOF_OPENING_MARK - 1);
    at = put_hex(at, opening->id, 16);
    *at++ = ' ';
    put_hex(at, opening->first, 16);
    end_line(line, OPENING_CHECK, crc32c(0, line, OPENING_CHECK - 1));
}

bool aof_opening_read(const char line[AOF_OPENING_BYTES], aof_opening *ret_opening)
{
    const char *at = line + sizeof AOF_OPENING_MARK - 1;

    return memcmp(line, AOF_OPENING_MARK, sizeof AOF_OPENING_MARK - 1) == 0 &&
           line_is_whole(line, OPENING_CHECK, 0) && get_hex(at, 16, &ret_opening->id) && at[16] == ' ' &&
           get_hex(at + 17, 16, &ret_opening->first);
}

/* ---- batches ---- */

static uint32_t seed_of(uint64_t id)
{
    return (uint32_t)(id ^ id >> 32);
}

void aof_header_write(char line[AOF_HEADER_BYTES], const aof_header *header, uint64_t id)
{
    char *at = line + sizeof AOF_HEADER_MARK - 1;

    memcpy(line, AOF_HEADER_MARK, sizeof AOF_HEADER_MARK - 1);
    at = put_hex(at, header->sequence, 16);
    *at++ = ' ';
    at = put_hex(at, header->length, 16);
    *at++ = ' ';
    at = put_hex(at, header->unsynced, 8);
    *at++ = ' ';
    put_hex(at, header->crc, 8);
    end_line(line, HEADER_CHECK, crc32c(seed_of(id), line, HEADER_CHECK - 1));
}

bool aof_header_read(const char line[AOF_HEADER_BYTES], uint64_t id, aof_header *ret_header)
{
    const char *at = line + sizeof AOF_HEADER_MARK - 1;
    uint64_t unsynced, crc;

    if (memcmp(line, AOF_HEADER_MARK, sizeof AOF_HEADER_MARK - 1) != 0 ||
        !line_is_whole(line, HEADER_CHECK, seed_of(id)) || !get_hex(at, 16, &ret_header->sequence) ||
        at[16] != ' ' || !get_hex(line + HEADER_LENGTH, 16, &ret_header->length) ||
        line[HEADER_SYNCED - 1] != ' ' || !get_hex(line + HEADER_SYNCED, 8, &unsynced) ||
        line[HEADER_CRC - 1] != ' ' || !get_hex(line + HEADER_CRC, 8, &crc))
        return false;
    ret_header->unsynced = (uint32_t)unsynced;
    ret_header->crc = (uint32_t)crc;
    return true;
}
