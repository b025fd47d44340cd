/* settings.c - options as data.
 *
 * options.def names every option once. From it come getopt_long's tables, the help, and the names that the configuration
 * file may use; what an option does is one case of apply. Numbers, URIs and words are checked where they are read, and a
 * wrong one is answered with what was expected.
 *
 * The environment and the configuration file are read before the command line, which so overrides them.
 *
 * SPDX-License-Identifier: MIT */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "help.h"
#include "password.h"
#include "profile.h"

typedef enum option_id {
#define OPTION(id, letter, name, argument, help) OPTION_##id,
#define OPTION_GROUP(heading)
#include "options.def"
    OPTION_COUNT
} option_id;

typedef struct option_row {
    char letter;
    const char *name, *argument;
} option_row;

static const option_row rows[OPTION_COUNT] = {
#define OPTION(id, letter, name, argument, help) { letter, name, argument },
#define OPTION_GROUP(heading)
#include "options.def"
};

void settings_init(settings *s)
{
    *s = (settings){ .repeat = 1, .interval = -1, .timeout = -1, .pipe_timeout = 30, .errors_shown = 10 };
    kvc_options_init(&s->server);
    s->server.protocol = 2;
    s->server.pool_max = 1;
    s->server.backoff_max_ms = 200;
    s->server.max_retries = 1;
    s->stdin_is_terminal = isatty(STDIN_FILENO);
    s->stdout_is_terminal = isatty(STDOUT_FILENO);
    s->stderr_is_terminal = isatty(STDERR_FILENO);
    s->format.kind = s->stdout_is_terminal ? FORMAT_TERMINAL : FORMAT_RAW;
    s->format.element_delimiter = s->format.reply_delimiter = "\n";
    s->show_pushes = s->stdout_is_terminal;
    s->colors = s->stdout_is_terminal && !(getenv("NO_COLOR") && *getenv("NO_COLOR"));
    s->pager = s->hints = true;
    s->memkeys_samples = -1;
}

void settings_done(settings *s)
{
    for (size_t i = 0; i < s->n_uris; i++)
        free(s->uri_memory[i]);
    free(s->uri_memory);
    words_done(&s->command);
    words_done(&s->memory);
}

/* ---- values ---- */

static char wrong_text[512];

#define wrong(...) (snprintf(wrong_text, sizeof wrong_text, __VA_ARGS__), wrong_text)

static const char *keep(settings *s, kvc_slice value)
{
    words_add(&s->memory, value);
    return s->memory.items[s->memory.n - 1].data;
}

static const char *read_integer(const char *value, long least, long most, long *ret)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(value, &end, 10);
    if (errno || end == value || *end || n < least || n > most)
        return wrong("\"%.100s\" is not a whole number from %ld to %ld", value, least, most);
    *ret = n;
    return NULL;
}

static const char *read_seconds(const char *value, double *ret)
{
    char *end;
    double n;

    n = strtod(value, &end);
    if (end == value || *end || !isfinite(n) || n < 0 || n > 1e6)
        return wrong("\"%.100s\" is not a number of seconds from 0 to 1000000", value);
    *ret = n;
    return NULL;
}

static const char *read_port(settings *s, const char *value)
{
    long port;
    const char *why = read_integer(value, 1, 65535, &port);

    if (why)
        return wrong("\"%.100s\" is not a port from 1 to 65535", value);
    s->server.port = (int)port;
    return NULL;
}

static const char *read_db(settings *s, const char *value)
{
    long db;
    const char *why = read_integer(value, 0, INT32_MAX, &db);

    if (!why) {
        s->server.db = (int)db;
        s->db_given = true;
    }
    return why;
}

/* The password of a URI is on the command line, too. */
static const char *read_uri(settings *s, const char *value)
{
    const char *password_before = s->server.password;
    char *memory = NULL;
    kvc_error error;

    if (kvc_options_parse_uri(&s->server, value, &memory, &error) != KVC_OK)
        return wrong("%s", error.message);
    s->uri_memory = must_have(realloc(s->uri_memory, (s->n_uris + 1) * sizeof *s->uri_memory));
    s->uri_memory[s->n_uris++] = memory;
    s->db_given = s->db_given || s->server.db;
    if (s->server.password != password_before) {
        s->password = s->server.password;
        s->password_on_command_line = true;
    }
    return NULL;
}

