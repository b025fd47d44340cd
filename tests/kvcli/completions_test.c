/* completions_test.c - what bash and zsh offer on kvcli's command line. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* What bash offers for the last of these words. */
static void bash_offers(const char *words, const char *expected)
{
    char script[1024];
    outcome o;

    snprintf(
        script, sizeof script,
        ". \"$KV_COMPLETIONS/kvcli.bash\"; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _kvcli; "
        "echo \"${COMPREPLY[*]}\"",
        words);
    o = program_run("", (const char *const[]){ program_or_skip("bash"), "-c", script, NULL });
    assert_string_equal(o.err, "");
    assert_string_equal(o.out, expected);
    outcome_done(&o);
}

static void bash_completes_options_commands_and_subcommands(void **state)
{
    (void)state;
    bash_offers("kvcli --pipe-", "--pipe-timeout\n");
    bash_offers("kvcli getr", "getrange\n");
    bash_offers("kvcli doc", "doctor\n");
    bash_offers("kvcli -h host -p 1 getr", "getrange\n");
    bash_offers("kvcli -n 3 object enc", "encoding\n");
    bash_offers("kvcli OBJECT enc", "encoding\n");
    bash_offers("kvcli -h ''", "\n"); /* a host: nothing to offer */
    bash_offers("kvcli get getr", "\n");
}

static void zsh_reads_its_completion(void **state)
{
    const char *zsh = server_program("zsh");
    outcome o;

    (void)state;
    if (!zsh)
        skip();
    o = program_run("", (const char *const[]){
                            zsh, "-fc",
                            "autoload -Uz compinit && compinit -u -D && . \"$KV_COMPLETIONS/_kvcli\" && "
                            "echo $_comps[kvcli]",
                            NULL });
    assert_string_equal(o.out, "_kvcli\n");
    assert_string_equal(o.err, "");
    assert_int_equal(o.status, 0);
    outcome_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bash_completes_options_commands_and_subcommands),
        cmocka_unit_test(zsh_reads_its_completion),
    };
    int failed;

    if (!getenv("KV_COMPLETIONS"))
        return 77;
    program_enter_home();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    program_leave_home();
    return failed;
}
