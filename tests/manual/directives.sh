#!/bin/sh
# directives.sh KVSERVER_PAGE CONF_PAGE CONFIG_DEF: kvserver.1 explains each directive that Redis has not, kvstore.conf.5 lists
# all that are not hidden.
#
# SPDX-License-Identifier: MIT
here=$(dirname "$0")
"$here/page.sh" "$1" $(sed -nE '/CONFIG_OURS/s/^DIRECTIVE\([a-z0-9_]+, "([^"]+)".*/\1/p' "$3") &&
    exec "$here/page.sh" "$2" $(sed -nE '/CONFIG_HIDDEN/!s/^DIRECTIVE\([a-z0-9_]+, "([^"]+)".*/\1/p' "$3")
