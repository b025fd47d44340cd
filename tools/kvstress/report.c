/* report.c - see report.h. SPDX-License-Identifier: MIT */
#include "report.h"

#include <string.h>

#include "json.h"
#include "parts.h"

typedef struct report {
    const run *run;
    const outcome *outcome;
    FILE *out;
    const char *verdicts[CHECKS]; /* NULL: not asked for */
    fault trouble;
    bool troubled;
    int status;
} report;

static bool judged_by_history(unsigned check)
{
    return check == CHECK_LINEAR || check == CHECK_MULTIKEY;
}

/* Operations that a check has judged. A crash check judges those of the histories. */
static unsigned long long checked(const report *p, unsigned check)
{
    const uint64_t *by = p->outcome->tally.checked;

    return check == CHECK_CRASH ? by[CHECK_LINEAR] + by[CHECK_MULTIKEY] : by[check];
}

static const char *verdict_on(const report *p, unsigned check)
{
    for (unsigned i = 0; i < p->run->violation_count; i++)
        if (strcmp(p->run->violations[i].check, CHECK_NAMES[check]) == 0)
            return "VIOLATION";
    if (checked(p, check) == 0 || (check == CHECK_CRASH && p->outcome->crashes == 0))
        return "nothing checked";
    if (p->outcome->jury.undecided && (judged_by_history(check) || check == CHECK_CRASH))
        return "undecided";
    return "ok";
}

/* Whether the server refused so much that what it granted proves little. */
static void look_for_refusals(report *p)
{
    const tally *t = &p->outcome->tally;
    const refusal *most = &p->run->refusals[0];

    if (t->refused <= t->operations || p->run->refusal_count == 0)
        return;
    for (unsigned i = 1; i < p->run->refusal_count; i++)
        if (p->run->refusals[i].count > most->count)
            most = &p->run->refusals[i];
    p->troubled = true;
    fault_set(&p->trouble, "%s: it refuses most requests: %s", p->run->target.name, most->text);
}

static bool is_unsupported(const report *p, unsigned check)
{
    return (check == CHECK_MULTIKEY && !parts_can(&p->run->target, PART_MULTIKEY)) ||
           (check == CHECK_TTL && !parts_can(&p->run->target, PART_TTL));
}

static void judge(report *p)
{
    const run *r = p->run;
    bool undecided = false;

    for (unsigned i = 0; i < CHECKS; i++) {
        if (!r->options->checks[i])
            continue;
        p->verdicts[i] = verdict_on(p, i);
        if (is_unsupported(p, i)) {
            p->verdicts[i] = "not supported by this server";
            undecided = undecided || r->options->checks_given;
            continue;
        }
        undecided = undecided || strcmp(p->verdicts[i], "ok") != 0;
    }
    p->troubled = r->failed;
    if (r->failed)
        p->trouble = r->fault;
    else
        look_for_refusals(p);
    p->status = r->violation_count ? EXIT_VIOLATION
                : p->troubled      ? EXIT_TROUBLE
                : undecided        ? EXIT_UNDECIDED
                                   : EXIT_OK;
}

/* ---- for people ------------------------------------------------------------------------- */

/* The command line that asks the same again. */
static void print_replay(const report *p)
{
    const options *o = p->run->options;

    fprintf(p->out, "  To replay: kvstress");
    for (int i = 1; i < o->argc; i++) {
        if (strcmp(o->argv[i], "--seed") == 0 && i + 1 < o->argc) {
            i++;
            continue;
        }
        if (strncmp(o->argv[i], "--seed=", 7) != 0)
            fprintf(p->out, strpbrk(o->argv[i], " \t'\"{}$*") || !*o->argv[i] ? " '%s'" : " %s", o->argv[i]);
    }
    fprintf(p->out, " --seed %llu\n\n", (unsigned long long)p->run->seed);
}