static const char *read_pattern(settings *s, const char *value, bool quoted)
{
    words w = { 0 };
    const char *why = NULL;

    if (quoted) {
        why = words_split(kvc_str(value), &w);
        if (!why && w.n != 1)
            why = "one quoted string was expected";
    } else {
        words_add_str(&w, value);
    }
    if (!why) {
        s->pattern = keep(s, w.items[0]);
        s->pattern_len = w.items[0].len;
    }
    words_done(&w);
    return why;
}

static const char *read_color(settings *s, const char *value)
{
    if (strcmp(value, "always") == 0)
        s->colors = true;
    else if (strcmp(value, "never") == 0)
        s->colors = false;
    else if (strcmp(value, "auto") != 0)
        return wrong("\"%.100s\" is not one of auto, always, never", value);
    return NULL;
}

static const char *read_yes_no(const char *value, bool *ret)
{
    *ret = strcmp(value, "yes") == 0 || strcmp(value, "y") == 0;
    if (!*ret && strcmp(value, "no") != 0 && strcmp(value, "n") != 0)
        return wrong("\"%.100s\" is not yes or no", value);
    return NULL;
}

static const char *set_format(settings *s, format_kind kind)
{
    s->format.kind = kind;
    s->format_given = true;
    if ((kind == FORMAT_JSON || kind == FORMAT_JSON_ASCII) && s->server.protocol == 2)
        s->server.protocol = 0;
    return NULL;
}

static const char *set_mode(settings *s, mode wanted)
{
    if (s->mode != MODE_COMMANDS && s->mode != wanted)
        return "only one of the options that stand instead of a command may be given";
    s->mode = wanted;
    return NULL;
}

static const char *set_resp3(settings *s)
{
    if (!kvc_build_info()->resp3)
        return wrong("this build uses hiredis %s, which cannot read RESP3",
                     kvc_build_info()->hiredis_version);
    s->server.protocol = 3;
    return NULL;
}

/* ---- options ---- */

static const char *apply_where(settings *s, option_id id, const char *value)
{
    switch (id) {
    case OPTION_host:
        s->server.host = keep(s, kvc_str(value));
        s->server.unix_path = NULL;
        return NULL;
    case OPTION_port:
        return read_port(s, value);
    case OPTION_socket:
        s->server.unix_path = keep(s, kvc_str(value));
        return NULL;
    case OPTION_uri:
        return read_uri(s, value);
    case OPTION_db:
        return read_db(s, value);
    case OPTION_timeout:
        return read_seconds(value, &s->timeout);
    case OPTION_cluster:
        s->server.cluster = true;
        return NULL;
    case OPTION_resp2:
        s->server.protocol = 2;
        return NULL;
    case OPTION_resp3:
        return set_resp3(s);
    case OPTION_pass:
        s->password = keep(s, kvc_str(value));
        s->password_on_command_line = true;
        return NULL;
    case OPTION_user:
        s->server.user = keep(s, kvc_str(value));
        return NULL;
    case OPTION_pass_file:
        s->pass_file = keep(s, kvc_str(value));
        return NULL;
    case OPTION_askpass:
        s->askpass = true;
        return NULL;
    default:
        s->no_auth_warning = true;
        return NULL;
    }
}

static const char *apply_tls(settings *s, option_id id, const char *value)
{
    const char **string = id == OPTION_sni           ? &s->server.tls_sni
                          : id == OPTION_cacert      ? &s->server.tls_ca_file
                          : id == OPTION_cacertdir   ? &s->server.tls_ca_dir
                          : id == OPTION_cert        ? &s->server.tls_cert_file
                          : id == OPTION_key         ? &s->server.tls_key_file
                          : id == OPTION_tls_ciphers ? &s->server.tls_ciphers
                                                     : &s->server.tls_ciphersuites;

    if (id == OPTION_tls || id == OPTION_insecure) {
        if (!kvc_build_info()->tls)
            return "this build has no TLS";
        if (id == OPTION_tls)
            s->server.tls = true;
        else
            s->server.tls_insecure = true;
    } else {
        *string = keep(s, kvc_str(value));
    }
    return NULL;
}

