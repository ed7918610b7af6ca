#!/usr/bin/env bash
# Everything that can be said about the code without running it. All steps run, also after one that failed; the last
# lines say which did.
set -uo pipefail
cd "$(dirname "$0")/.."

# tree prints what distinguishes the working tree from the last commit.
tree() { git status --porcelain && git diff HEAD | git hash-object --stdin; }

failed=()
step() {
    local name=$1 begin=$SECONDS
    shift
    echo "== $name"
    "$@" || failed+=("$name")
    echo "   $name: $((SECONDS - begin)) s"
}

before=$(tree)

step format scripts/format.sh --check
step modules go mod tidy -diff
step vet go vet ./...
step crossbuild scripts/crossbuild.sh
step darwin scripts/darwin.sh
step architecture go test -count=1 ./tests/arch
step lint scripts/lint.sh
step symbols make --no-print-directory check-abi

if [ "$before" != "$(tree)" ]; then
    git status --short >&2
    failed+=("tree unchanged")
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'check: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "check: all passed in $SECONDS s"
