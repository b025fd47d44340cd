#!/bin/sh
# inspect.sh directory Dockerfile - what the .deb files in directory hold and ask for, without installing them: the names that people
# install, no file twice, nothing that anybody may write, libraries that are named, and a container that has all of these.
#
# Skipped (77) where there are no packages, or no dpkg-deb.
#
# SPDX-License-Identifier: MIT
set -eu

directory=${1:?usage: inspect.sh directory Dockerfile}
dockerfile=${2:?usage: inspect.sh directory Dockerfile}
skip() {
    echo "skipped: $1"
    exit 77
}
fail() {
    echo "FAILED: $1" >&2
    exit 1
}
command -v dpkg-deb >/dev/null || skip "no dpkg-deb"
ls "$directory"/kvstore-server_*.deb >/dev/null 2>&1 || skip "no packages in $directory (cmake --workflow --preset package)"

root=$(mktemp -d "${TMPDIR:-/tmp}/kvinspect-XXXXXX")
trap 'rm -rf "$root"' EXIT
trap 'exit 1' INT TERM

for package in kvstore-server kvstore-tools libkvstore0 libkvstore-dev libkvclient0 libkvclient-dev kvstore-redis-module; do
    set -- "$directory/$package"_*.deb
    [ $# = 1 ] && [ -e "$1" ] || fail "$package: not exactly one file"
    [ "$(dpkg-deb -f "$1" Package)" = $package ] || fail "$1 is another package"
    for field in Version Architecture Maintainer Description Depends; do
        [ -n "$(dpkg-deb -f "$1" $field)" ] || fail "$package has no $field"
    done
    dpkg-deb -c "$1" | awk '$2 != "root/root" || substr($1, 9, 1) == "w" && $1 !~ /^l/' >"$root/odd"
    [ ! -s "$root/odd" ] || fail "$package: owners or permissions: $(cat "$root/odd")"
    dpkg-deb -c "$1" | awk '$1 !~ /^d/ { print $6 }' >>"$root/files"
    dpkg-deb -x "$1" "$root/unpacked"
    dpkg-deb -f "$1" Depends | tr , '\n' | sed 's/[(|].*//; s/ //g' >"$root/depends.$package"
done
twice=$(sort "$root/files" | uniq -d)
[ -z "$twice" ] || fail "in two packages: $twice"

# What is promised, and that it runs here at least as far as its version.
for file in usr/bin/kvserver usr/bin/kvcli usr/bin/kvbench usr/bin/kvstress etc/kvstore/kvserver.conf \
    usr/lib/systemd/system/kvserver.service usr/lib/systemd/system/kvserver@.service usr/lib/systemd/system/kvserver.socket \
    usr/lib/redis/modules/kvmodule.so usr/include/kvclient.h usr/include/kvstore/kvstore.h \
    usr/share/bash-completion/completions/kvserver usr/share/bash-completion/completions/kvcli \
    usr/share/zsh/vendor-completions/_kvserver usr/share/zsh/vendor-completions/_kvstress; do
    [ -e "$root/unpacked/$file" ] || fail "/$file is in no package"
done
for page in kvserver.1 kvcli.1 kvbench.1 kvstress.1 kvstore.conf.5 libkvstore.3 libkvclient.3 kvmodule.7; do
    ls "$root/unpacked/usr/share/man/man${page##*.}/$page"* >/dev/null 2>&1 || fail "the manual page $page is in no package"
done
"$root/unpacked/usr/bin/kvserver" --version >/dev/null || fail "kvserver --version"
"$root/unpacked/usr/bin/kvserver" --check-config "$root/unpacked/etc/kvstore/kvserver.conf" >/dev/null ||
    fail "the configuration has mistakes"

# The container installs by hand what the packages depend on.
for name in $(sort -u "$root/depends.kvstore-server" "$root/depends.kvstore-tools"); do
    case $name in
    libc6 | passwd | init-system-helpers | *kv*) ;; # there already, or ours, or not needed in there
    *) grep -q -w -- "$name" "$dockerfile" || fail "the Dockerfile does not install $name" ;;
    esac
done
echo "7 packages, $(wc -l <"$root/files") files"
