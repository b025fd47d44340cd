/* chart.c - see chart.h.
 *
 * A table is a group of bars for each row, one bar for each column, as an inline SVG. Bars of one row share a scale,
 * because the rows of a table differ by orders of magnitude and its columns are what is compared. A table whose columns
 * are different quantities is better read than seen, so that the figures always stand beside the bars.
 * SPDX-License-Identifier: MIT */
#include "chart.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH  300
#define COLUMN_WIDTH 150
#define BAR_WIDTH    420
#define BAR_HEIGHT   16
#define BAR_STEP     20
#define ROW_GAP      14

static const char *const COLOURS[] = { "#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d6a9f", "#5b5b5b" };

static void write_text(const char *text, FILE *out)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
}

static unsigned cells_in(const table *t, unsigned row)
{
    unsigned n = 0;

    for (unsigned c = 0; c < t->column_count; c++)
        n += t->cells[row][c].set;
    return n;
}

static double largest(const table *t, unsigned row)
{
    double most = 0;

    for (unsigned c = 0; c < t->column_count; c++)
        if (t->cells[row][c].set && isfinite(t->cells[row][c].value) && t->cells[row][c].value > most)
            most = t->cells[row][c].value;
    return most;
}

static void write_label(int x, int y, const char *anchor, const char *text, FILE *out)
{
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
    write_text(text, out);
    fputs("</text>\n", out);
}

static int write_row(const table *t, unsigned row, int y, FILE *out)
{
    double most = largest(t, row);

    write_label(LABEL_WIDTH - 8, y + BAR_HEIGHT - 4, "end", t->rows[row], out);
    for (unsigned c = 0; c < t->column_count; c++) {
        const table_cell *cell = &t->cells[row][c];
        double width =
            most > 0 && cell->set && isfinite(cell->value) && cell->value > 0 ? cell->value / most : 0;

        if (!cell->set)
            continue;
        write_label(LABEL_WIDTH, y + BAR_HEIGHT - 4, "start", t->columns[c], out);
        fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
                LABEL_WIDTH + COLUMN_WIDTH, y, width * BAR_WIDTH, BAR_HEIGHT,
                COLOURS[c % (sizeof COLOURS / sizeof *COLOURS)]);
        write_label(LABEL_WIDTH + COLUMN_WIDTH + (int)(width * BAR_WIDTH) + 6, y + BAR_HEIGHT - 4, "start",
                    cell->text, out);
        y += BAR_STEP;
    }
    return y + ROW_GAP;
}

static void write_table(const table *t, FILE *out)
{
    int height = ROW_GAP, y = ROW_GAP / 2;

    if (t->row_count == 0)
        return;
    for (unsigned r = 0; r < t->row_count; r++)
        height += (int)cells_in(t, r) * BAR_STEP + ROW_GAP;
    fputs("<h2>", out);
    write_text(t->title, out);
    fprintf(out, "</h2>\n<svg width=\"%d\" height=\"%d\" role=\"img\">\n",
            LABEL_WIDTH + COLUMN_WIDTH + BAR_WIDTH + 140, height);
    for (unsigned r = 0; r < t->row_count; r++)
        y = write_row(t, r, y, out);
    fputs("</svg>\n", out);
}

int chart_write(const report *r, const char *path, const char *command, const char *where, fault *f)
{
    FILE *out = fopen(path, "we");
    bool failed;

    if (!out)
        return fault_set(f, "--chart: cannot write %s: %s", path, strerror(errno));
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>kvbench</title>\n"
          "<style>body{font:14px sans-serif;margin:2em;color:#222}svg text{font:12px sans-serif;fill:#222}"
          "h2{font-size:16px;margin:1.5em 0 .3em}</style>\n</head>\n<body>\n<p><code>",
          out);
    write_text(command, out);
    fputs("</code><br>", out);
    write_text(where, out);
    fputs("</p>\n", out);
    for (unsigned i = 0; i < r->count; i++)
        write_table(r->tables[i], out);
    fputs("</body>\n</html>\n", out);
    failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    return failed ? fault_set(f, "--chart: cannot write %s: %s", path, strerror(errno)) : 0;
}