static void print_missing(const report *p)
{
    const target *t = &p->run->target;
    const bool *checks = p->run->options->checks;

    if (!t->transactions && (checks[CHECK_MULTIKEY] || checks[CHECK_FIFO]))
        fprintf(p->out, "  MULTI, EXEC and WATCH are not supported by this server: checked without them\n");
    if (!t->knows[USE_PUBLISH] && checks[CHECK_FIFO])
        fprintf(p->out, "  publish/subscribe is not supported by this server: checked without it\n");
    if (!t->knows[USE_SET_IFEQ] && checks[CHECK_LINEAR])
        fprintf(p->out, "  SET ... IFEQ is not supported by this server: compare-and-set by %s\n",
                t->transactions ? "WATCH, SETNX and GETSET" : "SETNX and GETSET");
}

static void print_tally(const report *p)
{
    const outcome *o = p->outcome;
    const tally *t = &o->tally;

    fprintf(p->out, "\n  %llu operations in %.1f s: %.0f per second; p50 %.0f us, p99 %.0f us, max %.1f ms\n",
            (unsigned long long)t->operations, o->seconds, (double)t->operations / o->seconds,
            histogram_percentile(&o->latency, 0.5) * 1e-3, histogram_percentile(&o->latency, 0.99) * 1e-3,
            (double)o->latency.max_ns * 1e-6);
    fprintf(p->out, "  %llu connections", (unsigned long long)t->opened);
    if (t->lost)
        fprintf(p->out, ", of which the server closed %llu", (unsigned long long)t->lost);
    if (t->unknown)
        fprintf(p->out, "; %llu outcomes are unknown", (unsigned long long)t->unknown);
    if (t->messages)
        fprintf(p->out, "; %llu messages", (unsigned long long)t->messages);
    if (t->dropped)
        fprintf(p->out, ", subscribers closed by the server: %llu (what they missed is not counted as lost)",
                (unsigned long long)t->dropped);
    if (o->crashes)
        fprintf(p->out, "; %u times killed and started again", o->crashes);
    fputc('\n', p->out);
    for (unsigned i = 0; i < p->run->refusal_count; i++)
        fprintf(p->out, "  refused %llu times: %s\n", (unsigned long long)p->run->refusals[i].count,
                p->run->refusals[i].text);
}

static void print_text(const report *p)
{
    const run *r = p->run;
    const jury_result *judged = &p->outcome->jury;

    for (unsigned i = 0; i < r->violation_count; i++) {
        fputc('\n', p->out);
        evidence_print(&r->violations[i], r->start_ns, p->out);
        print_replay(p);
    }
    fprintf(p->out, "kvstress: %s (%s%s), %llu connections, %llu threads, seed %llu\n\n", r->target.name,
            r->target.software[0] ? r->target.software : "it does not say what it is",
            r->options->module == MODULE_NOT ? "" : ", through the module",
            (unsigned long long)r->options->connections, (unsigned long long)r->options->threads,
            (unsigned long long)r->seed);
    for (unsigned i = 0; i < CHECKS; i++)
        if (p->verdicts[i])
            fprintf(p->out, "  %-12s %12llu operations  %s\n", CHECK_NAMES[i], checked(p, i), p->verdicts[i]);
    if (judged->histories)
        fprintf(p->out, "  %llu histories were judged\n", (unsigned long long)judged->histories);
    if (judged->undecided)
        fprintf(p->out, "  %llu histories could not be decided within --budget, the first is that of %s\n",
                (unsigned long long)judged->undecided, judged->undecided_name);
    print_missing(p);
    print_tally(p);
    if (p->troubled)
        fprintf(p->out, "\n  It could not go on: %s\n", p->trouble.text);
}

/* ---- for programs ----------------------------------------------------------------------- */

