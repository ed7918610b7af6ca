#!/bin/sh
# Holds the library against its header, the recorded list of symbols and the recorded ABI.
# usage: libcapsa/check-abi.sh [--record] BUILD
set -eu
cd "$(dirname "$0")/.."

record=
if [ "$1" = --record ]; then
    record=yes
    shift
fi
build=$1
symbols=libcapsa/capsa.symbols
baseline=libcapsa/capsa-0.abi
work=$build/abi
mkdir -p "$work"

nm -D --defined-only "$build/libcapsa.so" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort >"$work/exported"
# The header's own list: every declared function, by the preprocessor and not by its layout.
cc -E -P -DCAPSA_BUILD -x c include/capsa.h | tr '\n' ' ' | tr ';' '\n' |
    sed -n 's/.*visibility("default").*[ *]\(capsa_[a-z0-9_]*\)(.*/\1/p' | sed 's/$/@@CAPSA_0/' |
    LC_ALL=C sort >"$work/declared"

if [ "$record" ]; then
    cp "$work/exported" "$symbols"
    abidw --headers-dir include --no-corpus-path --no-comp-dir-path --no-show-locs --out-file "$baseline" \
        "$build/obj/libcapsa.so"
    echo "recorded $(wc -l <"$symbols") symbols"
fi

diff -u "$work/declared" "$work/exported" || {
    echo "check-abi: the library does not export what include/capsa.h declares" >&2
    exit 1
}
diff -u "$symbols" "$work/exported" || {
    echo "check-abi: exported symbols changed; when that is meant: make record-abi" >&2
    exit 1
}
abidiff --headers-dir1 include --headers-dir2 include "$baseline" "$build/obj/libcapsa.so" || {
    echo "check-abi: the ABI changed; additions: make record-abi. Nothing else may happen before version 1" >&2
    exit 1
}

# What programs rely on: the soname, and that the library stays loaded.
readelf -d "$build/libcapsa.so" >"$work/dynamic"
for want in 'soname: \[libcapsa.so.0\]' 'NODELETE'; do
    grep -q "$want" "$work/dynamic" || {
        echo "check-abi: the library lacks $want" >&2
        exit 1
    }
done
echo "check-abi: $(wc -l <"$symbols") symbols, header, library and baseline agree"
