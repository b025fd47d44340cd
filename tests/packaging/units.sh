#!/bin/sh
# units.sh directory - systemd finds nothing to say about the units in directory. Skipped (77) without systemd-analyze.
#
# The program that they start is not installed where they say, so a stand-in is put in its place in copies of them.
#
# SPDX-License-Identifier: MIT
set -eu

directory=${1:?usage: units.sh directory}
command -v systemd-analyze >/dev/null || {
    echo "skipped: no systemd-analyze"
    exit 77
}
copies=$(mktemp -d "${TMPDIR:-/tmp}/kvunits-XXXXXX")
trap 'rm -rf "$copies"' EXIT
for unit in kvserver.service kvserver@.service kvserver.socket; do
    sed 's|/[^ =]*/bin/kvserver|/bin/true|g; /^Documentation=/d' "$directory/$unit" >"$copies/$unit"
done
said=$(systemd-analyze verify --man=no "$copies/kvserver.service" "$copies/kvserver.socket" "$copies/kvserver@one.service" 2>&1 |
    grep -E '/kv(server|units)' || true)
[ -z "$said" ] || {
    echo "$said"
    exit 1
}
# The sandbox is not empty: each of these would be missed.
for line in NoNewPrivileges=yes ProtectSystem=strict 'SystemCallFilter=~@privileged @resources' Type=notify WatchdogSec=; do
    for unit in kvserver.service kvserver@.service; do
        grep -q "^$line" "$directory/$unit" || {
            echo "$unit has no $line"
            exit 1
        }
    done
done
