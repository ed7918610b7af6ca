#!/usr/bin/env bash
# Writes the bill of materials of the release set as CycloneDX 1.6 JSON: what cyclonedx-gomod reads from the library and
# from the program, merged. The tool has one version for everybody, built once into build/tools.
#
# usage: scripts/dist/sbom.sh VERSION WORK OUT
set -euo pipefail
version=$1 work=$2 out=$3
pinned=v1.10.0
tools=$(cd "$(dirname "$0")/../.." && pwd)/build/tools
tool=$tools/cyclonedx-gomod-$pinned

if [ ! -x "$tool" ]; then
    echo "dist: building cyclonedx-gomod $pinned (once)"
    rm -rf "$tools/new-cyclonedx"
    mkdir -p "$tools/new-cyclonedx"
    GOBIN=$tools/new-cyclonedx CGO_ENABLED=0 GOFLAGS=-trimpath go install -ldflags='-s -w' \
        "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$pinned"
    mv "$tools/new-cyclonedx/cyclonedx-gomod" "$tool"
    rmdir "$tools/new-cyclonedx"
fi
for binary in "libcapsa.so.$version" capsa-vzd capsa; do
    "$tool" bin -json -std -noserial -output-version 1.6 -version "v$version" -output "$work/$binary.cdx.json" "$work/$binary" \
        2>"$work/sbom.log" || { cat "$work/sbom.log" >&2; exit 1; }
done
python3 "$(dirname "$0")/sbom.py" "$version" "$work/libcapsa.so.$version.cdx.json" "$work/capsa-vzd.cdx.json" \
    "$work/capsa.cdx.json" >"$out"
