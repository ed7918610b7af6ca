#!/usr/bin/env bash
# Makes the release set in BUILD/dist: wheel and source distribution, npm tarball, Debian package, tarball, a bill of
# materials, and checksums. The same commit gives the same bytes, wherever its tree is: times are SOURCE_DATE_EPOCH's
# (default: the commit's), files are sorted, and nothing of the machine goes in.
#
# usage: BUILD=build scripts/dist/build.sh VERSION
set -euo pipefail
version=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$(realpath -m "${BUILD:-build}/dist")
work=$out/work
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# The tree's state is not stamped into binaries: a source archive has none.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
export LC_ALL=C TZ=UTC
umask 022

rm -rf "$out"
mkdir -p "$work"
cd "$root"
say() { echo "dist: $*"; }

say "building"
make -s python node BUILD="$work" CAPSA_RELEASE=1
make -s install BUILD="$work" CAPSA_RELEASE=1 DESTDIR="$work/deb" PREFIX=/usr
CAPSA_VERSION=$version "$here/licenses.sh" "$work/libcapsa.so.$version" "$work/capsa-vzd" "$work/capsa" >"$work/THIRD-PARTY-LICENSES"

# pack FILE DIR NAME...: what tar makes of a directory's entries, the same bytes each time.
pack() {
    local file=$1 dir=$2
    shift 2
    tar -C "$dir" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -cf - "$@" |
        gzip -9n >"$file"
}

say "packing"
cp "$work"/python/dist/* "$work/node/capsa-$version.tgz" "$out/"

# The tarball is a prefix that may be put anywhere.
name=libcapsa-$version-linux-x86_64
mkdir "$work/$name"
cp -a "$work/deb/usr/." LICENSE README.md CHANGELOG.md "$work/THIRD-PARTY-LICENSES" "$work/$name/"
pack "$out/$name.tar.gz" "$work" "$name"

"$here/deb.sh" "$version" "$work/deb" "$work/THIRD-PARTY-LICENSES" "$out"
"$here/sbom.sh" "$version" "$work" "$out/libcapsa-$version.cdx.json"
rm -rf "$work"
(cd "$out" && sha256sum -- * >SHA256SUMS)
say "made in $out:"
ls -l "$out" | awk 'NR > 1 { printf "dist: %11d  %s\n", $5, $9 }'
