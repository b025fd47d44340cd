/* metrics_text.h - what INFO says, in the text format of Prometheus (0.0.4), under the names of redis_exporter: so its
 * dashboards work.
 *
 * Every number of INFO that redis_exporter knows has its name; the figures of locks are kv_lock_... Nothing is kept: a scrape
 * is an INFO.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_METRICS_TEXT_H
#define KV_STANDALONE_METRICS_TEXT_H

#include <stdio.h>

/* Writes what info, the text of INFO EVERYTHING, says. info is taken apart. */
void metrics_write_info(FILE *out, char *info);
/* One sample without labels, with its HELP and TYPE. */
void metrics_write(FILE *out, const char *name, const char *type, double value);

#endif
