/* table.h - what was measured, as a table that is also Markdown, or as JSON.
 *
 *     table t;
 *     table_init(&t, "Server CPU time per request, microseconds");
 *     column = table_column(&t, "kvserver");
 *     row    = table_row(&t, "GET, pipeline 64");
 *     table_set(&t, row, column, 0.41, "%.2f", 0.41);
 *     table_print(&t, stdout);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_TABLE_H
#define KVBENCH_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define TABLE_COLUMNS 12
#define TABLE_ROWS    48

typedef struct table_cell {
    bool set;
    double value;
    char text[48];
} table_cell;

typedef struct table {
    char title[160];
    char columns[TABLE_COLUMNS][48];
    char rows[TABLE_ROWS][96];
    unsigned column_count, row_count;
    table_cell cells[TABLE_ROWS][TABLE_COLUMNS];
} table;

void table_init(table *t, const char *title);
/* The index of the column (row) of that name, which is added when it is new. */
unsigned table_column(table *t, const char *name);
unsigned table_row(table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A cell: its number (for JSON) and its text, made by format. */
void table_set(table *t, unsigned row, unsigned column, double value, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Aligned, with the bars of Markdown. */
void table_print(const table *t, FILE *out);
/* One JSON object: {"title": ..., "rows": [{"name": ..., "<column>": number, ...}, ...]}. */
void table_print_json(const table *t, FILE *out);

#endif
