#!/bin/sh
# expect.sh STATUS PATTERN COMMAND...: the command leaves with that status, and a line of its output matches.
# 77 (skipped) when the program of KV_STRESS_SERVER, if set, is not installed.
#
# SPDX-License-Identifier: MIT
status=$1 pattern=$2
shift 2
if [ -n "$KV_STRESS_SERVER" ] && ! command -v "$KV_STRESS_SERVER" >/dev/null; then
    echo "$KV_STRESS_SERVER is not installed"
    exit 77
fi
output=$("$@" 2>&1)
got=$?
printf '%s\n' "$output"
if [ "$got" -ne "$status" ]; then
    echo "expect.sh: status $got instead of $status"
    exit 1
fi
if ! printf '%s\n' "$output" | grep -q -e "$pattern"; then
    echo "expect.sh: no line matches $pattern"
    exit 1
fi
