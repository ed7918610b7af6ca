#!/usr/bin/env bash
# Lints the Go code. The linter has one version for everybody, built once into build/tools; it contains staticcheck,
# whose version it pins. Arguments go to golangci-lint run: scripts/lint.sh --fix ./internal/console
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.12.2
tools=$PWD/${BUILD:-build}/tools
linter=$tools/golangci-lint-$version

if [ ! -x "$linter" ]; then
    echo "lint: building golangci-lint $version (once)"
    # Installed elsewhere first: a build that was interrupted leaves nothing that looks complete.
    rm -rf "$tools/new"
    mkdir -p "$tools/new"
    env -u GOOS -u GOARCH -u GOWORK GOBIN="$tools/new" CGO_ENABLED=0 GOFLAGS=-trimpath go install -ldflags='-s -w' \
        "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
    mv "$tools/new/golangci-lint" "$linter"
    rmdir "$tools/new"
fi

[ $# -gt 0 ] || set -- ./...
exec "$linter" run --allow-parallel-runners "$@"
