#!/bin/sh
# exports.sh HEADER MACRO VERSION LIBRARY...: what the libraries export together is what the header declares with the macro,
# each name by one of them and under the version; nothing else but what is named private.
#
# SPDX-License-Identifier: MIT
header=$1 macro=$2 version=$3
shift 3
declared=$(sed -nE "s/^$macro .*[ *](kvc?_[a-z0-9_]+)\(.*/\1@@$version/p" "$header" | sort)
[ "$(printf '%s\n' "$declared" | wc -l)" -eq "$(grep -c "^$macro " "$header")" ] || {
    echo "exports.sh: a declaration in $header is not understood"
    exit 1
}
exported=$(for library; do
    nm --dynamic --defined-only --with-symbol-versions "$library" || exit 1
done | awk '$2 != "A" && $3 !~ /_PRIVATE$/ { print $3 }' | sort)
[ "$declared" = "$exported" ] && exit
printf '%s\n' "$declared" >declared.$$
printf '%s\n' "$exported" | diff declared.$$ - | sed -e 's/^</declared, not exported:/' -e 's/^>/exported, not declared:/'
rm -f declared.$$
exit 1
