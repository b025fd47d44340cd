#!/bin/sh
# options.sh PAGE PROGRAM [WORD ...]: the page names every option that PROGRAM WORD... --help tells.
#
# SPDX-License-Identifier: MIT
here=$(dirname "$0") page=$1
shift
set -- "$page" $("$@" --help | sed -nE 's/^  +--([a-z-]+).*/\1/p')
[ $# -gt 5 ] || { echo "options.sh: --help tells no options"; exit 1; }
exec "$here/page.sh" "$@"
