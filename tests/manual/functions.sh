#!/bin/sh
# functions.sh PAGE HEADER: the page has every function of the header.
#
# SPDX-License-Identifier: MIT
here=$(dirname "$0")
exec "$here/page.sh" "$1" $(sed -nE 's/^KVC?_API .*[ *](kvc?_[a-z0-9_]+)\(.*/\1/p' "$2")