static void print_json_checks(const report *p)
{
    const char *comma = "";

    fprintf(p->out, "  \"checks\": {");
    for (unsigned i = 0; i < CHECKS; i++)
        if (p->verdicts[i]) {
            fprintf(p->out, "%s\n    \"%s\": {\"verdict\": \"%s\", \"operations\": %llu}", comma,
                    CHECK_NAMES[i], p->verdicts[i], checked(p, i));
            comma = ",";
        }
    fprintf(p->out, "},\n");
}

static void print_json_refusals(const report *p)
{
    fprintf(p->out, "  \"refused\": [");
    for (unsigned i = 0; i < p->run->refusal_count; i++) {
        fprintf(p->out, "%s{\"error\": ", i ? ", " : "");
        json_string(p->run->refusals[i].text, p->out);
        fprintf(p->out, ", \"times\": %llu}", (unsigned long long)p->run->refusals[i].count);
    }
    fprintf(p->out, "],\n");
}

static void print_json(const report *p)
{
    const run *r = p->run;
    const outcome *o = p->outcome;
    const tally *t = &o->tally;
    static const char *const words[] = { "ok", "violation", "trouble", "undecided" };

    fprintf(p->out, "{\n  \"verdict\": \"%s\",\n  \"server\": ", words[p->status]);
    json_string(r->target.name, p->out);
    fprintf(p->out, ",\n  \"software\": ");
    json_string(r->target.software, p->out);
    fprintf(
        p->out,
        ",\n  \"seed\": %llu,\n  \"connections\": %llu,\n  \"threads\": %llu,\n  \"seconds\": %.3f,\n"
        "  \"operations\": %llu,\n  \"operations_per_second\": %.0f,\n"
        "  \"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"max\": %.1f},\n",
        (unsigned long long)r->seed, (unsigned long long)r->options->connections,
        (unsigned long long)r->options->threads, o->seconds, (unsigned long long)t->operations,
        (double)t->operations / o->seconds, histogram_percentile(&o->latency, 0.5) * 1e-3,
        histogram_percentile(&o->latency, 0.9) * 1e-3, histogram_percentile(&o->latency, 0.99) * 1e-3,
        histogram_percentile(&o->latency, 0.999) * 1e-3, (double)o->latency.max_ns * 1e-3);
    print_json_checks(p);
    fprintf(p->out,
            "  \"histories\": %llu,\n  \"undecided\": %llu,\n  \"connections_opened\": %llu,\n"
            "  \"connections_lost\": %llu,\n  \"unknown_outcomes\": %llu,\n  \"messages\": %llu,\n"
            "  \"subscribers_dropped\": %llu,\n  \"crashes\": %u,\n"
            "  \"supports\": {\"transactions\": %s, \"pubsub\": %s, \"ifeq\": %s, \"versions\": %s},\n",
            (unsigned long long)o->jury.histories, (unsigned long long)o->jury.undecided,
            (unsigned long long)t->opened, (unsigned long long)t->lost, (unsigned long long)t->unknown,
            (unsigned long long)t->messages, (unsigned long long)t->dropped, o->crashes,
            r->target.transactions ? "true" : "false", r->target.knows[USE_PUBLISH] ? "true" : "false",
            r->target.knows[USE_SET_IFEQ] ? "true" : "false", r->target.knows[USE_GETV] ? "true" : "false");
    print_json_refusals(p);
    fprintf(p->out, "  \"trouble\": ");
    if (p->troubled)
        json_string(p->trouble.text, p->out);
    else
        fputs("null", p->out);
    fprintf(p->out, ",\n  \"violations\": [");
    for (unsigned i = 0; i < r->violation_count; i++) {
        fprintf(p->out, "%s\n    ", i ? "," : "");
        evidence_print_json(&r->violations[i], r->start_ns, p->out);
    }
    fprintf(p->out, "]\n}\n");
}

int report_print(const run *r, const outcome *o, FILE *out)
{
    report p = { .run = r, .outcome = o, .out = out };

    judge(&p);
    if (r->options->json)
        print_json(&p);
    else
        print_text(&p);
    return p.status;
}