static const char *apply_command(settings *s, option_id id, const char *value)
{
    switch (id) {
    case OPTION_repeat:
        return read_integer(value, -1, INT32_MAX, &s->repeat);
    case OPTION_interval:
        return read_seconds(value, &s->interval);
    case OPTION_stdin_last:
        s->stdin_use = STDIN_LAST_ARGUMENT;
        return NULL;
    case OPTION_stdin_tag:
        s->stdin_use = STDIN_TAGGED_ARGUMENT;
        s->stdin_tag = keep(s, kvc_str(value));
        return NULL;
    case OPTION_quoted_input:
        s->quoted_input = true;
        return NULL;
    case OPTION_eval:
        s->eval_file = keep(s, kvc_str(value));
        return NULL;
    default:
        s->yes = true;
        return NULL;
    }
}

static const char *apply_printing(settings *s, option_id id, const char *value)
{
    switch (id) {
    case OPTION_raw:
        return set_format(s, FORMAT_RAW);
    case OPTION_no_raw:
        return set_format(s, FORMAT_TERMINAL);
    case OPTION_csv:
        return set_format(s, FORMAT_CSV);
    case OPTION_json:
        return set_format(s, FORMAT_JSON);
    case OPTION_quoted_json:
        return set_format(s, FORMAT_JSON_ASCII);
    case OPTION_element_delimiter:
        s->format.element_delimiter = keep(s, kvc_str(value));
        return NULL;
    case OPTION_reply_delimiter:
        s->format.reply_delimiter = keep(s, kvc_str(value));
        return NULL;
    case OPTION_show_pushes:
        return read_yes_no(value, &s->show_pushes);
    case OPTION_color:
        return read_color(s, value);
    case OPTION_no_pager:
        s->pager = false;
        return NULL;
    case OPTION_no_hints:
        s->hints = false;
        return NULL;
    case OPTION_errors_to_stderr:
        s->errors_to_stderr = true;
        return NULL;
    case OPTION_exit_zero:
        s->exit_zero = true;
        return NULL;
    default:
        s->verbose = true;
        return NULL;
    }
}

static const char *apply_mode(settings *s, option_id id, const char *value)
{
    switch (id) {
    case OPTION_pipe:
        return set_mode(s, MODE_PIPE);
    case OPTION_pipe_timeout:
        return read_seconds(value, &s->pipe_timeout);
    case OPTION_import_csv:
        s->csv_template = keep(s, kvc_str(value));
        return set_mode(s, MODE_PIPE);
    case OPTION_header:
        s->csv_header = true;
        return NULL;
    case OPTION_errors:
        return read_integer(value, 0, INT32_MAX, &s->errors_shown);
    case OPTION_scan:
        return set_mode(s, MODE_SCAN);
    case OPTION_pattern:
        return read_pattern(s, value, false);
    case OPTION_quoted_pattern:
        return read_pattern(s, value, true);
    case OPTION_count:
        return read_integer(value, 1, INT32_MAX, &s->count);
    case OPTION_type:
        s->type = keep(s, kvc_str(value));
        return NULL;
    case OPTION_unlink:
        s->unlink = true;
        return NULL;
    case OPTION_dry_run:
        s->dry_run = true;
        return NULL;
    case OPTION_rate:
        return read_integer(value, 1, INT32_MAX, &s->rate);
    case OPTION_bigkeys:
        return set_mode(s, MODE_BIGKEYS);
    case OPTION_memkeys_samples: {
        const char *why = read_integer(value, 0, INT32_MAX, &s->memkeys_samples);

        return why ? why : set_mode(s, MODE_MEMKEYS);
    }
    case OPTION_memkeys:
        return set_mode(s, MODE_MEMKEYS);
    case OPTION_hotkeys:
        return set_mode(s, MODE_HOTKEYS);
    case OPTION_latency:
        return set_mode(s, MODE_LATENCY);
    case OPTION_latency_history:
        return set_mode(s, MODE_LATENCY_HISTORY);
    default:
        return set_mode(s, MODE_STAT);
    case OPTION_rdb:
        s->rdb_file = keep(s, kvc_str(value));
        return set_mode(s, MODE_RDB);
    case OPTION_functions_rdb:
        return "functions cannot be fetched alone: --rdb fetches everything, functions included";
    }
}

