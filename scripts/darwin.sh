#!/usr/bin/env bash
# Checks the code for macOS on any host, as far as that goes without a Mac and its SDK:
#   types     all packages for darwin against the real bindings to Virtualization.framework, which need cgo
#   compiler  the daemon is compiled and linked, everything vetted, with a generated stand-in for the bindings
#   linter    the same, with all linters
# What only a Mac can tell is in docs/macos.md. tests/darwin makes sure that each of these finds planted mistakes.
#
# All steps run, also after one that failed.
set -euo pipefail
cd "$(dirname "$0")/.."

bindings=github.com/Code-Hex/vz/v3
out=$PWD/${BUILD:-build}/darwin
whole=(./internal/... ./cmd/... ./capsa ./libcapsa ./tests/...)
# What uses the bindings, or has files for darwin alone. libcapsa needs cgo itself: only its types are checked.
ours=(./internal/vz/... ./internal/vzd/... ./internal/backend ./internal/sockpair ./internal/self ./internal/net/... ./cmd/...)
# Where nothing stands in a file for all systems that only Linux uses, which linters cannot know.
linted=(./internal/vz/... ./internal/vzd/... ./internal/backend ./internal/sockpair ./internal/self ./internal/net/gateway ./cmd/...)

# stub_for ARCH: makes the stand-in, and prints the workspace file that puts it in place.
stub_for() {
    local arch=$1 dir work tmp
    dir=$(go list -m -f '{{.Dir}}' $bindings)
    [ -n "$dir" ] || { go mod download $bindings && dir=$(go list -m -f '{{.Dir}}' $bindings); }
    work=$out/$arch.work
    tmp=$(mktemp -d "$out/new.XXXXXX")
    go run ./tests/darwin/stub "$dir" "$tmp/stub" darwin "$arch" >&2
    # Replaced as a whole, and only when it differs: the build cache goes by the files' times.
    if ! diff -rq "$tmp/stub" "$out/stub-$arch" >/dev/null 2>&1; then
        rm -rf "$out/stub-$arch"
        mv "$tmp/stub" "$out/stub-$arch"
    fi
    rm -rf "$tmp"
    printf 'go %s\nuse %s\nreplace %s => %s\n' "$(go list -m -f '{{.GoVersion}}')" "$PWD" $bindings "$out/stub-$arch" >"$work"
    echo "$work"
}

# with ARCH COMMAND...: runs a command for darwin, with the stand-in.
with() {
    local arch=$1 work
    shift
    work=$(stub_for "$arch")
    env GOWORK="$work" GOOS=darwin GOARCH="$arch" CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -tags=vzstub" "$@"
}

# types ARCH PACKAGES...
types() {
    local arch=$1
    shift
    "$out/typecheck" -tests -goarch "$arch" "$@"
}

# compiler ARCH PACKAGES...
compiler() {
    local arch=$1
    shift
    with "$arch" go build -o "$out/capsa-vzd-$arch" ./cmd/capsa-vzd && with "$arch" go vet "$@"
}

# planted makes sure that each check can fail: that it finds what is wrong with files that are wrong on purpose, and
# nothing in one that is right.
planted() {
    local dir=./tests/darwin/testdata
    go build -o "$out/expect" ./tests/darwin/expect
    finds() { # [-first] FOLDER CHECK...
        local first=()
        [ "$1" != -first ] || { first=(-first) && shift; }
        local folder=$1
        shift
        if "$@" "$folder" >"$out/found" 2>&1; then
            echo "darwin: $* has passed what is wrong in $folder" >&2
            return 1
        fi
        "$out/expect" "${first[@]}" "$folder" <"$out/found"
    }
    finds $dir/types types arm64 &&
        finds $dir/amd64 types amd64 &&
        finds -first $dir/types compiler arm64 &&
        finds $dir/lint linter &&
        types arm64 $dir/good $dir/amd64 && compiler arm64 $dir/good && linter $dir/good >/dev/null
}

linter() { with arm64 scripts/lint.sh --build-tags vzstub "$@"; }

mkdir -p "$out"
go build -o "$out/typecheck" ./tests/darwin/typecheck
status=0
step() {
    local name=$1 begin=$SECONDS
    shift
    if "$@"; then
        echo "darwin: $name: $((SECONDS - begin)) s"
    else
        echo "darwin: $name failed" >&2
        status=1
    fi
}
for arch in arm64 amd64; do
    step "types, $arch" types $arch "${whole[@]}"
    step "compiler, $arch" compiler $arch "${ours[@]}"
done
step linter linter "${linted[@]}"
step "planted mistakes" planted
exit $status
