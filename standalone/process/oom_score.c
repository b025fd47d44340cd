/* oom_score.c - see oom_score.h. SPDX-License-Identifier: MIT */
#include "oom_score.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define PATH "/proc/self/oom_score_adj"

/* The value from before we changed it is remembered with the first change. */
static bool remember_start(server *s)
{
    FILE *in;

    if (s->oom_start_known)
        return true;
    in = fopen(PATH, "re");
    s->oom_start_known = in && fscanf(in, "%d", &s->oom_start) == 1;
    if (in)
        fclose(in);
    return s->oom_start_known;
}

static int write_score(int score)
{
    FILE *out = fopen(PATH, "we");
    int result;

    if (!out)
        return -1;
    score = score < -1000 ? -1000 : score > 1000 ? 1000 : score;
    result = fprintf(out, "%d\n", score) > 0 ? 0 : -1;
    return fclose(out) == 0 ? result : -1;
}

/* A primary has the first of the values, a replica the second. The third is for a child that saves: there is none. */
static int value_of_role(server *s)
{
    char *text = config_text(s->config, CONFIG_ID_oom_score_adj_values);
    int values[2] = { 0, 0 };

    if (text)
        sscanf(text, "%d %d", &values[0], &values[1]);
    free(text);
    return values[s->log.role == 'S'];
}

int oom_score_apply(server *s)
{
    int64_t mode = config_number(s->config, CONFIG_ID_oom_score_adj);
    int score;

    if (mode == CONFIG_OOM_NO && !s->oom_start_known)
        return 0;
    if (remember_start(s)) {
        score = s->oom_start;
        if (mode == CONFIG_OOM_ABSOLUTE)
            score = value_of_role(s);
        else if (mode != CONFIG_OOM_NO)
            score += value_of_role(s);
        if (write_score(score) == 0)
            return 0;
    }
    log_write(&s->log, CONFIG_LOG_WARNING, "Unable to write oom_score_adj: %s", strerror(errno));
    return -1;
}
