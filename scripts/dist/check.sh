#!/usr/bin/env bash
# Installs each artefact of the release set in a clean root (root.sh) and runs the polyglot suite's first rows with what
# is installed there, on this host's /dev/kvm. Then checks names and tags, and makes the set again in another place: it
# must be the same bytes.
#
# usage: BUILD=build scripts/dist/check.sh VERSION       after make dist and make polyglot-build
set -euo pipefail
version=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(realpath "${BUILD:-build}")
set=$build/dist
rows='^(version, features|boot|console|exit record: killed|in a process of its own|wait: timeout)$'
wheel=$(echo "$set"/capsa-*.whl)
clean=$("$here/root.sh")
work=$(mktemp -d "$build/dist-check-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=()

say() { echo "dist-check: $*"; }

# step NAME COMMAND...: one check; all run, and the last line counts.
step() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        say "ok      $name$(grep -E '^polyglot: [0-9]+ passed' "$work/log" | sed 's/polyglot:/:/')"
        passed=$((passed + 1))
    else
        say "FAILED  $name"
        sed 's/^/    /' "$work/log"
        failed+=("$name")
    fi
}
passed=0

# fresh NAME: a clean root, with the release set, the scenarios and the bare guest in /check; $fresh is its path.
fresh() {
    fresh=$work/$1
    cp -a --reflink=auto "$clean" "$fresh"
    mkdir -p "$fresh/check/set"
    cp "$set"/* "$fresh/check/set/"
    cp -r "$root/tests/polyglot" "$root/tests/abi/cmake" "$fresh/check/"
    cp "$build/node/guest.elf" "$fresh/check/"
}

# inside COMMAND: runs a shell command in $fresh, with namespaces of its own and nothing of this host but /dev/kvm. There
# is no network in it.
inside() {
    unshare --mount --pid --fork --net --ipc --uts bash -euc '
        mount --make-rprivate /
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/tmp"
        ip link set lo up 2>/dev/null || true
        touch "$1/dev/kvm"
        mount --bind /dev/kvm "$1/dev/kvm"
        for device in null zero urandom; do
            [ -c "$1/dev/$device" ] || touch "$1/dev/$device"
            mount --bind "/dev/$device" "$1/dev/$device"
        done
        exec chroot "$1" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin CAPSA_TEST_GUEST=/check/guest.elf \
            /bin/sh -euc "$2"' sh "$fresh" "$1"
}

# suite NAME=COMMAND...: the first rows in $fresh.
suite() {
    local languages=
    for language in "$@"; do languages+=" --language '$language'"; done
    inside "cd /check && python3 polyglot/run.py polyglot/bare.toml --only '$rows' $languages"
}

deb() {
    fresh deb
    inside "dpkg -i /check/set/libcapsa_${version}_amd64.deb && ldconfig && ldconfig -p | grep libcapsa.so.0
        gcc -std=c11 -O1 -Wall -Werror -o /check/c /check/polyglot/c/*.c \$(pkg-config --cflags --libs capsa) -pthread
        printf '%s\n' 'cmake_minimum_required(VERSION 3.16)' 'project(consumer LANGUAGES C)' \
            'find_package(capsa 0.1 REQUIRED CONFIG)' 'add_executable(consumer cmake/consumer.c)' \
            'target_link_libraries(consumer PRIVATE capsa::capsa)' >/check/CMakeLists.txt
        cmake -S /check -B /check/cmake-build
        cmake --build /check/cmake-build && /check/cmake-build/consumer"
    suite 'c=/check/c'
    inside "dpkg --verify libcapsa && dpkg -r libcapsa && ! ls /usr/lib/libcapsa* /usr/include/capsa.h 2>/dev/null"
}

tarball() {
    fresh tarball
    inside "tar -C /opt -xzf /check/set/libcapsa-$version-linux-x86_64.tar.gz
        export PKG_CONFIG_PATH=/opt/libcapsa-$version-linux-x86_64/lib/pkgconfig
        gcc -std=c11 -O1 -o /check/c /check/polyglot/c/*.c \$(pkg-config --cflags --libs capsa) -pthread \
            -Wl,-rpath,\$(pkg-config --variable=libdir capsa)"
    suite 'c=/check/c'
}

pip() {
    fresh pip
    inside "python3 -m venv /check/venv && /check/venv/bin/pip install --no-index --no-deps /check/set/$(basename "$wheel")"
    suite 'python=/check/venv/bin/python /check/polyglot/python/blocking.py' \
        'asyncio=/check/venv/bin/python /check/polyglot/python/aio.py'
}

# npm itself is this host's: Debian's has hundreds of packages. Node in the root is Debian's, the oldest that is supported.
npm_tarball() {
    fresh npm
    mkdir "$fresh/check/project"
    npm install --prefix "$fresh/check/project" --offline --no-audit --no-fund --ignore-scripts "$set/capsa-$version.tgz"
    cp "$root/tests/polyglot/node/node.mjs" "$fresh/check/project/"
    inside "node --version"
    suite 'node=node /check/project/node.mjs'
}

# The tag is what auditwheel, whose policies are PyPA's, finds in the wheel.
wheel_tag() {
    local tools=$root/build/tools/auditwheel-6.8.2
    [ -x "$tools/bin/auditwheel" ] || {
        rm -rf "$tools" && python3 -m venv "$tools" && "$tools/bin/pip" install --quiet auditwheel==6.8.2
    }
    "$tools/bin/auditwheel" show "$wheel" | tee "$work/audit"
    local tag
    tag=$(basename "$wheel" .whl | sed 's/.*-//')
    tr '\n' ' ' <"$work/audit" | grep -F "constrains the platform tag to \"$tag\"" ||
        tr '\n' ' ' <"$work/audit" | grep -F "consistent with the following platform tag: \"$tag\""
}

sums() { (cd "$set" && sha256sum --check --strict SHA256SUMS && [ "$(wc -l <SHA256SUMS)" = 6 ]); }

# Every module that is linked in is in the bill, with its version and hash.
bill() {
    dpkg-deb -x "$set/libcapsa_${version}_amd64.deb" "$work/x"
    go version -m "$work/x/usr/lib/libcapsa.so.$version" "$work/x/usr/bin/capsa" | awk '$1 == "dep" { print $2 "@" $3 }' >"$work/modules"
    [ -s "$work/modules" ]
    while read -r module; do
        grep -F "pkg:golang/$module" "$set/libcapsa-$version.cdx.json" >/dev/null || { echo "no $module"; return 1; }
    done <"$work/modules"
}

# Another clone of the commit, elsewhere, gives the same bytes.
reproducible() {
    git clone --quiet "$root" "$work/elsewhere"
    BUILD=$work/elsewhere/build "$work/elsewhere/scripts/dist/build.sh" "$version"
    diff -u "$set/SHA256SUMS" "$work/elsewhere/build/dist/SHA256SUMS"
}

step "checksums" sums
step "the wheel's tag" wheel_tag
step "bill of materials" bill
step "Debian package" deb
step "tarball" tarball
step "wheel" pip
step "npm tarball" npm_tarball
if [ -z "$(git -C "$root" status --porcelain)" ]; then
    step "the same bytes elsewhere" reproducible
else
    say "left out  the same bytes elsewhere: this tree has changes that no clone has"
fi
say "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ]
