/* SPDX-License-Identifier: MIT */
#include "table.h"

#include "json.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

void table_init(table *t, const char *title)
{
    memset(t, 0, sizeof *t);
    snprintf(t->title, sizeof t->title, "%s", title);
}

unsigned table_column(table *t, const char *name)
{
    for (unsigned i = 0; i < t->column_count; i++)
        if (strcmp(t->columns[i], name) == 0)
            return i;
    assert(t->column_count < TABLE_COLUMNS);
    snprintf(t->columns[t->column_count], sizeof t->columns[0], "%s", name);
    return t->column_count++;
}

unsigned table_row(table *t, const char *format, ...)
{
    char name[sizeof t->rows[0]];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (unsigned i = 0; i < t->row_count; i++)
        if (strcmp(t->rows[i], name) == 0)
            return i;
    assert(t->row_count < TABLE_ROWS);
    memcpy(t->rows[t->row_count], name, sizeof name);
    return t->row_count++;
}

void table_set(table *t, unsigned row, unsigned column, double value, const char *format, ...)
{
    table_cell *cell = &t->cells[row][column];
    va_list args;

    cell->set = true;
    cell->value = value;
    va_start(args, format);
    vsnprintf(cell->text, sizeof cell->text, format, args);
    va_end(args);
}

static const char *cell_text(const table *t, unsigned row, unsigned column)
{
    return t->cells[row][column].set ? t->cells[row][column].text : "-";
}

void table_print(const table *t, FILE *out)
{
    size_t first = strlen(t->title), width[TABLE_COLUMNS];

    for (unsigned r = 0; r < t->row_count; r++)
        if (strlen(t->rows[r]) > first)
            first = strlen(t->rows[r]);
    for (unsigned c = 0; c < t->column_count; c++) {
        width[c] = strlen(t->columns[c]);
        for (unsigned r = 0; r < t->row_count; r++)
            if (strlen(cell_text(t, r, c)) > width[c])
                width[c] = strlen(cell_text(t, r, c));
    }
    fprintf(out, "| %-*s |", (int)first, t->title);
    for (unsigned c = 0; c < t->column_count; c++)
        fprintf(out, " %*s |", (int)width[c], t->columns[c]);
    fprintf(out, "\n|");
    for (size_t i = 0; i < first + 2; i++)
        fputc('-', out);
    for (unsigned c = 0; c < t->column_count; c++) {
        fputc('|', out);
        for (size_t i = 0; i < width[c] + 1; i++)
            fputc('-', out);
        fputc(':', out);
    }
    fprintf(out, "|\n");
    for (unsigned r = 0; r < t->row_count; r++) {
        fprintf(out, "| %-*s |", (int)first, t->rows[r]);
        for (unsigned c = 0; c < t->column_count; c++)
            fprintf(out, " %*s |", (int)width[c], cell_text(t, r, c));
        fputc('\n', out);
    }
    fputc('\n', out);
}

void table_print_json(const table *t, FILE *out)
{
    fprintf(out, "    {\"title\": ");
    json_string(t->title, out);
    fprintf(out, ", \"rows\": [");
    for (unsigned r = 0; r < t->row_count; r++) {
        fprintf(out, "%s\n      {\"name\": ", r ? "," : "");
        json_string(t->rows[r], out);
        for (unsigned c = 0; c < t->column_count; c++) {
            fprintf(out, ", ");
            json_string(t->columns[c], out);
            if (t->cells[r][c].set && isfinite(t->cells[r][c].value))
                fprintf(out, ": %.6g", t->cells[r][c].value);
            else
                fprintf(out, ": null");
        }
        fprintf(out, "}");
    }
    fprintf(out, "\n    ]}");
}
