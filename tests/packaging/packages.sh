#!/bin/sh
# packages.sh directory - the .deb files in directory install in a clean Debian, serve, are upgraded and removed, and leave
# nothing behind.
#
# The clean Debian is made by debootstrap, from the mirror that this machine uses, and entered by chroot: that needs root and
# the network. Where one of these is missing, or there are no packages, the test is skipped (77). No systemd runs in there, so
# the server is started by hand, as its unit would start it.
#
# SPDX-License-Identifier: MIT
set -eu

directory=${1:?usage: packages.sh directory}
skip() {
    echo "skipped: $1"
    exit 77
}
fail() {
    echo "FAILED: $1" >&2
    exit 1
}

ls "$directory"/kvstore-server_*.deb >/dev/null 2>&1 || skip "no packages in $directory (cmake --workflow --preset package)"
[ "$(id -u)" = 0 ] || skip "not root"
command -v debootstrap >/dev/null || skip "no debootstrap"

# What this machine is, and where it has its packages from.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | sed -n '/debian-security/d; s|/*$||; 1p')
[ -n "$mirror" ] || skip "apt has no mirror"

root=$(mktemp -d "${TMPDIR:-/tmp}/kvpackages-XXXXXX")
chmod 755 "$root" # users in there have to get in
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# What the packages depend on, but for each other.
names=$(for package in "$directory"/*.deb; do dpkg-deb -f "$package" Package; done)
wanted=$(for package in "$directory"/*.deb; do dpkg-deb -f "$package" Depends; done | tr , '\n' |
    sed 's/[(|].*//; s/ //g; /^$/d' | sort -u | grep -vxF "$names" | paste -sd,)
debootstrap --variant=minbase --include="$wanted" "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -5 "$root.log"
    rm -f "$root.log"
    skip "debootstrap did not succeed"
}
rm -f "$root.log"
inside() {
    chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}
files() {
    (cd "$root" && find etc usr lib var opt srv home ! -path 'var/lib/dpkg/*' ! -path 'var/log/*' ! -path 'var/cache/*' \
        ! -path 'etc/passwd*' ! -path 'etc/group*' ! -path 'etc/shadow*' ! -path 'etc/gshadow*' ! -path 'etc/subuid*' \
        ! -path 'etc/subgid*' ! -path 'var/lib/systemd*' ! -path 'etc/ld.so.cache' | sort)
}
files >"$root/before"

# ---- installing ----
mkdir "$root/packages"
cp "$directory"/*.deb "$root/packages"
inside sh -c 'dpkg -i /packages/*.deb' >"$root/log" 2>&1 || {
    cat "$root/log"
    fail "dpkg -i"
}
[ "$(stat -c %a "$root/usr/lib/redis/modules/kvmodule.so")" = 755 ] || fail "redis-server would not load the module"
for file in usr/bin/kvserver usr/bin/kvcli usr/lib/systemd/system/kvserver.service usr/lib/redis/modules/kvmodule.so \
    usr/include/kvclient.h usr/include/kvstore/kvstore.h etc/kvstore/kvserver.conf \
    usr/share/bash-completion/completions/kvserver usr/share/zsh/vendor-completions/_kvcli; do
    [ -e "$root/$file" ] || fail "/$file was not installed"
done
[ "$(inside stat -c '%U %a' /var/lib/kvstore)" = "kvstore 750" ] || fail "the permissions of /var/lib/kvstore"
[ "$(inside stat -c '%U %a' /etc/kvstore/kvserver.conf)" = "kvstore 640" ] || fail "the permissions of the configuration"
inside kvserver --check-config /etc/kvstore/kvserver.conf || fail "the configuration has mistakes"

# ---- serving, as the unit would start it ----
serve() {
    chroot --userspec=kvstore:kvstore "$root" /usr/bin/kvserver /etc/kvstore/kvserver.conf --supervised systemd \
        --daemonize no --port 0 --unixsocket /var/lib/kvstore/sock >"$root/server.log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        [ "$(inside kvcli -s /var/lib/kvstore/sock PING 2>/dev/null)" != PONG ] || return 0
        sleep 0.05
    done
    cat "$root/server.log"
    fail "kvserver does not answer"
}
end_server() {
    kill "$server"
    wait "$server" || fail "kvserver ended with an error"
    server=
}
serve
[ "$(inside kvcli -s /var/lib/kvstore/sock SET k v)" = OK ] || fail "SET"
end_server

# ---- an upgrade keeps what people wrote ----
echo '# ours' >>"$root/etc/kvstore/kvserver.conf"
for package in "$root"/packages/*.deb; do
    dpkg-deb -R "$package" "$root/unpacked"
    sed -i 's/^Version: .*/&+1/; s/(= \([^)]*\))/(= \1+1)/g' "$root/unpacked/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$root/unpacked" "$package" >/dev/null
    rm -rf "$root/unpacked"
done
inside sh -c 'dpkg -i /packages/*.deb' >"$root/log" 2>&1 || {
    cat "$root/log"
    fail "the upgrade"
}
grep -q '^# ours$' "$root/etc/kvstore/kvserver.conf" || fail "the upgrade has lost the configuration"
serve
end_server

# ---- removing ----
inside dpkg -r $names >"$root/log" 2>&1 || {
    cat "$root/log"
    fail "dpkg -r"
}
[ -e "$root/etc/kvstore/kvserver.conf" ] || fail "removing has taken the configuration, too"
[ ! -e "$root/usr/bin/kvserver" ] || fail "/usr/bin/kvserver is still there"
inside dpkg -P $names >"$root/log" 2>&1 || {
    cat "$root/log"
    fail "dpkg -P"
}
! inside getent passwd kvstore >/dev/null || fail "the user is still there"
files >"$root/after"
diff "$root/before" "$root/after" || fail "files are left behind"
echo "installed, served, upgraded, removed: $(echo $names | wc -w) packages"
