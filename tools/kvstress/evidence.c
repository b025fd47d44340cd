/* evidence.c - see evidence.h. SPDX-License-Identifier: MIT */
#include "evidence.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

void evidence_init(evidence *e, const char *check, const char *format, ...)
{
    va_list args;

    memset(e, 0, sizeof *e);
    e->check = check;
    va_start(args, format);
    vsnprintf(e->title, sizeof e->title, format, args);
    va_end(args);
}

void evidence_done(evidence *e)
{
    free(e->ops);
    memset(e, 0, sizeof *e);
}

static void copy_text(char to[EVIDENCE_TEXT], const char *from)
{
    if ((size_t)snprintf(to, EVIDENCE_TEXT, "%s", from) >= EVIDENCE_TEXT)
        memcpy(to + EVIDENCE_TEXT - 4, "...", 4);
}

evidence_op *evidence_row(evidence *e, uint32_t process, int64_t call, int64_t ret, const char *command,
                          const char *reply)
{
    static _Thread_local evidence_op spare;
    evidence_op *row = &spare;

    if (e->count == e->room) {
        unsigned room = e->room ? 2 * e->room : 8;
        evidence_op *bigger = realloc(e->ops, room * sizeof *bigger);

        if (bigger) {
            e->ops = bigger;
            e->room = room;
        }
    }
    if (e->count < e->room)
        row = &e->ops[e->count++];
    else
        e->dropped++;
    *row = (evidence_op){ .process = process, .call = call, .ret = ret };
    copy_text(row->command, command);
    copy_text(row->reply, reply);
    return row;
}

static int compare_rows(const void *left, const void *right)
{
    const evidence_op *a = left, *b = right;

    if (a->call != b->call)
        return a->call < b->call ? -1 : 1;
    return a->ret < b->ret ? -1 : a->ret > b->ret;
}

void evidence_sort(evidence *e)
{
    if (e->count)
        qsort(e->ops, e->count, sizeof *e->ops, compare_rows);
}

static void print_time(int64_t ns, int64_t start_ns, FILE *out)
{
    if (ns == INT64_MAX)
        fprintf(out, "  %14s", "never");
    else
        fprintf(out, "  %14.3f", (double)(ns - start_ns) / 1000.0);
}

void evidence_print(const evidence *e, int64_t start_ns, FILE *out)
{
    int width = 9;

    fprintf(out, "VIOLATION (%s): %s\n\n", e->check, e->title);
    for (unsigned i = 0; i < e->count; i++)
        if ((int)strlen(e->ops[i].command) > width)
            width = (int)strlen(e->ops[i].command);
    fprintf(out, "  connection       called us     returned us  %-*s  reply\n", width, "operation");
    for (unsigned i = 0; i < e->count; i++) {
        const evidence_op *row = &e->ops[i];

        if (row->process)
            fprintf(out, "  %10" PRIu32, row->process);
        else
            fprintf(out, "  %10s", "-");
        print_time(row->call, start_ns, out);
        print_time(row->ret, start_ns, out);
        fprintf(out, "  %-*s  %s%s\n", width, row->command, row->reply, row->guilty ? "   <--" : "");
    }
    if (e->dropped)
        fprintf(out, "  (%u more: memory is out)\n", e->dropped);
    if (e->note[0])
        fprintf(out, "\n  %s\n", e->note);
    fputc('\n', out);
}

void evidence_print_json(const evidence *e, int64_t start_ns, FILE *out)
{
    fprintf(out, "{\"check\": ");
    json_string(e->check, out);
    fprintf(out, ", \"title\": ");
    json_string(e->title, out);
    fprintf(out, ", \"note\": ");
    json_string(e->note, out);
    fprintf(out, ", \"operations\": [");
    for (unsigned i = 0; i < e->count; i++) {
        const evidence_op *row = &e->ops[i];

        fprintf(out, "%s\n      {\"connection\": %" PRIu32 ", \"called_us\": %.3f, \"returned_us\": ",
                i ? "," : "", row->process, (double)(row->call - start_ns) / 1000.0);
        if (row->ret == INT64_MAX)
            fputs("null", out);
        else
            fprintf(out, "%.3f", (double)(row->ret - start_ns) / 1000.0);
        fprintf(out, ", \"operation\": ");
        json_string(row->command, out);
        fprintf(out, ", \"reply\": ");
        json_string(row->reply, out);
        fputc('}', out);
    }
    fprintf(out, "]}");
}
