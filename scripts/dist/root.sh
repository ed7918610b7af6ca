#!/bin/sh
# root.sh: makes the clean root in which dist-check installs the release set, once, in ~/.cache/capsa/clean-root-HASH, and
# prints its path. Debian 12's essential packages, and what a user of each artefact has: Python, Node, a C compiler, CMake.
#
# Needs mmdebstrap, and root or sudo.
set -eu
packages='python3,python3-venv,nodejs,gcc,libc6-dev,make,pkg-config,cmake,ca-certificates'
cache=${XDG_CACHE_HOME:-$HOME/.cache}/capsa
dir=$cache/clean-root-$( (echo "$packages"; cat "$0") | sha256sum | cut -c 1-16)
mkdir -p "$cache"
exec 9>"$cache/clean-root-lock"
flock 9
if [ ! -d "$dir" ]; then
    echo "dist: making the clean root (once; about a minute)" >&2
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    tmp=$(mktemp -d "$cache/.clean-root-XXXXXX")
    trap '$as_root rm -rf "$tmp"' EXIT
    chmod 755 "$tmp" # mmdebstrap's apt drops to an unprivileged user
    # The mirrors of this machine.
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) main' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' 'Architecture: amd64' |
        grep -E ' bookworm(-security|-updates)? main$' | sort -u >"$tmp/sources.list"
    $as_root mmdebstrap --variant=essential --mode=root --format=directory --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$tmp/root" "$tmp/sources.list" \
        </dev/null >"$tmp/log" 2>&1 9>&- || {
        tail -n 30 "$tmp/log" >&2
        exit 1
    }
    mv -T "$tmp/root" "$dir"
fi
echo "$dir"
