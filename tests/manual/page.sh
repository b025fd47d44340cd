#!/bin/sh
# page.sh PAGE [WORD ...]: the page has no warnings of man(1), where that is installed, and names each word, as an option
# (--word), a function or whatever it is. 77 (skipped) without words and man.
#
# SPDX-License-Identifier: MIT
page=$1
shift
status=0
if command -v man >/dev/null && command -v groff >/dev/null; then
    warnings=$(man --warnings -l "$page" 2>&1 >/dev/null | grep -v 'cannot .*break\|cannot adjust\|locale')
    [ -z "$warnings" ] || { printf '%s\n' "$warnings"; status=1; }
elif [ $# -eq 0 ]; then
    exit 77
fi
for word; do
    grep -qE "(^|[ (-])$word([ ,.)]|\$)" "$page" || { echo "$page does not name $word"; status=1; }
done
exit $status
