/* SPDX-License-Identifier: MIT */
#include "report.h"

#include "chart.h"
#include "json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

table *report_add(report *r, const char *title)
{
    table *t = malloc(sizeof *t);

    assert(r->count < REPORT_TABLES);
    if (!t)
        return NULL;
    table_init(t, title);
    r->tables[r->count++] = t;
    return t;
}

void report_done(report *r)
{
    for (unsigned i = 0; i < r->count; i++)
        free(r->tables[i]);
    r->count = 0;
}

/* The processor as /proc/cpuinfo calls it. */
static void cpu_name(char out[], size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");

    snprintf(out, size, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static void machine(char out[], size_t size)
{
    struct utsname name;
    char cpu[128];
    double gib = 0;
    struct sysinfo info;

    cpu_name(cpu, sizeof cpu);
    if (sysinfo(&info) == 0)
        gib = (double)info.totalram * info.mem_unit / (1 << 30);
    if (uname(&name))
        memset(&name, 0, sizeof name);
    snprintf(out, size, "%d x %s, %.0f GiB, %s %s", get_nprocs(), cpu, gib, name.sysname, name.release);
}

static void command_line(int argc, char **argv, char out[], size_t size)
{
    size_t len = (size_t)snprintf(out, size, "kvbench");

    for (int i = 1; i < argc && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, strchr(argv[i], ' ') ? " '%s'" : " %s", argv[i]);
}

void report_print(const report *r, int argc, char **argv, bool json, FILE *out)
{
    char where[512], command[1024];

    machine(where, sizeof where);
    command_line(argc, argv, command, sizeof command);
    if (!json) {
        fprintf(out, "`%s` on %s\n\n", command, where);
        for (unsigned i = 0; i < r->count; i++)
            table_print(r->tables[i], out);
        return;
    }
    fprintf(out, "{\n  \"command\": ");
    json_string(command, out);
    fprintf(out, ",\n  \"machine\": ");
    json_string(where, out);
    fprintf(out, ",\n  \"tables\": [\n");
    for (unsigned i = 0; i < r->count; i++) {
        table_print_json(r->tables[i], out);
        fprintf(out, i + 1 < r->count ? ",\n" : "\n");
    }
    fprintf(out, "  ]\n}\n");
}

int report_draw(const report *r, int argc, char **argv, const char *path, fault *f)
{
    char where[512], command[1024];

    machine(where, sizeof where);
    command_line(argc, argv, command, sizeof command);
    return chart_write(r, path, command, where, f);
}
