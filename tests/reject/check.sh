#!/bin/sh
# check.sh clang file.c [flag ...] - the file must not compile, for the one reason that it names.
#
# In the file stands "REJECT: <extended regular expression>". Compiled as it is, clang must refuse it with a
# thread-safety error that matches, and with no error of another kind. Compiled with -DFIXED, the same program
# without its mistake, it must pass: so a file that is refused for a misspelt name proves nothing and fails here.
# A file with "ACCEPT" must compile as it is.
#
# SPDX-License-Identifier: MIT
set -u

clang=$1
file=$2
shift 2

compile() {
    "$clang" -std=c11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -Wthread-safety "$@" "$file" 2>&1
}

fail() {
    printf '%s: %s\n%s\n' "$file" "$1" "$2"
    exit 1
}

if grep -q '^ \* ACCEPT' "$file"; then
    output=$(compile "$@") || fail "does not compile, and should" "$output"
    exit 0
fi
wanted=$(sed -n 's/^ \* REJECT: //p' "$file")
[ -n "$wanted" ] || fail "says neither REJECT nor ACCEPT" ""

output=$(compile -DFIXED "$@") || fail "does not compile even without its mistake" "$output"
output=$(compile "$@") && fail "compiles, and must not: $wanted" ""
errors=$(printf '%s\n' "$output" | grep 'error:')
others=$(printf '%s\n' "$errors" | grep -v -- '-Wthread-safety')
[ -z "$others" ] || fail "is refused for another reason" "$output"
printf '%s\n' "$errors" | grep -Eq -- "$wanted" || fail "is refused, but not with: $wanted" "$output"