static const char *apply(settings *s, option_id id, const char *value)
{
    if (id < OPTION_tls)
        return apply_where(s, id, value);
    if (id < OPTION_repeat)
        return apply_tls(s, id, value);
    if (id < OPTION_raw)
        return apply_command(s, id, value);
    if (id < OPTION_pipe)
        return apply_printing(s, id, value);
    return apply_mode(s, id, value);
}

const char *settings_apply(settings *s, const char *name, const char *value)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        bool same = (rows[id].name && strcmp(rows[id].name, name) == 0) ||
                    (rows[id].letter && name[0] == rows[id].letter && !name[1]);

        if (!same || id == OPTION_help || id == OPTION_version || id == OPTION_profile)
            continue;
        if (rows[id].argument && !value)
            return wrong("%s needs a value: %s", name, rows[id].argument);
        if (!rows[id].argument && value)
            return wrong("%s takes no value", name);
        return apply(s, (option_id)id, value);
    }
    return wrong("there is no option \"%.100s\"", name);
}

/* ---- the command line ---- */

enum { LONG_BASE = 1000 };

/* getopt_long's tables; letters has room for all. */
static void build_tables(char letters[2 * OPTION_COUNT + 3], struct option names[OPTION_COUNT + 1])
{
    size_t n = 0, l = 0;

    letters[l++] = '+'; /* stop at the first word that is no option: it is the command */
    letters[l++] = ':';
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (rows[id].letter) {
            letters[l++] = rows[id].letter;
            if (rows[id].argument)
                letters[l++] = ':';
        }
        if (rows[id].name)
            names[n++] = (struct option){ rows[id].name, rows[id].argument ? required_argument : no_argument,
                                          NULL, LONG_BASE + id };
    }
    letters[l] = 0;
    names[n] = (struct option){ 0 };
}

static option_id id_of(int code)
{
    if (code >= LONG_BASE)
        return (option_id)(code - LONG_BASE);
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (rows[id].letter == code)
            return (option_id)id;
    }
    return OPTION_COUNT;
}

/* How the user wrote the option, for messages. */
static const char *written(option_id id, int code)
{
    static char name[64];

    if (code < LONG_BASE)
        snprintf(name, sizeof name, "-%c", code);
    else
        snprintf(name, sizeof name, "--%s", rows[id].name);
    return name;
}

/* -h as the last word is a wish for help; any other option without its value is an error. */
static bool bad_option(int code, char **argv, exit_status *ret_status)
{
    option_id id = id_of(optopt);

    if (code == ':' && optopt == 'h') {
        help_print_usage(stdout);
        *ret_status = EXIT_FINE;
    } else if (code == ':') {
        *ret_status = complain(EXIT_USAGE, "%s needs a value: %s", written(id, optopt), rows[id].argument);
    } else {
        *ret_status = complain(EXIT_USAGE, "%s is no option, or takes no value; kvcli --help lists them all",
                               argv[optind - 1]);
    }
    return false;
}

/* What the list of processes shows is overwritten. */
static void hide(option_id id, char *value)
{
    if (id == OPTION_pass || (id == OPTION_uri && strchr(value, '@')))
        memset(value, 'x', strlen(value));
}

static bool read_options(settings *s, int argc, char **argv, exit_status *ret_status)
{
    struct option names[OPTION_COUNT + 1];
    char letters[2 * OPTION_COUNT + 3];
    int code;

    build_tables(letters, names);
    opterr = 0;
    optind = 0;
    while ((code = getopt_long(argc, argv, letters, names, NULL)) != -1) {
        option_id id = id_of(code);
        const char *why;

        if (code == '?' || code == ':')
            return bad_option(code, argv, ret_status);
        if (id == OPTION_profile)
            continue; /* read before */
        if (id == OPTION_help || id == OPTION_version) {
            *ret_status = EXIT_FINE;
            if (id == OPTION_help)
                help_print_usage(stdout);
            else
                printf("kvcli %s (hiredis %s%s%s)\n", KVC_VERSION, kvc_build_info()->hiredis_version,
                       kvc_build_info()->resp3 ? ", RESP3" : "", kvc_build_info()->tls ? ", TLS" : "");
            return false;
        }
        why = apply(s, id, optarg);
        if (why) {
            *ret_status = complain(EXIT_USAGE, "%s: %s", written(id, code), why);
            return false;
        }
        if (optarg)
            hide(id, optarg);
    }
    return true;
}

