#!/bin/bash
# completions.sh directory - bash offers what kvserver, kvbench and kvstress know, and zsh reads their completions.
#
# SPDX-License-Identifier: MIT
set -u

directory=${1:?usage: completions.sh directory}
failed=0

# offers expected word...: what bash offers for the last of the words, in one line.
offers() {
    local expected=$1 program=$2 offered
    shift
    offered=$(
        . "$directory/$program.bash" || exit
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        "_$program"
        echo "${COMPREPLY[*]}"
    )
    [ "$offered" = "$expected" ] || {
        echo "$*: offers '$offered', not '$expected'"
        failed=1
    }
}

offers '--maxmemory-policy' kvserver --maxmemory-p
offers '--check-config --check-log' kvserver --check-
offers 'allkeys-lru allkeys-lfu allkeys-random' kvserver --port 1 --maxmemory-policy allkeys
offers 'yes' kvserver --appendonly y
offers '' kvserver --port ''
offers "$directory/kvserver.bash" kvserver --aclfile "$directory/kvserver.b"
offers "$directory/kvserver.bash" kvserver "$directory/kvserver.b"
offers 'server' kvbench ser
offers '--idle-connections' kvbench server --idle-
offers '' kvbench map --idle-
offers '--check --connections --crash-round' kvstress --c
offers 'check' kvstress che

if command -v zsh >/dev/null; then
    for program in kvserver kvbench kvstress; do
        said=$(zsh -fc "autoload -Uz compinit && compinit -u -D && . '$directory/_$program' && echo \$_comps[$program]" 2>&1)
        [ "$said" = "_$program" ] || {
            echo "zsh: $program: $said"
            failed=1
        }
    done
fi
exit $failed
