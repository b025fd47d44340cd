/* settings.h - what the command line, the environment and the configuration file ask for.
 *
 *     settings wanted;
 *     settings_init(&wanted);
 *     if (!settings_read(&wanted, argc, argv, &status))
 *         return status;                        // said what was wrong, or printed help
 *     run(&wanted);
 *     settings_done(&wanted);
 *
 * The configuration file ($KVCLI_CONFIG, else $XDG_CONFIG_HOME/kvcli/config, else ~/.config/kvcli/config) has
 * sections of options without their dashes; [default] counts always, another with --profile:
 *
 *     [default]
 *     no-hints
 *     [staging]
 *     uri = rediss://app@staging.example:6380/2
 *     pass-file = /home/me/.staging
 *
 * Ownership  All strings live until settings_done.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_SETTINGS_H
#define KVCLI_SETTINGS_H

#include "exit_status.h"
#include "format.h"
#include "words.h"

typedef enum mode {
    MODE_COMMANDS, /* one of the command line, or those of stdin */
    MODE_PIPE,
    MODE_SCAN,
    MODE_BIGKEYS,
    MODE_MEMKEYS,
    MODE_HOTKEYS,
    MODE_LATENCY,
    MODE_LATENCY_HISTORY,
    MODE_STAT,
    MODE_RDB,
    MODE_DOCTOR,
    MODE_TOP,
    MODE_PEEK,
    MODE_WATCH,
} mode;

typedef enum stdin_use { STDIN_COMMANDS, STDIN_LAST_ARGUMENT, STDIN_TAGGED_ARGUMENT } stdin_use;

typedef struct settings {
    kvc_options server;
    mode mode;
    words command; /* what stands behind the options; of MODE_PEEK and MODE_WATCH without that word */
    const char *eval_file;

    /* the command */
    long repeat;     /* -1: for ever */
    double interval; /* s; below 0: not given */
    double timeout;  /* s; below 0: not given; 0: none */
    stdin_use stdin_use;
    const char *stdin_tag;
    bool quoted_input, yes;

    /* printing */
    format format;
    bool format_given, show_pushes, colors, stdout_is_terminal, stderr_is_terminal, stdin_is_terminal;
    bool pager, hints, errors_to_stderr, exit_zero, verbose;

    /* long work */
    double pipe_timeout; /* s */
    const char *csv_template;
    bool csv_header;
    long errors_shown;
    const char *pattern, *type; /* NULL: all */
    size_t pattern_len;
    long count; /* 0: not given */
    bool unlink, dry_run;
    const char *rdb_file; /* "-": stdout */
    long rate;            /* keys a second; 0: no limit */
    long memkeys_samples; /* below 0: the server's default */

    /* the password's sources, in this order */
    bool askpass, no_auth_warning, password_on_command_line, db_given;
    const char *password, *pass_file;

    words memory; /* strings that the pointers above point to */
    char **uri_memory;
    size_t n_uris;
} settings;

void settings_init(settings *s);
/* Reads everything. False: kvcli is to end with *ret_status, all has been said. */
bool settings_read(settings *s, int argc, char **argv, exit_status *ret_status);
/* One option by its long name or its letter, as the configuration file has it; NULL, or what was wrong. value NULL: none given.
 * The message lives until the next call. */
const char *settings_apply(settings *s, const char *name, const char *value);
void settings_done(settings *s);

#endif
