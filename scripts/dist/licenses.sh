#!/usr/bin/env bash
# Prints the licences of everything that was linked into the binaries: Go's own, and those of the modules, as their
# authors wrote them.
#
# usage: scripts/dist/licenses.sh BINARY...
set -euo pipefail

# license TITLE DIR: the texts in a directory; it is an error when there is none.
license() {
    local found=
    printf '%s\n\n' "==== $1"
    for file in "$2"/LICENSE* "$2"/COPYING* "$2"/NOTICE* "$2"/PATENTS; do
        [ -f "$file" ] || continue
        printf -- '---- %s\n\n' "$(basename "$file")"
        cat "$file"
        echo
        found=yes
    done
    [ "$found" ] || { echo "licenses.sh: $1 has no licence in $2" >&2; exit 1; }
}

license "Go $(go env GOVERSION)" "$(go env GOROOT)"
# go version -m has lines "	dep	MODULE	VERSION	HASH".
go version -m "$@" | awk '$1 == "dep" { print $2, $3 }' | sort -u | while read -r module version; do
    license "$module $version" "$(go list -m -f '{{.Dir}}' "$module")"
done