/* --profile, wherever it stands among the options; NULL: none. */
static const char *find_profile(int argc, char **argv)
{
    struct option names[OPTION_COUNT + 1];
    char letters[2 * OPTION_COUNT + 3];
    const char *name = NULL;
    int code;

    build_tables(letters, names);
    opterr = 0;
    optind = 0;
    while ((code = getopt_long(argc, argv, letters, names, NULL)) != -1) {
        if (id_of(code) == OPTION_profile)
            name = optarg;
    }
    return name;
}

/* kvcli's own words are lower case, come first, and not behind "--". */
static bool find_subcommand(settings *s, const char *word)
{
    static const struct {
        const char *word;
        mode mode;
    } subcommands[] = {
#define SUBCOMMAND_WORD(id, arguments, help) { #id, MODE_SUBCOMMAND_##id },
#define MODE_SUBCOMMAND_doctor               MODE_DOCTOR
#define MODE_SUBCOMMAND_top                  MODE_TOP
#define MODE_SUBCOMMAND_peek                 MODE_PEEK
#define MODE_SUBCOMMAND_watch                MODE_WATCH
#include "subcommands.def"
    };

    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(word, subcommands[i].word) == 0) {
            s->mode = subcommands[i].mode;
            return true;
        }
    }
    return false;
}

static const char *unquote(words *command)
{
    for (size_t i = 0; i < command->n; i++) {
        words w = { 0 };
        const char *why = words_split(command->items[i], &w);

        if (!why && w.n == 1)
            words_set(command, i, w.items[0]);
        else if (!why)
            why = "with --quoted-input every argument must be one quoted string";
        words_done(&w);
        if (why)
            return why;
    }
    return NULL;
}

/* What only makes sense together. */
static const char *check(const settings *s)
{
    bool wants_words = s->mode == MODE_COMMANDS || s->mode == MODE_PEEK || s->mode == MODE_WATCH;

    if (s->mode == MODE_PEEK && s->command.n != 1)
        return "peek needs one key";
    if (s->mode == MODE_WATCH && !s->command.n)
        return "watch needs a command to run; to send the server's WATCH, write it in capitals, or -- before "
               "it";
    if (!wants_words && s->command.n)
        return wrong("\"%.100s\": no command goes with this", s->command.items[0].data);
    if (s->unlink && s->mode != MODE_SCAN)
        return "--unlink goes with --scan";
    if (s->dry_run && !s->unlink)
        return "--dry-run goes with --scan --unlink";
    if (s->csv_header && !s->csv_template)
        return "--header goes with --import-csv";
    if (s->stdin_use != STDIN_COMMANDS && !s->command.n && !s->eval_file)
        return "-x and -X need a command";
    return NULL;
}

static void set_timeouts(settings *s)
{
    if (s->timeout > 0 || s->timeout == 0) {
        double ms = s->timeout * 1000;

        s->server.connect_timeout_ms = s->timeout == 0 || ms > 1e9 ? UINT32_MAX : ms < 1 ? 1 : (uint32_t)ms;
    }
}

bool settings_read(settings *s, int argc, char **argv, exit_status *ret_status)
{
    const char *why;

    if (!profile_read(s, find_profile(argc, argv), ret_status) || !read_options(s, argc, argv, ret_status))
        return false;
    argc -= optind;
    argv += optind;
    if (s->mode == MODE_COMMANDS && !s->eval_file && argc > 0 && strcmp(argv[-1], "--") != 0 &&
        find_subcommand(s, argv[0])) {
        /* Options may stand behind such a word, too. */
        if (!read_options(s, argc, argv, ret_status))
            return false;
        argc -= optind;
        argv += optind;
    }
    for (int i = 0; i < argc; i++)
        words_add_str(&s->command, argv[i]);
    why = s->quoted_input ? unquote(&s->command) : NULL;
    if (!why)
        why = check(s);
    if (why) {
        *ret_status = complain(EXIT_USAGE, "%s", why);
        return false;
    }
    s->format.utf8 = s->stdout_is_terminal;
    s->format.colors = s->colors;
    set_timeouts(s);
    return password_find(s, ret_status);
}
